"""Laws of decisions and of parsing, on generated requests, policies and documents."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from iamaccess import (
    Grant,
    MalformedPolicy,
    Outcome,
    Policies,
    Policy,
    Principal,
    Request,
    decide,
    parse_policy,
)
from iamaccess.patterns import Patterns, Style

ACCOUNT, OTHER = "111122223333", "444455556666"
KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/R"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/R/s"
USER = f"arn:aws:iam::{ACCOUNT}:user/U"
FOREIGN = f"arn:aws:iam::{OTHER}:user/V"
SERVICE = "imagebuilder.amazonaws.com"

PRINCIPALS = (
    Principal("session", SESSION, ACCOUNT, ROLE, "AROA1"),
    Principal("role", ROLE, ACCOUNT, None, "AROA1"),
    Principal("user", USER, ACCOUNT, None, "AIDA1"),
    Principal("root", f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT),
    Principal("user", FOREIGN, OTHER, None, "AIDA2"),
    Principal("root", f"arn:aws:iam::{OTHER}:root", OTHER),
    Principal("service", SERVICE, None),
    Principal("anonymous", "anonymous", None),
)
NAMES: tuple[Any, ...] = (
    "*",
    *({"AWS": name} for name in (ROLE, SESSION, USER, FOREIGN, ACCOUNT, OTHER, "AROA1", "AIDA2")),
    {"AWS": [ROLE, f"arn:aws:iam::{ACCOUNT}:root"]},
    {"Service": SERVICE},
    {"Federated": "cognito-identity.amazonaws.com"},
)
CONDITIONS: tuple[Any, ...] = (
    None,
    {"StringEquals": {"k": "v"}},
    {"StringNotLike": {"k": "v*"}},
    {"StringEqualsIfExists": {"kms:EncryptionContext:a": ["b", "c"]}},
    {"ForAnyValue:StringLike": {"l": "v*"}},
    {"ForAllValues:StringEquals": {"l": ["v", "w"]}},
    {"Null": {"k": "true"}},
    {"NumericEquals": {"k": "one"}},
    {"StringEquals": {"k": []}},
)

requests = st.builds(
    Request,
    st.sampled_from(PRINCIPALS),
    st.sampled_from(["kms:Decrypt", "kms:CreateGrant", "s3:GetObject", "sts:AssumeRole"]),
    st.sampled_from([KEY, "*", ROLE, "arn:aws:s3:::b/o"]),
    st.fixed_dictionaries(
        {},
        optional={
            "k": st.sampled_from(["v", "w", "vv"]),
            "l": st.sampled_from([["v"], ["v", "x"], [], ["x"]]),
            "kms:EncryptionContext:a": st.sampled_from(["b", "B"]),
        },
    ),
)


def _statement(resource_based: bool, effect: str | None, plain: bool) -> st.SearchStrategy[Any]:
    """A statement; `plain`: without Not elements, and without what cannot be judged."""
    actions = st.sampled_from(["*", "kms:*", "kms:Decrypt", ["s3:*", "kms:De?rypt"]])
    resources = st.sampled_from(["*", KEY, "arn:aws:s3:::*", "arn:aws:kms:*:*:key/*"])

    def element(name: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
        names = [name] if plain else [name, name, f"Not{name}"]
        return st.tuples(st.sampled_from(names), values).map(lambda pair: {pair[0]: pair[1]})

    parts: list[st.SearchStrategy[dict[str, Any]]] = [
        st.sampled_from([effect] if effect else ["Allow", "Deny"]).map(lambda e: {"Effect": e}),
        element("Action", actions),
        element("Resource", resources),
        st.sampled_from(CONDITIONS[:-2] if plain else CONDITIONS).map(
            lambda each: {} if each is None else {"Condition": each}
        ),
    ]
    if resource_based:
        parts.append(element("Principal", st.sampled_from(NAMES[:-1] if plain else NAMES)))
    return st.tuples(*parts).map(lambda found: {k: v for part in found for k, v in part.items()})


@cache
def statements(kind: str, effect: str | None = None, plain: bool = False) -> Any:
    return _statement(kind == "resource", effect, plain)


Written = dict[str, list[list[dict[str, Any]]] | None]
"""The statements of each layer's policies."""

LAYERS = ("identity", "resource", "boundary", "session")


