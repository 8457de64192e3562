"""Trails: their configuration, and how their delivery stands.

A trail lives in its home Region; one of all Regions is seen from each as a shadow trail, and
changed at home only. New trails do not log until StartLogging.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_CreateTrail.html, the
pages of the other operations, and
https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscloudtrail.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from iamaccess import ContextValue

from awssandbox.call import Access, Answer, Call, Operation, Resource
from awssandbox.cloudtrail import errors
from awssandbox.cloudtrail.files import folder
from awssandbox.cloudtrail.selection import DEFAULT_SELECTOR
from awssandbox.cloudtrail.writing import may_check, may_write
from awssandbox.errors import not_imitated
from awssandbox.moto_trails import Selector, TrailState
from awssandbox.records import derived

TRAILS_PER_REGION: Final = 5
"""Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/WhatIsCloudTrail-Limits.html"""
SELECTORS: Final = 5
EXCLUDABLE: Final = ("kms.amazonaws.com", "rdsdata.amazonaws.com")

_ARN: Final = re.compile(r"arn:[a-z-]+:cloudtrail:([a-z0-9-]+):(\d{12}):trail/(.+)")
_CONFIGURED: Final = frozenset(
    {
        *("Name", "S3BucketName", "S3KeyPrefix", "IncludeGlobalServiceEvents"),
        *("IsMultiRegionTrail", "EnableLogFileValidation", "TagsList"),
    }
)
"""The parameters of CreateTrail and UpdateTrail that are imitated."""


# --- which trail, and who may ---------------------------------------------------------------------


def _arn(call: Call, name: str) -> str:
    """The ARN of the trail that a call names: by its ARN, or by its name in the call's Region."""
    if name.startswith("arn:"):
        return name
    return f"arn:{call.world.partition}:cloudtrail:{call.region}:{call.account}:trail/{name}"


def _on_trail(member: str) -> Callable[[Call], Sequence[Access]]:
    def access(call: Call) -> Sequence[Access]:
        return [_access(call, call.parameters[member])]

    return access


def _access(call: Call, name: str, action: str | None = None) -> Access:
    arn = _arn(call, name)
    trail = next((one for one in call.world.trails.of(call.account) if one.arn == arn), None)
    tags = {} if trail is None else trail.tags
    context: dict[str, ContextValue] = {f"aws:ResourceTag/{k}": v for k, v in tags.items()}
    return Access(f"cloudtrail:{action or call.operation}", arn, {**context, **_asked_tags(call)})


def _asked_tags(call: Call) -> dict[str, ContextValue]:
    tags = {tag["Key"]: tag.get("Value", "") for tag in call.parameters.get("TagsList", ())}
    keys: dict[str, ContextValue] = {f"aws:RequestTag/{key}": text for key, text in tags.items()}
    return keys | ({"aws:TagKeys": tuple(sorted(tags))} if tags else {})


def _create_access(call: Call) -> Sequence[Access]:
    """UNCONFIRMED: that tags take cloudtrail:AddTags too."""
    _check_imitated(call)
    name = call.parameters["Name"]
    tagged = [_access(call, name, "AddTags")] if call.parameters.get("TagsList") else []
    return [_access(call, name), *tagged]


def _update_access(call: Call) -> Sequence[Access]:
    _check_imitated(call)
    return [_access(call, call.parameters["Name"])]


def _check_imitated(call: Call) -> None:
    for name in sorted(call.parameters.keys() - _CONFIGURED):
        if call.parameters[name]:  # false, as of an organization's trail, asks for nothing
            raise not_imitated(f"{call.operation} with {name}")


def _list_access(call: Call) -> Sequence[Access]:
    return [Access(f"cloudtrail:{call.operation}")]


def _tags_access(call: Call) -> Sequence[Access]:
    return [_access(call, arn) for arn in call.parameters["ResourceIdList"]]


def _found(call: Call, name: str) -> TrailState:
    """The trail of this ARN, or of this name in the call's Region.

    Raises TrailNotFoundException.
    """
    arn = _arn(call, name)
    for trail in call.world.trails.of(call.account):
        if trail.arn == arn:
            return trail
    raise errors.trail_not_found(name, call.account)


def _at_home(call: Call, name: str) -> TrailState:
    """The trail, which is changed in its home Region only. Raises InvalidHomeRegionException."""
    trail = _found(call, name)
    if trail.home_region != call.region:
        raise errors.invalid_home_region(trail.name, trail.home_region)
    return trail


# --- making, changing, deleting -------------------------------------------------------------------


def _create(call: Call) -> Answer:
    given = call.parameters
    there = [one for one in call.world.trails.of(call.account) if one.home_region == call.region]
    if any(one.name == given["Name"] for one in there):
        raise errors.trail_exists(given["Name"], call.account)
    if len(there) >= TRAILS_PER_REGION:
        raise errors.too_many_trails(call.account)
    arn = _arn(call, given["Name"])
    _check_bucket(call, arn, given["S3BucketName"], given.get("S3KeyPrefix"))
    call.world.trails.run(call.account, call.region, "CreateTrail", _imitated(given))
    return _described(call, arn)


