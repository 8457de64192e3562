"""A log file's text as records, without parsing all of it.

A log file is ``{"Records":[…]}``: that and nothing else is taken. Where a record ends is guessed,
and each guess is proven: JSON is read from left to right in one way only, so if the text from the
list's start (or from an end that is proven) to the guess is itself a list's content, then a parser
of the whole file stands between two records there. Text that only looks like a record, inside a
string or inside another record, cannot pass for one.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-examples.html
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from mmap import mmap
from typing import Final

import msgspec

_HEAD = re.compile(rb'[ \t\n\r]*\{[ \t\n\r]*"Records"[ \t\n\r]*:[ \t\n\r]*\[')
_TAIL = re.compile(rb"\][ \t\n\r]*\}[ \t\n\r]*\Z")
_TAIL_LENGTH: Final = 256
_BETWEEN: Final = b'},{"'
_BETWEEN_SPACED = re.compile(rb"\}[ \t\n\r]*(,)[ \t\n\r]*\{")
_SHOWN: Final = 40
_FAR: Final = 1 << 20
_TRIES: Final = 64
_AT = re.compile(r"\(byte (\d+)\)")
_LIST = msgspec.json.Decoder(list[msgspec.Raw])


class NotALog(ValueError):
    """Text that is not a log file's: what is wrong, and `at` which byte of the buffer."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.at = at
        self.reason = reason


def list_start(buffer: mmap, filled: int) -> int:
    """Where the first record begins. Raises NotALog."""
    match = _HEAD.match(buffer, 0, filled)
    if match is None:
        raise NotALog(0, f'does not begin with {{"Records":[ but with {_shown(buffer[:filled])}')
    return match.end()


def list_end(buffer: mmap, start: int, filled: int) -> int:
    """Where the list of records is closed. Raises NotALog."""
    match = _TAIL.search(buffer, max(start, filled - _TAIL_LENGTH), filled)
    if match is None:
        tail = bytes(buffer[max(start, filled - _SHOWN) : filled])
        raise NotALog(filled, f"does not end with ]}} but with {tail!r}: it is cut short")
    return match.start()


class Records:
    """The records of a text in `buffer`, which may be but a part of a longer one.

    `count` is how many records were passed, `stop` where the last of them ends. Bytes of the
    buffer between records are written over.
    """

    def __init__(self, buffer: mmap) -> None:
        self.count = 0
        self.stop = 0
        self._buffer = buffer

    def read(
        self,
        start: int,
        end: int,
        hits: Sequence[int] | None,
        wanted: Callable[[memoryview], bool],
        *,
        closed: bool,
    ) -> Iterator[tuple[int, bytes]]:
        """Ordinal (from 1) and text of each record in a hit's surroundings that is `wanted`.

        `end` is where the list is closed, or, unless `closed`, where the buffer is full; then it
        is read as far as a record's end can be proven. `hits` are places in the text, in order;
        None for all. After the last hit of a closed list nothing is parsed.

        Raises:
            NotALog: the text is not a list of records, or a record is longer than the buffer.
        """
        self.stop = start - 1
        stops = _guesses(self._buffer, start, end, hits or ())
        if closed:
            stops.append(end)
        index = 0
        while index < len(stops) and (hits is None or (hits and self.stop < hits[-1])):
            try:
                index, found = self._next(stops, index)
            except msgspec.DecodeError as error:
                if closed:
                    raise _malformed(error, self.stop) from error
                break  # what is left is tried from the end
            yield from self._pass(found, stops[index], hits, wanted)
            index += 1
        if not closed:
            found, stop = self._last(start, end)
            yield from self._pass(found, stop, hits, wanted)

    def _next(self, stops: Sequence[int], index: int) -> tuple[int, list[msgspec.Raw]]:
        """The first of `stops` from `index` on that is found to be a record's end."""
        step = 1
        while True:
            try:
                return index, self._decode(stops[index])
            except msgspec.DecodeError:
                # The guess is inside a record: a later one is tried, and soon one much later.
                if index == len(stops) - 1:
                    raise
                index = min(index + step, len(stops) - 1)
                step *= 2

    def _last(self, start: int, filled: int) -> tuple[list[msgspec.Raw], int]:
        """What is left of whole records in a full buffer, up to an end that can be proven."""
        why = "has a record that is longer than CloudTrail writes any"
        for stop in _last_guesses(self._buffer, self.stop + 1, filled):
            try:
                return self._decode(stop), stop
            except msgspec.DecodeError as error:
                why = f"{_malformed(error, self.stop).reason}, or a record is too long"
        if self.stop >= start:
            return [], self.stop
        raise NotALog(start, why)

    def _decode(self, stop: int) -> list[msgspec.Raw]:
        buffer = self._buffer
        buffer[self.stop], kept = ord("["), buffer[stop]
        buffer[stop] = ord("]")
        with memoryview(buffer) as view:
            try:
                return _LIST.decode(view[self.stop : stop + 1])
            except RecursionError as error:
                raise NotALog(self.stop + 1, "is nested too deeply") from error
            finally:
                buffer[stop] = kept

    def _pass(
        self,
        found: list[msgspec.Raw],
        stop: int,
        hits: Sequence[int] | None,
        wanted: Callable[[memoryview], bool],
    ) -> Iterator[tuple[int, bytes]]:
        if hits is None or bisect_left(hits, self.stop) < bisect_left(hits, stop):
            for ordinal, raw in enumerate(found, self.count + 1):
                text = memoryview(raw)
                if wanted(text):
                    yield ordinal, bytes(text)
        self.count += len(found)
        self.stop = stop


def _guesses(buffer: mmap, start: int, end: int, hits: Sequence[int]) -> list[int]:
    """The commas that may stand before and after the records that are hit."""
    found: list[int] = []
    for hit in hits:
        if found and hit < found[-1]:
            continue
        before = buffer.rfind(_BETWEEN, max(start, hit - _FAR), hit)
        if before >= 0 and (not found or before + 1 > found[-1]):
            found.append(before + 1)
        after = buffer.find(_BETWEEN, hit, min(end, hit + _FAR))
        if after >= 0:
            found.append(after + 1)
    return found


def _last_guesses(buffer: mmap, start: int, filled: int) -> list[int]:
    """Commas near the end of a full buffer that may stand between two records, best first.

    The last ones may be inside a record, thousands of them. So the way back gets longer by and by,
    before those that it left out are tried as well, as far as is reasonable.
    """
    since = max(start, filled - _FAR)
    last = [match.start(1) for match in _BETWEEN_SPACED.finditer(buffer, since, filled)][::-1]
    first = [last[at] for at in (2**n - 1 for n in range(len(last).bit_length()))]
    return [*first, *(stop for stop in last[:_TRIES] if stop not in first)]


def _malformed(error: msgspec.DecodeError, begin: int) -> NotALog:
    at = _AT.search(str(error))
    reason = _AT.sub("", str(error)).removeprefix("JSON is malformed: ").strip()
    return NotALog(begin + (int(at[1]) if at else 0), f"is not JSON: {reason}")


def _shown(text: bytes) -> str:
    return repr(bytes(text[:_SHOWN]))
