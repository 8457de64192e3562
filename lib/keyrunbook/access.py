"""Decides, from policies as they were read, what the execution role and the operator may do.

A decision is not an observation: only a build exercises the role. The judge is `iamaccess`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from iamaccess import (
    ContextValue,
    Decision,
    MalformedPolicy,
    Outcome,
    Policies,
    Principal,
    Request,
    Unsupported,
    decide,
    parse_policy,
)

from keyrunbook import policies as build
from keyrunbook.findings import Finding
from keyrunbook.proof import ARN_KEY, MESSAGE_KEY
from keyrunbook.records import IMAGE_BUILDER

ROLE = "execution role"
OPERATOR = "operator, by Image Builder"


@dataclass(frozen=True, slots=True)
class Cell:
    """One question and its answer: may `principal` do `action` on the key for `what`?"""

    principal: str
    action: str
    what: str
    wanted: bool
    outcome: Outcome
    why: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """The answers, and the layers that nobody could read."""

    cells: tuple[Cell, ...]
    not_read: tuple[str, ...]
    refused: tuple[str, ...] = ()
    """The reads of the role and the key that AWS refused: the permissions that are missing."""
    malformed: tuple[str, ...] = ()
    """The policies in AWS that the judge takes for malformed, each with what is wrong and where."""

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from keyrunbook.show.tables import matrix_table

        return matrix_table(self).mimebundle()


@dataclass(frozen=True, slots=True)
class Read:
    """What was read of a key and a role: the role's ARN and unique id, and its policies.

    `refused`: the permissions for want of which something was not read. `malformed`: the policies
    that the judge could not read, each with why.
    """

    role_arn: str
    role_id: str
    key_arn: str
    policies: Policies
    refused: tuple[str, ...] = ()
    malformed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operator:
    """The operator, and what was read of its own policies and of the key's.

    `malformed`: the policies that the judge could not read, each with why.
    """

    principal: Principal
    key_arn: str
    policies: Policies
    malformed: tuple[str, ...] = ()


def keeps_control(operator: Operator, key_policy: Mapping[str, Any]) -> tuple[Outcome, str]:
    """Whether `operator` could change the key's policy again under `key_policy`, and why.

    Control policies of an organization, which nobody can read from within an account, are left
    out: they are not what a key policy changes.
    """
    try:
        policy = parse_policy(dict(key_policy), kind="resource", name="planned key policy")
    except MalformedPolicy as error:
        return Outcome.UNKNOWN, f"KMS will judge the document: {error}"
    layers = replace(operator.policies, resource=[policy])
    request = Request(operator.principal, "kms:PutKeyPolicy", operator.key_arn)
    decision, why = _decision(request, layers)
    outcome = _by_what_was_read(decision) if decision else Outcome.UNKNOWN
    if outcome is Outcome.UNKNOWN and operator.malformed:
        why += f"; malformed by the judge: {'; '.join(operator.malformed)}"
    return outcome, why


def decided(read: Read | None, operator: Operator) -> Matrix:
    """The role's rows, where there is a role, and the operator's: two separate accesses.

    `operator` has the key's policy and grants among its policies.
    """
    role = _of_role(read) if read else Matrix((), ())
    own, not_read = _of_operator(operator)
    unread = tuple(dict.fromkeys((*role.not_read, *not_read)))
    malformed = (*(read.malformed if read else ()), *operator.malformed)
    return Matrix(
        (*role.cells, *own),
        unread,
        read.refused if read else (),
        tuple(dict.fromkeys(malformed)),
    )


def _of_operator(operator: Operator) -> tuple[list[Cell], tuple[str, ...]]:
    """What CreateWorkflow and GetWorkflow need of their caller, in a forward access session.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_forward_access_sessions.html
    """
    cells = []
    not_read: tuple[str, ...] = ()
    for request in operator_requests(operator):
        decision, why = _decision(request, operator.policies)
        not_read = decision.not_given if decision else not_read
        outcome = _by_what_was_read(decision) if decision else Outcome.UNKNOWN
        cells.append(
            Cell(OPERATOR, request.action, "a workflow of this account", True, outcome, why)
        )
    return cells, not_read


def operator_requests(operator: Operator) -> list[Request]:
    """What Image Builder asks of KMS for the operator, about a workflow of the key's account."""
    context = {
        **_pairs(_workflow(operator.key_arn)),
        "aws:CalledVia": [IMAGE_BUILDER],
        "aws:ViaAWSService": True,
    }
    return [
        Request(operator.principal, action, operator.key_arn, context) for action in build.ACTIONS
    ]


