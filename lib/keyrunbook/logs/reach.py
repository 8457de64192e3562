"""What a search of log files was for, what it found, and what the files cover.

CloudTrail delivers a record minutes after its event, or later, and a file's name has the time of
its delivery. So files cover the time from the oldest record in them to the newest record or
delivery; what could not be read leaves a hole before it, since any late record may have been in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Final

from keyrunbook.errors import ParameterError
from keyrunbook.logs.names import LogName, log_name
from keyrunbook.logs.scan import Scanned
from keyrunbook.proof import Claim, Searched, Span, joined
from keyrunbook.records import MalformedRecord, Record, distinct

LATE: Final = timedelta(days=1)
"""How much later than its event a record is still looked for. AWS names minutes, and promises none.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
"""

_MINUTE: Final = timedelta(minutes=1)  # the name's precision
_SHOWN: Final = 4
_EVER: Final = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))

Time = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Found:
    """The records that files hold, each once and oldest first, and what the files cover.

    `files` and `size` are how many log files were read, and their bytes decompressed; `parsed` how
    many records were parsed to find these. `notes` are facts that a reader must know and that are
    no trouble: doubles, files that were left out. `wanted` is what was looked for. `scanned` has
    what each file was found to be, `digests` the digest files that lie beside, for
    `keyrunbook.logs.integrity`.
    """

    records: tuple[Record, ...]
    searched: Searched
    files: int
    size: int
    parsed: int
    notes: tuple[str, ...]
    scanned: tuple[Scanned, ...] = field(repr=False)
    digests: tuple[Path, ...] = field(repr=False)
    wanted: Wanted

    def places(self, event_ids: Iterable[str]) -> tuple[str, ...]:
        """The files that hold records of these events."""
        wanted = set(event_ids)
        return tuple(
            one.place
            for one in self.scanned
            if any(record.event_id in wanted for record in one.records)
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for: records from `since` to `until`, of an account, in a Region.

    None stands for any. Only a file's name is compared with account and Region, and its time of
    delivery with the times: a file that is not named as CloudTrail names them is always read.
    """

    since: datetime | None = None
    until: datetime | None = None
    account: str | None = None
    region: str | None = None

    def __post_init__(self) -> None:
        for time in (self.since, self.until):
            if time is not None and time.tzinfo is None:
                raise ValueError(f"{time} names no time zone")
        if self.since and self.until and self.until < self.since:
            raise ParameterError(
                f"The search ends ({self.until}) before it begins ({self.since}).",
                "Give a --since that is before --until.",
            )

    @classmethod
    def by(cls, claim: Claim) -> Wanted:
        """What a claim is judged by: from the build's creation to the last read that is known.

        Where no read is known, any later one may be in the files.
        """
        skew = claim.clock_skew
        ends = [read.until + skew for read in claim.reads]
        return cls(
            since=claim.created - 2 * skew,
            until=max([claim.created + skew, *ends]) if ends else None,
            account=claim.account,
            region=claim.region,
        )

    def may_be_in(self, name: LogName | None) -> bool:
        """Whether a file of this name may hold such records."""
        return name is None or (
            self.is_of(name.account, name.region)
            # The name has the minute of delivery, and no record is delivered before its event.
            and (self.since is None or name.delivered + timedelta(minutes=1) >= self.since)
            and (self.until is None or name.delivered <= self.until + LATE)
        )

    def is_of(self, account: str, region: str) -> bool:
        """Whether an account and Region are among those."""
        return self.account in (None, account) and self.region in (None, region)

    def holds(self, record: Record) -> bool:
        """Whether a record's time is one of these."""
        return (self.since is None or self.since <= record.time) and (
            self.until is None or record.time <= self.until
        )


