"""Step 06: remove what this run made, and nothing else.

The ledger says what that is. A key is never deleted at once: it is scheduled, and the deletion can
be cancelled until its date.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keyrunbook import policies
from keyrunbook.aws import mutate
from keyrunbook.errors import StepFailed
from keyrunbook.findings import Findings
from keyrunbook.parameters import Parameters
from keyrunbook.plan import Applied, Change, Plan
from keyrunbook.steps import grant_access, presence
from keyrunbook.steps.common import Forecast, keep, passed
from keyrunbook.steps.grant_access import delete_role_policy, put_key_policy

if TYPE_CHECKING:
    from keyrunbook.session import Run

STEP = "06_clean_up"
GONE = "Nothing of the run can be read or removed through it; see: runbook show"


@dataclass(frozen=True, slots=True)
class State:
    """What this run made, or changed, and is still so."""

    workflows: tuple[str, ...]
    alias: str | None
    role: str | None
    grant: grant_access.State | None
    key: dict[str, Any]
    """The metadata of the key that the run works with."""
    key_made: bool
    """Whether the run made the key; a key that was there before stays."""
    rotation_made: bool
    """Whether the run turned on the rotation of a key that stays, and it is still on."""


def observe(run: Run) -> State:
    """Look at each thing that the ledger says this run made."""
    facts = run.facts()
    key = presence.key(run, facts["key_arn"])
    if key is None:
        raise StepFailed(f"The key {facts['key_arn']} of this run is not there any more.", GONE)
    key_made = bool(presence.made(run, "kms:CreateKey"))
    workflows = [one["workflow_arn"] for one in presence.made(run, "imagebuilder:CreateWorkflow")]
    roles = [one["RoleName"] for one in presence.made(run, "iam:CreateRole")]
    return State(
        tuple(arn for arn in workflows if presence.is_there(run, arn)),
        _alias(run, key["Arn"]),
        next((name for name in roles if presence.role(run, name) is not None), None),
        grant_access.observe_role(run, facts["role_name"]) if "role_name" in facts else None,
        key,
        key_made,
        not key_made
        and bool(presence.made(run, "kms:EnableKeyRotation"))
        and presence.rotates(run, key["Arn"]),
    )


def _alias(run: Run, key_arn: str) -> str | None:
    """The alias that this run made, while it names the run's key."""
    for name in (one["AliasName"] for one in presence.made(run, "kms:CreateAlias")):
        key = presence.key(run, name)
        if key is not None and key["Arn"] == key_arn:
            return str(name)
    return None


def forecast(run: Run) -> Forecast:
    """What the step would change, from now on."""
    return Forecast(plan(observe(run), run.parameters))


def plan(state: State, parameters: Parameters) -> Plan:
    """Delete from the outside in: workflow, role, alias, and the key last."""
    changes = [
        Change(
            "imagebuilder",
            "delete_workflow",
            {"workflowBuildVersionArn": arn},
            why="this run made the workflow; deleting it needs no access to the key",
            undo="none: create it again with step 03",
        )
        for arn in state.workflows
    ]
    if (grant := state.grant) is not None:
        changes += _access_changes(state, grant)
    if state.role:
        changes.append(
            Change(
                "iam",
                "delete_role",
                {"RoleName": state.role},
                why="this run made the role",
                undo="none: a new role of that name is another principal",
            )
        )
    if state.alias:
        changes.append(
            Change(
                "kms",
                "delete_alias",
                {"AliasName": state.alias},
                why="this run made the alias",
                undo="CreateAlias",
            )
        )
    if state.rotation_made:
        changes.append(
            Change(
                "kms",
                "disable_key_rotation",
                {"KeyId": state.key["Arn"]},
                why="this run turned the key's rotation on; the key stays",
                undo="EnableKeyRotation",
            )
        )
    if state.key_made and state.key["KeyState"] != "PendingDeletion":
        changes.append(
            Change(
                "kms",
                "schedule_key_deletion",
                {
                    "KeyId": state.key["Arn"],
                    "PendingWindowInDays": parameters.pending_window_days,
                },
                why="this run made the key; what it encrypted is lost when it is deleted",
                undo="CancelKeyDeletion until the date, then EnableKey",
                gives={"deletion_date": "DeletionDate"},
            )
        )
    return Plan(STEP, tuple(changes))


def _access_changes(state: State, grant: grant_access.State) -> list[Change]:
    """Take back the role's policy, and, of a key that stays, this run's statement.

    Before the role goes: a key policy that names a role which is gone cannot be put again.
    """
    changes = []
    if grant.role_policy is not None:
        changes.append(delete_role_policy(grant, "this run gave the role its policy on the key"))
    if state.key_made:
        return changes
    without = policies.without_statement(
        grant.key_policy, policies.sid("WorkflowKeyUse", grant.place.run_id)
    )
    if not policies.same(without, grant.key_policy):
        why = "this run added the statement; all others stay"
        changes.append(put_key_policy(grant.key_arn, grant.key_policy, without, why))
    return changes


def apply(run: Run, plan: Plan) -> Applied:
    """Make the changes."""
    return mutate.apply(run, plan)


def verify(run: Run) -> Findings:
    """Look again: nothing that this run made is left, and the key has its date."""
    state = observe(run)
    key, grant = state.key, state.grant
    findings = [
        passed("The workflow is deleted", not state.workflows, _left(state.workflows)),
        passed("The role is deleted", state.role is None, _left([state.role]))
        if presence.made(run, "iam:CreateRole")
        else passed(
            "The role that was there before has no policy of this run",
            grant is None or grant.role_policy is None,
            grant.role_name if grant else "no role was given access",
            "Run the step again.",
        ),
        passed("The alias is deleted", state.alias is None, _left([state.alias])),
    ]
    if state.key_made:
        findings.append(
            passed(
                "The key is scheduled for deletion",
                key["KeyState"] == "PendingDeletion",
                f"deleted on {key['DeletionDate']:%Y-%m-%d}; until then: aws kms "
                f"cancel-key-deletion --key-id {key['KeyId']}"
                if "DeletionDate" in key
                else f"state {key['KeyState']}",
            )
        )
    else:
        findings.append(
            passed(
                "The key that was there before has no statement of this run, and stays",
                not plan(state, run.parameters).changes,
                f"{key['Arn']}, state {key['KeyState']}",
                "Run the step again.",
            )
        )
    return keep(run, findings)


def _left(things: Any) -> str:
    left = [thing for thing in things if thing]
    return f"still there: {', '.join(left)}" if left else "nothing left"
