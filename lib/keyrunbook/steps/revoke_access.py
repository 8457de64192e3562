"""Step 05: take the access away, show the refusal, give it back.

Access has two paths in one account: the key policy's statement, and the role's own policy through
the delegation to the account. Each suffices; only both gone is a revocation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keyrunbook import access, policies
from keyrunbook.aws import mutate
from keyrunbook.aws.wait import NotYet, Pending, Waited
from keyrunbook.errors import ParameterError
from keyrunbook.findings import Finding, Findings
from keyrunbook.parameters import Parameters
from keyrunbook.plan import Applied, Change, Plan
from keyrunbook.proof import DECRYPT, Span
from keyrunbook.records import IMAGE_BUILDER, KMS, Record
from keyrunbook.show.tables import Table, records_table
from keyrunbook.steps import grant_access
from keyrunbook.steps.common import Forecast, keep, passed
from keyrunbook.steps.events import CLOCK_SKEW, history, moment, wait_for
from keyrunbook.steps.grant_access import (
    State,
    delete_role_policy,
    put_key_policy,
    put_role_policy,
)

if TYPE_CHECKING:
    from keyrunbook.session import Run

STEP = "05_revoke_access"


@dataclass(frozen=True, slots=True)
class Build:
    """How a build that used the workflow came out, as the role, or why none was made.

    `decrypted` is None where no build observed it.
    """

    when: str
    decrypted: bool | None
    status: str
    reason: str

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from keyrunbook.show.tables import build_table

        return build_table(self).mimebundle()


def observe(run: Run) -> State:
    """Read the key policy and the role's policy."""
    return grant_access.observe_role(run, run.facts()["role_name"])


def plan(state: State, parameters: Parameters) -> Plan:
    """Close every path of this run's that is open: first the key policy's, then the role's."""
    without = policies.without_statement(
        state.key_policy, policies.sid("WorkflowKeyUse", state.place.run_id)
    )
    changes = []
    if not policies.same(without, state.key_policy):
        changes.append(
            put_key_policy(
                state.key_arn,
                state.key_policy,
                without,
                "path 1: the key no longer names the execution role",
            )
        )
    if state.role_policy is not None:
        changes.append(
            delete_role_policy(state, "path 2: the role's own policy no longer names the key")
        )
    return Plan(STEP, tuple(changes))


def first_path(plan: Plan) -> Plan:
    """The plan's first change alone: what a hasty revocation would do."""
    return Plan(plan.step, plan.changes[:1])


def restore(state: State, parameters: Parameters) -> Plan:
    """Give both paths back, as step 02 gave them."""
    if state.role_arn is None:
        raise ParameterError(
            f"The role {state.role_name!r} is gone.", "Make it again, then run 02_grant_access."
        )
    key_policy, role_policy = grant_access.wanted(state, state.role_arn)
    changes = []
    if not policies.same(key_policy, state.key_policy):
        changes.append(
            put_key_policy(
                state.key_arn,
                state.key_policy,
                key_policy,
                "path 1 again: the key names the execution role",
            )
        )
    if not policies.same(role_policy, state.role_policy):
        changes.append(
            put_role_policy(state.place, state.role_name, state.role_policy, role_policy)
        )
    return Plan(STEP, tuple(changes))


def forecast(run: Run) -> Forecast:
    """Both rounds: the revocation in two parts, the restoration, and the builds in between."""
    state = observe(run)
    revoked = plan(state, run.parameters)
    restored = restore(observe(run.after(revoked, {})), run.parameters)
    first = len(first_path(revoked))
    rounds = (
        *_builds(run, "before"),
        *revoked.changes[:first],
        *_builds(run, "one"),
        *revoked.changes[first:],
        *_builds(run, "both"),
        *restored.changes,
        *_builds(run, "restored"),
    )
    return Forecast(Plan(STEP, rounds))


def apply(run: Run, plan: Plan) -> Applied:
    """Make the changes, a part of what the step changes."""
    return mutate.apply(run, plan, part_of=lambda: forecast(run).plan)


def who_may(run: Run) -> access.Matrix:
    """What the execution role may do now, decided from the policies as they are."""
    return grant_access.who_may(run)


def build(run: Run, when: str) -> Build:
    """Have Image Builder use the workflow as the execution role; `when` names the moment.

    On the sandbox a build is simulated as far as access goes. On AWS none is made: it would start
    instances, so the answer there is "decided, not observed".
    Raises ParameterError when `run_build` asks for one on AWS.
    """
    wanted = run.parameters.run_build
    if wanted and run.target == "aws":
        raise ParameterError(
            "run_build = True is not possible on AWS in this version.",
            "Leave run_build out: the role's access is then decided from the policies.",
        )
    since = run.now()
    if not (change := _builds(run, when)):
        outcome = Build(when, None, "no build", "decided, not observed: see the matrix")
    else:
        outcome = _simulated(run, when, Plan(STEP, change))
    run.record(
        "build",
        when=when,
        decrypted=outcome.decrypted,
        reason=outcome.reason,
        since=since.isoformat(),
        until=run.now().isoformat(),
    )
    return outcome


