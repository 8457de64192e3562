"""Condition operators, each with IfExists and the two set operators.

All tests of a statement must hold; of the values of one test one must match, and of a negated one
none may. A key that the request lacks fails a test, holds for a negated one and with IfExists; it
holds for ForAllValues and fails for ForAnyValue. Without values in the policy, a test with IfExists
or ForAllValues holds only where the key is absent, one with ForAnyValue never; what any other does
is documented in two ways that contradict each other, so that it is not judged.

A test has three answers: None is "it cannot be said", because the request does not tell a key or
because AWS does not document what the test does. Each test is judged by itself: two on one key
that is not known are taken as independent of each other.
Sources:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-logic-multiple-context-keys-or-values.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-reference-policy-checks.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from iamaccess.facts import NOT_KNOWN, Facts, Value
from iamaccess.patterns import Lookup, Patterns, Style, is_arn
from iamaccess.values import KINDS, Kind

Quantifier = Literal["ForAllValues", "ForAnyValue"]


@dataclass(frozen=True, slots=True)
class Operator:
    """A condition operator as written: `ForAnyValue:StringNotLikeIfExists` in its parts."""

    name: str
    quantifier: Quantifier | None
    if_exists: bool

    def __str__(self) -> str:
        prefix = f"{self.quantifier}:" if self.quantifier else ""
        return f"{prefix}{self.name}{'IfExists' if self.if_exists else ''}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """How an operator compares text. `folded`: letter case does not count."""

    style: Style
    negated: bool
    folded: bool = False
    variables: bool = True


COMPARISONS = {
    "StringEquals": Comparison("exact", negated=False),
    "StringNotEquals": Comparison("exact", negated=True),
    "StringEqualsIgnoreCase": Comparison("exact", negated=False, folded=True),
    "StringNotEqualsIgnoreCase": Comparison("exact", negated=True, folded=True),
    "StringLike": Comparison("glob", negated=False),
    "StringNotLike": Comparison("glob", negated=True),
    "ArnEquals": Comparison("arn", negated=False),
    "ArnLike": Comparison("arn", negated=False),
    "ArnNotEquals": Comparison("arn", negated=True),
    "ArnNotLike": Comparison("arn", negated=True),
    "Bool": Comparison("exact", negated=False, folded=True, variables=False),
}
"""The operators on text. ArnEquals and ArnLike behave identically."""

_NEGATED_KINDS = {
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
}
OPERATORS = frozenset((*COMPARISONS, *KINDS, *_NEGATED_KINDS, "Null"))


class Written(NamedTuple):
    """A test as its policy has it: one operator with one key and all its values."""

    operator: str
    key: str
    values: tuple[str, ...]


class Matcher(Protocol):
    """The policy's values of one test: whether one of them matches a value of the request."""

    @property
    def empty(self) -> bool: ...

    @property
    def anything(self) -> bool: ...

    @property
    def variables(self) -> Sequence[str]: ...

    def match(self, value: str, lookup: Lookup) -> bool | None: ...


class Test(Protocol):
    """One key under one operator."""

    @property
    def pointer(self) -> str: ...

    @property
    def written(self) -> Written: ...

    def holds(self, facts: Facts) -> bool | None: ...

    def doubt(self, facts: Facts) -> str:
        """What AWS does not document, where `holds` is None and every key of it is known."""
        ...

    def unknown_keys(self, facts: Facts) -> Sequence[str]:
        """The keys of this test that the request does not tell, as written."""
        ...


@dataclass(frozen=True, slots=True)
class Amounts:
    """Values that are compared by what they mean; None for one that means nothing."""

    kind: Kind
    wanted: tuple[Any, ...]

    anything = False
    variables = ()

    @property
    def empty(self) -> bool:
        return not self.wanted

    def match(self, value: str, lookup: Lookup) -> bool | None:
        """Whether one of them holds for `value`; None where that is not documented."""
        read = self.kind.read(value)
        if read is None:
            return None if self.wanted else False
        results = [None if each is None else self.kind.holds(read, each) for each in self.wanted]
        return True if True in results else None if None in results else False