def found(
    source: str,
    wanted: Wanted,
    scanned: Iterable[Scanned],
    *,
    troubles: Iterable[tuple[str, str]] = (),
    notes: Iterable[str] = (),
    digests: Iterable[Path] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    lack: str = "",
) -> Found:
    """Put together what was scanned. `source` is the files' name in a sentence.

    `troubles` are places that could not be looked into. `since` and `until` say from when to when
    the files are known to be; without them, that is judged by themselves. `lack` is a sentence on
    records that the files cannot hold: then they cover nothing.
    """
    read = sorted(scanned, key=lambda one: one.place)
    held = _held(_reach(read), since, until)
    troubles = list(troubles)
    holes = [_EVER for _ in range(len(troubles) + bool(lack))]
    for one in read:
        troubles += one.troubles
        holes += [_hole(one.place) for _ in one.troubles]
    spans, incomplete, why = _spans(wanted, held, holes, troubles, lack)
    return Found(
        records=tuple(
            distinct(record for one in read for record in one.records if wanted.holds(record))
        ),
        searched=Searched(
            source=source,
            spans=spans,
            at=held[1] if held is not None else until or datetime.now(UTC),
            calls=len(read),
            incomplete=incomplete,
            why_incomplete=why,
            malformed=tuple(MalformedRecord(*trouble) for trouble in troubles),
        ),
        files=len(read),
        size=sum(one.size for one in read),
        parsed=sum(one.parsed for one in read),
        notes=(*notes, *_doubles(read)),
        scanned=tuple(read),
        digests=tuple(digests),
        wanted=wanted,
    )


def _reach(read: Sequence[Scanned]) -> Time | None:
    times = [time for one in read for time in one.times]
    if not times:
        return None
    names = (log_name(PurePosixPath(one.place).name) for one in read)
    delivered = [name.delivered for name in names if name is not None]
    return min(times), max([*times, *delivered])


def _held(by_files: Time | None, since: datetime | None, until: datetime | None) -> Time | None:
    begin = since or (by_files[0] if by_files else None)
    end = until or (by_files[1] if by_files else None)
    if begin is None or end is None:
        return None
    return begin, max(begin, end)


def _hole(place: str) -> Time:
    """The times of the records that a file may have held."""
    name = log_name(PurePosixPath(place).name)
    return _EVER if name is None else (name.delivered - LATE, name.delivered + _MINUTE)


def _spans(
    wanted: Wanted,
    held: Time | None,
    holes: Sequence[Time],
    troubles: Sequence[tuple[str, str]],
    lack: str,
) -> tuple[tuple[Span, ...], tuple[Span, ...], str]:
    """All that was asked for, in pieces: those that are covered, those that are not, and why."""
    if held is None:
        why = lack or "The files hold no record whose time could be read."
        if wanted.since is None or wanted.until is None:
            return (), (), why
        everything = Span("EventName", None, wanted.since, wanted.until)
        return (everything,), (everything,), why
    since, until = wanted.since or held[0], wanted.until or held[1]
    lacking = [_cut(hole, since, until) for hole in holes]
    reasons = [lack] if lack else []
    if troubles and any(lacking):
        more = f" and {len(troubles) - 1} more" if len(troubles) > 1 else ""
        reasons.append(f"{troubles[0][0]} {troubles[0][1]}{more}.")
    if since < held[0]:
        lacking.append((since, min(held[0], until)))
        reasons.append(f"The files hold nothing from before {held[0].isoformat()}.")
    if until > held[1]:
        lacking.append((max(held[1], since), until))
        reasons.append(f"The files hold nothing from after {held[1].isoformat()}.")
    gone = joined(piece for piece in lacking if piece is not None)
    kept = tuple(Span("EventName", None, *piece) for piece in _without(since, until, gone))
    incomplete = tuple(Span("EventName", None, *piece) for piece in gone)
    spans = tuple(sorted((*kept, *incomplete), key=lambda span: (span.since, span.until)))
    return spans, incomplete, " ".join(reasons)


def _cut(piece: Time, since: datetime, until: datetime) -> Time | None:
    begin, end = max(piece[0], since), min(piece[1], until)
    return (begin, end) if begin <= end else None


def _without(since: datetime, until: datetime, gone: Sequence[Time]) -> Iterator[Time]:
    for begin, end in gone:
        if since < begin:
            yield since, begin
        since = max(since, end)
    if since < until or not gone:
        yield since, until


def _doubles(read: Sequence[Scanned]) -> Iterator[str]:
    by_name: defaultdict[object, list[str]] = defaultdict(list)
    by_text: defaultdict[object, list[str]] = defaultdict(list)
    for one in read:
        by_name[PurePosixPath(one.place).name].append(one.place)
        if one.whole and one.size:
            by_text[one.size, one.crc].append(one.place)
    texts = [same for same in by_text.values() if len(same) > 1]
    for same in texts:
        yield f"{_listed(same)} hold the same text: each record of it counts once"
    for same in by_name.values():
        if len(same) > 1 and same not in texts:
            yield f"{_listed(same)} have one name and hold different texts"


def _listed(places: Sequence[str]) -> str:
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return ", ".join(places[:_SHOWN]) + more