def _imitated(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name in _CONFIGURED}


def _described(call: Call, arn: str) -> Answer:
    shown = _found(call, arn).shown
    left_out = ("HomeRegion", "HasCustomEventSelectors", "HasInsightSelectors")
    output = {name: value for name, value in shown.items() if name not in left_out}
    recorded = {name[:1].lower() + name[1:]: value for name, value in output.items()}
    return _recorded(call, output, recorded)


def _recorded(
    call: Call, output: Mapping[str, Any], response: Mapping[str, Any] | None = None
) -> Answer:
    name = call.parameters.get("Name") or call.parameters.get("TrailName")
    arn = _arn(call, name or call.parameters.get("ResourceId", ""))
    return Answer(
        output,
        (Resource(arn, "AWS::CloudTrail::Trail", call.account),),
        record_request=derived(call),
        record_response=response,
    )


def _check_bucket(call: Call, trail_arn: str, name: str, prefix: str | None) -> None:
    """The bucket is there, and its policy lets CloudTrail write: of any account."""
    bucket = call.world.buckets.find(name)
    if bucket is None:
        raise errors.no_bucket(name)
    key = f"{folder(prefix, call.account, call.region)}/1.json.gz"
    checks = may_check(call.world, bucket, trail_arn, call.account)
    if not (checks and may_write(call.world, bucket, key, trail_arn, call.account)):
        raise errors.bucket_policy(name)


def _update(call: Call) -> Answer:
    trail = _at_home(call, call.parameters["Name"])
    given = _imitated(call.parameters) | {"Name": trail.name}
    shown = trail.shown
    bucket = given.get("S3BucketName", shown["S3BucketName"])
    _check_bucket(call, trail.arn, bucket, given.get("S3KeyPrefix", shown.get("S3KeyPrefix")))
    multi = given.get("IsMultiRegionTrail", trail.multi_region)
    if multi and not given.get("IncludeGlobalServiceEvents", shown["IncludeGlobalServiceEvents"]):
        raise errors.combination("Multi-Region trail must include global service events.")
    call.world.trails.run(call.account, call.region, "UpdateTrail", given)
    return _described(call, trail.arn)


def _change(call: Call) -> Answer:
    """StartLogging, StopLogging, DeleteTrail: nothing but the trail's name goes in."""
    trail = _at_home(call, call.parameters["Name"])
    call.world.trails.run(call.account, call.region, call.operation, {"Name": trail.name})
    return _recorded(call, {})


# --- reading --------------------------------------------------------------------------------------


def _describe(call: Call) -> Answer:
    """The trails of the Region and, unless told otherwise, those of all Regions.

    Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_DescribeTrails.html
    """
    shadows = call.parameters.get("includeShadowTrails", True)
    names = call.parameters.get("trailNameList") or ()
    wanted = {_arn(call, name) for name in names}
    trails = [
        trail
        for trail in call.world.trails.of(call.account)
        if (trail.home_region == call.region or (shadows and trail.multi_region))
        and (not names or trail.arn in wanted or trail.name in names)
    ]
    return Answer({"trailList": [dict(trail.shown) for trail in trails]})


def _get(call: Call) -> Answer:
    return _recorded(call, {"Trail": dict(_found(call, call.parameters["Name"]).shown)})


def _list(call: Call) -> Answer:
    """Every trail of the account, on one page: there are at most five in each Region."""
    if call.parameters.get("NextToken"):
        raise errors.invalid_token()
    return Answer(
        {
            "Trails": [
                {"TrailARN": one.arn, "Name": one.name, "HomeRegion": one.home_region}
                for one in call.world.trails.of(call.account)
            ]
        }
    )


def _status(call: Call) -> Answer:
    """Whether the trail logs, and what it delivered in the call's Region.

    Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_GetTrailStatus.html
    """
    trail = _found(call, call.parameters["Name"])
    place = call.world.trails.delivery.place(trail.arn, call.region)
    output: dict[str, Any] = {"IsLogging": trail.logging}
    for verb, key, moment in (
        ("Start", "Started", trail.started),
        ("Stop", "Stopped", trail.stopped),
    ):
        if moment is not None:
            output[f"{verb}LoggingTime"] = moment
            output[f"TimeLogging{key}"] = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    delivered = {
        "LatestDeliveryTime": place.delivered,
        "LatestDeliveryError": place.error,
        "LatestDigestDeliveryTime": place.digest_delivered,
        "LatestDigestDeliveryError": place.digest_error,
    }
    output |= {name: value for name, value in delivered.items() if value is not None}
    return _recorded(call, output)


# --- selectors ------------------------------------------------------------------------------------


