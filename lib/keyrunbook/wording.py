"""A policy in words, and how two of them differ, statement by statement: for a person to read."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from keyrunbook import policies

Kind = Literal["added", "removed", "changed", "kept"]


@dataclass(frozen=True, slots=True)
class Changed:
    """One statement, before and after; the side on which it is not there is None."""

    name: str
    kind: Kind
    before: policies.Document | None
    after: policies.Document | None

    def lines(self) -> list[str]:
        """What changes, as lines: ``-`` goes, ``+`` comes; a kept statement has none."""
        if self.kind == "kept":
            return []
        was, now = _text(self.before), _text(self.after)
        compared = difflib.unified_diff(was, now, lineterm="", n=99)
        return [line for line in compared if not line.startswith(("---", "+++", "@@"))]


def changes(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Changed]:
    """Each statement of both policies, in the order of `after`, then what is gone.

    Statements belong together by what they say, else by their Sid; a policy may not be there.
    """
    was, now = _statements(before), _statements(after)
    left = dict(enumerate(was))
    pairs: list[tuple[int, policies.Document, int | None]] = []
    for number, one in enumerate(now):
        found = next((n for n, other in left.items() if policies.same(one, other)), None)
        if found is not None:
            del left[found]
        pairs.append((number, one, found))
    return [
        *(_changed(number, one, found, was, left) for number, one, found in pairs),
        *(Changed(_name(n, one), "removed", one, None) for n, one in left.items()),
    ]


def _changed(
    number: int,
    statement: policies.Document,
    same_as: int | None,
    was: Sequence[policies.Document],
    left: dict[int, policies.Document],
) -> Changed:
    name = _name(number, statement)
    if same_as is not None:
        return Changed(name, "kept", was[same_as], statement)
    sid = statement.get("Sid")
    known = next((n for n, other in left.items() if sid and other.get("Sid") == sid), None)
    if known is None:
        return Changed(name, "added", None, statement)
    return Changed(name, "changed", left.pop(known), statement)


def in_words(statement: Mapping[str, Any]) -> str:
    """What a statement says: ``allows role/Builder: kms:Decrypt on *, where …``."""
    verb = "allows" if statement.get("Effect") == "Allow" else "denies"
    who = _who(statement)
    what = _element(statement, "Action") or "nothing, as it has no Action"
    on = _element(statement, "Resource")
    if on == "*" and who:  # in a key's policy; in one of IAM it is everything
        on = "this key"
    where = [f"{key} {_IS.get(operator, f'({operator})')} {_listed(values, 'or')}"
             for operator, keys in statement.get("Condition", {}).items()
             for key, values in keys.items()]  # fmt: skip
    told = f"{verb} {f'{who}: ' if who else ''}{what}"
    told += f" on {on}" if on else ""
    return told + (f", where {' and '.join(where)}" if where else "")


_IS = {
    "StringEquals": "is",
    "StringLike": "is like",
    "ArnEquals": "is like",
    "ArnLike": "is like",
    "StringNotEquals": "is not",
    "StringNotLike": "is not like",
    "Bool": "is",
}
"""The commonest condition operators, in words."""


def _who(statement: Mapping[str, Any]) -> str:
    negated = "NotPrincipal" in statement
    named = statement.get("NotPrincipal" if negated else "Principal", ())
    values = list(named.values()) if isinstance(named, Mapping) else [named]
    flat = [one for each in values for one in ([each] if isinstance(each, str) else each)]
    return ("all but " if negated else "") + _listed(flat, "and")


def _element(statement: Mapping[str, Any], name: str) -> str:
    if f"Not{name}" in statement:
        return f"all but {_listed(statement[f'Not{name}'], 'and')}"
    return _listed(statement.get(name, ()), "and")


def _listed(values: Any, word: str) -> str:
    texts = [str(one) for one in values] if isinstance(values, list | tuple) else [str(values)]
    if len(texts) < 2:
        return "".join(texts)
    return f"{', '.join(texts[:-1])} {word} {texts[-1]}"


def _statements(policy: Mapping[str, Any] | None) -> list[policies.Document]:
    written = (policy or {}).get("Statement", [])
    return [dict(written)] if isinstance(written, Mapping) else [dict(one) for one in written]


def _name(number: int, statement: Mapping[str, Any]) -> str:
    return str(statement.get("Sid") or f"statement {number + 1}")


def _text(statement: Mapping[str, Any] | None) -> list[str]:
    if statement is None:
        return []
    return json.dumps(policies.plain(dict(statement)), indent=2).splitlines()
