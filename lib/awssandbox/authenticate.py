"""Who calls: the signature of a request, verified as AWS verifies it, and the caller it names.

The signature is computed again by botocore's own signer from the headers that the client says it
signed, and compared. Credentials and signatures expire on real time, whatever the sandbox's clock.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials
from iamaccess import Principal

from awssandbox.call import Caller
from awssandbox.clock import real_now
from awssandbox.errors import AwsError, not_imitated
from awssandbox.payload import UNSIGNED
from awssandbox.protocol import HttpRequest
from awssandbox.services import all_regions
from awssandbox.world import partition_of

if TYPE_CHECKING:
    from awssandbox.world import World

ALGORITHM: Final = "AWS4-HMAC-SHA256"
CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far a request's time may be from AWS's.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
"""

_CREDENTIAL: Final = re.compile(
    r"([A-Z0-9]{16,128})/(\d{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request"
)
_PART: Final = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]+)")
_MISMATCH: Final = (
    "The request signature we calculated does not match the signature you provided. Check your AWS "
    "Secret Access Key and signing method. Consult the service documentation for details."
)


@dataclass(frozen=True, slots=True)
class Signature:
    """The Authorization header, taken apart."""

    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str


@dataclass(frozen=True, slots=True)
class Connection:
    """How a request reached the sandbox."""

    source_ip: str
    secure: bool


def read_signature(request: HttpRequest) -> Signature:
    """The signature that a request claims to have.

    Raises AwsError: for a request that is not signed, or signed in another way.
    """
    header = request.headers.get("authorization")
    if header is None:
        if "X-Amz-Signature=" in request.query or "X-Amz-Signature=" in request.body[:4096].decode(
            "latin-1"
        ):
            raise not_imitated("requests that are signed in their query string")
        raise AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
    algorithm, _, rest = header.partition(" ")
    parts = dict(_PART.findall(rest))
    scope = _CREDENTIAL.fullmatch(parts.get("Credential", ""))
    if algorithm != ALGORITHM or scope is None or len(parts) != 3:
        raise AwsError(
            "IncompleteSignature",
            "Authorization header requires 'Credential' parameter, 'Signature' parameter and "
            f"'SignedHeaders' parameter, and the algorithm {ALGORITHM}.",
            400,
        )
    names = tuple(parts["SignedHeaders"].split(";"))
    return Signature(scope[1], scope[2], scope[3], scope[4], names, parts["Signature"])


def authenticate(
    world: World, request: HttpRequest, signature: Signature, connection: Connection
) -> Caller:
    """The caller who signed a request.

    Raises AwsError: InvalidClientTokenId, SignatureDoesNotMatch, ExpiredToken (`in_words_of` gives
    them the names that a JSON service has for them).
    """
    agent = request.headers.get("user-agent", "")
    token = request.headers.get("x-amz-security-token")
    if partition_of(signature.region) != world.partition:
        raise _unknown()  # an account, and so its credentials, is of one partition
    if signature.region not in all_regions(world.partition):
        # Source of the text: https://github.com/aws/aws-sdk-java/issues/1097
        raise AwsError(
            "SignatureDoesNotMatch",
            f"Credential should be scoped to a valid region, not '{signature.region}'.",
            403,
        )
    caller, secret = (
        _session(world, signature, token, agent, connection)
        if signature.access_key_id.startswith("ASIA")
        else _long_term(world, signature.access_key_id, token, agent, connection)
    )
    if signature.service == "s3":
        _check_payload(request, signature, connection)
    _verify(request, signature, secret, token)
    return caller


