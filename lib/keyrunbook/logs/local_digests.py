"""The integrity of log files on this machine: their digests and the public keys, from files."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from isal import igzip

from keyrunbook.errors import ParameterError
from keyrunbook.logs.digests import About, Checked, DigestFile, LogFile, PublicKey, check
from keyrunbook.logs.reach import Found
from keyrunbook.logs.scan import DAMAGED

METADATA: Final = ".metadata.json"
"""What a digest file's name is followed by, beside it, in the name of its object's metadata."""


def integrity(
    found: Found,
    keys: Iterable[PublicKey],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Checked:
    """Judge the log files of a search by the digest files that lay beside them.

    The search must have been made with ``hashed=True``. A copy of a digest has lost the object's
    metadata, and with it the signature. Where the answer of ``aws s3api head-object`` lies beside
    it, under its name and ``.metadata.json``, that is taken; else the next digest tells it.

    Raises ValueError if the search took no hashes.
    """
    logs = log_files(found)
    digests, unread = [], []
    for path in found.digests:
        try:
            digests.append(_digest(path))
        except OSError as error:
            unread.append(About(str(path), f"could not be read: {error.strerror}"))
    return check(
        digests,
        logs,
        list(keys),
        since=since,
        until=until,
        unread=unread,
        looked_at=found.wanted.may_be_in,
    )


def log_files(found: Found) -> list[LogFile]:
    """The files of a search, as `check` compares them.

    Raises ValueError if the search took no hashes.
    """
    if any(one.whole and one.sha256 is None for one in found.scanned):
        raise ValueError("the search took no hashes: it must be made with hashed=True")
    unread = "could not be read"
    return [
        LogFile(
            one.place, one.sha256, unread=any(why.startswith(unread) for _, why in one.troubles)
        )
        for one in found.scanned
    ]


def text_of(packed: bytes) -> bytes:
    """A digest file's text; empty where it is damaged, which no digest's text is."""
    if packed[:2] != b"\x1f\x8b":
        return packed
    try:
        return bytes(igzip.decompress(packed))  # type: ignore[no-untyped-call]
    except DAMAGED:
        return b""


def _digest(path: Path) -> DigestFile:
    text = text_of(path.read_bytes())
    beside = path.with_name(path.name + METADATA)
    if not beside.exists():
        return DigestFile(str(path), text)
    try:
        metadata = json.loads(beside.read_bytes())["Metadata"]
        return DigestFile(
            str(path), text, str(metadata["signature"]), str(metadata["signature-algorithm"])
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ParameterError(
            f"{beside} is not what aws s3api head-object answers for a digest: {error}.",
            "Get it again, or take the file away: then the next digest tells the signature.",
        ) from error


def keys_from(answer: Mapping[str, Any]) -> list[PublicKey]:
    """The keys of what ListPublicKeys answered, by boto3 or as JSON.

    Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_PublicKey.html

    Raises KeyError, TypeError or ValueError for what is none.
    """
    keys = []
    for one in answer["PublicKeyList"]:
        value = one["Value"]
        der = value if isinstance(value, bytes) else base64.b64decode(value, validate=True)
        keys.append(PublicKey(der, str(one["Fingerprint"])))
    return keys


def read_keys(path: str | os.PathLike[str]) -> list[PublicKey]:
    """The public keys of a file: what ``aws cloudtrail list-public-keys`` printed, or one key, DER.

    Raises:
        ParameterError: the file cannot be read, or holds neither.
    """
    fix = "Give what aws cloudtrail list-public-keys prints, or one key in DER (PKCS #1)."
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror}.", fix) from error
    try:
        if content.lstrip().startswith(b"{"):
            return keys_from(json.loads(content))
        return [PublicKey(content, None)]
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise ParameterError(f"{path} holds no public key: {error}.", fix) from error
