"""Two judges: the engine, and a slow and obvious one that was written apart from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from reference_evaluator import Case, outcome
from test_decision_cases import PEOPLE, Question, rows


def documents(written: Sequence[Any] | None, named: Mapping[str, Any]) -> list[Any] | None:
    """The policies of a row, as documents."""
    if written is None:
        return None
    found = [named[each] if isinstance(each, str) else each for each in written]
    return [each if "Statement" in each else {"Statement": [each]} for each in found]


def levels(written: Sequence[Sequence[Any]] | None, named: Mapping[str, Any]) -> list[Any] | None:
    return None if written is None else [documents(level, named) for level in written]


def as_case(row: Question, named: Mapping[str, Any]) -> Case:
    who = PEOPLE[row.principal]
    return Case(
        *(who.kind, who.arn, who.account, who.role_arn, who.unique_id),
        *(row.action, row.resource, row.context),
        identity=documents(row.identity, named),
        key_policy=documents(row.key_policy, named),
        grants=None if row.grants is None else [{"key": row.resource, **g} for g in row.grants],
        boundary=documents(row.boundary, named),
        session=documents(row.session, named),
        scps=levels(row.service_control, named),
        rcps=levels(row.resource_control, named),
    )


DOCUMENTED_IN_TWO_WAYS = ("no values", "an empty Condition", "an operator without keys")
"""Titles begin so, of what the tables leave open and the reference does not speak of."""


def judged() -> list[Any]:
    """The rows that ask about KMS: the reference knows no other service."""
    return [
        row
        for row in rows()
        if isinstance(row.values[0], Question)
        and row.values[0].trust_policy is None
        and row.values[0].action.lower().startswith("kms:")
        and "unsupported" not in row.values[0].expect
        and not row.values[0].title.startswith(DOCUMENTED_IN_TWO_WAYS)
    ]


@pytest.mark.parametrize(("row", "named"), judged())
def test_the_reference_answers_as_the_documents_do(row: Question, named: Mapping[str, Any]) -> None:
    assert outcome(as_case(row, named)) == row.expect["outcome"]


def test_the_reference_is_asked_most_of_the_tables() -> None:
    assert len(judged()) > 250
