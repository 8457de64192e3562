"""Aliases: each operation needs its permission on the alias and on every key concerned.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/alias-access.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from awssandbox.call import Access, Answer, Operation, Resource
from awssandbox.errors import AwsError
from awssandbox.kms import checks, errors, keystates, trail
from awssandbox.kms.conditions import alias_access, caller_conditions, key_access
from awssandbox.kms.lookup import ALIAS_PREFIX, Found, alias_arn, find_for, is_seen, kms_state
from awssandbox.kms.state import Alias

if TYPE_CHECKING:
    from awssandbox.call import Call

_RESERVED: Final = "alias/aws/"
_NAME: Final = re.compile(r"alias/[a-zA-Z0-9/_-]+")
_MAX_LENGTH: Final = 256


def _checked_name(call: Call) -> str:
    """The alias name of a request.

    Raises AwsError: ValidationException, InvalidAliasNameException, NotAuthorizedException.
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html
    """
    name: str = call.parameters["AliasName"]
    if not name.startswith(ALIAS_PREFIX):
        raise errors.invalid("Invalid identifier")
    if name.startswith(_RESERVED):
        raise errors.reserved_alias()
    if not _NAME.fullmatch(name) or len(name) > _MAX_LENGTH:
        raise errors.invalid_alias_name(name)
    return name


def _arn(call: Call) -> str:
    return alias_arn(call.world, call.account, call.region, call.parameters["AliasName"])


def _existing(call: Call) -> Alias:
    state = kms_state(call.world, call.account, call.region)
    state.forget_deleted(call.world.clock.now())
    alias = state.aliases.get(_checked_name(call))
    if alias is None:
        raise errors.no_alias(_arn(call))
    return alias


def _target(call: Call) -> Found:
    return find_for(call, parameter="TargetKeyId")


def _current(call: Call) -> Found:
    alias = _existing(call)
    return Found(kms_state(call.world, call.account, call.region).keys[alias.key_id])


def _create_access(call: Call) -> Sequence[Access]:
    checks.only(call, "AliasName", "TargetKeyId")
    _checked_name(call)
    return [alias_access(call, _arn(call)), key_access(call, _target(call))]


def _create(call: Call) -> Answer:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html"""
    state = kms_state(call.world, call.account, call.region)
    name, target = _checked_name(call), _target(call)
    if name in state.aliases:
        raise errors.alias_exists(_arn(call))
    keystates.check(call.operation, target.key)
    state.aliases[name] = Alias(name, _arn(call), target.key.key_id, call.time, call.time)
    return _changed(call, target)


def _update_access(call: Call) -> Sequence[Access]:
    """On the alias, the key it names now, and the key it is to name.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/alias-access.html
    """
    checks.only(call, "AliasName", "TargetKeyId")
    return [
        alias_access(call, _existing(call).arn),
        key_access(call, _current(call)),
        key_access(call, _target(call)),
    ]


def _update(call: Call) -> Answer:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdateAlias.html"""
    alias, target = _existing(call), _target(call)
    keystates.check(call.operation, target.key)
    alias.key_id = target.key.key_id
    alias.updated = call.time
    return _changed(call, target)


def _delete_access(call: Call) -> Sequence[Access]:
    checks.only(call, "AliasName")
    return [alias_access(call, _existing(call).arn), key_access(call, _current(call))]


def _delete(call: Call) -> Answer:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_DeleteAlias.html"""
    found = _current(call)
    del kms_state(call.world, call.account, call.region).aliases[_existing(call).name]
    return _changed(call, found)


def _changed(call: Call, found: Found) -> Answer:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-createalias.html"""
    return Answer(
        resources=_resources(call, found),
        record_request=trail.request(call),
        record_response={"keyId": found.key.arn},
    )


def _resources(call: Call, found: Found) -> tuple[Resource, ...]:
    return (trail.key_resource(found.key), trail.alias_resource(_arn(call), call.account))


def _refused(call: Call) -> tuple[Resource, ...]:
    try:
        found = _target(call) if "TargetKeyId" in call.parameters else _current(call)
    except AwsError:
        return ()
    return _resources(call, found)


def _list_access(call: Call) -> Sequence[Access]:
    """ListAliases has no resource but ``*``, also when it asks about one key.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/alias-access.html
    """
    checks.only(call, "KeyId", "Limit", "Marker")
    checks.within(call, "Limit", 1, 100)
    return [Access(f"kms:{call.operation}", "*", caller_conditions(call))]


def _list(call: Call) -> Answer:
    """Aliases of the account and Region, or of one of its keys.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ListAliases.html
    """
    state = kms_state(call.world, call.account, call.region)
    state.forget_deleted(call.world.clock.now())
    aliases = [alias for alias in state.aliases.values() if is_seen(call.world, alias.arn)]
    if "KeyId" in call.parameters:
        key_id = find_for(call).key.key_id
        aliases = [alias for alias in aliases if alias.key_id == key_id]
    shown, more = checks.page(call, aliases, lambda alias: alias.name, default=50, most=100)
    listed: list[dict[str, Any]] = [
        {
            "AliasName": alias.name,
            "AliasArn": alias.arn,
            "TargetKeyId": alias.key_id,
            "CreationDate": alias.created,
            "LastUpdatedDate": alias.updated,
        }
        for alias in shown
    ]
    return Answer({"Aliases": listed, **more}, record_request=trail.request(call))


OPERATIONS: Final[Mapping[str, Operation]] = {
    "CreateAlias": Operation(
        _create,
        _create_access,
        read_only=False,
        refused_request=trail.request,
        refused_resources=_refused,
    ),
    "UpdateAlias": Operation(
        _update,
        _update_access,
        read_only=False,
        refused_request=trail.request,
        refused_resources=_refused,
    ),
    "DeleteAlias": Operation(
        _delete,
        _delete_access,
        read_only=False,
        refused_request=trail.request,
        refused_resources=_refused,
    ),
    "ListAliases": Operation(_list, _list_access, read_only=True, refused_request=trail.request),
}
