"""IAM's wildcards and policy variables.

`*` is any run of characters, `?` any one character. In a Resource they match across `:` and `/`
alike; the Arn condition operators compare an ARN's six fields one by one, so that there a wildcard
stays inside its field (the sixth, which may hold colons itself, is matched whole).
`${key}` and `${key, 'default'}` stand for the request's value of a condition key; what they stand
for is taken literally, wildcards included. `${*}`, `${?}` and `${$}` are those characters.
Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from iamaccess.facts import NOT_KNOWN, NotKnown

Lookup = Callable[[str], str | NotKnown | None]
Style = Literal["exact", "glob", "arn"]
"""How a pattern is compared: letter by letter, with wildcards, or field by field with wildcards."""


class Wildcard(enum.Enum):
    MANY = "*"
    ONE = "?"


@dataclass(frozen=True, slots=True)
class Variable:
    """`${key, 'default'}`: the key as written. Condition keys ignore letter case."""

    key: str
    default: str | None


Part = str | Wildcard | Variable

_NAME = re.compile(r"[\w.:/=+@ -]+")
_WILDCARD = re.compile(r"([*?])")


class InvalidVariableError(ValueError):
    """A `${…}` that is neither a condition key nor one of the three special characters."""


class Patterns:
    """Alternatives: a value matches when one of them does. No alternatives match nothing.

    `folded`: in lower case, as the values are then to be. `anything`: one of them is `*`.
    `variables` are the condition keys of their variables, as written.
    """

    __slots__ = ("_exact", "_fullmatch", "_style", "_varying", "anything", "empty", "variables")

    def __init__(
        self, texts: Iterable[str], *, style: Style, variables: bool, folded: bool = False
    ) -> None:
        exact: set[str] = set()
        fixed: list[str] = []
        varying: list[tuple[Part, ...]] = []
        keys: dict[str, None] = {}
        for text in texts:
            parts = _parse(text, wildcards=style != "exact", variables=variables)
            parts = tuple(map(_folded, parts)) if folded else parts
            found = [part.key for part in parts if isinstance(part, Variable)]
            keys |= dict.fromkeys(found)
            if found:
                varying.append(parts)
            elif any(isinstance(part, Wildcard) for part in parts):
                fixed.append(_expression(parts, style))
            else:
                exact.add("".join(part for part in parts if isinstance(part, str)))
        self.empty = not (exact or fixed or varying)
        self.anything = style == "glob" and ".*" in fixed
        self.variables = tuple(keys)
        self._exact = frozenset(exact)
        self._fullmatch = re.compile("|".join(fixed), re.DOTALL).fullmatch if fixed else None
        self._varying = tuple(varying)
        self._style: Style = style

    def match(self, value: str, lookup: Lookup) -> bool | None:
        """Whether one alternative matches `value`; None where that rests on a key not known.

        `lookup` gives the value of a condition key in lower case. A variable without a value makes
        its alternative match nothing.
        """
        if self.fixed(value):
            return True
        if not self._varying:
            return False
        results = [self._match_varying(parts, value, lookup) for parts in self._varying]
        return True if True in results else None if None in results else False

    def fixed(self, value: str) -> bool:
        """Whether an alternative without variables matches `value`."""
        return (
            self.anything
            or value in self._exact
            or (self._fullmatch is not None and self._fullmatch(value) is not None)
        )

    def _match_varying(self, parts: tuple[Part, ...], value: str, lookup: Lookup) -> bool | None:
        resolved: list[Part] = []
        known = True
        for part in parts:
            if not isinstance(part, Variable):
                resolved.append(part)
                continue
            text = lookup(part.key.lower())
            text = part.default if text is None else text
            if text is None:
                return False
            known = known and text is not NOT_KNOWN
            resolved.append(text if isinstance(text, str) else Wildcard.MANY)
        # What is not known may be any text, colons included.
        expression = _expression(resolved, self._style if known else "glob")
        matches = re.fullmatch(expression, value, re.DOTALL) is not None
        return matches if known or not matches else None


def _parse(text: str, *, wildcards: bool, variables: bool) -> tuple[Part, ...]:
    if not variables:
        return _split(text, wildcards)
    parts: list[Part] = []
    for literal, inside in _cut(text):
        parts += _split(literal, wildcards)
        if inside is not None:
            parts.append(_variable(inside))
    return tuple(parts)


def _folded(part: Part) -> Part:
    if isinstance(part, Variable):
        return Variable(part.key, None if part.default is None else part.default.lower())
    return part.lower() if isinstance(part, str) else part


def _cut(text: str) -> Iterable[tuple[str, str | None]]:
    """The text before each `${…}`, with what is inside; last, the text behind them all."""
    start = 0
    while (opening := text.find("${", start)) >= 0:
        closing = text.find("}", opening)
        if closing < 0:
            break
        yield text[start:opening], text[opening + 2 : closing]
        start = closing + 1
    yield text[start:], None


def _split(text: str, wildcards: bool) -> tuple[Part, ...]:
    if not wildcards:
        return (text,) if text else ()
    pieces = _WILDCARD.split(text)
    return tuple(Wildcard(piece) if piece in ("*", "?") else piece for piece in pieces if piece)


def _variable(inside: str) -> Part:
    if inside in ("*", "?", "$"):
        return inside
    name, comma, default = (each.strip() for each in inside.partition(","))
    quoted = len(default) >= 2 and default[0] == default[-1] == "'" and "'" not in default[1:-1]
    if not _NAME.fullmatch(name) or (comma and not quoted):
        raise InvalidVariableError(f"${{{inside}}}")
    return Variable(name, default[1:-1] if comma else None)


def _expression(parts: Iterable[Part], style: Style) -> str:
    """A regular expression that matches in linear time.

    Each `*` but the last takes the first place where what follows it fits and never tries another:
    a later place leaves less for the rest, so that none is lost.
    """
    chunks = [""]
    gaps: list[str] = []
    colons = 0
    for part in parts:
        one = "[^:]" if style == "arn" and colons < 5 else "."
        if part is Wildcard.MANY:
            gaps.append(f"{one}*")
            chunks.append("")
        elif part is Wildcard.ONE:
            chunks[-1] += one
        elif isinstance(part, str):
            chunks[-1] += re.escape(part)
            colons += part.count(":")
    if not gaps:
        return chunks[0]
    middle = "".join(f"(?>{gap}?{chunk})" for gap, chunk in zip(gaps, chunks[1:-1], strict=False))
    return f"{chunks[0]}{middle}{gaps[-1]}{chunks[-1]}"


def is_arn(text: str) -> bool:
    """Whether a pattern has the six fields of an ARN, colons inside variables not counted."""
    return sum(literal.count(":") for literal, _ in _cut(text)) >= 5
