"""Policies are linted before they are sent: what is wrong stops the plan, the rest is told in it.

Statements that others wrote are kept as they are: an error that was there before is told, and
stops nothing; one that the plan would bring does.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from keyrunbook.errors import ParameterError

if TYPE_CHECKING:
    from iamaccess.lint import Finding


def key_policy(before: str, after: str, key_arn: str, account: str, role_arn: str) -> list[str]:
    """What the plan is to say of the key policy that it sends, besides what it changes.

    Raises ParameterError where the policy has an error that it has not had before.
    """
    from iamaccess.lint import Aim, lint_key_policy  # late: it reads data about AWS's services

    known = key_arn if key_arn.startswith("arn:") else None
    aim = Aim(key_arn=known, account=account, execution_role=role_arn)
    found = lint_key_policy(after, aim)
    if any(one.severity == "error" for one in found):
        _refuse("key policy", found, lint_key_policy(before, aim))
    return [f"The key policy, {_told(one)}" for one in found if one.severity != "note"]


def role_policy(text: str, key_arn: str, account: str) -> None:
    """Raise ParameterError where the role's policy has an error."""
    from iamaccess.lint import Aim, lint_role_policy  # late, as above

    known = key_arn if key_arn.startswith("arn:") else None
    found = lint_role_policy(text, Aim(key_arn=known, account=account)) if known else []
    _refuse("role's policy", found, [])


def _refuse(what: str, found: list[Finding], before: list[Finding]) -> None:
    errors = Counter(_same(one) for one in found if one.severity == "error")
    new = errors - Counter(_same(one) for one in before if one.severity == "error")
    for one in found:
        if _same(one) in new:
            raise ParameterError(f"The {what} would be wrong: {_told(one)}", one.mend)


def _same(one: Finding) -> tuple[str, str]:
    """What tells two findings apart, whatever their places."""
    return one.rule, one.why


def _told(one: Finding) -> str:
    place = f"{one.rule} at {one.pointer}" if one.pointer else one.rule
    return f"{place}: {one.why}"
