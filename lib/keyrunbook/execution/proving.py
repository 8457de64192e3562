"""What `runbook prove` does: the proof for a workflow, whoever made it, from any source of records.

No run is opened and nothing is written: of a run only its ledger is read. AWS is asked for
GetWorkflow, with clients that can only read, unless the records are files on this machine and
nothing says where AWS is. Then, and where AWS refuses that call, the claim says so, and stays open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, cast

from botocore.exceptions import BotoCoreError, ClientError

from keyrunbook.aws.athena import AthenaLogs, How
from keyrunbook.aws.clients import Clients
from keyrunbook.aws.lookup import REACH
from keyrunbook.aws.refusals import explain
from keyrunbook.aws.trail_logs import TrailLogs, place_of_trail, place_of_url, public_keys
from keyrunbook.aws.wait import NotYet, Pending, Waited, wait_until
from keyrunbook.errors import AwsRefused, ParameterError, StepMissing
from keyrunbook.execution.proved import Proof
from keyrunbook.execution.runs import existing
from keyrunbook.ledger import NAME, Ledger
from keyrunbook.logs import (
    About,
    Checked,
    Found,
    Integrity,
    PublicKey,
    Wanted,
    integrity,
    read_keys,
    search,
)
from keyrunbook.logs.athena import named
from keyrunbook.parameters import Parameters, event_wait_seconds, outputs_dir
from keyrunbook.proof import (
    DECRYPT,
    NOT_READ,
    WORTH_WAITING,
    Claim,
    InvalidClaim,
    Need,
    Outcome,
    Read,
    Span,
    Verdict,
    prove,
    spans_for,
)
from keyrunbook.records import IMAGE_BUILDER, Record
from keyrunbook.session import reach
from keyrunbook.steps.confirm_events import resolved
from keyrunbook.steps.encrypt_workflow import GET_WORKFLOW
from keyrunbook.steps.events import CLOCK_SKEW, INTERVAL_S, fewer, history_of, moment, remark, whose

LOOKUP: Final = "lookup"
Kind = Literal["lookup", "trail", "s3", "athena", "path"]
"""The kinds of sources: the Event history, three ways to a trail's files, files of this machine."""

_DENIED: Final = {"AccessDenied", "AccessDeniedException", "ForbiddenException"}
_CREATED_BY: Final = "CreateWorkflow"
_SINCE: Final = "Give the build's creation time (GetWorkflow's dateCreated) by --since."


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be proved, by what, and from when to when.

    `source` is ``lookup``, ``trail`` or ``trail:NAME``, ``s3://…``, ``athena:TABLE`` or
    ``athena:DATABASE.TABLE``, or a path; `how` is for Athena. Either a run is named (by the
    parameters), or `key_arn` and `workflow_arn` are given.
    """

    key_arn: str | None = None
    workflow_arn: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    principals: tuple[str, ...] | None = None
    only_readable: bool = False
    source: str = LOOKUP
    trail_keys: Path | None = None
    require_integrity: bool = False
    how: How = field(default_factory=How)

    @property
    def kind(self) -> Kind:
        """What `source` is; a path that looks like another kind is told apart by ``./``."""
        word, colon, _ = self.source.partition(":")
        if self.source in ("lookup", "trail") or (colon and word in ("trail", "athena")):
            return cast(Kind, word)
        return "s3" if self.source.startswith("s3://") else "path"


def _unheard(*_: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told how a proof gets on; all that takes time tells one of them.

    `waiting`: a wait for records of a look-up; `calls`: how many calls the look-up seems to take;
    `files`: how many were read, and of how many; `query`: a query of Athena's.
    """

    waiting: Callable[[Waited], None] = _unheard
    calls: Callable[[int], None] = _unheard
    files: Callable[[int, int], None] = _unheard
    query: Callable[[Waited], None] = _unheard


class _Subject(NamedTuple):
    """A claim as far as it is known without AWS, and who is asked. `clients` None: nobody."""

    claim: Claim
    clients: Clients | None
    wait_s: float
    interval_s: float


