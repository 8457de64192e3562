"""What the scorecard's recommendations are judged by: facts that were read, or why they were not.

A fact that is not known is a `NotRead`, never a default: what nobody looked at is not in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NotRead:
    """Why something is not known; `permission` is the one that was missing, where that is why."""

    why: str
    permission: str | None = None

    def __str__(self) -> str:
        return self.why if self.permission is None else f"{self.permission} is missing: {self.why}"


Known: TypeAlias = T | NotRead


@dataclass(frozen=True, slots=True)
class RootUser:
    """The account's root user: whether it has MFA, and whether access keys."""

    mfa: bool
    access_keys: bool


@dataclass(frozen=True, slots=True)
class User:
    """An IAM user: its MFA devices, and its active long-term access keys, by number."""

    name: str
    mfa_devices: Known[int]
    active_keys: Known[int]


@dataclass(frozen=True, slots=True)
class Session:
    """The operator's credentials: temporary or not, and MFA as CloudTrail has recorded it.

    `mfa` is known of temporary ones only: a long-term access key carries none.
    """

    arn: str
    temporary: bool
    mfa: Known[bool]


@dataclass(frozen=True, slots=True)
class Allowed:
    """An action, or a pattern of actions, that a policy of the operator's allows."""

    policy: str
    action: str


@dataclass(frozen=True, slots=True)
class Handshake:
    """What a TLS handshake agreed on: ``TLSv1.3``, and the cipher's name."""

    version: str
    cipher: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the calls to a service go, and the handshake there; None where there is no TLS."""

    service: str
    url: str
    handshake: Known[Handshake] | None

    @property
    def https(self) -> bool:
        """Whether its URL is one of HTTPS."""
        return self.url.startswith("https://")


@dataclass(frozen=True, slots=True)
class TrailFact:
    """A trail that covers the Region. `keeps_kms` says None where it keeps KMS's events, else why.

    `refused` is why the trail itself could not be read in full.
    """

    name: str
    logging: bool
    all_regions: bool
    validated: bool
    key: str | None
    lacks_kms: str | None
    refused: NotRead | None = None


@dataclass(frozen=True, slots=True)
class Bucket:
    """An S3 bucket that holds data of this job, what for, and its default encryption."""

    name: str
    holds: str
    algorithm: Known[str]
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a resource that is encrypted: which, by which key, and whether at all.

    `key` is what the resource names: a key's ARN, an alias, or None. `encrypted` None: it says
    nothing, and a default holds.
    """

    name: str
    key: str | None = None
    encrypted: bool | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource of Image Builder or KMS, as far as it bears on data protection.

    `texts` are free-form fields by their place (``tag Owner``), `documents` texts that may hold
    URLs, `parts` what is encrypted. `log_bucket` is where an infrastructure configuration sends
    build logs; `shared_with` are accounts that a distribution gives images to.
    """

    kind: str
    arn: str
    texts: Mapping[str, str] = field(default_factory=dict)
    documents: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    log_bucket: str | None = None
    shared_with: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unread:
    """What could not be looked at of a kind of resource, and why: ``all``, or an ARN."""

    kind: str
    what: str
    why: NotRead


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources that were read, and what was not."""

    found: tuple[Resource, ...] = ()
    unread: tuple[Unread, ...] = ()

    def of(self, *kinds: str) -> tuple[Resource, ...]:
        """Those of some kinds."""
        return tuple(one for one in self.found if one.kind in kinds)

    def missing(self, *kinds: str) -> tuple[Unread, ...]:
        """What was not read of some kinds."""
        return tuple(one for one in self.unread if one.kind in kinds)


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was read for one scorecard, at one moment, in one account and Region."""

    session: Session
    root: Known[RootUser]
    users: Known[tuple[User, ...]]
    identity_center: Known[tuple[str, ...]]
    allowed: Known[tuple[Allowed, ...]]
    necessary: frozenset[str]
    endpoints: tuple[Endpoint, ...]
    fips_wanted: bool
    fips_missing: tuple[str, ...]
    trails: Known[tuple[TrailFact, ...]]
    ebs_by_default: Known[bool]
    ebs_key: Known[str]
    buckets: tuple[Bucket, ...]
    macie: Known[str]
    resources: Resources
    key_managers: Mapping[str, str] = field(default_factory=dict)
    """``CUSTOMER`` or ``AWS`` of each key of the account that was read, by its ARN and aliases."""
