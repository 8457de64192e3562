"""One log file, read once: decompressed, hashed where asked, searched, and parsed where it must be.

A file is read to its end or told of: a gzip stream that is cut short, followed by other bytes, or
contradicts its own checksum is an error with its place. Several gzip members are one text, and
zero bytes after the last are padding, as RFC 1952 and gzip's manual have it. A file that is
longer than the buffer is read piece by piece, so memory does not grow with it.

Source: https://www.rfc-editor.org/rfc/rfc1952#section-2.2
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from io import BufferedReader
from mmap import mmap
from typing import Final, cast

from isal import igzip, igzip_lib, isal_zlib

from keyrunbook.logs.document import NotALog, Records, list_end, list_start
from keyrunbook.logs.mention import Mention
from keyrunbook.records import MalformedRecord, Record, parse_record

BUFFER: Final = 40 << 20
"""Bytes of a text that are held at once. Far more than CloudTrail puts into a file."""
CHUNK: Final = 128 << 10
"""Bytes that are decompressed and then searched: what a processor's cache holds beside the rest."""

# isal's stubs take its error for an instance.
_ISAL_ERROR: Final = cast(type[Exception], igzip_lib.IsalError)
DAMAGED: Final = (EOFError, igzip.BadGzipFile, _ISAL_ERROR)
"""What reading a gzip stream raises that is not as it was written."""

_GZIP: Final = b"\x1f\x8b"
_EVENT_TIME: Final = b'"eventTime"'
_TIME = re.compile(rb'"eventTime"[ \t\n\r]*:[ \t\n\r]*"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"')


@dataclass(frozen=True, slots=True)
class Scanned:
    """What one file held. `size` and `crc` are of its text, decompressed, and so is `sha256`.

    `troubles` are what could not be read, each a place and a reason; `whole` says whether the file
    was read to its end. `times` are the earliest and the latest that were seen: of records that
    were found and of those at the text's ends. `parsed` is how many records the parser passed.
    """

    place: str
    size: int
    crc: int
    sha256: str | None
    whole: bool
    parsed: int
    records: tuple[Record, ...]
    troubles: tuple[tuple[str, str], ...]
    times: tuple[datetime, ...]


class Scanner:
    """Scans file after file with one buffer; not for two threads at a time.

    With `mention` None every record is found. `keep` says which of those that are found are given.
    With `hashed` each text's SHA-256 is taken on the way. `buffer` and `chunk` are in bytes.
    """

    def __init__(
        self,
        mention: Mention | None,
        *,
        keep: Callable[[Record], bool] = lambda record: True,
        hashed: bool = False,
        buffer: int = BUFFER,
        chunk: int = CHUNK,
    ) -> None:
        self._mention = mention
        self._keep = keep
        self._hashed = hashed
        self._buffer = mmap(-1, buffer)  # its pages are taken when they are first written
        self._view = memoryview(self._buffer)
        self._chunk = chunk

    def scan(self, place: str, opened: Callable[[], BufferedReader]) -> Scanned:
        """Read the file that `opened` opens; `place` is what to call it in what is told."""
        reading = _Reading(
            place,
            self._buffer,
            self._view,
            self._chunk,
            self._mention,
            self._keep,
            hashed=self._hashed,
        )
        try:
            with opened() as file:
                reading.all(file)
        except (OSError, *DAMAGED) as error:
            reading.refuse(_in_words(error, reading.size))
        return reading.result()


