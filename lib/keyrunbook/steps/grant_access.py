"""Step 02: let the execution role use the key, for workflows only. Both steps of AWS's page.

Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from keyrunbook import access, policies
from keyrunbook.aws import mutate, who
from keyrunbook.errors import ParameterError
from keyrunbook.findings import Findings
from keyrunbook.parameters import Parameters
from keyrunbook.plan import Applied, Change, Plan
from keyrunbook.steps import presence
from keyrunbook.steps.common import Forecast, Place, keep, passed, place

if TYPE_CHECKING:
    from keyrunbook.session import Run

STEP = "02_grant_access"


@dataclass(frozen=True, slots=True)
class State:
    """The role (or None), the key's policy, the role's inline policy of this run (or None)."""

    place: Place
    key_arn: str
    role_name: str
    role_arn: str | None
    key_policy: dict[str, Any]
    role_policy: dict[str, Any] | None


def observe(run: Run) -> State:
    """Read the role and the two policies.

    Raises ParameterError when `execution_role` is another account's role, has another path than
    the role of that name, or is not the role that this run works with.
    """
    wanted = run.parameters.execution_role
    name, known = role_name(wanted), run.facts().get("role_name")
    if known not in (None, name):
        raise ParameterError(
            f"The run {run.run_id!r} works with the role {known}; execution_role names {name}.",
            "Leave execution_role out, or start a new run.",
        )
    state = observe_role(run, name)
    expected = role_arn_of(wanted, state.place)
    if expected.split(":")[4] != state.place.account:
        raise ParameterError(
            f"execution_role = {wanted!r} is not of this account, {state.place.account}.",
            "Give a role of the account that the run works in.",
        )
    if "/" in wanted and state.role_arn not in (None, expected):
        raise ParameterError(
            f"execution_role = {wanted!r} is not there; {state.role_arn} has that name.",
            "Give the role's name alone, or its ARN.",
        )
    return state


def observe_role(run: Run, name: str) -> State:
    """Read the role of that name, the key's policy, and the role's policy of this run."""
    key_arn, role_arn = run.facts()["key_arn"], presence.role(run, name)
    return State(
        place(run),
        key_arn,
        name,
        role_arn,
        presence.key_policy(run, key_arn),
        None if role_arn is None else presence.role_policy(run, name, policy_name(run.run_id)),
    )


def plan(state: State, parameters: Parameters) -> Plan:
    """The statement in the key policy, the policy of the role; on the sandbox the role itself.

    Raises ParameterError when the role is not there (on AWS), or the key policy would be too long.
    """
    where = state.place
    changes = []
    role_arn = state.role_arn
    if role_arn is None:
        if where.target == "aws":
            raise ParameterError(
                f"There is no role {state.role_name!r} in the account {where.account}.",
                "Give your workflow execution role by execution_role.",
            )
        role_arn = role_arn_of(parameters.execution_role, where)
        changes.append(_create_role(where, role_arn))
    key_policy, role_policy = wanted(state, role_arn)
    if not policies.same(state.key_policy, key_policy):
        changes.append(put_key_policy(state.key_arn, state.key_policy, key_policy))
    if not policies.same(state.role_policy, role_policy):
        changes.append(put_role_policy(where, state.role_name, state.role_policy, role_policy))
    return Plan(STEP, tuple(changes))


def forecast(run: Run) -> Forecast:
    """What the step would change and leave, from now on."""
    state = observe(run)
    role_arn = state.role_arn or role_arn_of(run.parameters.execution_role, state.place)
    leaves = {"role_name": state.role_name, "role_arn": role_arn}
    return Forecast(plan(state, run.parameters), leaves)


def wanted(state: State, role_arn: str) -> tuple[policies.Document, policies.Document]:
    """The key policy and the role policy as they must be."""
    where = state.place
    statement = policies.execution_role_statement(
        where.run_id, role_arn, where.partition, where.account
    )
    return (
        policies.with_statement(state.key_policy, statement),
        policies.role_policy(where.run_id, state.key_arn, where.partition, where.account),
    )


def _create_role(where: Place, arn: str) -> Change:
    path, _, name = arn.split(":role")[1].rpartition("/")
    return Change(
        "iam",
        "create_role",
        {
            "RoleName": name,
            "Path": f"{path}/",
            "AssumeRolePolicyDocument": policies.to_text(policies.trust_policy(where.account)),
            "Description": "Image Builder runs workflows as this role",
            "Tags": [{"Key": key, "Value": value} for key, value in where.tags.items()],
        },
        why="image workflows run as a role that Image Builder assumes",
        undo="DeleteRole",
    )


def put_key_policy(
    key_arn: str, before: policies.Document, after: policies.Document, why: str = ""
) -> Change:
    """The change of a key policy. Raises ParameterError when KMS would find it too long."""
    text = policies.to_text(after)
    if len(text.encode()) > policies.KEY_POLICY_LIMIT_BYTES:
        raise ParameterError(
            f"The key policy would have {len(text.encode())} bytes; KMS takes "
            f"{policies.KEY_POLICY_LIMIT_BYTES}.",
            "Remove statements that nobody needs, then run the step again.",
        )
    return Change(
        "kms",
        "put_key_policy",
        {"KeyId": key_arn, "PolicyName": "default", "Policy": text},
        why=why or "step 1: the key lets the execution role decrypt, for workflows only",
        undo="PutKeyPolicy with the policy that the ledger keeps",
        keep={"policy": before},
    )


def put_role_policy(
    where: Place, role: str, before: policies.Document | None, after: policies.Document
) -> Change:
    """The change that gives the role its policy on the key."""
    return Change(
        "iam",
        "put_role_policy",
        {
            "RoleName": role,
            "PolicyName": policy_name(where.run_id),
            "PolicyDocument": policies.to_text(after),
        },
        why="step 2: the role's own policy names the key, for workflows only",
        undo="DeleteRolePolicy",
        keep={"policy": before},
    )


def delete_role_policy(state: State, why: str) -> Change:
    """The change that takes the role's policy on the key away."""
    return Change(
        "iam",
        "delete_role_policy",
        {"RoleName": state.role_name, "PolicyName": policy_name(state.place.run_id)},
        why=why,
        undo="PutRolePolicy with the policy that the ledger keeps",
        keep={"policy": state.role_policy},
    )


