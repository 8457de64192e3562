"""What is decided of the role and the operator, as tables. The judge has tests of its own."""

from __future__ import annotations

from typing import Any

import pytest
from iamaccess import Grant, Outcome, Policies, Policy, Principal, parse_policy
from keyrunbook import policies as build
from keyrunbook.access import (
    OPERATOR,
    ROLE,
    Matrix,
    Operator,
    Read,
    decided,
    findings,
    keeps_control,
    printed,
    told_apart,
)
from keyrunbook.show.tables import matrix_table

ACCOUNT = "111122223333"
KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/team/Builder"
USER_ARN = f"arn:aws:iam::{ACCOUNT}:user/me"
ADMINISTRATOR = {"Effect": "Allow", "Action": "*", "Resource": "*"}

DELEGATES = build.administrators_policy("aws", ACCOUNT)
NAMES_ROLE = build.with_statement(
    {"Version": build.VERSION, "Statement": []},
    build.execution_role_statement("r1", ROLE_ARN, "aws", ACCOUNT),
)
BOTH = build.with_statement(
    DELEGATES, build.execution_role_statement("r1", ROLE_ARN, "aws", ACCOUNT)
)
ROLE_POLICY = build.role_policy("r1", KEY, "aws", ACCOUNT)


def parsed(document: dict[str, Any] | None, kind: Any) -> list[Policy]:
    return [] if document is None else [parse_policy(document, kind=kind, name="it")]


def layers(key_policy: dict[str, Any], identity: dict[str, Any] | None, /, **more: Any) -> Policies:
    return Policies(
        **{
            "identity": parsed(identity, "identity"),
            "resource": parsed(key_policy, "resource"),
            "grants": (),
            "boundary": (),
            "session": (),
            "service_control": (),
            "resource_control": (),
            **more,
        }
    )


def user(key_policy: dict[str, Any], *statements: dict[str, Any], **more: Any) -> Operator:
    own = {"Version": build.VERSION, "Statement": list(statements)} if statements else None
    principal = Principal("user", USER_ARN, ACCOUNT)
    return Operator(principal, KEY, layers(key_policy, own, **more))


def matrix(key_policy: dict[str, Any], role_policy: dict[str, Any] | None) -> Matrix:
    read = Read(ROLE_ARN, "AROAEXAMPLE", KEY, layers(key_policy, role_policy))
    return decided(read, user(key_policy, ADMINISTRATOR))


def outcomes(table: Matrix, principal: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for cell in table.cells:
        if cell.principal == principal:
            found.setdefault(cell.what, set()).add(cell.outcome.value)
    return found


@pytest.mark.parametrize(
    ("key_policy", "role_policy", "wanted"),
    [
        pytest.param(DELEGATES, None, "DENIED", id="neither path"),
        pytest.param(BOTH, None, "ALLOWED", id="the key's statement alone"),
        pytest.param(DELEGATES, ROLE_POLICY, "ALLOWED", id="the role's policy alone"),
        pytest.param(BOTH, ROLE_POLICY, "ALLOWED", id="both"),
        pytest.param(NAMES_ROLE, ROLE_POLICY, "ALLOWED", id="no delegation, but the role is named"),
    ],
)
def test_each_path_alone_is_enough_for_the_role_and_for_workflows_only(
    key_policy: dict[str, Any], role_policy: dict[str, Any] | None, wanted: str
) -> None:
    assert outcomes(matrix(key_policy, role_policy), ROLE) == {
        "a workflow of this account": {wanted},
        "the same in another Region": {wanted},
        "another account's workflow": {"DENIED"},
        "a component": {"DENIED"},
        "no encryption context": {"DENIED"},
    }


def test_the_operator_s_access_is_another_one() -> None:
    """The role is named, the account is not: the operator cannot create or read a workflow."""
    assert outcomes(matrix(NAMES_ROLE, ROLE_POLICY), OPERATOR) == {
        "a workflow of this account": {"DENIED"}
    }
    assert outcomes(matrix(DELEGATES, None), OPERATOR) == {
        "a workflow of this account": {"ALLOWED"}
    }


def test_why_names_the_policy_of_a_statement_without_a_sid() -> None:
    managed = parse_policy(
        {"Version": build.VERSION, "Statement": [ADMINISTRATOR]},
        kind="identity",
        name="arn:aws:iam::aws:policy/AdministratorAccess",
    )
    table = decided(None, user(DELEGATES, identity=[managed]))
    own = "identity policy 'AdministratorAccess', statement 1 allows kms:"
    administrators = "(statement 'Allow access for key administrators')"
    by = f"; the key policy lets identity policies count {administrators}"
    whys = {f"{own}{action}{by}" for action in ("Decrypt", "GenerateDataKey")}
    assert {cell.why for cell in table.cells} == whys


def test_why_names_a_grant() -> None:
    operations = frozenset({"Decrypt", "GenerateDataKey"})
    grant = Grant("g-1", USER_ARN, operations, None, None, KEY)
    table = decided(None, user(NAMES_ROLE, grants=(grant,)))
    whys = {f"grant g-1 allows kms:{action}" for action in ("Decrypt", "GenerateDataKey")}
    assert {cell.why for cell in table.cells} == whys


def test_the_names_of_the_context_are_part_of_the_request() -> None:
    strict = build.role_policy("r1", KEY, "aws", ACCOUNT)
    strict["Statement"][0]["Condition"]["ForAllValues:StringEquals"] = {
        "kms:EncryptionContextKeys": ["aws:imagebuilder:arn", "aws-crypto-public-key"]
    }
    strict["Statement"][0]["Condition"]["Null"] = {"kms:EncryptionContextKeys": "false"}
    table = matrix(DELEGATES, strict)
    assert outcomes(table, ROLE)["a workflow of this account"] == {"ALLOWED"}


def test_without_a_role_only_the_operator_is_decided() -> None:
    table = decided(None, user(DELEGATES, ADMINISTRATOR))
    assert {cell.principal for cell in table.cells} == {OPERATOR}
    assert findings(table) == []
    assert matrix_table(table).note == "There is no execution role yet."


def test_what_was_not_read_is_named_and_never_a_pass() -> None:
    read = Read(ROLE_ARN, "AROAEXAMPLE", KEY, layers(DELEGATES, None, identity=None))
    table = decided(read, user(DELEGATES, ADMINISTRATOR))
    assert "identity" in table.not_read
    assert {finding.status for finding in findings(table)} == {"not checked"}


# The lock-out check


LACKING = {"Effect": "Allow", "Action": "kms:DescribeKey", "Resource": "*"}
NAMES_USER = {
    "Version": build.VERSION,
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": USER_ARN}, "Action": "kms:*", "Resource": "*"}
    ],
}
AS_PRINTED = {
    "Version": build.VERSION,
    "Statement": [build.printed_administrators_statement(ACCOUNT)],
}


