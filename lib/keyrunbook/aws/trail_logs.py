"""CloudTrail records from a trail's log files in S3: all of a time, and quicker than LookupEvents.

Only the days that may hold what is wanted are listed, and each object is scanned as it comes, so
nothing is kept on disk. What a trail does not select, its files do not have: that is said, and
then they cover nothing. Who reads needs cloudtrail:DescribeTrails, GetTrailStatus and
GetEventSelectors, s3:ListBucket and s3:GetObject; kms:Decrypt too where the trail encrypts its
files; cloudtrail:ListPublicKeys for their integrity.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-find-log-files.html
"""

from __future__ import annotations

import errno
import io
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from keyrunbook.aws.clients import Clients
from keyrunbook.aws.refusals import code_of, explain
from keyrunbook.aws.trails import Trail, lacks, read_trails
from keyrunbook.errors import ParameterError
from keyrunbook.logs import (
    IMAGE_BUILDER_WORD,
    LATE,
    About,
    Checked,
    DigestFile,
    Found,
    Mention,
    PublicKey,
    Scanned,
    Scanner,
    Wanted,
    check,
    found,
    keys_from,
    log_files,
)
from keyrunbook.logs.local_digests import text_of
from keyrunbook.logs.names import digest_of, log_name
from keyrunbook.proof import WORTH_WAITING
from keyrunbook.records import IMAGE_BUILDER, KMS

DOWNLOADS: Final = 8
"""Objects that are fetched at a time. The network sets the pace, not the processor."""

_BUFFER: Final = 16 << 20
_URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]+)(?:/(?P<prefix>.*))?", re.ASCII)
_ORGANISATION = re.compile(r"o-[a-z0-9]{10,32}/\Z", re.ASCII)
_OBJECT_S_OWN: Final = {"NoSuchKey", "InvalidObjectState"}  # removed meanwhile; in an archive


@dataclass(frozen=True, slots=True)
class Place:
    """Where log files are: a bucket, and the prefix before ``AWSLogs/``. `trail` where known."""

    bucket: str
    prefix: str = ""
    trail: Trail | None = None

    @property
    def url(self) -> str:
        """The place as ``s3://bucket/prefix``."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def place_of_url(url: str) -> Place:
    """The place that ``s3://bucket[/prefix]`` names; ``AWSLogs`` and what follows may be given too.

    Raises ParameterError for another form.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise ParameterError(
            f"{url!r} is not of the form s3://bucket or s3://bucket/prefix.",
            "Give the bucket that a trail delivers to, and its prefix where it has one.",
        )
    prefix = (match["prefix"] or "").strip("/")
    return Place(match["bucket"], re.sub(r"(^|/)AWSLogs(/.*)?\Z", "", prefix))


def place_of_trail(clients: Clients, name: str | None = None) -> Place:
    """Where the trail of that name (or ARN) delivers; else one that keeps what the proof needs.

    Raises:
        ParameterError: no trail covers the Region, or none has that name.
        AwsRefused, Unreachable: AWS did not describe the trails.
    """
    try:
        trails = read_trails(clients)
    except (ClientError, BotoCoreError) as error:
        raise explain(error) from error
    chosen = [trail for trail in trails if name in (None, trail.name, trail.arn)]
    if not chosen:
        there = ", ".join(trail.name for trail in trails) or "none"
        raise ParameterError(
            f"No trail {name or ''} covers {clients.region}; there is {there}.".replace("  ", " "),
            "Ask the Event history (--source lookup), which needs no trail, or give files.",
        )
    best = min(chosen, key=lambda trail: (trail.refused is not None, bool(lack_of(trail))))
    return Place(best.bucket, best.prefix, best)


def lack_of(trail: Trail | None) -> str:
    """A sentence on what the proof needs and a trail does not keep; empty where it keeps all.

    Empty also where that is not known: `unknown_of` says so.
    """
    if trail is None or trail.refused is not None:
        return ""
    # A trail that was stopped has what it delivered before.
    logging = Trail(trail.name, True, trail.selectors, trail.advanced)
    for source, kinds in ((KMS, (True,)), (IMAGE_BUILDER, (True, False))):
        lack = lacks(logging, source, kinds=kinds)
        if lack is not None:
            return f"Trail {trail.name} {lack}, so its files cannot show what is looked for."
    return ""