class _Reading:
    """One file under way. Its text stands in the buffer from `base` on."""

    def __init__(
        self,
        place: str,
        buffer: mmap,
        view: memoryview,
        chunk: int,
        mention: Mention | None,
        keep: Callable[[Record], bool],
        *,
        hashed: bool,
    ) -> None:
        self.size = 0
        self._keep = keep
        self._place = place
        self._buffer = buffer
        self._view = view
        self._chunk = chunk
        self._mention = mention
        self._sha256 = hashlib.sha256() if hashed else None
        self._crc = 0
        self._whole = False
        self._refused = False
        self._records: list[Record] = []
        self._troubles: list[tuple[str, str]] = []
        self._times: list[datetime] = []
        self._list = Records(buffer)
        self._base = 0
        self._start = 0
        self._hits: list[int] = []

    def refuse(self, reason: str) -> None:
        """Nothing of the file counts."""
        self._refused = True
        self._records.clear()
        self._troubles[:] = [(self._place, reason)]

    def result(self) -> Scanned:
        return Scanned(
            place=self._place,
            size=self.size,
            crc=self._crc,
            sha256=self._sha256.hexdigest() if self._sha256 and self._whole else None,
            whole=self._whole,
            parsed=self._list.count,
            records=tuple(self._records),
            troubles=tuple(self._troubles),
            times=tuple(self._times),
        )

    def all(self, file: BufferedReader) -> None:
        if file.peek(len(_GZIP))[: len(_GZIP)] == _GZIP:
            with igzip.IGzipFile(fileobj=file, mode="rb") as text:  # type: ignore[no-untyped-call]
                self._text(text)
        else:
            self._text(file)

    def _text(self, text: BufferedReader | igzip.IGzipFile) -> None:
        filled = 0
        while True:
            if filled == len(self._buffer):
                filled = self._or_refuse(self._full_buffer, filled)
            got = text.readinto(self._view[filled : filled + self._chunk])
            if not got:
                break
            self.size += got
            self._take(filled, filled + got)
            filled += got
        self._whole = True
        self._or_refuse(self._rest, filled)

    def _or_refuse(self, read: Callable[[int], int], filled: int) -> int:
        """What is left in the buffer. A refused file is read to its end: its hash may matter."""
        if self._refused:
            return 0
        try:
            return read(filled)
        except NotALog as error:
            self.refuse(f"{error.reason} (at byte {self._base + error.at} of its text)")
            return 0

    def _take(self, at: int, filled: int) -> None:
        new = self._view[at:filled]
        self._crc = isal_zlib.crc32(new, self._crc)
        if self._sha256 is not None:
            self._sha256.update(new)
        if self._mention is not None and not self._refused:
            since = max(self._start, at - self._mention.overlap)
            self._hits += self._mention.hits(self._view[since:filled], since)

    def _full_buffer(self, filled: int) -> int:
        """Read what the buffer holds of whole records; the rest is moved to its begin."""
        self._read(filled, filled, closed=False)
        stop = self._list.stop
        rest = filled - stop
        self._buffer[:rest] = self._buffer[stop:filled]
        self._base += stop
        self._start = 1  # behind the comma, which is written over
        self._hits = [hit - stop for hit in self._hits if hit > stop]
        return rest

    def _rest(self, filled: int) -> int:
        if not self.size:
            raise NotALog(0, "is empty")
        start = self._start or list_start(self._buffer, filled)
        self._note_time(self._buffer.rfind(_EVENT_TIME, start, filled))
        self._read(list_end(self._buffer, start, filled), filled, closed=True)
        return 0

    def _read(self, end: int, filled: int, *, closed: bool) -> None:
        if not self._start:
            self._start = list_start(self._buffer, filled)
            self._note_time(self._buffer.find(_EVENT_TIME, self._start, filled))
        hits = None if self._mention is None else sorted(set(self._hits))
        for ordinal, text in self._list.read(self._start, end, hits, self._wanted, closed=closed):
            self._record(ordinal, text)

    def _wanted(self, text: memoryview) -> bool:
        return self._mention is None or bool(self._mention.hits(text))

    def _record(self, ordinal: int, text: bytes) -> None:
        place = f"{self._place}, record {ordinal}"
        try:
            record = parse_record(text.decode(), place)
        except MalformedRecord as error:
            self._troubles.append((error.place, error.reason))
        except UnicodeDecodeError as error:
            self._troubles.append((place, f"is not UTF-8: {error.reason}"))
        else:
            self._note(record.time)
            found = self._mention is None or self._mention.within(record.raw)
            if found and self._keep(record):
                self._records.append(record)

    def _note_time(self, at: int) -> None:
        match = _TIME.match(self._buffer, max(at, 0))
        if match is not None:
            try:
                self._note(datetime.fromisoformat(match[1].decode()))
            except ValueError:
                return  # no time on any calendar; its record is told of where it is parsed

    def _note(self, time: datetime) -> None:
        self._times = [min([*self._times, time]), max([*self._times, time])]


def _in_words(error: Exception, read: int) -> str:
    after = f"after {read} bytes of its text"
    if isinstance(error, EOFError):
        return f"is cut short, or followed by bytes that are not gzip's, {after}"
    if isinstance(error, _ISAL_ERROR):
        return f"cannot be decompressed {after}: {error}"
    if isinstance(error, igzip.BadGzipFile):
        return f"is damaged, or followed by bytes that are not gzip's, {after}: {error}"
    why = error.strerror if isinstance(error, OSError) else None
    return f"could not be read: {why or error}"
