"""Laws of decisions over the alphabet on which engine and reference are compared.

They need no second judge: one policy is changed, and the outcome may go one way only.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from generated_cases import Choose, case, near, statement
from iamaccess import Decision, decide
from reference_evaluator import Case
from test_reference import asked

STRENGTH = {"DENIED": 0, "UNKNOWN": 1, "ALLOWED": 2}
LAYERS = ("identity", "key_policy", "boundary", "session")
CASES = 1_500


def decided(of: Case) -> Decision:
    return decide(*asked(of))


def strength(of: Case) -> int:
    return STRENGTH[decided(of).outcome.value]


def with_one_more(of: Case, name: str, added: Any, choose: Choose) -> Case:
    """The case with a statement more in a layer: in a policy that is there, or in its own."""
    policies = list(getattr(of, name))
    if policies and choose([True, False]):
        changed = policies[0]
        policies[0] = {**changed, "Statement": [*changed["Statement"], added]}
    else:
        policies.append({"Version": "2012-10-17", "Statement": [added]})
    return replace(of, **{name: policies})


def added_to(of: Case, effect: str, choose: Choose, *, plain: bool = False) -> Case | None:
    """The case with a generated statement of that effect; None where no layer can take one.

    An empty boundary or session policy is none at all: the first statement in it is another matter.
    """
    there = [
        name
        for name in LAYERS
        if (policies := getattr(of, name)) is not None
        and (policies or name in ("identity", "key_policy"))
    ]
    if not there:
        return None
    name = choose(there)
    names = near(of.arn, of.account) if name == "key_policy" else ()
    return with_one_more(
        of, name, statement(choose, names=names, effect=effect, plain=plain), choose
    )


@pytest.mark.parametrize("told", [True, False])
def test_adding_a_deny_never_makes_it_more_allowed(told: bool) -> None:
    made, changed = random.Random(1), 0
    for _ in range(CASES):
        before = case(made.choice, told=told)
        if after := added_to(before, "Deny", made.choice):
            first, second = strength(before), strength(after)
            assert second <= first, f"{before}\n{after}"
            changed += second < first
    assert changed > CASES / 100


@pytest.mark.parametrize("told", [True, False])
def test_adding_an_allow_never_makes_it_less_allowed(told: bool) -> None:
    made, changed = random.Random(2), 0
    for _ in range(CASES):
        before = case(made.choice, told=told)
        if after := added_to(before, "Allow", made.choice):
            first, second = strength(before), strength(after)
            assert second >= first, f"{before}\n{after}"
            changed += second > first
    assert changed > CASES / 100


def test_adding_a_grant_never_makes_it_less_allowed() -> None:
    made = random.Random(3)
    for _ in range(CASES):
        of = case(made.choice, told=True)
        if of.grants:
            assert strength(of) >= strength(replace(of, grants=of.grants[1:]))


def shuffled(of: Case, mixed: Callable[[Sequence[Any]], list[Any]]) -> Case:
    """The same in another order: of statements, policies, grants, levels, keys and values."""

    def of_document(document: Any) -> Any:
        statements = [of_statement(each) for each in mixed(document["Statement"])]
        return {**document, "Statement": statements}

    def of_statement(written: Any) -> Any:
        found = {
            element: mixed(value) if isinstance(value, list) else value
            for element, value in mixed(list(written.items()))
        }
        if "Condition" in found:
            found["Condition"] = {
                operator: dict(mixed(list(keys.items())))
                for operator, keys in mixed(list(found["Condition"].items()))
            }
        return found

    def policies(written: Any) -> Any:
        return None if written is None else [of_document(each) for each in mixed(written)]

    def levels(written: Any) -> Any:
        return None if written is None else [policies(each) for each in mixed(written)]

    return replace(
        of,
        context=dict(mixed(list(of.context.items()))),
        **{name: policies(getattr(of, name)) for name in LAYERS},
        grants=None if of.grants is None else mixed(of.grants),
        scps=levels(of.scps),
        rcps=levels(of.rcps),
    )


def test_order_never_matters() -> None:
    made = random.Random(4)
    for _ in range(CASES):
        of = case(made.choice)
        other = shuffled(of, lambda found: made.sample(list(found), len(found)))
        first, second = decided(of), decided(other)
        assert (first.outcome, first.reason) == (second.outcome, second.reason)
        assert set(first.unknown) == set(second.unknown)
        assert {key.lower() for key in first.unknown_keys} == {
            key.lower() for key in second.unknown_keys
        }


def test_letter_case_of_actions_and_condition_keys_never_matters() -> None:
    made = random.Random(5)
    for _ in range(CASES):
        of = case(made.choice)
        other = replace(
            of,
            action=of.action.replace("kms", "KMS"),
            context={key.swapcase(): value for key, value in of.context.items()},
            absent=None if of.absent is None else [key.swapcase() for key in of.absent],
        )
        assert decided(of).outcome is decided(other).outcome


def test_telling_more_never_turns_an_answer() -> None:
    """ALLOWED or DENIED holds whatever the condition keys that were not told turn out to be."""
    made, told = random.Random(6), 0
    for _ in range(CASES):
        of = case(made.choice)
        if of.absent is None or (first := decided(of)).outcome.value == "UNKNOWN":
            continue
        known = {key.lower() for key in (*of.context, *of.absent)}
        more = {
            key: made.choice(values)
            for key, values in of.domains.items()
            if key.lower() not in known and made.choice([True, False])
        }
        second = decided(replace(of, context={**of.context, **more}, absent=None))
        assert second.outcome is first.outcome, f"{of}\n{more}"
        told += bool(more)
    assert told > CASES / 20