def kind_of(layer: str) -> Any:
    return "resource" if layer == "resource" else "identity"


def written(*, given: bool = False, plain: bool = False) -> st.SearchStrategy[Written]:
    def layer(name: str) -> st.SearchStrategy[Any]:
        policy = st.lists(statements(kind_of(name), None, plain), min_size=1, max_size=3)
        found = st.lists(policy, max_size=2)
        return found if given else st.none() | found

    return st.fixed_dictionaries({name: layer(name) for name in LAYERS})


grants = st.lists(
    st.builds(
        Grant,
        st.just("g"),
        st.sampled_from([ROLE, SESSION, USER, FOREIGN, SERVICE, f"arn:aws:iam::{ACCOUNT}:root"]),
        st.sampled_from([frozenset({"Decrypt"}), frozenset({"CreateGrant", "Decrypt"})]),
        st.sampled_from([None, {"a": "b"}]),
        st.none(),
        st.just(KEY),
    ),
    max_size=2,
)


def policies(layers: Written, granted: Sequence[Grant] | None = ()) -> Policies:
    def parsed(name: str) -> list[Policy] | None:
        found = layers[name]
        return None if found is None else [compiled(kind_of(name), each) for each in found]

    return Policies(
        parsed("identity"), parsed("resource"), granted, parsed("boundary"), parsed("session")
    )


def compiled(kind: Any, found: list[dict[str, Any]]) -> Policy:
    return parse_policy({"Version": "2012-10-17", "Statement": found}, kind=kind)


def known(of: Policies) -> Policies:
    """The same, in no organization."""
    return replace(of, service_control=(), resource_control=())


def outcome(request: Request, of: Policies) -> Outcome:
    return decide(request, of).outcome


def with_statement(layers: Written, name: str, statement: dict[str, Any]) -> Written:
    return {**layers, name: [*(layers[name] or []), [statement]]}


@given(requests, written(given=True), grants, st.data())
def test_adding_a_deny_never_allows(
    request: Request, layers: Written, granted: list[Grant], data: st.DataObject
) -> None:
    # An empty boundary or session policy is none at all: adding one to it is another matter.
    name = data.draw(st.sampled_from([each for each in LAYERS if layers[each]] or ["identity"]))
    deny = data.draw(statements(kind_of(name), "Deny"))
    before = outcome(request, known(policies(layers, granted)))
    after = outcome(request, known(policies(with_statement(layers, name, deny), granted)))
    if before is Outcome.DENIED:
        assert after is Outcome.DENIED
    if after is Outcome.ALLOWED:
        assert before is Outcome.ALLOWED


@given(requests, written(given=True, plain=True), st.data())
def test_adding_an_allow_never_denies(
    request: Request, layers: Written, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from([each for each in LAYERS if layers[each]] or ["identity"]))
    allow = data.draw(statements(kind_of(name), "Allow", True))
    before = outcome(request, known(policies(layers)))
    after = outcome(request, known(policies(with_statement(layers, name, allow))))
    if before is Outcome.ALLOWED:
        assert after is Outcome.ALLOWED


@given(requests, written(), st.none() | grants, st.randoms(use_true_random=False))
def test_order_of_statements_policies_and_grants_never_matters(
    request: Request, layers: Written, granted: list[Grant] | None, shuffled: random.Random
) -> None:
    def mixed(found: list[Any]) -> list[Any]:
        return shuffled.sample(found, len(found))

    other: Written = {
        name: None if found is None else [mixed(each) for each in mixed(found)]
        for name, found in layers.items()
    }
    before = decide(request, policies(layers, granted))
    after = decide(request, policies(other, None if granted is None else mixed(granted)))
    assert before._replace(statement=None, undocumented=()) == after._replace(
        statement=None, undocumented=()
    )
    assert {each.element for each in before.undocumented} == {
        each.element for each in after.undocumented
    }


STAND_INS: dict[str, Any] = {
    "identity": st.lists(st.lists(statements("identity"), min_size=1, max_size=2), max_size=2),
    "resource": st.lists(st.lists(statements("resource"), min_size=1, max_size=2), max_size=2),
}


