"""Which records a trail takes: its Regions, global services, and event selectors.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_EventSelector.html and
https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_AdvancedFieldSelector.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from awssandbox.moto_trails import Selector, TrailState

DEFAULT_SELECTOR: Final[Selector] = {
    "ReadWriteType": "All",
    "IncludeManagementEvents": True,
    "DataResources": [],
    "ExcludeManagementEventSources": [],
}
"""What a trail has until it is told otherwise."""

_GLOBAL_SOURCES: Final = frozenset({"iam.amazonaws.com"})
"""Sources of global service events. Of STS only the global endpoint is one; none is served here.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-concepts.html
"""
_READS: Final[Mapping[str, frozenset[bool]]] = {
    "All": frozenset({True, False}),
    "ReadOnly": frozenset({True}),
    "WriteOnly": frozenset({False}),
}


def takes(trail: TrailState, region: str, record: Mapping[str, Any]) -> bool:
    """Whether a trail that logs is to have a management event's record of a Region."""
    if region != trail.home_region and not trail.multi_region:
        return False
    if record["eventSource"] in _GLOBAL_SOURCES and not trail.shown["IncludeGlobalServiceEvents"]:
        return False
    if trail.advanced:
        return any(_advanced(selector, record) for selector in trail.advanced)
    return any(_basic(selector, record) for selector in trail.selectors or (DEFAULT_SELECTOR,))


def _basic(selector: Selector, record: Mapping[str, Any]) -> bool:
    return (
        selector["IncludeManagementEvents"]
        and record["readOnly"] in _READS[selector["ReadWriteType"]]
        and record["eventSource"] not in selector["ExcludeManagementEventSources"]
    )


def _advanced(selector: Selector, record: Mapping[str, Any]) -> bool:
    """All fields of a selector hold. Of management events there are these three."""
    fields = {one["Field"]: one for one in selector["FieldSelectors"]}
    if fields["eventCategory"]["Equals"] != ["Management"]:
        return False
    read_only = fields.get("readOnly")
    if read_only is not None and read_only["Equals"] != [str(record["readOnly"]).lower()]:
        return False
    source = fields.get("eventSource")
    return source is None or record["eventSource"] not in source["NotEquals"]
