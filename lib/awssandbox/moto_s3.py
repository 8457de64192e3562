"""The adapter to moto's S3, which keeps objects; whose a bucket is and who may use it is ours.

moto's own authorisation by bucket policies fails open, so moto is never given any. Times are the
sandbox's clock's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from moto.s3.models import s3_backends

from awssandbox.moto_store import Kept, Store

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from awssandbox.s3.policies import BucketPolicy
    from awssandbox.world import World

_store = Store("s3", "s3.{region}.amazonaws.com", s3_backends, s3_backends.bucket_accounts)


@dataclass(slots=True)
class Bucket:
    """A bucket: names are one space for all accounts of a partition."""

    name: str
    account: str
    region: str
    created: datetime
    policy: BucketPolicy | None = None
    encryption: Mapping[str, Any] | None = None
    """Its default encryption as it was put; None for the one that every bucket has."""


class Buckets:
    """The buckets of every account of one sandbox, and the objects in them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._kept = Kept()
        self._buckets: dict[str, Bucket] = {}

    def lent(self) -> AbstractContextManager[None]:
        """moto's store with this sandbox's buckets: moto's trails look for their bucket in it."""
        return _store.lent(self._kept)

    def find(self, name: str) -> Bucket | None:
        """The bucket of this name, None if there is none."""
        return self._buckets.get(name)

    def of(self, account: str) -> list[Bucket]:
        """An account's buckets, by name."""
        owned = (one for one in self._buckets.values() if one.account == account)
        return sorted(owned, key=lambda bucket: bucket.name)

    def create(self, name: str, account: str, region: str) -> Bucket:
        """A new bucket, whose name must be free."""
        bucket = Bucket(name, account, region, self._world.clock.now().replace(microsecond=0))
        where = {"LocationConstraint": region}
        given = {} if region == "us-east-1" else {"CreateBucketConfiguration": where}
        self.run(bucket, "CreateBucket", given)
        self._buckets[name] = bucket
        return bucket

    def delete(self, bucket: Bucket) -> None:
        """Delete a bucket. Raises AwsError: BucketNotEmpty."""
        self.run(bucket, "DeleteBucket", {})
        del self._buckets[bucket.name]

    def run(
        self,
        bucket: Bucket,
        operation: str,
        parameters: Mapping[str, Any],
        at: datetime | None = None,
    ) -> dict[str, Any]:
        """Carry out an operation on a bucket or an object in it; its output, as in the model.

        `at` is when it is carried out, in UTC; None for now. Raises AwsError with S3's code.
        """
        with self.lent():
            asked = {"Bucket": bucket.name, **parameters}
            output = _store.call(bucket.account, bucket.region, operation, asked)
            if operation == "PutObject":
                backend: Any = s3_backends[bucket.account][self._world.partition]
                stored = backend.buckets[bucket.name].keys[parameters["Key"]]
                moment = self._world.clock.now() if at is None else at
                stored.last_modified = moment.replace(microsecond=0, tzinfo=None)
            return output