@settings(max_examples=300)
@given(requests, written(), st.none() | grants, st.data())
def test_what_was_not_given_cannot_turn_an_answer(
    request: Request, layers: Written, granted: list[Grant] | None, data: st.DataObject
) -> None:
    """ALLOWED or DENIED holds for whatever the layers that were not given may turn out to be."""
    first = decide(request, known(policies(layers, granted)))
    filled: Written = {
        name: data.draw(STAND_INS[kind_of(name)]) if found is None else found
        for name, found in layers.items()
    }
    found = data.draw(grants) if granted is None else granted
    second = decide(request, known(policies(filled, found)))
    if first.outcome is Outcome.UNKNOWN:
        return
    assert second.outcome is first.outcome
    assert second.not_given == ()


@given(requests, written(), st.none() | grants)
def test_unknown_and_nothing_else_names_why(
    request: Request, layers: Written, granted: list[Grant] | None
) -> None:
    of = policies(layers, granted)
    found = decide(request, of)
    missing = tuple(each.name for each in fields(of) if getattr(of, each.name) is None)
    assert found.not_given == missing
    assert set(found.unknown) <= set(missing)
    because = bool(found.unknown or found.unknown_keys or found.undocumented)
    assert because is (found.outcome is Outcome.UNKNOWN) is (found.layer is None)
    if found.outcome is not Outcome.UNKNOWN:
        assert found.allowed_by_what_was_read is (found.outcome is Outcome.ALLOWED)


@given(requests, written(given=True), grants)
def test_deciding_is_pure(request: Request, layers: Written, granted: list[Grant]) -> None:
    before = json.dumps(layers)
    of = known(policies(layers, granted))
    again = Policies(*(getattr(of, each.name) for each in fields(of)))
    assert decide(request, of) == decide(replace(request), again)
    assert json.dumps(layers) == before


JSON_ATOMS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["*", "${", "${a}", "${a,'b'}", "${}", "2012-10-17", "Allow", KEY, ROLE])
)
JSON: st.SearchStrategy[Any] = st.recursive(
    JSON_ATOMS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
OPERATORS = st.sampled_from(
    [
        *("StringLike", "ForAnyValue:ArnLike", "BoolIfExists", "Null", "NullIfExists"),
        *("ForAllValues:StringNotEqualsIgnoreCase", "NumericLessThan", "", "ForAllValues:"),
    ]
)


def _documents(whatever: Any) -> Any:
    """Documents near to policies: each element may be good, odd, or anything."""
    texts = st.sampled_from(["*", "kms:*", KEY, "${aws:username}", "a b", ""]) | whatever
    several = texts | st.lists(texts, max_size=2)
    names = st.sampled_from([*NAMES, {"AWS": "x"}, {}, {"AWS": []}]) | whatever
    conditions = st.dictionaries(
        OPERATORS, st.dictionaries(st.sampled_from(["k", "kms:EncryptionContext:a"]), several)
    )
    statement = st.fixed_dictionaries(
        {},
        optional={
            "Sid": st.sampled_from(["a", "a b", ""]) | whatever,
            "Effect": st.sampled_from(["Allow", "Deny"]) | whatever,
            "Principal": names,
            "NotPrincipal": names,
            "Action": several,
            "NotAction": several,
            "Resource": several,
            "NotResource": several,
            "Condition": conditions | whatever,
        },
    )
    return st.fixed_dictionaries(
        {"Statement": st.lists(statement | whatever, max_size=3) | statement},
        optional={
            "Version": st.sampled_from(["2012-10-17", "2008-10-17"]) | whatever,
            "Id": whatever,
        },
    )


def _parsed(document: Any, kind: Any) -> Policy | None:
    try:
        return parse_policy(document, kind=kind)
    except MalformedPolicy as malformed:
        place = malformed.pointer
    assert place == "" or place.startswith("/")
    return None


@settings(max_examples=400)
@given(_documents(JSON), st.sampled_from(["identity", "resource", "trust"]), requests)
def test_a_document_is_a_policy_or_malformed_and_a_policy_is_decided(
    document: Any, kind: Any, request: Request
) -> None:
    policy = _parsed(document, kind)
    assert (policy is None) is (_parsed(json.dumps(document), kind) is None)
    if policy is not None:
        identity = kind == "identity"
        decide(request, Policies(identity=[policy]) if identity else Policies(resource=[policy]))


@given(st.text() | JSON.map(json.dumps))
@example("[" * 100_000)
@example('{"a":' * 100_000)
@example("1" * 5_000)
@example('{"Statement": "\ud800"}')
@example("\ufeff{}")
def test_any_text_is_a_policy_or_malformed(text: str) -> None:
    assert _parsed(text, "resource") is None


def test_a_document_as_deep_as_python_goes_is_malformed() -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"Statement": deep}
    assert _parsed(deep, "resource") is None


