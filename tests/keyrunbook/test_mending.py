"""The smallest change of this project's two statements that would allow what is refused."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iamaccess import Outcome, Policies, Principal, Request, decide, parse_policy
from keyrunbook import policies as build
from keyrunbook.access import Operator, keeps_control
from keyrunbook.mending import Mend, Ours, mend

ACCOUNT = "111122223333"
KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/team/Builder"
SESSION = Principal("session", f"arn:aws:sts::{ACCOUNT}:assumed-role/Builder/b", ACCOUNT, ROLE)
OURS = Ours("r1", ROLE, KEY, "WorkflowKeyAccess-r1")
WORKFLOW = f"arn:aws:imagebuilder:us-west-2:{ACCOUNT}:workflow/build/x/1.0.0/*"

USE = build.execution_role_statement("r1", ROLE, "aws", ACCOUNT)
DENY = build.revoked_statement("r1", ROLE, "aws", ACCOUNT)
(ADMINISTRATORS,) = build.administrators_policy("aws", ACCOUNT)["Statement"]
(OWN,) = build.role_policy("r1", KEY, "aws", ACCOUNT)["Statement"]
PATTERN = build.workflow_pattern("aws", ACCOUNT)
CONTEXT = f"StringLike {build.CONTEXT_KEY}"


def document(*statements: Mapping[str, Any]) -> dict[str, Any]:
    return {"Version": build.VERSION, "Statement": [dict(one) for one in statements]}


def layers(key_policy: dict[str, Any], own: dict[str, Any] | None = None) -> Policies:
    key = parse_policy(key_policy, kind="resource", name="key policy")
    identity = [] if own is None else [parse_policy(own, kind="identity", name=OURS.role_policy)]
    return Policies(identity, [key], (), (), (), (), ())


def asked(context: str = WORKFLOW, action: str = "kms:Decrypt") -> Request:
    return Request(SESSION, action, KEY, {build.CONTEXT_KEY: context})


def but(statement: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(dict(statement)), **changes}


def like(value: str) -> dict[str, Any]:
    return {"StringLike": {build.CONTEXT_KEY: value}}


FOREIGN = PATTERN.replace(ACCOUNT, "444455556666")
PRINTED = f"arn:aws:kms:*:{ACCOUNT}:key/"
NAME = USE["Sid"]


@pytest.mark.parametrize(
    ("key_policy", "own", "said"),
    [
        pytest.param(
            document(but(USE, Effect="Deny")),
            None,
            f'in the key policy, statement {NAME!r}: Effect "Allow" in place of "Deny"',
            id="Effect",
        ),
        pytest.param(
            document(but(USE, Resource=PRINTED)),
            None,
            f'in the key policy, statement {NAME!r}: Resource "*" in place of "{PRINTED}"',
            id="Resource as printed",
        ),
        pytest.param(
            document(but(USE, Condition=like(FOREIGN))),
            None,
            f'in the key policy, statement {NAME!r}: {CONTEXT} "{PATTERN}" in place of "{FOREIGN}"',
            id="the account of the condition",
        ),
        pytest.param(
            document(but(USE, Principal={"AWS": ROLE.replace("Builder", "builder")})),
            None,
            f"in the key policy, statement {NAME!r}: Principal "
            f'{{"AWS": "{ROLE}"}} in place of {{"AWS": "{ROLE.replace("Builder", "builder")}"}}',
            id="the role",
        ),
        pytest.param(
            document(but(USE, Sid="by hand", Resource=PRINTED)),
            None,
            f'in the key policy, statement \'by hand\': Resource "*" in place of "{PRINTED}"',
            id="a statement that somebody wrote from the page",
        ),
        pytest.param(
            document(but(USE, Resource=PRINTED, Condition=like(FOREIGN))),
            None,
            f'in the key policy, statement {NAME!r}: Resource "*" in place of "{PRINTED}"; '
            f'{CONTEXT} "{PATTERN}" in place of "{FOREIGN}"',
            id="two elements",
        ),
        pytest.param(
            document(ADMINISTRATORS, USE, DENY),
            document(OWN),
            f"take the statement {DENY['Sid']!r} out of the key policy",
            id="the Deny of a revocation",
        ),
        pytest.param(
            document(ADMINISTRATORS),
            document(but(OWN, Resource=KEY.replace("1234abcd-", "4321abcd-"))),
            f"in the role's policy {OURS.role_policy}, statement {OWN['Sid']!r}: Resource "
            f'"{KEY}" in place of "{KEY.replace("1234abcd-", "4321abcd-")}"',
            id="the role's own policy, where the account's policies count",
        ),
        pytest.param(
            document(ADMINISTRATORS),
            None,
            f"put the statement {NAME!r} into the key policy: it allows {ROLE}: kms:Decrypt and "
            f"kms:GenerateDataKey on this key, where {build.CONTEXT_KEY} is like {PATTERN}",
            id="nothing is there",
        ),
    ],
)
def test_the_smallest_change(
    key_policy: dict[str, Any], own: dict[str, Any] | None, said: str
) -> None:
    assert str(mend(asked(), layers(key_policy, own), OURS)) == said


@pytest.mark.parametrize(
    ("request_", "key_policy"),
    [
        pytest.param(asked(WORKFLOW.replace(ACCOUNT, "444455556666")), document(USE), id="foreign"),
        pytest.param(
            asked(WORKFLOW.replace("workflow", "component")), document(USE), id="component"
        ),
        pytest.param(asked(action="kms:Encrypt"), document(USE), id="another action"),
        pytest.param(
            asked(), document(USE, but(DENY, Sid="Theirs", Principal="*")), id="others' Deny"
        ),
    ],
)
def test_what_the_two_statements_do_not_allow_no_change_of_them_does(
    request_: Request, key_policy: dict[str, Any]
) -> None:
    assert mend(request_, layers(key_policy), OURS) is None


elements = st.fixed_dictionaries(
    {},
    optional={
        "Effect": st.just("Deny"),
        "Resource": st.just(PRINTED),
        "Action": st.sampled_from(["kms:Decrpyt", ["kms:GenerateDataKey"]]),
        "Principal": st.just({"AWS": f"{ROLE}2"}),
        "Condition": st.sampled_from(
            [like(FOREIGN), {"StringEquals": {build.CONTEXT_KEY: PATTERN}}]
        ),
    },
).filter(bool)
OTHER = Principal("user", f"arn:aws:iam::{ACCOUNT}:user/other", ACCOUNT)


@given(elements)
def test_what_it_says_would_allow_does(wrong: dict[str, Any]) -> None:
    """Whatever is wrong with the statement: the policy as mended allows, and nobody else."""
    before = document(ADMINISTRATORS, but(USE, **wrong))
    found = mend(asked(), layers(before), OURS)
    assert isinstance(found, Mend)
    of_role = found.policy.startswith("role")
    after = before if of_role else found.document
    mended = layers(after, found.document if of_role else None)
    assert decide(asked(), mended).outcome is Outcome.ALLOWED
    others = replace(mended, identity=[])
    assert decide(replace(asked(), principal=OTHER), others).outcome is Outcome.DENIED
    assert after["Statement"][0] == ADMINISTRATORS


# The lock-out guard


USER = Principal("user", f"arn:aws:iam::{ACCOUNT}:user/me", ACCOUNT)
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
LITTLE = {"Effect": "Allow", "Action": "kms:DescribeKey", "Resource": "*"}


@pytest.mark.parametrize(
    ("planned", "own", "said"),
    [
        pytest.param(
            document(build.printed_administrators_statement(ACCOUNT)),
            EVERYTHING,
            "in the key policy, statement 'Allow access for key administrators': Resource \"*\" in "
            f'place of "{PRINTED}"',
            id="as AWS's page prints it",
        ),
        pytest.param(
            document(USE),
            EVERYTHING,
            "put the statement 'Allow access for key administrators' into the key policy: it "
            f"allows arn:aws:iam::{ACCOUNT}:root: kms:* on this key",
            id="no delegation",
        ),
        pytest.param(
            document(ADMINISTRATORS),
            LITTLE,
            "put the statement 'Allow the operator to administer the key' into the key policy: it "
            f"allows {USER.arn}: kms:* on this key",
            id="an operator without the permission",
        ),
        pytest.param(
            document(ADMINISTRATORS, but(ADMINISTRATORS, Sid="No", Effect="Deny")),
            EVERYTHING,
            "None",
            id="a Deny of the account, which the answer names",
        ),
        pytest.param(
            document({**EVERYTHING, "Effect": "Deny", "Principal": "*"}),
            EVERYTHING,
            "None",
            id="a Deny of everyone, which is no statement of this project",
        ),
    ],
)
def test_the_lock_out_guard_names_what_would_mend_the_plan(
    planned: dict[str, Any], own: dict[str, Any], said: str
) -> None:
    identity = [parse_policy(document(own), kind="identity", name="Own")]
    known = Policies(identity, None, (), (), (), None, None)
    control = keeps_control(Operator(USER, KEY, known), planned)
    assert control.outcome is Outcome.DENIED
    assert str(control.mend) == said
    assert str(control).endswith("; not read: SCP, RCP")
