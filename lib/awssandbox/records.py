"""CloudTrail's records: one for each call, in the form in which CloudTrail documents it.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
and, of services that call for their callers,
https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html
"""

from __future__ import annotations

import uuid
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from awssandbox.call import DERIVED, Answer, Call, Caller, Operation, Resource
from awssandbox.errors import AwsError
from awssandbox.faults import RECORD_NEVER, RECORD_TWICE
from awssandbox.services import SIGNS_AS

if TYPE_CHECKING:
    from awssandbox.faults import Faults
    from awssandbox.world import World

EVENT_VERSION: Final = "1.11"
_LONGEST: Final = 1024
"""Characters of errorCode, errorMessage and userAgent, which CloudTrail cuts there."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as one account's CloudTrail has it; `number` counts in order of arrival."""

    number: int
    record: Mapping[str, Any]
    time: datetime
    visible: datetime
    user_name: str | None


class Trail:
    """The records of every account and Region of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._entries: dict[tuple[str, str], list[Entry]] = {}
        self._count = 0

    def entries(self, account: str, region: str) -> Sequence[Entry]:
        """The records of an account and Region, in order of arrival."""
        return self._entries.get((account, region), ())

    def since(self, number: int) -> Iterator[tuple[str, str, Entry]]:
        """Account, Region and entry of what arrived after entry `number`; in each in order."""
        for (account, region), entries in self._entries.items():
            for entry in entries[bisect_right(entries, number, key=attrgetter("number")) :]:
                yield account, region, entry

    def served(self, call: Call, operation: Operation, answer: Answer) -> None:
        """Record a call that was answered."""
        record = self._record(call, operation, answer.resources)
        request = answer.record_request
        record["requestParameters"] = derived(call) if request is DERIVED else request
        record["responseElements"] = answer.record_response
        self._keep(call, {**record, **answer.record_extra}, answer.resources)

    def refused(self, call: Call, operation: Operation, error: AwsError) -> None:
        """Record a call that was refused.

        A refused permission is recorded without request parameters, as in the samples of other
        services; AWS publishes no sample of KMS's own. Other refusals keep them, as in
        https://docs.aws.amazon.com/kms/latest/developerguide/ct-decrypt.html.
        """
        resources = operation.refused_resources(call) if operation.refused_resources else ()
        record = self._record(call, operation, resources)
        code = error.record_code or error.code
        record["errorCode"] = code[:_LONGEST]
        record["errorMessage"] = error.message[:_LONGEST]
        record["requestParameters"] = None
        if code != "AccessDenied":
            asked = operation.refused_request(call) if operation.refused_request else DERIVED
            record["requestParameters"] = derived(call) if asked is DERIVED else asked
        self._keep(call, record, ())

    def _record(
        self, call: Call, operation: Operation, resources: Sequence[Resource]
    ) -> dict[str, Any]:
        caller = call.caller
        record: dict[str, Any] = {
            "eventVersion": EVENT_VERSION,
            "userIdentity": _identity(caller, call.time),
            "eventTime": _timestamp(call.time),
            "eventSource": f"{SIGNS_AS.get(call.service, call.service)}.amazonaws.com",
            "eventName": call.operation,
            "awsRegion": call.region,
            "sourceIPAddress": caller.invoked_by or caller.source_ip,
            "userAgent": caller.invoked_by or caller.user_agent[:_LONGEST],
            "requestParameters": None,
            "responseElements": None,
            "requestID": call.request_id,
            "eventID": str(uuid.uuid4()),
            "readOnly": operation.read_only,
            "eventType": "AwsApiCall",
            "managementEvent": True,
            "recipientAccountId": caller.account,
            "eventCategory": "Management",
        }
        if resources:
            record["resources"] = [
                {"accountId": one.account, "type": one.type, "ARN": one.arn} for one in resources
            ]
        return record

    def _keep(self, call: Call, record: Mapping[str, Any], resources: Sequence[Resource]) -> None:
        """Keep a record in the caller's account and, of a served call, in the resources' owners'.

        A call that was refused is recorded in the caller's account only.
        Source: https://docs.aws.amazon.com/kms/latest/developerguide/logging-using-cloudtrail.html
        """
        owners = sorted({one.account for one in resources} - {call.account})
        shared = {"sharedEventID": str(uuid.uuid4())} if owners else {}
        late_s, copies = 0.0, 1
        if self._world.faults is not None:
            late_s, copies = _fault(self._world.faults, call)
        for account in (call.account, *owners) * copies:
            own = {} if account == call.account else {"eventID": str(uuid.uuid4())}
            mine = {**record, **own, "recipientAccountId": account, **shared}
            self._add(call, account, mine, late_s)

    def _add(self, call: Call, account: str, record: Mapping[str, Any], late_s: float) -> None:
        self._count += 1
        time = call.time.replace(microsecond=0)
        visible = call.time + timedelta(seconds=self._world.event_delay_s + late_s)
        entries = self._entries.setdefault((account, call.region), [])
        entries.append(Entry(self._count, record, time, visible, _user_name(call.caller)))


def _fault(faults: Faults, call: Call) -> tuple[float, int]:
    """By how many seconds a call's record is late, and how many of it there are.

    A record that comes twice is the same, its event id too: CloudTrail delivers at least once.
    """
    rule = faults.of_record(call.service, call.operation)
    if rule is None:
        return 0.0, 1
    return rule.seconds, {RECORD_TWICE: 2, RECORD_NEVER: 0}.get(rule.fault, 1)


def derived(call: Call) -> Mapping[str, Any] | None:
    """A call's parameters as CloudTrail writes them: names in lowerCamelCase, times as text.

    None for a call without parameters.
    """
    written: Mapping[str, Any] = _written(call.parameters)
    return written or None


def _written(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name[:1].lower() + name[1:]: _written(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_written(item) for item in value]
    if isinstance(value, datetime):
        return _timestamp(value)
    return value


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_TYPES: Final[Mapping[str, str]] = {
    "root": "Root",
    "user": "IAMUser",
    "session": "AssumedRole",
    "service": "AWSService",
}


def _identity(caller: Caller, time: datetime) -> dict[str, Any]:
    """The ``userIdentity`` of a caller.

    Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
    """
    principal = caller.principal
    if principal.kind == "service":
        return {"type": "AWSService", "invokedBy": principal.arn}
    identity: dict[str, Any] = {
        "type": _TYPES[principal.kind],
        "principalId": caller.principal_id,
        "arn": principal.arn,
        "accountId": caller.account,
        "accessKeyId": caller.access_key_id,
    }
    if principal.kind == "user":
        identity["userName"] = caller.user_name
    if caller.session_issuer is not None or caller.session_created is not None:
        identity["sessionContext"] = {
            "sessionIssuer": dict(caller.session_issuer or {}),
            "webIdFederationData": {},
            "attributes": _attributes(caller.session_created or time, caller.mfa),
        }
    elif caller.invoked_by is not None:
        # A forward access session of long-term credentials is a session without an issuer.
        identity["sessionContext"] = {"attributes": _attributes(time)}
    if caller.invoked_by is not None:
        identity["invokedBy"] = caller.invoked_by
    return identity


def _attributes(created: datetime, mfa: bool | None = None) -> dict[str, str]:
    return {"creationDate": _timestamp(created), "mfaAuthenticated": str(bool(mfa)).lower()}


def _user_name(caller: Caller) -> str | None:
    """What LookupEvents calls ``Username``: a user's name, or a session's.

    UNCONFIRMED for sessions: the model says "user name or role name", practice shows the session's.
    """
    if caller.principal.kind == "session":
        return caller.principal.arn.rsplit("/", 1)[-1]
    return "root" if caller.principal.kind == "root" else caller.user_name
