"""Step 00: who am I, where, and does the account answer? Reads only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from keyrunbook.aws import mutate, protection
from keyrunbook.aws.refusals import code_of
from keyrunbook.findings import Finding, Findings
from keyrunbook.parameters import Parameters
from keyrunbook.permissions import EMERGENCY, SCORECARD, Where, actions
from keyrunbook.plan import Applied, Plan
from keyrunbook.scorecard import Scorecard, judge
from keyrunbook.steps import STEPS, trails
from keyrunbook.steps.common import keep, passed
from keyrunbook.steps.events import history, history_of, whose

if TYPE_CHECKING:
    from keyrunbook.aws.clients import Clients
    from keyrunbook.session import Run

STEP = "00_preflight"


@dataclass(frozen=True, slots=True)
class State:
    """Who calls, where, and how each service answered a read: None for a good answer."""

    operator: str
    account: str
    region: str
    endpoint: str
    is_aws: bool
    answers: dict[str, str | None]


def observe(run: Run) -> State:
    """Ask STS who calls, and each service that the job needs for one small list."""
    clients, _ = run.clients, history(run)  # LookupEvents from here on passes its limiter
    reads: dict[str, Callable[[], Any]] = {
        "AWS KMS": lambda: clients("kms").list_aliases(Limit=1),
        "EC2 Image Builder": lambda: clients("imagebuilder").list_workflows(maxResults=1),
        "AWS CloudTrail": lambda: clients("cloudtrail").lookup_events(MaxResults=1),
        "AWS IAM": lambda: clients("iam").list_roles(MaxItems=1),
    }
    return State(
        run.identity.arn,
        run.identity.account,
        run.region,
        clients.endpoint,
        clients.is_aws,
        {service: _refusal(read) for service, read in reads.items()},
    )


def _refusal(read: Callable[[], Any]) -> str | None:
    try:
        read()
    except ClientError as error:
        return f"{code_of(error)}: {error.response['Error'].get('Message', '')}"
    return None


def plan(state: State, parameters: Parameters) -> Plan:
    """Nothing is changed by this step."""
    return Plan(STEP)


def apply(run: Run, plan: Plan) -> Applied:
    """Nothing is changed by this step."""
    return mutate.apply(run, plan)


def verify(run: Run) -> Findings:
    """The account's readiness. Findings do not stop the run."""
    state = observe(run)
    root = state.operator.endswith(":root")
    findings = [
        passed(
            "The operator is not the root user",
            not root,
            state.operator,
            "Work as an IAM role or user: root's permissions cannot be narrowed.",
        ),
        *(_answers(service, refusal) for service, refusal in state.answers.items()),
        passed(
            "Endpoints are reached by HTTPS",
            state.endpoint.startswith("https://"),
            state.endpoint if state.is_aws else "HTTPS, and not AWS's endpoint",
            "Use AWS's HTTPS endpoints: unset endpoint variables that name others.",
        )
        if state.is_aws or state.endpoint.startswith("https://")
        else Finding(
            "Endpoints are reached by HTTPS",
            "not checked",
            "the endpoint is not AWS's: the sandbox answers on this machine only",
        ),
        trails.finding(run),
    ]
    kept = keep(run, findings)
    if kept.failed():
        run.done()
    return kept


def _answers(service: str, refusal: str | None) -> Finding:
    return passed(
        f"{service} answers the operator",
        refusal is None,
        refusal or "one read was answered",
        "Give the operator the permission that the error names.",
    )


def scorecard(run: Run) -> Scorecard:
    """AWS's recommendations on data protection, each judged; kept in the ledger.

    Its findings do not stop the run, and are not among those of `verify`.
    """
    card = scorecard_of(run.clients, run.parameters)
    run.record("scorecard", findings=[row.to_dict() for row in card.rows])
    return card


def scorecard_of(clients: Clients, parameters: Parameters) -> Scorecard:
    """The scorecard of the clients' account and Region. Reads only; what is refused says so."""
    history_of(clients, parameters.lookup_calls)  # LookupEvents from here on passes its limiter
    who = clients.identity
    where = Where(who.partition, clients.region, who.account)
    needed = actions((*STEPS, EMERGENCY, SCORECARD), parameters, where)
    facts = protection.read(clients, necessary=needed, fips_wanted=bool(parameters.use_fips))
    return judge(facts, f"account {who.account}, {clients.region}", whose(clients))
