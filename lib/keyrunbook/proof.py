"""The proof: was this workflow build encrypted by Image Builder under this key, and is it readable?

`prove` is pure and three-valued. It takes CloudTrail records from any source, the claim, and what
the source was asked for. Absence of a record never refutes: delivery is not guaranteed.

Rules, by the names that the code uses:

- *sound*: a GenerateDataKey or Decrypt record that KMS wrote for a call which Image Builder made
  and KMS served, for this workflow version exactly, in this account and Region, at a possible
  time. The key is judged apart.
- *tied*: a sound Decrypt that a GetWorkflow call of this build made, and no other call can have
  made. The encryption context names the version, not the build, so it cannot tell builds apart.
- *pair*: a sound GenerateDataKey and a tied Decrypt with the same encryption context in full. The
  Encryption SDK puts a fresh public key into each message's context, and KMS refuses a Decrypt
  whose context is not exactly the one at generation: a pair belongs to one ciphertext.

PROVED needs a tied Decrypt (*readable*) and a pair (*encrypted*) under the key. REFUTED needs that
GetWorkflow names another key or none, or a pair under another key. All else is NOT_YET. Records get
lost, and a verdict must outlive that: where GetWorkflow names no key ARN, a pair decides only if no
other data key of the version was made at the same time.

Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html
Source: https://docs.aws.amazon.com/kms/latest/developerguide/encrypt_context.html
Source: https://docs.aws.amazon.com/encryption-sdk/latest/developer-guide/algorithms-reference.html
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import unquote

from keyrunbook.records import IMAGE_BUILDER, KMS, MalformedRecord, Record

ARN_KEY: Final = "aws:imagebuilder:arn"
MESSAGE_KEY: Final = "aws-crypto-public-key"
GENERATE: Final = "GenerateDataKey"
DECRYPT: Final = "Decrypt"
GET_WORKFLOW: Final = "GetWorkflow"

READERS: Final = frozenset(
    {
        GET_WORKFLOW,
        "GetWorkflowStepExecution",
        "CreateImage",
        "CreateImagePipeline",
        "UpdateImagePipeline",
        "StartImagePipelineExecution",
    }
)
"""Image Builder's calls that may make it decrypt a workflow as their caller.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2imagebuilder.html
"""

TYPICAL_DELIVERY: Final = timedelta(minutes=5)
"""What AWS names as the average. Source:
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html"""

WORTH_WAITING: Final = timedelta(minutes=15)
"""How long after a call its record is still worth waiting for. Delivery is not guaranteed."""

_BUILD_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):imagebuilder:(?P<region>[a-z0-9-]+):(?P<account>\d{12}|aws)"
    r":workflow/(?P<type>build|test|distribution)/(?P<name>[a-z0-9_-]+)"
    r"/(?P<version>\d+\.\d+\.\d+)/\d+",
    re.ASCII,
)
_KEY_ARN = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+", re.ASCII)
_ANY_WORKFLOW = re.compile(r"arn:[^:]+:imagebuilder:[^:]*:[^:]*:workflow/", re.IGNORECASE)


class Outcome(enum.Enum):
    """The three values of a verdict and of each of its clauses."""

    PROVED = "PROVED"
    REFUTED = "REFUTED"
    NOT_YET = "NOT_YET"


class Need(enum.Enum):
    """What a clause that is NOT_YET waits for, so that a caller knows what to do next."""

    WAIT = "wait"
    """A record may still be delivered."""
    READ_AGAIN = "read again"
    """Call GetWorkflow of the build again, two clock skews or more after any other call of it."""
    SEARCH = "search"
    """The source was not asked for all that is needed: ask it, or another one."""
    NOTHING = "nothing"
    """Neither waiting nor asking again will help."""


class Unread(enum.Enum):
    """In place of the key that GetWorkflow names, when nobody could ask it."""

    NOT_READ = "not read"


NOT_READ: Final = Unread.NOT_READ


class InvalidClaim(ValueError):
    """A claim that says nothing definite; `field` names the part, `reason` what is wrong."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field} {reason}")
        self.field = field
        self.reason = reason