def _builds(run: Run, when: str) -> tuple[Change, ...]:
    """The build at that moment, where one is made."""
    if run.target == "aws" or run.parameters.run_build is False:
        return ()
    facts, where = run.facts(), run.identity
    prefix = f"arn:{where.partition}:imagebuilder:{run.region}:{where.account}"
    change = Change(
        "imagebuilder",
        "create_image",
        {
            "imageRecipeArn": f"{prefix}:image-recipe/example/1.0.0",
            "infrastructureConfigurationArn": f"{prefix}:infrastructure-configuration/example",
            "executionRole": facts["role_arn"],
            "workflows": [{"workflowArn": facts["workflow_arn"]}],
        },
        why=f"a build uses the workflow as the execution role ({when})",
        undo="nothing to undo: the sandbox keeps no image",
        gives={"image_arn": "imageBuildVersionArn"},
    )
    return (change,)


def _simulated(run: Run, when: str, plan: Plan) -> Build:
    apply(run, plan)
    arn = run.facts()["image_arn"]
    image = run.clients("imagebuilder").get_image(imageBuildVersionArn=arn)["image"]["state"]
    return Build(when, image["status"] != "FAILED", image["status"], image.get("reason", ""))


def refusals(run: Run, progress: Callable[[Waited], None] | None = None) -> list[Record]:
    """The refused Decrypts of the execution role that CloudTrail shows for this run's builds.

    Waits for the first one, up to `event_wait_seconds`, if a build was refused at all. An empty
    list proves nothing.
    """
    role, skew = run.facts()["role_arn"], CLOCK_SKEW[run.target]
    windows = [
        Span("EventName", DECRYPT, moment(one["since"]) - skew, moment(one["until"]) + skew)
        for one in run.ledger.of_kind("build", STEP)
        if one["decrypted"] is False
    ]
    if not windows:
        return []
    source = history(run)

    def probe() -> list[Record] | Pending:
        refused = [one for one in source.search(windows).records if _is_refusal(one, role)]
        return refused or Pending()

    answer = wait_for(run, probe, "the refusal in CloudTrail", progress)
    refused = [] if isinstance(answer, NotYet) else answer
    run.learn(refusal_events=[record.event_id for record in refused])
    return refused


def refused_records(run: Run) -> Table:
    """`refusals` as a table."""
    rows = [("✓ a refusal", record, record.error_message or "") for record in refusals(run)]
    return records_table("Refused Decrypts of the execution role", rows)


def _is_refusal(record: Record, role_arn: str) -> bool:
    """Whether KMS refused Image Builder a Decrypt as this role. Such a record may name no key.

    The record's form is not documented; the one in the sandbox is that of a refused Decrypt which
    another service made for its caller.
    """
    return (
        (record.source, record.name, record.error_code) == (KMS, DECRYPT, "AccessDenied")
        and record.invoked_by == IMAGE_BUILDER
        and record.issuer_arn == role_arn
    )


def verify(run: Run) -> Findings:
    """Whether the refusal was seen, and both paths are open again."""
    state = observe(run)
    builds = {one["when"]: one for one in run.ledger.of_kind("build", STEP)}
    records = run.facts().get("refusal_events", [])
    return keep(
        run,
        [
            _build_finding(
                "With one of two paths closed, builds still decrypt", builds, "one", True
            ),
            _build_finding("With both paths closed, builds cannot decrypt", builds, "both", False),
            Finding(
                "CloudTrail shows the refusals",
                "pass" if records else "not checked",
                f"{len(records)} refused Decrypt of the role seen by LookupEvents"
                if records
                else "none seen so far by LookupEvents; absence proves nothing",
            ),
            _build_finding("Access is given back: builds decrypt again", builds, "restored", True),
            passed(
                "Both policies are as step 02 left them",
                not restore(state, run.parameters).changes,
                "GetKeyPolicy, GetRolePolicy",
                "Run the restore cell again.",
            ),
        ],
    )


def _build_finding(
    statement: str, builds: dict[str, dict[str, Any]], when: str, wanted: bool
) -> Finding:
    outcome = builds.get(when)
    if outcome is None:
        return Finding(statement, "not checked", "this cell was not run")
    if outcome["decrypted"] is None:
        return Finding(statement, "not checked", outcome["reason"])
    return passed(
        statement,
        outcome["decrypted"] is wanted,
        "the simulated build decrypted the workflow"
        if outcome["decrypted"]
        else "the simulated build was refused",
        "Another path may be open: see the matrix.",
    )
