"""Whether log files are as CloudTrail delivered them: its chain of signed digests, judged.

Pure: it is given what the files hold, and asks for nothing. Each digest names the log files that
were delivered in an hour or so, with the SHA-256 of each one's text, and the digest before it, with
its hash and its signature. What is signed, by RSA PKCS #1 v1.5 with SHA-256, is

    digestEndTime + "\\n" + bucket/key + "\\n" + hex(sha256(text)) + "\\n" + previousDigestSignature

and for a digest without one before it the last line is the word ``null``. A digest's own signature
is metadata of its object in S3, which a copy in a folder has lost: then the next digest tells it,
and the newest one stays unproven.

PROVEN means that no file that was looked at was altered, and that none is missing of those that
the digests name. It does not mean that the log is complete: CloudTrail does not promise to deliver
every record, and digests do not say what it did not deliver.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-custom-validation.html
Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from keyrunbook.logs.names import LogName, log_name
from keyrunbook.proof import joined

SIGNED_BY: Final = "SHA256withRSA"
HASHED_BY: Final = "SHA-256"
_COVERS: Final = timedelta(hours=1)  # of one digest
NOT_COMPLETENESS: Final = (
    "Integrity is not completeness: digests show that files are as they were delivered, not that "
    "every event was delivered."
)
_WHEN = re.compile(r"_\d{8}T\d{6}Z(?P<backfill>_backfill)?\.json(\.gz)?\Z", re.ASCII)


class Integrity(enum.Enum):
    """The three values of the answer."""

    PROVEN = "proven"
    NOT_PROVEN = "not proven"
    REFUTED = "refuted"


class PublicKey:
    """A key that CloudTrail signs a Region's digests with: DER, PKCS #1, as ListPublicKeys has it.

    `fingerprint` None, of a key from a bare file: then it is tried on every digest, and what it
    does not fit proves nothing. Raises ValueError for what is not an RSA public key.
    """

    def __init__(self, der: bytes, fingerprint: str | None) -> None:
        key = load_der_public_key(der)
        if not isinstance(key, RSAPublicKey):
            raise ValueError("not an RSA public key")
        self.fingerprint = fingerprint
        self._key = key

    def fits(self, signature: bytes, signed: bytes) -> bool:
        """Whether this key's owner signed `signed`."""
        try:
            self._key.verify(signature, signed, PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


class DigestFile(NamedTuple):
    """A digest file: where it is, its text, and its object's metadata where that is known."""

    place: str
    text: bytes
    signature: str | None = None
    algorithm: str | None = None


class LogFile(NamedTuple):
    """A log file: where it is, and its text's SHA-256 in hex.

    `sha256` is None where the file was read and is damaged; with `unread` it could not be read.
    """

    place: str
    sha256: str | None
    unread: bool = False


class About(NamedTuple):
    """A file, and what is to be said of it."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Checked:
    """The answer: `integrity`, and what it rests on.

    `altered` are the files that are not as delivered, or missing; `unchecked` what could not be
    checked. `as_delivered` are the places of log files that a proven digest vouches for, `digests`
    how many of these there are, `spans` the times of delivery that they cover without a break.
    """

    integrity: Integrity
    altered: tuple[About, ...]
    unchecked: tuple[About, ...]
    as_delivered: tuple[str, ...]
    digests: int
    spans: tuple[tuple[datetime, datetime], ...]

    @property
    def sentence(self) -> str:
        """The answer in words, with what it does not say."""
        if self.integrity is Integrity.REFUTED:
            place, reason = self.altered[0]
            more = f", and {len(self.altered) - 1} more" if len(self.altered) > 1 else ""
            return f"Integrity refuted: {place} {reason}{more}."
        if self.integrity is Integrity.NOT_PROVEN:
            place, reason = self.unchecked[0]
            more = f", and {len(self.unchecked) - 1} more" if len(self.unchecked) > 1 else ""
            return f"Integrity not proven: {place} {reason}{more}. {NOT_COMPLETENESS}"
        spans = ", ".join(
            f"{since.isoformat()} to {until.isoformat()}" for since, until in self.spans
        )
        many = len(self.as_delivered)
        files, are = ("1 log file", "is") if many == 1 else (f"{many} log files", "are")
        return (
            f"Integrity proven: {files}, delivered {spans}, {are} what CloudTrail delivered. "
            f"{NOT_COMPLETENESS}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The answer as ledger and evidence hold it."""
        return {
            "integrity": self.integrity.value,
            "altered": [one._asdict() for one in self.altered],
            "unchecked": [one._asdict() for one in self.unchecked],
            "as_delivered": len(self.as_delivered),
            "digests": self.digests,
            "spans": [[since.isoformat(), until.isoformat()] for since, until in self.spans],
            "says": self.sentence,
        }


class MalformedDigest(ValueError):
    """A digest that cannot be read as CloudTrail documents it."""


@dataclass(frozen=True, slots=True)
class _Digest:
    """A digest, read."""

    file: DigestFile
    document: Mapping[str, Any]
    since: datetime
    until: datetime

    @property
    def key(self) -> str:
        return str(self.document["digestS3Object"])

    @property
    def previous(self) -> str | None:
        previous = self.document["previousDigestS3Object"]
        return previous if previous is None else str(previous)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.file.text).hexdigest()

    @property
    def chain(self) -> str:
        """What digests of one chain share: the name without its time, and whether it backfills."""
        name = PurePosixPath(self.key).name
        match = _WHEN.search(name)
        return name if match is None else name[: match.start()] + (match["backfill"] or "")

    def signed(self) -> bytes:
        """What was signed."""
        of, previous = self.document, self.document["previousDigestSignature"]
        lines = (
            of["digestEndTime"],
            f"{of['digestS3Bucket']}/{self.key}",
            self.sha256,
            "null" if previous is None else previous,
        )
        return "\n".join(lines).encode()


