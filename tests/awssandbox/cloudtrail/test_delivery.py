"""What trails deliver: which records, when, where in the bucket, and in which form.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-examples.html
and https://docs.aws.amazon.com/awscloudtrail/latest/userguide/how-cloudtrail-works.html
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from awssandbox.faults import Faults, parse
from awssandbox.forward import ServiceAccess
from in_process import OTHER, Sandbox, Still, refusal
from served import ACCOUNT, REGION, Served, document
from test_trails import ACL, ARN, CHECKS, DEFAULT, WRITES, bucket_for_trails

START = datetime(2026, 1, 31, 9, 1, 30, tzinfo=UTC)
"""In the middle of the first five minutes."""


def started(trail: dict[str, Any] | None = None, **options: Any) -> Sandbox:
    """A sandbox with a trail that logs."""
    options.setdefault("clock", Still(START))
    sandbox = Sandbox(**options)
    bucket_for_trails(sandbox.client("s3"))
    trails = sandbox.client("cloudtrail")
    trails.create_trail(**{"Name": "main", "S3BucketName": "trails", **(trail or {})})
    trails.start_logging(Name="main")
    return sandbox


def later(sandbox: Sandbox, **by: float) -> None:
    sandbox.world.clock.advance(timedelta(**by))


def keys(sandbox: Sandbox, bucket: str = "trails") -> list[str]:
    listed = sandbox.client("s3").list_objects_v2(Bucket=bucket)
    return [one["Key"] for one in listed.get("Contents", ())]


def content(sandbox: Sandbox, key: str, bucket: str = "trails") -> list[dict[str, Any]]:
    found = sandbox.client("s3").get_object(Bucket=bucket, Key=key)
    whole = json.loads(gzip.decompress(found["Body"].read()))
    assert list(whole) == ["Records"]
    return list(whole["Records"])


def delivered(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Every delivered record, in the order of the files."""
    return [record for key in keys(sandbox) for record in content(sandbox, key)]


def names(sandbox: Sandbox) -> list[str]:
    return [record["eventName"] for record in delivered(sandbox)]


def elsewhere(sandbox: Sandbox, service: str = "kms", region: str = "eu-west-1") -> Any:
    return ServiceAccess(sandbox.world, sandbox.root(), region).client(service)


# --- when and where -------------------------------------------------------------------------------


def test_a_log_file_is_at_its_place_and_holds_the_records_as_they_are() -> None:
    sandbox = started()
    sandbox.client("kms").create_key()
    assert keys(sandbox) == []
    later(sandbox, minutes=4)
    (key,) = keys(sandbox)
    assert re.fullmatch(
        f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/01/31/"
        rf"{ACCOUNT}_CloudTrail_{REGION}_20260131T0905Z_[A-Za-z0-9]{{16}}\.json\.gz",
        key,
    )
    records = content(sandbox, key)
    assert [record["eventName"] for record in records] == ["StartLogging", "CreateKey"]
    assert records[1] == sandbox.record("CreateKey")
    head = sandbox.client("s3").head_object(Bucket="trails", Key=key)
    assert head["LastModified"] == START.replace(minute=5, second=0)
    assert (head["ContentType"], head["ContentEncoding"]) == ("application/json", "gzip")


def test_a_file_every_five_minutes_in_which_something_came() -> None:
    sandbox = started()
    for _ in range(3):
        sandbox.client("kms").list_keys()
        later(sandbox, minutes=15)
    times = [key.split("_")[3] for key in keys(sandbox)]
    assert times == ["20260131T0905Z", "20260131T0920Z", "20260131T0935Z"]
    assert names(sandbox) == ["StartLogging", "ListKeys", "ListKeys", "ListKeys"]
    later(sandbox, days=1)
    assert len(keys(sandbox)) == 3


def test_files_come_after_the_event_delay() -> None:
    sandbox = started(event_delay_s=600)
    later(sandbox, minutes=11)  # to 09:12:30; what came at 09:01:30 is seen since 09:11:30
    assert keys(sandbox) == []
    later(sandbox, minutes=3)
    (key,) = keys(sandbox)
    assert "_20260131T0915Z_" in key


