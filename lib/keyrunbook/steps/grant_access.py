"""Step 02: let the execution role use the key, for workflows only. Both steps of AWS's page.

Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from keyrunbook import access, mending, policies, statements
from keyrunbook.aws import mutate, who
from keyrunbook.aws.refusals import code_of
from keyrunbook.errors import ParameterError
from keyrunbook.findings import Finding, Findings
from keyrunbook.parameters import Parameters
from keyrunbook.permissions import size
from keyrunbook.plan import Applied, Change, Plan
from keyrunbook.steps import linting, presence, tried
from keyrunbook.steps.common import Forecast, Place, is_central, keep, passed, place

if TYPE_CHECKING:
    from keyrunbook.session import Run

STEP = "02_grant_access"


@dataclass(frozen=True, slots=True)
class State:
    """The role (or None), the key's policy, the role's inline policy of this run (or None).

    The key's policy is the text that KMS gives; None for the key of another account, whose policy
    nobody can read or put from here.
    """

    place: Place
    key_arn: str
    role_name: str
    role_arn: str | None
    key_policy_text: str | None
    role_policy: dict[str, Any] | None
    other_characters: int | None = None
    """The length of the role's other inline policies; None where it was not, or cannot be, read."""

    @property
    def key_policy(self) -> policies.Document | None:
        """The key's policy as a document."""
        return None if self.key_policy_text is None else json.loads(self.key_policy_text)


def observe(run: Run) -> State:
    """Read the role and the two policies.

    Raises ParameterError when `execution_role` is another account's role, has another path than
    the role of that name, is a service's own, or is not the role that this run works with.
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
    if ":role/aws-service-role/" in (state.role_arn or expected):
        raise ParameterError(
            f"{state.role_arn or expected} is a service-linked role: only its service may change "
            "what it is allowed.",  # IAM answers UnmodifiableEntity
            "Give a role of your own as execution_role.",
        )
    if state.role_arn is None or policies.same(state.role_policy, _role_policy(state)):
        return state
    return replace(state, other_characters=_other_characters(run, name))


ROLE_POLICIES_LIMIT: Final = 10_240
"""Characters of all inline policies of a role together, white space not counted.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""


def _other_characters(run: Run, name: str) -> int | None:
    """The length of the role's inline policies but this run's; None where it may not be read."""
    try:
        inline = [
            one
            for one in presence.role_policies(run, name)
            if ":" not in one and one != policy_name(run.run_id)  # an attached one is an ARN
        ]
        return sum(size(presence.role_policy(run, name, one) or {}) for one in inline)
    except ClientError as error:
        if code_of(error) == "AccessDenied":
            return None
        raise


def observe_role(run: Run, name: str) -> State:
    """Read the role of that name, the key's policy, and the role's policy of this run."""
    key_arn, role_arn = run.facts()["key_arn"], presence.role(run, name)
    return State(
        place(run),
        key_arn,
        name,
        role_arn,
        None if is_central(key_arn, place(run)) else presence.key_policy_text(run, key_arn),
        None if role_arn is None else presence.role_policy(run, name, policy_name(run.run_id)),
    )


def plan(state: State, parameters: Parameters) -> Plan:
    """The statement in the key policy, the policy of the role; on the sandbox the role itself.

    Raises ParameterError when the role is not there (on AWS), or one of the policies would be too
    long, or have an error that the linter finds.
    """
    where = state.place
    changes: list[Change] = []
    notes: list[str] = []
    role_arn = state.role_arn
    if role_arn is None:
        if where.target == "aws":
            raise ParameterError(
                f"There is no role {state.role_name!r} in the account {where.account}.",
                "Give your workflow execution role by execution_role.",
            )
        role_arn = role_arn_of(parameters.execution_role, where)
        changes.append(_create_role(where, role_arn))
    role_policy = _role_policy(state)
    _check_length(state, role_policy)
    if state.key_policy_text is not None:
        text = _key_policy(state, role_arn, adopt=parameters.adopt_statements)
        if not policies.same(state.key_policy, json.loads(text)):
            check_principals(text)
            notes = linting.key_policy(
                *(state.key_policy_text, text, state.key_arn, where.account, role_arn)
            )
            changes.append(put_key_policy(state.key_arn, state.key_policy_text, text))
    if not policies.same(state.role_policy, role_policy):
        linting.role_policy(policies.to_text(role_policy), state.key_arn, where.account)
        changes.append(put_role_policy(where, state.role_name, state.role_policy, role_policy))
    return Plan(STEP, tuple(changes), tuple(notes))


def _check_length(state: State, role_policy: policies.Document) -> None:
    others = state.other_characters
    if others is not None and (length := others + size(role_policy)) > ROLE_POLICIES_LIMIT:
        raise ParameterError(
            f"The inline policies of the role {state.role_name!r} would have {length} characters; "
            f"IAM takes {ROLE_POLICIES_LIMIT} of a role's together.",
            "Make one of them a managed policy, or give another role by execution_role.",
        )


def forecast(run: Run) -> Forecast:
    """What the step would change and leave, from now on."""
    state = observe(run)
    role_arn = state.role_arn or role_arn_of(run.parameters.execution_role, state.place)
    leaves = {"role_name": state.role_name, "role_arn": role_arn}
    return Forecast(plan(state, run.parameters), leaves)


def statement_for(state: State, role_arn: str) -> policies.Document:
    """What the key's policy has to say of the execution role."""
    where = state.place
    return policies.execution_role_statement(where.run_id, role_arn, where.partition, where.account)


def _key_policy(state: State, role_arn: str, *, adopt: bool) -> str:
    """The text of the key policy as it must be: our statement in it, all others as they are.

    With `adopt` those that others wrote and that say the same give way to ours.
    """
    statement, text = statement_for(state, role_arn), state.key_policy_text or ""
    if adopt:
        text = statements.drop_where(text, lambda one: policies.says_the_same(one, statement))
    return statements.put(text, statement)