def carry_out(
    question: Question,
    parameters: Parameters,
    watch: Watch = Watch(),
) -> Proof:
    """Judge the claim. Only a look-up waits for records, up to `event_wait_seconds`.

    Raises:
        ParameterError: the question contradicts itself, names nothing definite, or a source that
            is not there; or the build's creation is not known.
        StepMissing: the run has made no workflow yet.
        AwsRefused, Unreachable, CredentialsMissing, SandboxGone: as the clients do.
    """
    _check(question, parameters)
    keys = None if question.trail_keys is None else read_keys(question.trail_keys)
    subject = _subject(question, parameters)
    claim, notes = subject.claim, []
    if subject.clients is None:
        notes.append("AWS was not asked which key the workflow names: give --target to ask it.")
    else:
        if where := whose(subject.clients):
            notes.append(f"Where GetWorkflow was asked: {where}.")
        try:
            claim = _read(subject.clients, claim)
        except AwsRefused as error:
            if error.code not in _DENIED:
                raise
            what = error.what.rstrip(".")
            notes.append(f"{what}. So which key the workflow names is not known.")
    subject = subject._replace(claim=claim)
    if question.kind == "lookup":
        verdict = _looked_up(question, parameters, subject, watch)
        return Proof(verdict, None, tuple(notes), question.require_integrity)
    if question.kind == "athena":
        return _by_athena(question, subject, watch, notes)
    return _from_files(question, subject, keys, watch, notes)


def check_source(question: Question) -> None:
    """Raise ParameterError for a source that names nothing, or options that are for another."""
    if question.kind == "athena":
        named(question.source)  # refuses what names no table
    if question.kind == "trail" and question.source.endswith(":"):
        raise ParameterError(
            f"--source {question.source} names no trail.",
            "Give --source trail:NAME, or --source trail for one that keeps what is needed.",
        )
    if question.kind != "athena" and question.how != How():
        raise ParameterError(
            f"--source {question.source} is not Athena, and options for Athena are given.",
            "Leave them out, or give --source athena:TABLE.",
        )
    Wanted(question.since, question.until)  # refuses an end before the begin


_PRINCIPAL: Final = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:(root|(role|user)/.+)", re.ASCII)


def check_principals(question: Question) -> None:
    """Raise ParameterError for one that no record's caller can be, such as a role's session.

    Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
    """
    for arn in question.principals or ():
        if _PRINCIPAL.fullmatch(arn) is None:
            raise ParameterError(
                f"--principal: {arn!r} is not the ARN of an IAM role or user.",
                "Give the role itself (arn:…:iam::ACCOUNT:role/NAME), not a session of it.",
            )


def _check(question: Question, parameters: Parameters) -> None:
    check_source(question)
    check_principals(question)
    pair = (question.key_arn, question.workflow_arn)
    if (parameters.run_id is None) == (None in pair) or (parameters.run_id and any(pair)):
        raise ParameterError(
            "What is to be proved is not said, or said twice.",
            "Give --run-id ID, or both --key ARN and --workflow BUILD_ARN.",
        )
    without = _WITHOUT_INTEGRITY.get(question.kind)
    if without is not None and (question.trail_keys or question.require_integrity):
        raise ParameterError(
            f"{without}: nothing shows the integrity of what it answers.",
            "Leave --trail-keys and --require-integrity out, or give log files by --source.",
        )


_WITHOUT_INTEGRITY: Final[Mapping[Kind, str]] = {
    "lookup": "The Event history has no digests",
    "athena": "Athena takes no hashes of the files that it reads",
}