class Read(NamedTuple):
    """One GetWorkflow call of this build that the prover made: when, as whom, and its request id.

    `since` and `until` are aware times just before and just after the call; `principal_arn` is
    GetCallerIdentity's Arn. With `request_id` the call's own record is recognised for certain.
    """

    since: datetime
    until: datetime
    principal_arn: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """This workflow build was encrypted by Image Builder under this key, and is readable by it.

    `created` is GetWorkflow's dateCreated. `kms_key_id` is what GetWorkflow names: a key ARN, an
    alias ARN, None where it names none, `NOT_READ` where nobody could ask. `resolved_key_arn` is
    the key that an alias names now; it decides nothing, since an alias can have moved. `account`
    and `region` are those of the records. `clock_skew` is how far two clocks may differ, the
    prover's from AWS's included. With `permitted_principals` (IAM role or user ARNs) only records
    of calls by these count. With `only_readable` the verdict is that of the clause *readable*.

    Raises InvalidClaim for an ARN that names no single build or key, a time without zone, a
    Region that is not the workflow's, a skew under a second.
    """

    workflow_build_arn: str
    key_arn: str
    created: datetime
    account: str
    region: str
    kms_key_id: str | Unread | None
    resolved_key_arn: str | None = None
    prover_reads: tuple[Read | tuple[datetime, datetime, str], ...] = ()
    clock_skew: timedelta = timedelta(seconds=30)
    permitted_principals: tuple[str, ...] | None = None
    only_readable: bool = False

    def __post_init__(self) -> None:
        match = _BUILD_ARN.fullmatch(self.workflow_build_arn)
        if match is None:
            raise InvalidClaim(
                "workflow_build_arn",
                f"{self.workflow_build_arn!r} is not the ARN of one workflow build version "
                "(…:workflow/build/NAME/1.0.0/1).",
            )
        if match["region"] != self.region:
            raise InvalidClaim(
                "region", f"{self.region!r} is not the workflow's, {match['region']!r}."
            )
        if _KEY_ARN.fullmatch(self.key_arn) is None:
            raise InvalidClaim("key_arn", f"{self.key_arn!r} is not the ARN of a KMS key.")
        if self.kms_key_id == "":
            raise InvalidClaim("kms_key_id", "is empty; None says that GetWorkflow names no key.")
        if self.created.tzinfo is None:
            raise InvalidClaim("created", "has no time zone.")
        if self.clock_skew < timedelta(seconds=1):
            raise InvalidClaim("clock_skew", "is under a second: records hold whole seconds.")
        for read in self.reads:
            if read.since.tzinfo is None or read.until.tzinfo is None:
                raise InvalidClaim("prover_reads", "hold a time without time zone.")
            if read.until < read.since:
                raise InvalidClaim("prover_reads", "hold a call that ends before it begins.")

    @property
    def reads(self) -> tuple[Read, ...]:
        """`prover_reads`, each as a `Read`."""
        return tuple(Read(*read) for read in self.prover_reads)

    @property
    def context_arn(self) -> str:
        """What Image Builder writes into the encryption context: the build's ARN, build starred."""
        return self.workflow_build_arn.rpartition("/")[0] + "/*"

    @property
    def worth_waiting_until(self) -> datetime:
        """Until when the records of the build's creation and of the reads may well still come."""
        return max([self.created, *(read.until for read in self.reads)]) + WORTH_WAITING


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


class Rejected(NamedTuple):
    """A GenerateDataKey or Decrypt record that does not count, and why not."""

    record: Record
    reason: str


class Caller(NamedTuple):
    """Who made the call behind a record that the verdict rests on.

    `issuer_arn` is the role of a session. Who called neither proves nor refutes: an
    administrator's GetWorkflow is legitimate.
    """

    event_name: str
    event_id: str
    principal_arn: str | None
    issuer_arn: str | None


