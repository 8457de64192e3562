"""What S3 takes for the body of a request: signed, or in chunks with its checksum behind it.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import base64
import threading
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from awssandbox.errors import AwsError
from awssandbox.payload import opened
from awssandbox.protocol import HttpRequest
from awssandbox.server import Application, Server, tls_context
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Keys
from served import REGION, SESSION, Served, refusal


@pytest.fixture
def s3(sandbox: Served) -> Any:
    """A client of a sandbox that has the bucket ``documents``."""
    client = sandbox.client("s3")
    client.create_bucket(
        Bucket="documents", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    return client


class Signer(S3SigV4Auth):  # type: ignore[misc]
    """Signs a body as being what `says` says."""

    def __init__(self, sandbox: Served, says: str | None) -> None:
        super().__init__(Keys(*sandbox.administrator), "s3", REGION)
        self.says = says

    def payload(self, request: AWSRequest) -> str:
        return super().payload(request) if self.says is None else self.says


def put(sandbox: Served, body: bytes, says: str | None = None, **unsigned: str) -> tuple[int, str]:
    """Status and text of the answer to a PUT of an object; headers may be added unsigned."""
    url = f"{sandbox.url}/documents/one"
    request = AWSRequest("PUT", url, {}, body)
    Signer(sandbox, says).add_auth(request)
    headers = {**dict(request.headers), **{k.replace("_", "-"): v for k, v in unsigned.items()}}
    asked = urllib.request.Request(url, body, headers, method="PUT")
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("says", "unsigned", "status", "told"),
    [
        (None, {}, 200, ""),
        ("0" * 64, {}, 400, "<Code>XAmzContentSHA256Mismatch</Code>"),
        ("UNSIGNED-PAYLOAD", {}, 501, "without signature (UNSIGNED-PAYLOAD) over plain HTTP"),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", {}, 501, "over plain HTTP"),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", {}, 501, "a body in signed chunks"),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", {}, 501, "a body in signed chunks"),
        (
            None,
            {"x_amz_meta_by": "somebody"},
            403,
            "<HeadersNotSigned>x-amz-meta-by</HeadersNotSigned>",
        ),
        (None, {"x_amz_checksum_crc32": "AAAAAA=="}, 403, "HeadersNotSigned"),
    ],
)
def test_what_a_signature_says_of_the_body(
    sandbox: Served, s3: Any, says: str | None, unsigned: dict[str, str], status: int, told: str
) -> None:
    answered, text = put(sandbox, b"the body", says, **unsigned)
    assert (answered, told in text) == (status, True), text
    assert s3.list_objects_v2(Bucket="documents")["KeyCount"] == (1 if status == 200 else 0)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("credentials", "told"),
    [
        (("AKIAIOSFODNN7EXAMPLE", "secret", None), ("InvalidAccessKeyId", 403)),
        (None, ("SignatureDoesNotMatch", 403)),
    ],
)
def test_who_is_not_let_in(
    sandbox: Served, credentials: tuple[str, str, None] | None, told: tuple[str, int]
) -> None:
    wrong = credentials or (sandbox.administrator[0], "not the secret", None)
    assert refusal(sandbox.client("s3", wrong).list_buckets)[:2] == told


# Over TLS


@pytest.fixture
def over_tls(sandbox: Served, s3: Any, tmp_path: Path) -> Iterator[Any]:
    """A client that reaches the sandbox over TLS."""
    context, bundle = tls_context("127.0.0.1", tmp_path)
    server = Server(Application(sandbox.world), "127.0.0.1", 0, context)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    key, secret, _ = sandbox.administrator
    client = SESSION.create_client(
        "s3",
        region_name=REGION,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        endpoint_url=server.url,
        verify=str(bundle),
    )
    yield client
    client.close()
    server.stop()
    thread.join(timeout=5)


@pytest.mark.e2e
@pytest.mark.parametrize("algorithm", ["CRC32", "SHA256"])
def test_a_body_in_chunks_is_opened_and_its_checksum_verified(
    over_tls: Any, algorithm: str
) -> None:
    sent: list[Any] = []
    over_tls.meta.events.register("before-send.s3", lambda request, **_: sent.append(request))
    over_tls.put_object(
        Bucket="documents",
        Key="one",
        Body=b"text" * 500,
        ContentEncoding="br",
        ChecksumAlgorithm=algorithm,
    )
    assert sent[0].headers["X-Amz-Content-SHA256"] == b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    got = over_tls.get_object(Bucket="documents", Key="one", ChecksumMode="ENABLED")
    assert got["Body"].read() == b"text" * 500
    assert got[f"Checksum{algorithm}"]
    assert got["ContentEncoding"] == "br"


@pytest.mark.e2e
def test_a_body_in_chunks_that_was_altered_is_refused(over_tls: Any) -> None:
    def alter(request: Any, **_: Any) -> None:
        request.body = request.body.read().replace(b"text", b"test")

    over_tls.meta.events.register("before-send.s3.PutObject", alter)
    told = refusal(over_tls.put_object, Bucket="documents", Key="one", Body=b"text")
    assert told[:2] == ("BadDigest", 400)
    assert over_tls.list_objects_v2(Bucket="documents")["KeyCount"] == 0


# Chunks and checksums by themselves


def chunked(*chunks: bytes, trailer: bytes = b"", **headers: Any) -> HttpRequest:
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    given = {
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(sum(map(len, chunks))),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return HttpRequest("PUT", "/b/k", "", given, framed + b"0\r\n" + trailer + b"\r\n")


def crc32(body: bytes) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


TRAILER: dict[str, Any] = {"x_amz_trailer": "x-amz-checksum-crc32"}


def test_chunks_are_put_together() -> None:
    trailer = f"x-amz-checksum-crc32:{crc32(b'one two')}\r\n".encode()
    request = opened(chunked(b"one", b" ", b"two", trailer=trailer, **TRAILER))
    assert request.body == b"one two"
    assert request.headers["content-length"] == "7"
    assert request.headers["x-amz-checksum-crc32"] == crc32(b"one two")
    assert "content-encoding" not in request.headers


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (chunked(b"one", x_amz_decoded_content_length="4"), "IncompleteBody"),
        (chunked(b"one", **TRAILER), "MalformedTrailerError"),
        (chunked(b"one", trailer=b"x-amz-checksum-crc32:AAAA\r\n"), "MalformedTrailerError"),
        (
            chunked(b"one", trailer=b"x-amz-checksum-crc32:AAAAAA==\r\n", **TRAILER),
            "BadDigest",
        ),
        (HttpRequest("PUT", "/b/k", "", chunked().headers, b"3\r\nab"), "IncompleteBody"),
        (HttpRequest("PUT", "/b/k", "", chunked().headers, b"-1\r\n\r\n"), "IncompleteBody"),
        (HttpRequest("PUT", "/b/k", "", chunked().headers, b""), "IncompleteBody"),
        (HttpRequest("PUT", "/b/k", "", {"content-md5": "AAAA"}, b"one"), "BadDigest"),
        (HttpRequest("PUT", "/b/k", "", {"x-amz-checksum-xxhash64": "A"}, b""), "NotImplemented"),
    ],
)
def test_chunks_and_checksums_that_are_refused(request_: HttpRequest, code: str) -> None:
    with pytest.raises(AwsError) as refused:
        opened(request_)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("kind", "checksum"),
    [
        ("crc32", "cbf43926"),
        ("crc32c", "e3069283"),
        ("crc64nvme", "ae8b14860a799888"),
        ("sha1", "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
        ("sha256", "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
    ],
)
def test_checksums_of_the_check_string(kind: str, checksum: str) -> None:
    """The check values of the CRC catalogue: https://reveng.sourceforge.io/crc-catalogue/all.htm"""
    value = base64.b64encode(bytes.fromhex(checksum)).decode()
    headers = {f"x-amz-checksum-{kind}": value}
    assert opened(HttpRequest("PUT", "/b/k", "", headers, b"123456789")).body == b"123456789"
