"""A parameter as a person reads and writes it: label, limits, and its value as text.

All of it comes from the one model, `keyrunbook.parameters`, so that a form has no rule of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final, Literal, get_args, get_origin

import annotated_types

from keyrunbook.confidential import sensitive
from keyrunbook.parameters import Parameters, wrong_in

Kind = Literal["text", "number", "yes or no", "choice", "mapping"]

UNSET: Final = "unset"
_CAPITALS: Final = {"arn": "ARN", "fips": "FIPS", "uri": "URI"}
_UNITS: Final = ("seconds", "days")
_KINDS: Final[Mapping[Any, Kind]] = {str: "text", int: "number", bool: "yes or no"}


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter of the model."""

    name: str
    kind: Kind
    optional: bool
    """Whether it may be left unset."""
    choices: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Its name in words, such as ``Key ARN``; with its unit: ``Settle seconds``."""
        first, *rest = (_CAPITALS.get(word, word) for word in self.name.split("_"))
        return " ".join([first[0].upper() + first[1:], *rest])

    @property
    def unit(self) -> str:
        """What a number of it counts: ``seconds``, ``days``; "" where nothing is measured."""
        last = self.name.rsplit("_", 1)[-1]
        return last if last in _UNITS else ""

    @property
    def help(self) -> str:
        """What it means."""
        return Parameters.model_fields[self.name].description or ""

    @property
    def example(self) -> str:
        """A value of it, as text."""
        return as_text((Parameters.model_fields[self.name].examples or [None])[0])

    @property
    def default(self) -> Any:
        """What holds where nobody says anything else."""
        return Parameters.model_fields[self.name].get_default(call_default_factory=True)

    def limits(self) -> str:
        """What its values may be, in words; "" where any text is."""
        if self.choices:
            return " or ".join(self.choices)
        rules = Parameters.model_fields[self.name].metadata
        bounds = {type(rule): rule for rule in rules}
        if annotated_types.Ge in bounds and annotated_types.Le in bounds:
            least, most = bounds[annotated_types.Ge].ge, bounds[annotated_types.Le].le
            return f"{least} to {most} {self.unit}".strip()
        if self.kind == "mapping":
            return f"key=value, a line each, at most {bounds[annotated_types.MaxLen].max_length}"
        if self.kind == "yes or no":
            return "yes or no"
        return f"such as {self.example}"

    def read(self, text: str) -> Any:
        """The value that a person has typed. Raises ValueError, saying what is needed."""
        if self.kind == "mapping":
            return _pairs(text, self.example)
        text = text.strip()
        if self.optional and not text:
            return None
        if self.kind != "number":
            return text
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"a whole number is needed, such as {self.example}") from None

    def wrong(self, value: Any) -> str:
        """What is wrong with a value, and what would be right; "" where nothing is."""
        return wrong_in(self.name, value)

    def shown(self, value: Any) -> str:
        """A value for everybody's eyes: one that is wrong, or looks like a secret, is not shown."""
        if wrong := self.wrong(value):
            return f"✗ {wrong}"
        text = as_text(value) or UNSET
        found = sensitive(text)
        return text if found is None else f"not shown: it looks like {found}"


def field(name: str) -> Field:
    """The parameter of that name. Raises KeyError."""
    annotation = Parameters.model_fields[name].annotation
    parts = get_args(annotation) if NoneType in get_args(annotation) else (annotation,)
    (main,) = (part for part in parts if part is not NoneType)
    optional = len(parts) > 1
    if get_origin(main) is Literal:
        return Field(name, "choice", optional, get_args(main))
    if get_origin(main) is dict:
        return Field(name, "mapping", optional)
    return Field(name, _KINDS[main], optional)


def as_text(value: Any) -> str:
    """A value as a person would type it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "\n".join(f"{key}={one}" for key, one in value.items())
    return str(value)


def _pairs(text: str, example: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not key:
            raise ValueError(f"line {number} is not key=value, such as {example}")
        if key in found:
            raise ValueError(f"line {number}: {key} is there twice")
        found[key] = value
    return found
