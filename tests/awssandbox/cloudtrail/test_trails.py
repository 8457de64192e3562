"""The configuration of trails.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_CreateTrail.html and the
other operations' pages
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from awssandbox.forward import ServiceAccess
from in_process import OTHER, Sandbox, allow, refusal
from served import ACCOUNT, REGION, Served, document

BUCKET = "arn:aws:s3:::trails"
CLOUDTRAIL = {"Service": "cloudtrail.amazonaws.com"}
ARN = f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/main"
ACL = {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}
CHECKS = allow("s3:GetBucketAcl", BUCKET, Principal=CLOUDTRAIL)
WRITES = allow("s3:PutObject", f"{BUCKET}/AWSLogs/*", Principal=CLOUDTRAIL, Condition=ACL)


def bucket_for_trails(s3: Any, name: str = "trails") -> None:
    """A bucket with the policy that AWS prints for CloudTrail."""
    arn = f"arn:aws:s3:::{name}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    writes = allow("s3:PutObject", f"{arn}/AWSLogs/*", Principal=CLOUDTRAIL, Condition=ACL)
    checks = allow("s3:GetBucketAcl", arn, Principal=CLOUDTRAIL)
    s3.put_bucket_policy(Bucket=name, Policy=document(checks, writes))


@pytest.fixture
def sandbox() -> Sandbox:
    made = Sandbox()
    bucket_for_trails(made.client("s3"))
    return made


@pytest.fixture
def trails(sandbox: Sandbox) -> Any:
    return sandbox.client("cloudtrail")


def elsewhere(sandbox: Sandbox, region: str = "eu-west-1") -> Any:
    return ServiceAccess(sandbox.world, sandbox.root(), region).client("cloudtrail")


def test_a_trail_from_its_making_to_its_end(sandbox: Sandbox, trails: Any) -> None:
    made = trails.create_trail(Name="main", S3BucketName="trails", EnableLogFileValidation=True)
    assert made["TrailARN"] == ARN
    assert made["LogFileValidationEnabled"] is True
    (shown,) = trails.describe_trails()["trailList"]
    assert shown == trails.get_trail(Name=ARN)["Trail"] == trails.get_trail(Name="main")["Trail"]
    assert (shown["HomeRegion"], shown["IsMultiRegionTrail"]) == (REGION, False)
    assert trails.get_trail_status(Name="main")["IsLogging"] is False
    trails.start_logging(Name="main")
    status = trails.get_trail_status(Name=ARN)
    assert status["IsLogging"] is True
    assert status["StartLoggingTime"] == sandbox.world.clock.now().replace(microsecond=0)
    assert "LatestDeliveryTime" not in status  # nothing is delivered yet
    trails.stop_logging(Name=ARN)
    assert trails.get_trail_status(Name="main")["IsLogging"] is False
    changed = trails.update_trail(Name="main", IsMultiRegionTrail=True)
    assert changed["IsMultiRegionTrail"] is True
    trails.delete_trail(Name=ARN)
    assert trails.list_trails()["Trails"] == []
    assert refusal(lambda: trails.get_trail(Name="main"))[0] == "TrailNotFoundException"


def test_a_trail_of_all_regions_is_seen_from_each_and_changed_at_home(
    sandbox: Sandbox, trails: Any
) -> None:
    trails.create_trail(Name="main", S3BucketName="trails", IsMultiRegionTrail=True)
    trails.create_trail(Name="here", S3BucketName="trails")
    there = elsewhere(sandbox)

    def names(**more: Any) -> list[str]:
        return [one["Name"] for one in there.describe_trails(**more)["trailList"]]

    assert names() == ["main"]
    assert names(includeShadowTrails=False) == []
    assert names(trailNameList=["here"]) == []
    assert [one["Name"] for one in there.list_trails()["Trails"]] == ["here", "main"]
    assert there.get_trail_status(Name=ARN)["IsLogging"] is False
    assert refusal(lambda: there.get_trail_status(Name="main"))[0] == "TrailNotFoundException"
    assert refusal(lambda: there.stop_logging(Name=ARN))[0] == "InvalidHomeRegionException"
    theirs = sandbox.client("cloudtrail", sandbox.root(OTHER))
    assert theirs.describe_trails()["trailList"] == []


@pytest.mark.parametrize(
    ("statements", "code"),
    [
        ([CHECKS, WRITES], None),
        ([WRITES], "InsufficientS3BucketPolicyException"),
        ([CHECKS], "InsufficientS3BucketPolicyException"),
        (
            [
                {**CHECKS, "Condition": {"StringEquals": {"aws:SourceArn": ARN}}},
                {
                    **WRITES,
                    "Condition": {"StringEquals": {**ACL["StringEquals"], "aws:SourceArn": ARN}},
                },
            ],
            None,
        ),
        (
            [CHECKS, {**WRITES, "Condition": {"StringEquals": {"aws:SourceArn": f"{ARN}2"}}}],
            "InsufficientS3BucketPolicyException",
        ),
    ],
)
def test_the_bucket_lets_cloudtrail_write(
    sandbox: Sandbox, trails: Any, statements: list[dict[str, Any]], code: str | None
) -> None:
    sandbox.client("s3").put_bucket_policy(Bucket="trails", Policy=document(*statements))
    make = lambda: trails.create_trail(Name="main", S3BucketName="trails")  # noqa: E731
    if code is None:
        assert make()["S3BucketName"] == "trails"
    else:
        assert refusal(make)[0] == code


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"Name": "main"}, "TrailAlreadyExistsException"),
        ({"S3BucketName": "none"}, "S3BucketDoesNotExistException"),
        ({"Name": "a"}, "InvalidTrailNameException"),
        ({"Name": "a b"}, "InvalidTrailNameException"),
        (
            {"IsMultiRegionTrail": True, "IncludeGlobalServiceEvents": False},
            "InvalidParameterCombinationException",
        ),
        ({"KmsKeyId": "alias/x"}, "NotImplemented"),
        ({"IsOrganizationTrail": True}, "NotImplemented"),
        ({"SnsTopicName": "x"}, "NotImplemented"),
        ({"S3KeyPrefix": "elsewhere"}, "InsufficientS3BucketPolicyException"),
    ],
)
def test_trails_that_are_not_made(trails: Any, given: dict[str, Any], code: str) -> None:
    trails.create_trail(Name="main", S3BucketName="trails")
    asked = {"Name": "other", "S3BucketName": "trails", **given}
    assert refusal(lambda: trails.create_trail(**asked))[0] == code
    assert len(trails.list_trails()["Trails"]) == 1


def test_a_region_has_five_trails(trails: Any) -> None:
    for number in range(5):
        trails.create_trail(Name=f"trail-{number}", S3BucketName="trails")
    more = lambda: trails.create_trail(Name="more", S3BucketName="trails")  # noqa: E731
    assert refusal(more)[0] == "MaximumNumberOfTrailsExceededException"


DEFAULT = {
    "ReadWriteType": "All",
    "IncludeManagementEvents": True,
    "DataResources": [],
    "ExcludeManagementEventSources": [],
}
MANAGEMENT = {"Field": "eventCategory", "Equals": ["Management"]}
NOT_KMS = {"Field": "eventSource", "NotEquals": ["kms.amazonaws.com"]}


def test_selectors_of_one_kind_replace_those_of_the_other(trails: Any) -> None:
    trails.create_trail(Name="main", S3BucketName="trails")

    def selectors() -> dict[str, Any]:
        found = trails.get_event_selectors(TrailName="main")
        return {name: found.get(name) for name in ("EventSelectors", "AdvancedEventSelectors")}

    assert selectors() == {"EventSelectors": [DEFAULT], "AdvancedEventSelectors": None}
    assert trails.get_trail(Name="main")["Trail"]["HasCustomEventSelectors"] is False
    excluding = {"ExcludeManagementEventSources": ["kms.amazonaws.com"]}
    trails.put_event_selectors(TrailName="main", EventSelectors=[excluding])
    assert selectors()["EventSelectors"] == [{**DEFAULT, **excluding}]
    advanced = [{"Name": "no KMS", "FieldSelectors": [MANAGEMENT, NOT_KMS]}]
    trails.put_event_selectors(TrailName=ARN, AdvancedEventSelectors=advanced)
    assert selectors() == {"EventSelectors": None, "AdvancedEventSelectors": advanced}
    trails.put_event_selectors(TrailName="main", EventSelectors=[{"ReadWriteType": "WriteOnly"}])
    assert selectors()["AdvancedEventSelectors"] is None
    assert trails.get_trail(Name="main")["Trail"]["HasCustomEventSelectors"] is True


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"EventSelectors": [DEFAULT], "AdvancedEventSelectors": []},
        {"EventSelectors": []},
        {"EventSelectors": [DEFAULT] * 6},
        {"EventSelectors": [{"ExcludeManagementEventSources": ["ec2.amazonaws.com"]}]},
        {"EventSelectors": [{"IncludeManagementEvents": False}]},
        {"AdvancedEventSelectors": [{"FieldSelectors": [NOT_KMS]}]},
        {
            "AdvancedEventSelectors": [
                {"FieldSelectors": [MANAGEMENT, {"Field": "eventName", "Equals": ["Decrypt"]}]}
            ]
        },
        {
            "AdvancedEventSelectors": [
                {"FieldSelectors": [MANAGEMENT, {**NOT_KMS, "NotEquals": ["ec2.amazonaws.com"]}]}
            ]
        },
    ],
)
def test_selectors_that_are_not_taken(trails: Any, given: dict[str, Any]) -> None:
    trails.create_trail(Name="main", S3BucketName="trails")
    put = lambda: trails.put_event_selectors(TrailName="main", **given)  # noqa: E731
    assert refusal(put)[0] == "InvalidEventSelectorsException"
    assert trails.get_event_selectors(TrailName="main")["EventSelectors"] == [DEFAULT]


def test_tags(trails: Any) -> None:
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    trails.create_trail(Name="main", S3BucketName="trails", TagsList=tags[:1])
    trails.add_tags(ResourceId=ARN, TagsList=tags[1:])
    listed = lambda: trails.list_tags(ResourceIdList=[ARN])["ResourceTagList"][0]  # noqa: E731
    assert listed()["TagsList"] == tags
    trails.remove_tags(ResourceId=ARN, TagsList=tags[:1])
    assert listed()["TagsList"] == tags[1:]


CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "create_trail": ("", {"Name": "other", "S3BucketName": "trails"}),
    "update_trail": ("main", {"Name": "main"}),
    "get_trail": ("main", {"Name": "main"}),
    "get_trail_status": ("main", {"Name": ARN}),
    "start_logging": ("main", {"Name": "main"}),
    "stop_logging": ("main", {"Name": "main"}),
    "get_event_selectors": ("main", {"TrailName": "main"}),
    "put_event_selectors": ("main", {"TrailName": "main", "EventSelectors": [DEFAULT]}),
    "list_tags": ("main", {"ResourceIdList": [ARN]}),
    "add_tags": ("main", {"ResourceId": ARN, "TagsList": [{"Key": "a", "Value": "b"}]}),
    "delete_trail": ("main", {"Name": "main"}),
    "describe_trails": ("*", {}),
    "list_trails": ("*", {}),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_needs_its_action_on_its_trail_and_is_recorded(
    sandbox: Sandbox, trails: Any, call: str
) -> None:
    trails.create_trail(Name="main", S3BucketName="trails")
    name, given = CALLS[call]
    action = "".join(word.title() for word in call.split("_"))
    resource = name if name == "*" else ARN.replace("/main", f"/{name or given['Name']}")
    wrong = sandbox.user("wrong", allow("cloudtrail:*", f"{resource}x" if name != "*" else ARN))
    client = sandbox.client("cloudtrail", wrong)
    assert refusal(lambda: getattr(client, call)(**given))[0] == "AccessDeniedException"
    assert sandbox.record(action)["errorCode"] == "AccessDenied"
    right = sandbox.user("right", allow(f"cloudtrail:{action}", resource))
    getattr(sandbox.client("cloudtrail", right), call)(**given)
    record = sandbox.record(action)
    assert ("errorCode" in record, record["userIdentity"]["userName"]) == (False, "right")
    assert record["readOnly"] is action.startswith(("Get", "List", "Describe"))


def test_two_sandboxes_know_nothing_of_each_other(sandbox: Sandbox, trails: Any) -> None:
    """moto's store is one for the process."""
    trails.create_trail(Name="main", S3BucketName="trails")
    another = Sandbox()
    bucket_for_trails(another.client("s3"))
    another.client("cloudtrail").create_trail(Name="other", S3BucketName="trails")
    assert [one["Name"] for one in trails.list_trails()["Trails"]] == ["main"]