def unknown_of(trail: Trail | None) -> str:
    """A sentence where it is not known what a trail keeps; empty where it is."""
    if trail is None:
        return "Which events the trail selects is not known: its files may lack some."
    if trail.refused is not None:
        return f"Whether trail {trail.name} keeps what is looked for is not known: {trail.refused}."
    return ""


def public_keys(clients: Clients, region: str, since: datetime, until: datetime) -> list[PublicKey]:
    """The keys that digests of a Region were signed by in that time; CloudTrail has one a Region.

    Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_ListPublicKeys.html

    Raises AwsRefused or Unreachable.
    """
    client = clients("cloudtrail", region)
    request: dict[str, Any] = {"StartTime": since, "EndTime": until}
    keys: list[PublicKey] = []
    while True:
        try:
            page = client.list_public_keys(**request)
        except (ClientError, BotoCoreError) as error:
            raise explain(error) from error
        keys += keys_from(page)
        if not page.get("NextToken"):
            return keys
        request["NextToken"] = page["NextToken"]


def pages(s3: Any, **what: str) -> Iterator[Any]:
    """What ListObjectsV2 answers, page by page. Raises AwsRefused or Unreachable."""
    request: dict[str, Any] = {**what}
    while True:
        try:
            page = s3.list_objects_v2(**request)
        except (ClientError, BotoCoreError) as error:
            raise explain(error) from error
        yield page
        if not page.get("IsTruncated"):
            return
        request["ContinuationToken"] = page["NextContinuationToken"]


