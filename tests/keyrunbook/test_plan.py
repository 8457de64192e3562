"""A plan is data, and its symbols are filled from what the run knows."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyrunbook.plan import Change, Plan, fill

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
