"""AWS's errors in words: what was refused and what to do, as one of the run's own errors."""

from __future__ import annotations

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    InvalidConfigError,
    LoginError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    RefreshWithMFAUnsupportedError,
    SSOError,
    TokenRetrievalError,
    UnknownCredentialError,
)
from botocore.exceptions import ConnectionError as NoConnectionError

from keyrunbook.errors import AwsRefused, CredentialsMissing, RunbookError, Unreachable

_ACCESS_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
_BAD_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "IncompleteSignature",
}
_THROTTLED = {
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "CallRateLimitExceededException",
}

_BAD_CONFIGURATION = (
    ConfigNotFound,
    ConfigParseError,
    CredentialRetrievalError,
    InvalidConfigError,
    RefreshWithMFAUnsupportedError,
    UnknownCredentialError,
)

_UNKNOWN_PRINCIPAL = "one or more invalid principals"
"""What KMS says of a key policy whose principals it does not know; of a new role it may not know
yet.

Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html (Policy)
"""
_LOCKS_OUT = "will not allow you to update the key policy"
"""KMS's lock-out check, of CreateKey and PutKeyPolicy.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
"""


_OTHER_REGION = "scoped to a valid region"
"""What an endpoint says of a request that was signed for a Region which it does not serve.

The code is that of a wrong secret key.
Source: https://github.com/aws/aws-sdk-java/issues/1097
"""

NO_CONNECTION = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)
"""Nothing was sent: there was nobody to send it to."""
NEVER_SENT = (
    *NO_CONNECTION,
    *_BAD_CONFIGURATION,
    LoginError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)
"""The errors of the SDK from before a call is sent. After any other, AWS may have served it."""


def may_be_sent_again(error: BotoCoreError | ClientError) -> bool:
    """Whether nothing was changed, and the same call may be served in a moment.

    AWS is busy or cannot be reached, or KMS does not know a role that may be new.
    """
    if isinstance(error, ClientError):
        return code_of(error) in _THROTTLED or _names_an_unknown_principal(error)
    return isinstance(error, NO_CONNECTION)


def judged(error: ClientError) -> bool:
    """Whether AWS judged the call itself, and refused it.

    It did not where it was busy or out of order, or did not take the signature.
    """
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    in_order = 400 <= status < 500 and status != 408
    return in_order and code_of(error) not in _BAD_CREDENTIALS | _THROTTLED


def _names_an_unknown_principal(error: ClientError) -> bool:
    text = error.response.get("Error", {}).get("Message", "")
    return code_of(error) == "MalformedPolicyDocumentException" and _UNKNOWN_PRINCIPAL in text


def code_of(error: ClientError) -> str:
    """AWS's error code."""
    return str(error.response.get("Error", {}).get("Code", ""))


def explain(error: BotoCoreError | ClientError) -> RunbookError:
    """The run's error for what boto3 raised; AWS's own text is part of it."""
    if isinstance(error, ClientError):
        return _refused(error)
    what = f"{error}".rstrip(". ")
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return CredentialsMissing(f"{what}.", "Log in, or give a profile by --profile.")
    if isinstance(error, SSOError | TokenRetrievalError):
        return CredentialsMissing(f"{what}.", "Log in again: aws sso login")
    if isinstance(error, LoginError):
        return CredentialsMissing(f"{what}.", "Log in again: aws login")
    if isinstance(error, _BAD_CONFIGURATION):
        return CredentialsMissing(
            f"The AWS SDK got no credentials: {what}.",
            "Correct what it names in your AWS configuration, or give another profile.",
        )
    if isinstance(error, NoConnectionError | HTTPClientError):
        return Unreachable(
            f"The endpoint could not be reached: {what}.",
            "Check the network, the Region and any endpoint variables; on the sandbox, see "
            "runbook sandbox --status",
        )
    return RunbookError(f"The AWS SDK gave up: {what}.", "Correct what it names and run again.")


def _refused(error: ClientError) -> RunbookError:
    code = code_of(error)
    text = error.response.get("Error", {}).get("Message", "")
    operation = error.operation_name
    what = f"AWS refused {operation}: {code}: {text}".rstrip()
    if _OTHER_REGION in text:
        fix = (
            "Correct the Region (region, the profile's or AWS_DEFAULT_REGION): the endpoint serves "
            "another one. Nothing is wrong with the credentials as far as it tells."
        )
        return AwsRefused(what, fix, code=code, operation=operation)
    if code in _BAD_CREDENTIALS:
        return CredentialsMissing(what, "Renew the credentials and run the step again.")
    if code in _ACCESS_DENIED:
        fix = f"Give the operator this permission, then run the step again ({operation})."
    elif code == "MalformedPolicyDocumentException" and _LOCKS_OUT in text:
        fix = "Give the operator kms:PutKeyPolicy on the key, then run the step again."
    elif _names_an_unknown_principal(error):
        fix = (
            "See that the role is there and was not made anew, then run the step again; KMS knows "
            "a new one after some seconds. A longer wait: settle_seconds."
        )
    elif code == "AlreadyExistsException" and operation == "CreateAlias":
        fix = "Run the step again: where the alias is another key's by now, give another key_alias."
    elif code in _THROTTLED:
        fix = "Wait a moment and run the step again."
    else:
        fix = "Correct what AWS names and run the step again; what was done so far stays."
    return AwsRefused(what, fix, code=code, operation=operation)
