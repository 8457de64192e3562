"""A policy's text is edited one statement at a time; every other byte stays as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyrunbook import policies, statements

OURS = {"Sid": "Ours", "Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": "*"}

COMPACT = '{"Version":"2012-10-17","Statement":[{"Sid":"A","Effect":"Allow"}]}'
SPACED = '{ "Id": "x", "Statement" : [ {"Sid": "A"} , {"Sid": "B"} ] , "Version": "2012-10-17"}'
INDENTED = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Sid": "A"}, {"Sid": "B"}]}, indent=4
)
CRLF = INDENTED.replace("\n", "\r\n")
UMLAUT = '{"Statement":[{"Sid":"\\u00fc, é \\"[{"}],"Version":"2012-10-17"}'


@pytest.mark.parametrize("text", [COMPACT, SPACED, INDENTED, CRLF, UMLAUT])
def test_what_was_put_at_the_end_can_be_dropped_and_every_byte_is_as_before(text: str) -> None:
    more = statements.put(text, OURS)
    assert json.loads(more)["Statement"] == [*json.loads(text)["Statement"], OURS]
    assert statements.drop(more, "Ours") == text


@pytest.mark.parametrize("text", [COMPACT, SPACED, INDENTED, UMLAUT])
def test_a_statement_is_replaced_where_it_stands(text: str) -> None:
    before = statements.put(text, {**OURS, "Effect": "Deny"})
    after = statements.put(before, OURS)
    assert after == statements.put(text, OURS)


@pytest.mark.parametrize(
    ("text", "as_ours"),
    [
        (COMPACT, '{"Sid":"A","Effect":"Allow"},{"Sid":"Ours","Effect":"Allow",'),
        (SPACED, '{"Sid": "B"}, {"Sid": "Ours", "Effect": "Allow",'),
        (INDENTED, '},\n        {\n            "Sid": "Ours",\n            "Effect"'),
    ],
)
def test_it_is_laid_out_as_its_neighbours_are(text: str, as_ours: str) -> None:
    assert as_ours in statements.put(text, OURS)


@pytest.mark.parametrize(
    ("text", "sids"),
    [
        ('{"Statement": {"Sid": "A"}}', ["A", "Ours"]),
        ('{"Statement": []}', ["Ours"]),
        ('{"Statement": [ ]}', ["Ours"]),
    ],
)
def test_one_statement_without_a_list_and_an_empty_list(text: str, sids: list[str]) -> None:
    found = json.loads(statements.put(text, OURS))["Statement"]
    assert [one["Sid"] for one in found] == sids


@pytest.mark.parametrize(
    ("sid", "left"),
    [("A", ["B", "C"]), ("B", ["A", "C"]), ("C", ["A", "B"]), ("D", ["A", "B", "C"])],
)
def test_dropping_leaves_the_others(sid: str, left: list[str]) -> None:
    text = '{"Statement": [{"Sid": "A"}, {"Sid": "B"},\n {"Sid": "C"}]}'
    found = json.loads(statements.drop(text, sid))["Statement"]
    assert [one["Sid"] for one in found] == left


def test_every_statement_of_a_sid_is_dropped() -> None:
    text = '{"Statement": [{"Sid": "A"}, {"Sid": "A"}]}'
    assert json.loads(statements.drop(text, "A"))["Statement"] == []


@pytest.mark.parametrize(("sid", "left"), [("A", []), ("B", {"Sid": "A"})])
def test_dropping_the_one_statement_that_stands_without_a_list(sid: str, left: Any) -> None:
    found = json.loads(statements.drop('{"Statement": {"Sid": "A"}, "Id": "x"}', sid))
    assert found == {"Statement": left, "Id": "x"}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Version": "2012-10-17"}', '{"Statement" 1}'])
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"policy|Expecting"):
        statements.put(text, OURS)


VALUES = st.recursive(
    st.text() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
STATEMENT = st.dictionaries(st.sampled_from(["Sid", "Effect", "Condition"]), VALUES).filter(
    lambda one: one.get("Sid") != "Ours"
)


@given(
    st.lists(STATEMENT, min_size=1, max_size=4),
    st.sampled_from([None, 0, 1, 2, 4, "\t"]),
    st.sampled_from([None, (",", ":"), (" , ", " : ")]),
)
def test_putting_and_dropping_is_nothing_and_says_the_same_as_the_builder(
    others: list[dict[str, Any]], indent: Any, separators: Any
) -> None:
    policy = {"Version": "2012-10-17", "Statement": others}
    text = json.dumps(policy, indent=indent, separators=separators)
    more = statements.put(text, OURS)
    assert json.loads(more) == policies.with_statement(policy, OURS)
    assert statements.drop(more, "Ours") == text