def _put_selectors(call: Call) -> Answer:
    """Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_PutEventSelectors.html"""
    given = call.parameters
    trail = _at_home(call, given["TrailName"])
    basic, advanced = given.get("EventSelectors"), given.get("AdvancedEventSelectors")
    if (basic is None) == (advanced is None):
        raise errors.invalid_selectors("give either EventSelectors or AdvancedEventSelectors")
    asked: dict[str, Any] = {"TrailName": trail.name}
    if basic is not None:
        asked["EventSelectors"] = [_whole(selector) for selector in basic]
        _check_basic(asked["EventSelectors"])
    else:
        asked["AdvancedEventSelectors"] = advanced or []
        _check_advanced(asked["AdvancedEventSelectors"])
    call.world.trails.run(call.account, call.region, "PutEventSelectors", asked)
    output = {"TrailARN": trail.arn, **{k: v for k, v in asked.items() if k != "TrailName"}}
    return _recorded(call, output, None)


def _whole(selector: Selector) -> Selector:
    return {**DEFAULT_SELECTOR, **selector}


def _check_basic(selectors: Sequence[Selector]) -> None:
    if not 1 <= len(selectors) <= SELECTORS:
        raise errors.invalid_selectors(f"a trail has 1 to {SELECTORS} event selectors")
    for selector in selectors:
        excluded = selector["ExcludeManagementEventSources"]
        wrong = [source for source in excluded if source not in EXCLUDABLE]
        if wrong:
            raise errors.invalid_selectors(f"{wrong[0]} cannot be excluded")
        if excluded and not selector["IncludeManagementEvents"]:
            raise errors.invalid_selectors("sources are excluded of no management events")
        if not selector["IncludeManagementEvents"] and not selector["DataResources"]:
            raise errors.invalid_selectors("a selector selects nothing")


def _check_advanced(selectors: Sequence[Selector]) -> None:
    """Each says which category of events it is about; of management events little can be said.

    Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_AdvancedFieldSelector.html
    """
    if not selectors:
        raise errors.invalid_selectors("there is no selector")
    for selector in selectors:
        fields = {one["Field"]: one for one in selector["FieldSelectors"]}
        category = fields.get("eventCategory", {}).get("Equals", [])
        if category not in (["Management"], ["Data"], ["NetworkActivity"]):
            raise errors.invalid_selectors("eventCategory is required, and has one Equals value")
        if category != ["Management"]:
            continue
        for name in fields.keys() - {"eventCategory", "eventSource", "readOnly"}:
            raise errors.invalid_selectors(f"management events are not selected by {name}")
        sources = fields.get("eventSource")
        if sources is not None:
            operators = sources.keys() - {"Field"}
            if operators != {"NotEquals"} or not set(sources["NotEquals"]) <= set(EXCLUDABLE):
                raise errors.invalid_selectors(
                    f"eventSource can be NotEquals {' or '.join(EXCLUDABLE)}"
                )
        reads = fields.get("readOnly", {"Equals": ["true"]})
        if reads.get("Equals") not in (["true"], ["false"]):
            raise errors.invalid_selectors("readOnly has the Equals value true or false")


def _get_selectors(call: Call) -> Answer:
    trail = _found(call, call.parameters["TrailName"])
    output: dict[str, Any] = {"TrailARN": trail.arn}
    if trail.advanced:
        output["AdvancedEventSelectors"] = list(trail.advanced)
    else:
        output["EventSelectors"] = list(trail.selectors) or [DEFAULT_SELECTOR]
    return _recorded(call, output)


# --- tags -----------------------------------------------------------------------------------------


def _change_tags(call: Call) -> Answer:
    trail = _at_home(call, call.parameters["ResourceId"])
    tags = [{"Value": "", **tag} for tag in call.parameters["TagsList"]]
    asked = {"ResourceId": trail.arn, "TagsList": tags}
    call.world.trails.run(call.account, call.region, call.operation, asked)
    return _recorded(call, {})


def _list_tags(call: Call) -> Answer:
    listed = []
    for arn in call.parameters["ResourceIdList"]:
        tags = _found(call, arn).tags
        shown = [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
        listed.append({"ResourceId": arn, "TagsList": shown})
    return Answer({"ResourceTagList": listed})


OPERATIONS: Final[Mapping[str, Operation]] = {
    "CreateTrail": Operation(_create, _create_access, read_only=False),
    "UpdateTrail": Operation(_update, _update_access, read_only=False),
    "DeleteTrail": Operation(_change, _on_trail("Name"), read_only=False),
    "StartLogging": Operation(_change, _on_trail("Name"), read_only=False),
    "StopLogging": Operation(_change, _on_trail("Name"), read_only=False),
    "DescribeTrails": Operation(_describe, _list_access, read_only=True),
    "GetTrail": Operation(_get, _on_trail("Name"), read_only=True),
    "ListTrails": Operation(_list, _list_access, read_only=True),
    "GetTrailStatus": Operation(_status, _on_trail("Name"), read_only=True),
    "PutEventSelectors": Operation(_put_selectors, _on_trail("TrailName"), read_only=False),
    "GetEventSelectors": Operation(_get_selectors, _on_trail("TrailName"), read_only=True),
    "AddTags": Operation(_change_tags, _on_trail("ResourceId"), read_only=False),
    "RemoveTags": Operation(_change_tags, _on_trail("ResourceId"), read_only=False),
    "ListTags": Operation(_list_tags, _tags_access, read_only=True),
}
