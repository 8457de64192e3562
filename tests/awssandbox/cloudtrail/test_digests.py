"""Digest files: each hour, chained and signed, as the AWS CLI and AWS's own steps validate them.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html
and https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-custom-validation.html
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from in_process import Sandbox, Still, refusal
from served import ACCOUNT, AWS, REGION, Served, document
from test_delivery import START, elsewhere, keys, later, started
from test_trails import ARN, CHECKS, WRITES, bucket_for_trails

VALIDATED = {"EnableLogFileValidation": True}


def digests(sandbox: Sandbox) -> list[str]:
    return [key for key in keys(sandbox) if "/CloudTrail-Digest/" in key]


def logs(sandbox: Sandbox) -> list[str]:
    return [key for key in keys(sandbox) if "/CloudTrail/" in key]


def read(sandbox: Sandbox, key: str) -> tuple[bytes, dict[str, str]]:
    found = sandbox.client("s3").get_object(Bucket="trails", Key=key)
    return gzip.decompress(found["Body"].read()), found["Metadata"]


def digest(sandbox: Sandbox, key: str) -> dict[str, Any]:
    return dict(json.loads(read(sandbox, key)[0]))


def public_keys(sandbox: Sandbox, **more: Any) -> dict[str, RSAPublicKey]:
    listed = sandbox.client("cloudtrail").list_public_keys(**more)["PublicKeyList"]
    loaded = {one["Fingerprint"]: load_der_public_key(one["Value"]) for one in listed}
    assert all(isinstance(key, RSAPublicKey) for key in loaded.values())
    return loaded  # type: ignore[return-value]


def test_a_digest_has_the_documented_fields() -> None:
    sandbox = started(VALIDATED)
    later(sandbox, minutes=10)
    sandbox.client("kms").list_keys()
    later(sandbox, minutes=50)
    (key,) = digests(sandbox)
    assert key == (
        f"AWSLogs/{ACCOUNT}/CloudTrail-Digest/{REGION}/2026/01/31/"
        f"{ACCOUNT}_CloudTrail-Digest_{REGION}_main_{REGION}_20260131T100130Z.json.gz"
    )
    told = digest(sandbox, key)
    files = told.pop("logFiles")
    (fingerprint,) = public_keys(sandbox)
    assert re.fullmatch("[0-9a-f]{32}", fingerprint)
    assert told == {
        "awsAccountId": ACCOUNT,
        "digestStartTime": "2026-01-31T09:01:30Z",
        "digestEndTime": "2026-01-31T10:01:30Z",
        "digestS3Bucket": "trails",
        "digestS3Object": key,
        "digestPublicKeyFingerprint": fingerprint,
        "digestSignatureAlgorithm": "SHA256withRSA",
        "newestEventTime": "2026-01-31T09:11:30Z",
        "oldestEventTime": "2026-01-31T09:01:30Z",
        "previousDigestS3Bucket": None,
        "previousDigestS3Object": None,
        "previousDigestHashValue": None,
        "previousDigestHashAlgorithm": None,
        "previousDigestSignature": None,
    }
    assert [file["s3Object"] for file in files] == logs(sandbox)
    assert len(files) == 2
    for file in files:
        content = read(sandbox, file["s3Object"])[0]
        times = [record["eventTime"] for record in json.loads(content)["Records"]]
        assert file == {
            "s3Bucket": "trails",
            "s3Object": file["s3Object"],
            "hashValue": hashlib.sha256(content).hexdigest(),
            "hashAlgorithm": "SHA-256",
            "newestEventTime": max(times),
            "oldestEventTime": min(times),
        }
    head = sandbox.client("s3").head_object(Bucket="trails", Key=key)
    assert head["LastModified"] == START + timedelta(hours=1)
    assert head["Metadata"].keys() == {"signature", "signature-algorithm"}
    status = sandbox.client("cloudtrail").get_trail_status(Name="main")
    assert status["LatestDigestDeliveryTime"] == START + timedelta(hours=1)


def test_each_hour_has_one_chained_to_the_last_and_signed() -> None:
    """AWS's own steps, with another library's RSA."""
    sandbox = started(VALIDATED)
    later(sandbox, hours=4, minutes=1)
    found = digests(sandbox)
    assert [key.split("_")[-1][9:15] for key in found] == ["100130", "110130", "120130", "130130"]
    previous: dict[str, Any] = dict.fromkeys(("S3Bucket", "S3Object", "HashValue", "Signature"))
    start = "2026-01-31T09:01:30Z"
    for number, key in enumerate(found):
        content, metadata = read(sandbox, key)
        told = json.loads(content)
        assert {name: told[f"previousDigest{name}"] for name in previous} == previous
        assert told["digestStartTime"] == start
        assert (told["logFiles"] == []) is (number > 0)  # one is delivered though it is empty
        sha256 = hashlib.sha256(content).hexdigest()
        before = told["previousDigestSignature"] or "null"
        signed = f"{told['digestEndTime']}\n{'trails'}/{key}\n{sha256}\n{before}".encode()
        public = public_keys(sandbox)[told["digestPublicKeyFingerprint"]]
        signature = bytes.fromhex(metadata["signature"])
        public.verify(signature, signed, PKCS1v15(), SHA256())
        with pytest.raises(InvalidSignature):
            public.verify(signature, signed + b" ", PKCS1v15(), SHA256())
        assert metadata["signature-algorithm"] == "SHA256withRSA"
        start = told["digestEndTime"]
        previous = {
            "S3Bucket": "trails",
            "S3Object": key,
            "HashValue": sha256,
            "Signature": metadata["signature"],
        }


def test_without_validation_there_is_none() -> None:
    sandbox = started()
    later(sandbox, hours=3)
    assert digests(sandbox) == []
    assert len(logs(sandbox)) == 1


@pytest.mark.parametrize("end", ["stop", "disable"])
def test_a_chain_ends_an_hour_after_the_end_and_another_begins(end: str) -> None:
    sandbox = started(VALIDATED)
    trails = sandbox.client("cloudtrail")

    def switch(on: bool) -> None:
        if end == "stop":
            (trails.start_logging if on else trails.stop_logging)(Name="main")
        else:
            trails.update_trail(Name="main", EnableLogFileValidation=on)

    later(sandbox, hours=1, minutes=10)
    switch(False)
    later(sandbox, hours=5)
    assert len(digests(sandbox)) == 2
    switch(True)
    later(sandbox, hours=1, minutes=10)
    *_, second, third = digests(sandbox)
    assert digest(sandbox, second)["previousDigestS3Object"] is not None
    told = digest(sandbox, third)
    assert told["previousDigestS3Object"] is told["previousDigestSignature"] is None
    assert told["digestStartTime"] == "2026-01-31T15:11:30Z"


def test_a_short_pause_does_not_end_a_chain() -> None:
    sandbox = started(VALIDATED)
    trails = sandbox.client("cloudtrail")
    trails.stop_logging(Name="main")
    later(sandbox, minutes=10)
    trails.start_logging(Name="main")
    later(sandbox, hours=3)
    first, *rest = digests(sandbox)
    assert digest(sandbox, first)["previousDigestSignature"] is None
    assert all(digest(sandbox, key)["previousDigestSignature"] for key in rest)
    assert len(rest) == 2


def test_each_region_has_a_chain_and_a_key_of_its_own() -> None:
    sandbox = started({**VALIDATED, "IsMultiRegionTrail": True})
    later(sandbox, hours=2)
    elsewhere(sandbox).list_keys()
    later(sandbox, hours=1, minutes=1)
    found = digests(sandbox)
    assert [key.split("/")[3] for key in found] == ["eu-west-1", *[REGION] * 3]
    theirs = digest(sandbox, found[0])
    assert found[0].endswith(f"_CloudTrail-Digest_eu-west-1_main_{REGION}_20260131T120130Z.json.gz")
    assert theirs["previousDigestSignature"] is None
    assert len(theirs["logFiles"]) == 1
    there = elsewhere(sandbox, "cloudtrail").list_public_keys()["PublicKeyList"]
    assert [one["Fingerprint"] for one in there] == [theirs["digestPublicKeyFingerprint"]]
    assert theirs["digestPublicKeyFingerprint"] not in public_keys(sandbox)


def test_a_trail_that_moves_to_another_bucket_keeps_its_chain() -> None:
    sandbox = started(VALIDATED)
    later(sandbox, hours=1, minutes=1)
    bucket_for_trails(sandbox.client("s3"), "another")
    sandbox.client("cloudtrail").update_trail(Name="main", S3BucketName="another")
    later(sandbox, hours=1)
    listed = sandbox.client("s3").list_objects_v2(Bucket="another")["Contents"]
    (key,) = [one["Key"] for one in listed if "Digest" in one["Key"]]
    found = sandbox.client("s3").get_object(Bucket="another", Key=key)["Body"].read()
    told = json.loads(gzip.decompress(found))
    assert told["previousDigestS3Bucket"] == "trails"
    assert [told["previousDigestS3Object"]] == digests(sandbox)


def test_a_digest_that_the_bucket_refuses() -> None:
    sandbox = started(VALIDATED)
    s3, trails = sandbox.client("s3"), sandbox.client("cloudtrail")
    later(sandbox, minutes=10)
    s3.put_bucket_policy(Bucket="trails", Policy=document(CHECKS))
    later(sandbox, hours=1)
    status = trails.get_trail_status(Name="main")
    assert status["LatestDigestDeliveryError"] == "AccessDenied"
    s3.put_bucket_policy(Bucket="trails", Policy=document(CHECKS, WRITES))
    later(sandbox, hours=1)
    (key,) = digests(sandbox)
    told = digest(sandbox, key)
    assert told["digestStartTime"] == "2026-01-31T09:01:30Z"
    assert told["digestEndTime"] == "2026-01-31T11:01:30Z"
    assert [file["s3Object"] for file in told["logFiles"]] == logs(sandbox)
    assert "LatestDigestDeliveryError" not in trails.get_trail_status(Name="main")


# --- public keys ----------------------------------------------------------------------------------


def test_public_keys_are_those_that_signed_in_the_range() -> None:
    """Over the end of a year: each digest is signed with its year's key."""
    begin = datetime(2026, 12, 31, 21, 30, tzinfo=UTC)
    sandbox = started(VALIDATED, clock=Still(begin))
    trails = sandbox.client("cloudtrail")
    (old,) = trails.list_public_keys()["PublicKeyList"]
    year = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert (old["ValidityStartTime"], old["ValidityEndTime"]) == year
    later(sandbox, hours=4)
    (new,) = trails.list_public_keys()["PublicKeyList"]
    signed = [digest(sandbox, key)["digestPublicKeyFingerprint"] for key in digests(sandbox)]
    assert signed == [old["Fingerprint"]] * 2 + [new["Fingerprint"]] * 2
    end = begin + timedelta(hours=4)
    assert list(public_keys(sandbox, StartTime=begin, EndTime=end)) == signed[1:3]
    assert list(public_keys(sandbox, StartTime=begin, EndTime=begin)) == signed[:1]
    before = begin - timedelta(days=400)
    assert public_keys(sandbox, StartTime=before, EndTime=before) == {}