@dataclass(frozen=True, slots=True)
class Clause:
    """One half of the claim: its outcome, the records it rests on, and why, in a sentence.

    A clause that is NOT_YET says in `reason` what is missing, and in `need` what would help.
    """

    name: Literal["encrypted", "readable"]
    outcome: Outcome
    reason: str
    records: tuple[Record, ...] = ()
    need: Need | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a claim, with all that it rests on and all that was set aside.

    `rejected` holds every GenerateDataKey and Decrypt record that was given and does not count,
    oldest first.
    """

    outcome: Outcome
    encrypted: Clause
    readable: Clause
    rejected: tuple[Rejected, ...]
    claim: Claim = field(repr=False)
    searched: Searched = field(repr=False)

    @property
    def clauses(self) -> tuple[Clause, Clause]:
        """Both clauses, *encrypted* first."""
        return self.encrypted, self.readable

    @property
    def records(self) -> tuple[Record, ...]:
        """The records that the verdict rests on, oldest first; the data key before its Decrypt."""
        found = {record.event_id: record for clause in self.clauses for record in clause.records}
        return tuple(
            sorted(found.values(), key=lambda one: (one.time, one.name != GENERATE, one.event_id))
        )

    @property
    def events(self) -> tuple[str, ...]:
        """The event ids of `records`."""
        return tuple(record.event_id for record in self.records)

    @property
    def callers(self) -> tuple[Caller, ...]:
        """Who made the calls behind `records`."""
        return tuple(
            Caller(record.name, record.event_id, record.principal_arn, record.issuer_arn)
            for record in self.records
        )

    @property
    def missing(self) -> tuple[str, ...]:
        """What each clause that is NOT_YET lacks."""
        return tuple(
            f"{clause.name}: {clause.reason}"
            for clause in self.clauses
            if clause.outcome is Outcome.NOT_YET
        )

    def to_dict(self) -> dict[str, Any]:
        """The verdict as ledger and evidence hold it; records by their event ids."""
        return {
            "outcome": self.outcome.value,
            "events": list(self.events),
            "clauses": [
                {
                    "name": clause.name,
                    "outcome": clause.outcome.value,
                    "reason": clause.reason,
                    "need": clause.need.value if clause.need is not None else None,
                    "events": [record.event_id for record in clause.records],
                }
                for clause in self.clauses
            ],
            "callers": [caller._asdict() for caller in self.callers],
            "rejected": [
                {"event_id": item.record.event_id, "reason": item.reason} for item in self.rejected
            ],
            "source": self.searched.source,
            "searched_from": self.searched.since.isoformat(),
            "searched_until": self.searched.until.isoformat(),
            "complete": self.searched.complete,
        }

    @property
    def needs(self) -> frozenset[Need]:
        """What would help the clauses that are NOT_YET."""
        return frozenset(clause.need for clause in self.clauses if clause.need is not None)


def spans_for(claim: Claim) -> tuple[Span, ...]:
    """What a source must be asked for so that `prove` can decide `claim`: narrow, by known times.

    GenerateDataKey around the build's creation, Decrypt around each read, and around each read
    all of Image Builder's own records, since any of its callers may own a Decrypt. Calls close
    to each other share a span.
    """
    skew = claim.clock_skew
    reads = [(read.since - skew, read.until + skew) for read in claim.reads]
    owners = [(read.since - 2 * skew, read.until + skew) for read in claim.reads]
    creation = [] if claim.only_readable else [(claim.created - skew, claim.created + skew)]
    return (
        *(Span("EventName", GENERATE, *window) for window in _joined(creation)),
        *(Span("EventName", DECRYPT, *window) for window in _joined(reads)),
        *(Span("EventSource", IMAGE_BUILDER, *window) for window in _joined(owners)),
    )


def prove(records: Iterable[Record], claim: Claim, searched: Searched) -> Verdict:
    """Judge `claim` by `records`, which `searched` says how they were got.

    Neither the order of the records nor their repetition matters.
    """
    given, at_odds = _distinct(records)
    reasons: dict[str, str] = {}
    sound: list[Record] = []
    for record in given:
        if not _candidate(record):
            continue
        reason = _unsound(record, claim)
        if reason is None:
            sound.append(record)
        else:
            reasons[record.event_id] = reason
    doubtful = [record for record in at_odds if _candidate(record) and not _unsound(record, claim)]
    tied, need = _tied(sound, given, at_odds, claim, searched, reasons)
    found = _Found(
        claim,
        searched,
        generated=[record for record in sound if record.name == GENERATE],
        decrypts=[record for record in sound if record.name == DECRYPT],
        doubtful=doubtful,
        tied=tied,
        need=need,
    )
    encrypted, readable = _clauses(found)
    used = {record.event_id for clause in (encrypted, readable) for record in clause.records}
    rejected = [
        Rejected(record, reasons.get(record.event_id) or _unused(record, found))
        for record in given
        if _candidate(record) and record.event_id not in used
    ]
    rejected += [
        Rejected(record, "another record with the same event id says something else")
        for record in at_odds
        if _candidate(record)
    ]
    return Verdict(
        outcome=readable.outcome if claim.only_readable else _both(encrypted, readable),
        encrypted=encrypted,
        readable=readable,
        rejected=tuple(sorted(rejected, key=lambda item: _order(item.record))),
        claim=claim,
        searched=searched,
    )


def _both(encrypted: Clause, readable: Clause) -> Outcome:
    outcomes = {encrypted.outcome, readable.outcome}
    if Outcome.REFUTED in outcomes:
        return Outcome.REFUTED
    return Outcome.PROVED if outcomes == {Outcome.PROVED} else Outcome.NOT_YET


def _candidate(record: Record) -> bool:
    return record.source == KMS and record.name in (GENERATE, DECRYPT)


def _order(record: Record) -> tuple[datetime, str]:
    return record.time, record.event_id


def _distinct(records: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """Each record once, oldest first; and apart those that share an event id but not content."""
    by_id: dict[str, list[Record]] = {}
    for record in records:
        same_id = by_id.setdefault(record.event_id, [])
        if record not in same_id:
            same_id.append(record)
    once = [same[0] for same in by_id.values() if len(same) == 1]
    at_odds = [record for same in by_id.values() if len(same) > 1 for record in same]
    return sorted(once, key=_order), sorted(at_odds, key=_order)


def _unsound(record: Record, claim: Claim) -> str | None:
    """Why a GenerateDataKey or Decrypt record cannot speak for this version, whatever its key."""
    return (
        _foreign_place(record, claim)
        or _not_served(record)
        or _other_context(record, claim)
        or _unclear_key(record)
        or _wrong_time(record, claim)
    )


def _foreign_place(record: Record, claim: Claim) -> str | None:
    if record.account != claim.account:
        return f"recorded in account {record.account}, not in {claim.account}"
    if record.region != claim.region:
        return f"recorded in Region {record.region}, not in {claim.region}"
    return None


def _not_served(record: Record) -> str | None:
    if record.dry_run:
        return "a dry run: KMS made or opened no key"
    if record.failed:
        return f"the call failed: {record.error_code or record.error_message or 'no error code'}"
    if record.invoked_by != IMAGE_BUILDER:
        who = f"by {record.invoked_by}" if record.invoked_by else "by no AWS service"
        return f"not invoked by Image Builder, but {who}"
    return None


def _other_context(record: Record, claim: Claim) -> str | None:
    context = record.encryption_context
    if context is None:
        return "the record holds no encryption context"
    found = context.get(ARN_KEY)
    if found is None:
        alike = [key for key in context if key.lower() == ARN_KEY]
        if alike:
            return f"the context's key {alike[0]} differs from {ARN_KEY} in letter case"
        return f"the encryption context has no {ARN_KEY}"
    if found != claim.context_arn:
        if found.lower() == claim.context_arn.lower():
            return f"the context's ARN {found} differs in letter case"
        return f"the encryption context is of {found}"
    if not context.get(MESSAGE_KEY):
        return f"the encryption context has no {MESSAGE_KEY}, so it tells no messages apart"
    return None


def _unclear_key(record: Record) -> str | None:
    if len(set(record.key_arns)) != 1:
        return "the record names no key" if not record.key_arns else "the record names several keys"
    passed = record.key_id_as_passed
    if passed is not None and _KEY_ARN.fullmatch(passed) and passed != record.key_arns[0]:
        return f"the record contradicts itself: asked for {passed}, used {record.key_arns[0]}"
    return None


def _wrong_time(record: Record, claim: Claim) -> str | None:
    if record.time < claim.created - claim.clock_skew:
        return f"from before this build's creation at {_when(claim.created)}"
    if record.name == GENERATE and record.time > claim.created + claim.clock_skew:
        return (
            f"made after this build's creation at {_when(claim.created)}: of a later build of "
            "the same version"
        )
    return None


def _tied(
    sound: Sequence[Record],
    given: Sequence[Record],
    at_odds: Sequence[Record],
    claim: Claim,
    searched: Searched,
    reasons: dict[str, str],
) -> tuple[list[Record], Need]:
    """The sound Decrypts that a call of this build made and no other can have made.

    Why each of the others is not is put into `reasons`. Also what would help if there is none.
    """
    reads = _reads(given, claim)
    # Records that contradict each other count for nothing, but may still be in the way.
    strangers = [r for r in (*given, *at_odds) if _may_read_another_build(r, claim)]
    rivals = [
        record
        for record in (*sound, *at_odds)
        if record.source == KMS and record.name == DECRYPT and not _unsound(record, claim)
    ]
    decrypts = [record for record in sound if record.name == DECRYPT]
    tied: list[Record] = []
    need = Need.WAIT if reads else Need.READ_AGAIN
    for record in decrypts:
        owners = [read for read in reads if _may_own(read, record, claim)]
        if not owners:
            reasons[record.event_id] = (
                f"no GetWorkflow call of this build by {record.principal_arn} is known at that time"
            )
            continue
        stranger = next((other for other in strangers if _near(other, record, claim)), None)
        if stranger is not None:
            reasons[record.event_id] = (
                f"it may belong to the {stranger.name} call {stranger.event_id}, which is or may "
                "be of another build of this version"
            )
            need = Need.READ_AGAIN
        elif _has_rival(record, owners, rivals, claim):
            reasons[record.event_id] = (
                "another message of this version was opened at the same time by the same caller"
            )
            need = Need.READ_AGAIN
        elif not searched.covers(
            IMAGE_BUILDER, GET_WORKFLOW, record.time - claim.clock_skew, record.time
        ):
            reasons[record.event_id] = (
                f"{searched.source} was not asked, or did not answer in full, which other "
                "GetWorkflow calls there were at that time"
            )
            need = Need.SEARCH
        else:
            tied.append(record)
    messages = {(_message(record), record.key_arns[0]) for record in tied}
    if len(messages) > 1:
        for record in tied:
            reasons[record.event_id] = (
                "the calls of this build opened different messages, so not each was of this build"
            )
        return [], Need.READ_AGAIN
    return tied, need


def _reads(given: Sequence[Record], claim: Claim) -> list[Read]:
    """The calls known to be of this build: the prover's own, and those whose record says so."""
    recorded = [
        Read(record.time, record.time, record.principal_arn, record.request_id)
        for record in given
        if record.source == IMAGE_BUILDER
        and record.name == GET_WORKFLOW
        and record.principal_arn is not None
        and not record.failed
        and _foreign_place(record, claim) is None
        and _workflows_named(record) == {claim.workflow_build_arn}
    ]
    return [*claim.reads, *recorded]