def apply(run: Run, plan: Plan) -> Applied:
    """Make the changes; remember the role and the policies."""
    applied = mutate.apply(run, plan)
    state = observe(run)
    run.learn(role_name=state.role_name, role_arn=state.role_arn)
    return applied


def verify(run: Run) -> Findings:
    """Read both policies again, and decide what they allow the role."""
    state = observe(run)
    role_arn = state.role_arn or ""
    key_policy, role_policy = wanted(state, role_arn)
    matrix = who_may(run)
    return keep(
        run,
        [
            passed("The execution role exists", bool(role_arn), role_arn or "no such role"),
            passed(
                "The key policy lets the execution role use the key for workflows",
                policies.same(state.key_policy, key_policy),
                "GetKeyPolicy",
                "Run the step again.",
            ),
            passed(
                "The role's policy names the key for workflows",
                policies.same(state.role_policy, role_policy),
                "GetRolePolicy",
                "Run the step again.",
            ),
            *access.findings(matrix),
        ],
    )


def who_may(run: Run) -> access.Matrix:
    """Who may use the key for what, decided from the policies as they are now."""
    facts = run.facts()
    name = facts.get("role_name") or role_name(run.parameters.execution_role)
    key_arn = facts["key_arn"]
    return access.decided(who.read(run.clients, key_arn, name), who.operator(run.clients, key_arn))


def as_printed(run: Run) -> access.Printed:
    """What AWS makes of both steps' statements, as its page prints them and as they are sent."""
    name = role_name(run.parameters.execution_role)
    return access.printed(run.run_id, run.facts()["key_arn"], name)


def role_name(role: str) -> str:
    """The name of a role given by name or ARN (whose path is not part of the name)."""
    return role.rsplit("/", 1)[-1]


def role_arn_of(role: str, where: Place) -> str:
    """The ARN of a role given by ARN, by name, or by path and name."""
    if role.startswith("arn:"):
        return role
    return f"arn:{where.partition}:iam::{where.account}:role/{role.lstrip('/')}"


def policy_name(run_id: str) -> str:
    """The name of the inline policy that a run gives the role."""
    return f"WorkflowKeyAccess-{run_id}"