def test_a_policy_keeps_nothing_of_the_document_it_was_given() -> None:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}
    document = {"Statement": [statement]}
    policy = parse_policy(document, kind="resource")
    statement["Effect"] = "Deny"
    assert policy.document["Statement"][0]["Effect"] == "Allow"


def naive(pattern: str, value: str, one: Callable[[str], bool]) -> bool:
    """The obvious matcher: try every way. `one` says what `*` and `?` may stand for."""
    if not pattern:
        return not value
    head, rest = pattern[0], pattern[1:]
    if head == "*":
        reach = itertools.takewhile(lambda end: all(map(one, value[:end])), range(len(value) + 1))
        return any(naive(rest, value[end:], one) for end in reach)
    fits = bool(value) and (one(value[0]) if head == "?" else value[0] == head)
    return fits and naive(rest, value[1:], one)


def naive_arn(pattern: str, value: str) -> bool:
    """Field by field; the sixth, which may hold colons, as a whole."""
    ours, theirs = pattern.split(":", 5), value.split(":", 5)
    return len(ours) == len(theirs) and all(
        naive(mine, other, lambda letter: True) for mine, other in zip(ours, theirs, strict=True)
    )


def matches(pattern: str, value: str, style: Style) -> bool:
    return Patterns([pattern], style=style, variables=False).match(value, lambda key: None)


@settings(max_examples=1000)
@given(st.text("ab*?.\n", max_size=7), st.text("ab.\n*", max_size=8))
def test_wildcards_agree_with_the_naive_matcher(pattern: str, value: str) -> None:
    assert matches(pattern, value, "glob") is naive(pattern, value, lambda letter: True)
    assert matches(pattern, value, "exact") is (pattern == value)


FIELD = st.text("a*?", max_size=3)


@settings(max_examples=1000)
@given(
    st.lists(FIELD, min_size=6, max_size=8).map(":".join),
    st.lists(st.text("ab", max_size=3), min_size=5, max_size=8).map(":".join),
)
def test_arn_patterns_agree_with_the_naive_matcher(pattern: str, value: str) -> None:
    assert matches(pattern, value, "arn") is naive_arn(pattern, value)


@given(st.lists(st.text("ab*", max_size=4), max_size=4), st.text("ab", max_size=5))
def test_alternatives_match_when_one_does(patterns: list[str], value: str) -> None:
    together = Patterns(patterns, style="glob", variables=False).match(value, lambda key: None)
    assert together is any(matches(each, value, "glob") for each in patterns)


@given(st.text("ab*?$", max_size=5))
def test_a_variable_stands_for_its_value_letter_by_letter(value: str) -> None:
    pattern = Patterns(["x${k}*"], style="glob", variables=True)
    assert pattern.match(f"x{value}y", lambda key: value)
    assert not pattern.match(f"x{value}y", lambda key: None)
    assert not pattern.match(f"z{value}y", lambda key: value)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("*a" * 2_000 + "b", "a" * 20_000),
        ("a*" * 2_000 + "b", "a" * 20_000),
        ("?*" * 2_000 + "b", "a" * 20_000),
        ("*" * 20_000 + "b", "a" * 20_000),
    ],
)
def test_no_pattern_is_slow_to_match(pattern: str, value: str) -> None:
    """A matcher that tries every way would not end in the life of the universe."""
    started = time.perf_counter()
    assert not matches(pattern, value, "glob")
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("text", ["${" * 16_000, "${" + " " * 32_000 + "!}", "${a}" * 8_000])
def test_no_variable_is_slow_to_read(text: str) -> None:
    started = time.perf_counter()
    _parsed({"Version": "2012-10-17", "Statement": [dict(_ALLOW, Resource=text)]}, "resource")
    assert time.perf_counter() - started < 5


_ALLOW = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}
