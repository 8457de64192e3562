"""Delivery: what trails write to their buckets, as the sandbox's clock goes on.

Nothing runs in the background. Before each call that could see files or change what is delivered,
and after each change of a trail, all that was due by then is written, in its order and with its
times; so the files are those that a steady delivery would have written.

- A record is delivered at the first whole five minutes after its event delay, with all others of
  its Region that wait. AWS: about every five minutes, five minutes after the call on average.
- A digest is delivered each hour from when validation and logging were both on, also when no log
  file was; one of another Region than the trail's home begins with that Region's first record.
- After StopLogging what waits is still delivered, and one last digest; then the chain ends.
- What the bucket refuses is tried again for 30 days.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/how-cloudtrail-works.html,
https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-intro.html
and, of retries, https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-find-log-files.html
"""

from __future__ import annotations

import math
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from awssandbox.cloudtrail import files
from awssandbox.cloudtrail.files import Digest, LogFile
from awssandbox.cloudtrail.keys import KeyPairs
from awssandbox.cloudtrail.selection import takes
from awssandbox.cloudtrail.writing import may_write
from awssandbox.errors import AwsError

if TYPE_CHECKING:
    from awssandbox.moto_trails import TrailState
    from awssandbox.records import Entry
    from awssandbox.world import World

BATCH: Final = timedelta(minutes=5)
DIGEST: Final = timedelta(hours=1)
RETRIES: Final = timedelta(days=30)
_LETTERS: Final = string.ascii_letters + string.digits


@dataclass(slots=True)
class _Chain:
    """A chain of digests: the hour that goes on, and what was delivered in it."""

    start: datetime
    end: datetime
    previous: Digest | None = None
    files: list[LogFile] = field(default_factory=list)
    ending: bool = False


@dataclass(slots=True)
class Place:
    """A trail in one Region: what waits, what was delivered when, and what S3 last refused."""

    waiting: list[Entry] = field(default_factory=list)
    refused_until: datetime | None = None
    chain: _Chain | None = None
    delivered: datetime | None = None
    error: str | None = None
    digest_delivered: datetime | None = None
    digest_error: str | None = None