def _may_own(read: Read, record: Record, claim: Claim) -> bool:
    return (
        read.principal_arn == record.principal_arn
        and read.since - claim.clock_skew <= record.time <= read.until + claim.clock_skew
    )


def _near(stranger: Record, record: Record, claim: Claim) -> bool:
    same_caller = stranger.principal_arn is None or stranger.principal_arn == record.principal_arn
    return same_caller and abs(stranger.time - record.time) <= claim.clock_skew


def _has_rival(
    record: Record, owners: Sequence[Read], rivals: Sequence[Record], claim: Claim
) -> bool:
    """Whether one of the calls that may own `record` may own another message as well."""
    return any(
        _message(other) != _message(record) and _may_own(read, other, claim)
        for read in owners
        for other in rivals
    )


def _may_read_another_build(record: Record, claim: Claim) -> bool:
    """Whether an Image Builder record may be of a call that opened another build of the version.

    It may unless it was refused, is the prover's own, or names workflows none of which can be
    another build of this version. A record that names no workflow may be of any.
    """
    if record.source != IMAGE_BUILDER or record.name not in READERS:
        return False
    if _foreign_place(record, claim) is not None or record.error_code == "AccessDenied":
        return False
    own = {read.request_id for read in claim.reads if read.request_id is not None}
    if record.name == GET_WORKFLOW and record.request_id in own:
        return False
    named = _workflows_named(record)
    return not named or any(_may_be_another_build(arn, claim) for arn in named)


