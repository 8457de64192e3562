"""Automatic rotation of key material.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from awssandbox.call import Access, Answer, Operation
from awssandbox.kms import checks, errors
from awssandbox.kms.conditions import key_access
from awssandbox.kms.lookup import Found, find_for
from awssandbox.kms.operation import key_operation
from awssandbox.kms.state import DEFAULT_ROTATION_DAYS, PENDING, Rotation

if TYPE_CHECKING:
    from awssandbox.call import Call

MIN_PERIOD_DAYS: Final = 90
MAX_PERIOD_DAYS: Final = 2560


def _period_days(call: Call) -> int:
    """The rotation period: 90 to 2,560 days, 365 by default.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html
    """
    days = checks.within(call, "RotationPeriodInDays", MIN_PERIOD_DAYS, MAX_PERIOD_DAYS)
    return DEFAULT_ROTATION_DAYS if days is None else days


def _enable_access(call: Call) -> Sequence[Access]:
    context = {"kms:RotationPeriodInDays": str(_period_days(call))}
    return [key_access(call, find_for(call), context)]


def _enable(call: Call, found: Found) -> Answer:
    """Start automatic rotation, or change its period: counted from now.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html
    """
    days = _period_days(call)
    _refuse_replica(found)
    found.key.rotation = Rotation(days, call.time + timedelta(days=days))
    return Answer(record_response={"keyId": found.key.arn})


def _refuse_replica(found: Found) -> None:
    """The rotation of a family of multi-Region keys is set on its primary key.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html
    """
    if found.key.lead is not found.key:
        raise errors.of_primary(found.key.arn)


def _disable(call: Call, found: Found) -> Answer:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_DisableKeyRotation.html"""
    _refuse_replica(found)
    found.key.rotation = None
    return Answer()


def _status(call: Call, found: Found) -> Answer:
    """Whether and how often; false while the key waits for deletion.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyRotationStatus.html
    """
    key, rotation = found.key, found.key.lead.rotation
    if rotation is None or key.state in PENDING:
        return Answer({"KeyId": key.arn, "KeyRotationEnabled": False})
    output: dict[str, Any] = {
        "KeyId": key.arn,
        "KeyRotationEnabled": True,
        "RotationPeriodInDays": rotation.period_days,
    }
    if key.state == "Enabled":
        output["NextRotationDate"] = rotation.next_at
    return Answer(output)


OPERATIONS: Final[Mapping[str, Operation]] = {
    "EnableKeyRotation": key_operation(
        _enable, parameters=("KeyId", "RotationPeriodInDays"), access=_enable_access
    ),
    "DisableKeyRotation": key_operation(_disable, parameters=("KeyId",)),
    "GetKeyRotationStatus": key_operation(
        _status, parameters=("KeyId",), read_only=True, cross_account=True
    ),
}