class Delivery:
    """The delivery of every trail of one sandbox."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._places: dict[str, dict[str, Place]] = {}
        self._validated_since: dict[str, datetime] = {}
        self._seen = 0

    def place(self, arn: str, region: str) -> Place:
        """How a trail stands in a Region."""
        return self._places.get(arn, {}).get(region, Place())

    def catch_up(self) -> None:
        """Write what was due by now.

        To be called before and after each change of a trail, so that records are selected, and
        hours begin and end, by what was so at their time.
        """
        now = self._world.clock.now().replace(microsecond=0)
        trails = {trail.arn: trail for trail in self._world.trails.all()}
        for arn in self._places.keys() - trails.keys():  # deleted: what waits is dropped
            del self._places[arn]
            self._validated_since.pop(arn, None)
        self._collect(trails)
        for trail in trails.values():
            self._validate(trail, now)
            for region, place in self._places.get(trail.arn, {}).items():
                self._deliver(trail, region, place, now)

    def _collect(self, trails: Mapping[str, TrailState]) -> None:
        """Let each record that came since the last time wait in the trails that take it."""
        for account, region, entry in self._world.trail.since(self._seen):
            self._seen = max(self._seen, entry.number)
            for trail in trails.values():
                if (
                    trail.account == account
                    and trail.logging
                    and takes(trail, region, entry.record)
                ):
                    self._at(trail, region, entry.visible).waiting.append(entry)

    def _at(self, trail: TrailState, region: str, moment: datetime) -> Place:
        """The place of a record; with validation its chain begins in the hour of `moment`."""
        place = self._places.setdefault(trail.arn, {}).setdefault(region, Place())
        since = self._validated_since.get(trail.arn)
        if place.chain is None and since is not None:
            start = since + max(0, (moment - since) // DIGEST) * DIGEST
            place.chain = _Chain(start, start + DIGEST)
        return place

    def _validate(self, trail: TrailState, now: datetime) -> None:
        """Begin and end chains of digests as the trail is configured."""
        validated = trail.logging and trail.shown["LogFileValidationEnabled"]
        if validated and trail.arn not in self._validated_since:
            self._validated_since[trail.arn] = now
            self._at(trail, trail.home_region, now)
        if not validated:
            self._validated_since.pop(trail.arn, None)
        for region, place in self._places.get(trail.arn, {}).items():
            if place.chain is not None:
                covered = region == trail.home_region or trail.multi_region
                place.chain.ending = not (validated and covered)

    def _deliver(self, trail: TrailState, region: str, place: Place, now: datetime) -> None:
        """Write a place's files that were due by now, in the order of their times."""
        while True:
            log, digest = _log_due(place), None if place.chain is None else place.chain.end
            due = min((moment for moment in (log, digest) if moment is not None), default=None)
            if due is None or due > now:
                return
            if due == log:
                self._write_log(trail, region, place, due, now)
            elif place.chain is not None:
                self._write_digest(trail, region, place, place.chain)

    def _write_log(
        self, trail: TrailState, region: str, place: Place, due: datetime, now: datetime
    ) -> None:
        place.waiting = [one for one in place.waiting if due - one.visible <= RETRIES]
        batch = [one for one in place.waiting if one.visible <= due]
        if not batch:
            return
        unique = self._unique(trail.arn, region, files.stamp(due))
        key = files.log_key(trail, region, due, unique)
        content = files.log_content([one.record for one in batch])
        place.error = self._put(trail, key, content, due, {})
        if place.error is not None:
            place.refused_until = now  # nothing that S3 decides by has changed until then
            return
        place.waiting = [one for one in place.waiting if one.visible > due]
        place.delivered = due
        if place.chain is not None:
            times = [one.time for one in batch]
            bucket, sha256 = trail.shown["S3BucketName"], files.sha256_of(content)
            place.chain.files.append(LogFile(bucket, key, sha256, min(times), max(times)))

    def _write_digest(self, trail: TrailState, region: str, place: Place, chain: _Chain) -> None:
        end, bucket = chain.end, trail.shown["S3BucketName"]
        pairs = self._world.state(KeyPairs, "", region)
        pair = pairs.at(end, region, self._world.ids)
        key = files.digest_key(trail, region, end)
        content = files.digest_content(
            trail, key, (chain.start, end), pair.fingerprint, chain.previous, chain.files
        )
        sha256 = files.sha256_of(content)
        signature = pair.sign(files.signed_text(end, bucket, key, sha256, chain.previous))
        metadata = {"signature": signature, "signature-algorithm": files.SIGNATURE}
        place.digest_error = self._put(trail, key, content, end, metadata)
        chain.end += DIGEST
        if place.digest_error is None:
            place.digest_delivered = end
            chain.start, chain.files = end, []
            chain.previous = Digest(bucket, key, sha256, signature)
        # UNCONFIRMED: after a refused digest, here the next one tells of both hours.
        if chain.ending:
            place.chain = None

    def _put(
        self,
        trail: TrailState,
        key: str,
        content: bytes,
        moment: datetime,
        metadata: Mapping[str, str],
    ) -> str | None:
        """Write an object as CloudTrail at `moment`; S3's error code where it refuses.

        UNCONFIRMED by documents: the type and encoding of CloudTrail's objects.
        """
        name = trail.shown["S3BucketName"]
        bucket = self._world.buckets.find(name)
        if bucket is None:
            return "NoSuchBucket"
        try:
            allowed = may_write(self._world, bucket, key, trail.arn, trail.account)
        except AwsError as refusal:
            return f"{refusal.code}: {refusal.message}"
        if not allowed:
            return "AccessDenied"
        given = {
            "Key": key,
            "Body": files.packed(content),
            "ContentType": "application/json",
            "ContentEncoding": "gzip",
            "Metadata": dict(metadata),
        }
        self._world.buckets.run(bucket, "PutObject", given, at=moment)
        return None

    def _unique(self, *content: Any) -> str:
        value = int(self._world.ids.make("log file", *content), 16)
        return "".join(
            _LETTERS[value // len(_LETTERS) ** place % len(_LETTERS)] for place in range(16)
        )


def _log_due(place: Place) -> datetime | None:
    """When a place's next log file is to be delivered; None where nothing waits."""
    first = min((one.visible for one in place.waiting), default=None)
    if first is None:
        return None
    if place.refused_until is not None and place.refused_until >= first:
        return _next_batch(place.refused_until + timedelta(seconds=1))
    return _next_batch(first)


def _next_batch(moment: datetime) -> datetime:
    """The first whole five minutes at or after a moment."""
    batches = math.ceil(moment.timestamp() / BATCH.total_seconds())
    return datetime.fromtimestamp(batches * BATCH.total_seconds(), UTC)