def role_requests(read: Read) -> list[Request]:
    """What a build asks of KMS as the execution role, about a workflow of the key's account."""
    pairs = _pairs(_workflow(read.key_arn))
    return [Request(_session(read), action, read.key_arn, pairs) for action in build.ACTIONS]


def _workflow(key_arn: str) -> str:
    partition, _, region, account = _fields(key_arn)
    return f"arn:{partition}:imagebuilder:{region}:{account}:workflow/build/example/1.0.0/*"


def _of_role(read: Read) -> Matrix:
    """The execution role's rows: workflows of this account, and what must stay closed."""
    partition, _, region, account = _fields(read.key_arn)
    foreign = "999999999999" if account != "999999999999" else "888888888888"

    def arn(kind: str, region: str, account: str) -> str:
        return f"arn:{partition}:imagebuilder:{region}:{account}:{kind}/1.0.0/*"

    elsewhere = "eu-west-1" if region != "eu-west-1" else "us-east-1"
    workflow = "workflow/build/example"
    questions: tuple[tuple[str, str | None, bool], ...] = (
        ("a workflow of this account", arn(workflow, region, account), True),
        ("the same in another Region", arn(workflow, elsewhere, account), True),
        ("another account's workflow", arn(workflow, region, foreign), False),
        ("a component", arn("component/example", region, account), False),
        ("no encryption context", None, False),
    )
    cells = []
    not_read: tuple[str, ...] = ()
    for what, context, wanted in questions:
        for action in build.ACTIONS:
            decision, why = _ask(read, action, context)
            not_read = decision.not_given if decision else not_read
            outcome = _by_what_was_read(decision) if decision else Outcome.UNKNOWN
            cells.append(Cell(ROLE, action, what, wanted, outcome, why))
    return Matrix(tuple(cells), not_read)


def _ask(read: Read, action: str, context: str | None) -> tuple[Decision | None, str]:
    pairs = {} if context is None else _pairs(context)
    return _decision(Request(_session(read), action, read.key_arn, pairs), read.policies)


def _session(read: Read) -> Principal:
    """A session of the execution role, as a build has one."""
    name = read.role_arn.rsplit("/", 1)[-1]
    _, _, _, account = _fields(read.key_arn)
    session = read.role_arn.split(":role/")[0].replace(":iam:", ":sts:")
    return Principal(
        "session", f"{session}:assumed-role/{name}/build", account, read.role_arn, read.role_id
    )


def _pairs(context: str) -> dict[str, ContextValue]:
    """The condition keys that Image Builder's encryption context gives."""
    return {
        f"kms:EncryptionContext:{ARN_KEY}": context,
        "kms:EncryptionContextKeys": [ARN_KEY, MESSAGE_KEY],
    }


def _decision(request: Request, policies: Policies) -> tuple[Decision | None, str]:
    try:
        decision = decide(request, policies)
    except Unsupported as element:
        return None, f"not decided: {element}"
    return decision, _why(decision)


def _by_what_was_read(decision: Decision) -> Outcome:
    """The outcome without the organization's policies, which nobody can read from the account.

    That they were not read is said beside it.
    """
    if decision.outcome is Outcome.UNKNOWN and set(decision.unknown) <= {
        "service_control",
        "resource_control",
    }:
        return Outcome.ALLOWED if decision.allowed_by_what_was_read else Outcome.UNKNOWN
    return decision.outcome


_LAYERS = {
    "identity": "its own policies",
    "resource": "the key policy",
    "grant": "a grant",
    "boundary": "the permissions boundary",
    "session": "the session policy",
}


def _why(decision: Decision) -> str:
    layer = _LAYERS.get(decision.layer or "", decision.layer or "")
    if (statement := decision.statement) is not None:
        if decision.layer == "grant":
            return f"{layer}: {statement.policy}"
        policy = statement.policy.rsplit("/", 1)[-1]  # of a managed one this is the ARN
        return f"{layer}: {statement.sid or f'statement {statement.index + 1} of {policy}'}"
    if decision.reason == "unknown":
        return f"not read: {', '.join(decision.unknown)}"
    return f"nothing in {layer} allows it"


def findings(matrix: Matrix) -> list[Finding]:
    """One finding for what the role must be able to do, one for what must stay closed."""
    unread = f"; not read: {', '.join(matrix.not_read)}" if matrix.not_read else ""
    if matrix.refused:
        unread += f"; the operator lacks {', '.join(matrix.refused)}"
    if matrix.malformed:
        unread += f"; malformed by the judge: {'; '.join(matrix.malformed)}"
    cells = [cell for cell in matrix.cells if cell.principal == ROLE]
    if not cells:
        return []
    return [
        _finding(
            "The execution role may decrypt this account's workflows (decided, not observed)",
            [cell for cell in cells if cell.wanted],
            Outcome.ALLOWED,
            unread,
        ),
        _finding(
            "The execution role may use the key for nothing else (decided, not observed)",
            [cell for cell in cells if not cell.wanted],
            Outcome.DENIED,
            unread,
        ),
    ]


