"""Who may do what with a bucket and its objects, bucket policies, and what CloudTrail has of it.

Sources: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html,
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics.html
"""

from __future__ import annotations

from typing import Any

import pytest
from awssandbox.call import Caller
from in_process import OTHER, Sandbox, allow, refusal
from served import ACCOUNT, REGION, document

BUCKET = "arn:aws:s3:::documents"
OBJECTS = f"{BUCKET}/*"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"


@pytest.fixture
def sandbox() -> Sandbox:
    """One with the bucket ``documents``, and ``one.yaml`` in it."""
    made = Sandbox()
    s3 = made.client("s3")
    s3.create_bucket(Bucket="documents", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="documents", Key="one.yaml", Body=b"text")
    return made


CALLS: dict[str, Any] = {
    "list_buckets": {},
    "head_bucket": {"Bucket": "documents"},
    "get_bucket_location": {"Bucket": "documents"},
    "list_objects": {"Bucket": "documents"},
    "list_objects_v2": {"Bucket": "documents"},
    "get_object": {"Bucket": "documents", "Key": "one.yaml"},
    "head_object": {"Bucket": "documents", "Key": "one.yaml"},
    "put_object": {"Bucket": "documents", "Key": "two.yaml", "Body": b""},
    "delete_object": {"Bucket": "documents", "Key": "two.yaml"},
    "get_bucket_policy": {"Bucket": "documents"},
    "delete_bucket_policy": {"Bucket": "documents"},
    "put_bucket_policy": {
        "Bucket": "documents",
        "Policy": document(allow("s3:GetObject", OBJECTS, Principal={"AWS": ACCOUNT})),
    },
    "create_bucket": {
        "Bucket": "another",
        "CreateBucketConfiguration": {"LocationConstraint": REGION},
    },
}


@pytest.mark.parametrize(
    ("call", "action", "resource"),
    [
        ("list_buckets", "s3:ListAllMyBuckets", "*"),
        ("head_bucket", "s3:ListBucket", BUCKET),
        ("get_bucket_location", "s3:GetBucketLocation", BUCKET),
        ("list_objects", "s3:ListBucket", BUCKET),
        ("list_objects_v2", "s3:ListBucket", BUCKET),
        ("get_object", "s3:GetObject", f"{BUCKET}/one.yaml"),
        ("head_object", "s3:GetObject", f"{BUCKET}/one.yaml"),
        ("put_object", "s3:PutObject", f"{BUCKET}/two.yaml"),
        ("delete_object", "s3:DeleteObject", f"{BUCKET}/two.yaml"),
        ("put_bucket_policy", "s3:PutBucketPolicy", BUCKET),
        ("delete_bucket_policy", "s3:DeleteBucketPolicy", BUCKET),
        ("create_bucket", "s3:CreateBucket", "arn:aws:s3:::another"),
    ],
)
def test_a_call_needs_its_action_on_its_resource(
    sandbox: Sandbox, call: str, action: str, resource: str
) -> None:
    """The bucket for what is about the bucket, the object for what is about an object."""
    other = OBJECTS if resource == BUCKET else BUCKET
    wrong = allow("s3:*", other) if resource != "*" else allow("s3:ListBucket")
    refused = sandbox.client("s3", sandbox.user("wrong", wrong))
    code, _, status = refusal(lambda: getattr(refused, call)(**CALLS[call]))
    assert status == 403
    assert code in ("AccessDenied", "403")  # an answer to HEAD has no text
    right = sandbox.client("s3", sandbox.user("right", allow(action, resource)))
    getattr(right, call)(**CALLS[call])


def test_an_object_that_is_not_there_is_told_to_who_may_list(sandbox: Sandbox) -> None:
    """Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html"""
    none = {"Bucket": "documents", "Key": "none"}
    reads = allow("s3:GetObject", OBJECTS)
    reader = sandbox.client("s3", sandbox.user("reader", reads))
    code, text, status = refusal(lambda: reader.get_object(**none))
    assert (code, status, "s3:ListBucket" in text) == ("AccessDenied", 403, True)
    lister = sandbox.client("s3", sandbox.user("lister", reads, allow("s3:ListBucket", BUCKET)))
    assert refusal(lambda: lister.get_object(**none))[0] == "NoSuchKey"