def _subject(question: Question, parameters: Parameters) -> _Subject:
    """The run's build, or the one that is named."""
    workflow, key = question.workflow_arn, question.key_arn
    opened, reads = None, []
    if parameters.run_id is not None:
        ledger = Ledger(existing(outputs_dir(parameters), parameters.run_id) / NAME)
        opened, facts = ledger.opened(), ledger.facts()
        workflow, key = facts.get("workflow_arn"), facts.get("key_arn")
        if opened is None or workflow is None or key is None:
            raise StepMissing(
                f"The run {parameters.run_id!r} has made no workflow yet.",
                "Go on with it up to 03_encrypt_workflow: runbook resume",
            )
        reads = [
            Read(moment(one["since"]), moment(one["until"]), one["principal"], one["request_id"])
            for one in ledger.of_kind("read")
            if one["call"] == GET_WORKFLOW and one["arn"] == workflow
        ][:1]
    assert workflow is not None
    assert key is not None
    claim = _claim(question, workflow, key, reads)
    region = parameters.region or claim.region
    _valid(lambda: replace(claim, region=region))  # before anybody is asked
    if question.kind == "path" and opened is None and not (parameters.target or parameters.profile):
        return _Subject(claim, None, 0, 1)
    parameters = parameters.model_copy(update={"region": region})
    target, clients = reach(parameters, opened)
    claim = _valid(
        lambda: replace(
            claim,
            account=clients.identity.account,
            region=clients.region,
            clock_skew=CLOCK_SKEW[target],
        )
    )
    wait_s = event_wait_seconds(parameters, target)
    return _Subject(claim, clients, wait_s, INTERVAL_S[target])


def _claim(question: Question, workflow: str, key: str, reads: Sequence[Read]) -> Claim:
    """The claim by what is given; `created` is `since` or now until something tells it."""
    parts = [*workflow.split(":"), "", "", "", "", ""]
    return _valid(
        lambda: Claim(
            workflow_build_arn=workflow,
            key_arn=key,
            created=question.since or datetime.now(UTC),
            account=parts[4],
            region=parts[3],
            kms_key_id=NOT_READ,
            prover_reads=tuple(reads),
            clock_skew=CLOCK_SKEW["aws"],
            permitted_principals=question.principals,
            only_readable=question.only_readable,
        )
    )


_OPTIONS: Final = {"workflow_build_arn": "--workflow", "key_arn": "--key", "region": "--region"}


def _valid(make: Callable[[], Claim]) -> Claim:
    try:
        return make()
    except InvalidClaim as error:
        option = _OPTIONS.get(error.field, error.field)
        fix = "Give the ARN of one workflow build version, and of the key itself, not of an alias."
        if error.field == "region":
            fix = "Leave --region out: the workflow's ARN names it."
        raise ParameterError(f"{option}: {error.reason}", fix) from error


def _read(clients: Clients, claim: Claim) -> Claim:
    """The claim with what GetWorkflow says of the build, and with that call.

    Raises AwsRefused, Unreachable or CredentialsMissing.
    """
    who = clients.identity.arn  # its answer tells the service's time, too
    since = clients.now()
    try:
        answer = clients("imagebuilder").get_workflow(
            workflowBuildVersionArn=claim.workflow_build_arn
        )
        named = answer["workflow"].get("kmsKeyId")
        alias_of = resolved(clients, named)
    except (ClientError, BotoCoreError) as error:
        raise explain(error) from error
    call = Read(since, clients.now(), who, answer["ResponseMetadata"].get("RequestId"))
    return replace(
        claim,
        created=moment(answer["workflow"]["dateCreated"]),
        kms_key_id=named,
        resolved_key_arn=alias_of,
        prover_reads=(*claim.reads[:1], call),
    )


def _is_read(claim: Claim) -> bool:
    return claim.kms_key_id is not NOT_READ


def _dated(question: Question, claim: Claim, given: Iterable[Record]) -> Claim:
    """The claim with the build's creation: by GetWorkflow, else its record, else `since`.

    That the record's response names the build is how the sandbox records CreateWorkflow; AWS
    publishes no sample of it. Without such a record nothing is concluded.

    Raises ParameterError where none of them tells.
    """
    if _is_read(claim):
        return claim
    times = {
        record.time
        for record in given
        if record.source == IMAGE_BUILDER
        and record.name == _CREATED_BY
        and not (record.failed or record.dry_run)
        and (record.account, record.region) == (claim.account, claim.region)
        and _response(record).get("workflowBuildVersionArn") == claim.workflow_build_arn
    }
    if len(times) == 1:
        return replace(claim, created=times.pop())
    if question.since is not None:
        return replace(claim, created=question.since)
    what = "several records of its creation" if times else "no record of its creation"
    raise ParameterError(
        f"When {claim.workflow_build_arn} was made is not known: GetWorkflow was not read, and "
        f"there is {what}.",
        _SINCE,
    )


