"""What boto3 raises, as the run's own errors: what was refused, and what to do."""

from __future__ import annotations

import pytest
from botocore import exceptions as sdk
from keyrunbook.aws.clients import Clients
from keyrunbook.aws.refusals import code_of, explain, judged
from keyrunbook.errors import AwsRefused, CredentialsMissing, RunbookError, Unreachable


def refused(code: str, text: str = "No.") -> sdk.ClientError:
    return sdk.ClientError({"Error": {"Code": code, "Message": text}}, "PutKeyPolicy")


TABLE: list[tuple[Exception, type[RunbookError], str]] = [
    (refused("AccessDeniedException"), AwsRefused, "Give the operator this permission"),
    (refused("AccessDenied"), AwsRefused, "Give the operator this permission"),
    (refused("ThrottlingException"), AwsRefused, "Wait a moment"),
    (refused("Throttling"), AwsRefused, "Wait a moment"),
    (refused("TooManyRequestsException"), AwsRefused, "Wait a moment"),
    (refused("MalformedPolicyDocumentException"), AwsRefused, "Correct what AWS names"),
    (
        refused(
            "MalformedPolicyDocumentException",
            "The new key policy will not allow you to update the key policy in the future.",
        ),
        AwsRefused,
        "kms:PutKeyPolicy on the key",
    ),
    (refused("ExpiredTokenException"), CredentialsMissing, "Renew the credentials"),
    (refused("InvalidClientTokenId"), CredentialsMissing, "Renew the credentials"),
    (refused("UnrecognizedClientException"), CredentialsMissing, "Renew the credentials"),
    (refused("SignatureDoesNotMatch"), CredentialsMissing, "Renew the credentials"),
    (
        refused(
            "SignatureDoesNotMatch",
            "Credential should be scoped to a valid region, not 'us-wets-2'.",
        ),
        AwsRefused,
        "Correct the Region",
    ),
    (sdk.NoCredentialsError(), CredentialsMissing, "--profile"),
    (
        sdk.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        CredentialsMissing,
        "--profile",
    ),
    (sdk.SSOTokenLoadError(error_msg="x", profile_name="p"), CredentialsMissing, "aws sso login"),
    (sdk.UnauthorizedSSOTokenError(), CredentialsMissing, "aws sso login"),
    (
        sdk.EndpointConnectionError(endpoint_url="https://kms.nowhere.amazonaws.com"),
        Unreachable,
        "Check the network, the Region",
    ),
    (
        sdk.ConnectTimeoutError(endpoint_url="https://kms.nowhere.amazonaws.com"),
        Unreachable,
        "Check the network",
    ),
    (
        sdk.ReadTimeoutError(endpoint_url="https://kms.nowhere.amazonaws.com"),
        Unreachable,
        "Check the network",
    ),
    (
        sdk.SSLError(endpoint_url="https://kms.nowhere.amazonaws.com", error="x"),
        Unreachable,
        "Check the network",
    ),
    (
        sdk.ProxyConnectionError(proxy_url="http://proxy:3128", error="x"),
        Unreachable,
        "Check the network",
    ),
    (sdk.ParamValidationError(report="x"), RunbookError, "Correct what it names"),
]


@pytest.mark.parametrize(
    ("raised", "error", "fix"), TABLE, ids=[f"{type(one).__name__} {one}"[:60] for one, *_ in TABLE]
)
def test_the_table(raised: sdk.ClientError, error: type[RunbookError], fix: str) -> None:
    explained = explain(raised)
    assert type(explained) is error
    assert fix in explained.fix
    assert str(raised).rstrip(".").split(": ")[-1] in explained.what
    assert explained.exit_status == 5


@pytest.mark.parametrize(
    ("code", "status", "is_judged"),
    [
        ("AccessDeniedException", 400, True),
        ("InvalidParameterValueException", 400, True),
        ("ExpiredTokenException", 403, False),
        ("SignatureDoesNotMatch", 403, False),
        ("ThrottlingException", 400, False),
        ("TooManyRequestsException", 429, False),
        ("RequestTimeout", 408, False),
        ("ServiceUnavailableException", 503, False),
    ],
)
def test_whether_aws_judged_the_call(code: str, status: int, is_judged: bool) -> None:
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    assert judged(sdk.ClientError(answer, "CreateWorkflow")) is is_judged


def test_aws_s_own_words_are_part_of_it() -> None:
    explained = explain(refused("LimitExceededException", "The policy is too long."))
    assert isinstance(explained, AwsRefused)
    assert explained.what == (
        "AWS refused PutKeyPolicy: LimitExceededException: The policy is too long."
    )
    assert (explained.code, explained.operation) == ("LimitExceededException", "PutKeyPolicy")


def test_an_answer_without_a_code() -> None:
    assert code_of(sdk.ClientError({}, "GetWorkflow")) == ""


@pytest.mark.e2e
def test_a_refusal_of_the_sandbox(clients: Clients) -> None:
    with pytest.raises(sdk.ClientError) as caught:
        clients("kms").describe_key(KeyId="alias/nothing")
    explained = explain(caught.value)
    assert isinstance(explained, AwsRefused)
    assert (explained.code, explained.operation) == ("NotFoundException", "DescribeKey")
    assert "alias/nothing" in explained.what


@pytest.mark.e2e
def test_an_alias_that_another_run_took_meanwhile(clients: Clients) -> None:
    kms = clients("kms")
    one, other = (kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    kms.create_alias(AliasName="alias/taken", TargetKeyId=one)
    with pytest.raises(sdk.ClientError) as caught:
        kms.create_alias(AliasName="alias/taken", TargetKeyId=other)
    assert explain(caught.value).fix.endswith("give another key_alias.")
