"""Buckets and objects, over real HTTP, with boto3 and the AWS CLI."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import boto3
import pytest
from awssandbox.server import LARGEST_BODY
from botocore.config import Config
from served import AWS, REGION, Served, refusal

pytestmark = pytest.mark.e2e

HERE = {"LocationConstraint": REGION}
KEYS = ["plain.yaml", "a folder/ä+b&c=d.yaml", "a//b/../c", "x" * 1024]


@pytest.fixture
def s3(sandbox: Served) -> Any:
    """A client of a sandbox that has the bucket ``documents``."""
    client = sandbox.client("s3")
    client.create_bucket(Bucket="documents", CreateBucketConfiguration=HERE)
    return client


# Buckets


def test_a_bucket_from_its_making_to_its_end(sandbox: Served) -> None:
    s3 = sandbox.client("s3")
    made = s3.create_bucket(Bucket="documents", CreateBucketConfiguration=HERE)
    assert made["Location"] == "/documents"
    (bucket,) = s3.list_buckets()["Buckets"]
    assert bucket["Name"] == "documents"
    assert s3.head_bucket(Bucket="documents")["BucketRegion"] == REGION
    assert s3.get_bucket_location(Bucket="documents")["LocationConstraint"] == REGION
    s3.put_object(Bucket="documents", Key="one", Body=b"1")
    assert refusal(s3.delete_bucket, Bucket="documents")[:2] == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket="documents", Key="one")
    s3.delete_bucket(Bucket="documents")
    assert s3.list_buckets()["Buckets"] == []
    assert refusal(s3.head_bucket, Bucket="documents")[:2] == ("404", 404)
    assert refusal(s3.list_objects_v2, Bucket="documents")[:2] == ("NoSuchBucket", 404)


@pytest.mark.parametrize(
    ("name", "constraint", "code"),
    [
        ("documents", REGION, "BucketAlreadyOwnedByYou"),
        ("new", None, "IllegalLocationConstraintException"),
        ("new", "eu-west-1", "IllegalLocationConstraintException"),
        ("Capital", REGION, "InvalidBucketName"),
        ("two..dots", REGION, "InvalidBucketName"),
        ("192.168.0.1", REGION, "InvalidBucketName"),
    ],
)
def test_buckets_that_are_not_made(s3: Any, name: str, constraint: str | None, code: str) -> None:
    where = {"CreateBucketConfiguration": {"LocationConstraint": constraint}} if constraint else {}
    assert refusal(s3.create_bucket, Bucket=name, **where)[0] == code


def test_a_bucket_is_in_its_region_and_a_client_finds_out_which(sandbox: Served, s3: Any) -> None:
    first = sandbox.client("s3", region="us-east-1")
    first.create_bucket(Bucket="elsewhere")
    assert first.get_bucket_location(Bucket="elsewhere")["LocationConstraint"] is None
    first.create_bucket(Bucket="elsewhere")  # in us-east-1 this is no error
    first.put_object(Bucket="elsewhere", Key="one", Body=b"1")
    assert s3.get_object(Bucket="elsewhere", Key="one")["Body"].read() == b"1"


# Objects


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:24])
def test_an_object_comes_back_as_it_was_put(s3: Any, key: str) -> None:
    body = bytes(range(256)) * 40
    put = s3.put_object(
        Bucket="documents", Key=key, Body=body, ContentType="text/yaml", Metadata={"made-by": "me"}
    )
    got = s3.get_object(Bucket="documents", Key=key)
    head = s3.head_object(Bucket="documents", Key=key)
    assert got["Body"].read() == body
    for answer in (got, head):
        assert answer["ETag"] == put["ETag"]
        assert answer["ContentLength"] == len(body)
        assert answer["ContentType"] == "text/yaml"
        assert answer["Metadata"] == {"made-by": "me"}
        assert answer["ServerSideEncryption"] == "AES256"
    listed = s3.list_objects_v2(Bucket="documents")["Contents"]
    assert [(one["Key"], one["Size"], one["ETag"]) for one in listed] == [
        (key, len(body), put["ETag"])
    ]


def test_times_are_the_sandbox_s(sandbox: Served, s3: Any) -> None:
    before = sandbox.world.clock.now().replace(microsecond=0)
    s3.put_object(Bucket="documents", Key="one", Body=b"1")
    times = [
        s3.head_object(Bucket="documents", Key="one")["LastModified"],
        s3.list_objects_v2(Bucket="documents")["Contents"][0]["LastModified"],
        s3.list_buckets()["Buckets"][0]["CreationDate"],
    ]
    assert all(abs((time - before).total_seconds()) <= 5 for time in times)


@pytest.mark.parametrize(
    ("text", "body", "shown"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=5-99", b"56789", "bytes 5-9/10"),
        ("bytes=9-2", b"0123456789", None),
        ("lines=1-2", b"0123456789", None),
    ],
)
def test_a_part_of_an_object(s3: Any, text: str, body: bytes, shown: str | None) -> None:
    s3.put_object(Bucket="documents", Key="ten", Body=b"0123456789")
    got = s3.get_object(Bucket="documents", Key="ten", Range=text)
    assert (got["Body"].read(), got.get("ContentRange")) == (body, shown)
    assert got["ResponseMetadata"]["HTTPStatusCode"] == (206 if shown else 200)


def test_what_cannot_be_given(s3: Any) -> None:
    s3.put_object(Bucket="documents", Key="ten", Body=b"0123456789")
    get = s3.get_object
    ten = {"Bucket": "documents", "Key": "ten"}
    etag = s3.head_object(**ten)["ETag"]
    assert refusal(get, Bucket="documents", Key="none")[:2] == ("NoSuchKey", 404)
    assert refusal(s3.head_object, Bucket="documents", Key="none")[:2] == ("404", 404)
    assert refusal(get, **ten, Range="bytes=10-")[:2] == ("InvalidRange", 416)
    assert refusal(get, **ten, IfMatch='"x"')[:2] == ("PreconditionFailed", 412)
    assert refusal(get, **ten, IfNoneMatch=etag)[1] == 304
    assert get(**ten, IfMatch=etag)["Body"].read() == b"0123456789"
    assert refusal(get, **ten, ExpectedBucketOwner="999999999999")[:2] == ("AccessDenied", 403)


def test_lists_have_pages_prefixes_and_folders(s3: Any) -> None:
    for key in ("a/1", "a/2", "b 3", "c"):
        s3.put_object(Bucket="documents", Key=key, Body=b"")
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket="documents", PaginationConfig={"PageSize": 3}
    )
    assert [[one["Key"] for one in page["Contents"]] for page in pages] == [
        ["a/1", "a/2", "b 3"],
        ["c"],
    ]
    folders = s3.list_objects_v2(Bucket="documents", Delimiter="/")
    assert [one["Prefix"] for one in folders["CommonPrefixes"]] == ["a/"]
    assert [one["Key"] for one in folders["Contents"]] == ["b 3", "c"]
    assert s3.list_objects_v2(Bucket="documents", Prefix="a/")["KeyCount"] == 2


def test_lists_of_the_first_form_have_markers_and_owners(s3: Any) -> None:
    for key in ("a/1", "a/2", "b 3", "c"):
        s3.put_object(Bucket="documents", Key=key, Body=b"")
    pages = s3.get_paginator("list_objects").paginate(
        Bucket="documents", Marker="a/1", PaginationConfig={"PageSize": 2}
    )
    contents = [one for page in pages for one in page["Contents"]]
    assert [one["Key"] for one in contents] == ["a/2", "b 3", "c"]
    assert {one["Owner"]["ID"] for one in contents} == {s3.list_buckets()["Owner"]["ID"]}
    folders = s3.list_objects(Bucket="documents", Delimiter="/")
    assert [one["Prefix"] for one in folders["CommonPrefixes"]] == ["a/"]
    assert "Contents" not in s3.list_objects(Bucket="documents", Prefix="nothing")


def test_boto3_uploads_and_downloads_files(sandbox: Served, s3: Any, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(b"document" * 1000)
    session = boto3.Session(*sandbox.administrator[:2], region_name=REGION)
    config = Config(retries={"total_max_attempts": 1})
    client = session.client("s3", endpoint_url=sandbox.url, config=config)
    sandbox.clients.append(client)
    client.upload_file(str(tmp_path / "up"), "documents", "file")
    client.download_file("documents", "file", str(tmp_path / "down"))
    assert (tmp_path / "down").read_bytes() == b"document" * 1000


@pytest.mark.skipif(AWS is None, reason="there is no aws command")
def test_the_aws_cli_makes_copies_and_lists(sandbox: Served, tmp_path: Path) -> None:
    key, secret, _ = sandbox.administrator
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": sandbox.url,
    }

    def aws(*words: str) -> str:
        done = subprocess.run(
            [*(AWS or ()), *words], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "up.yaml").write_text("schemaVersion: 1.0\n")
    aws("s3", "mb", "s3://by-cli")
    aws("s3", "cp", str(tmp_path / "up.yaml"), "s3://by-cli/folder/up.yaml")
    assert "up.yaml" in aws("s3", "ls", "s3://by-cli/folder/")
    aws("s3", "cp", "s3://by-cli/folder/up.yaml", str(tmp_path / "down.yaml"))
    assert (tmp_path / "down.yaml").read_text() == "schemaVersion: 1.0\n"


# What is not imitated


@pytest.mark.parametrize(
    ("operation", "more"),
    [
        ("get_object_acl", {"Key": "one"}),
        ("create_multipart_upload", {"Key": "one"}),
        ("copy_object", {"Key": "one", "CopySource": "documents/two"}),
        ("list_object_versions", {}),
        ("get_bucket_versioning", {}),
        ("put_object", {"Key": "one", "Body": b"", "StorageClass": "GLACIER"}),
        ("put_object", {"Key": "one", "Body": b"", "ServerSideEncryption": "aws:kms"}),
        ("get_object", {"Key": "one", "VersionId": "1"}),
    ],
)
def test_what_is_not_imitated_is_refused(s3: Any, operation: str, more: dict[str, Any]) -> None:
    code, status, text = refusal(getattr(s3, operation), Bucket="documents", **more)
    assert (code, status) == ("NotImplemented", 501)
    assert text.startswith("The sandbox does not imitate s3:")


def test_a_body_that_is_too_large_is_refused(s3: Any) -> None:
    code, status, text = refusal(
        s3.put_object, Bucket="documents", Key="large", Body=b"x" * (LARGEST_BODY + 1)
    )
    assert (code, status) == ("RequestEntityTooLarge", 413)
    assert f"at most {LARGEST_BODY} bytes" in text


def test_a_bucket_in_the_host_s_name_is_refused(sandbox: Served, s3: Any) -> None:
    client = sandbox.client("s3", s3={"addressing_style": "virtual"})
    client.meta.events.register(
        "before-sign.s3",
        lambda request, **_: request.headers.__setitem__("Host", "documents.localhost"),
    )
    code, status, text = refusal(client.list_buckets)
    assert (code, status) == ("NotImplemented", 501)
    assert "addressing_style" in text
