"""What KMS remembers in one account and Region: keys with their policies and grants, aliases."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

import iamaccess

from awssandbox.kms.principals import StoredPolicy

KeyState = Literal["Enabled", "Disabled", "PendingDeletion", "PendingReplicaDeletion"]
PENDING: Final = frozenset({"PendingDeletion", "PendingReplicaDeletion"})
KEY_SPEC: Final = "SYMMETRIC_DEFAULT"
KEY_USAGE: Final = "ENCRYPT_DECRYPT"
KEY_ORIGIN: Final = "AWS_KMS"
DEFAULT_ROTATION_DAYS: Final = 365


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """One generation of a key's secret: 32 bytes and the id that answers and records name."""

    material_id: str
    secret: bytes = field(repr=False)


def new_material() -> KeyMaterial:
    """Fresh random key material. Its id says nothing about it."""
    return KeyMaterial(hashlib.sha256(os.urandom(32)).hexdigest(), os.urandom(32))


@dataclass(slots=True)
class Rotation:
    """Automatic rotation: every `period_days`, next at `next_at`."""

    period_days: int
    next_at: datetime


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """A grant as created. `current_*` give a deleted principal's unique id in place of its ARN.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/grants.html
    """

    grant_id: str
    key_arn: str
    name: str
    grantee: str
    retiring: str | None
    issuing_account: str
    operations: tuple[str, ...]
    subset: Mapping[str, str] | None
    equals: Mapping[str, str] | None
    created: datetime
    shown: Callable[[str], str]

    def same_properties(self, other: KeyGrant) -> bool:
        """Whether a request for `other` is a retry of the one that made this grant."""
        return (
            self.name == other.name
            and self.grantee == other.grantee
            and self.retiring == other.retiring
            and set(self.operations) == set(other.operations)
            and self.subset == other.subset
            and self.equals == other.equals
        )

    def for_decision(self) -> iamaccess.Grant:
        """This grant as the decision engine reads it."""
        return iamaccess.Grant(
            grant_id=self.grant_id,
            grantee=self.shown(self.grantee),
            operations=frozenset(self.operations),
            encryption_context_subset=self.subset,
            encryption_context_equals=self.equals,
            key_arn=self.key_arn,
        )


@dataclass(frozen=True, slots=True)
class Use:
    """A successful cryptographic operation with a key."""

    operation: str
    time: datetime
    request_id: str


@dataclass(slots=True, eq=False)
class Family:
    """A multi-Region primary key and its replicas, by Region.

    They share key id, key material and rotation; all else is each key's own.
    Source: https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-overview.html
    """

    primary: Key
    keys: dict[str, Key]

    @property
    def replicas(self) -> tuple[Key, ...]:
        """The replicas, in order of their Regions."""
        return tuple(key for _, key in sorted(self.keys.items()) if key is not self.primary)

    def settle(self, now: datetime) -> None:
        """Forget replicas that are deleted by `now`; a primary that waits for them waits on alone.

        Source: https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys.html#deleting-mrks
        """
        ends = [k.deletion_at for k in self.replicas if k.deletion_at and k.deletion_at <= now]
        self.keys = {
            region: key
            for region, key in self.keys.items()
            if key is self.primary or key.deletion_at is None or key.deletion_at > now
        }
        if ends and not self.replicas and self.primary.pending_window_days is not None:
            self.primary.deletion_at = max(ends) + timedelta(days=self.primary.pending_window_days)


