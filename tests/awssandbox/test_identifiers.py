"""Identifiers derive from seed, kind, content and ordinal, and from nothing else."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from awssandbox.identifiers import Identifiers
from hypothesis import given, settings
from hypothesis import strategies as st

CONTENT = st.recursive(
    st.text(max_size=5) | st.integers() | st.booleans() | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@settings(max_examples=40)
@given(st.integers(), st.text(), st.lists(CONTENT, max_size=3))
def test_the_same_seed_and_content_give_the_same_identifiers_in_turn(
    seed: int, kind: str, content: list[object]
) -> None:
    one, other = Identifiers(seed), Identifiers(seed)
    first = [one.make(kind, *content) for _ in range(3)]
    assert first == [other.make(kind, *content) for _ in range(3)]
    assert len(set(first)) == 3


@given(st.text(), st.text())
def test_what_is_made_for_one_content_moves_nothing_for_another(mine: str, theirs: str) -> None:
    busy, calm = Identifiers(1), Identifiers(1)
    for _ in range(3):
        busy.make("kind", "other", theirs)
    assert busy.make("kind", "own", mine) == calm.make("kind", "own", mine)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "bc"), ("ab", "c")),
        (("a",), ("a", "")),
        (("1",), (1,)),
        (({"a": "b"},), (["a", "b"],)),
        (({"a": "bc"},), ({"ab": "c"},)),
        ((True,), ("True",)),
    ],
)
def test_contents_that_look_alike_are_told_apart(
    one: tuple[object, ...], other: tuple[object, ...]
) -> None:
    assert Identifiers(1).make("kind", *one) != Identifiers(1).make("kind", *other)


def test_the_order_of_a_mapping_does_not_matter() -> None:
    one = Identifiers(1).make("kind", {"a": 1, "b": {"c": 2, "d": 3}})
    assert one == Identifiers(1).make("kind", {"b": {"d": 3, "c": 2}, "a": 1})


def test_kinds_and_seeds_differ_and_no_seed_is_one_that_nobody_knows() -> None:
    made = [
        Identifiers(1).make("kind", "x"),
        Identifiers(2).make("kind", "x"),
        Identifiers(1).make("other", "x"),
        Identifiers().make("kind", "x"),
        Identifiers().make("kind", "x"),
    ]
    assert len(set(made)) == 5


def test_the_forms() -> None:
    """Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html"""
    ids = Identifiers(1)
    assert re.fullmatch(r"[0-9a-f]{64}", ids.make("kind"))
    assert UUID(ids.uuid("key")).version == 4
    assert re.fullmatch(r"AROA[A-Z2-7]{17}", ids.unique_id("AROA", "role"))


def test_threads_never_get_the_same_one() -> None:
    ids = Identifiers(1)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: ids.make("kind", "x"), range(500)))
    assert len(set(made)) == 500
