"""Policies are linted before they are sent: a new error stops the plan of 02, the rest is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from keyrunbook import policies
from keyrunbook.errors import ParameterError
from keyrunbook.parameters import Parameters
from keyrunbook.steps import grant_access, linting
from keyrunbook.steps.common import Place

ACCOUNT = "111122223333"
KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/R"
ADMINISTRATORS = policies.administrators_policy("aws", ACCOUNT)
PRINTED = policies.printed_administrators_statement(ACCOUNT)


def text(*statements: Any) -> str:
    return json.dumps({**ADMINISTRATORS, "Statement": [*ADMINISTRATORS["Statement"], *statements]})


def plan(key_policy: str, key_arn: str = KEY) -> Any:
    place = Place("run-1", ACCOUNT, "aws", "us-west-2", "aws", {})
    state = grant_access.State(place, key_arn, "R", ROLE, key_policy, None)
    return grant_access.plan(state, Parameters())


def test_a_plan_of_ours_has_nothing_to_tell() -> None:
    made = plan(text())
    assert [change.operation for change in made] == ["put_key_policy", "put_role_policy"]
    assert made.notes == ()
    assert plan(text(), "${create_key.key_arn}").notes == ()


def test_an_error_of_others_that_was_there_is_told_and_stops_nothing() -> None:
    """Somebody wrote AWS's statement from the page: its Resource matches no key."""
    made = plan(text(PRINTED))
    assert len(made) == 2
    (note,) = made.notes
    assert note.startswith("The key policy, K03 at /Statement/1/Resource: ")
    assert "key/ does not match this key" in note


def test_what_others_wrote_too_wide_is_told() -> None:
    wide = {**PRINTED, "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/Other"}, "Resource": "*"}
    (note,) = plan(text(wide)).notes
    assert note.startswith("The key policy, K06 at /Statement/1/Principal/AWS: ")


@pytest.mark.parametrize("before", [text(), text({**PRINTED, "Resource": "arn:aws:s3:::b"})])
def test_an_error_that_the_plan_would_bring_stops_it(before: str) -> None:
    with pytest.raises(ParameterError, match="K03 at /Statement/1/Resource") as refused:
        linting.key_policy(before, text(PRINTED), KEY, ACCOUNT, ROLE)
    assert refused.value.what.startswith("The key policy would be wrong: ")
    assert refused.value.fix.startswith('Write "*"')


def test_one_more_of_the_same_error_is_new() -> None:
    with pytest.raises(ParameterError, match="K03"):
        linting.key_policy(text(PRINTED), text(PRINTED, PRINTED), KEY, ACCOUNT, ROLE)


def test_an_error_of_the_role_s_policy_stops_it() -> None:
    printed = json.dumps(policies.printed_role_policy(KEY, ACCOUNT))
    with pytest.raises(ParameterError, match="The role's policy would be wrong: R01") as refused:
        linting.role_policy(printed, KEY, ACCOUNT)
    assert refused.value.fix == "Write AllowAccessToTheWorkflowKey."
    linting.role_policy(json.dumps(policies.role_policy("r", KEY, "aws", ACCOUNT)), KEY, ACCOUNT)
