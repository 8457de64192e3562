"""From a key identifier to a key: the forms that AWS accepts, and the refusals of all others.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from awssandbox.errors import AwsError
from awssandbox.kms import errors
from awssandbox.kms.state import Key, KmsState

if TYPE_CHECKING:
    from awssandbox.call import Call, Caller
    from awssandbox.world import World

ALIAS_PREFIX: Final = "alias/"
_ARN: Final = re.compile(r"arn:([a-z0-9-]+):kms:([a-z0-9-]+):(\d{12}):(key|alias)/(.+)")
_KEY_ID: Final = re.compile(r"(?:mrk-[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class Found:
    """A key, and the alias by which the request named it (None for a key id or key ARN)."""

    key: Key
    alias: str | None = None


def kms_state(world: World, account: str, region: str) -> KmsState:
    """KMS's memory in an account and Region."""
    return world.state(KmsState, account, region)


def key_arn(world: World, account: str, region: str, key_id: str) -> str:
    """The ARN of a key."""
    return f"arn:{world.partition}:kms:{region}:{account}:key/{key_id}"


def related_arn(arn: str, region: str) -> str:
    """The ARN in `region` of the multi-Region key that `arn` names; of another key, `arn` itself.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-overview.html
    """
    parts = arn.split(":")
    if len(parts) != 6 or not parts[5].startswith("key/mrk-"):
        return arn
    return ":".join((*parts[:3], region, *parts[4:]))


def alias_arn(world: World, account: str, region: str, name: str) -> str:
    """The ARN of an alias whose `name` begins with ``alias/``."""
    return f"arn:{world.partition}:kms:{region}:{account}:{name}"


@dataclass(frozen=True, slots=True)
class Name:
    """A key identifier taken apart: whose it is, whether a key or an alias, and which."""

    account: str
    is_alias: bool
    text: str


def parse(world: World, key_id: str, account: str, region: str) -> Name:
    """Take a key identifier apart; without an ARN it is one of `account`.

    Raises AwsError: NotFoundException, InvalidArnException.
    Source: https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id
    """
    if key_id.startswith(ALIAS_PREFIX):
        return Name(account, True, key_id)
    name = Name(account, False, key_id)
    if key_id.startswith("arn:"):
        arn = _ARN.fullmatch(key_id)
        if arn is None or arn[1] != world.partition:
            raise errors.bad_arn(key_id)
        if arn[2] != region:
            raise errors.other_region(arn[2])
        if arn[4] == "alias":
            return Name(arn[3], True, ALIAS_PREFIX + arn[5])
        name = Name(arn[3], False, arn[5])
    if not _KEY_ID.fullmatch(name.text):
        raise errors.bad_key_id(key_id)
    return name


READS: Final = ("kms:Describe", "kms:Get", "kms:List")
"""How the operations begin by which KMS tells about keys."""


def locate(world: World, name: Name, region: str, *, seen: bool = False) -> Found:
    """The key of a name, whoever asks; with `seen`, only if reads see it already.

    Raises AwsError: NotFoundException.
    """
    state = kms_state(world, name.account, region)
    now = world.clock.now()
    key_id, alias = name.text, None
    if name.is_alias:
        state.forget_deleted(now)
        alias = state.aliases.get(name.text)
        if alias is None or (seen and not is_seen(world, alias.arn)):
            raise errors.no_alias(alias_arn(world, name.account, region, name.text))
        key_id = alias.key_id
    key = state.key(key_id, now)
    if key is None or (seen and not is_seen(world, key.arn)):
        raise errors.no_key(key_arn(world, name.account, region, key_id))
    return Found(key, alias.name if alias else None)


def is_seen(world: World, arn: str) -> bool:
    """Whether reads see a key or alias already; see `late`."""
    return world.seen(arn, "there") is not None


def resolve_key(world: World, key_id: str, caller_account: str, region: str) -> Key:
    """The key that any form of identifier names for `caller_account`, nothing decided.

    Raises AwsError: NotFoundException, InvalidArnException.
    """
    return locate(world, parse(world, key_id, caller_account, region), region).key


def find(
    world: World,
    key_id: str,
    caller: Caller,
    region: str,
    action: str,
    *,
    aliases: bool = False,
    cross_account: bool = False,
) -> Found:
    """The key that `key_id` names for `caller`, or the refusal that KMS gives before it decides.

    `aliases`: whether the operation accepts alias names and ARNs; `cross_account`: whether it
    works on other accounts' keys (by ARN). `action` ("kms:Decrypt") is for the refusal's text.

    Raises AwsError: NotFoundException, InvalidArnException, or the access-denied error that does
    not say whether another account's key exists.
    Source: https://docs.aws.amazon.com/kms/latest/developerguide/kms-api-permissions-reference.html
    """
    name = parse(world, key_id, caller.account, region)
    if name.is_alias and not aliases:
        raise errors.alias_not_accepted()
    reads = action.startswith(READS)
    if name.account == caller.account:
        return locate(world, name, region, seen=reads)
    try:
        if cross_account:
            return locate(world, name, region, seen=reads)
    except AwsError as error:
        raise errors.hidden(caller.principal.arn, action) from error
    raise errors.hidden(caller.principal.arn, action)


def find_for(
    call: Call, *, aliases: bool = False, cross_account: bool = False, parameter: str = "KeyId"
) -> Found:
    """The key that a call's `parameter` names. Raises AwsError as `find` does."""
    return find(
        call.world,
        call.parameters[parameter],
        call.caller,
        call.region,
        f"kms:{call.operation}",
        aliases=aliases,
        cross_account=cross_account,
    )
