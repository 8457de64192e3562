"""LookupEvents by real calls: what it finds, in which order, when, and what it refuses.

Sources: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html,
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html,
https://docs.aws.amazon.com/kms/latest/developerguide/logging-using-cloudtrail.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from awssandbox.cloudtrail import operations
from botocore.exceptions import ClientError
from served import ACCOUNT, REGION, START, Served

OTHER = "999988887777"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between look-ups; the rate has tests of its own."""
    monkeypatch.setattr(operations.Rate, "admits", lambda self, now_s: True)


def refusal(call: Callable[..., Any], **parameters: Any) -> tuple[str, int]:
    """The code and HTTP status of a call that is refused."""
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    answer = refused.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def names(client: Any, key: str | None = None, value: str = "", **asked: Any) -> list[str]:
    """The names of the events that one look-up finds; look-ups themselves are left out."""
    if key is not None:
        asked["LookupAttributes"] = [{"AttributeKey": key, "AttributeValue": value}]
    events = client.lookup_events(**asked)["Events"]
    found: list[str] = [event["EventName"] for event in events]
    return [name for name in found if name != "LookupEvents"]


@pytest.fixture
def trail(sandbox: Served, patient: None) -> Any:
    return sandbox.client("cloudtrail")


class Used:
    """A key that was made, named by an alias, used and disabled, an hour apart."""

    def __init__(self, sandbox: Served) -> None:
        kms = sandbox.client("kms")
        hour = timedelta(hours=1)
        self.key: str = kms.create_key()["KeyMetadata"]["Arn"]
        sandbox.world.clock.advance(hour)
        kms.create_alias(AliasName="alias/mine", TargetKeyId=self.key)
        sandbox.world.clock.advance(hour)
        kms.generate_data_key(KeyId="alias/mine", NumberOfBytes=32)
        sandbox.world.clock.advance(hour)
        kms.disable_key(KeyId=self.key)


ORDER = ["DisableKey", "GenerateDataKey", "CreateAlias", "CreateKey"]
"""Of the calls above, the newest first."""


@pytest.fixture
def used(sandbox: Served) -> Used:
    return Used(sandbox)


# What is found -----------------------------------------------------------------------------------


def test_an_event_holds_its_record_as_text(used: Used, sandbox: Served, trail: Any) -> None:
    event = trail.lookup_events()["Events"][1]
    record = sandbox.records("GenerateDataKey")[0]
    assert isinstance(event["CloudTrailEvent"], str)
    assert json.loads(event.pop("CloudTrailEvent")) == record
    assert event == {
        "EventId": record["eventID"],
        "EventName": "GenerateDataKey",
        "ReadOnly": "true",
        "AccessKeyId": sandbox.administrator[0],
        "EventTime": datetime.fromisoformat(record["eventTime"]),
        "EventSource": "kms.amazonaws.com",
        "Username": "administrator",
        "Resources": [],
    }


def test_the_newest_come_first(used: Used, trail: Any) -> None:
    assert names(trail) == ORDER


def test_each_attribute(used: Used, sandbox: Served, trail: Any) -> None:
    """KMS's look-ups by resource find the calls that change a key, not those that use it."""
    disabled = sandbox.records("DisableKey")[0]["eventID"]
    changes = [name for name in ORDER if name != "GenerateDataKey"]
    cases: list[tuple[str, str, list[str]]] = [
        ("EventId", disabled, ["DisableKey"]),
        ("EventId", "0" * 8, []),
        ("EventName", "GenerateDataKey", ["GenerateDataKey"]),
        ("EventName", "generatedatakey", []),
        ("ReadOnly", "true", ["GenerateDataKey"]),
        ("ReadOnly", "false", changes),
        ("Username", "administrator", ORDER),
        ("Username", "root", []),
        ("ResourceType", "AWS::KMS::Key", changes),
        ("ResourceName", used.key, changes),
        ("ResourceName", f"{used.key}x", []),
        ("EventSource", "kms.amazonaws.com", ORDER),
        ("EventSource", "cloudtrail.amazonaws.com", []),
        ("AccessKeyId", sandbox.administrator[0], ORDER),
        ("AccessKeyId", "AKIAIOSFODNN7EXAMPLE", []),
    ]
    for key, value, expected in cases:
        assert names(trail, key, value) == expected, (key, value)


def test_a_role_s_session_is_found_by_its_name_and_key(sandbox: Served, trail: Any) -> None:
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "sts:AssumeRole",
    }
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    session = sandbox.assume(sandbox.role("Admin", trust, everything))
    sandbox.client("kms", session).list_keys()
    assert names(trail, "Username", "tester") == ["ListKeys"]
    assert names(trail, "AccessKeyId", session[0]) == ["ListKeys"]


