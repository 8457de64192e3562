"""Trails: where they deliver their log files, and which events they select. Never changed here.

A trail may leave KMS's events out, since there are so many: then neither its log files nor what
reads them has any. Event history has them whatever trails say, for 90 days.

Sources: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html
https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_EventSelector.html
https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_AdvancedFieldSelector.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from botocore.exceptions import ClientError

from keyrunbook.aws.clients import Clients
from keyrunbook.aws.refusals import code_of
from keyrunbook.records import IMAGE_BUILDER, KMS

Selector = Mapping[str, Any]

NAMES: Final[Mapping[str, str]] = {KMS: "KMS", IMAGE_BUILDER: "Image Builder"}


@dataclass(frozen=True, slots=True)
class Trail:
    """A trail that covers the Region: whether it logs, and its selectors, of the one kind or other.

    `refused` is what AWS answered where it may not be read. `started` is when it was last told to
    log, `stopped` when to stop; None where AWS names no time.
    """

    name: str
    logging: bool = False
    selectors: Sequence[Selector] = ()
    advanced: Sequence[Selector] = ()
    refused: str | None = None
    arn: str = ""
    bucket: str = ""
    prefix: str = ""
    started: datetime | None = None
    stopped: datetime | None = None
    all_regions: bool = False
    validated: bool = False
    key: str | None = None
    """The ARN of the KMS key that its log files are under; None: S3's own key."""


def read_trails(clients: Clients, region: str | None = None) -> list[Trail]:
    """The trails that cover a Region, or the clients': those of all Regions too, wherever at home.

    Raises ClientError where AWS refuses to describe them.
    """
    described = clients("cloudtrail", region).describe_trails(includeShadowTrails=True)["trailList"]
    return [_read(clients, one) for one in described]


def _read(clients: Clients, described: Mapping[str, Any]) -> Trail:
    """The trail, asked in its home Region: elsewhere it is a shadow."""
    client = clients("cloudtrail", described["HomeRegion"])
    name, arn = described["Name"], described["TrailARN"]
    where: dict[str, Any] = {
        "arn": arn,
        "bucket": described.get("S3BucketName", ""),
        "prefix": described.get("S3KeyPrefix", ""),
        "all_regions": described.get("IsMultiRegionTrail", False),
        "validated": described.get("LogFileValidationEnabled", False),
        "key": described.get("KmsKeyId"),
    }
    reads: dict[str, Callable[[], Mapping[str, Any]]] = {
        "GetTrailStatus": lambda: client.get_trail_status(Name=arn),
        "GetEventSelectors": lambda: client.get_event_selectors(TrailName=arn),
    }
    answers: dict[str, Any] = {}
    for operation, read in reads.items():
        try:
            answers |= read()
        except ClientError as error:
            return Trail(name, refused=refusal(operation, error), **where)
    return Trail(
        name,
        answers["IsLogging"],
        answers.get("EventSelectors") or (),
        answers.get("AdvancedEventSelectors") or (),
        started=answers.get("StartLoggingTime"),
        stopped=answers.get("StopLoggingTime"),
        **where,
    )


def refusal(operation: str, error: ClientError) -> str:
    """What AWS answered to a call of CloudTrail's, in words."""
    text = error.response["Error"].get("Message", "")
    return f"cloudtrail:{operation} was refused: {code_of(error)}: {text}"


def selects(trail: Trail, source: str, *, reads: bool) -> bool:
    """Whether a trail surely selects a service's management events: the reading or changing ones.

    GenerateDataKey, Decrypt and GetWorkflow are reading ones.
    Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-management-events-with-cloudtrail.html
    """
    return any(_basic_selects(one, source, reads) for one in trail.selectors) or any(
        _advanced_selects(one, source, reads) for one in trail.advanced
    )


def lacks(trail: Trail, source: str, *, kinds: Sequence[bool] = (True, False)) -> str | None:
    """Why a trail does not keep a service's events, those that read (True) or change; or None."""
    if not trail.logging:
        return "does not log"
    for reads in kinds:
        if not selects(trail, source, reads=reads):
            kind = "reading" if reads else "changing"
            return f"does not select {NAMES[source]}'s {kind} management events"
    return None


def _basic_selects(selector: Selector, source: str, reads: bool) -> bool:
    return (
        selector.get("IncludeManagementEvents", True)
        and selector.get("ReadWriteType", "All") in ("All", "ReadOnly" if reads else "WriteOnly")
        and source not in selector.get("ExcludeManagementEventSources", ())
    )


def _advanced_selects(selector: Selector, source: str, reads: bool) -> bool:
    """Whether an advanced selector surely selects them: a field that is not known may narrow it."""
    event = {
        "eventCategory": "Management",
        "eventSource": source,
        "readOnly": "true" if reads else "false",
    }
    return all(
        field["Field"] in event and _field_selects(field, event[field["Field"]])
        for field in selector["FieldSelectors"]
    )


_OPERATORS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "Equals": str.__eq__,
    "StartsWith": str.startswith,
    "EndsWith": str.endswith,
}


def _field_selects(field: Selector, value: str) -> bool:
    """Any value of a positive operator matches, and none of a negative one."""
    for name, matches in _OPERATORS.items():
        if name in field and not any(matches(value, one) for one in field[name]):
            return False
        if any(matches(value, one) for one in field.get(f"Not{name}", ())):
            return False
    return True