def _response(record: Record) -> Mapping[str, Any]:
    response = record.raw.get("responseElements")
    return response if isinstance(response, Mapping) else {}


# --- from the Event history


def _looked_up(
    question: Question,
    parameters: Parameters,
    subject: _Subject,
    watch: Watch,
) -> Verdict:
    clients, claim = subject.clients, subject.claim
    assert clients is not None
    source = history_of(clients, parameters.lookup_calls, estimated=watch.calls)
    if not _is_read(claim):
        now = clients.now()
        asked = Span("EventName", _CREATED_BY, question.since or now - REACH, now)
        claim = _dated(question, claim, source.search((asked,)).records)
    state = [claim]

    def probe() -> Verdict | Pending:
        claim = state[0]
        spans = fewer((*spans_for(claim), *_asked_for(question, claim, clients.now())))
        found = source.search(_cut(spans, question.until))
        verdict = prove(found.records, claim, found.searched)
        if verdict.outcome is not Outcome.NOT_YET or not _is_read(claim):
            return verdict
        if Need.READ_AGAIN in verdict.needs:
            if clients.now() - claim.reads[-1].until >= 2 * claim.clock_skew:
                state[0] = _read(clients, claim)
        elif Need.WAIT not in verdict.needs:
            return verdict
        return Pending(verdict)

    answer = wait_until(probe, subject.wait_s, subject.interval_s, progress=watch.waiting)
    verdict = answer.last if isinstance(answer, NotYet) else answer
    assert isinstance(verdict, Verdict)
    return verdict


def _since(question: Question, claim: Claim) -> datetime | None:
    """When the search begins: a time that is given allows for clocks that differ."""
    return None if question.since is None else question.since - 2 * claim.clock_skew


def _asked_for(question: Question, claim: Claim, now: datetime) -> tuple[Span, ...]:
    """With --since: all Decrypts of that time, and all of Image Builder's records that tie them."""
    since = _since(question, claim)
    if since is None:
        return ()
    return (
        Span("EventName", DECRYPT, since + claim.clock_skew, now),
        Span("EventSource", IMAGE_BUILDER, since, now),
    )


def _cut(spans: Sequence[Span], until: datetime | None) -> tuple[Span, ...]:
    if until is None:
        return tuple(spans)
    return tuple(
        replace(span, until=min(span.until, until)) for span in spans if span.since <= until
    )


# --- from log files


def _from_files(
    question: Question,
    subject: _Subject,
    keys: Sequence[PublicKey] | None,
    watch: Watch,
    notes: Sequence[str],
) -> Proof:
    claim, wanted = subject.claim, _wanted(question, subject.claim)
    logs = None
    if question.kind == "path":
        found = search([question.source], wanted, hashed=True, progress=watch.files)
    else:
        assert subject.clients is not None
        since = _begin(wanted)
        logs = trail_logs(question, subject.clients, claim.account, claim.region)
        found = logs.search(since, wanted.until, hashed=True, progress=watch.files)
    claim = _dated(question, claim, found.records)
    verdict = prove(found.records, claim, found.searched)
    since = wanted.since or claim.created - 2 * claim.clock_skew
    # The newest hour's files are in no digest yet: what must be covered is what was found, or what
    # is asked for.
    times = [one.time for one in verdict.records or found.records]
    until = question.until or max(times, default=found.searched.until)
    checked = _checked(subject, logs, found, keys, since, max(since, until))
    return Proof(
        verdict,
        of_the_verdict(checked, found, verdict),
        (*notes, *found.notes),
        question.require_integrity,
    )