def _workflows_named(record: Record) -> set[str]:
    """The workflow ARNs in the request, whatever they are called there."""
    # The form of these records is not documented: an ARN may be percent-encoded, as in the URL.
    strings = (unquote(text) for text in _strings(record.request_parameters))
    return {text for text in strings if _ANY_WORKFLOW.match(text)}


def _strings(value: Mapping[str, Any] | Sequence[Any] | object) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def _may_be_another_build(arn: str, claim: Claim) -> bool:
    """Whether `arn`, perhaps with x wildcards or without a build, covers another build."""
    if arn == claim.workflow_build_arn:
        return False
    ours = claim.workflow_build_arn.lower().split("/")
    theirs = arn.lower().split("/")
    if len(theirs) not in (4, 5) or theirs[:3] != ours[:3]:
        # Another workflow altogether; an ARN of an unknown form may be anything.
        return len(theirs) not in (4, 5)
    numbers, wanted = theirs[3].split("."), ours[3].split(".")
    return len(numbers) != len(wanted) or all(
        number in ("x", own) for number, own in zip(numbers, wanted, strict=True)
    )


def _message(record: Record) -> frozenset[tuple[str, str]]:
    """The encryption context in full, which belongs to one message."""
    return frozenset((record.encryption_context or {}).items())