def test_the_same_seed_gives_the_same_keys() -> None:
    assert public_keys(Sandbox(seed=7)).keys() == public_keys(Sandbox(seed=7)).keys()
    assert public_keys(Sandbox(seed=7)).keys() != public_keys(Sandbox(seed=8)).keys()
    another = Sandbox(seed=7)
    elsewhere(another, "cloudtrail").list_public_keys()
    assert public_keys(another).keys() == public_keys(Sandbox(seed=7)).keys()  # in any order


def test_ranges_and_tokens_that_are_refused() -> None:
    trails = Sandbox(clock=Still(START)).client("cloudtrail")
    wrong = lambda: trails.list_public_keys(StartTime=START + timedelta(days=1), EndTime=START)  # noqa: E731
    assert refusal(wrong)[0] == "InvalidTimeRangeException"
    assert refusal(lambda: trails.list_public_keys(NextToken="x"))[0] == "InvalidTokenException"


# --- the AWS CLI's validator ----------------------------------------------------------------------


def _repacked(s3: Any, key: str, change: Callable[[bytes], bytes], **metadata: str) -> None:
    found = s3.get_object(Bucket="trails", Key=key)
    content = change(gzip.decompress(found["Body"].read()))
    s3.put_object(
        Bucket="trails",
        Key=key,
        Body=gzip.compress(content),
        Metadata={**found["Metadata"], **metadata},
    )


