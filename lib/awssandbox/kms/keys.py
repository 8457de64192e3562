"""Keys: made, described, listed, enabled and disabled, scheduled for deletion.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/kms-api-permissions-reference.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from iamaccess import ContextValue

from awssandbox.call import Access, Answer, Operation
from awssandbox.kms import checks, documents, errors, trail
from awssandbox.kms.conditions import (
    bypass,
    caller_conditions,
    key_access,
    key_kind,
    request_tags,
)
from awssandbox.kms.lookup import Found, find_for, is_seen, key_arn, kms_state
from awssandbox.kms.operation import key_operation
from awssandbox.kms.state import KEY_ORIGIN, KEY_SPEC, KEY_USAGE, Key, new_material

if TYPE_CHECKING:
    from awssandbox.call import Call

MIN_WINDOW_DAYS: Final = 7
MAX_WINDOW_DAYS: Final = 30


def metadata(call: Call, key: Key) -> dict[str, Any]:
    """A key's ``KeyMetadata``.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_KeyMetadata.html
    """
    found: dict[str, Any] = {
        "AWSAccountId": key.account,
        "KeyId": key.key_id,
        "Arn": key.arn,
        "CreationDate": key.created,
        "Enabled": key.state == "Enabled",
        "Description": key.description,
        "KeyUsage": KEY_USAGE,
        "KeyState": key.state,
        "Origin": KEY_ORIGIN,
        "KeyManager": "CUSTOMER",
        "CustomerMasterKeySpec": KEY_SPEC,
        "KeySpec": KEY_SPEC,
        "EncryptionAlgorithms": [KEY_SPEC],
        "MultiRegion": False,
        "CurrentKeyMaterialId": key.material(call.time).material_id,
    }
    if key.deletion_at is not None:
        found["DeletionDate"] = key.deletion_at
    return found


def _check_create(call: Call) -> None:
    asked = call.parameters
    checks.only(
        call,
        *("Policy", "Description", "KeyUsage", "CustomerMasterKeySpec", "KeySpec", "Origin"),
        *("CustomKeyStoreId", "BypassPolicyLockoutSafetyCheck", "Tags", "MultiRegion", "XksKeyId"),
    )
    if "KeySpec" in asked and "CustomerMasterKeySpec" in asked:
        raise errors.invalid(
            "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. "
            "CustomerMasterKeySpec is deprecated."
        )
    spec = asked.get("KeySpec") or asked.get("CustomerMasterKeySpec") or KEY_SPEC
    for parameter, value, imitated in (
        ("KeySpec", spec, KEY_SPEC),
        ("KeyUsage", asked.get("KeyUsage", KEY_USAGE), KEY_USAGE),
        ("Origin", asked.get("Origin", KEY_ORIGIN), KEY_ORIGIN),
    ):
        if value != imitated:
            raise errors.unsupported(f"keys with {parameter} {value}, only {imitated}")
    for parameter in ("CustomKeyStoreId", "XksKeyId"):
        if parameter in asked:
            raise errors.unsupported(f"custom key stores (parameter {parameter})")
    if asked.get("MultiRegion"):
        raise errors.unsupported("multi-Region keys (parameter MultiRegion)")
    checks.tags(asked.get("Tags") or ())


def _create_access(call: Call) -> Sequence[Access]:
    """CreateKey on ``*``; with tags TagResource too, which identity policies must allow.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html
    """
    _check_create(call)
    tags = call.parameters.get("Tags") or ()
    context: Mapping[str, ContextValue] = {
        **caller_conditions(call),
        **key_kind(),
        **request_tags(tags),
        **bypass(call),
    }
    needed = [Access("kms:CreateKey", "*", context)]
    if tags:
        needed.append(
            Access(
                "kms:TagResource",
                key_arn(call.world, call.account, call.region, "*"),
                context,
                resource_policies=(documents.delegation(call.world, call.account),),
                resource_account=call.account,
            )
        )
    return needed


def _create(call: Call) -> Answer:
    """Make a key.

    The lock-out check is of policies that the caller sends: principals without PutKeyPolicy may
    make keys with the default policy (as AWSKeyManagementServicePowerUser is for).
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html and
    https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSKeyManagementServicePowerUser.html
    """
    asked, world = call.parameters, call.world
    text: str | None = asked.get("Policy")
    if text is None:
        policy = documents.store(documents.default_document(world, call.account), world)
    else:
        policy = documents.accept(text, world)
    key_id = world.ids.uuid(
        "kms-key", call.caller.principal.arn, call.account, call.region, dict(asked)
    )
    key = Key(
        key_id=key_id,
        arn=key_arn(world, call.account, call.region, key_id),
        account=call.account,
        region=call.region,
        created=call.time,
        description=asked.get("Description", ""),
        stored_policy=policy,
        tags=checks.tags(asked.get("Tags") or ()),
        materials=[new_material()],
    )
    if text is not None and not asked.get("BypassPolicyLockoutSafetyCheck"):
        documents.refuse_lock_out(call, Found(key), key.policy)
    kms_state(world, call.account, call.region).keys[key_id] = key
    shown = metadata(call, key)
    return Answer(
        output={"KeyMetadata": shown},
        resources=(trail.key_resource(key),),
        record_request=_recorded_create(call),
        record_response={"keyMetadata": trail.camel(shown)},
    )


def _recorded_create(call: Call) -> Mapping[str, Any]:
    return trail.request(
        call,
        description="",
        origin=KEY_ORIGIN,
        bypassPolicyLockoutSafetyCheck=False,
        customerMasterKeySpec=KEY_SPEC,
        keySpec=KEY_SPEC,
        keyUsage=KEY_USAGE,
        multiRegion=False,
    )


def _list_access(call: Call) -> Sequence[Access]:
    checks.only(call, "Limit", "Marker")
    checks.within(call, "Limit", 1, 1000)
    return [Access(f"kms:{call.operation}", "*", caller_conditions(call))]


def _list(call: Call) -> Answer:
    """Keys of the account and Region.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeys.html
    """
    state = kms_state(call.world, call.account, call.region)
    state.forget_deleted(call.world.clock.now())
    seen = [key for key in state.keys.values() if is_seen(call.world, key.arn)]
    keys, more = checks.page(call, seen, lambda key: key.key_id, default=100, most=1000)
    listed = [{"KeyId": key.key_id, "KeyArn": key.arn} for key in keys]
    return Answer({"Keys": listed, **more}, record_request=trail.request(call))


def _described(call: Call, found: Found) -> Answer:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeKey.html"""
    return Answer({"KeyMetadata": metadata(call, found.key)})