# Bucket policies


def put_policy(sandbox: Sandbox, *statements: dict[str, Any], by: Caller | None = None) -> None:
    sandbox.client("s3", by).put_bucket_policy(Bucket="documents", Policy=document(*statements))


def test_in_one_account_either_policy_is_enough_and_a_deny_wins(sandbox: Sandbox) -> None:
    user = sandbox.user("user")
    s3 = sandbox.client("s3", user)
    get = lambda: s3.get_object(Bucket="documents", Key="one.yaml")  # noqa: E731
    assert refusal(get)[0] == "AccessDenied"
    put_policy(sandbox, allow("s3:GetObject", OBJECTS, Principal={"AWS": user.principal.arn}))
    assert get()["Body"].read() == b"text"
    assert refusal(lambda: s3.list_objects_v2(Bucket="documents"))[0] == "AccessDenied"
    deny = {**allow("s3:GetObject", OBJECTS, Principal="*"), "Effect": "Deny"}
    put_policy(sandbox, deny)
    code, text, _ = refusal(
        lambda: sandbox.client("s3").get_object(Bucket="documents", Key="one.yaml")
    )
    assert (code, "explicit deny in a resource-based policy" in text) == ("AccessDenied", True)


def test_between_accounts_both_sides_must_allow(sandbox: Sandbox) -> None:
    mine = allow("s3:GetObject", OBJECTS)
    theirs = sandbox.client("s3", sandbox.user("stranger", mine, account=OTHER))
    get = lambda: theirs.get_object(Bucket="documents", Key="one.yaml")  # noqa: E731
    assert refusal(get)[0] == "AccessDenied"
    put_policy(sandbox, allow("s3:GetObject", OBJECTS, Principal={"AWS": OTHER}))
    assert get()["Body"].read() == b"text"
    bare = sandbox.client("s3", sandbox.user("bare", account=OTHER))
    one = {"Bucket": "documents", "Key": "one.yaml"}
    assert refusal(lambda: bare.get_object(**one))[0] == "AccessDenied"


def test_a_bucket_s_policy_is_its_account_s_business(sandbox: Sandbox) -> None:
    """Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketPolicy.html"""
    put_policy(sandbox, allow("s3:*", [BUCKET, OBJECTS][0], Principal={"AWS": OTHER}))
    theirs = sandbox.client("s3", sandbox.user("stranger", allow("s3:*"), account=OTHER))
    told = refusal(lambda: theirs.get_bucket_policy(Bucket="documents"))
    assert (told[0], told[2]) == ("MethodNotAllowed", 405)
    assert refusal(
        lambda: theirs.create_bucket(**CALLS["create_bucket"] | {"Bucket": "documents"})
    )[0] == ("BucketAlreadyExists")


def test_the_root_user_is_not_locked_out_of_a_policy(sandbox: Sandbox) -> None:
    deny = {**allow("s3:*", [BUCKET, OBJECTS], Principal="*"), "Effect": "Deny"}  # type: ignore[arg-type]
    put_policy(sandbox, deny)
    s3 = sandbox.client("s3")
    assert refusal(lambda: s3.list_objects_v2(Bucket="documents"))[0] == "AccessDenied"
    s3.delete_bucket_policy(Bucket="documents")
    assert s3.list_objects_v2(Bucket="documents")["KeyCount"] == 1


def test_a_policy_comes_back_as_it_was_sent_until_its_principal_is_gone(sandbox: Sandbox) -> None:
    user = sandbox.user("user")
    s3, iam = sandbox.client("s3"), sandbox.client("iam")
    assert refusal(lambda: s3.get_bucket_policy(Bucket="documents"))[0] == "NoSuchBucketPolicy"
    statement = allow("s3:GetObject", OBJECTS, Principal={"AWS": user.principal.arn})
    put_policy(sandbox, statement)
    assert s3.get_bucket_policy(Bucket="documents")["Policy"] == document(statement)
    iam.delete_user(UserName="user")
    shown = s3.get_bucket_policy(Bucket="documents")["Policy"]
    assert user.principal.arn not in shown
    assert user.principal_id in shown
    again = sandbox.client("s3", sandbox.user("user"))
    one = {"Bucket": "documents", "Key": "one.yaml"}
    assert refusal(lambda: again.get_object(**one))[0] == "AccessDenied"