@pytest.mark.e2e
@pytest.mark.skipif(AWS is None, reason="there is no aws command")
def test_the_aws_cli_accepts_what_was_delivered_and_finds_each_change(
    sandboxes: Callable[..., Served],
) -> None:
    served = sandboxes(clock=Still(START))
    s3, trails = served.client("s3"), served.client("cloudtrail")
    bucket_for_trails(s3)
    trails.create_trail(Name="main", S3BucketName="trails", **VALIDATED)
    trails.start_logging(Name="main")
    for _ in range(4):
        served.client("kms").create_key()
        served.world.clock.advance(timedelta(minutes=65))
    listed = [one["Key"] for one in s3.list_objects_v2(Bucket="trails")["Contents"]]
    digest_keys = [key for key in listed if "/CloudTrail-Digest/" in key]
    log_keys = [key for key in listed if "/CloudTrail/" in key]
    assert (len(digest_keys), len(log_keys)) == (4, 4)

    def kept(key: str) -> Callable[[], None]:
        found = s3.get_object(Bucket="trails", Key=key)
        body = found["Body"].read()
        return lambda: s3.put_object(
            Bucket="trails", Key=key, Body=body, Metadata=found["Metadata"]
        )

    assert _validated(served) == (0, ["4/4 digest files valid", "4/4 log files valid"], "")

    back = kept(log_keys[1])
    _repacked(s3, log_keys[1], lambda content: content.replace(b"CreateKey", b"CreateKez"))
    status, told, why = _validated(served)
    assert (status, told[1]) == (1, "3/4 log files valid, 1/4 log files INVALID")
    assert f"{log_keys[1]}\tINVALID: hash value doesn't match" in why
    back()

    back = kept(log_keys[2])
    s3.delete_object(Bucket="trails", Key=log_keys[2])
    status, told, why = _validated(served)
    assert (status, told[1]) == (1, "3/4 log files valid, 1/4 log files INVALID")
    assert f"{log_keys[2]}\tINVALID: not found" in why
    back()

    back = kept(digest_keys[1])
    s3.delete_object(Bucket="trails", Key=digest_keys[1])
    status, told, why = _validated(served)
    assert (status, told[0]) == (1, "3/4 digest files valid, 1/4 digest files INVALID")
    assert f"{digest_keys[1]}\tINVALID: not found" in why
    back()

    back = kept(digest_keys[1])
    _repacked(s3, digest_keys[1], bytes, signature="00" * 256)
    status, told, why = _validated(served)
    assert (status, told[0]) == (1, "3/4 digest files valid, 1/4 digest files INVALID")
    assert f"{digest_keys[1]}\tINVALID: signature verification failed" in why
    back()

    assert _validated(served)[0] == 0  # all is as it was


def _validated(served: Served) -> tuple[int, list[str], str]:
    """The status of the AWS CLI's validator, what it counted, and what it found wrong."""
    key, secret, _ = served.administrator
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": served.url,
    }
    times = ("--start-time", "2026-01-31T09:00:00Z", "--end-time", "2026-01-31T14:00:00Z")
    done = subprocess.run(
        [*(AWS or ()), "cloudtrail", "validate-logs", "--trail-arn", ARN, *times],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    counted = [line for line in done.stdout.splitlines() if line.count("files valid")]
    return done.returncode, counted, done.stderr
