"""Step 06: remove what this run made, and nothing else.

The ledger says what that is. A key is never deleted at once: it is scheduled, and the deletion can
be cancelled until its date.

What others use is left alone, unless a parameter says otherwise. A workflow that a pipeline or a
running build names stops the step before it deletes anything. A key of this run that others have
used, or are set up to use, stays, with its alias and without this run's statements; so does one of
which that is not known. A finding says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from keyrunbook import policies, statements
from keyrunbook.aws import mutate
from keyrunbook.errors import StepFailed
from keyrunbook.findings import Finding, Findings
from keyrunbook.parameters import Parameters
from keyrunbook.plan import SYMBOL, Applied, Change, Plan
from keyrunbook.steps import builds, grant_access, in_use, presence, revoke_access
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
    images: tuple[str, ...] = ()
    """The image build versions that its builds on AWS left."""
    role_shared: tuple[str, ...] = ()
    """The policies of others on the role that the run made: others use it."""
    use: in_use.Use = field(default_factory=in_use.Use)
    """Who else uses the workflows and the key."""
    held: bool = False
    """Whether a revocation of this run still holds back what others had."""
    adopted: tuple[tuple[str, str], ...] = ()
    """The texts of the key policy before statements of others were adopted, and after it."""


def observe(run: Run) -> State:
    """Look at each thing that the ledger says this run made, and at who else uses it."""
    facts = run.facts()
    alias, key = _alias(run, facts["key_arn"])
    if key is None:
        raise StepFailed(f"The key {facts['key_arn']} of this run is not there any more.", GONE)
    key_made = bool(presence.made(run, "kms:CreateKey"))
    made = [one["workflow_arn"] for one in presence.made(run, "imagebuilder:CreateWorkflow")]
    workflows = tuple(arn for arn in made if presence.is_there(run, arn))
    roles = [one["RoleName"] for one in presence.made(run, "iam:CreateRole")]
    grantee = _grantee(run)
    grant = None if grantee is None else grant_access.observe_role(run, grantee)
    looked_at = {} if grant is None else {grant.role_name: grant.role_arn}
    there = (one for one in roles if (looked_at.get(one) or presence.role(run, one)) is not None)
    role = next(there, None)
    used = key if key_made and _goes(key) else None
    return State(
        workflows,
        alias,
        role,
        grant,
        key,
        key_made,
        not key_made
        and bool(presence.made(run, "kms:EnableKeyRotation"))
        and presence.rotates(run, key["Arn"]),
        builds.left(run),
        () if role is None else _shared(run, role),
        in_use.look(run, _real(workflows), used, None if grant is None else grant.key_policy_text),
        "role_name" in facts and revoke_access.holds_of_others(run),
        grant_access.adoptions(run),
    )


def _grantee(run: Run) -> str | None:
    """The role that the run gave access, or began to: None where it did not.

    02 remembers it at its end; of one that died half-way its calls tell, and where the key policy
    alone was put, the parameter.
    """
    if known := run.facts().get("role_name"):
        return str(known)
    calls = [*presence.made(run, "iam:CreateRole"), *presence.made(run, "iam:PutRolePolicy")]
    if calls:
        return str(calls[-1]["RoleName"])
    if presence.made(run, "kms:PutKeyPolicy"):
        return grant_access.role_name(run.parameters.execution_role)
    return None


def _real(workflows: tuple[str, ...]) -> tuple[str, ...]:
    """Those that are there; what is still to be made (a symbol) nobody can use yet."""
    return tuple(arn for arn in workflows if not SYMBOL.fullmatch(arn))


def _goes(key: dict[str, Any]) -> bool:
    """Whether the key is there to be scheduled: neither scheduled already nor still to be made."""
    return key["KeyState"] != "PendingDeletion" and "CreationDate" in key


def _shared(run: Run, role: str) -> tuple[str, ...]:
    own = grant_access.policy_name(run.run_id)
    return tuple(name for name in presence.role_policies(run, role) if name != own)


def _alias(run: Run, key_arn: str) -> tuple[str | None, dict[str, Any] | None]:
    """The alias that this run made, while it names the run's key; and that key's metadata."""
    for name in (one["AliasName"] for one in presence.made(run, "kms:CreateAlias")):
        key = presence.key(run, name)
        if key is not None and key["Arn"] == key_arn:
            return str(name), key
    return None, presence.key(run, key_arn)


def forecast(run: Run) -> Forecast:
    """What the step would change, from now on."""
    return Forecast(plan(observe(run), run.parameters))


def plan(state: State, parameters: Parameters) -> Plan:
    """Delete from the outside in: images, workflow, role, alias, and the key last.

    Raises StepFailed where the workflow is in use, and `delete_used_workflow` does not say that it
    goes all the same; and where a revocation still holds back what others had.
    """
    _check_use(state, parameters)
    changes = [_delete_image(arn) for arn in state.images]
    changes += [
        Change(
            "imagebuilder",
            "delete_workflow",
            {"workflowBuildVersionArn": arn},
            why="this run made the workflow; deleting it needs no access to the key",
            undo="none: create it again with step 03",
        )
        for arn in state.workflows
    ]
    stays = _stays(state, parameters)
    if (grant := state.grant) is not None:
        changes += _access_changes(grant, state.adopted, stays)
    if state.role and not state.role_shared:
        changes.append(
            Change(
                "iam",
                "delete_role",
                {"RoleName": state.role},
                why="this run made the role",
                undo="none: a new role of that name is another principal",
            )
        )
    if state.alias and not (stays and state.key_made):
        changes.append(
            Change(
                "kms",
                "delete_alias",
                {"AliasName": state.alias},
                why="this run made the alias",
                undo="CreateAlias",
            )
        )
    if state.rotation_made and not _other_runs(state):
        changes.append(
            Change(
                "kms",
                "disable_key_rotation",
                {"KeyId": state.key["Arn"]},
                why="this run turned the key's rotation on; the key stays",
                undo="EnableKeyRotation",
            )
        )
    if not stays and state.key["KeyState"] != "PendingDeletion":
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
    return Plan(STEP, tuple(changes), tuple(_what_stays(state, stays)))


def _what_stays(state: State, stays: bool) -> Iterator[str]:
    """What is not removed, and why: sentences for who approves the plan."""
    key = state.key["Arn"]
    if not state.key_made:
        yield f"The key {key} stays: this run did not make it."
        if state.rotation_made and _other_runs(state):
            yield "Its rotation stays on: the key policy has statements of other runs."
    elif stays and state.key["KeyState"] != "PendingDeletion":
        with_it = f", with its alias {state.alias}" if state.alias else ""
        reasons = "; ".join(_why_used(state))
        yield f"The key {key} stays{with_it}: {reasons}. delete_used_key = True schedules it."
    if state.role_shared:
        yield (
            f"The role {state.role} stays: it has policies of others "
            f"({', '.join(state.role_shared)})."
        )
    elif state.role is None and state.grant is not None and state.grant.role_arn is not None:
        yield f"The role {state.grant.role_name} stays: this run did not make it."


def _why_used(state: State) -> list[str]:
    """Why a key of this run is left: who uses it, and what is not known of that."""
    users = "; ".join(f"{who}: {how}" for who, how in state.use.key)
    unread = "; ".join(f"{what}: {why}" for what, why in state.use.key_not_known)
    said = [f"others use it ({users})"] if users else []
    return [*said, *([f"whether others use it is not known ({unread})"] if unread else [])]


def _check_use(state: State, parameters: Parameters) -> None:
    if state.workflows and state.use.workflow and not parameters.delete_used_workflow:
        users = "; ".join(f"{who}: {how}" for who, how in state.use.workflow)
        raise StepFailed(
            f"The workflow {', '.join(state.workflows)} is in use, and nothing was deleted: "
            f"{users}.",
            "Take it out of them first, or set delete_used_workflow = True.",
        )
    if state.held:
        raise StepFailed(
            "A revocation of this run still holds back what others had: their grants or key "
            "policy statements for the role.",
            "Give it back first, with runbook restore or the last part of 05_revoke_access.",
        )


def _stays(state: State, parameters: Parameters) -> bool:
    """Whether the key stays: it was there before, or others use it and nobody said that it goes.

    They may, where not all that tells of it could be looked at.
    """
    used = bool(state.use.key or state.use.key_not_known)
    return not state.key_made or (used and not parameters.delete_used_key)


def _other_runs(state: State) -> bool:
    """Whether the key policy has statements of other runs: they need the key as it is."""
    if state.grant is None:
        return False
    mine = policies.sid("WorkflowKeyUse", state.grant.place.run_id)
    return any(
        sid.startswith("WorkflowKeyUse") and sid != mine
        for sid in policies.sids(state.grant.key_policy or {})
    )


def _delete_image(arn: str) -> Change:
    return Change(
        "imagebuilder",
        "delete_image",
        {"imageBuildVersionArn": arn},
        why="a build of this run left the image's entry; it was cancelled before there was an AMI",
        undo="none: CreateImage begins another build",
    )


def _access_changes(
    grant: grant_access.State, adopted: Sequence[tuple[str, str]], stays: bool
) -> list[Change]:
    """Take back the role's policy, and, of a key that stays, this run's statements.

    What the run adopted comes back in their place, as it was.
    Before the role goes: a key policy that names a role which is gone cannot be put again.
    """
    changes = []
    if grant.role_policy is not None:
        changes.append(delete_role_policy(grant, "this run gave the role its policy on the key"))
    if not stays:
        return changes
    before = grant.key_policy_text
    if before is None:  # another account's key: its policy is not ours to change
        return changes
    after = before
    for was, left in reversed(adopted):
        after = statements.undone(after, was, left)
    for purpose in ("WorkflowKeyUse", "WorkflowKeyRevoked"):
        after = statements.drop(after, policies.sid(purpose, grant.place.run_id))
    if after != before:
        grant_access.check_principals(after)
        why = "this run added the statement; all others stay"
        if adopted:
            why += ", and what it adopted comes back"
        changes.append(put_key_policy(grant.key_arn, before, after, why))
    return changes


def apply(run: Run, plan: Plan) -> Applied:
    """Make the changes."""
    return mutate.apply(run, plan, lambda: forecast(run).plan)


def verify(run: Run) -> Findings:
    """Look again: nothing that this run made is left, and the key has its date."""
    state = observe(run)
    stays = _stays(state, run.parameters)
    findings = [
        passed("The workflow is deleted", not state.workflows, _left(state.workflows)),
        _role_finding(run, state),
        passed("The alias stays with the key", True, state.alias)
        if state.alias and stays and state.key_made
        else passed("The alias is deleted", state.alias is None, _left([state.alias])),
        _key_finding(run, state, stays) if state.key_made else _key_left(run, state),
        *(
            Finding(f"Nothing else uses what was deleted: {what}", "not checked", why)
            for what, why in _not_known(run)
        ),
    ]
    return keep(run, findings)


def _role_finding(run: Run, state: State) -> Finding:
    grant = state.grant
    if presence.made(run, "iam:CreateRole") and not state.role_shared:
        return passed("The role is deleted", state.role is None, _left([state.role]))
    evidence = grant.role_name if grant else "no role was given access"
    if state.role_shared:
        evidence += f", which stays: it has policies of others ({', '.join(state.role_shared)})"
    return passed(
        "The role that was there before has no policy of this run"
        if not state.role_shared
        else "The role that others use has no policy of this run",
        grant is None or grant.role_policy is None,
        evidence,
        "Run the step again.",
    )


def _key_finding(run: Run, state: State, stays: bool) -> Finding:
    key = state.key
    if not stays or key["KeyState"] == "PendingDeletion":
        return passed(
            "The key is scheduled for deletion",
            key["KeyState"] == "PendingDeletion",
            f"deleted on {key['DeletionDate']:%Y-%m-%d}; until then: aws kms "
            f"cancel-key-deletion --key-id {key['KeyId']} --region {run.region}, then aws kms "
            f"enable-key --key-id {key['KeyId']} --region {run.region}"
            if "DeletionDate" in key
            else f"state {key['KeyState']}",
        )
    return Finding(
        "The key is scheduled for deletion",
        "fail",
        f"{key['Arn']} was left, state {key['KeyState']}: {'; '.join(_why_used(state))}",
        "Set delete_used_key = True if what they encrypted may be lost, and run the step again.",
    )


def _key_left(run: Run, state: State) -> Finding:
    return passed(
        "The key that was there before has no statement of this run, and stays",
        not plan(state, run.parameters).changes,
        f"{state.key['Arn']}, state {state.key['KeyState']}",
        "Run the step again.",
    )


def _not_known(run: Run) -> list[tuple[str, str]]:
    """What could not be looked at before the step deleted anything."""
    looked = run.ledger.of_kind("in_use", STEP)
    return [(one["what"], one["why"]) for one in looked[-1]["not_known"]] if looked else []


def _left(things: Any) -> str:
    left = [thing for thing in things if thing]
    return f"still there: {', '.join(left)}" if left else "nothing left"