@dataclass(frozen=True, slots=True)
class _Found:
    """What the records show, before it is weighed against the claim."""

    claim: Claim
    searched: Searched
    generated: list[Record]
    decrypts: list[Record]
    doubtful: list[Record]
    tied: list[Record]
    need: Need

    def permitted(self, record: Record) -> bool:
        allowed = self.claim.permitted_principals
        return allowed is None or record.caller in allowed

    def opened(self, *, by_this_key: bool) -> list[Record]:
        return [
            record
            for record in self.tied
            if (record.key_arns[0] == self.claim.key_arn) is by_this_key
        ]

    def shown(self) -> list[Record]:
        """The tied Decrypts under the claim's key, by permitted principals."""
        return [record for record in self.opened(by_this_key=True) if self.permitted(record)]


def _pair(generated: Sequence[Record], decrypts: Sequence[Record]) -> tuple[Record, Record] | None:
    """The oldest data key and the oldest later Decrypt of one message under one key."""
    return next(
        (
            (made, opened)
            for made in generated
            for opened in decrypts
            if _message(made) == _message(opened)
            and made.key_arns[0] == opened.key_arns[0]
            and made.time <= opened.time
        ),
        None,
    )


def _clauses(found: _Found) -> tuple[Clause, Clause]:
    refuted = _refuted_by_name(found.claim) or _refuted_by_pair(found)
    if refuted is not None:
        reason, records = refuted
        return (
            Clause("encrypted", Outcome.REFUTED, reason, records),
            Clause("readable", Outcome.REFUTED, reason, records),
        )
    return _encrypted(found), _readable(found)


def _refuted_by_name(claim: Claim) -> tuple[str, tuple[Record, ...]] | None:
    named = claim.kms_key_id
    if named is None:
        return "GetWorkflow names no key for this build.", ()
    if isinstance(named, str) and _KEY_ARN.fullmatch(named) and named != claim.key_arn:
        return f"GetWorkflow names another key for this build: {named}.", ()
    return None


def _refuted_by_pair(found: _Found) -> tuple[str, tuple[Record, ...]] | None:
    pair = _pair(found.generated, found.opened(by_this_key=False))
    if pair is None:
        return None
    made, _ = pair
    if _others_made(found, made):
        return None
    return f"This build's data key was made, and opened, under {made.key_arns[0]}.", pair


def _others_made(found: _Found, made: Record) -> bool:
    """Whether data keys of other builds of the version were made when `made` was.

    Then one of the records that would tell the builds apart may be missing. Only GetWorkflow's own
    word, a key ARN, outweighs that: a wrong "no" is as bad as a wrong "yes".
    """
    others = (*found.generated, *found.doubtful)
    return any(other.name == GENERATE and _message(other) != _message(made) for other in others)


def _encrypted(found: _Found) -> Clause:
    def not_yet(reason: str, need: Need) -> Clause:
        return Clause("encrypted", Outcome.NOT_YET, reason, need=need)

    opened = found.shown()
    if not opened:
        return not_yet(*_no_decrypt(found))
    pair = _permitted_pair(found)
    if pair is not None:
        if found.claim.kms_key_id is NOT_READ:
            return not_yet(*_name_not_read())
        if found.claim.kms_key_id != found.claim.key_arn and _others_made(found, pair[0]):
            return not_yet(
                "GetWorkflow names an alias, and data keys of several builds of this version were "
                "made at the same time, so a lost record could make one look like another.",
                Need.NOTHING,
            )
        return Clause(
            "encrypted",
            Outcome.PROVED,
            "Image Builder made this build's data key under this key, and opened it with it."
            + _by_alias(found.claim),
            pair,
        )
    return not_yet(*_no_data_key(found))


def _readable(found: _Found) -> Clause:
    opened = found.shown()
    if not opened:
        reason, need = _no_decrypt(found)
        return Clause("readable", Outcome.NOT_YET, reason, need=need)
    if found.claim.kms_key_id is NOT_READ:
        reason, need = _name_not_read()
        return Clause("readable", Outcome.NOT_YET, reason, need=need)
    pair = _permitted_pair(found)
    shown = pair[1] if pair is not None else opened[0]
    return Clause(
        "readable",
        Outcome.PROVED,
        "Image Builder opened this build's data key with this key." + _by_alias(found.claim),
        (shown,),
    )


