"""The body of a request to S3: taken out of its chunks, and held against its checksums.

AWS's SDKs send a body over HTTPS in chunks (``aws-chunked``) with its checksum behind it, so that
the body need not be read before it is sent. Its signature then covers the headers only, and TLS
and the checksum the body.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Final

from awssandbox.errors import AwsError, not_imitated
from awssandbox.protocol import HttpRequest

UNSIGNED: Final = frozenset({"UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"})
"""What ``x-amz-content-sha256`` says of a body that the signature does not cover."""

_CHUNKED: Final = "aws-chunked"
_PREFIX: Final = "x-amz-checksum-"
_NOT_VALUES: Final = frozenset({"algorithm", "mode", "type"})


def opened(request: HttpRequest) -> HttpRequest:
    """The request with its body as it was before it was cut into chunks, its checksums verified.

    Raises AwsError: IncompleteBody, MalformedTrailerError, BadDigest.
    """
    headers = dict(request.headers)
    body = request.body
    encodings = [one.strip() for one in headers.get("content-encoding", "").split(",")]
    if _CHUNKED in encodings:
        body, trailers = _from_chunks(body)
        if headers.get("x-amz-decoded-content-length") != str(len(body)):
            raise _incomplete()
        promised = {name for name in headers.get("x-amz-trailer", "").split(",") if name}
        if {name.strip().lower() for name in promised} != trailers.keys():
            raise AwsError(
                "MalformedTrailerError",
                "The request contained trailing data that was not well-formed or did not conform "
                "to our published schema.",
            )
        rest = ",".join(one for one in encodings if one != _CHUNKED)
        headers |= trailers | {"content-length": str(len(body))}
        del headers["content-encoding"]
        headers |= {"content-encoding": rest} if rest else {}
    _verify(headers, body)
    return replace(request, headers=headers, body=body)


def _incomplete() -> AwsError:
    return AwsError(
        "IncompleteBody",
        "You did not provide the number of bytes specified by the Content-Length HTTP header.",
    )


def _from_chunks(body: bytes) -> tuple[bytes, dict[str, str]]:
    """What chunks hold, and the trailing headers behind them."""
    parts: list[bytes] = []
    place = 0
    while True:
        end = body.find(b"\r\n", place)
        size = body[place:end] if end >= 0 else b""
        try:
            length = int(size, 16)
        except ValueError:  # a signed chunk (``;chunk-signature=``) too: it cannot come here
            raise _incomplete() from None
        start = end + 2
        if length == 0:
            return b"".join(parts), _trailers(body[start:])
        place = start + length + 2
        if length < 0 or body[place - 2 : place] != b"\r\n":
            raise _incomplete()
        parts.append(body[start : start + length])


def _trailers(text: bytes) -> dict[str, str]:
    lines = [line for line in text.decode("latin-1").split("\r\n") if line]
    pairs = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _verify(headers: Mapping[str, str], body: bytes) -> None:
    """Hold the body against ``Content-MD5`` and each checksum."""
    wanted: dict[str, tuple[str, Callable[[bytes], bytes]]] = {}
    if "content-md5" in headers:
        wanted["Content-MD5"] = (headers["content-md5"], _md5)
    for header, value in headers.items():
        name = header.removeprefix(_PREFIX)
        if header.startswith(_PREFIX) and name not in _NOT_VALUES:
            if name not in _CHECKSUMS:
                raise not_imitated(f"checksums of the kind {name}")
            wanted[name.upper()] = (value, _CHECKSUMS[name])
    for name, (value, checksum) in wanted.items():
        if base64.b64encode(checksum(body)).decode() != value:
            raise AwsError(
                "BadDigest", f"The {name} you specified did not match the calculated checksum."
            )


def _md5(body: bytes) -> bytes:
    return hashlib.md5(body, usedforsecurity=False).digest()


def _sha1(body: bytes) -> bytes:
    return hashlib.sha1(body, usedforsecurity=False).digest()


def _sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def _crc32(body: bytes) -> bytes:
    return zlib.crc32(body).to_bytes(4, "big")


def _crc32c(body: bytes) -> bytes:
    return _crc(body, 0x82F63B78, 32)


def _crc64nvme(body: bytes) -> bytes:
    return _crc(body, 0x9A6C9329AC4BC9B5, 64)


def _crc(body: bytes, polynomial: int, bits: int) -> bytes:
    """A reflected CRC, which begins with all bits set and ends with them inverted."""
    table, ones = _table(polynomial), (1 << bits) - 1
    value = ones
    for byte in body:
        value = (value >> 8) ^ table[(value ^ byte) & 0xFF]
    return (value ^ ones).to_bytes(bits // 8, "big")


@cache
def _table(polynomial: int) -> tuple[int, ...]:
    entries = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        entries.append(value)
    return tuple(entries)


_CHECKSUMS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "crc32": _crc32,
    "crc32c": _crc32c,
    "crc64nvme": _crc64nvme,
    "sha1": _sha1,
    "sha256": _sha256,
}