def _enable(call: Call, found: Found) -> Answer:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKey.html"""
    found.key.enable(call.time)
    return Answer(record_response={"keyId": found.key.arn})


def _disable(call: Call, found: Found) -> Answer:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_DisableKey.html"""
    found.key.enabled = False
    return Answer(record_response={"keyId": found.key.arn})


def _describe_again(call: Call, found: Found) -> Answer:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdateKeyDescription.html"""
    found.key.description = call.parameters["Description"]
    return Answer()


def _window_days(call: Call) -> int:
    """The waiting period: 7 to 30 days, 30 by default.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html
    """
    days = checks.within(call, "PendingWindowInDays", MIN_WINDOW_DAYS, MAX_WINDOW_DAYS)
    return MAX_WINDOW_DAYS if days is None else days


def _schedule_access(call: Call) -> Sequence[Access]:
    days = _window_days(call)
    context = {"kms:ScheduleKeyDeletionPendingWindowInDays": str(days)}
    return [key_access(call, find_for(call), context)]


def _schedule(call: Call, found: Found) -> Answer:
    """Start the waiting period. Undo: CancelKeyDeletion.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html
    """
    key, days = found.key, _window_days(call)
    key.pending_window_days = days
    key.deletion_at = call.time + timedelta(days=days)
    output = {
        "KeyId": key.arn,
        "DeletionDate": key.deletion_at,
        "KeyState": key.state,
        "PendingWindowInDays": days,
    }
    return Answer(
        output,
        record_request=trail.request(call, pendingWindowInDays=days),
        record_response=trail.camel(output),
    )


def _cancel(call: Call, found: Found) -> Answer:
    """End the waiting period. The key is then disabled.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CancelKeyDeletion.html
    """
    key = found.key
    key.deletion_at = key.pending_window_days = None
    key.enabled = False
    return Answer({"KeyId": key.arn}, record_response={"keyId": key.arn})


OPERATIONS: Final[Mapping[str, Operation]] = {
    "CreateKey": Operation(
        _create, _create_access, read_only=False, refused_request=_recorded_create
    ),
    "ListKeys": Operation(_list, _list_access, read_only=True, refused_request=trail.request),
    "DescribeKey": key_operation(
        _described,
        parameters=("KeyId", "GrantTokens"),
        read_only=True,
        aliases=True,
        cross_account=True,
    ),
    "EnableKey": key_operation(_enable, parameters=("KeyId",)),
    "DisableKey": key_operation(_disable, parameters=("KeyId",)),
    "UpdateKeyDescription": key_operation(_describe_again, parameters=("KeyId", "Description")),
    "ScheduleKeyDeletion": key_operation(
        _schedule, parameters=("KeyId", "PendingWindowInDays"), access=_schedule_access
    ),
    "CancelKeyDeletion": key_operation(_cancel, parameters=("KeyId",)),
}
