"""LookupEvents: ninety days of an account's management events in one Region, newest first.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html and
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from awssandbox.call import Access, Answer, Call, Operation
from awssandbox.cloudtrail import errors
from awssandbox.errors import not_imitated
from awssandbox.records import Entry, derived

CALLS_PER_SECOND: Final = 2
MAXIMUM_PAGE: Final = 50
LONGEST_VALUE: Final = 2000
REACH: Final = timedelta(days=90)

_CHANGES_A_KEY: Final = frozenset(
    {
        *("CancelKeyDeletion", "CreateAlias", "CreateGrant", "CreateKey", "DeleteAlias"),
        *("DisableKey", "DisableKeyRotation", "EnableKey", "EnableKeyRotation", "PutKeyPolicy"),
        *("RetireGrant", "RevokeGrant", "ScheduleKeyDeletion", "TagResource", "UntagResource"),
        *("UpdateAlias", "UpdateKeyDescription"),
    }
)
"""KMS's operations that look-ups by resource find; not those that use or read a key.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/logging-using-cloudtrail.html
"""


class Rate:
    """The times of an account's last calls in a Region, in seconds of a clock that only goes up."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=CALLS_PER_SECOND)

    def admits(self, now_s: float) -> bool:
        """Whether one more call is within the rate; it is counted when it is."""
        if len(self._last) == CALLS_PER_SECOND and now_s - self._last[0] < 1.0:
            return False
        self._last.append(now_s)
        return True


def _access(call: Call) -> Sequence[Access]:
    """Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscloudtrail.html"""
    return [Access("cloudtrail:LookupEvents")]


def _lookup(call: Call) -> Answer:
    """One page of events.

    Raises AwsError: throttling above two calls a second, and the operation's own errors.
    """
    # Real time, whatever the sandbox's clock: so that its clients are as patient as with AWS.
    if not call.world.state(Rate, call.account, call.region).admits(time.monotonic()):
        raise errors.throttled()
    asked = call.parameters
    category = asked.get("EventCategory")
    if category == "insight":
        raise not_imitated("CloudTrail Insights events")
    if category is not None:
        raise errors.invalid_category(category)
    size = asked.get("MaxResults", MAXIMUM_PAGE)
    if not 1 <= size <= MAXIMUM_PAGE:
        raise errors.invalid_max_results()
    matches = _matcher(asked.get("LookupAttributes") or ())
    now = call.world.clock.now()
    since, until = _window(asked, now)
    bound = _fingerprint(asked)
    last = _read_token(asked.get("NextToken"), bound)
    found = [
        entry
        for entry in call.world.trail.entries(call.account, call.region)
        if entry.visible <= now
        and since <= entry.time <= until
        and (last is None or _place(entry) < last)
        and matches(entry)
    ]
    found.sort(key=_place, reverse=True)
    output: dict[str, Any] = {"Events": [_event(entry) for entry in found[:size]]}
    if len(found) > size:
        output["NextToken"] = _token(bound, _place(found[size - 1]))
    return Answer(output, record_request=derived(call))


def _window(asked: Mapping[str, Any], now: datetime) -> tuple[datetime, datetime]:
    since, until = asked.get("StartTime"), asked.get("EndTime")
    if since is not None and until is not None and since > until:
        raise errors.invalid_time_range()
    reach = now - REACH
    return max(since, reach) if since is not None else reach, until if until is not None else now


def _place(entry: Entry) -> tuple[float, int]:
    return entry.time.timestamp(), entry.number


def _matcher(attributes: Sequence[Mapping[str, str]]) -> Callable[[Entry], bool]:
    if not attributes:
        return lambda entry: True
    if len(attributes) > 1:
        raise errors.invalid_attributes("the list can contain only one item")
    key, value = attributes[0]["AttributeKey"], attributes[0]["AttributeValue"]
    read = _ATTRIBUTES.get(key)
    if read is None:
        raise errors.invalid_attributes(f"there is no key {key}")
    if not 1 <= len(value) <= LONGEST_VALUE:
        raise errors.invalid_attributes(f"a value has 1 to {LONGEST_VALUE} characters")
    return lambda entry: value in read(entry)


def _resources(entry: Entry) -> list[dict[str, str]]:
    """The resources that look-ups show, which KMS fills for calls that change a key only."""
    record = entry.record
    if record["eventSource"] == "kms.amazonaws.com" and record["eventName"] not in _CHANGES_A_KEY:
        return []
    return [
        {"ResourceType": one["type"], "ResourceName": one["ARN"]}
        for one in record.get("resources", ())
    ]


def _access_key(entry: Entry) -> str | None:
    key: str | None = entry.record["userIdentity"].get("accessKeyId")
    return key


_ATTRIBUTES: Final[Mapping[str, Callable[[Entry], Sequence[str | None]]]] = {
    "EventId": lambda entry: (entry.record["eventID"],),
    "EventName": lambda entry: (entry.record["eventName"],),
    "ReadOnly": lambda entry: (_read_only(entry),),
    "Username": lambda entry: (entry.user_name,),
    "ResourceType": lambda entry: [one["ResourceType"] for one in _resources(entry)],
    "ResourceName": lambda entry: [one["ResourceName"] for one in _resources(entry)],
    "EventSource": lambda entry: (entry.record["eventSource"],),
    "AccessKeyId": lambda entry: (_access_key(entry),),
}


def _read_only(entry: Entry) -> str:
    return "true" if entry.record["readOnly"] else "false"


def _event(entry: Entry) -> dict[str, Any]:
    record = entry.record
    event = {
        "EventId": record["eventID"],
        "EventName": record["eventName"],
        "ReadOnly": _read_only(entry),
        "AccessKeyId": _access_key(entry),
        "EventTime": entry.time,
        "EventSource": record["eventSource"],
        "Username": entry.user_name,
        "Resources": _resources(entry),
        "CloudTrailEvent": json.dumps(record, ensure_ascii=False),
    }
    return {name: value for name, value in event.items() if value is not None}


def _fingerprint(asked: Mapping[str, Any]) -> str:
    """What a token is bound to: every parameter but itself."""
    fixed = {name: value for name, value in asked.items() if name != "NextToken"}
    text = json.dumps(fixed, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _token(bound: str, place: tuple[float, int]) -> str:
    return base64.urlsafe_b64encode(f"{bound}:{place[0]:.0f}:{place[1]}".encode()).decode()


def _read_token(token: str | None, bound: str) -> tuple[float, int] | None:
    if token is None:
        return None
    try:
        text = base64.urlsafe_b64decode(token.encode()).decode()
    except ValueError:
        raise errors.invalid_token() from None
    match = re.fullmatch(rf"{bound}:(\d{{1,12}}):(\d{{1,12}})", text)
    if match is None:
        raise errors.invalid_token()
    return float(match[1]), int(match[2])


OPERATIONS: Final[Mapping[str, Operation]] = {
    "LookupEvents": Operation(_lookup, _access, read_only=True),
}