def test_a_prefix() -> None:
    sandbox = Sandbox(clock=Still(START))
    bucket_for_trails(sandbox.client("s3"))
    writes = {**WRITES, "Resource": "arn:aws:s3:::trails/a/b/AWSLogs/*"}
    sandbox.client("s3").put_bucket_policy(Bucket="trails", Policy=document(CHECKS, writes))
    trails = sandbox.client("cloudtrail")
    trails.create_trail(Name="main", S3BucketName="trails", S3KeyPrefix="a/b")
    trails.start_logging(Name="main")
    later(sandbox, minutes=5)
    (key,) = keys(sandbox)
    assert key.startswith(f"a/b/AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/01/31/")


def test_a_bucket_of_another_account() -> None:
    sandbox = Sandbox(clock=Still(START))
    bucket_for_trails(sandbox.client("s3", sandbox.root(OTHER)), "theirs")
    trails = sandbox.client("cloudtrail")
    trails.create_trail(Name="main", S3BucketName="theirs")
    trails.start_logging(Name="main")
    later(sandbox, minutes=5)
    theirs = sandbox.client("s3", sandbox.root(OTHER))
    (found,) = theirs.list_objects_v2(Bucket="theirs")["Contents"]
    assert found["Key"].startswith(f"AWSLogs/{ACCOUNT}/CloudTrail/")


# --- which records --------------------------------------------------------------------------------


def test_what_happens_while_the_trail_does_not_log_is_not_delivered() -> None:
    sandbox = started()
    kms, trails = sandbox.client("kms"), sandbox.client("cloudtrail")
    kms.list_keys()
    trails.stop_logging(Name="main")
    kms.create_key()
    later(sandbox, hours=1)
    trails.start_logging(Name="main")
    kms.list_aliases()
    later(sandbox, hours=1)
    assert names(sandbox) == ["StartLogging", "ListKeys", "StartLogging", "ListAliases"]


def _selected(**field: Any) -> dict[str, Any]:
    management = {"Field": "eventCategory", "Equals": ["Management"]}
    fields = [{"Field": name, **test} for name, test in field.items()]
    return {"AdvancedEventSelectors": [{"FieldSelectors": [management, *fields]}]}


@pytest.mark.parametrize(
    ("selectors", "selected"),
    [
        ({"EventSelectors": [DEFAULT]}, {"CreateKey", "ListKeys", "GetCallerIdentity"}),
        (
            {"EventSelectors": [{"ExcludeManagementEventSources": ["kms.amazonaws.com"]}]},
            {"GetCallerIdentity"},
        ),
        ({"EventSelectors": [{"ReadWriteType": "WriteOnly"}]}, {"CreateKey"}),
        ({"EventSelectors": [{"ReadWriteType": "ReadOnly"}]}, {"ListKeys", "GetCallerIdentity"}),
        (
            {
                "EventSelectors": [
                    {"ReadWriteType": "WriteOnly"},
                    {
                        "ReadWriteType": "ReadOnly",
                        "ExcludeManagementEventSources": ["kms.amazonaws.com"],
                    },
                ]
            },
            {"CreateKey", "GetCallerIdentity"},
        ),
        (_selected(), {"CreateKey", "ListKeys", "GetCallerIdentity"}),
        (_selected(eventSource={"NotEquals": ["kms.amazonaws.com"]}), {"GetCallerIdentity"}),
        (_selected(readOnly={"Equals": ["true"]}), {"ListKeys", "GetCallerIdentity"}),
        (_selected(readOnly={"Equals": ["false"]}), {"CreateKey"}),
        (
            {
                "AdvancedEventSelectors": [
                    {
                        "FieldSelectors": [
                            {"Field": "eventCategory", "Equals": ["Data"]},
                            {"Field": "resources.type", "Equals": ["AWS::S3::Object"]},
                        ]
                    }
                ]
            },
            set(),
        ),
    ],
)
def test_event_selectors(selectors: dict[str, Any], selected: set[str]) -> None:
    sandbox = started()
    later(sandbox, minutes=5)
    before = keys(sandbox)
    sandbox.client("cloudtrail").put_event_selectors(TrailName="main", **selectors)
    sandbox.client("kms").create_key()
    sandbox.client("kms").list_keys()
    sandbox.client("sts").get_caller_identity()
    later(sandbox, minutes=5)
    new = [record for key in keys(sandbox) if key not in before for record in content(sandbox, key)]
    assert {record["eventName"] for record in new} - {"PutEventSelectors"} == selected
    history = {record["eventName"] for record in map(dict, _history(sandbox))}
    assert {"CreateKey", "ListKeys", "GetCallerIdentity"} <= history  # whatever trails select