@pytest.mark.parametrize(
    ("planned", "operator", "outcome"),
    [
        pytest.param(BOTH, user(BOTH, ADMINISTRATOR), Outcome.ALLOWED, id="by delegation"),
        pytest.param(BOTH, user(BOTH, LACKING), Outcome.DENIED, id="delegated, not permitted"),
        pytest.param(
            BOTH, user(BOTH, identity=None), Outcome.UNKNOWN, id="delegated, permissions not read"
        ),
        pytest.param(NAMES_USER, user(BOTH, LACKING), Outcome.ALLOWED, id="named itself"),
        pytest.param(
            NAMES_USER, user(BOTH, identity=None), Outcome.UNKNOWN, id="a deny may be unread"
        ),
        pytest.param(NAMES_ROLE, user(BOTH, ADMINISTRATOR), Outcome.DENIED, id="not named"),
        pytest.param(
            NAMES_ROLE, user(BOTH, identity=None), Outcome.DENIED, id="not named, nothing read"
        ),
        pytest.param(
            AS_PRINTED, user(BOTH, ADMINISTRATOR), Outcome.DENIED, id="as AWS's page prints it"
        ),
        pytest.param(
            BOTH,
            user(BOTH, ADMINISTRATOR, service_control=None, resource_control=None),
            Outcome.ALLOWED,
            id="an organization's policies are left out",
        ),
    ],
)
def test_who_could_change_the_policy_again(
    planned: dict[str, Any], operator: Operator, outcome: Outcome
) -> None:
    assert keeps_control(operator, planned).outcome is outcome


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        pytest.param({"Bool": {"aws:ViaAWSService": "false"}}, Outcome.ALLOWED, id="directly"),
        pytest.param({"Bool": {"aws:ViaAWSService": "true"}}, Outcome.DENIED, id="by services"),
        pytest.param({"Null": {"kms:ViaService": "true"}}, Outcome.ALLOWED, id="by no service"),
        pytest.param(
            {"Bool": {"aws:MultiFactorAuthPresent": "true"}}, Outcome.UNKNOWN, id="not known here"
        ),
    ],
)
def test_what_is_known_of_the_operator_s_own_call(
    condition: dict[str, Any], outcome: Outcome
) -> None:
    """It is made directly; how the operator logged in and from where nobody has told."""
    own = {**ADMINISTRATOR, "Condition": condition}
    control = keeps_control(user(BOTH, own), BOTH)
    assert control.outcome is outcome
    if outcome is Outcome.UNKNOWN:
        assert "the request does not tell the condition key aws:MultiFactorAuth" in str(control)


@pytest.mark.parametrize(
    ("condition", "apart"),
    [
        pytest.param({}, set(), id="no condition"),
        pytest.param({"StringEquals": {"aws:SourceIp": "x"}}, set(), id="another key"),
        pytest.param({"Bool": {"aws:ViaAWSService": "true"}}, set(build.ACTIONS), id="by services"),
        pytest.param(
            {"ForAnyValue:StringEquals": {"aws:CalledVia": "imagebuilder.amazonaws.com"}},
            set(build.ACTIONS),
            id="by Image Builder, as runbook permissions has it",
        ),
        pytest.param(
            {"StringLike": {"kms:ViaService": "*"}}, set(build.ACTIONS), id="by a key of KMS's own"
        ),
    ],
)
def test_of_what_a_direct_call_tells_nothing(condition: dict[str, Any], apart: set[str]) -> None:
    own = {**ADMINISTRATOR, **({"Condition": condition} if condition else {})}
    assert told_apart(user(BOTH, own)) == apart


def test_the_page_s_statements_as_printed() -> None:
    rows = printed("x", KEY, "Execution").rows
    assert [(row.what, row.outcome) for row in rows] == [
        ("step 1, the execution role, as printed but for the Sid", "works"),
        ("step 1, administrators, as printed", "locks out"),
        ("step 1, administrators, as sent", "works"),
        ("step 2, as printed", "refused"),
        ("step 2, as sent", "works"),
    ]
    assert rows[1].statement["Resource"] == f"arn:aws:kms:*:{ACCOUNT}:key/"
    assert rows[2].statement["Resource"] == "*"
    assert rows[3].statement["Sid"] == "Allow access to the workflow key"
    assert rows[4].statement["Sid"].isalnum()