def _permitted_pair(found: _Found) -> tuple[Record, Record] | None:
    generated = [record for record in found.generated if found.permitted(record)]
    return _pair(generated, found.shown())


def _by_alias(claim: Claim) -> str:
    """What an alias adds to a sentence: it names a key now, the records say which one was used."""
    if claim.kms_key_id == claim.key_arn:
        return ""
    now = {None: "no key", claim.key_arn: "this key"}.get(claim.resolved_key_arn, "another key")
    return (
        f" (GetWorkflow names {claim.kms_key_id}, which names {now} now; the records show the key "
        "that was used.)"
    )


def _name_not_read() -> tuple[str, Need]:
    return "GetWorkflow could not be asked which key this build names.", Need.SEARCH


def _no_decrypt(found: _Found) -> tuple[str, Need]:
    """Why no Decrypt speaks for the claim, and what would help."""
    seen = f"in {found.searched.source} up to {_when(found.searched.until)}"
    if found.opened(by_this_key=True):
        return "this build was opened, but not by a permitted principal.", Need.READ_AGAIN
    if found.tied:
        return (
            f"this build was opened with {found.tied[0].key_arns[0]}, and the record of the data "
            f"key that would settle it was not seen {seen}, or is not the only one there.",
            Need.WAIT,
        )
    if found.decrypts:
        return "no Decrypt record can be tied to this build and to no other.", found.need
    if not found.claim.reads and found.need is Need.READ_AGAIN:
        return (
            "no GetWorkflow call of this build is known to which a Decrypt could be tied.",
            Need.READ_AGAIN,
        )
    claim, skew = found.claim, found.claim.clock_skew
    asked = all(
        found.searched.covers(
            KMS,
            DECRYPT,
            read.since - skew,
            min(read.until + skew, max(found.searched.at, read.since - skew)),
        )
        for read in claim.reads
    )
    if not asked:
        why = found.searched.why_incomplete or "it was not asked for their times."
        return (
            f"the Decrypt records of this build's reads were not all searched {seen}: {why}",
            Need.SEARCH,
        )
    return f"no Decrypt record of this build's reads was seen {seen}.", Need.WAIT


def _no_data_key(found: _Found) -> tuple[str, Need]:
    """Why no GenerateDataKey makes a pair with the Decrypt that is shown, and what would help."""
    claim, searched = found.claim, found.searched
    messages = {_message(opened) for opened in found.shown()}
    alike = [made for made in found.generated if _message(made) in messages]
    if alike:
        return f"its GenerateDataKey record does not count: {_unused(alike[0], found)}.", Need.WAIT
    since, until = claim.created - claim.clock_skew, claim.created + claim.clock_skew
    asked = searched.covers(KMS, GENERATE, since, min(until, max(searched.at, since)))
    return (
        "no GenerateDataKey record with the encryption context of this build's Decrypt was seen "
        f"in {searched.source} up to {_when(searched.until)}"
        + ("." if asked else ", which was not asked, or did not answer in full, for its creation."),
        Need.WAIT if asked else Need.SEARCH,
    )


def _unused(record: Record, found: _Found) -> str:
    """Why a sound record is not among those that the verdict rests on."""
    if record.key_arns[0] != found.claim.key_arn:
        return f"under another key, {record.key_arns[0]}"
    if not found.permitted(record):
        return f"called by {record.caller}, who is not among the permitted principals"
    if record.name == GENERATE:
        opened = [one.time for one in found.tied if _message(one) == _message(record)]
        if opened and record.time > max(opened):
            return "it is younger than each Decrypt of its message"
        if opened:
            return "it belongs to this build, and an older record already shows it"
        return "no later Decrypt of the same message is tied to this build"
    if record in found.tied:
        return "it belongs to this build, and the verdict needs no more of its kind"
    return "not tied to this build"


def _joined(
    windows: Iterable[tuple[datetime, datetime]],
) -> list[tuple[datetime, datetime]]:
    joined: list[tuple[datetime, datetime]] = []
    for since, until in sorted(windows):
        if joined and since <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], until)
        else:
            joined.append((since, until))
    return joined


def _when(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
