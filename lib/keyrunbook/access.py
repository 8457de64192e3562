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
    decide,
    parse_policy,
)
from iamaccess.explain import explain, not_read

from keyrunbook import mending
from keyrunbook import policies as build
from keyrunbook.findings import Finding
from keyrunbook.proof import ARN_KEY, MESSAGE_KEY
from keyrunbook.records import IMAGE_BUILDER

ROLE = "execution role"
OPERATOR = "operator, by Image Builder"


@dataclass(frozen=True, slots=True)
class Cell:
    """One question and its answer: may `principal` do `action` on the key for `what`?

    `why` is one sentence. Of what is not allowed, `near` are the statements that nearly allowed it,
    nearest first, and `mend` is the smallest change of this project's statements that would, where
    it is wanted. `settles` says what would turn UNKNOWN into an answer.
    """

    principal: str
    action: str
    what: str
    wanted: bool
    outcome: Outcome
    why: str
    near: tuple[str, ...] = ()
    mend: str = ""
    settles: str = ""
    was: Outcome | None = None
    """What it was at an earlier look, where the two are compared."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """The answers, and the layers that nobody could read."""

    cells: tuple[Cell, ...]
    not_read: tuple[str, ...]
    refused: tuple[str, ...] = ()
    """The reads of the role and the key that AWS refused: the permissions that are missing."""
    malformed: tuple[str, ...] = ()
    """The policies in AWS that the judge takes for malformed, each with what is wrong and where."""

    def since(self, before: Matrix) -> Matrix:
        """The same answers, those that changed since `before` marked with what they were."""
        was = {(one.principal, one.action, one.what): one.outcome for one in before.cells}
        cells = tuple(
            replace(one, was=was.get((one.principal, one.action, one.what))) for one in self.cells
        )
        return replace(self, cells=cells)

    def unread(self) -> str:
        """The layers that nobody could read, as a person knows them."""
        return not_read(self.not_read)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from keyrunbook.show.access import MatrixView

        return MatrixView(self).mimebundle()


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
    ours: mending.Ours | None = None
    """What this run's two statements name, where a run asks."""


@dataclass(frozen=True, slots=True)
class Operator:
    """The operator, and what was read of its own policies and of the key's.

    `malformed`: the policies that the judge could not read, each with why.
    """

    principal: Principal
    key_arn: str
    policies: Policies
    malformed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Control:
    """Whether the operator could change the key's policy again, and why.

    `mend` is the smallest change of the planned policy under which it could, where there is one;
    `unread` names the layers that were not read.
    """

    outcome: Outcome
    why: str
    mend: mending.Mend | None = None
    unread: str = ""

    def __str__(self) -> str:
        told = "" if not self.unread or "not read: " in self.why else f"; not read: {self.unread}"
        return f"{self.why}{told}"


def keeps_control(operator: Operator, key_policy: Mapping[str, Any]) -> Control:
    """Whether `operator` could change the key's policy again under `key_policy`.

    Control policies of an organization, which nobody can read from within an account, are left
    out: they are not what a key policy changes.
    """
    try:
        policy = parse_policy(dict(key_policy), kind="resource", name="planned key policy")
    except MalformedPolicy as error:
        return Control(Outcome.UNKNOWN, f"KMS will judge the document: {error}")
    layers = replace(operator.policies, resource=[policy])
    request = _put_key_policy(operator)
    answer = answered(request, layers)
    why, unread = answer.why, not_read(answer.not_given)
    if answer.outcome is Outcome.UNKNOWN and operator.malformed:
        why += f"; malformed by the judge: {'; '.join(operator.malformed)}"
    if answer.outcome is Outcome.ALLOWED:
        return Control(answer.outcome, why, None, unread)
    account = operator.key_arn.split(":")[4]
    mend = mending.mend_control(request, layers, key_policy, account)
    return Control(answer.outcome, why, mend, unread)


def _put_key_policy(operator: Operator) -> Request:
    """The operator's own call; what else it has is not known."""
    return _directly(Request(operator.principal, "kms:PutKeyPolicy", operator.key_arn))


def _directly(request: Request) -> Request:
    """The same, made through no service."""
    via = {"aws:CalledVia", "aws:CalledViaFirst", "aws:CalledViaLast", "kms:ViaService"}
    kept = {key: value for key, value in request.context.items() if key not in via}
    context = {**kept, "aws:ViaAWSService": False}
    return replace(request, context=context, absent=tuple(sorted(via)))


def told_apart(operator: Operator) -> frozenset[str]:
    """The actions that the policies may answer otherwise when Image Builder does not ask for them.

    Of these a call of the operator's own tells nothing.
    """
    return frozenset(
        request.action
        for request in operator_requests(operator)
        if decide(request, operator.policies) != decide(_directly(request), operator.policies)
    )


