"""Whether a trail keeps the events of KMS: the rules, and the reading of trails that are there.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/logging-management-events-with-cloudtrail.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from keyrunbook.aws.clients import Clients, sandbox_clients
from keyrunbook.aws.trails import Trail
from keyrunbook.findings import Finding
from keyrunbook.parameters import Parameters
from keyrunbook.sandboxes import HANDED_OVER, Sandbox, start_private
from keyrunbook.session import open_step
from keyrunbook.steps import preflight, trails
from keyrunbook.steps.trails import judge

KMS = "kms.amazonaws.com"
ALL = {"ReadWriteType": "All", "IncludeManagementEvents": True, "DataResources": []}
MANAGEMENT = {"Field": "eventCategory", "Equals": ["Management"]}


def basic(**more: Any) -> dict[str, Any]:
    return {**ALL, **more}


def advanced(*fields: dict[str, Any], category: str = "Management") -> dict[str, Any]:
    return {"FieldSelectors": [{"Field": "eventCategory", "Equals": [category]}, *fields]}


def source(**operator: list[str]) -> dict[str, Any]:
    return {"Field": "eventSource", **operator}


READS = {"Field": "readOnly", "Equals": ["true"]}
CHANGES = {"Field": "readOnly", "Equals": ["false"]}

SELECTORS: list[tuple[str, list[dict[str, Any]], list[dict[str, Any]], str]] = [
    ("all", [basic()], [], ""),
    ("the defaults", [{}], [], ""),
    ("without RDS's", [basic(ExcludeManagementEventSources=["rdsdata.amazonaws.com"])], [], ""),
    ("without KMS's", [basic(ExcludeManagementEventSources=[KMS])], [], "reading"),
    ("without management events", [basic(IncludeManagementEvents=False)], [], "reading"),
    ("reading only", [basic(ReadWriteType="ReadOnly")], [], "changing"),
    ("changing only", [basic(ReadWriteType="WriteOnly")], [], "reading"),
    ("in two", [basic(ReadWriteType="ReadOnly"), basic(ReadWriteType="WriteOnly")], [], ""),
    ("one of two", [basic(ExcludeManagementEventSources=[KMS]), basic()], [], ""),
    ("none", [], [], "reading"),
    ("advanced, all", [], [advanced()], ""),
    ("advanced, data only", [], [advanced(category="Data")], "reading"),
    ("advanced, without KMS's", [], [advanced(source(NotEquals=[KMS]))], "reading"),
    ("advanced, without RDS's", [], [advanced(source(NotEquals=["rdsdata.amazonaws.com"]))], ""),
    ("advanced, reading only", [], [advanced(READS)], "changing"),
    ("advanced, in two", [], [advanced(READS), advanced(CHANGES)], ""),
    ("advanced, KMS's alone", [], [advanced(source(Equals=[KMS, "ec2.amazonaws.com"]))], ""),
    ("advanced, begins", [], [advanced(source(NotStartsWith=["kms."]))], "reading"),
    ("advanced, ends", [], [advanced(source(EndsWith=[".example"]))], "reading"),
    (
        "advanced, by a field that may narrow it",
        [],
        [advanced({"Field": "eventName", "NotEquals": ["Decrypt"]})],
        "reading",
    ),
]


@pytest.mark.parametrize(("title", "selectors", "more", "lacks"), SELECTORS)
def test_which_selectors_keep_the_events_of_kms(
    title: str, selectors: list[dict[str, Any]], more: list[dict[str, Any]], lacks: str
) -> None:
    found = judge([Trail("main", logging=True, selectors=selectors, advanced=more)])
    if lacks:
        assert found.status == "fail"
        assert found.evidence == f"main does not select KMS's {lacks} management events"
    else:
        assert (found.status, found.evidence) == ("pass", "main")


KEEPS = Trail("keeps", logging=True, selectors=[ALL])
STOPPED = Trail("stopped", selectors=[ALL])
HIDDEN = Trail("hidden", refused="cloudtrail:GetTrailStatus was refused: AccessDenied: x")


@pytest.mark.parametrize(
    ("given", "status", "evidence"),
    [
        (
            [],
            "not checked",
            "there is no trail; Event history has KMS's events of the last 90 days",
        ),
        ([KEEPS], "pass", "keeps"),
        ([STOPPED], "fail", "stopped does not log"),
        ([STOPPED, KEEPS], "pass", "keeps"),
        ([HIDDEN, KEEPS], "pass", "keeps"),
        ([HIDDEN, STOPPED], "not checked", "hidden: cloudtrail:GetTrailStatus was refused"),
    ],
)
def test_one_trail_that_keeps_them_is_enough(
    given: list[Trail], status: str, evidence: str
) -> None:
    found = judge(given)
    assert (found.status, found.evidence[: len(evidence)]) == (status, evidence)


# On a sandbox of its own, since trails are the account's


@pytest.fixture(scope="module")
def own() -> Iterator[Sandbox]:
    with start_private() as started:
        started.ready()
        yield started


@pytest.mark.e2e
def test_preflight_finds_the_trails_and_changes_none(
    own: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HANDED_OVER, str(own.path))
    aws = sandbox_clients(own.ready())
    run = open_step(preflight.STEP, Parameters.load({"outputs_dir": str(tmp_path)}))

    def found() -> tuple[str, str]:
        (one,) = [one for one in preflight.verify(run) if one.statement == trails.STATEMENT]
        assert isinstance(one, Finding)
        return one.status, one.evidence

    assert found()[0] == "not checked"
    assert preflight.STEP in run.ledger.done()
    make_trail(aws, "main", aws.region)
    before = configuration(aws)
    assert found() == ("fail", "main does not log")
    assert configuration(aws) == before
    aws("cloudtrail").start_logging(Name="main")
    assert found() == ("pass", "main")
    excluding = [basic(ExcludeManagementEventSources=[KMS])]
    aws("cloudtrail").put_event_selectors(TrailName="main", EventSelectors=excluding)
    make_trail(aws, "far", "eu-west-1", IsMultiRegionTrail=True)
    aws("cloudtrail", "eu-west-1").start_logging(Name="far")
    assert found() == ("pass", "far")
    aws("cloudtrail", "eu-west-1").update_trail(Name="far", IsMultiRegionTrail=False)
    assert found() == ("fail", "main does not select KMS's reading management events")


def make_trail(aws: Clients, name: str, region: str, **more: Any) -> None:
    s3, service = aws("s3", region), {"Service": "cloudtrail.amazonaws.com"}
    allow = {"Effect": "Allow", "Principal": service}
    bucket = f"arn:aws:s3:::{name}"
    statements = [
        {**allow, "Action": "s3:GetBucketAcl", "Resource": bucket},
        {**allow, "Action": "s3:PutObject", "Resource": f"{bucket}/AWSLogs/*"},
    ]
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})
    policy = {"Version": "2012-10-17", "Statement": statements}
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
    aws("cloudtrail", region).create_trail(Name=name, S3BucketName=name, **more)


def configuration(aws: Clients) -> Any:
    client = aws("cloudtrail")
    status = client.get_trail_status(Name="main")
    return (
        client.describe_trails()["trailList"],
        client.get_event_selectors(TrailName="main")["EventSelectors"],
        status["IsLogging"],
    )
