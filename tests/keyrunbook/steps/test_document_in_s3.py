"""A workflow document in S3, in place of a file: read, planned, created by its URI, compared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from jobs import DOCUMENT, Job
from keyrunbook.aws.clients import Clients
from keyrunbook.errors import AwsRefused, ParameterError
from keyrunbook.steps import encrypt_workflow
from test_operator_permissions import Operators, operators, policy_for

__all__ = ["operators"]

pytestmark = pytest.mark.e2e

BODY = f"# from S3\n{DOCUMENT}".encode()
STEPS = ("01_create_key", "03_encrypt_workflow")


@pytest.fixture
def put(aws: Clients, new_job: Callable[..., Job]) -> Callable[..., str]:
    """Puts a body into a bucket of the test's own, and gives its URI."""
    s3, bucket = aws("s3"), new_job().given["run_id"]
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": aws.region})

    def put(body: bytes, key: str = "folder/build ä.yaml") -> str:
        s3.put_object(Bucket=bucket, Key=key, Body=body)
        return f"s3://{bucket}/{key}"

    return put


def plan(job: Job) -> Any:
    run = job.open("03")
    return encrypt_workflow.plan(encrypt_workflow.observe(run), run.parameters)


def make_key(job: Job) -> None:
    job.do("01")
    job.do("02")


def test_the_workflow_is_made_by_its_uri_and_compared_with_the_object(
    put: Callable[..., str], new_job: Callable[..., Job], aws: Clients
) -> None:
    uri = put(BODY)
    job = new_job(workflow_uri=uri)
    make_key(job)
    (change,) = plan(job)
    assert change.parameters["uri"] == uri
    assert "data" not in change.parameters
    assert change.keep["sha256"] == hashlib.sha256(BODY).hexdigest()
    assert change.keep["etag"] == hashlib.md5(BODY, usedforsecurity=False).hexdigest()
    findings = job.do("03")
    assert {finding.status for finding in findings} == {"pass"}
    assert f"sha256 {change.keep['sha256']}" in findings[-1].evidence
    (intent,) = job.open("03").ledger.of_kind("intent", STEPS[1])
    assert intent["before"] == dict(change.keep)
    assert len(plan(job)) == 0
    put(BODY + b"# changed")
    (again,) = plan(job)
    assert again.keep["sha256"] != change.keep["sha256"]
    (last,) = encrypt_workflow.verify(job.open("03")).failed()
    assert "not the one that the workflow was made from" in last.mend


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (None, "could not be read: NoSuchKey"),
        (b"#" * (64 * 1024 + 1), "more than 65,536 bytes"),
        (b"\xff", "not text in UTF-8"),
        (b"a: [", "is not YAML"),
        (b"name: x\ndescription: ask me@example.com\n", "line 2: the text looks like an e-mail"),
    ],
)
def test_a_document_that_is_none_is_told_before_anything_is_made(
    put: Callable[..., str], new_job: Callable[..., Job], body: bytes | None, told: str
) -> None:
    uri = put(BODY)
    if body is None:
        uri += "-none"
    else:
        put(body)
    job = new_job(workflow_uri=uri)
    job.do("01")
    job.do("02")
    with pytest.raises(ParameterError, match="workflow_uri") as refused:
        plan(job)
    assert told in str(refused.value)


def test_the_operator_needs_the_object_and_no_more(
    put: Callable[..., str], new_job: Callable[..., Job], aws: Clients, operators: Operators
) -> None:
    job = new_job(workflow_uri=put(BODY))
    policy = policy_for(job, aws, "sandbox", ("01_create_key", "02_grant_access", STEPS[1]))
    (statement,) = [one for one in policy["Statement"] if "s3" in str(one["Action"])]
    bucket, _, key = job.given["workflow_uri"].removeprefix("s3://").partition("/")
    assert statement["Resource"] == f"arn:aws:s3:::{bucket}/{key}"
    less = {**policy, "Statement": [one for one in policy["Statement"] if one is not statement]}
    word = job.given["run_id"]
    operators.become(f"{word}-less", less)
    make_key(job)
    with pytest.raises(AwsRefused, match="s3:GetObject"):
        job.do("03")
    operators.become(f"{word}-enough", policy)
    assert job.do("03").failed() == []
