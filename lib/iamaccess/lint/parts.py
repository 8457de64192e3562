"""The values of the linter, and a policy document taken apart with the place of each part.

Documents are read as they are, malformed ones too: what is no string where one belongs is left
out, for `parse_policy` says that already.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from iamaccess.model import Policies, Principal
from iamaccess.places import escape

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know of a policy: where it is, why it matters and how to mend it."""

    rule: str
    severity: Severity
    pointer: str
    line: int
    why: str
    mend: str


@dataclass(frozen=True, slots=True)
class Aim:
    """What is known beside the document; each is optional.

    `key_arn`: the key that the policy is of, or is for. `account`: 12 digits, the key's; by
    default that of `key_arn`, else the one that the document itself names most. `execution_role`:
    its ARN. `administrators`: ARNs of who may administer the key. `callers`: who must stay able to
    change the key policy, each with its own policies; by default anybody that the policy names, the
    root user, and a user of the account whose own policies allow everything.
    """

    key_arn: str | None = None
    account: str | None = None
    execution_role: str | None = None
    administrators: frozenset[str] = frozenset()
    callers: Sequence[tuple[Principal, Policies]] = field(default=())


@dataclass(frozen=True, slots=True)
class Text:
    """A string of the document, and its JSON pointer."""

    pointer: str
    value: str


@dataclass(frozen=True, slots=True)
class Test:
    """One condition key under one operator."""

    pointer: str
    operator: str
    key: str
    values: tuple[Text, ...]

    @property
    def quantifier(self) -> str:
        """`ForAnyValue`, `ForAllValues` or nothing."""
        return self.operator.rpartition(":")[0]

    @property
    def name(self) -> str:
        """The operator without what stands before and after it: `StringLike`."""
        return self.operator.rpartition(":")[2].removesuffix("IfExists")

    @property
    def fails_without_key(self) -> bool:
        """Whether it surely fails for a request that lacks the key.

        Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
        """
        if self.name == "Null":
            return [text.value.lower() for text in self.values] == ["false"]
        if self.operator.endswith("IfExists") or self.quantifier == "ForAllValues":
            return False
        return "Not" not in self.name or self.quantifier == "ForAnyValue"


@dataclass(frozen=True, slots=True)
class Part:
    """One statement."""

    pointer: str
    written: Mapping[str, Any]

    @property
    def allows(self) -> bool:
        """Whether its Effect is Allow."""
        return self.written.get("Effect") == "Allow"

    def texts(self, element: str) -> list[Text]:
        """The strings of an element; none where it is not there."""
        return list(_texts(self.written.get(element, []), f"{self.pointer}/{element}"))

    def principals(self, element: str = "Principal") -> list[tuple[str, Text]]:
        """The principals, each with its kind (`AWS`, `Service`, …)."""
        value, place = self.written.get(element), f"{self.pointer}/{element}"
        if value == "*":
            return [("AWS", Text(place, "*"))]
        if not isinstance(value, Mapping):
            return []
        return [
            (kind, text)
            for kind, names in value.items()
            for text in _texts(names, f"{place}/{escape(kind)}")
        ]

    def tests(self) -> list[Test]:
        """Its conditions."""
        return list(self._tests())

    def _tests(self) -> Iterator[Test]:
        place, written = f"{self.pointer}/Condition", self.written.get("Condition")
        for operator, keys in written.items() if isinstance(written, Mapping) else ():
            for key, values in keys.items() if isinstance(keys, Mapping) else ():
                pointer = f"{place}/{escape(operator)}/{escape(key)}"
                yield Test(pointer, operator, key, tuple(_texts(values, pointer)))


def parts(document: Any) -> list[Part]:
    """The statements of a document."""
    written = document.get("Statement") if isinstance(document, Mapping) else None
    if isinstance(written, Mapping):
        return [Part("/Statement", written)]
    return [
        Part(f"/Statement/{index}", one)
        for index, one in enumerate(written if isinstance(written, list) else ())
        if isinstance(one, Mapping)
    ]


def _texts(value: Any, pointer: str) -> Iterator[Text]:
    if isinstance(value, list):
        for index, one in enumerate(value):
            if not isinstance(one, list):
                yield from _texts(one, f"{pointer}/{index}")
    elif isinstance(value, bool):
        yield Text(pointer, str(value).lower())
    elif isinstance(value, str | int | float):
        yield Text(pointer, str(value))


_ACCOUNT = re.compile(r"arn:[^:]*:[^:]*:[^:]*:([0-9]{12}):.*|([0-9]{12})", re.DOTALL)


def account_of(name: str) -> str | None:
    """The account of an ARN, or that is named by its digits."""
    found = _ACCOUNT.fullmatch(name)
    return (found[1] or found[2]) if found else None


def account(aim: Aim, statements: Sequence[Part]) -> str | None:
    """The key's account as far as one can tell."""
    if known := aim.account or account_of(aim.key_arn or ""):
        return known
    names = [text.value for part in statements for _, text in part.principals()]
    names += [text.value for part in statements for text in part.texts("Resource")]
    found = [one for one in map(account_of, names) if one]
    return max(found, key=found.count) if found else None
