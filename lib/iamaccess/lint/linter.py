"""Runs the rules over a document, and gives each finding its rule and its line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from iamaccess.documents import parse_policy
from iamaccess.lint.control import k01, k02
from iamaccess.lint.parts import Aim, Finding, Part, account, parts
from iamaccess.lint.rules import OF_KEY_POLICIES, OF_ROLE_POLICIES, Found, Rule, error, note
from iamaccess.model import MalformedPolicy, Policy, PolicyKind
from iamaccess.places import lines, nearest_line

KEY_POLICY_BYTES: Final = 32_768
"""Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html"""
INLINE_CHARACTERS: Final = 10_240
"""All inline policies of a role, white space not counted; a managed policy has 6,144.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""
MANAGED_CHARACTERS: Final = 6_144
Ruled = tuple[str, Found]
"""A rule's id, and what it found."""


def lint_key_policy(text: str, aim: Aim = Aim()) -> list[Finding]:  # noqa: B008 - it is frozen
    """What is to be said of a key policy, in the order of its lines."""
    document, policy, found = _read(text, "resource")
    statements = parts(document)
    of = account(aim, statements)
    found += [("K14", one) for one in _characters(text)]
    found += _each(OF_KEY_POLICIES, statements, aim, of)
    if policy is not None:
        found += [("K01", one) for one in k01(policy, statements, aim, of)]
        found += [("K02", one) for one in k02(policy, statements, aim, of)]
    return _placed(text, found)


def lint_role_policy(text: str, aim: Aim = Aim()) -> list[Finding]:  # noqa: B008 - it is frozen
    """What is to be said of a role's own policy on the key, in the order of its lines."""
    document, _, found = _read(text, "identity")
    statements = parts(document)
    found += [("R03", one) for one in _length(text)]
    found += _each(OF_ROLE_POLICIES, statements, aim, account(aim, statements))
    return _placed(text, found)


def _read(text: str, kind: PolicyKind) -> tuple[Any, Policy | None, list[Ruled]]:
    """The document as far as it is JSON, the policy where it is one, and why it is not."""
    policy, found = None, []
    try:
        policy = parse_policy(text, kind=kind)
    except MalformedPolicy as malformed:
        why = f"AWS would refuse it: {malformed.reason}"
        found = [("K00", error(malformed.pointer, why, "Mend it there."))]
    try:
        return json.loads(text), policy, found
    except (ValueError, RecursionError):
        return None, None, found


def _each(
    rules: Mapping[str, Rule], statements: Iterable[Part], aim: Aim, of: str | None
) -> Iterator[Ruled]:
    for part in statements:
        for rule, look in rules.items():
            for found in look(part, aim, of):
                yield rule, found


def _placed(text: str, found: Sequence[Ruled]) -> list[Finding]:
    """The findings with their lines. K00 gives way to a rule that says the same better."""
    said = {one.pointer for rule, one in found if rule != "K00" and one.severity == "error"}
    try:
        json.loads(text)
        places = lines(text)
    except json.JSONDecodeError as wrong:
        places = {"": wrong.lineno}
    except (ValueError, RecursionError):
        places = {}
    placed = [
        Finding(
            rule, one.severity, one.pointer, nearest_line(places, one.pointer), one.why, one.mend
        )
        for rule, one in found
        if rule != "K00" or one.pointer == "" or one.pointer not in said
    ]
    return sorted(placed, key=lambda one: (one.line, one.rule, one.pointer))


def _characters(text: str) -> Iterator[Found]:
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > KEY_POLICY_BYTES:
        why = f"It has {size} bytes; KMS takes {KEY_POLICY_BYTES}."
        yield error("", why, "Merge statements, or give access by IAM policies or grants.")
    if strange := re.search(r"[^\t\n\r\u0020-\u00ff]", text):
        line = text.count("\n", 0, strange.start()) + 1
        why = f"Line {line} has U+{ord(strange[0]):04X}; KMS takes tab, LF, CR, U+0020 to U+00FF."
        yield error("", why, "Replace that character.")


def _length(text: str) -> Iterator[Found]:
    size = len(re.sub(r"\s", "", text))
    if size > INLINE_CHARACTERS:
        why = f"It has {size} characters; IAM takes {INLINE_CHARACTERS} of all inline policies."
        yield error("", why, "Merge statements.")
    elif size > MANAGED_CHARACTERS:
        why = f"It has {size} characters; a managed policy may have {MANAGED_CHARACTERS}."
        yield note("", why, "Attach it inline, or merge statements.")