THEM = {"AWS": ACCOUNT}


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (allow("s3:GetObject", OBJECTS), "MalformedPolicy"),
        (allow("s3:GetObject", f"{BUCKET}-2/*", Principal=THEM), "MalformedPolicy"),
        (allow("ec2:RunInstances", OBJECTS, Principal=THEM), "MalformedPolicy"),
        ({"Effect": "Allow", "Action": "s3:GetObject", "Principal": THEM}, "MalformedPolicy"),
        (
            allow("s3:GetObject", OBJECTS, Principal={"AWS": f"{ROOT[:-4]}user/nobody"}),
            "MalformedPolicy",
        ),
        (allow("s3:GetObject", OBJECTS, Principal="*"), "AccessDenied"),
        (
            allow(
                "s3:GetObject",
                OBJECTS,
                Principal="*",
                Condition={"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/x"}},
            ),
            "AccessDenied",
        ),
        (
            allow(
                "s3:PutObject",
                OBJECTS,
                Principal=THEM,
                Condition={"StringEquals": {"s3:x-amz-storage-class": "GLACIER"}},
            ),
            "NotImplemented",
        ),
    ],
)
def test_policies_that_are_not_taken(
    sandbox: Sandbox, statement: dict[str, Any], told: str
) -> None:
    assert refusal(lambda: put_policy(sandbox, statement))[0] == told
    code = refusal(lambda: sandbox.client("s3").get_bucket_policy(Bucket="documents"))[0]
    assert code == "NoSuchBucketPolicy"


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [
        ({"StringEquals": {"s3:prefix": "mine/"}}, True),
        ({"StringEquals": {"s3:prefix": "yours/"}}, False),
        ({"StringEquals": {"s3:max-keys": "5"}}, True),
        ({"StringEquals": {"s3:ResourceAccount": ACCOUNT}}, True),
        ({"StringEquals": {"aws:PrincipalAccount": OTHER}}, False),
    ],
)
def test_conditions(sandbox: Sandbox, condition: dict[str, Any], allowed: bool) -> None:
    user = sandbox.user("user", allow("s3:ListBucket", BUCKET, Condition=condition))
    s3 = sandbox.client("s3", user)
    ask = lambda: s3.list_objects_v2(Bucket="documents", Prefix="mine/", MaxKeys=5)  # noqa: E731
    if allowed:
        assert ask()["KeyCount"] == 0
    else:
        assert refusal(ask)[0] == "AccessDenied"


# Records


def test_calls_on_buckets_are_in_the_event_history_and_calls_on_objects_are_not(
    sandbox: Sandbox,
) -> None:
    stranger = sandbox.client("s3", sandbox.user("stranger"))
    for name in ("get_object", "get_bucket_policy", "list_objects_v2"):
        assert refusal(lambda name=name: getattr(stranger, name)(**CALLS[name]))[2] == 403
    put_policy(sandbox, allow("s3:GetObject", OBJECTS, Principal=THEM))
    events = [
        (entry.record["eventName"], entry.record.get("errorCode"))
        for entry in sandbox.world.trail.entries(ACCOUNT, REGION)
        if entry.record["eventSource"] == "s3.amazonaws.com"
    ]
    assert events == [
        ("CreateBucket", None),
        ("GetBucketPolicy", "AccessDenied"),
        ("PutBucketPolicy", None),
    ]
    record = sandbox.record("PutBucketPolicy")
    assert record["requestParameters"]["bucketName"] == "documents"
    assert record["resources"] == [{"accountId": ACCOUNT, "type": "AWS::S3::Bucket", "ARN": BUCKET}]
    assert (record["managementEvent"], record["readOnly"]) == (True, False)


def test_two_sandboxes_know_nothing_of_each_other(sandbox: Sandbox) -> None:
    """moto's store is one for the process."""
    another = Sandbox()
    s3 = another.client("s3")
    assert s3.list_buckets()["Buckets"] == []
    s3.create_bucket(Bucket="documents", CreateBucketConfiguration={"LocationConstraint": REGION})
    assert s3.list_objects_v2(Bucket="documents")["KeyCount"] == 0
    assert sandbox.client("s3").list_objects_v2(Bucket="documents")["KeyCount"] == 1
