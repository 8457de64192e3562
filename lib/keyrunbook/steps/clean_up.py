"""Step 06: remove what this run made, and nothing else.

The ledger says what that is. A key is never deleted at once: it is scheduled, and the deletion can
be cancelled until its date.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keyrunbook import policies
from keyrunbook.aws import mutate
from keyrunbook.findings import Findings
from keyrunbook.parameters import Parameters
from keyrunbook.plan import Change, Plan
from keyrunbook.steps import grant_access
from keyrunbook.steps.common import keep, or_none, passed
from keyrunbook.steps.grant_access import policy_name, put_key_policy

if TYPE_CHECKING:
    from keyrunbook.session import Run

STEP = "06_clean_up"


@dataclass(frozen=True, slots=True)
class State:
    """What this run made and is still there."""

    workflows: tuple[str, ...]
    alias: str | None
    role: str | None
    grant: grant_access.State | None
    key: dict[str, Any] | None
    """The key's metadata, when the run made it and it is not scheduled for deletion yet."""


def observe(run: Run) -> State:
    """Look at each thing that the ledger says this run made."""
    facts = run.facts()
    kms, iam = run.clients("kms"), run.clients("iam")
    made = facts.get("workflows_made", [])
    listed = _listed(run) if made else set()
    alias = facts.get("alias_made")
    alias_key = alias and or_none(
        lambda: kms.describe_key(KeyId=alias)["KeyMetadata"]["Arn"], "NotFoundException"
    )
    role = facts.get("role_made")
    key = kms.describe_key(KeyId=facts["key_arn"])["KeyMetadata"] if facts.get("key_made") else None
    grant = grant_access.observe_role(run, facts["role_name"]) if "role_name" in facts else None
    return State(
        tuple(arn for arn in made if arn in listed),
        alias if alias_key == facts["key_arn"] else None,
        role if role and or_none(lambda: iam.get_role(RoleName=role), "NoSuchEntity") else None,
        grant,
        None if key is None or key["KeyState"] == "PendingDeletion" else key,
    )


def _listed(run: Run) -> set[str]:
    """The ARNs of all workflow builds of this account and Region."""
    client = run.clients("imagebuilder")
    versions = [
        one["arn"]
        for page in client.get_paginator("list_workflows").paginate(owner="Self")
        for one in page["workflowVersionList"]
    ]
    pages = client.get_paginator("list_workflow_build_versions")
    return {
        one["arn"]
        for version in versions
        for page in pages.paginate(workflowVersionArn=version)
        for one in page["workflowSummaryList"]
    }


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
    if state.key is not None:
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
    """Take back the role's policy, and, of a key that stays, this run's statement."""
    changes = []
    if grant.role_policy is not None:
        changes.append(
            Change(
                "iam",
                "delete_role_policy",
                {"RoleName": grant.role_name, "PolicyName": policy_name(grant.place.run_id)},
                why="this run gave the role its policy on the key",
                undo="PutRolePolicy with the policy that the ledger keeps",
                keep={"policy": grant.role_policy},
            )
        )
    without = policies.without_statement(
        grant.key_policy, policies.sid("WorkflowKeyUse", grant.place.run_id)
    )
    if not policies.same(without, grant.key_policy):
        why = "this run added the statement; all others stay"
        changes.append(put_key_policy(grant.key_arn, grant.key_policy, without, why))
    return changes


def apply(run: Run, plan: Plan) -> None:
    """Make the changes."""
    mutate.apply(run, plan)


def verify(run: Run) -> Findings:
    """Look again: nothing that this run made is left, and the key has its date."""
    facts, state = run.facts(), observe(run)
    findings = [
        passed("The workflow is deleted", not state.workflows, _left(state.workflows)),
        passed("The role is deleted", state.role is None, _left([state.role]))
        if facts.get("role_made")
        else passed("The role stays: it was there before", True, str(facts.get("role_name"))),
        passed("The alias is deleted", state.alias is None, _left([state.alias])),
    ]
    key = run.clients("kms").describe_key(KeyId=facts["key_arn"])["KeyMetadata"]
    if facts.get("key_made"):
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
        findings.append(passed("The key stays: it was there before", key["Enabled"], key["Arn"]))
    return keep(run, findings)


def _left(things: Any) -> str:
    left = [thing for thing in things if thing]
    return f"still there: {', '.join(left)}" if left else "nothing left"
