"""Condition operators: String, Arn, Bool and Null, with IfExists and the two set operators.

All tests of a statement must hold; of the values of one test one must match, and of a negated one
none may. A key that the request lacks fails a test, holds for a negated one and with IfExists; it
holds for ForAllValues and fails for ForAnyValue. Without values in the policy, a test with IfExists
or ForAllValues holds only where the key is absent, one with ForAnyValue never; what any other does
is documented in two ways that contradict each other, so that it is not judged.
Sources:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-logic-multiple-context-keys-or-values.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/access-analyzer-reference-policy-checks.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from iamaccess.facts import Facts
from iamaccess.patterns import Patterns, Style, is_arn

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
    """How an operator compares. `folded`: letter case does not count."""

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
"""The supported operators but Null. ArnEquals and ArnLike behave identically."""

UNSUPPORTED = frozenset(
    [
        *("NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals"),
        *("NumericGreaterThan", "NumericGreaterThanEquals"),
        *("DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals"),
        *("DateGreaterThan", "DateGreaterThanEquals"),
        *("BinaryEquals", "IpAddress", "NotIpAddress"),
    ]
)


class Written(NamedTuple):
    """A test as its policy has it: one operator with one key and all its values."""

    operator: str
    key: str
    values: tuple[str, ...]


class Test(Protocol):
    """One key under one operator. `holds` is None when it cannot be judged for this request."""

    @property
    def element(self) -> str: ...

    @property
    def pointer(self) -> str: ...

    @property
    def written(self) -> Written: ...

    def holds(self, facts: Facts) -> bool | None: ...


@dataclass(frozen=True, slots=True)
class Match:
    """A key compared with the policy's values."""

    element: str
    pointer: str
    written: Written
    key: str
    operator: Operator
    patterns: Patterns
    negated: bool
    folded: bool

    def holds(self, facts: Facts) -> bool | None:
        """Whether the test holds; None for several values where a set operator is needed."""
        value = facts.value(self.key)
        if self.operator.quantifier is not None:
            return self._holds_for_set(value, facts)
        if isinstance(value, tuple) and len(value) == 1:
            value = value[0]
        if value is None:
            return self.negated or self.operator.if_exists
        if isinstance(value, str):
            return self._matches(value, facts)
        return None

    def _holds_for_set(self, value: str | tuple[str, ...] | None, facts: Facts) -> bool:
        if value is None and self.operator.if_exists:
            return True
        values = (value,) if isinstance(value, str) else value or ()
        # An empty string is no value: "a null dataset, such as an empty string".
        results = (self._matches(each, facts) for each in values if each)
        return all(results) if self.operator.quantifier == "ForAllValues" else any(results)

    def _matches(self, value: str, facts: Facts) -> bool:
        text = value.lower() if self.folded else value
        lookup = facts.folded_variable if self.folded else facts.variable
        return self.patterns.match(text, lookup) is not self.negated


@dataclass(frozen=True, slots=True)
class Presence:
    """`Null`: "true" asks for a key that is absent or empty, "false" for one that has a value."""

    element: str
    pointer: str
    written: Written
    key: str
    absent: frozenset[bool]

    def holds(self, facts: Facts) -> bool:
        return (not facts.value(self.key)) in self.absent


@dataclass(frozen=True, slots=True)
class CannotJudge:
    """A test that this engine does not support."""

    element: str
    pointer: str
    written: Written

    def holds(self, facts: Facts) -> None:
        return None


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
    if name not in COMPARISONS and name not in UNSUPPORTED:
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
        return Presence(
            element, pointer, written, key.lower(), frozenset(each == "true" for each in asked)
        )
    comparison = COMPARISONS.get(operator.name)
    if comparison is None:
        return CannotJudge(element, pointer, written)
    if not values and operator.quantifier is None and not operator.if_exists:
        return CannotJudge(f"{element} without values", pointer, written)
    if comparison.style == "arn" and not all(is_arn(value) or "${" in value for value in values):
        return CannotJudge(f"{element} with a value that is not an ARN", pointer, written)
    texts = [value.lower() for value in values] if comparison.folded else values
    patterns = Patterns(texts, style=comparison.style, variables=variables and comparison.variables)
    return Match(
        f"{key} with several values under an operator for one",
        pointer,
        written,
        key.lower(),
        operator,
        patterns,
        comparison.negated and bool(values),
        comparison.folded,
    )
