"""Two judges: the engine, and a slow and obvious one that was written apart from it.

They agree on ten thousand cases made by a seeded generator, and on those that hypothesis makes, and
shrinks where they do not. The one liberty the engine has: where a condition key of which nothing is
told decides twice over (a Deny for `k` = v, another for any other), it may say UNKNOWN.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from generated_cases import Choose, case
from hypothesis import given, settings
from hypothesis import strategies as st
from iamaccess import Decision, Grant, Policies, Policy, Principal, Request, decide, parse_policy
from iamaccess.model import PolicyKind
from reference_evaluator import Case, contents, outcome
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
    """The rows that ask about KMS, and tell all keys: the reference knows no other service."""
    return [
        row
        for row in rows()
        if isinstance(row.values[0], Question)
        and row.values[0].trust_policy is None
        and row.values[0].action.lower().startswith("kms:")
        and row.values[0].absent is None
        and not row.values[0].title.startswith(DOCUMENTED_IN_TWO_WAYS)
    ]


@pytest.mark.parametrize(("row", "named"), judged())
def test_the_reference_answers_as_the_documents_do(row: Question, named: Mapping[str, Any]) -> None:
    assert outcome(as_case(row, named)) == row.expect["outcome"]


def test_the_reference_is_asked_most_of_the_tables() -> None:
    assert len(judged()) > 250


def parsed(written: Sequence[Any] | None, kind: PolicyKind) -> list[Policy] | None:
    return None if written is None else [parse_policy(each, kind=kind) for each in written]


def by_level(written: Sequence[Sequence[Any]] | None, kind: PolicyKind) -> list[Any] | None:
    return None if written is None else [parsed(level, kind) for level in written]


def asked(case: Case) -> tuple[Request, Policies]:
    """The case as the engine takes it."""
    who = Principal(case.kind, case.arn, case.account, case.role_arn, case.unique_id)  # type: ignore[arg-type]
    request = Request(who, case.action, case.resource, case.context, absent=case.absent)
    return request, Policies(
        identity=parsed(case.identity, "identity"),
        resource=parsed(case.key_policy, "resource"),
        grants=None if case.grants is None else [as_grant(each) for each in case.grants],
        boundary=parsed(case.boundary, "identity"),
        session=parsed(case.session, "identity"),
        service_control=by_level(case.scps, "service_control"),
        resource_control=by_level(case.rcps, "resource_control"),
    )


def as_grant(written: Mapping[str, Any]) -> Grant:
    operations = frozenset(written["operations"])
    subset, equals = written.get("subset"), written.get("equals")
    return Grant("g", written["grantee"], operations, subset, equals, written["key"])


def decided(of: Case) -> Decision:
    return decide(*asked(of))


def assert_same(of: Case) -> str:
    """That both say the same, and what it was."""
    expected, decision = outcome(of), decided(of)
    found = decision.outcome.value
    if found == "UNKNOWN" and decision.unknown_keys and expected != "UNKNOWN":
        return "less sure"
    assert found == expected, f"{of}\n{decision}"
    return found


SEED = 6
KINDS: Mapping[str, Mapping[str, bool]] = {
    "all known": {"given": True, "told": True},
    "layers missing": {"told": True},
    "layers and keys missing": {},
}


@pytest.mark.parametrize(("kind", "number"), [*zip(KINDS, (4_000, 3_000, 3_000), strict=True)])
def test_both_judges_agree_on_ten_thousand_cases(kind: str, number: int) -> None:
    made = random.Random(f"{SEED} {kind}")
    found: Counter[str] = Counter()
    for _ in range(number):
        of = case(made.choice, **KINDS[kind])
        found[assert_same(of)] += 1
    assert found["less sure"] < number / 500
    # Neither is right by always saying the same.
    assert min(found["ALLOWED"], found["DENIED"]) > number / 20
    assert found["UNKNOWN"] > (0 if kind == "all known" else number / 20)


@st.composite
def cases(draw: st.DrawFn, **kind: bool) -> Case:
    choose: Choose = lambda options: draw(st.sampled_from(options))  # noqa: E731 - a type is given
    return case(choose, **kind)


@settings(max_examples=150)
@given(cases())
def test_both_judges_agree(of: Case) -> None:
    assert_same(of)


LAYERS = ("identity", "key_policy", "grants", "boundary", "session", "scps", "rcps")


def fillings(of: Case) -> Iterator[Case]:
    """The case with each missing layer filled with each of its possible contents."""
    missing = [name for name in LAYERS if getattr(of, name) is None]
    for filled in itertools.product(*(contents(of, name) for name in missing)):
        yield replace(of, **dict(zip(missing, filled, strict=True)))


def test_unknown_resolves_to_what_the_missing_layers_imply() -> None:
    """An answer holds for all that a missing layer may hold; UNKNOWN has two that differ."""
    made = random.Random(SEED)
    unsure = 0
    for _ in range(1_000):
        of = case(made.choice, told=True)
        if sum(getattr(of, name) is None for name in LAYERS) > 3:
            continue
        decision = decided(of)
        ends = {decided(each).outcome.value for each in fillings(of)}
        if decision.outcome.value != "UNKNOWN":
            assert ends == {decision.outcome.value}, f"{of}\n{decision}\n{ends}"
        elif not decision.undocumented:
            # One may be UNKNOWN itself: of a grant to a role that its boundary limits, say.
            assert len(ends) > 1, f"{of}\n{decision}\n{ends}"
            unsure += 1
    assert unsure > 50
