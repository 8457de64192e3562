"""The policies that a run changed: each before and after, statement by statement."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from keyrunbook import wording
from keyrunbook.show.story import Told

Side = Literal["-", "+", " "]

SIGNS: Final[Mapping[wording.Kind, str]] = {
    "added": "+ added",
    "removed": "− removed",
    "changed": "± changed",
    "kept": "= kept as it was",
}
_SENDS: Final = {
    "kms:CreateKey": ("Policy", "the policy of the new KMS key"),
    "kms:PutKeyPolicy": ("Policy", "the policy of KMS key {KeyId}"),
    "iam:CreateRole": ("AssumeRolePolicyDocument", "who may assume the role {RoleName}"),
    "iam:PutRolePolicy": ("PolicyDocument", "the policy {PolicyName} of the role {RoleName}"),
    "iam:DeleteRolePolicy": ("", "the policy {PolicyName} of the role {RoleName}"),
}
"""The calls that change a policy: the parameter that holds it, and whose it is."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, before and after, in words; `lines` compares the two, each with its side."""

    name: str
    sign: str
    before: str
    after: str
    lines: tuple[tuple[Side, str], ...]


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """One call that changed a policy, or may have: `status` is that of the call.

    `documents` are the policies whole, each with its name.
    """

    call: str
    step: str
    time: str
    of: str
    status: str
    statements: tuple[Statement, ...]
    documents: tuple[tuple[str, str], ...]
    note: str = ""


def policy_changes(story: Sequence[Told]) -> tuple[PolicyChange, ...]:
    """Each change of a policy that AWS was asked for, in order."""
    return tuple(
        _change(one) for one in story if one.kind == "change" and one.fields["call"] in _SENDS
    )


def _change(one: Told) -> PolicyChange:
    parameter, noun = _SENDS[one.fields["call"]]
    given = one.fields["parameters"]
    texts = (one.fields["before"].get("policy"), given.get(parameter))
    of = noun.format_map(given)
    named = [(name, _indented(text)) for name, text in zip(("before", "after"), texts, strict=True)]
    try:
        before, after = (json.loads(text) if isinstance(text, str) else text for text in texts)
        statements = tuple(_statement(each) for each in wording.changes(before, after))
        note = ""
    except ValueError:
        statements, note = (), "Not compared: one of the two is not JSON."
    documents = tuple((name, text) for name, text in named if text)
    where = (one.fields["call"], one.step, one.time)
    return PolicyChange(*where, of, one.status, statements, documents, note)


def _statement(changed: wording.Changed) -> Statement:
    was, now = (
        "" if one is None else wording.in_words(one) for one in (changed.before, changed.after)
    )
    lines = tuple((_side(line), line[1:]) for line in changed.lines())
    return Statement(changed.name, SIGNS[changed.kind], was, now, lines)


def _side(line: str) -> Side:
    return "-" if line.startswith("-") else "+" if line.startswith("+") else " "


def _indented(policy: Any) -> str:
    """A policy as text, as AWS has it; of one that is no text, its JSON."""
    if policy is None or isinstance(policy, str):
        return policy or ""
    return json.dumps(policy, indent=2, ensure_ascii=False)
