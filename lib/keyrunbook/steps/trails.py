"""Whether a trail keeps the events of KMS. Trails are read, and never changed.

A trail may leave KMS's events out, since there are so many: then neither its log files nor what
reads them has any. Event history has them whatever trails say, for 90 days.

Sources: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html
https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_EventSelector.html
https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_AdvancedFieldSelector.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from keyrunbook.aws.refusals import code_of
from keyrunbook.findings import Finding
from keyrunbook.records import KMS

if TYPE_CHECKING:
    from keyrunbook.session import Run

STATEMENT: Final = "A trail keeps the events of KMS"
REMAINS: Final = "Event history has KMS's events of the last 90 days, and then they are gone"

Selector = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trail:
    """A trail that covers the Region: whether it logs, and its selectors, of the one kind or other.

    `refused` is what AWS answered where it may not be read.
    """

    name: str
    logging: bool = False
    selectors: Sequence[Selector] = ()
    advanced: Sequence[Selector] = ()
    refused: str | None = None


def finding(run: Run) -> Finding:
    """Read the trails that cover the run's Region, and judge them."""
    cloudtrail = run.clients("cloudtrail")
    try:
        # Those of all Regions too, wherever they are at home.
        described = cloudtrail.describe_trails(includeShadowTrails=True)["trailList"]
    except ClientError as error:
        return Finding(STATEMENT, "not checked", _refusal("DescribeTrails", error))
    return judge([_read(run, one) for one in described])


def _read(run: Run, described: Mapping[str, Any]) -> Trail:
    """The trail, asked in its home Region: elsewhere it is a shadow."""
    client = run.clients("cloudtrail", described["HomeRegion"])
    name, arn = described["Name"], described["TrailARN"]
    reads: dict[str, Callable[[], Mapping[str, Any]]] = {
        "GetTrailStatus": lambda: client.get_trail_status(Name=arn),
        "GetEventSelectors": lambda: client.get_event_selectors(TrailName=arn),
    }
    answers: dict[str, Any] = {}
    for operation, read in reads.items():
        try:
            answers |= read()
        except ClientError as error:
            return Trail(name, refused=_refusal(operation, error))
    return Trail(
        name,
        answers["IsLogging"],
        answers.get("EventSelectors") or (),
        answers.get("AdvancedEventSelectors") or (),
    )


def _refusal(operation: str, error: ClientError) -> str:
    text = error.response["Error"].get("Message", "")
    return f"cloudtrail:{operation} was refused: {code_of(error)}: {text}"


def judge(trails: Sequence[Trail]) -> Finding:
    """The finding on the trails that cover a Region."""
    if not trails:
        return Finding(STATEMENT, "not checked", f"there is no trail; {REMAINS}")
    lacks = {trail.name: _lacks(trail) for trail in trails if trail.refused is None}
    keeping = [name for name, lack in lacks.items() if lack is None]
    if keeping:
        return Finding(STATEMENT, "pass", ", ".join(keeping))
    refused = next((trail for trail in trails if trail.refused is not None), None)
    if refused is not None:
        return Finding(STATEMENT, "not checked", f"{refused.name}: {refused.refused}")
    return Finding(
        STATEMENT,
        "fail",
        "; ".join(f"{name} {lack}" for name, lack in lacks.items()),
        f"{REMAINS}. To keep them, have a trail log, and select, KMS's management events.",
    )


def _lacks(trail: Trail) -> str | None:
    """Why a trail does not keep the events of KMS, the reading ones and the changing ones; or None.

    GenerateDataKey and Decrypt are reading ones.
    Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-management-events-with-cloudtrail.html
    """
    if not trail.logging:
        return "does not log"
    for reads in (True, False):
        if not any(_basic_selects(one, reads) for one in trail.selectors) and not any(
            _advanced_selects(one, reads) for one in trail.advanced
        ):
            kind = "reading" if reads else "changing"
            return f"does not select KMS's {kind} management events"
    return None


def _basic_selects(selector: Selector, reads: bool) -> bool:
    return (
        selector.get("IncludeManagementEvents", True)
        and selector.get("ReadWriteType", "All") in ("All", "ReadOnly" if reads else "WriteOnly")
        and KMS not in selector.get("ExcludeManagementEventSources", ())
    )


def _advanced_selects(selector: Selector, reads: bool) -> bool:
    """Whether an advanced selector surely selects them: a field that is not known may narrow it."""
    event = {
        "eventCategory": "Management",
        "eventSource": KMS,
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