def adoptions(run: Run) -> tuple[tuple[str, str], ...]:
    """The key policy's text before this run adopted others' statements, and after it; each time.

    A statement that has a Sid of this run is none of others.
    """
    own = [policies.sid("WorkflowKeyUse", run.run_id)]
    found = []
    for intent, _ in run.ledger.served():
        if intent["step"] == STEP and intent["call"] == "kms:PutKeyPolicy":
            was, left = intent["before"]["policy"], intent["parameters"]["Policy"]
            if policies.besides(json.loads(was), json.loads(left), own):
                found.append((was, left))
    return tuple(found)


def _role_policy(state: State) -> policies.Document:
    where = state.place
    return policies.role_policy(where.run_id, state.key_arn, where.partition, where.account)


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


def put_key_policy(key_arn: str, before: str, after: str, why: str = "") -> Change:
    """The change of a key policy's text. Raises ParameterError when KMS would find it too long."""
    if len(after.encode()) > policies.KEY_POLICY_LIMIT_BYTES:
        raise ParameterError(
            f"The key policy would have {len(after.encode())} bytes; KMS takes "
            f"{policies.KEY_POLICY_LIMIT_BYTES}.",
            "Remove statements that nobody needs, then run the step again.",
        )
    return Change(
        "kms",
        "put_key_policy",
        {"KeyId": key_arn, "PolicyName": "default", "Policy": after},
        why=why or "step 1: the key lets the execution role decrypt, for workflows only",
        undo="PutKeyPolicy with the policy that the ledger keeps",
        keep={"policy": before},
    )


def check_principals(text: str, otherwise: str = "") -> None:
    """Raise ParameterError where a key policy names a principal that is gone: KMS refuses it."""
    if gone := policies.gone_principals(json.loads(text)):
        raise ParameterError(
            f"KMS would refuse the key policy: {gone}.",
            f"Take it out of the key policy, then run the step again. {otherwise}".strip(),
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
    applied = mutate.apply(run, plan, lambda: forecast(run).plan)
    name = role_name(run.parameters.execution_role)
    run.learn(role_name=name, role_arn=presence.role(run, name))
    return applied


def verify(run: Run) -> Findings:
    """Read both policies again, and decide what they allow the role."""
    state = observe(run)
    role_arn = state.role_arn or ""
    matrix = decided(run, state)
    keep_access(run, matrix, "granted")
    return keep(
        run,
        [
            passed("The execution role exists", bool(role_arn), role_arn or "no such role"),
            _key_policy_finding(state, role_arn),
            passed(
                "The role's policy names the key for workflows",
                policies.same(state.role_policy, _role_policy(state)),
                "GetRolePolicy",
                "Run the step again.",
            ),
            *_made_by_hand(state, role_arn),
            *access.findings(matrix),
        ],
    )


def _key_policy_finding(state: State, role_arn: str) -> Finding:
    said = "The key policy lets the execution role use the key for workflows"
    statement = statement_for(state, role_arn)
    if state.key_policy is None:
        owner = state.key_arn.split(":")[4]
        return Finding(
            said,
            "not checked",
            f"the key is of the account {owner}: its policy cannot be read from here",
            f"Have that account add this statement: {json.dumps(statement)}",
        )
    there = policies.statement_of(state.key_policy, statement["Sid"])
    return passed(said, policies.same(there, statement), "GetKeyPolicy", "Run the step again.")


def _made_by_hand(state: State, role_arn: str) -> list[Finding]:
    """What to know of statements of others that say what ours says, if there are any."""
    found = policies.made_by_hand(state.key_policy or {}, statement_for(state, role_arn))
    if not found:
        return []
    names = ", ".join(repr(one.get("Sid", "without a Sid")) for one in found)
    return [
        Finding(
            "What gives the role this access is this run's alone",
            "not checked",
            f"the statement {names} says the same, is not this run's, and stays when 05 revokes",
            "Set adopt_statements = True to have this run's take its place.",
        )
    ]


def who_may(run: Run, state: State | None = None, key: who.KeySide | None = None) -> access.Matrix:
    """`decided`, and what the policies leave open for the operator is tried, by dry runs."""
    read, operator = _read(run, state, key)
    return tried.settled(run, access.decided(read, operator), operator)


def decided(run: Run, state: State | None = None, key: who.KeySide | None = None) -> access.Matrix:
    """Who may use the key for what, decided from the policies as they are now.

    `state` holds the key's policy, `key` its grants too, where they were read already.
    """
    return access.decided(*_read(run, state, key))


def _read(
    run: Run, state: State | None, key: who.KeySide | None
) -> tuple[access.Read | None, access.Operator]:
    """The role, if there is one, and the operator, each with the policies that decide."""
    facts = run.facts()
    name = facts.get("role_name") or role_name(run.parameters.execution_role)
    text = None if state is None else state.key_policy_text
    key = key or who.key_side(run.clients, facts["key_arn"], text)
    read, operator = who.read(run.clients, key, name), who.operator(run.clients, key)
    if read is not None:
        ours = mending.Ours(run.run_id, read.role_arn, key.arn, policy_name(run.run_id))
        read = replace(read, ours=ours)
    return read, operator


def keep_access(run: Run, matrix: access.Matrix, when: str) -> None:
    """Have the ledger remember a matrix; `when` names the moment."""
    cells = [
        [one.principal, one.action, one.what, one.outcome.value, one.why, one.wanted]
        for one in matrix.cells
    ]
    run.record("access", when=when, cells=cells, not_read=[*matrix.not_read, *matrix.refused])


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