class TrailLogs:
    """Searches the log files at `place` of one account and Region.

    `clock` is the service's time. `remark` is added to the source's name: whose endpoint it is,
    where it is not AWS's.
    """

    def __init__(
        self,
        clients: Clients,
        place: Place,
        account: str,
        region: str,
        *,
        clock: Callable[[], datetime] | None = None,
        remark: str = "",
    ) -> None:
        self.place = place
        of = f"trail {place.trail.name}, " if place.trail is not None else ""
        self.name = f"the log files of {of}{account} in {region} at {place.url}{remark}"
        self._clients = clients
        self._s3 = clients("s3")
        self._account = account
        self._region = region
        self._clock = clock or clients.now

    @property
    def lack(self) -> str:
        """A warning: what the trail does not select. Empty where it does, or is not known."""
        return lack_of(self.place.trail)

    def search(
        self,
        since: datetime,
        until: datetime | None = None,
        *,
        words: tuple[str, ...] = (IMAGE_BUILDER_WORD,),
        every: bool = False,
        hashed: bool = False,
        progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> Found:
        """Scan what was delivered from `since` on, and until a day after `until`, or to now.

        The arguments are those of `keyrunbook.logs.search`. An object that could not be read is
        told as a file would be.

        Raises:
            AwsRefused: AWS refused to list the bucket or to give an object.
            Unreachable: the endpoint did not answer.
            ParameterError: there is no folder of this account's.
        """
        at = self._clock()
        until = until or at
        wanted = Wanted(since, until, self._account, self._region)
        keys = [
            key
            for key in self._keys("CloudTrail", since, min(until + LATE, at))
            if (name := log_name(key.rpartition("/")[2])) is not None and wanted.may_be_in(name)
        ]
        mention = None if every else Mention(words)
        make = partial(Scanner, mention, keep=wanted.holds, hashed=hashed, buffer=_BUFFER)
        scanned = self._scan(keys, make, progress)
        trail, lack = self.place.trail, self.lack
        known = trail is not None and trail.started is not None and trail.started <= since
        ended = trail.stopped if trail is not None and not trail.logging else None
        notes = [said] if (said := lack or unknown_of(trail)) else []
        return found(
            self.name,
            wanted,
            scanned,
            notes=notes,
            since=since if known else None,
            until=min(at, ended) if ended is not None else at,
            lack=lack,
        )

    def integrity(
        self,
        searched: Found,
        since: datetime,
        until: datetime | None = None,
        keys: Sequence[PublicKey] | None = None,
    ) -> Checked:
        """Judge the files of a search (with ``hashed=True``) by the digests of those days.

        What must be there, and covered by digests, was delivered from `since` to `WORTH_WAITING`
        after `until`, or to now. `keys` are the public keys; by default those that CloudTrail
        lists.

        Raises AwsRefused or Unreachable, and ValueError if the search took no hashes.
        """
        logs = log_files(searched)
        at = self._clock()
        until = min((until or at) + WORTH_WAITING, at)
        # The digest after the last hour that is asked for tells that hour's signature.
        listed = self._keys("CloudTrail-Digest", since, min(until + timedelta(hours=2), at))
        digests: list[DigestFile] = []
        unread: list[About] = []
        for key in listed:
            if digest_of(key.rpartition("/")[2]) is not None:
                try:
                    digests.append(self._digest(key))
                except OSError as error:
                    unread.append(About(self._url(key), f"could not be read: {error.strerror}"))
        return check(
            digests,
            logs,
            public_keys(self._clients, self._region, since, at) if keys is None else keys,
            since=since,
            until=until,
            unread=unread,
            looked_at=searched.wanted.may_be_in,
        )

    def _digest(self, key: str) -> DigestFile:
        answer = self._get(key)
        metadata = answer["Metadata"]
        with io.BufferedReader(_Body(answer["Body"])) as body:
            text = text_of(body.read())
        return DigestFile(
            self._url(key), text, metadata.get("signature"), metadata.get("signature-algorithm")
        )

    def _url(self, key: str) -> str:
        return f"s3://{self.place.bucket}/{key}"

    # --- listing

    def _keys(self, kind: str, since: datetime, until: datetime) -> list[str]:
        """The keys of one kind of file, of each day from `since` to `until`."""
        return [
            key
            for root in self._roots()
            for day in days(since, until)
            for page in self._pages(Prefix=f"{root}{kind}/{self._region}/{day:%Y/%m/%d}/")
            for key in (one["Key"] for one in page.get("Contents", ()))
        ]

    def _roots(self) -> list[str]:
        """The account's folders: of an own trail, and of organisations'."""
        prefix = f"{self.place.prefix.rstrip('/')}/" if self.place.prefix else ""
        above = f"{prefix}AWSLogs/"
        inside = self._folders(above)
        roots = [f"{above}{self._account}/"] if f"{above}{self._account}/" in inside else []
        for folder in inside:
            if _ORGANISATION.fullmatch(folder.removeprefix(above)):
                roots += [
                    one for one in self._folders(folder) if one == f"{folder}{self._account}/"
                ]
        if not roots:
            raise ParameterError(
                f"At {self.place.url} there is no folder AWSLogs/{self._account}/, nor an "
                "organisation's with one.",
                "Give the bucket that the trail delivers to, with its prefix, or wait: a new trail "
                "delivers its first file after some minutes.",
            )
        return roots

    def _folders(self, prefix: str) -> list[str]:
        return [
            one["Prefix"]
            for page in self._pages(Prefix=prefix, Delimiter="/")
            for one in page.get("CommonPrefixes", ())
        ]

    def _pages(self, **what: str) -> Iterator[Any]:
        return pages(self._s3, Bucket=self.place.bucket, **what)

    # --- scanning

    def _scan(
        self,
        keys: Sequence[str],
        make: Callable[[], Scanner],
        progress: Callable[[int, int], None],
    ) -> list[Scanned]:
        here = threading.local()

        def one(key: str) -> Scanned:
            if not hasattr(here, "scanner"):
                here.scanner = make()
            return here.scanner.scan(self._url(key), partial(self._open, key))  # type: ignore[no-any-return]

        scanned: list[Scanned] = []
        pool = ThreadPoolExecutor(DOWNLOADS)
        try:
            for done in pool.map(one, keys):
                scanned.append(done)
                progress(len(scanned), len(keys))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return scanned

    def _open(self, key: str) -> io.BufferedReader:
        return io.BufferedReader(_Body(self._get(key)["Body"]))

    def _get(self, key: str) -> Any:
        try:
            return self._s3.get_object(Bucket=self.place.bucket, Key=key)
        except ClientError as error:
            if code_of(error) in _OBJECT_S_OWN:
                raise OSError(errno.EIO, f"AWS answered {code_of(error)}") from error
            raise explain(error) from error
        except BotoCoreError as error:
            raise explain(error) from error


class _Body(io.RawIOBase):
    """An object's bytes as a file that is read; what breaks on the way is an OSError."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            got = self._body.read(len(buffer))
        except BotoCoreError as error:
            raise OSError(errno.EIO, str(error)) from error
        buffer[: len(got)] = got
        return len(got)

    def close(self) -> None:
        self._body.close()
        super().close()


def days(since: datetime, until: datetime) -> Iterator[date]:
    """Each day in UTC of a time, its first and its last too."""
    day, last = (one.astimezone(UTC).date() for one in (since, until))
    while day <= last:
        yield day
        day += timedelta(days=1)
