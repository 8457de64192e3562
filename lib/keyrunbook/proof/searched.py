"""What a source was asked for, and how far it answered: absence is judged by this, never alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from keyrunbook.proof.claim import NOT_READ, Claim
from keyrunbook.proof.sound import DECRYPT, GENERATE
from keyrunbook.records import IMAGE_BUILDER, MalformedRecord

Attribute = Literal["EventName", "EventSource"]


@dataclass(frozen=True, slots=True)
class Span:
    """What a source is asked for: all records of one event name, or one event source, in a time.

    `value` None stands for every record, as a log file holds them.
    """

    attribute: Attribute
    value: str | None
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Searched:
    """What a source was asked for, and how far it answered.

    `at` is when it was asked: nothing later can have been seen. `incomplete` are the spans that
    were not answered in full, `why_incomplete` the reason in a sentence. `malformed` are the
    records that could not be read. `calls` is what it took.
    """

    source: str
    spans: tuple[Span, ...]
    at: datetime
    calls: int = 0
    incomplete: tuple[Span, ...] = ()
    why_incomplete: str = ""
    malformed: tuple[MalformedRecord, ...] = ()

    @property
    def since(self) -> datetime:
        """The earliest time that was asked for."""
        return min((span.since for span in self.spans), default=self.at)

    @property
    def until(self) -> datetime:
        """The latest time that was asked for and had passed."""
        return min(max((span.until for span in self.spans), default=self.at), self.at)

    @property
    def event_names(self) -> tuple[str, ...]:
        """The event names that were asked for."""
        return tuple(
            dict.fromkeys(s.value for s in self.spans if s.attribute == "EventName" and s.value)
        )

    @property
    def complete(self) -> bool:
        """Whether all that was asked for was answered; not that nothing is missing from it."""
        return not self.incomplete and not self.malformed

    def covers(self, source: str, name: str, since: datetime, until: datetime) -> bool:
        """Whether event `name` of `source` was asked for, and answered, from `since` to `until`."""
        asked = sorted(
            (span.since, span.until)
            for span in self.spans
            if span not in self.incomplete
            and span.value in (None, name if span.attribute == "EventName" else source)
        )
        for begin, end in asked:
            if begin <= since <= end:
                since = end
                if since >= until:
                    return True
        return False


def spans_for(claim: Claim) -> tuple[Span, ...]:
    """What a source must be asked for so that `prove` can decide `claim`: narrow, by known times.

    GenerateDataKey around the build's creation, Decrypt around each read, and around each read
    all of Image Builder's own records, since any of its callers may own a Decrypt. Calls close
    to each other share a span.
    """
    skew = claim.clock_skew
    reads = [(read.since - skew, read.until + skew) for read in claim.reads]
    owners = [(read.since - 2 * skew, read.until + skew) for read in claim.reads]
    # An alias leaves open which key it was: then data keys of other builds matter.
    by_alias = claim.kms_key_id not in (claim.key_arn, None, NOT_READ)
    made = not claim.only_readable or by_alias
    creation = [(claim.created - skew, claim.created + skew)] if made else []
    return (
        *(Span("EventName", GENERATE, *window) for window in joined(creation)),
        *(Span("EventName", DECRYPT, *window) for window in joined(reads)),
        *(Span("EventSource", IMAGE_BUILDER, *window) for window in joined(owners)),
    )


def joined(windows: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """The times in order, those that touch or overlap as one; each is a begin and an end."""
    found: list[tuple[datetime, datetime]] = []
    for since, until in sorted(windows):
        if found and since <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], until)
        else:
            found.append((since, until))
    return found