@dataclass(frozen=True, slots=True)
class Match:
    """A key compared with the policy's values. `plain`: one value, its letter case as it is."""

    written: Written
    pointer: str
    key: str
    operator: Operator
    matcher: Matcher
    negated: bool
    folded: bool
    plain: bool

    def holds(self, facts: Facts) -> bool | None:
        """Whether the test holds; None for several values where a set operator is needed, too."""
        value = facts.value(self.key)
        if self.plain and isinstance(value, str):
            matches = self.matcher.match(value, facts.variable)
            return matches if matches is None else matches is not self.negated
        if value is NOT_KNOWN:
            return self._holds_whatever()
        if self.operator.quantifier is not None:
            return self._holds_for_set(value, facts)
        if isinstance(value, str):
            return self._matches(value, facts)
        if isinstance(value, tuple) and len(value) == 1:
            return self._matches(value[0], facts)
        if value is None:
            return self.negated or self.operator.if_exists
        return None

    def doubt(self, facts: Facts) -> str:
        """What AWS does not document, where `holds` is None and every key of it is known."""
        if isinstance(self.matcher, Amounts):
            noun = self.matcher.kind.noun
            return f"condition operator {self.operator.name} with a value that is not {noun}"
        return f"{self.written.key} with several values under an operator for one"

    def unknown_keys(self, facts: Facts) -> Sequence[str]:
        """The keys of this test that the request does not tell, as written."""
        value = facts.value(self.key)
        if self.operator.quantifier is None and isinstance(value, tuple) and len(value) > 1:
            return ()
        return _unknown((self.written.key, *self.matcher.variables), facts)

    def _holds_whatever(self) -> bool | None:
        """Of a key that is absent, or has any value: the answer where both have the same."""
        quantifier, if_exists = self.operator.quantifier, self.operator.if_exists
        if quantifier == "ForAnyValue" and not if_exists:
            never = self.matcher.empty or (self.matcher.anything and self.negated)
            return False if never else None
        always = self.matcher.anything and not self.negated
        return True if always and (if_exists or quantifier == "ForAllValues") else None

    def _holds_for_set(self, value: Value, facts: Facts) -> bool | None:
        if value is None and self.operator.if_exists:
            return True
        values = (value,) if isinstance(value, str) else value or ()
        # An empty string is no value: "a null dataset, such as an empty string".
        results = [self._matches(each, facts) for each in values if each]
        if self.operator.quantifier == "ForAllValues":
            return False if False in results else None if None in results else True
        return True if True in results else None if None in results else False

    def _matches(self, value: str, facts: Facts) -> bool | None:
        if self.folded:
            matches = self.matcher.match(value.lower(), facts.folded_variable)
        else:
            matches = self.matcher.match(value, facts.variable)
        return matches if matches is None else matches is not self.negated


@dataclass(frozen=True, slots=True)
class Presence:
    """`Null`: "true" asks for a key that is absent or empty, "false" for one that has a value."""

    written: Written
    pointer: str
    key: str
    absent: frozenset[bool]

    def holds(self, facts: Facts) -> bool | None:
        """Whether the test holds."""
        value = facts.value(self.key)
        if value is NOT_KNOWN:
            return None if len(self.absent) == 1 else True
        return (not value) in self.absent

    def doubt(self, facts: Facts) -> str:
        """Never asked: only a key that is not known leaves `Null` open."""
        return "condition operator Null"

    def unknown_keys(self, facts: Facts) -> Sequence[str]:
        """The key, where the request does not tell it."""
        return _unknown([self.written.key], facts)


@dataclass(frozen=True, slots=True)
class CannotJudge:
    """A test that AWS does not document."""

    element: str
    pointer: str
    written: Written

    def holds(self, facts: Facts) -> None:
        """It cannot be said."""
        return None

    def doubt(self, facts: Facts) -> str:
        """What is not documented."""
        return self.element

    def unknown_keys(self, facts: Facts) -> Sequence[str]:
        """None: were the keys known, nothing would be gained."""
        return ()


def parse_operator(text: str) -> Operator | None:
    """The parts of an operator, None when IAM has no such operator."""
    prefix, colon, rest = text.rpartition(":")
    quantifier: Quantifier | None = None
    if prefix == "ForAllValues":
        quantifier = "ForAllValues"
    elif prefix == "ForAnyValue":
        quantifier = "ForAnyValue"
    elif colon:
        return None
    if rest == "Null":
        return Operator("Null", quantifier, if_exists=False)
    name = rest.removesuffix("IfExists")
    if name not in OPERATORS or name == "Null":
        return None
    return Operator(name, quantifier, if_exists=name != rest)


def compile_test(
    operator: Operator, key: str, values: Sequence[str], *, variables: bool, pointer: str
) -> Test:
    """One test. `variables`: the policy's Version has policy variables.

    Raises: InvalidVariableError.
    """
    element = f"condition operator {operator.name}"
    written = Written(str(operator), key, tuple(values))
    if operator.name == "Null":
        if operator.quantifier is not None:
            return CannotJudge(f"{operator.quantifier} with Null", pointer, written)
        asked = frozenset(value.lower() for value in values)
        if not asked or not asked <= {"true", "false"}:
            return CannotJudge("Null with other than true or false", pointer, written)
        return Presence(written, pointer, key.lower(), frozenset(each == "true" for each in asked))
    if not values and operator.quantifier is None and not operator.if_exists:
        return CannotJudge(f"{element} without values", pointer, written)
    positive = _NEGATED_KINDS.get(operator.name, operator.name)
    matcher: Matcher
    if positive in KINDS:
        kind = KINDS[positive]
        matcher = Amounts(kind, tuple(kind.read_wanted(value) for value in values))
        negated, folded = positive != operator.name, False
    else:
        comparison = COMPARISONS[operator.name]
        negated, folded = comparison.negated, comparison.folded
        if comparison.style == "arn" and not all(is_arn(each) or "${" in each for each in values):
            return CannotJudge(f"{element} with a value that is not an ARN", pointer, written)
        with_variables = variables and comparison.variables
        matcher = Patterns(values, style=comparison.style, variables=with_variables, folded=folded)
    plain = operator.quantifier is None and not folded
    negated = negated and bool(values)
    return Match(written, pointer, key.lower(), operator, matcher, negated, folded, plain)


def _unknown(keys: Iterable[str], facts: Facts) -> list[str]:
    return [key for key in keys if facts.value(key.lower()) is NOT_KNOWN]
