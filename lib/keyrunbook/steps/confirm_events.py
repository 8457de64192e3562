"""Step 04: the proof, from CloudTrail. Nothing is changed.

`verify` reads the workflow once more, so that there is a call of the prover's own to tie a Decrypt
to, and then looks for the records that `keyrunbook.proof` needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from keyrunbook.aws import mutate
from keyrunbook.aws.wait import NotYet, Pending, Waited
from keyrunbook.findings import Finding, Findings
from keyrunbook.parameters import Parameters
from keyrunbook.plan import Applied, Plan
from keyrunbook.proof import (
    GENERATE,
    Claim,
    Clause,
    Need,
    Outcome,
    Read,
    Verdict,
    prove,
    spans_for,
)
from keyrunbook.records import IMAGE_BUILDER
from keyrunbook.show.sentence import Sentence
from keyrunbook.show.tables import Table, records_table, verdict_table
from keyrunbook.show.timeline import Mark, Row, Timeline
from keyrunbook.steps.common import or_none
from keyrunbook.steps.encrypt_workflow import CREATE_WORKFLOW, GET_WORKFLOW, read
from keyrunbook.steps.events import CLOCK_SKEW, fewer, history, moment, not_aws, wait_for

if TYPE_CHECKING:
    from keyrunbook.aws.clients import Clients
    from keyrunbook.records import Record
    from keyrunbook.session import Run

STEP = "04_confirm_events"

_STATUS: Final = {
    Outcome.PROVED: "pass",
    Outcome.REFUTED: "fail",
    Outcome.NOT_YET: "not checked",
}


@dataclass(frozen=True, slots=True)
class State:
    """The build, when it was made (ISO 8601), the key that it names, and the key to be proved."""

    workflow_arn: str
    created: str
    kms_key_id: str | None
    key_arn: str


def observe(run: Run) -> State:
    """Read the workflow: when it was made, and which key it names."""
    facts = run.facts()
    answer = read(run, facts["workflow_arn"])
    return State(
        facts["workflow_arn"],
        str(answer["dateCreated"]),
        answer.get("kmsKeyId"),
        facts["key_arn"],
    )


def plan(state: State, parameters: Parameters) -> Plan:
    """Nothing is changed by this step."""
    return Plan(STEP)


def apply(run: Run, plan: Plan) -> Applied:
    """Nothing is changed by this step."""
    return mutate.apply(run, plan)


def verify(run: Run, progress: Callable[[Waited], None] | None = None) -> Verdict:
    """Judge the claim by CloudTrail's records, waiting for them up to `event_wait_seconds`.

    Waits no longer than waiting can help. A Decrypt that another call may own is settled by one
    more GetWorkflow, two clock skews after the last. The verdict goes into the ledger; the step is
    done with any verdict. Raises AwsRefused or Unreachable for LookupEvents, and what boto3 raises
    for GetWorkflow, which a notebook shows in words.
    """
    source, skew = history(run), CLOCK_SKEW[run.target]
    state = observe(run)

    def probe() -> Verdict | Pending:
        claim = _claim(run, state)
        found = source.search(fewer(spans_for(claim)))
        verdict = prove(found.records, claim, found.searched)
        if verdict.outcome is not Outcome.NOT_YET:
            return verdict
        if Need.READ_AGAIN in verdict.needs:
            if run.now() - max(one.until for one in claim.reads) >= 2 * skew:
                read(run, state.workflow_arn)
        elif Need.WAIT not in verdict.needs:
            return verdict
        return Pending(verdict)

    answer = wait_for(run, probe, "CloudTrail's records", progress)
    verdict = answer.last if isinstance(answer, NotYet) else answer
    assert isinstance(verdict, Verdict)
    waited_s = round(answer.waited_s) if isinstance(answer, NotYet) else None
    run.record("verdict", verdict=verdict.outcome.value, waited_s=waited_s, **verdict.to_dict())
    run.record("findings", findings=[one.to_dict() for one in findings(verdict)])
    run.done()
    return verdict


def _claim(run: Run, state: State) -> Claim:
    """The claim, with the first and the last of the reads that the ledger knows.

    The first read's record is the first to be delivered; the last is the one that was made to
    stand alone. Each read in between would cost a call of LookupEvents, and add nothing.
    """
    reads = [
        Read(moment(one["since"]), moment(one["until"]), one["principal"], one["request_id"])
        for one in run.ledger.of_kind("read")
        if one["call"] == GET_WORKFLOW and one["arn"] == state.workflow_arn
    ]
    return Claim(
        state.workflow_arn,
        state.key_arn,
        moment(state.created),
        run.identity.account,
        run.region,
        state.kms_key_id,
        resolved_key_arn=resolved(run.clients, state.kms_key_id),
        prover_reads=(*reads[:1], *reads[1:][-1:]),
        clock_skew=CLOCK_SKEW[run.target],
    )


def resolved(clients: Clients, key_id: str | None) -> str | None:
    """The key that an alias names now; None for no alias, or none that can be read."""
    if key_id is None or ":alias/" not in key_id:
        return None
    codes = ("NotFoundException", "AccessDeniedException")
    key = or_none(lambda: clients("kms").describe_key(KeyId=key_id), *codes)
    return key["KeyMetadata"]["Arn"] if key else None


def findings(verdict: Verdict) -> Findings:
    """Each clause as a finding; who called, beside it: that neither proves nor refutes."""
    callers = sorted(
        {caller.issuer_arn or caller.principal_arn or "unknown" for caller in verdict.callers}
    )
    return Findings(
        [
            _finding("The workflow was encrypted under this key", verdict.encrypted),
            _finding("The workflow is readable through this key", verdict.readable),
            Finding(
                "Who called is known",
                "pass" if callers and "unknown" not in callers else "not checked",
                ", ".join(callers) or "the verdict rests on no records",
            ),
        ]
    )


def _finding(statement: str, clause: Clause) -> Finding:
    return Finding(statement, _STATUS[clause.outcome], clause.reason)  # type: ignore[arg-type]


def table(verdict: Verdict) -> Table:
    """The verdict and its clauses."""
    return verdict_table(verdict)


def records(verdict: Verdict) -> Table:
    """The data keys and Decrypts that were seen: those that count, and those that do not."""
    counted = sorted(verdict.records, key=lambda record: (record.name != GENERATE, record.time))
    set_aside = sorted(
        verdict.rejected,
        key=lambda item: (item.record.name != GENERATE, item.record.time, item.reason),
    )
    rows = [
        *(("✓ counts", record, _shows(record, verdict)) for record in counted),
        *(("– set aside", item.record, item.reason) for item in set_aside),
    ]
    return records_table("What CloudTrail shows", rows)


def _shows(record: Record, verdict: Verdict) -> str:
    names = [clause.name for clause in verdict.clauses if record in clause.records]
    return f"shows: {', '.join(names)}"


def timeline(run: Run, verdict: Verdict) -> Timeline:
    """What this run did, in order, and what CloudTrail saw of it."""
    calls = list(_calls(run))
    counted = {record.event_id for record in verdict.records}
    seen = sorted(
        (*verdict.records, *(item.record for item in verdict.rejected)),
        key=lambda record: (record.time, record.event_id not in counted),
    )
    marks: dict[int, list[Mark]] = {}
    strangers = []
    for record in seen:
        mark = Mark(record.name, record.event_id in counted)
        at = _call_of(record, calls, marks, verdict)
        if at is None:
            strangers.append(Row("", _time_of_day(record.time), (mark,)))
        else:
            marks.setdefault(at, []).append(mark)
    rows = [
        Row(call.name, _time_of_day(call.since), tuple(marks.get(number, ())))
        for number, call in enumerate(calls)
    ]
    where = not_aws(run)
    title = f"Verdict: {verdict.outcome.value.replace('_', ' ')}{f' ({where})' if where else ''}"
    return Timeline(title, (*rows, *strangers))


class _Call(NamedTuple):
    """A call of this run that AWS served, by the ledger."""

    name: str
    since: datetime
    until: datetime


def _calls(run: Run) -> Iterator[_Call]:
    since: datetime | None = None
    for entry in run.ledger.entries():
        time = moment(entry["time"])
        if entry["kind"] == "intent":
            since = time
        elif entry["kind"] == "outcome" and entry["status"] == "done":
            yield _Call(entry["call"], since or time, time)
        elif entry["kind"] == "read":
            yield _Call(entry["call"], moment(entry["since"]), moment(entry["until"]))


def _call_of(
    record: Record, calls: Sequence[_Call], taken: Mapping[int, Any], verdict: Verdict
) -> int | None:
    """The call that Image Builder made this record's call for: the first that can be, or None."""
    if record.invoked_by != IMAGE_BUILDER:  # such as a rehearsal's dry run
        return None
    name = CREATE_WORKFLOW if record.name == GENERATE else GET_WORKFLOW
    skew = verdict.claim.clock_skew
    return next(
        (
            number
            for number, call in enumerate(calls)
            if call.name == name
            and number not in taken
            and call.since - skew <= record.time <= call.until + skew
        ),
        None,
    )


