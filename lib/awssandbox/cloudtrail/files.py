"""Log and digest files: where they are in the bucket, and what is in them.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-examples.html,
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html
and https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-custom-validation.html
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from awssandbox.moto_trails import TrailState

HASH: Final = "SHA-256"
SIGNATURE: Final = "SHA256withRSA"


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log file as a digest tells of it. `sha256` is that of its content before compression."""

    bucket: str
    key: str
    sha256: str
    oldest: datetime
    newest: datetime


@dataclass(frozen=True, slots=True)
class Digest:
    """A delivered digest file as the next one tells of it. `signature` is hexadecimal."""

    bucket: str
    key: str
    sha256: str
    signature: str


def stamp(moment: datetime) -> str:
    """A time in UTC's extended format, to the second."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def folder(prefix: str | None, account: str, region: str, kind: str = "CloudTrail") -> str:
    """Where the days of a trail's log or digest files (``CloudTrail-Digest``) are."""
    start = f"{prefix}/" if prefix else ""
    return f"{start}AWSLogs/{account}/{kind}/{region}"


def _day(trail: TrailState, kind: str, region: str, day: datetime) -> str:
    where = folder(trail.shown.get("S3KeyPrefix"), trail.account, region, kind)
    return f"{where}/{day:%Y/%m/%d}"


def log_key(trail: TrailState, region: str, delivered: datetime, unique: str) -> str:
    """The key of a log file; `unique` is 16 letters and digits without a meaning."""
    name = f"{trail.account}_CloudTrail_{region}_{delivered:%Y%m%dT%H%MZ}_{unique}.json.gz"
    return f"{_day(trail, 'CloudTrail', region, delivered)}/{name}"


def digest_key(trail: TrailState, region: str, end: datetime) -> str:
    """The key of the digest file of the hour that ends at `end`."""
    home = trail.home_region
    name = f"{trail.account}_CloudTrail-Digest_{region}_{trail.name}_{home}_{end:%Y%m%dT%H%M%SZ}"
    return f"{_day(trail, 'CloudTrail-Digest', region, end)}/{name}.json.gz"


def log_content(records: Sequence[Mapping[str, Any]]) -> bytes:
    """A log file's content before compression."""
    return _json({"Records": list(records)})


def digest_content(
    trail: TrailState,
    key: str,
    span: tuple[datetime, datetime],
    fingerprint: str,
    previous: Digest | None,
    files: Sequence[LogFile],
) -> bytes:
    """A digest file's content before compression; `previous` is None in a starting digest."""
    start, end = span
    newest = max((file.newest for file in files), default=None)
    oldest = min((file.oldest for file in files), default=None)
    return _json(
        {
            "awsAccountId": trail.account,
            "digestStartTime": stamp(start),
            "digestEndTime": stamp(end),
            "digestS3Bucket": trail.shown["S3BucketName"],
            "digestS3Object": key,
            "digestPublicKeyFingerprint": fingerprint,
            "digestSignatureAlgorithm": SIGNATURE,
            "newestEventTime": None if newest is None else stamp(newest),
            "oldestEventTime": None if oldest is None else stamp(oldest),
            "previousDigestS3Bucket": None if previous is None else previous.bucket,
            "previousDigestS3Object": None if previous is None else previous.key,
            "previousDigestHashValue": None if previous is None else previous.sha256,
            "previousDigestHashAlgorithm": None if previous is None else HASH,
            "previousDigestSignature": None if previous is None else previous.signature,
            "logFiles": [
                {
                    "s3Bucket": file.bucket,
                    "s3Object": file.key,
                    "hashValue": file.sha256,
                    "hashAlgorithm": HASH,
                    "newestEventTime": stamp(file.newest),
                    "oldestEventTime": stamp(file.oldest),
                }
                for file in files
            ],
        }
    )


def signed_text(end: datetime, bucket: str, key: str, sha256: str, previous: Digest | None) -> str:
    """What a digest's signature is over. `sha256` is that of its content before compression.

    A starting digest has the word null for the previous signature, as the AWS CLI checks it.
    """
    before = "null" if previous is None else previous.signature
    return f"{stamp(end)}\n{bucket}/{key}\n{sha256}\n{before}"


def sha256_of(content: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def packed(content: bytes) -> bytes:
    """Compressed, without the time of day, so that the same content is the same file."""
    return gzip.compress(content, mtime=0)


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
