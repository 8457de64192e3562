"""CreateWorkflow with `uri`: the document is read from S3, as the caller.

Source: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CreateWorkflow.html
"""

from __future__ import annotations

from typing import Any

import pytest
from awssandbox.imagebuilder.objects import LARGEST_KB
from in_process import OTHER, Sandbox, allow, refusal
from served import DOCUMENT, REGION, document

URI = "s3://documents/folder/build ä.yaml"
OBJECT = "arn:aws:s3:::documents/folder/build ä.yaml"
MAY_CREATE = allow(["imagebuilder:*"])


@pytest.fixture
def sandbox() -> Sandbox:
    made = Sandbox()
    s3 = made.client("s3")
    s3.create_bucket(Bucket="documents", CreateBucketConfiguration={"LocationConstraint": REGION})
    put(made, DOCUMENT.encode())
    return made


def put(sandbox: Sandbox, body: bytes, key: str = "folder/build ä.yaml") -> None:
    sandbox.client("s3").put_object(Bucket="documents", Key=key, Body=body)


def create(client: Any, **given: Any) -> str:
    parameters = {"name": "example", "semanticVersion": "1.0.0", "type": "BUILD", "uri": URI}
    answer = client.create_workflow(**{**parameters, **given})
    arn: str = answer["workflowBuildVersionArn"]
    return arn


def test_the_workflow_has_the_object_s_text(sandbox: Sandbox) -> None:
    builder = sandbox.client("imagebuilder")
    key = sandbox.client("kms").create_key()["KeyMetadata"]["Arn"]
    arn = create(builder, kmsKeyId=key)
    put(sandbox, b"changed afterwards")
    workflow = builder.get_workflow(workflowBuildVersionArn=arn)["workflow"]
    assert (workflow["data"], workflow["kmsKeyId"]) == (DOCUMENT, key)
    assert sandbox.record("CreateWorkflow")["requestParameters"]["uri"] == URI


def test_the_same_text_is_the_same_configuration_wherever_it_is(sandbox: Sandbox) -> None:
    builder = sandbox.client("imagebuilder")
    create(builder)
    put(sandbox, DOCUMENT.encode(), "copy")
    copy = "s3://documents/copy"
    assert refusal(lambda: create(builder, uri=copy))[0] == "ResourceAlreadyExistsException"
    put(sandbox, f"{DOCUMENT}#".encode(), "copy")
    assert create(builder, uri=copy).endswith("/2")


def test_the_caller_reads_it(sandbox: Sandbox) -> None:
    reads = allow("s3:GetObject", OBJECT)
    may_not = sandbox.user("may-not", MAY_CREATE, allow("s3:GetObject", f"{OBJECT}l"))
    code, text, status = refusal(lambda: create(sandbox.client("imagebuilder", may_not)))
    assert (code, status) == ("ForbiddenException", 403)
    assert f'not authorized to perform: s3:GetObject on resource: "{OBJECT}"' in text
    may = sandbox.user("may", MAY_CREATE, reads)
    assert create(sandbox.client("imagebuilder", may))
    by_service = {"ForAnyValue:StringEquals": {"aws:CalledVia": "imagebuilder.amazonaws.com"}}
    bound = sandbox.user("bound", MAY_CREATE, {**reads, "Condition": by_service})
    assert create(sandbox.client("imagebuilder", bound), name="bound")
    one = {"Bucket": "documents", "Key": "folder/build ä.yaml"}
    assert refusal(lambda: sandbox.client("s3", bound).get_object(**one))[0] == "AccessDenied"


def test_an_object_of_another_account_needs_both_sides(sandbox: Sandbox) -> None:
    theirs = sandbox.user("theirs", MAY_CREATE, allow("s3:GetObject", OBJECT), account=OTHER)
    builder = sandbox.client("imagebuilder", theirs)
    assert refusal(lambda: create(builder))[0] == "ForbiddenException"
    statement = allow("s3:GetObject", OBJECT, Principal={"AWS": OTHER})
    sandbox.client("s3").put_bucket_policy(Bucket="documents", Policy=document(statement))
    assert f":{OTHER}:workflow/" in create(builder)


@pytest.mark.parametrize(
    ("given", "code", "told"),
    [
        ({"data": DOCUMENT}, "InvalidParameterCombinationException", "not both"),
        ({"uri": "https://documents/x"}, "InvalidParameterValueException", "'uri'"),
        ({"uri": "s3://documents"}, "InvalidParameterValueException", "s3://bucket/key"),
        ({"uri": "s3://documents/none"}, "ClientException", "NoSuchKey"),
        ({"uri": "s3://nobody/none"}, "ClientException", "NoSuchBucket"),
        ({"uri": "s3://documents/large"}, "ServiceQuotaExceededException", "64"),
        ({"uri": "s3://documents/binary"}, "InvalidParameterValueException", "UTF-8"),
        ({"uri": "s3://documents/wrong"}, "InvalidParameterValueException", "'uri'"),
        ({"dryRun": True}, "DryRunOperationException", "would have succeeded"),
        ({"dryRun": True, "uri": "s3://documents/none"}, "ClientException", "NoSuchKey"),
    ],
)
def test_what_is_refused(sandbox: Sandbox, given: dict[str, Any], code: str, told: str) -> None:
    put(sandbox, b"#" * (LARGEST_KB * 1024 + 1), "large")
    put(sandbox, b"\xff", "binary")
    put(sandbox, b"schemaVersion: 1.0", "wrong")
    builder = sandbox.client("imagebuilder")
    answered, text, _ = refusal(lambda: create(builder, **given))
    assert (answered, told in text) == (code, True), text
    assert builder.list_workflows()["workflowVersionList"] == []


def test_a_document_in_s3_may_be_longer_than_one_in_the_request(sandbox: Sandbox) -> None:
    text = DOCUMENT + "#" * (LARGEST_KB * 1024 - len(DOCUMENT))
    put(sandbox, text.encode())
    builder = sandbox.client("imagebuilder")
    arn = create(builder)
    assert builder.get_workflow(workflowBuildVersionArn=arn)["workflow"]["data"] == text
