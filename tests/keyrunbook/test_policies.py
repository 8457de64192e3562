"""The builder of policies: its own statements legal, all others left as they are."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from keyrunbook.policies import (
    CONTEXT_KEY,
    administrators_policy,
    execution_role_statement,
    printed_administrators_statement,
    printed_role_policy,
    role_policy,
    same,
    sid,
    statement_of,
    to_text,
    trust_policy,
    with_statement,
    without_statement,
)

ACCOUNT = "111122223333"
KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/ImageBuilderExecutionRole"

run_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True)
partitions = st.sampled_from(["aws", "aws-cn", "aws-us-gov"])
texts = st.text(max_size=8)
statements = st.fixed_dictionaries(
    {"Effect": st.sampled_from(["Allow", "Deny"]), "Action": texts | st.lists(texts, max_size=3)},
    optional={
        "Sid": texts,
        "Resource": texts | st.lists(texts, max_size=3),
        "Condition": st.dictionaries(texts, st.dictionaries(texts, texts, max_size=2), max_size=2),
    },
)
policies = st.fixed_dictionaries(
    {"Version": st.just("2012-10-17"), "Statement": st.lists(statements, max_size=4) | statements},
    optional={"Id": texts},
)


def listed(policy: dict[str, Any]) -> list[dict[str, Any]]:
    statement = policy["Statement"]
    return [statement] if isinstance(statement, dict) else statement


def test_the_two_statements_of_the_page() -> None:
    context = {"StringLike": {CONTEXT_KEY: f"arn:aws:imagebuilder:*:{ACCOUNT}:workflow/*"}}
    assert execution_role_statement("x", ROLE, "aws", ACCOUNT) == {
        "Sid": sid("WorkflowKeyUse", "x"),
        "Effect": "Allow",
        "Principal": {"AWS": ROLE},
        "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
        "Resource": "*",
        "Condition": context,
    }
    assert role_policy("x", KEY, "aws", ACCOUNT)["Statement"] == [
        {
            "Sid": sid("AllowAccessToWorkflowKey", "x"),
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": KEY,
            "Condition": context,
        }
    ]


def test_what_the_page_prints_is_kept_as_printed() -> None:
    printed = printed_administrators_statement(ACCOUNT)
    assert printed["Resource"] == f"arn:aws:kms:*:{ACCOUNT}:key/"
    assert printed_role_policy(KEY, ACCOUNT)["Statement"][0]["Sid"] == (
        "Allow access to the workflow key"
    )


def test_a_new_key_is_its_account_s() -> None:
    (statement,) = administrators_policy("aws", ACCOUNT)["Statement"]
    assert statement["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    assert (statement["Action"], statement["Resource"]) == ("kms:*", "*")


def test_only_image_builder_for_this_account_may_assume_the_role() -> None:
    (statement,) = trust_policy(ACCOUNT)["Statement"]
    assert statement["Principal"] == {"Service": "imagebuilder.amazonaws.com"}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


@given(run_ids, partitions)
def test_every_partition_s_arns(run_id: str, partition: str) -> None:
    key, role = KEY.replace("aws", partition), ROLE.replace("aws", partition)
    text = json.dumps(
        [
            execution_role_statement(run_id, role, partition, ACCOUNT),
            role_policy(run_id, key, partition, ACCOUNT),
            administrators_policy(partition, ACCOUNT),
        ]
    )
    assert set(re.findall(r"arn:([a-z-]+):", text)) == {partition}


@given(run_ids)
def test_sids_are_legal_for_iam(run_id: str) -> None:
    assert re.fullmatch(r"WorkflowKeyUse[A-Za-z0-9]+", sid("WorkflowKeyUse", run_id), re.ASCII)


@given(run_ids, run_ids)
def test_two_runs_have_two_sids(one: str, other: str) -> None:
    assume(one != other)
    assert sid("WorkflowKeyUse", one) != sid("WorkflowKeyUse", other)


@pytest.mark.parametrize(("one", "other"), [("a-b", "ab"), ("a-b", "a_b"), ("a--b", "a-b")])
def test_runs_that_differ_in_a_dash_have_two_sids(one: str, other: str) -> None:
    assert sid("WorkflowKeyUse", one) != sid("WorkflowKeyUse", other)


def test_the_sid_of_a_plain_run_reads_as_its_name() -> None:
    assert sid("WorkflowKeyUse", "x1") == "WorkflowKeyUsex1"
    assert sid("WorkflowKeyUse", "20260131-a1b2c3").startswith("WorkflowKeyUse20260131a1b2c3")


@given(policies, st.data())
def test_a_statement_is_put_and_all_others_stay_as_they_are(
    policy: dict[str, Any], data: st.DataObject
) -> None:
    ours = execution_role_statement("x", ROLE, "aws", ACCOUNT)
    before = copy.deepcopy(policy)
    after = with_statement(policy, ours)
    assert policy == before
    assert statement_of(after, ours["Sid"]) == ours
    others = [one for one in listed(after) if one != ours]
    assert [json.dumps(one) for one in others] == [json.dumps(one) for one in listed(before)]
    assert {k: v for k, v in after.items() if k != "Statement"} == {
        k: v for k, v in before.items() if k != "Statement"
    }
    assert with_statement(after, ours) == after

    changed = with_statement(after, {**ours, "Effect": "Deny"})
    assert [one.get("Sid") for one in listed(changed)] == [one.get("Sid") for one in listed(after)]
    assert statement_of(changed, ours["Sid"]) == {**ours, "Effect": "Deny"}

    removed = without_statement(changed, ours["Sid"])
    assert [json.dumps(one) for one in listed(removed)] == [json.dumps(s) for s in listed(before)]
    assert statement_of(removed, ours["Sid"]) is None


def test_what_is_put_in_shares_nothing_with_what_was_given() -> None:
    ours = execution_role_statement("x", ROLE, "aws", ACCOUNT)
    policy = with_statement({"Statement": []}, ours)
    replaced = with_statement(policy, ours)
    ours["Action"].append("kms:*")
    for document in (policy, replaced):
        assert document["Statement"][0]["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]


@given(policies, st.randoms())
def test_a_policy_is_the_same_however_aws_gives_it_back(
    policy: dict[str, Any], source: Any
) -> None:
    assert same(policy, _as_aws_may_answer(policy, source))
    assert same(_as_aws_may_answer(policy, source), policy)


def _as_aws_may_answer(value: Any, source: Any) -> Any:
    """Keys and lists in another order, one-element lists bare or bare values as lists."""
    if isinstance(value, dict):
        items = [(key, _as_aws_may_answer(item, source)) for key, item in value.items()]
        source.shuffle(items)
        return dict(items)
    if isinstance(value, list):
        items = [_as_aws_may_answer(item, source) for item in value]
        source.shuffle(items)
        return items[0] if len(items) == 1 and source.random() < 0.5 else items
    return [value] if source.random() < 0.2 else value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("Effect",), "Deny"),
        (("Action",), ["kms:Decrypt"]),
        (("Principal",), {"AWS": ROLE + "2"}),
        (("Principal",), {"AWS": [ROLE, ROLE + "2"]}),
        (("Resource",), KEY),
        (("Condition", "StringLike", CONTEXT_KEY), "*"),
        (("Sid",), "other"),
    ],
)
def test_a_policy_that_says_something_else_is_not_the_same(
    path: tuple[str, ...], value: object
) -> None:
    ours = execution_role_statement("x", ROLE, "aws", ACCOUNT)
    theirs = copy.deepcopy(ours)
    place: Any = theirs
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert not same(with_statement({}, ours), with_statement({}, theirs))


def test_no_policy_is_the_same_as_no_policy_only() -> None:
    assert same(None, None)
    assert not same(None, {})
    assert not same({"Statement": []}, {})


def test_the_text_reads_back() -> None:
    policy = role_policy("x", KEY, "aws", ACCOUNT)
    assert json.loads(to_text(policy)) == policy