def trail_logs(question: Question, clients: Clients, account: str, region: str) -> TrailLogs:
    """The files that a trail delivers to the bucket that is named, or that a trail is found for."""
    if question.kind == "trail":
        place = place_of_trail(clients, question.source.partition(":")[2] or None)
    else:
        place = place_of_url(question.source)
    where = _whose(clients, "s3", "cloudtrail")
    return TrailLogs(clients, place, account, region, remark=where)


def athena_logs(
    question: Question, clients: Clients, account: str, region: str, interval_s: float
) -> AthenaLogs:
    """The table that is named, asked as the question says; `interval_s` is that of a look-up."""
    how = replace(question.how, interval_s=min(question.how.interval_s, interval_s / 5))
    where = _whose(clients, "athena", "s3")
    return AthenaLogs(clients, question.source, account, region, how, remark=where)


def _whose(clients: Clients, *services: str) -> str:
    """What a source's name ends in where an endpoint that it is read from is not AWS's."""
    elsewhere = any(clients.foreign(service) for service in services)
    return remark(clients) or (" (not AWS's endpoint)" if elsewhere else "")


def _begin(wanted: Wanted) -> datetime:
    """From when on a trail's files are searched. Raises ParameterError where nothing tells."""
    if wanted.since is None:
        raise ParameterError(
            "From when on the files are to be searched is not known: GetWorkflow was not read.",
            _SINCE,
        )
    return wanted.since


# --- by Athena


def _by_athena(question: Question, subject: _Subject, watch: Watch, notes: Sequence[str]) -> Proof:
    clients, claim = subject.clients, subject.claim
    assert clients is not None
    wanted = _wanted(question, claim)
    since = _begin(wanted)
    logs = athena_logs(question, clients, claim.account, claim.region, subject.interval_s)
    found = logs.search(since, wanted.until, progress=watch.query)
    claim = _dated(question, claim, found.records)
    verdict = prove(found.records, claim, found.searched)
    held = found.places(verdict.events)
    files = [f"The verdict's records are in {', '.join(held)}."] if held else []
    return Proof(verdict, None, (*notes, *found.notes, *files), question.require_integrity)


# --- what both have


def _wanted(question: Question, claim: Claim) -> Wanted:
    """The records to look for: by the claim, where nothing else is asked."""
    since, until = _since(question, claim), question.until
    if not _is_read(claim):
        return Wanted(since, until, claim.account, claim.region)
    by = Wanted.by(claim)
    return replace(by, since=since or by.since, until=until or by.until)


def _checked(
    subject: _Subject,
    logs: TrailLogs | None,
    found: Found,
    keys: Sequence[PublicKey] | None,
    since: datetime,
    until: datetime,
) -> Checked:
    """Judge the files by their digests; by keys that AWS lists, where it is asked, or are given."""
    clients = subject.clients
    try:
        if logs is not None:
            return logs.integrity(found, since, until, keys)
        if keys is None and clients is not None:
            keys = public_keys(clients, clients.region, since, clients.now())
        return integrity(found, keys or (), since=since, until=until + WORTH_WAITING)
    except AwsRefused as error:
        why = About(
            "the digests or their public keys", f"could not be had ({error.what.rstrip('.')})"
        )
        return Checked(Integrity.NOT_PROVEN, (), (why,), (), 0, ())


def of_the_verdict(checked: Checked, found: Found, verdict: Verdict) -> Checked:
    """What was checked; not proven where no digest vouches for a file of the verdict's.

    A file that was delivered late is in a later digest than those that had to be there.
    """
    good = set(checked.as_delivered)
    bare = tuple(
        About(place, "holds a record of the verdict, and no proven digest names it")
        for place in found.places(verdict.events)
        if place not in good
    )
    if checked.integrity is Integrity.REFUTED or not bare:
        return checked
    return replace(checked, integrity=Integrity.NOT_PROVEN, unchecked=(*checked.unchecked, *bare))
