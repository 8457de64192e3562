"""Log and digest files as CloudTrail delivers them, signed by a key of the tests' own."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from log_files import ACCOUNT, REGION, name_of, text_of

BUCKET = "amzn-s3-demo-bucket"
FIRST = datetime(2026, 3, 1, 10, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@cache
def signer(number: int = 0) -> RSAPrivateKey:
    """A key pair; each number has its own."""
    return generate_private_key(65537, 2048)


def der(key: RSAPrivateKey) -> bytes:
    """The public half, as ListPublicKeys has it."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)


def stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Delivery:
    """A bucket: objects and digests' metadata, by their keys; `root` is before the account."""

    root: str = "AWSLogs/"
    objects: dict[str, bytes] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    key: RSAPrivateKey = field(default_factory=signer)
    fingerprint: str = "31e8b5433410dfb61a9dc45cc65b22ff"
    region: str = REGION
    newest: str | None = None

    def log(self, records: list[Any], delivered: datetime, mark: str = "A") -> str:
        """Deliver a log file; its key."""
        day = f"{ACCOUNT}/CloudTrail/{self.region}/{delivered:%Y/%m/%d}"
        key = f"{self.root}{day}/{name_of(delivered, mark, region=self.region)}"
        self.objects[key] = gzip.compress(text_of(records), mtime=0)
        return key

    def digest(
        self, until: datetime, logs: list[str], *, starting: bool = False, backfill: bool = False
    ) -> str:
        """Deliver a digest of an hour that names `logs`; its key."""
        name = (
            f"{ACCOUNT}_CloudTrail-Digest_{self.region}_trail_{self.region}_{until:%Y%m%dT%H%M%SZ}"
        )
        day = f"{ACCOUNT}/CloudTrail-Digest/{self.region}/{until:%Y/%m/%d}"
        key = f"{self.root}{day}/{name}{'_backfill' if backfill else ''}.json.gz"
        previous = None if starting or backfill else self.newest
        document = {
            "awsAccountId": ACCOUNT,
            "digestStartTime": stamp(until - HOUR),
            "digestEndTime": stamp(until),
            "digestS3Bucket": BUCKET,
            "digestS3Object": key,
            "digestPublicKeyFingerprint": self.fingerprint,
            "digestSignatureAlgorithm": "SHA256withRSA",
            "newestEventTime": None,
            "oldestEventTime": None,
            "previousDigestS3Bucket": BUCKET if previous else None,
            "previousDigestS3Object": previous,
            "previousDigestHashValue": self.sha256(previous) if previous else None,
            "previousDigestHashAlgorithm": "SHA-256" if previous else None,
            "previousDigestSignature": self.metadata[previous]["signature"] if previous else None,
            "logFiles": [
                {
                    "s3Bucket": BUCKET,
                    "s3Object": log,
                    "hashValue": self.sha256(log),
                    "hashAlgorithm": "SHA-256",
                    "newestEventTime": stamp(until),
                    "oldestEventTime": stamp(until),
                }
                for log in logs
            ],
        }
        self.put_digest(key, document)
        if not backfill:
            self.newest = key
        return key

    def put_digest(self, key: str, document: dict[str, Any]) -> None:
        """Sign a digest and put it there."""
        text = json.dumps(document, separators=(",", ":")).encode()
        signed = "\n".join(
            (
                document["digestEndTime"],
                f"{BUCKET}/{key}",
                hashlib.sha256(text).hexdigest(),
                document["previousDigestSignature"] or "null",
            )
        )
        signature = self.key.sign(signed.encode(), PKCS1v15(), hashes.SHA256())
        self.objects[key] = gzip.compress(text, mtime=0)
        self.metadata[key] = {"signature": signature.hex(), "signature-algorithm": "SHA256withRSA"}

    def sha256(self, key: str) -> str:
        return hashlib.sha256(gzip.decompress(self.objects[key])).hexdigest()

    def write(self, folder: Path, *, metadata: bool = True) -> None:
        """Copy the bucket into a folder; with the digests' metadata beside them, or without."""
        for key, content in self.objects.items():
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            if metadata and key in self.metadata:
                answer = {"ContentLength": len(content), "Metadata": self.metadata[key]}
                path.with_name(f"{path.name}.metadata.json").write_text(json.dumps(answer))

    def public_keys(self) -> dict[str, Any]:
        """What ``aws cloudtrail list-public-keys`` prints."""
        value = base64.b64encode(der(self.key)).decode()
        return {"PublicKeyList": [{"Value": value, "Fingerprint": self.fingerprint}]}


def hours(number: int, root: str = "AWSLogs/") -> tuple[Delivery, list[str], list[str]]:
    """A trail that was made, and `number` hours of it: the bucket, its log files, its digests."""
    made = Delivery(root)
    logs, digests = [], []
    for hour in range(number):
        until = FIRST + (hour + 1) * HOUR
        record = {"eventSource": "s3.amazonaws.com", "eventTime": stamp(until - HOUR / 2)}
        logs.append(made.log([record], until - HOUR / 2, f"{hour}"))
        digests.append(made.digest(until, logs[-1:], starting=hour == 0))
    return made, logs, digests