@dataclass(slots=True)
class Key:
    """A symmetric customer managed key; `family` is None for a key of one Region.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_KeyMetadata.html
    """

    key_id: str
    arn: str
    account: str
    region: str
    created: datetime
    description: str
    stored_policy: StoredPolicy
    tags: dict[str, str]
    materials: list[KeyMaterial]
    enabled: bool = True
    deletion_at: datetime | None = None
    pending_window_days: int | None = None
    rotation: Rotation | None = None
    grants: dict[str, KeyGrant] = field(default_factory=dict)
    family: Family | None = None
    last_use: Use | None = None

    @property
    def multi_region_type(self) -> Literal["PRIMARY", "REPLICA"] | None:
        """What a multi-Region key is in its family; None for a key of one Region."""
        if self.family is None:
            return None
        return "PRIMARY" if self.family.primary is self else "REPLICA"

    @property
    def lead(self) -> Key:
        """The key whose rotation counts: of a replica the primary, else the key itself."""
        return self if self.family is None else self.family.primary

    @property
    def state(self) -> KeyState:
        """The key's state.

        Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
        """
        if self.deletion_at is not None:
            return "PendingDeletion"
        if self.pending_window_days is not None:
            return "PendingReplicaDeletion"
        return "Enabled" if self.enabled else "Disabled"

    @property
    def policy(self) -> iamaccess.Policy:
        """The key policy, parsed; a deleted principal stands in it by its unique id."""
        return self.stored_policy.parsed

    @property
    def policy_text(self) -> str:
        """The key policy as GetKeyPolicy shows it."""
        return self.stored_policy.text

    def enable(self, now: datetime) -> None:
        """Let the key be used; a rotation that it missed while disabled is made now, once.

        Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyRotationStatus.html
        """
        self.material(now)
        self.enabled = True
        if self.rotation and self.rotation.next_at <= now:
            self.materials.append(new_material())
            self.rotation.next_at = now + timedelta(days=self.rotation.period_days)

    def material(self, now: datetime) -> KeyMaterial:
        """The key material in use at `now`, after any automatic rotation that is due.

        Keys that are disabled or to be deleted do not rotate.
        Source: https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html
        """
        if self.lead is not self:
            return self.lead.material(now)
        while self.state == "Enabled" and self.rotation and self.rotation.next_at <= now:
            self.materials.append(new_material())
            self.rotation.next_at += timedelta(days=self.rotation.period_days)
        return self.materials[-1]

    def secret(self, material_id: str) -> bytes | None:
        """The secret of a generation of this key; every one is kept as long as the key.

        Source: https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html
        """
        return next((m.secret for m in self.materials if m.material_id == material_id), None)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a decision about a key rests on; `aliases` are names."""

    policy: StoredPolicy
    grants: Mapping[str, KeyGrant]
    tags: Mapping[str, str]
    aliases: tuple[str, ...]


@dataclass(slots=True)
class Alias:
    """A name for a key of the same account and Region: `name` begins with ``alias/``."""

    name: str
    arn: str
    key_id: str
    created: datetime
    updated: datetime


class KmsState:
    """Keys by key id, aliases by name, and the grants that tokens stand for."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        self.aliases: dict[str, Alias] = {}
        self.grant_tokens: dict[str, str] = {}

    def key(self, key_id: str, now: datetime) -> Key | None:
        """A key that exists at `now`.

        A key whose waiting period is over is gone, and its aliases and grants with it.
        Source: https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys.html
        """
        self.forget_deleted(now)
        return self.keys.get(key_id)

    def forget_deleted(self, now: datetime) -> None:
        """Delete what the end of waiting periods has deleted by `now`."""
        for key in self.keys.values():
            if key.family is not None:
                key.family.settle(now)
        gone = [k for k in self.keys.values() if k.deletion_at is not None and k.deletion_at <= now]
        for key in gone:
            del self.keys[key.key_id]
            self.aliases = {n: a for n, a in self.aliases.items() if a.key_id != key.key_id}

    def standing(self, key: Key) -> Standing:
        """What decisions about a key rest on now."""
        aliases = self.alias_names(key.key_id)
        return Standing(key.stored_policy, dict(key.grants), key.tags, aliases)

    def alias_names(self, key_id: str) -> tuple[str, ...]:
        """The names of a key's aliases, in order."""
        return tuple(sorted(a.name for a in self.aliases.values() if a.key_id == key_id))