def _time_of_day(time: datetime) -> str:
    return f"{time.astimezone(UTC):%H:%M:%S}"


def conclusion(verdict: Verdict, again: str = "run the notebook again") -> Sentence:
    """The verdict in one sentence; for NOT_YET, what is missing and until when to wait."""
    claim, where = verdict.claim, f", by {verdict.searched.source}"
    workflow = claim.workflow_build_arn.split(":workflow/")[1]
    key = claim.key_arn
    if verdict.outcome is Outcome.PROVED:
        return Sentence(
            f"PROVED: Image Builder encrypted the workflow {workflow} under {key}, and it is "
            f"readable through that key{where}."
        )
    if verdict.outcome is Outcome.REFUTED:
        return Sentence(
            f"REFUTED for the workflow {workflow} and {key}: {verdict.encrypted.reason}"
        )
    missing = " ".join(dict.fromkeys(verdict.missing))
    return Sentence(
        f"NOT YET for the workflow {workflow} and {key}: {missing} {_help(verdict, again)}"
    )


def _help(verdict: Verdict, again: str) -> str:
    until = verdict.claim.worth_waiting_until
    if verdict.needs <= {Need.NOTHING, Need.SEARCH}:
        return "Waiting does not help."
    if verdict.searched.at < until:
        when = until.isoformat(timespec="seconds")
        return f"Records may well come until {when}: {again}."
    return f"Records come no later than this as a rule; {again} to read once more."