def decided(read: Read | None, operator: Operator) -> Matrix:
    """The role's rows, where there is a role, and the operator's: two separate accesses.

    `operator` has the key's policy and grants among its policies.
    """
    role = _of_role(read) if read else Matrix((), ())
    own, own_unread = _of_operator(operator)
    unread = tuple(dict.fromkeys((*role.not_read, *own_unread)))
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
    unread: tuple[str, ...] = ()
    for request in operator_requests(operator):
        answer = answered(request, operator.policies)
        unread = answer.not_given or unread
        cells.append(_cell(OPERATOR, request, "a workflow of this account", True, answer))
    return cells, unread


def operator_requests(operator: Operator) -> list[Request]:
    """What Image Builder asks of KMS for the operator, about a workflow of the key's account."""
    context = {
        **_pairs(_workflow(operator.key_arn)),
        "aws:CalledVia": [IMAGE_BUILDER],
        "aws:ViaAWSService": True,
    }
    return [
        Request(operator.principal, action, operator.key_arn, context, absent=())
        for action in build.ACTIONS
    ]


def role_requests(read: Read) -> list[Request]:
    """What a build asks of KMS as the execution role, about a workflow of the key's account."""
    pairs = _pairs(_workflow(read.key_arn))
    return [
        Request(_session(read), action, read.key_arn, pairs, absent=()) for action in build.ACTIONS
    ]


def encryption_context(key_arn: str) -> dict[str, str]:
    """A context as Image Builder has it, of a workflow of the key's account."""
    return {ARN_KEY: _workflow(key_arn), MESSAGE_KEY: "example"}


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
    unread: tuple[str, ...] = ()
    for what, context, wanted in questions:
        for action in build.ACTIONS:
            pairs = {} if context is None else _pairs(context)
            absent = () if pairs else ("kms:EncryptionContextKeys",)
            request = Request(_session(read), action, read.key_arn, pairs, absent=absent)
            answer = answered(request, read.policies, read.ours if wanted else None)
            unread = answer.not_given or unread
            cells.append(_cell(ROLE, request, what, wanted, answer))
    return Matrix(tuple(cells), unread)


def _cell(principal: str, request: Request, what: str, wanted: bool, answer: Answer) -> Cell:
    return Cell(
        principal,
        request.action,
        what,
        wanted,
        answer.outcome,
        answer.why,
        answer.near,
        str(answer.mend or ""),
        answer.settles,
    )


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


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision for people: its outcome by what was read, and why in one sentence.

    `not_given` are the layers that were not read; the rest is as a `Cell` has it.
    """

    outcome: Outcome
    why: str
    near: tuple[str, ...] = ()
    mend: mending.Mend | None = None
    settles: str = ""
    not_given: tuple[str, ...] = ()


def answered(request: Request, policies: Policies, ours: mending.Ours | None = None) -> Answer:
    """Decide `request` and say why; with `ours` also what would mend a refusal."""
    decision = decide(request, policies)
    why = explain(request, policies, decision)
    outcome = _by_what_was_read(decision)
    mend = None
    if ours is not None and outcome is not Outcome.ALLOWED:
        mend = mending.mend(request, policies, ours)
    return Answer(
        outcome,
        why.sentence,
        tuple(map(str, why.misses)),
        mend,
        "; ".join(why.settles),
        decision.not_given,
    )


def told(answer: Answer | Cell) -> list[str]:
    """Why, what nearly allowed it, what would mend it, what would settle it: a line each."""
    first = "rests on" if answer.outcome is Outcome.UNKNOWN else "nearest"
    near = [f"{first if n == 0 else 'then'}: {one}" for n, one in enumerate(answer.near)]
    mend = [f"mended by this: {answer.mend}"] if answer.mend else []
    settles = [f"settled by: {answer.settles}"] if answer.settles else []
    return [answer.why, *near, *mend, *settles]


def _by_what_was_read(decision: Decision) -> Outcome:
    """The outcome without the organization's policies, which nobody can read from the account.

    That they were not read is said beside it.
    """
    others = decision.undocumented or decision.unknown_keys
    organization = {"service_control", "resource_control"}
    if (
        decision.outcome is Outcome.UNKNOWN
        and not others
        and organization.issuperset(decision.unknown)
    ):
        return Outcome.ALLOWED if decision.allowed_by_what_was_read else Outcome.UNKNOWN
    return decision.outcome


def findings(matrix: Matrix) -> list[Finding]:
    """One finding for what the role must be able to do, one for what must stay closed."""
    unread = f"; not read: {matrix.unread()}" if matrix.not_read else ""
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
    request = Request(root, "kms:PutKeyPolicy", key_arn)
    if answered(request, layers).outcome is Outcome.ALLOWED:
        return "works", "administrators can change the policy again"
    mend = mending.mend_control(request, layers, policy, account)
    return (
        "locks out",
        "it matches no key, so nobody could change the policy again; KMS refuses. Mended by: "
        f"{mend}",
    )


def _accepted(policy: Mapping[str, Any]) -> tuple[str, str]:
    try:
        parse_policy(policy, kind="identity")
    except MalformedPolicy as error:
        return "refused", f"IAM: MalformedPolicyDocument ({error.reason})"
    return "works", "IAM accepts it"
