"""The emergency stop: the run's key is disabled, so that nobody can use it, and enabled again.

It breaks more than a revocation: every workflow under the key, every other use of it, for every
principal. It is undone at once, and loses nothing.
Source: https://docs.aws.amazon.com/kms/latest/developerguide/enabling-keys.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keyrunbook.errors import StepFailed
from keyrunbook.findings import Finding
from keyrunbook.plan import Change, Plan
from keyrunbook.steps import presence
from keyrunbook.steps.common import passed

if TYPE_CHECKING:
    from keyrunbook.session import Run


def observe(run: Run) -> dict[str, Any]:
    """KMS's metadata of the run's key.

    Raises StepFailed where there is none, or its state can be changed neither way.
    """
    key_arn = run.facts()["key_arn"]
    key = presence.key(run, key_arn)
    if key is None:
        raise StepFailed(f"There is no key {key_arn}.", "See what the run made: runbook show")
    if key["KeyState"] not in ("Enabled", "Disabled"):
        raise StepFailed(
            f"The key {key_arn} is in the state {key['KeyState']}: nobody can use it, and it can "
            "be neither disabled nor enabled.",
            "A deletion that is scheduled is cancelled by: aws kms cancel-key-deletion --key-id "
            f"{key['KeyId']}",
        )
    return key


def plan(run: Run, step: str, *, stop: bool) -> Plan:
    """Disable the key, or enable it; nothing where it is so already."""
    key = observe(run)
    if key["KeyState"] == ("Disabled" if stop else "Enabled"):
        return Plan(step)
    return Plan(step, (_disable(key["Arn"]) if stop else _enable(key["Arn"]),))


def _disable(key_arn: str) -> Change:
    return Change(
        "kms",
        "disable_key",
        {"KeyId": key_arn},
        why="emergency stop: nobody can use the key, whatever for",
        undo="EnableKey",
    )


def _enable(key_arn: str) -> Change:
    return Change(
        "kms",
        "enable_key",
        {"KeyId": key_arn},
        why="the emergency stop is over: who may use the key can use it again",
        undo="DisableKey",
    )


def finding(run: Run, *, stop: bool) -> Finding:
    """Whether the key is as it was asked to be, by a read."""
    key, wanted = observe(run), "Disabled" if stop else "Enabled"
    return passed(
        f"The key is {wanted.lower()}",
        key["KeyState"] == wanted,
        f"{key['Arn']}, state {key['KeyState']} (DescribeKey)",
        "KMS may take some seconds to show it: run the command again.",
    )