def _history(sandbox: Sandbox) -> list[Any]:
    return [entry.record for entry in sandbox.world.trail.entries(ACCOUNT, REGION)]


def test_selectors_hold_from_when_they_were_put() -> None:
    sandbox = started()
    sandbox.client("kms").list_keys()
    excluding = [{"ExcludeManagementEventSources": ["kms.amazonaws.com"]}]
    sandbox.client("cloudtrail").put_event_selectors(TrailName="main", EventSelectors=excluding)
    sandbox.client("kms").list_aliases()
    later(sandbox, minutes=5)
    assert names(sandbox) == ["StartLogging", "ListKeys", "PutEventSelectors"]


@pytest.mark.parametrize("everywhere", [False, True])
def test_a_trail_of_all_regions_has_a_folder_for_each(everywhere: bool) -> None:
    sandbox = started({"IsMultiRegionTrail": everywhere})
    elsewhere(sandbox).list_keys()
    sandbox.client("iam").list_users()  # recorded in us-east-1
    later(sandbox, minutes=5)
    regions = [key.split("/")[3] for key in keys(sandbox)]
    assert regions == (["eu-west-1", "us-east-1", REGION] if everywhere else [REGION])
    assert all(record["awsRegion"] in regions for record in delivered(sandbox))


@pytest.mark.parametrize("included", [False, True])
def test_global_service_events(included: bool) -> None:
    """They are in us-east-1, and a trail of that Region alone may leave them out."""
    sandbox = Sandbox(clock=Still(START))
    there = elsewhere(sandbox, "s3", "us-east-1")
    there.create_bucket(Bucket="trails")
    there.put_bucket_policy(Bucket="trails", Policy=document(CHECKS, WRITES))
    trails = elsewhere(sandbox, "cloudtrail", "us-east-1")
    trails.create_trail(Name="main", S3BucketName="trails", IncludeGlobalServiceEvents=included)
    trails.start_logging(Name="main")
    sandbox.client("iam").list_users()
    elsewhere(sandbox, "kms", "us-east-1").list_keys()
    later(sandbox, minutes=5)
    (listed,) = there.list_objects_v2(Bucket="trails")["Contents"]
    found = there.get_object(Bucket="trails", Key=listed["Key"])["Body"].read()
    events = [record["eventName"] for record in json.loads(gzip.decompress(found))["Records"]]
    assert events == ["StartLogging", *(["ListUsers"] if included else []), "ListKeys"]


def test_other_accounts_records_are_not_delivered() -> None:
    sandbox = started()
    sandbox.client("kms", sandbox.root(OTHER)).list_keys()
    later(sandbox, minutes=5)
    assert names(sandbox) == ["StartLogging"]


def test_refused_calls_are_delivered_and_calls_on_objects_are_not() -> None:
    sandbox = started()
    nobody = sandbox.user("nobody")
    refusal(lambda: sandbox.client("kms", nobody).list_keys())
    sandbox.client("s3").put_object(Bucket="trails", Key="x", Body=b"")
    later(sandbox, minutes=5)
    sandbox.client("s3").delete_object(Bucket="trails", Key="x")
    assert [(record["eventName"], record.get("errorCode")) for record in delivered(sandbox)] == [
        ("StartLogging", None),
        ("ListKeys", "AccessDenied"),
    ]


@pytest.mark.parametrize(
    ("rule", "first", "second"),
    [
        ({"fault": "record_twice"}, ["ListKeys", "ListKeys", "ListAliases"], []),
        ({"fault": "record_never"}, ["ListAliases"], []),
        ({"fault": "record_late", "seconds": 600}, ["ListAliases"], ["ListKeys"]),
    ],
)
def test_records_that_a_schedule_of_faults_makes_late_or_doubles(
    rule: dict[str, Any], first: list[str], second: list[str]
) -> None:
    rules = json.dumps([{"service": "kms", "operation": "ListKeys", **rule}])
    sandbox = started(faults=Faults(parse(rules)))
    later(sandbox, minutes=5)
    sandbox.client("kms").list_keys()
    sandbox.client("kms").list_aliases()
    later(sandbox, minutes=5)
    assert names(sandbox)[1:] == first
    later(sandbox, minutes=15)
    assert names(sandbox)[1:] == first + second


# --- buckets that refuse, and status --------------------------------------------------------------