def test_refused_calls_are_found_too(sandbox: Served, trail: Any) -> None:
    nobody = sandbox.client("kms", sandbox.user("nobody"))
    refusal(nobody.list_keys)
    (event,) = trail.lookup_events(
        LookupAttributes=[{"AttributeKey": "Username", "AttributeValue": "nobody"}]
    )["Events"]
    assert json.loads(event["CloudTrailEvent"])["errorCode"] == "AccessDenied"


def test_a_look_up_is_an_event_as_well(trail: Any) -> None:
    trail.lookup_events()
    (event,) = trail.lookup_events()["Events"]
    assert (event["EventName"], event["ReadOnly"]) == ("LookupEvents", "true")


def test_look_ups_need_their_permission(sandbox: Served) -> None:
    nobody = sandbox.client("cloudtrail", sandbox.user("nobody"))
    assert refusal(nobody.lookup_events) == ("AccessDeniedException", 400)


def test_regions_and_accounts_are_apart_and_iam_is_global(sandbox: Served, trail: Any) -> None:
    """IAM's events are in us-east-1, whatever Region its client names."""
    sandbox.client("kms", region="eu-west-1").list_keys()
    sandbox.client("iam", region="eu-west-1").create_user(UserName="somebody")
    sandbox.client("sts", region="eu-west-1").get_caller_identity()
    keys = sandbox.world.iam.administrator(OTHER)
    theirs = (keys.access_key_id, keys.secret_access_key, None)
    sandbox.client("kms", theirs).list_aliases()

    def found(region: str, credentials: Any = None) -> list[str]:
        return names(sandbox.client("cloudtrail", credentials, region=region))

    assert found(REGION) == []
    assert found("eu-west-1") == ["GetCallerIdentity", "ListKeys"]
    assert found("us-east-1") == ["CreateUser"]
    assert found(REGION, theirs) == ["ListAliases"]


# When --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
def test_events_are_seen_after_their_delay(sandboxes: Callable[..., Served]) -> None:
    sandbox = sandboxes(event_delay_s=300)
    trail = sandbox.client("cloudtrail")
    sandbox.client("kms").list_keys()
    assert names(trail) == []
    sandbox.world.clock.advance(timedelta(seconds=290))
    assert names(trail) == []
    sandbox.world.clock.advance(timedelta(seconds=20))
    assert names(trail) == ["ListKeys"]


def test_events_are_kept_for_90_days(sandbox: Served, used: Used, trail: Any) -> None:
    sandbox.world.clock.advance(timedelta(days=90, hours=-4))
    assert names(trail) == ORDER
    sandbox.world.clock.advance(timedelta(hours=2, minutes=30))
    assert names(trail) == ORDER[:2]
    assert names(trail, StartTime=START - timedelta(days=1)) == ORDER[:2]
    sandbox.world.clock.advance(timedelta(hours=3))
    assert names(trail) == []


def test_a_time_range_holds_its_ends(used: Used, trail: Any) -> None:
    hour = timedelta(hours=1)
    minute = timedelta(minutes=1)
    made = datetime.fromisoformat(
        json.loads(trail.lookup_events()["Events"][-1]["CloudTrailEvent"])["eventTime"]
    )
    assert names(trail, StartTime=made, EndTime=made) == ["CreateKey"]
    assert names(trail, StartTime=made + minute) == ORDER[:3]
    assert names(trail, EndTime=made + 2 * hour - minute) == ORDER[2:]
    window: dict[str, Any] = {"StartTime": made + minute, "EndTime": made + hour + minute}
    assert names(trail, **window) == ["CreateAlias"]
    assert names(trail, "EventName", "CreateAlias", **window) == ["CreateAlias"]
    assert names(trail, "EventName", "CreateKey", **window) == []
    assert names(trail, EndTime=datetime(2020, 1, 1, tzinfo=UTC)) == []


# Pages -------------------------------------------------------------------------------------------


def test_pages_hold_every_event_once(sandbox: Served, trail: Any) -> None:
    kms = sandbox.client("kms")
    keys = [kms.create_key()["KeyMetadata"]["Arn"] for _ in range(7)]
    asked = {"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": "CreateKey"}]}
    pages = list(
        trail.get_paginator("lookup_events").paginate(**asked, PaginationConfig={"PageSize": 3})
    )
    assert [len(page["Events"]) for page in pages] == [3, 3, 1]
    found = [event["Resources"][0]["ResourceName"] for page in pages for event in page["Events"]]
    assert found == keys[::-1], "all within a second, and still the newest first"


def test_pages_do_not_move_when_events_arrive(sandbox: Served, trail: Any) -> None:
    kms = sandbox.client("kms")
    for name in ("one", "two", "three", "four"):
        kms.create_key(Description=name)
    asked: dict[str, Any] = {
        "LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": "CreateKey"}],
        "MaxResults": 2,
    }
    first = trail.lookup_events(**asked)
    kms.create_key(Description="five")
    second = trail.lookup_events(**asked, NextToken=first["NextToken"])
    assert "NextToken" not in second
    shown = [
        json.loads(event["CloudTrailEvent"])["requestParameters"]["description"]
        for event in first["Events"] + second["Events"]
    ]
    assert shown == ["four", "three", "two", "one"]


