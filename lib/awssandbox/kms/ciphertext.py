"""The ciphertext blob of a symmetric key: it names its key, and is bound to its context.

A blob is a fixed header, the length and text of the key's ARN, the id of the key material, a
nonce, and the AES-256-GCM ciphertext with its tag. Everything before the nonce and the canonical
encryption context are additional authenticated data, so nothing of a blob or of a context can be
changed.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/encrypt_context.html (the context is
AAD: exact, letter case included, in any order). The blob's format is KMS's secret; ours begins
with the same bytes as AWS's.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HEADER: Final = b"\x01\x02\x02\x00\x78"
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
MATERIAL_ID_BYTES: Final = 32


class BlobError(ValueError):
    """Not a blob of ours, or one that this key material and context do not open."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob taken apart: which key and key material made it, and what is sealed in it."""

    key_arn: str
    material_id: str
    prefix: bytes
    sealed: bytes


def canonical_context(context: Mapping[str, str]) -> bytes:
    """An encryption context as bytes: pairs in order of their keys, each string with its length.

    The lengths keep ``{"a": "bc"}`` and ``{"ab": "c"}`` apart.
    """
    parts: list[bytes] = []
    for pair in sorted((k.encode(), v.encode()) for k, v in context.items()):
        parts.extend(struct.pack(">I", len(text)) + text for text in pair)
    return b"".join(parts)


def seal(
    key_arn: str, material_id: str, material: bytes, plaintext: bytes, context: Mapping[str, str]
) -> bytes:
    """Encrypt `plaintext` (1 to 4,096 bytes) under `material` (32 bytes) for exactly `context`."""
    arn = key_arn.encode()
    prefix = HEADER + struct.pack(">H", len(arn)) + arn + bytes.fromhex(material_id)
    nonce = os.urandom(NONCE_BYTES)
    aad = prefix + canonical_context(context)
    return prefix + nonce + AESGCM(material).encrypt(nonce, plaintext, aad)


def parse(blob: bytes) -> Blob:
    """Take a blob apart. Raises BlobError when it is none."""
    if not blob.startswith(HEADER) or len(blob) < len(HEADER) + 2:
        raise BlobError("no header")
    (arn_length,) = struct.unpack_from(">H", blob, len(HEADER))
    arn_start = len(HEADER) + 2
    material_start = arn_start + arn_length
    end = material_start + MATERIAL_ID_BYTES
    if len(blob) <= end + NONCE_BYTES + TAG_BYTES:
        raise BlobError("too short")
    try:
        arn = blob[arn_start:material_start].decode("ascii")
    except UnicodeDecodeError as error:
        raise BlobError("no key ARN") from error
    return Blob(arn, blob[material_start:end].hex(), blob[:end], blob[end:])


def unseal(blob: Blob, material: bytes, context: Mapping[str, str]) -> bytes:
    """The plaintext. Raises BlobError unless material, context and every byte are the same."""
    nonce, sealed = blob.sealed[:NONCE_BYTES], blob.sealed[NONCE_BYTES:]
    try:
        return AESGCM(material).decrypt(nonce, sealed, blob.prefix + canonical_context(context))
    except InvalidTag as error:
        raise BlobError("altered, or another context") from error
