"""A plan is data, and its symbols are filled from what the run knows."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyrunbook.plan import Change, Plan, RunPlan, digest, fill
from keyrunbook.prices import AS_OF, together
from keyrunbook.show.tables import run_plan_table

KNOWN = {"create_key.key_arn": "arn:key", "encrypt_workflow.workflow_arn": "arn:workflow"}


@pytest.mark.parametrize(
    ("value", "filled"),
    [
        ("${create_key.key_arn}", "arn:key"),
        ('{"Resource": "${create_key.key_arn}"}', '{"Resource": "arn:key"}'),
        ("${create_key.key_arn}${encrypt_workflow.workflow_arn}", "arn:keyarn:workflow"),
        ({"a": ["${create_key.key_arn}", 1, None, True]}, {"a": ["arn:key", 1, None, True]}),
        ({"a": {"b": ({"c": "${create_key.key_arn}"},)}}, {"a": {"b": [{"c": "arn:key"}]}}),
        ("$create_key.key_arn", "$create_key.key_arn"),
        ("${create_key}", "${create_key}"),
        ("${HOME} {{ x.y }} $.stepOutputs.a.b", "${HOME} {{ x.y }} $.stepOutputs.a.b"),
        (7, 7),
    ],
)
def test_symbols_are_filled_wherever_they_stand(value: Any, filled: Any) -> None:
    before = copy.deepcopy(value)
    assert fill(value, KNOWN) == filled
    assert value == before


def test_a_symbol_that_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match=r"create_key\.alias"):
        fill({"a": ["${create_key.alias}"]}, KNOWN)


@given(st.recursive(st.text() | st.integers() | st.none(), lambda x: st.lists(x, max_size=3)))
def test_what_holds_no_symbol_stays_as_it_is(value: Any) -> None:
    assert fill(value, {}) == value


def test_what_is_filled_in_is_not_filled_again() -> None:
    known = {"create_key.key_arn": "${encrypt_workflow.workflow_arn}", **KNOWN}
    known["create_key.key_arn"] = "${encrypt_workflow.workflow_arn}"
    assert fill("${create_key.key_arn}", known) == "${encrypt_workflow.workflow_arn}"


@pytest.mark.parametrize(
    ("service", "operation", "call"),
    [
        ("kms", "create_key", "kms:CreateKey"),
        ("kms", "enable_key_rotation", "kms:EnableKeyRotation"),
        ("iam", "put_role_policy", "iam:PutRolePolicy"),
        ("imagebuilder", "create_workflow", "imagebuilder:CreateWorkflow"),
    ],
)
def test_a_call_is_named_as_aws_names_it(service: str, operation: str, call: str) -> None:
    assert Change(service, operation, {}, "why", "undo").call == call


def test_a_plan_is_its_changes() -> None:
    change = Change("kms", "create_key", {}, "why", "undo")
    plan = Plan("01_create_key", (change,))
    assert (list(plan), len(plan)) == ([change], 1)
    assert not Plan("01_create_key")
    assert plan == Plan("01_create_key", (Change("kms", "create_key", {}, "why", "undo"),))


def plan_of(*changes: Change, account: str = "111122223333") -> RunPlan:
    return RunPlan("r1", "aws", "us-west-2", account, (Plan("01_create_key", changes),))


def with_policy(policy: Any, **more: Any) -> Change:
    return Change("kms", "put_key_policy", {"Policy": json.dumps(policy), **more}, "why", "undo")


POLICY: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "A", "Principal": {"AWS": ["x", "y"]}, "Action": ["kms:Decrypt"]},
        {"Sid": "B", "Principal": "*", "Action": "kms:*"},
    ],
}


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (POLICY, True),
        ({**POLICY, "Statement": POLICY["Statement"][::-1]}, True),
        (dict(reversed(POLICY.items())), True),
        ({**POLICY, "Statement": [{**POLICY["Statement"][0], "Action": "kms:Decrypt"}]}, False),
        ({**POLICY, "Version": "2008-10-17"}, False),
    ],
)
def test_policies_that_say_the_same_have_the_same_digest(other: Any, same: bool) -> None:
    one, two = (digest(plan_of(with_policy(each)).to_dict()) for each in (POLICY, other))
    assert (one == two) is same


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (with_policy(POLICY, clientToken="a"), True),
        (with_policy(POLICY, KeyId="k"), False),
        (Change("kms", "put_key_policy", {"Policy": json.dumps(POLICY)}, "other", "undo"), False),
        (Change("kms", "create_key", {"Policy": json.dumps(POLICY)}, "why", "undo"), False),
    ],
)
def test_the_digest_is_of_all_that_is_approved_and_of_no_token(change: Change, same: bool) -> None:
    plain = digest(plan_of(with_policy(POLICY)).to_dict())
    assert (digest(plan_of(change).to_dict()) == plain) is same


def test_notes_are_told_and_are_not_of_the_digest() -> None:
    plain = plan_of(with_policy(POLICY))
    noted = replace(plain, plans=(replace(plain.plans[0], notes=("The key stays.",)),))
    assert noted.to_dict()["steps"][0]["notes"] == ["The key stays."]
    assert "notes" not in plain.to_dict()["steps"][0]
    assert run_plan_table(noted).note.endswith(" 01: The key stays.")
    assert digest(noted.to_dict()) == digest(plain.to_dict())


def test_the_digest_is_of_the_place_too() -> None:
    change = with_policy(POLICY)
    other = plan_of(change, account="999988887777")
    assert digest(plan_of(change).to_dict()) != digest(other.to_dict())


def test_the_digest_outlives_the_ledgers_json() -> None:
    content = plan_of(with_policy(POLICY, Tags=({"TagKey": "ü", "TagValue": "1"},))).to_dict()
    assert digest(json.loads(json.dumps(content))) == digest(content)


def test_a_document_is_in_a_plan_by_its_digest_only() -> None:
    made = Change("imagebuilder", "create_workflow", {"data": "name: private"}, "why", "undo")
    text = json.dumps(plan_of(made).to_dict())
    assert "private" not in text
    assert '"characters": 13' in text
    other = Change("imagebuilder", "create_workflow", {"data": "name: Private"}, "why", "undo")
    assert digest(plan_of(made).to_dict()) != digest(plan_of(other).to_dict())


def test_what_is_known_is_filled_and_the_rest_stays_a_symbol() -> None:
    value = ["${create_key.key_arn}", "${create_key.other}"]
    assert fill(value, KNOWN, partly=True) == ["arn:key", "${create_key.other}"]


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        ([], "Costs nothing"),
        (["iam:PutRolePolicy"], "Costs nothing"),
        (["kms:CreateKey"], "In all 1 USD a month"),
        (["kms:CreateKey", "kms:ReplicateKey"], "In all 2 USD a month"),
        (["kms:EnableKeyRotation"], "1 USD a month more after each of the first two rotations"),
        (["imagebuilder:CreateImage"], "EC2's prices"),
    ],
)
def test_costs_come_from_the_dated_table(calls: list[str], said: str) -> None:
    assert said in together(calls)
    assert AS_OF in together(calls)
