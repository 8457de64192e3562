"""Signatures: who is let in, and the words of each refusal.

Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html,
https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html,
https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
"""

from __future__ import annotations

import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from awssandbox import authenticate
from awssandbox.sts import sessions
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Keys
from botocore.exceptions import ClientError
from served import ACCOUNT, REGION, Served

TRUST = {
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    "Action": "sts:AssumeRole",
}


def refused(call: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as refusal:
        call()
    answer = refusal.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


READS = {
    "kms": lambda client: client.list_keys(),
    "imagebuilder": lambda client: client.list_workflows(),
    "sts": lambda client: client.get_caller_identity(),
    "iam": lambda client: client.list_users(),
    "athena": lambda client: client.list_work_groups(),
    "cloudtrail": lambda client: client.lookup_events(),
}


@pytest.mark.parametrize("service", READS)
def test_every_service_lets_its_administrator_in(sandbox: Served, service: str) -> None:
    assert READS[service](sandbox.client(service))["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize(
    ("service", "code", "status"),
    [
        ("kms", "UnrecognizedClientException", 400),
        ("athena", "UnrecognizedClientException", 400),
        ("cloudtrail", "UnrecognizedClientException", 400),
        ("imagebuilder", "UnrecognizedClientException", 403),
        ("sts", "InvalidClientTokenId", 403),
        ("iam", "InvalidClientTokenId", 403),
    ],
)
def test_an_unknown_access_key(sandbox: Served, service: str, code: str, status: int) -> None:
    client = sandbox.client(service, ("AKIAIOSFODNN7EXAMPLE", "secret", None))
    assert refused(lambda: READS[service](client)) == (code, status)


@pytest.mark.parametrize(
    ("service", "code", "status"),
    [
        ("kms", "InvalidSignatureException", 400),
        ("imagebuilder", "InvalidSignatureException", 403),
        ("sts", "SignatureDoesNotMatch", 403),
    ],
)
def test_a_wrong_secret(sandbox: Served, service: str, code: str, status: int) -> None:
    key, _, _ = sandbox.administrator
    client = sandbox.client(service, (key, "not the secret", None))
    assert refused(lambda: READS[service](client)) == (code, status)


def test_a_session_needs_its_token(sandbox: Served) -> None:
    role = sandbox.role("Any", TRUST)
    key, secret, token = sandbox.assume(role)
    who = sandbox.client("sts", (key, secret, token)).get_caller_identity()["Arn"]
    assert who == f"arn:aws:sts::{ACCOUNT}:assumed-role/Any/tester"
    for wrong in (None, "another", f"{token}x"):
        client = sandbox.client("kms", (key, secret, wrong))
        assert refused(client.list_keys) == ("UnrecognizedClientException", 400)


def test_a_token_beside_a_long_term_key_is_refused(sandbox: Served) -> None:
    key, secret, _ = sandbox.administrator
    assert refused(sandbox.client("kms", (key, secret, "token")).list_keys) == (
        "UnrecognizedClientException",
        400,
    )


def test_a_session_expires_on_real_time(sandbox: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = sandbox.assume(sandbox.role("Any", TRUST))
    sandbox.world.clock.advance(timedelta(days=30))
    kms = sandbox.client("kms", credentials)
    kms.list_aliases  # noqa: B018 - the client is made before time moves
    assert sandbox.client("sts", credentials).get_caller_identity()["Account"] == ACCOUNT
    session = sessions.find(sandbox.world, credentials[0])
    assert session is not None
    monkeypatch.setattr(authenticate, "real_now", lambda: session.expires)
    assert refused(kms.list_keys) == ("ExpiredTokenException", 400)


def test_a_session_ends_with_its_role(sandbox: Served) -> None:
    credentials = sandbox.assume(sandbox.role("Any", TRUST))
    sandbox.client("iam").delete_role(RoleName="Any")
    sts = sandbox.client("sts", credentials)
    assert refused(sts.get_caller_identity) == ("InvalidClientTokenId", 403)


def test_an_inactive_key_is_refused(sandbox: Served) -> None:
    credentials = sandbox.user("learner")
    sandbox.client("iam").update_access_key(
        UserName="learner", AccessKeyId=credentials[0], Status="Inactive"
    )
    assert refused(sandbox.client("kms", credentials).list_keys) == (
        "UnrecognizedClientException",
        400,
    )


# Requests as no SDK would send them ---------------------------------------------------------------


def send(sandbox: Served, request: AWSRequest) -> tuple[int, str]:
    """Send a prepared request; the status and the body."""
    plain = urllib.request.Request(
        request.url, request.data, dict(request.headers), method=request.method
    )
    try:
        with urllib.request.urlopen(plain) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def list_keys(sandbox: Served) -> AWSRequest:
    """An unsigned request for ListKeys."""
    host = sandbox.url.removeprefix("http://")
    return AWSRequest(
        "POST",
        f"{sandbox.url}/",
        {
            "Host": host,
            "X-Amz-Target": "TrentService.ListKeys",
            "Content-Type": "application/x-amz-json-1.1",
        },
        b"{}",
    )


def signed(sandbox: Served, request: AWSRequest, service: str = "kms") -> AWSRequest:
    key, secret, _ = sandbox.administrator
    SigV4Auth(Keys(key, secret), service, REGION).add_auth(request)
    return request


def test_a_signed_request_is_served(sandbox: Served) -> None:
    assert send(sandbox, signed(sandbox, list_keys(sandbox)))[0] == 200


def test_an_unsigned_request(sandbox: Served) -> None:
    status, body = send(sandbox, list_keys(sandbox))
    assert (status, "MissingAuthenticationTokenException" in body) == (400, True)


@pytest.mark.parametrize("path", ["/moto-api/reset", "/moto-api/data.json", "/"])
def test_nothing_is_served_to_a_web_page(sandbox: Served, path: str) -> None:
    """No unsigned request does anything, and no answer invites another origin."""
    request = AWSRequest(
        "POST", f"{sandbox.url}{path}", {"Origin": "https://example.com"}, b"Action=ListUsers"
    )
    plain = urllib.request.Request(request.url, b"", dict(request.headers), method="POST")
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(plain)
    refusal.value.close()
    assert refusal.value.code == 403
    assert not [name for name in refusal.value.headers if name.lower().startswith("access-control")]


def test_a_body_that_was_altered_after_signing(sandbox: Served) -> None:
    request = signed(sandbox, list_keys(sandbox))
    request.data = b'{"Limit": 1}'
    status, body = send(sandbox, request)
    assert (status, "InvalidSignatureException" in body) == (400, True)


def test_a_header_that_was_altered_after_signing(sandbox: Served) -> None:
    request = signed(sandbox, list_keys(sandbox))
    request.headers.replace_header("X-Amz-Target", "TrentService.ListAliases")
    status, body = send(sandbox, request)
    assert (status, "InvalidSignatureException" in body) == (400, True)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_signature_is_good_for_five_minutes_of_real_time(
    sandbox: Served, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    request = signed(sandbox, list_keys(sandbox))
    late = datetime.now(UTC) + timedelta(minutes=minutes)
    monkeypatch.setattr(authenticate, "real_now", lambda: late)
    status, body = send(sandbox, request)
    assert (status, "Signature expired" in body) == (400, True)


def test_the_sandbox_s_own_clock_is_of_no_account(sandbox: Served) -> None:
    sandbox.world.clock.advance(timedelta(days=400))
    assert send(sandbox, signed(sandbox, list_keys(sandbox)))[0] == 200


@pytest.mark.parametrize("service", ["kms", "iam", "imagebuilder"])
def test_a_region_that_there_is_not(sandbox: Served, service: str) -> None:
    """Source: https://github.com/aws/aws-sdk-java/issues/1097 (the text)"""
    with pytest.raises(ClientError, match="scoped to a valid region, not 'xx-nowhere-1'") as told:
        READS[service](sandbox.client(service, region="xx-nowhere-1"))
    codes = {"iam": "SignatureDoesNotMatch"}
    code = told.value.response["Error"]["Code"]
    assert code == codes.get(service, "InvalidSignatureException")


def test_a_presigned_url_is_told_to_be_unknown(sandbox: Served) -> None:
    key, secret, _ = sandbox.administrator
    request = AWSRequest("GET", f"{sandbox.url}/?Action=GetCallerIdentity&Version=2011-06-15")
    SigV4QueryAuth(Keys(key, secret), "sts", REGION).add_auth(request)
    status, body = send(sandbox, request)
    assert (status, "signed in their query string" in body) == (501, True)


@pytest.mark.parametrize(
    ("service", "told"),
    [("sqs", "the service sqs"), ("rds", "the service rds"), ("nonsense", "the service nonsense")],
)
def test_a_service_that_is_not_served(sandbox: Served, service: str, told: str) -> None:
    """A clear refusal in a form that the service's own client can read; never a silent success."""
    status, body = send(sandbox, signed(sandbox, list_keys(sandbox), service))
    assert (status, told in body) == (501, True)


def test_the_aws_sdk_reads_the_refusal_of_an_operation_that_is_not_served(sandbox: Served) -> None:
    assert refused(sandbox.client("kms").describe_custom_key_stores) == ("NotImplemented", 501)
    assert refused(sandbox.client("dynamodb").list_tables) == ("NotImplemented", 501)
    assert refused(lambda: sandbox.client("s3").get_bucket_acl(Bucket="any")) == (
        "NotImplemented",
        501,
    )
    assert refused(sandbox.client("ec2").describe_instances) == ("NotImplemented", 501)
    assert refused(sandbox.client("cloudtrail").list_channels) == ("NotImplemented", 501)