def test_a_full_last_page_has_no_token(sandbox: Served, used: Used, trail: Any) -> None:
    answer = trail.lookup_events(MaxResults=4)
    assert len(answer["Events"]) == 4
    assert "NextToken" not in answer


def test_50_events_are_the_default_and_the_most(sandbox: Served, trail: Any) -> None:
    kms = sandbox.client("kms")
    for _ in range(51):
        kms.list_keys()
    assert len(trail.lookup_events()["Events"]) == 50
    assert len(trail.lookup_events(MaxResults=50)["Events"]) == 50
    assert len(trail.lookup_events(MaxResults=1)["Events"]) == 1


def test_a_token_needs_the_same_parameters(used: Used, trail: Any) -> None:
    by_source = [{"AttributeKey": "EventSource", "AttributeValue": "kms.amazonaws.com"}]
    token = trail.lookup_events(LookupAttributes=by_source, MaxResults=1)["NextToken"]
    other = [{"AttributeKey": "Username", "AttributeValue": "administrator"}]
    for changed in (
        {"LookupAttributes": other, "MaxResults": 1},
        {"MaxResults": 1},
        {"LookupAttributes": by_source, "MaxResults": 1, "StartTime": START},
        {"LookupAttributes": by_source, "MaxResults": 2},
    ):
        assert refusal(trail.lookup_events, NextToken=token, **changed) == (
            "InvalidNextTokenException",
            400,
        )
    assert names(trail, LookupAttributes=by_source, MaxResults=1, NextToken=token) == [ORDER[1]]


@pytest.mark.parametrize("token", ["nonsense", "é", "AAAA", "bm9uc2Vuc2U6MTow"])
def test_a_token_from_nowhere(trail: Any, token: str) -> None:
    assert refusal(trail.lookup_events, NextToken=token) == ("InvalidNextTokenException", 400)


# Refused -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
def test_parameters_that_are_refused(sandbox: Served) -> None:
    trail = sandbox.client("cloudtrail", parameter_validation=False)
    one = {"AttributeKey": "EventName", "AttributeValue": "CreateKey"}
    attributes, size = "InvalidLookupAttributesException", "InvalidMaxResultsException"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"LookupAttributes": [one, one]}, attributes),
        ({"LookupAttributes": [{**one, "AttributeKey": "eventName"}]}, attributes),
        ({"LookupAttributes": [{**one, "AttributeKey": "Colour"}]}, attributes),
        ({"LookupAttributes": [{**one, "AttributeValue": "x" * 2001}]}, attributes),
        ({"MaxResults": 0}, size),
        ({"MaxResults": 51}, size),
        (
            {"StartTime": START, "EndTime": START - timedelta(seconds=1)},
            "InvalidTimeRangeException",
        ),
        ({"EventCategory": "data"}, "InvalidEventCategoryException"),
        ({"LookupAttributes": [{"AttributeKey": "EventName"}]}, "ValidationException"),
        ({"MaxResults": "many"}, "SerializationException"),
    ]
    for asked, code in cases:
        assert refusal(trail.lookup_events, **asked) == (code, 400), asked
    assert refusal(trail.lookup_events, EventCategory="insight") == ("NotImplemented", 501)
    longest = [{**one, "AttributeValue": "x" * 2000}]
    assert trail.lookup_events(LookupAttributes=longest)["Events"] == []
    assert trail.lookup_events(LookupAttributes=[])["Events"] != []


def test_the_rate_is_two_calls_in_any_second() -> None:
    rate = operations.Rate()
    calls = [10.0, 10.6, 10.9, 10.99, 11.0, 11.5, 11.6, 12.0, 13.0, 13.0, 13.0]
    admitted = [now for now in calls if rate.admits(now)]
    assert admitted == [10.0, 10.6, 11.0, 11.6, 12.0, 13.0, 13.0]


def test_the_rate_is_shared_in_an_account_and_region(sandbox: Served) -> None:
    """By everybody there, on real time, whatever the sandbox's clock; not beyond it."""
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    clients = [
        sandbox.client("cloudtrail"),
        sandbox.client("cloudtrail", sandbox.user("other", everything)),
    ]

    def hurry() -> None:
        for number in range(100):
            clients[number % 2].lookup_events()

    assert refusal(hurry) == ("ThrottlingException", 400)
    assert sandbox.records("LookupEvents")[-1]["errorCode"] == "ThrottlingException"
    sandbox.world.clock.advance(timedelta(hours=1))
    assert refusal(hurry) == ("ThrottlingException", 400)
    sandbox.client("cloudtrail", region="eu-west-1").lookup_events()
    keys = sandbox.world.iam.administrator(OTHER)
    theirs = (keys.access_key_id, keys.secret_access_key, None)
    sandbox.client("cloudtrail", theirs).lookup_events()
