"""Whether Macie is on, in each Region of an account. It looks at no bucket here.

Where it is off, GetMacieSession is refused as a missing permission is, with another text.
Sources: https://docs.aws.amazon.com/macie/latest/APIReference/macie.html,
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonmacie.html and, of the
text, https://github.com/prowler-cloud/prowler/issues/1279

UNCONFIRMED: the texts of EnableMacie where it is on, and what DisableMacie answers where it is off
(here as GetMacieSession).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from awssandbox.call import Access, Answer, Call, Operation
from awssandbox.errors import AwsError


@dataclass(slots=True)
class Macie:
    """Macie in one account and Region; `since` is None while it is off."""

    since: datetime | None = None
    updated: datetime | None = None
    status: str = "ENABLED"
    frequency: str = "FIFTEEN_MINUTES"


def _state(call: Call) -> Macie:
    return call.world.state(Macie, call.account, call.region)


def _access(call: Call) -> Sequence[Access]:
    where = f"arn:{call.world.partition}:macie2:{call.region}:{call.account}:*"
    return [Access(f"macie2:{call.operation}", where)]


def _on(call: Call) -> Macie:
    """Raises AwsError where it is off."""
    state = _state(call)
    if state.since is None:
        raise AwsError(
            "AccessDeniedException", "Macie is not enabled.", 403, record_code="AccessDenied"
        )
    return state


def _get(call: Call) -> Answer:
    state = _on(call)
    role = "aws-service-role/macie.amazonaws.com/AWSServiceRoleForAmazonMacie"
    return Answer(
        {
            "createdAt": state.since,
            "updatedAt": state.updated,
            "status": state.status,
            "findingPublishingFrequency": state.frequency,
            "serviceRole": f"arn:{call.world.partition}:iam::{call.account}:role/{role}",
        }
    )


def _enable(call: Call) -> Answer:
    state = _state(call)
    if state.since is not None:
        raise AwsError("ConflictException", "Macie has already been enabled", 409)
    state.since = call.time
    return _update(call)


def _update(call: Call) -> Answer:
    state = _on(call)
    state.updated = call.time
    state.status = call.parameters.get("status", state.status)
    state.frequency = call.parameters.get("findingPublishingFrequency", state.frequency)
    return Answer()


def _disable(call: Call) -> Answer:
    _on(call)
    state = _state(call)
    state.since, state.status, state.frequency = None, "ENABLED", "FIFTEEN_MINUTES"
    return Answer()


OPERATIONS: Final[Mapping[str, Operation]] = {
    "GetMacieSession": Operation(_get, _access, read_only=True),
    "EnableMacie": Operation(_enable, _access, read_only=False),
    "UpdateMacieSession": Operation(_update, _access, read_only=False),
    "DisableMacie": Operation(_disable, _access, read_only=False),
}