_S3_NAMES: Final[Mapping[str, tuple[str, int, str]]] = {
    "InvalidClientTokenId": (
        "InvalidAccessKeyId",
        403,
        "The AWS Access Key Id you provided does not exist in our records.",
    ),
    "ExpiredToken": ("ExpiredToken", 400, "The provided token has expired."),
}
"""S3's code, status and text, where they are its own.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

_NOT_VALIDATED: Final = "AWS was not able to validate the provided access credentials"
_EC2_NAMES: Final[Mapping[str, tuple[str, str, int]]] = {
    "InvalidClientTokenId": ("AuthFailure", _NOT_VALIDATED, 401),
    "SignatureDoesNotMatch": ("AuthFailure", _NOT_VALIDATED, 401),
    "ExpiredToken": ("RequestExpired", "Request has expired.", 400),
}
"""EC2's own.

Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
"""

_JSON_NAMES: Final[Mapping[str, str]] = {
    "MissingAuthenticationToken": "MissingAuthenticationTokenException",
    "IncompleteSignature": "IncompleteSignatureException",
    "InvalidClientTokenId": "UnrecognizedClientException",
    "SignatureDoesNotMatch": "InvalidSignatureException",
    "ExpiredToken": "ExpiredTokenException",
}


def in_words_of(protocol: str, refusal: AwsError) -> AwsError:
    """A refusal of a signature with the code and status of a service's protocol.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html and
    https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
    """
    if protocol == "rest-xml" and refusal.code in _S3_NAMES:
        own, status, text = _S3_NAMES[refusal.code]
        return AwsError(own, text, status)
    if protocol == "ec2" and refusal.code in _EC2_NAMES:
        return AwsError(*_EC2_NAMES[refusal.code])
    code = _JSON_NAMES.get(refusal.code)
    if code is None or protocol in ("query", "ec2", "rest-xml"):
        return refusal
    return AwsError(code, refusal.message, 400 if protocol == "json" else 403)


def _unknown() -> AwsError:
    return AwsError(
        "InvalidClientTokenId", "The security token included in the request is invalid.", 403
    )


def _long_term(
    world: World, access_key_id: str, token: str | None, agent: str, connection: Connection
) -> tuple[Caller, str]:
    owner = world.iam.key_owner(access_key_id)
    if owner is None or token is not None:
        raise _unknown()
    account, name, secret = owner
    user = world.iam.user(account, name)
    if user is None:
        raise _unknown()
    caller = Caller(
        principal=Principal("user", user.arn, account, unique_id=user.unique_id),
        principal_id=user.unique_id,
        access_key_id=access_key_id,
        account=account,
        source_ip=connection.source_ip,
        user_agent=agent,
        user_name=name,
        secure=connection.secure,
    )
    return caller, secret


def _session(
    world: World, signature: Signature, token: str | None, agent: str, connection: Connection
) -> tuple[Caller, str]:
    """The caller of a session's credentials.

    A user's without MFA are none to IAM: https://github.com/99designs/aws-vault/issues/1056
    """
    from awssandbox.sts import sessions

    session = sessions.find(world, signature.access_key_id)
    if session is None or not hmac.compare_digest(session.session_token, token or ""):
        raise _unknown()
    if session.expires <= real_now():
        raise AwsError("ExpiredToken", "The security token included in the request is expired", 403)
    caller = replace(session.caller(world, connection.source_ip, agent), secure=connection.secure)
    principal = caller.principal
    found = world.iam.find(principal.role_arn or principal.arn)
    if signature.service == "iam" and principal.kind == "user" and not caller.mfa:
        raise _unknown()
    if found is None or found.unique_id != principal.unique_id:
        # The user or role is gone, or another one has its name now: its sessions ended with it.
        raise _unknown()
    return caller, session.secret_access_key


def _check_payload(request: HttpRequest, claimed: Signature, connection: Connection) -> None:
    """S3's rules: every ``x-amz-`` header is signed, and one of them says what the body is.

    A body that no signature covers is served over TLS only, where AWS's SDKs send it so; one whose
    chunks are signed, which they also can, is refused as not imitated.
    Raises AwsError: AccessDenied, InvalidRequest, XAmzContentSHA256Mismatch.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html; the
    texts are from refusals that users of AWS quote, such as
    https://github.com/bradleyg/django-s3direct/issues/249 and
    https://github.com/grosskur/lua-resty-aws/issues/2
    """
    given = {name for name in request.headers if name.startswith("x-amz-")}
    unsigned = sorted(given - set(claimed.signed_headers))
    if unsigned:
        raise AwsError(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            403,
            {"HeadersNotSigned": ", ".join(unsigned)},
        )
    digest = request.headers.get("x-amz-content-sha256")
    if digest is None:
        text = "Missing required header for this request: x-amz-content-sha256"
        raise AwsError("InvalidRequest", text)
    if digest in UNSIGNED:
        if not connection.secure:
            raise not_imitated(f"a body without signature ({digest}) over plain HTTP")
    elif digest.startswith("STREAMING-"):
        raise not_imitated(f"a body in signed chunks ({digest})")
    elif digest != hashlib.sha256(request.body).hexdigest():
        text = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise AwsError("XAmzContentSHA256Mismatch", text)


class _Signer(SigV4Auth):  # type: ignore[misc]
    """botocore's signer, which signs exactly the headers that the client signed."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        return request.headers

    def payload(self, request: AWSRequest) -> str:
        # botocore's own makes the request ready to be sent first, which it never is.
        return hashlib.sha256(request.data).hexdigest()


class _S3Signer(_Signer):
    """S3 takes a path as it is: ``a//b`` and ``a/../b`` are keys.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
    """

    def _normalize_url_path(self, path: str) -> str:
        return path


def _verify(request: HttpRequest, claimed: Signature, secret: str, token: str | None) -> None:
    mismatch = AwsError("SignatureDoesNotMatch", _MISMATCH, 403)
    timestamp = request.headers.get("x-amz-date", "")
    _check_time(timestamp, claimed.date)
    required = {"host", "x-amz-date"} | ({"x-amz-security-token"} if token else set())
    if not required <= set(claimed.signed_headers):
        raise mismatch
    headers = HTTPHeaders()
    for name in claimed.signed_headers:
        if name not in request.headers:
            raise mismatch
        headers[name] = request.headers[name]
    digest = request.headers.get("x-amz-content-sha256")
    body = digest is None or digest == hashlib.sha256(request.body).hexdigest()
    if not body and claimed.service != "s3":  # S3's was checked before
        raise mismatch
    url = f"http://{request.headers['host']}{request.path}"
    signed = AWSRequest(
        request.method, f"{url}?{request.query}" if request.query else url, headers, request.body
    )
    signed.context["timestamp"] = timestamp
    kind = _S3Signer if claimed.service == "s3" else _Signer
    signer: Any = kind(
        Credentials(claimed.access_key_id, secret, token), claimed.service, claimed.region
    )
    text = signer.string_to_sign(signed, signer.canonical_request(signed))
    if not hmac.compare_digest(signer.signature(text, signed), claimed.signature):
        raise mismatch


def _check_time(timestamp: str, date: str) -> None:
    try:
        signed_at = datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise AwsError(
            "IncompleteSignature", "Date must be in ISO-8601 'basic format'.", 400
        ) from None
    now = real_now()
    if timestamp[:8] != date or abs(now - signed_at) > CLOCK_SKEW:
        raise AwsError(
            "SignatureDoesNotMatch",
            f"Signature expired: {timestamp} is more than {CLOCK_SKEW.seconds // 60} minutes from "
            f"{now:%Y%m%dT%H%M%SZ}",
            403,
        )
