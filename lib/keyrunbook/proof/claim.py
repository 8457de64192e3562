"""What is claimed of one workflow build, and the calls of it that the prover made."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

WORTH_WAITING: Final = timedelta(minutes=15)
"""How long after a call its record is still worth waiting for: three times the average that AWS
names. Delivery is not guaranteed.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
"""

_BUILD_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):imagebuilder:(?P<region>[a-z0-9-]+):(?P<account>\d{12}|aws)"
    r":workflow/(?P<type>build|test|distribution)/(?P<name>[a-z0-9_-]+)"
    r"/(?P<version>\d+\.\d+\.\d+)/\d+",
    re.ASCII,
)
KEY_ARN = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+", re.ASCII)


class Unread(enum.Enum):
    """In place of the key that GetWorkflow names, when nobody could ask it."""

    NOT_READ = "not read"


NOT_READ: Final = Unread.NOT_READ


class InvalidClaim(ValueError):
    """A claim that says nothing definite; `field` names the part, `reason` what is wrong."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field} {reason}")
        self.field = field
        self.reason = reason


class Read(NamedTuple):
    """One GetWorkflow call of this build that the prover made: when, as whom, and its request id.

    `since` and `until` are aware times just before and just after the call; `principal_arn` is
    GetCallerIdentity's Arn. With `request_id` the call's own record is recognised for certain.
    """

    since: datetime
    until: datetime
    principal_arn: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """This workflow build was encrypted by Image Builder under this key, and is readable by it.

    `created` is GetWorkflow's dateCreated. `kms_key_id` is what GetWorkflow names: a key ARN, an
    alias ARN, None where it names none, `NOT_READ` where nobody could ask. `resolved_key_arn` is
    the key that an alias names now; it decides nothing, since an alias can have moved. `account`
    and `region` are those of the records. `clock_skew` is how far two clocks may differ, the
    prover's from AWS's included. With `permitted_principals` (IAM role or user ARNs) only records
    of calls by these count. With `only_readable` the verdict is that of the clause *readable*.

    Raises InvalidClaim for an ARN that names no single build or key, a time without zone, a
    Region that is not the workflow's, a skew under a second.
    """

    workflow_build_arn: str
    key_arn: str
    created: datetime
    account: str
    region: str
    kms_key_id: str | Unread | None
    resolved_key_arn: str | None = None
    prover_reads: tuple[Read | tuple[datetime, datetime, str], ...] = ()
    clock_skew: timedelta = timedelta(seconds=30)
    permitted_principals: tuple[str, ...] | None = None
    only_readable: bool = False

    def __post_init__(self) -> None:
        match = _BUILD_ARN.fullmatch(self.workflow_build_arn)
        if match is None:
            raise InvalidClaim(
                "workflow_build_arn",
                f"{self.workflow_build_arn!r} is not the ARN of one workflow build version "
                "(…:workflow/build/NAME/1.0.0/1).",
            )
        if match["region"] != self.region:
            raise InvalidClaim(
                "region", f"{self.region!r} is not the workflow's, {match['region']!r}."
            )
        if KEY_ARN.fullmatch(self.key_arn) is None:
            raise InvalidClaim("key_arn", f"{self.key_arn!r} is not the ARN of a KMS key.")
        if self.kms_key_id == "":
            raise InvalidClaim("kms_key_id", "is empty; None says that GetWorkflow names no key.")
        if self.created.tzinfo is None:
            raise InvalidClaim("created", "has no time zone.")
        if self.clock_skew < timedelta(seconds=1):
            raise InvalidClaim("clock_skew", "is under a second: records hold whole seconds.")
        for read in self.reads:
            if read.since.tzinfo is None or read.until.tzinfo is None:
                raise InvalidClaim("prover_reads", "hold a time without time zone.")
            if read.until < read.since:
                raise InvalidClaim("prover_reads", "hold a call that ends before it begins.")

    @property
    def reads(self) -> tuple[Read, ...]:
        """`prover_reads`, each as a `Read`."""
        return tuple(Read(*read) for read in self.prover_reads)

    @property
    def context_arn(self) -> str:
        """What Image Builder writes into the encryption context: the build's ARN, build starred."""
        return self.workflow_build_arn.rpartition("/")[0] + "/*"

    @property
    def worth_waiting_until(self) -> datetime:
        """Until when the records of the build's creation and of the reads may well still come."""
        return max([self.created, *(read.until for read in self.reads)]) + WORTH_WAITING
