"""CloudTrail's records of the sandbox, field by field against AWS's samples.

Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html (the two
records of Image Builder's calls to KMS),
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from awssandbox.records import EVENT_VERSION
from botocore.exceptions import ClientError
from served import ACCOUNT, DOCUMENT, REGION, Served

ADMIN = f"arn:aws:iam::{ACCOUNT}:role/Admin"
TRUST = {
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    "Action": "sts:AssumeRole",
}
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}

# The samples of the page. "?" stands for what differs from call to call; the four fields that the
# page prints empty are given the value that the services' names have.
IDENTITY = {
    "type": "AssumedRole",
    "principalId": "?",
    "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/Admin/tester",
    "accountId": ACCOUNT,
    "accessKeyId": "?",
    "sessionContext": {
        "sessionIssuer": {
            "type": "Role",
            "principalId": "?",
            "arn": ADMIN,
            "accountId": ACCOUNT,
            "userName": "Admin",
        },
        "webIdFederationData": {},
        "attributes": {"creationDate": "?", "mfaAuthenticated": "false"},
    },
    "invokedBy": "imagebuilder.amazonaws.com",
}
CONTEXT = {
    "aws:imagebuilder:arn": (
        f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:workflow/build/sample-encrypted-workflow/1.0.0/*"
    ),
    "aws-crypto-public-key": "?",
}
SAMPLE = {
    "eventVersion": EVENT_VERSION,
    "userIdentity": IDENTITY,
    "eventTime": "?",
    "eventSource": "kms.amazonaws.com",
    "eventName": "GenerateDataKey",
    "awsRegion": REGION,
    "sourceIPAddress": "imagebuilder.amazonaws.com",
    "userAgent": "imagebuilder.amazonaws.com",
    "requestParameters": {
        "encryptionContext": CONTEXT,
        "keyId": f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/ExampleKMSKey",
        "numberOfBytes": 32,
    },
    "responseElements": None,
    "requestID": "?",
    "eventID": "?",
    "readOnly": True,
    "resources": [{"accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": "?"}],
    "eventType": "AwsApiCall",
    "managementEvent": True,
    "recipientAccountId": ACCOUNT,
    "eventCategory": "Management",
}
NEWER = {"additionalEventData"}
"""What newer records have beside the samples' fields.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-generatedatakey.html
"""


def differences(record: Any, sample: Any, place: str = "") -> list[str]:
    """Where a record is not as the sample: a missing field, one too many, another value."""
    if sample == "?":
        return [] if record else [f"{place} is empty"]
    if isinstance(sample, dict) and isinstance(record, dict):
        names = sorted(set(sample) | set(record) - (NEWER if not place else set()))
        return [
            line
            for name in names
            for line in (
                differences(record[name], sample[name], f"{place}.{name}")
                if name in sample and name in record
                else [f"{place}.{name} is {'missing' if name in sample else 'not in the sample'}"]
            )
        ]
    if isinstance(sample, list) and isinstance(record, list) and len(sample) == len(record):
        return [
            line
            for index, (one, other) in enumerate(zip(record, sample, strict=True))
            for line in differences(one, other, f"{place}[{index}]")
        ]
    return [] if record == sample else [f"{place} is {record!r}, not {sample!r}"]


class Created:
    """The page's workflow, made by a session of the role Admin under a key named by its alias."""

    def __init__(self, sandbox: Served) -> None:
        self.sandbox = sandbox
        self.admin = sandbox.assume(sandbox.role("Admin", TRUST, EVERYTHING))
        kms = sandbox.client("kms", self.admin)
        self.key = kms.create_key()["KeyMetadata"]["Arn"]
        kms.create_alias(AliasName="alias/ExampleKMSKey", TargetKeyId=self.key)
        self.imagebuilder = sandbox.client("imagebuilder", self.admin)
        self.workflow = self.imagebuilder.create_workflow(
            name="sample-encrypted-workflow",
            semanticVersion="1.0.0",
            type="BUILD",
            data=DOCUMENT,
            kmsKeyId=f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/ExampleKMSKey",
        )["workflowBuildVersionArn"]


@pytest.fixture
def created(sandbox: Served) -> Created:
    return Created(sandbox)


def test_the_record_of_create_workflow_s_data_key(created: Created) -> None:
    (record,) = created.sandbox.records("GenerateDataKey")
    assert differences(record, SAMPLE) == []
    assert record["resources"][0]["ARN"] == created.key
    assert re.fullmatch(r"[0-9a-f]{64}", record["additionalEventData"]["keyMaterialId"])
    public_key = record["requestParameters"]["encryptionContext"]["aws-crypto-public-key"]
    assert len(public_key) == 68, "a compressed point of P-384 in base64"