def _finding(statement: str, cells: list[Cell], wanted: Outcome, unread: str) -> Finding:
    wrong = [cell for cell in cells if cell.outcome not in (wanted, Outcome.UNKNOWN)]
    unknown = [cell for cell in cells if cell.outcome is Outcome.UNKNOWN]
    first = (wrong or unknown or cells)[0]
    evidence = f"{first.action} for {first.what}: {first.outcome.value}, {first.why}{unread}"
    if wrong:
        return Finding(statement, "fail", evidence, "Look at the matrix for the statement.")
    return Finding(statement, "not checked" if unknown else "pass", evidence)


def _fields(arn: str) -> tuple[str, str, str, str]:
    """Partition, service, Region, account of an ARN."""
    _, partition, service, region, account, _ = arn.split(":", 5)
    return partition, service, region, account


@dataclass(frozen=True, slots=True)
class Judged:
    """A policy statement, and what AWS makes of it."""

    what: str
    statement: Mapping[str, Any]
    outcome: str
    why: str


@dataclass(frozen=True, slots=True)
class Printed:
    """The statements of both steps of the page, as printed and as they are sent."""

    rows: tuple[Judged, ...]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from keyrunbook.show.tables import printed_table

        return printed_table(self).mimebundle()


def printed(run_id: str, key_arn: str, role_name: str) -> Printed:
    """The page's statements, letter for letter, and the ones that are sent, put to the judge.

    Nothing is sent. Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html
    """
    partition, _, _, account = _fields(key_arn)
    role = f"arn:{partition}:iam::{account}:role/{role_name}"
    use = build.execution_role_statement(run_id, role, partition, account)
    administrators = build.printed_administrators_statement(account)
    (sent_administrators,) = build.administrators_policy(partition, account)["Statement"]
    return Printed(
        (
            Judged(
                "step 1, the execution role, as printed but for the Sid",
                use,
                *_workflows_only(use, role, key_arn),
            ),
            Judged(
                "step 1, administrators, as printed",
                administrators,
                *_root_may_change(administrators, key_arn, account),
            ),
            Judged(
                "step 1, administrators, as sent",
                sent_administrators,
                *_root_may_change(sent_administrators, key_arn, account),
            ),
            *(
                Judged(what, policy["Statement"][0], *_accepted(policy))
                for what, policy in (
                    ("step 2, as printed", build.printed_role_policy(key_arn, account)),
                    ("step 2, as sent", build.role_policy(run_id, key_arn, partition, account)),
                )
            ),
        )
    )


def _workflows_only(statement: Mapping[str, Any], role: str, key_arn: str) -> tuple[str, str]:
    policy = {"Version": build.VERSION, "Statement": [statement]}
    layers = Policies((), [parse_policy(policy, kind="resource")], (), (), (), (), ())
    cells = _of_role(Read(role, "", key_arn, layers)).cells
    wanted = {True: Outcome.ALLOWED, False: Outcome.DENIED}
    return (
        ("works", "the role may use the key for workflows, and for nothing else")
        if all(cell.outcome is wanted[cell.wanted] for cell in cells)
        else ("fails", "the role may do more or less than use the key for workflows")
    )


def _root_may_change(statement: Mapping[str, Any], key_arn: str, account: str) -> tuple[str, str]:
    root = Principal("root", f"arn:{_fields(key_arn)[0]}:iam::{account}:root", account)
    policy = {"Version": build.VERSION, "Statement": [statement]}
    layers = Policies((), [parse_policy(policy, kind="resource")], (), (), (), (), ())
    decision = decide(Request(root, "kms:PutKeyPolicy", key_arn), layers)
    return (
        ("works", "administrators can change the policy again")
        if decision.outcome is Outcome.ALLOWED
        else (
            "locks out",
            "it matches no key, so nobody could change the policy again; KMS refuses",
        )
    )


def _accepted(policy: Mapping[str, Any]) -> tuple[str, str]:
    try:
        parse_policy(policy, kind="identity")
    except MalformedPolicy as error:
        return "refused", f"IAM: MalformedPolicyDocument ({error.reason})"
    return "works", "IAM accepts it"
