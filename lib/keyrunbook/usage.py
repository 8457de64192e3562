"""Who used a key, for what and how often, by CloudTrail's records; and whether KMS says the same.

`summarise` is pure: records in, a summary out, with what was not searched. It counts calls, and
takes nothing from a record that is not there: absence is never evidence. KMS writes each use into
the records of the key's owner, so those of other accounts are left out: they would count twice.

`compare` sets the summary beside GetKeyLastUsage, KMS's own word on the last successful use. It
answers three ways: KMS and the records agree, they disagree, or that is not known, and why.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/logging-using-cloudtrail.html
Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyLastUsage.html
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from keyrunbook.findings import Finding, Status
from keyrunbook.proof import ARN_KEY, DECRYPT, GENERATE, WORTH_WAITING, Searched, joined
from keyrunbook.records import KMS, Record, distinct

OPERATIONS: Final = (
    DECRYPT,
    GENERATE,
    "GenerateDataKeyWithoutPlaintext",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "Encrypt",
    "ReEncrypt",
)
"""The calls that use a symmetric encryption key, by CloudTrail's names of them.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/symm-asymm-compare.html
"""

_REFUSED: Final = {"AccessDenied", "AccessDeniedException"}
_SECOND: Final = timedelta(seconds=1)


class Became(enum.Enum):
    """What became of a call."""

    USED = "used"
    REFUSED = "refused"
    """KMS denied the permission."""
    FAILED = "failed"
    """KMS answered with another error, as for a disabled key."""
    DRY_RUN = "dry run"
    """Only the permission was asked for: no key was used, whatever came out."""


class Call(NamedTuple):
    """One call, as its record tells it."""

    record: Record
    became: Became

    @property
    def who(self) -> str:
        """The role behind a session, else the principal itself."""
        return self.record.caller or "unknown"

    @property
    def via(self) -> str | None:
        """The AWS service that called for the principal; None where it called itself."""
        return self.record.invoked_by

    @property
    def purpose(self) -> str:
        """What it was for, by the encryption context; values of other contexts are not shown."""
        context = self.record.encryption_context
        if context is None:
            return "not told by the record" if self.record.failed else "no encryption context"
        named = context.get(ARN_KEY)
        if named is None:
            return f"another encryption context: {', '.join(sorted(context)) or 'empty'}"
        parts = named.split(":", 5)
        return parts[5] if len(parts) == 6 and parts[2] == "imagebuilder" else named


@dataclass(frozen=True, slots=True)
class Line:
    """Calls alike: by whom, how, for what, what became of them; how often, the first, the last."""

    who: str
    via: str | None
    purpose: str
    operation: str
    became: Became
    code: str | None
    count: int
    first: datetime
    last: datetime

    @property
    def outcome(self) -> str:
        """What became of them, in words, with AWS's error code."""
        if self.became in (Became.REFUSED, Became.FAILED):
            return f"{self.became.value}: {self.code}"
        return str(self.became.value)

    def to_dict(self) -> dict[str, Any]:
        """As `runbook usage --json` has it."""
        return {
            "who": self.who,
            "via": self.via,
            "for": self.purpose,
            "operation": self.operation,
            "became": self.became.value,
            "code": self.code,
            "count": self.count,
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Usage:
    """The calls that asked for a key, oldest first, and how far they were looked for.

    `unnamed` are calls whose record names no key: each may have asked for this one.
    """

    key_arn: str
    calls: tuple[Call, ...]
    unnamed: tuple[Call, ...]
    searched: Searched = field(repr=False)

    @property
    def uses(self) -> tuple[Record, ...]:
        """The records of the calls that used the key."""
        return tuple(one.record for one in self.calls if one.became is Became.USED)

    @property
    def lines(self) -> tuple[Line, ...]:
        """The calls, those alike in one line; the most frequent first."""
        return _lines(self.calls)

    @property
    def unnamed_lines(self) -> tuple[Line, ...]:
        """The calls whose record names no key, those alike in one line."""
        return _lines(self.unnamed)

    def of(self, *principals: str) -> Usage:
        """The same of these principals alone: roles, or users, by their ARNs."""
        return Usage(
            self.key_arn,
            tuple(one for one in self.calls if one.who in principals),
            tuple(one for one in self.unnamed if one.who in principals),
            self.searched,
        )

    def not_searched(self) -> tuple[str, ...]:
        """What the summary does not cover, a sentence each."""
        searched = self.searched
        return (
            *_reach(searched),
            *([searched.why_incomplete] if searched.incomplete and searched.why_incomplete else []),
            *(f"Malformed: {one}" for one in searched.malformed),
        )

    def to_dict(self) -> dict[str, Any]:
        """As `runbook usage --json` has it."""
        return {
            "key_arn": self.key_arn,
            "lines": [one.to_dict() for one in self.lines],
            "names_no_key": [one.to_dict() for one in self.unnamed_lines],
            "source": self.searched.source,
            "searched_from": self.searched.since.isoformat(),
            "searched_until": self.searched.until.isoformat(),
            "complete": self.searched.complete,
            "not_searched": list(self.not_searched()),
        }


def summarise(records: Iterable[Record], key_arn: str, searched: Searched) -> Usage:
    """The calls among `records` that asked for the key, in its own account and Region.

    Neither their order nor their repetition matters; records that share an event id and say
    different things are each counted.
    """
    _, _, _, region, account, resource = key_arn.split(":", 5)
    key_id = resource.partition("/")[2]
    of_key = (
        record
        for record in records
        if (record.source, record.account, record.region) == (KMS, account, region)
        and record.name in OPERATIONS
    )
    calls: list[Call] = []
    unnamed: list[Call] = []
    for record in distinct(of_key):
        names = _names(record, key_arn, key_id)
        if names is not False:
            (unnamed if names is None else calls).append(Call(record, became(record)))
    return Usage(key_arn, tuple(calls), tuple(unnamed), searched)


def none_seen(usage: Usage, who: str, since: datetime, until: datetime) -> str:
    """That nobody was seen to use the key, worded as what it is, with the refusals that were seen.

    `who` is how to call those that `usage` is of. Only true where `usage` has no uses.
    """
    refused = [one for one in (*usage.calls, *usage.unnamed) if one.became is Became.REFUSED]
    times = f", the last at {_when(refused[-1].record.time)}" if refused else ""
    return (
        f"no use by {who} seen in {usage.searched.source} from {_when(since)} to {_when(until)}; "
        f"{len(refused)} refused{times}. Records may come late or never: absence proves nothing."
    )


def _names(record: Record, key_arn: str, key_id: str) -> bool | None:
    """Whether a record is about the key; None where it names none.

    A refusal may have neither resources nor request parameters; its message may name the key.
    """
    passed = record.key_id_as_passed
    if key_arn in record.key_arns or passed in (key_arn, key_id):
        return True
    if key_arn in (record.error_message or ""):
        return True
    told = record.key_arns or (passed and "alias/" not in passed)
    return False if told or ":key/" in (record.error_message or "") else None


def became(record: Record) -> Became:
    """What became of the call that a record tells of."""
    if record.dry_run:
        return Became.DRY_RUN
    if record.error_code in _REFUSED:
        return Became.REFUSED
    return Became.FAILED if record.failed else Became.USED


def _lines(calls: Iterable[Call]) -> tuple[Line, ...]:
    alike: dict[tuple[str, str | None, str, str, Became, str | None], list[datetime]] = {}
    for one in calls:
        code = one.record.error_code
        what = (one.who, one.via, one.purpose, one.record.name, one.became, code)
        alike.setdefault(what, []).append(one.record.time)
    lines = (Line(*what, len(times), min(times), max(times)) for what, times in alike.items())
    return tuple(
        sorted(
            lines, key=lambda one: (-one.count, one.who, one.purpose, one.operation, one.outcome)
        )
    )


# --- what was searched


def _reach(searched: Searched) -> Iterator[str]:
    """When each operation was looked for, those alike in one sentence."""
    windows: dict[tuple[tuple[datetime, datetime], ...], list[str]] = {}
    for name in OPERATIONS:
        windows.setdefault(_windows(searched, name), []).append(name)
    for times, names in windows.items():
        if not times:
            yield f"Not looked for: {', '.join(names)}."
            continue
        shown = ", and ".join(f"from {_when(since)} to {_when(until)}" for since, until in times)
        what = "Looked for" if len(names) == len(OPERATIONS) else f"{', '.join(names)}: looked for"
        yield f"{what} {shown}; not before, between or after."


def _windows(searched: Searched, name: str) -> tuple[tuple[datetime, datetime], ...]:
    asked = (
        (span.since, min(span.until, searched.at))
        for span in searched.spans
        if span not in searched.incomplete
        and span.value in (None, name if span.attribute == "EventName" else KMS)
    )
    return tuple(joined((since, until) for since, until in asked if since <= until))


def _when(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


# --- what KMS itself says


@dataclass(frozen=True, slots=True)
class LastUsage:
    """GetKeyLastUsage's answer, and when it was asked. `time` is None where KMS knows of no use."""

    asked: datetime
    created: datetime
    tracking_since: datetime
    operation: str | None = None
    time: datetime | None = None
    event_id: str | None = None
    request_id: str | None = None


class Agreement(enum.Enum):
    """Whether KMS and the records say the same of the last use."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    UNKNOWN = "not known"


_STATUS: Final[Mapping[Agreement, Status]] = {
    Agreement.AGREES: "pass",
    Agreement.DISAGREES: "fail",
    Agreement.UNKNOWN: "not checked",
}


class Compared(NamedTuple):
    """How KMS's last use and the records compare, and why, in a sentence."""

    agreement: Agreement
    reason: str

    @property
    def finding(self) -> Finding:
        """The same as a finding."""
        statement = "KMS and the records say the same of the last use"
        return Finding(statement, _STATUS[self.agreement], self.reason)


def last_usage(answer: Mapping[str, Any], asked: datetime) -> LastUsage:
    """GetKeyLastUsage's answer as boto3 gives it."""
    use = answer.get("KeyLastUsage") or {}
    return LastUsage(
        asked,
        answer["KeyCreationDate"],
        answer["TrackingStartDate"],
        use.get("Operation"),
        use.get("Timestamp"),
        use.get("CloudTrailEventId"),
        use.get("KmsRequestId"),
    )


def compare(usage: Usage, told: LastUsage | str) -> Compared:
    """Set the records' last use beside KMS's; `told` is a text where KMS did not answer: why not.

    Of uses in one second the records do not tell which was last. Records may come late, and KMS is
    eventually consistent: a difference is told with what may explain it, and explains nothing away.
    """
    if isinstance(told, str):
        return Compared(Agreement.UNKNOWN, f"GetKeyLastUsage could not be read: {told}")
    # A record has whole seconds: it is surely of before the question a second later.
    before = [one for one in usage.uses if one.time + _SECOND <= told.asked]
    if told.time is None:
        return _compare_with_none(told, before)
    what = f"{told.operation} at {_when(told.time)}"
    if not any(_is_it(one, told) for one in usage.uses):
        return _compare_with_missing(usage, told, what)
    later = [one for one in before if one.time > told.time]
    if later:
        last = later[-1]
        return Compared(
            Agreement.DISAGREES,
            f"KMS's last use is {what}, and a record shows a later one: {last.name} at "
            f"{_when(last.time)}. KMS may lag behind.",
        )
    return Compared(Agreement.AGREES, f"KMS's last use is {what}, and so is the records'.")


def _is_it(record: Record, told: LastUsage) -> bool:
    if told.event_id is not None or told.request_id is not None:
        by_event = told.event_id is not None and record.event_id == told.event_id
        by_request = told.request_id is not None and record.request_id == told.request_id
        return by_event or by_request
    assert told.time is not None
    return record.name == told.operation and abs(record.time - told.time) < _SECOND


def _compare_with_none(told: LastUsage, seen: list[Record]) -> Compared:
    known = [one for one in seen if one.time >= told.tracking_since]
    since = _when(told.tracking_since)
    if known:
        last = known[-1]
        return Compared(
            Agreement.DISAGREES,
            f"KMS knows of no use since {since}, and a record shows {last.name} at "
            f"{_when(last.time)}. KMS may lag behind.",
        )
    before = "" if told.created >= told.tracking_since else " Earlier uses KMS does not know."
    shows = "and the records show none" if not seen else "and the records show only earlier ones"
    return Compared(Agreement.AGREES, f"KMS knows of no use since {since}, {shows}.{before}")


def _compare_with_missing(usage: Usage, told: LastUsage, what: str) -> Compared:
    searched, time = usage.searched, told.time
    assert time is not None
    second = time.replace(microsecond=0)
    if told.operation is None or not searched.covers(KMS, told.operation, second, second):
        return Compared(
            Agreement.UNKNOWN,
            f"KMS's last use is {what}, which {searched.source} was not searched for.",
        )
    if searched.at < time + WORTH_WAITING:
        return Compared(
            Agreement.UNKNOWN,
            f"KMS's last use is {what}, and {searched.source} does not show it so far: its record "
            f"may well come until {_when(time + WORTH_WAITING)}.",
        )
    return Compared(
        Agreement.DISAGREES,
        f"KMS's last use is {what}, and it is not among the uses that {searched.source} shows: a "
        "record is missing, or was altered.",
    )