def test_the_record_of_get_workflow_s_decrypt(created: Created) -> None:
    created.imagebuilder.get_workflow(workflowBuildVersionArn=created.workflow)
    (made,) = created.sandbox.records("GenerateDataKey")
    (record,) = created.sandbox.records("Decrypt")
    expected = {
        **SAMPLE,
        "eventName": "Decrypt",
        "requestParameters": {
            "keyId": created.key,
            "encryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "encryptionContext": made["requestParameters"]["encryptionContext"],
        },
    }
    assert differences(record, expected) == []


def test_the_principal_is_the_session_s(created: Created) -> None:
    (record,) = created.sandbox.records("GenerateDataKey")
    identity = record["userIdentity"]
    role_id, _, session = identity["principalId"].partition(":")
    assert role_id.startswith("AROA")
    assert session == "tester"
    assert identity["sessionContext"]["sessionIssuer"]["principalId"] == role_id
    assert identity["accessKeyId"] == created.admin[0]


def test_no_record_holds_a_document_or_a_secret(created: Created) -> None:
    created.imagebuilder.get_workflow(workflowBuildVersionArn=created.workflow)
    key = created.sandbox.client("iam").create_access_key(UserName="administrator")["AccessKey"]
    text = json.dumps([*created.sandbox.records(), *created.sandbox.records(region="us-east-1")])
    assert "LaunchBuildInstance" not in text
    assert key["AccessKeyId"] in text
    assert key["SecretAccessKey"] not in text
    assert "laintext" not in text.replace("WithoutPlaintext", "")


def test_a_workflow_without_a_key_leaves_no_record_of_kms(sandbox: Served) -> None:
    """Image Builder then encrypts with a key of its own, which shows nowhere."""
    client = sandbox.client("imagebuilder")
    arn = client.create_workflow(
        name="plain", semanticVersion="1.0.0", type="BUILD", data=DOCUMENT
    )["workflowBuildVersionArn"]
    answer = client.get_workflow(workflowBuildVersionArn=arn)["workflow"]
    assert "kmsKeyId" not in answer
    assert answer["data"] == DOCUMENT
    assert [r["eventName"] for r in sandbox.records()] == ["CreateWorkflow", "GetWorkflow"]


def test_a_refused_call_leaves_a_record(sandbox: Served) -> None:
    """``AccessDenied`` without the error code's "Exception", and without request parameters."""
    learner = sandbox.user("learner", {"Effect": "Allow", "Action": "sts:*", "Resource": "*"})
    key = sandbox.client("kms").create_key()["KeyMetadata"]["Arn"]
    with pytest.raises(ClientError):
        sandbox.client("kms", learner).describe_key(KeyId=key)
    (record,) = sandbox.records("DescribeKey")
    assert record["errorCode"] == "AccessDenied"
    assert record["errorMessage"] == (
        f"User: arn:aws:iam::{ACCOUNT}:user/learner is not authorized to perform: kms:DescribeKey "
        f"on resource: {key} because no identity-based policy allows the kms:DescribeKey action"
    )
    assert record["requestParameters"] is None
    assert record["responseElements"] is None
    assert record["userIdentity"]["type"] == "IAMUser"
    assert record["userIdentity"]["userName"] == "learner"
    assert "invokedBy" not in record["userIdentity"]
    assert record["sourceIPAddress"] == "127.0.0.1"


def test_another_refusal_keeps_its_name_and_its_parameters(sandbox: Served) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-decrypt.html"""
    kms = sandbox.client("kms")
    one, other = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    blob = kms.encrypt(KeyId=one, Plaintext=b"x")["CiphertextBlob"]
    with pytest.raises(ClientError):
        kms.decrypt(CiphertextBlob=blob, KeyId=other)
    record = sandbox.records("Decrypt")[-1]
    assert record["errorCode"] == "IncorrectKeyException"
    assert record["requestParameters"] == {
        "keyId": other,
        "encryptionAlgorithm": "SYMMETRIC_DEFAULT",
    }
    assert record["resources"][0]["ARN"] == other


def test_iam_is_recorded_in_the_partition_s_global_region(sandbox: Served) -> None:
    sandbox.client("iam", region="eu-west-1").list_users()
    assert sandbox.records("ListUsers", region="us-east-1")
    assert not sandbox.records("ListUsers", region="eu-west-1")


def test_a_call_in_another_region_is_recorded_there(sandbox: Served) -> None:
    sandbox.client("kms", region="eu-west-1").list_keys()
    assert sandbox.records("ListKeys", region="eu-west-1")
    assert not sandbox.records("ListKeys")