@pytest.mark.e2e
def test_over_http(sandboxes: Callable[..., Served]) -> None:
    served = sandboxes()
    bucket_for_trails(served.client("s3"))
    trails = served.client("cloudtrail")
    trails.create_trail(Name="main", S3BucketName="trails", IsMultiRegionTrail=True)
    trails.start_logging(Name="main")
    there = served.client("cloudtrail", region="eu-west-1")
    (shadow,) = there.describe_trails()["trailList"]
    assert there.get_trail_status(Name=shadow["TrailARN"])["IsLogging"] is True
    assert [record["eventName"] for record in served.records("CreateTrail")] == ["CreateTrail"]


def test_what_keeps_trails_and_objects_is_loaded_when_the_first_is_made() -> None:
    """The sandbox's start, and a look for trails where there are none, do without."""
    code = (
        "import sys\n"
        "from in_process import Sandbox\n"
        "made = Sandbox()\n"
        "assert made.client('cloudtrail').describe_trails()['trailList'] == []\n"
        "made.client('iam').list_users()\n"
        "parts = ('awssandbox.s3', 'awssandbox.moto_s3', 'awssandbox.rest_xml')\n"
        "loaded = [name for name in (*parts, 'moto.cloudtrail.models') if name in sys.modules]\n"
        "assert loaded == [], loaded\n"
    )
    folder = str(Path(__file__).parents[1])
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)