_TEXTS: Final = (
    "digestStartTime",
    "digestEndTime",
    "digestS3Bucket",
    "digestS3Object",
    "digestPublicKeyFingerprint",
)
_PREVIOUS: Final = (
    "previousDigestS3Bucket",
    "previousDigestS3Object",
    "previousDigestHashValue",
    "previousDigestHashAlgorithm",
    "previousDigestSignature",
)


def _read(file: DigestFile) -> _Digest:
    try:
        document = json.loads(file.text)
    except (ValueError, RecursionError) as error:
        raise MalformedDigest(f"is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise MalformedDigest("is not an object")
    for name in _TEXTS:
        if not isinstance(document.get(name), str):
            raise MalformedDigest(f"has no text for {name}")
    for name in _PREVIOUS:
        if name not in document or not isinstance(document[name], str | None):
            raise MalformedDigest(f"has neither a text nor null for {name}")
    files = document.get("logFiles")
    if not isinstance(files, list) or not all(_names_a_file(one) for one in files):
        raise MalformedDigest("has no list of log files with s3Object and hashValue")
    try:
        since, until = (datetime.fromisoformat(document[name]) for name in _TEXTS[:2])
    except ValueError as error:
        raise MalformedDigest(f"has a time that is none: {error}") from error
    if since.tzinfo is None or until.tzinfo is None:
        raise MalformedDigest("has a time without zone")
    return _Digest(file, document, since, until)


def _names_a_file(one: object) -> bool:
    return isinstance(one, dict) and all(
        isinstance(one.get(name), str) for name in ("s3Object", "hashValue", "hashAlgorithm")
    )


def check(
    digests: Iterable[DigestFile],
    logs: Iterable[LogFile],
    keys: Sequence[PublicKey],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    unread: Iterable[About] = (),
    looked_at: Callable[[LogName], bool] = lambda name: True,
) -> Checked:
    """Judge log files by the digests that name them, and those by each other and by `keys`.

    A log file is known by its name without folders, which is unique, so any layout will do. With
    `since` and `until` only what was delivered between them must be there and covered; without,
    the chain reaches as far as it does, and a digest that is missing before the oldest is not told.
    `unread` are digest files that could not be read. `looked_at` says which log files a search did
    not leave out: only those can be missing.
    """
    return _Check(keys, since, until, looked_at).judge(digests, list(logs), unread)


@dataclass(slots=True)
class _Check:
    """One judgement under way."""

    keys: Sequence[PublicKey]
    since: datetime | None
    until: datetime | None
    looked_at: Callable[[LogName], bool]
    altered: list[About] = field(default_factory=list)
    unchecked: list[About] = field(default_factory=list)
    proven: list[_Digest] = field(default_factory=list)

    def judge(
        self, digests: Iterable[DigestFile], logs: Sequence[LogFile], unread: Iterable[About]
    ) -> Checked:
        self.unchecked += unread
        chains: defaultdict[str, dict[tuple[str, bytes], _Digest]] = defaultdict(dict)
        for file in digests:
            try:
                digest = _read(file)
            except MalformedDigest as error:
                self.altered.append(About(file.place, str(error)))
                continue
            same = chains[digest.chain].get((digest.key, file.text))
            if same is None or same.file.signature is None:
                chains[digest.chain][digest.key, file.text] = digest
        spans: list[tuple[datetime, datetime]] = []
        for name in sorted(chains):
            spans += self._chain(sorted(chains[name].values(), key=lambda one: one.until))
        if not (chains or self.altered or self.unchecked):
            self.unchecked.append(About("the digest files", "are not there, so nothing vouches"))
        good = self._logs(logs)
        answer = Integrity.PROVEN
        if self.altered or self.unchecked:
            answer = Integrity.REFUTED if self.altered else Integrity.NOT_PROVEN
        return Checked(
            answer,
            tuple(dict.fromkeys(self.altered)),
            tuple(dict.fromkeys(self.unchecked)),
            tuple(sorted(good)),
            len(self.proven),
            tuple(joined(spans)),
        )

    def _chain(self, chain: Sequence[_Digest]) -> list[tuple[datetime, datetime]]:
        """Check a chain from the newest digest back; the times that it covers."""
        there = {digest.key for digest in chain}
        self._link_after(chain, there)
        asked = [
            index
            for index, digest in enumerate(chain)
            if (self.since is None or digest.until >= self.since)
            and (self.until is None or digest.since <= self.until)
        ]
        if not asked:
            return []
        told: dict[str, tuple[str, str]] = {}  # signatures, by the digest after
        hashed: dict[str, tuple[str, str]] = {}
        covered: list[tuple[datetime, datetime]] = []
        # The one after the last that is asked for tells that one's signature.
        for index in range(min(asked[-1] + 1, len(chain) - 1), asked[0] - 1, -1):
            digest, document = chain[index], chain[index].document
            authentic = index not in asked or self._authentic(digest, told.get(digest.key))
            by, sha256 = hashed.get(digest.key, ("", digest.sha256))
            if sha256 != digest.sha256:
                self.altered.append(About(digest.file.place, f"is not what {by} says it was"))
            elif authentic and index in asked:
                self.proven.append(digest)
                covered.append((digest.since, digest.until))
            if index in asked:
                self._link(digest, there, is_oldest=index == 0)
            if digest.previous is not None:
                told[digest.previous] = (
                    digest.file.place,
                    str(document["previousDigestSignature"]),
                )
                if authentic and index in asked:
                    hashed[digest.previous] = (
                        digest.file.place,
                        str(document["previousDigestHashValue"]),
                    )
        newest = chain[asked[-1]]
        if self.until is not None and newest.until < self.until:
            after = f"is the newest, and covers nothing after {newest.until.isoformat()}"
            self.unchecked.append(About(newest.file.place, after))
        return covered

    def _authentic(self, digest: _Digest, told: tuple[str, str] | None) -> bool:
        place, document = digest.file.place, digest.document
        for algorithm in (digest.file.algorithm, document.get("digestSignatureAlgorithm")):
            if algorithm not in (None, SIGNED_BY):
                self.unchecked.append(About(place, f"is signed by {algorithm}, not {SIGNED_BY}"))
                return False
        by, signature = (
            ("its object's metadata", digest.file.signature)
            if digest.file.signature is not None
            else told or ("", None)
        )
        if signature is None:
            self.unchecked.append(
                About(place, "has its signature in S3 only, and no later digest tells it")
            )
            return False
        fingerprint = document["digestPublicKeyFingerprint"]
        named = [key for key in self.keys if key.fingerprint == fingerprint]
        bare = [key for key in self.keys if key.fingerprint is None]
        if not named and not bare:
            self.unchecked.append(
                About(place, f"is signed by key {fingerprint}, which is not given")
            )
            return False
        try:
            value = bytes.fromhex(signature)
        except ValueError:
            self.altered.append(About(place, "has a signature that is not hexadecimal"))
            return False
        if any(key.fits(value, digest.signed()) for key in (*named, *bare)):
            return True
        if named:
            self.altered.append(About(place, f"does not fit its signature, told by {by}"))
        else:
            self.unchecked.append(
                About(place, "does not fit its signature by the key given, which may be another's")
            )
        return False

    def _link(self, digest: _Digest, there: set[str], *, is_oldest: bool) -> None:
        previous, place = digest.previous, digest.file.place
        # Before the oldest that is there, an absence is a matter of what was asked for.
        asked = not is_oldest or (self.since is not None and self.since < digest.since)
        if previous is None and asked:
            why = "begins a chain: no digest covers what was delivered before it"
            self.unchecked.append(About(place, why))
        elif previous is not None and previous not in there and asked:
            why = f"is missing: {place} names it as the one before it"
            self.altered.append(About(previous, why))

    def _link_after(self, chain: Sequence[_Digest], there: set[str]) -> None:
        """Whether the first digest after what is asked for names one before it that is missing."""
        until = self.until
        after = None if until is None else next((one for one in chain if one.since > until), None)
        if until is None or after is None or after.previous in (None, *there):
            return
        # It ends where the next one begins.
        if after.since - _COVERS <= until and (self.since is None or after.since >= self.since):
            why = f"is missing: {after.file.place} names it as the one before it"
            self.altered.append(About(str(after.previous), why))

    def _logs(self, logs: Sequence[LogFile]) -> set[str]:
        """Compare the log files with what proven digests say; those that are as delivered."""
        by_name: defaultdict[str, list[LogFile]] = defaultdict(list)
        for log in logs:
            by_name[PurePosixPath(log.place).name].append(log)
        named: set[str] = set()
        good: set[str] = set()
        for digest in self.proven:
            for entry in digest.document["logFiles"]:
                name = PurePosixPath(entry["s3Object"]).name
                named.add(name)
                if entry["hashAlgorithm"] != HASHED_BY:
                    how = f"is hashed by {entry['hashAlgorithm']}, not {HASHED_BY}"
                    self.unchecked.append(About(entry["s3Object"], how))
                    continue
                if not by_name[name] and self._asked(name):
                    why = f"is missing: {digest.file.place} names it"
                    self.altered.append(About(entry["s3Object"], why))
                good |= {
                    log.place
                    for log in by_name[name]
                    if self._same(log, entry["hashValue"], digest)
                }
        for log in logs:
            name = PurePosixPath(log.place).name
            if name not in named and self._asked(name):
                self.unchecked.append(About(log.place, "is in no digest that is proven"))
        return good

    def _same(self, log: LogFile, sha256: str, digest: _Digest) -> bool:
        if log.unread:
            self.unchecked.append(About(log.place, "could not be read"))
        elif log.sha256 != sha256.lower():
            why = f"is not what was delivered, by {digest.file.place}"
            self.altered.append(About(log.place, why))
        else:
            return True
        return False

    def _asked(self, name: str) -> bool:
        """Whether a file of this name is among those asked for."""
        known = log_name(name)
        return known is None or (
            self.looked_at(known)
            and (self.since is None or known.delivered >= self.since)
            and (self.until is None or known.delivered <= self.until)
        )
