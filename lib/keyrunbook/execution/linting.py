"""What `runbook access lint` does: the linter's findings on a file, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from iamaccess.lint import Aim, Finding, lint_key_policy, lint_role_policy


def check(policy: str, kind: str | None, aim: Aim) -> list[Finding]:
    """The findings on a policy's text: a ``key`` policy, or a ``role``'s own.

    `kind` None: a key policy where a statement has a principal, or where that cannot be told.
    """
    if (kind or _kind(policy)) == "role":
        return lint_role_policy(policy, aim)
    return lint_key_policy(policy, aim)


def _kind(policy: str) -> str:
    try:
        document = json.loads(policy)
    except (ValueError, RecursionError):
        return "key"
    statements = document.get("Statement") if isinstance(document, dict) else None
    listed = statements if isinstance(statements, list) else [statements]
    written = [one for one in listed if isinstance(one, dict)]
    named = any("Principal" in one or "NotPrincipal" in one for one in written)
    return "key" if named or not written else "role"


def text(name: str, findings: Sequence[Finding]) -> str:
    """The findings as compilers tell them: file, line, what, and how to mend it."""
    if not findings:
        return f"{name}: nothing to find fault with"
    return "\n".join(
        f"{name}:{one.line}: {one.severity} {one.rule}{f' {one.pointer}' if one.pointer else ''}: "
        f"{one.why}\n    {one.mend}"
        for one in findings
    )


def to_list(name: str, findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The findings for a program."""
    return [{"file": name, **asdict(one)} for one in findings]
