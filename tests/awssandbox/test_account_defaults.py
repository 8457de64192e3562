"""What an account has switched on: EBS and S3 encryption by default, Macie, Identity Center.

Sources: https://docs.aws.amazon.com/ebs/latest/userguide/encryption-by-default.html,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-encryption.html,
https://docs.aws.amazon.com/macie/latest/APIReference/macie.html,
https://docs.aws.amazon.com/singlesignon/latest/APIReference/API_ListInstances.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from in_process import OTHER, Sandbox, allow, refusal

Call = Callable[[Any], Any]
KEY = "arn:aws:kms:us-west-2:111122223333:key/1"


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox()


def test_ebs_encryption_by_default_and_its_key(sandbox: Sandbox) -> None:
    ec2 = sandbox.client("ec2")

    def now() -> tuple[bool, str]:
        on = ec2.get_ebs_encryption_by_default()["EbsEncryptionByDefault"]
        return on, ec2.get_ebs_default_kms_key_id()["KmsKeyId"]

    assert now() == (False, "alias/aws/ebs")
    assert ec2.enable_ebs_encryption_by_default()["EbsEncryptionByDefault"] is True
    ec2.modify_ebs_default_kms_key_id(KmsKeyId=KEY)
    assert now() == (True, KEY)
    other = sandbox.client("ec2", sandbox.root(OTHER))
    assert other.get_ebs_encryption_by_default()["EbsEncryptionByDefault"] is False
    ec2.disable_ebs_encryption_by_default()
    ec2.reset_ebs_default_kms_key_id()
    assert now() == (False, "alias/aws/ebs")
    code, _, status = refusal(lambda: ec2.enable_ebs_encryption_by_default(DryRun=True))
    assert (code, status, now()[0]) == ("DryRunOperation", 412, False)
    assert refusal(ec2.describe_instances)[0] == "NotImplemented"


def test_macie_tells_nothing_of_itself_while_it_is_off(sandbox: Sandbox) -> None:
    macie = sandbox.client("macie2")
    off = ("AccessDeniedException", "Macie is not enabled.", 403)
    assert refusal(macie.get_macie_session) == off
    assert sandbox.record("GetMacieSession")["errorCode"] == "AccessDenied"
    macie.enable_macie()
    assert macie.get_macie_session()["status"] == "ENABLED"
    assert refusal(macie.enable_macie)[0] == "ConflictException"
    macie.update_macie_session(status="PAUSED")
    assert macie.get_macie_session()["status"] == "PAUSED"
    macie.disable_macie()
    assert refusal(macie.get_macie_session) == off


def test_an_account_instance_of_identity_center(sandbox: Sandbox) -> None:
    sso = sandbox.client("sso-admin")
    assert sso.list_instances()["Instances"] == []
    arn = sso.create_instance(Name="people")["InstanceArn"]
    (one,) = sso.list_instances()["Instances"]
    assert (one["InstanceArn"], one["Status"], one["Name"]) == (arn, "ACTIVE", "people")
    record = sandbox.record("CreateInstance")
    assert record["eventSource"] == "sso.amazonaws.com"
    assert refusal(sso.create_instance)[0] == "ConflictException"
    sso.delete_instance(InstanceArn=arn)
    assert sso.list_instances()["Instances"] == []
    assert refusal(lambda: sso.delete_instance(InstanceArn=arn))[0] == "ResourceNotFoundException"


def test_a_bucket_s_default_encryption(sandbox: Sandbox) -> None:
    s3 = sandbox.client("s3")
    where = {"LocationConstraint": "us-west-2"}
    s3.create_bucket(Bucket="some-logs", CreateBucketConfiguration=where)

    def now() -> dict[str, str]:
        answer = s3.get_bucket_encryption(Bucket="some-logs")["ServerSideEncryptionConfiguration"]
        return dict(answer["Rules"][0]["ApplyServerSideEncryptionByDefault"])

    assert now() == {"SSEAlgorithm": "AES256"}
    by_kms = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": by_kms}]}
    s3.put_bucket_encryption(Bucket="some-logs", ServerSideEncryptionConfiguration=rules)
    assert now() == by_kms
    s3.delete_bucket_encryption(Bucket="some-logs")
    assert now() == {"SSEAlgorithm": "AES256"}
    assert refusal(lambda: s3.get_bucket_encryption(Bucket="no-such-bucket"))[0] == "NoSuchBucket"


@pytest.mark.parametrize(
    ("service", "call", "action", "code"),
    [
        ("ec2", lambda c: c.get_ebs_encryption_by_default(),
         "ec2:GetEbsEncryptionByDefault", "UnauthorizedOperation"),
        ("ec2", lambda c: c.enable_ebs_encryption_by_default(),
         "ec2:EnableEbsEncryptionByDefault", "UnauthorizedOperation"),
        ("macie2", lambda c: c.get_macie_session(),
         "macie2:GetMacieSession", "AccessDeniedException"),
        ("sso-admin", lambda c: c.list_instances(), "sso:ListInstances", "AccessDeniedException"),
        ("s3", lambda c: c.get_bucket_encryption(Bucket="some-logs"),
         "s3:GetEncryptionConfiguration", "AccessDenied"),
    ],
)  # fmt: skip
def test_each_needs_its_action(
    sandbox: Sandbox, service: str, call: Call, action: str, code: str
) -> None:
    where = {"LocationConstraint": "us-west-2"}
    sandbox.client("s3").create_bucket(Bucket="some-logs", CreateBucketConfiguration=where)
    nobody = sandbox.user("nobody", allow("kms:*"))
    said = refusal(lambda: call(sandbox.client(service, nobody)))
    assert said[0] == code
    assert action in said[1]
    somebody = sandbox.client(service, sandbox.user("somebody", allow(action)))
    if service == "macie2":
        sandbox.client(service).enable_macie()
    call(somebody)