def test_status_tells_of_the_last_delivery_of_the_region() -> None:
    sandbox = started({"IsMultiRegionTrail": True})
    trails = sandbox.client("cloudtrail")
    later(sandbox, minutes=20)
    status = trails.get_trail_status(Name="main")
    assert status["LatestDeliveryTime"] == START.replace(minute=5, second=0)
    assert "LatestDeliveryError" not in status
    assert "LatestDigestDeliveryTime" not in status  # without validation
    there = elsewhere(sandbox, "cloudtrail")
    assert "LatestDeliveryTime" not in there.get_trail_status(Name=ARN)
    later(sandbox, minutes=5)  # the record of that call
    moment = there.get_trail_status(Name=ARN)["LatestDeliveryTime"]
    assert moment == START.replace(minute=25, second=0)


@pytest.mark.parametrize(
    ("statements", "error"),
    [
        ([CHECKS], "AccessDenied"),
        (
            [
                CHECKS,
                {**WRITES, "Condition": {"StringEquals": {**ACL["StringEquals"]}}},
                {**WRITES, "Effect": "Deny", "Condition": {"StringEquals": {"aws:SourceArn": ARN}}},
            ],
            "AccessDenied",
        ),
        (None, "NoSuchBucket"),
    ],
)
def test_what_a_bucket_refuses_is_delivered_when_it_does_not(
    statements: list[dict[str, Any]] | None, error: str
) -> None:
    sandbox = started()
    s3, trails = sandbox.client("s3"), sandbox.client("cloudtrail")
    if statements is None:
        s3.delete_bucket(Bucket="trails")
    else:
        s3.put_bucket_policy(Bucket="trails", Policy=document(*statements))
    sandbox.client("kms").list_keys()
    later(sandbox, minutes=20)
    status = trails.get_trail_status(Name="main")
    assert status["LatestDeliveryError"] == error
    assert "LatestDeliveryTime" not in status
    if statements is None:
        bucket_for_trails(s3)
    else:
        s3.put_bucket_policy(Bucket="trails", Policy=document(CHECKS, WRITES))
    assert keys(sandbox) == []
    later(sandbox, minutes=5)
    status = trails.get_trail_status(Name="main")
    assert "LatestDeliveryError" not in status
    assert status["LatestDeliveryTime"] == START.replace(minute=25, second=0)
    assert "ListKeys" in names(sandbox)


def test_after_thirty_days_nothing_is_tried_again() -> None:
    sandbox = started()
    s3 = sandbox.client("s3")
    s3.put_bucket_policy(Bucket="trails", Policy=document(CHECKS))
    later(sandbox, days=20)
    sandbox.client("kms").list_keys()
    later(sandbox, days=11)
    s3.put_bucket_policy(Bucket="trails", Policy=document(CHECKS, WRITES))
    later(sandbox, minutes=5)
    assert "StartLogging" not in names(sandbox)
    assert "ListKeys" in names(sandbox)


def test_a_deleted_trail_delivers_nothing_more() -> None:
    sandbox = started()
    trails = sandbox.client("cloudtrail")
    sandbox.client("kms").list_keys()
    trails.delete_trail(Name="main")
    later(sandbox, hours=1)
    assert keys(sandbox) == []
    trails.create_trail(Name="main", S3BucketName="trails")
    trails.start_logging(Name="main")
    later(sandbox, hours=1)
    assert names(sandbox) == ["StartLogging"]


def test_the_same_seed_gives_the_same_names() -> None:
    one, two = started(seed=7), started(seed=7)
    for sandbox in (one, two):
        later(sandbox, minutes=5)
    assert keys(one) == keys(two) != []
    other = started(seed=8)
    later(other, minutes=5)
    assert keys(other) != keys(one)


@pytest.mark.e2e
def test_over_http(sandboxes: Callable[..., Served]) -> None:
    served = sandboxes(clock=Still(START))
    bucket_for_trails(served.client("s3"))
    trails = served.client("cloudtrail")
    trails.create_trail(Name="main", S3BucketName="trails")
    trails.start_logging(Name="main")
    served.client("kms").create_key()
    served.world.clock.advance(timedelta(minutes=5))
    s3 = served.client("s3")
    (listed,) = s3.list_objects_v2(Bucket="trails")["Contents"]
    found = s3.get_object(Bucket="trails", Key=listed["Key"])["Body"].read()
    records = json.loads(gzip.decompress(found))["Records"]
    assert [record["eventName"] for record in records] == ["StartLogging", "CreateKey"]
    assert records[1] == served.records("CreateKey")[0]
