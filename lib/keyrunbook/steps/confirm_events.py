"""Step 04: the proof, from CloudTrail. Nothing is changed.

`verify` reads the workflow once more, so that there is a call of the prover's own to tie a Decrypt
to, and then looks for the records that `keyrunbook.proof` needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

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
from keyrunbook.show.records import Records, Shown
from keyrunbook.show.sentence import Sentence
from keyrunbook.show.tables import Table, verdict_table
from keyrunbook.show.timeline import Timeline
from keyrunbook.show.usage import UsagePicture, by_day, usage_table
from keyrunbook.steps import key_usage
from keyrunbook.steps import timeline as timelines
from keyrunbook.steps.common import or_none
from keyrunbook.steps.encrypt_workflow import GET_WORKFLOW, read
from keyrunbook.steps.events import CLOCK_SKEW, fewer, history, moment, not_aws, wait_for
from keyrunbook.usage import Usage, compare, summarise

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
    first_seen: dict[str, datetime] = {}

    def probe() -> Verdict | Pending:
        claim = _claim(run, state)
        found = source.search(fewer(spans_for(claim)))
        for record in found.records:
            first_seen.setdefault(record.event_id, run.now())
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
    counted = set(verdict.events)
    timelines.note(
        run,
        ((one, one.event_id in counted, first_seen[one.event_id]) for one in _given(verdict)),
    )
    run.done()
    return verdict


def _given(verdict: Verdict) -> tuple[Record, ...]:
    """Each data key and Decrypt that the verdict was given."""
    return (*verdict.records, *(item.record for item in verdict.rejected))


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


def records(verdict: Verdict) -> Records:
    """The data keys and Decrypts that were seen: those that count, and those that do not."""
    counted = sorted(verdict.records, key=lambda record: (record.name != GENERATE, record.time))
    set_aside = sorted(
        verdict.rejected,
        key=lambda item: (item.record.name != GENERATE, item.record.time, item.reason),
    )
    rows = [
        *(Shown("✓ counts", record, _shows(record, verdict)) for record in counted),
        *(Shown("– set aside", item.record, item.reason) for item in set_aside),
    ]
    return Records("What CloudTrail shows", rows)


def _shows(record: Record, verdict: Verdict) -> str:
    names = [clause.name for clause in verdict.clauses if record in clause.records]
    return f"shows: {', '.join(names)}"


def usage(verdict: Verdict) -> Usage:
    """Who used the key, by the records that the verdict was given: nothing more is looked up."""
    return summarise(_given(verdict), verdict.claim.key_arn, verdict.searched)


def used_by(verdict: Verdict) -> Table:
    """`usage` as a table."""
    searched = verdict.searched
    note = (
        f"Only data keys and Decrypts close to this run's calls, by {searched.source}. All of it: "
        "runbook usage."
    )
    return usage_table(usage(verdict), note=note)


def last_use(run: Run, verdict: Verdict) -> Findings:
    """KMS's own last use of the key, by GetKeyLastUsage, beside that of the records."""
    told = key_usage.last_usage(run.clients, verdict.claim.key_arn)
    compared = compare(usage(verdict), told)
    run.record("last_use", agreement=compared.agreement.value, reason=compared.reason)
    return Findings([compared.finding])


def usage_by_day(run: Run, verdict: Verdict) -> UsagePicture:
    """`usage` as a picture, by principal and day."""
    return by_day(usage(verdict), not_aws(run))


def timeline(run: Run, verdict: Verdict) -> Timeline:
    """What this run did, in order, and what CloudTrail showed it of that."""
    where = not_aws(run)
    title = f"Verdict: {verdict.outcome.value.replace('_', ' ')}{f' ({where})' if where else ''}"
    return timelines.timeline(run.ledger.entries(), title)


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
