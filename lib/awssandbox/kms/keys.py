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
from awssandbox.kms.state import (
    KEY_ORIGIN,
    KEY_SPEC,
    KEY_USAGE,
    Family,
    Key,
    KeyMaterial,
    new_material,
)

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
        "MultiRegion": key.family is not None,
        "CurrentKeyMaterialId": key.material(call.time).material_id,
    }
    if key.deletion_at is not None:
        found["DeletionDate"] = key.deletion_at
    elif key.pending_window_days is not None:
        found["PendingDeletionWindowInDays"] = key.pending_window_days
    if key.family is not None:
        found["MultiRegionConfiguration"] = {
            "MultiRegionKeyType": key.multi_region_type,
            "PrimaryKey": _related(key.family.primary),
            "ReplicaKeys": [_related(replica) for replica in key.family.replicas],
        }
    return found


def _related(key: Key) -> dict[str, str]:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_MultiRegionKey.html"""
    return {"Arn": key.arn, "Region": key.region}


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
    checks.tags(asked.get("Tags") or ())


def _create_access(call: Call) -> Sequence[Access]:
    """CreateKey on ``*``; with tags TagResource too, which identity policies must allow.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html
    """
    _check_create(call)
    return creation_access(call, call.region, "PRIMARY" if _multi_region(call) else None)


def _multi_region(call: Call) -> bool:
    return bool(call.parameters.get("MultiRegion"))


def creation_access(call: Call, region: str, multi_region_type: str | None) -> list[Access]:
    """What a new key in `region` needs of identity policies.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html
    """
    tags = call.parameters.get("Tags") or ()
    context: Mapping[str, ContextValue] = {
        **caller_conditions(call),
        **key_kind(multi_region_type),
        **request_tags(tags),
        **bypass(call),
        "aws:RequestedRegion": region,
    }
    needed = [Access("kms:CreateKey", "*", context)]
    if tags:
        needed.append(
            Access(
                "kms:TagResource",
                key_arn(call.world, call.account, region, "*"),
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
    about = ("kms-key", call.caller.principal.arn, call.account, call.region)
    asked, ids = dict(call.parameters), call.world.ids
    if _multi_region(call):
        key = keep(call, f"mrk-{ids.make(*about, asked)[:32]}", call.region, [new_material()])
        key.family = Family(key, {key.region: key})
    else:
        key = keep(call, ids.uuid(*about, asked), call.region, [new_material()])
    shown = metadata(call, key)
    return Answer(
        output={"KeyMetadata": shown},
        resources=(trail.key_resource(key),),
        record_request=recorded_create(call),
        record_response={"keyMetadata": trail.camel(shown)},
    )


def keep(call: Call, key_id: str, region: str, materials: list[KeyMaterial]) -> Key:
    """Make a key in `region` with the policy, description and tags that a call gives.

    Raises AwsError: as `documents.accept`, `documents.refuse_lock_out` and `checks.tags`.
    """
    asked, world = call.parameters, call.world
    text: str | None = asked.get("Policy")
    if text is None:
        policy = documents.store(documents.default_document(world, call.account), world)
    else:
        policy = documents.accept(text, world)
    key = Key(
        key_id=key_id,
        arn=key_arn(world, call.account, region, key_id),
        account=call.account,
        region=region,
        created=call.time,
        description=asked.get("Description", ""),
        stored_policy=policy,
        tags=checks.tags(asked.get("Tags") or ()),
        materials=materials,
    )
    if text is not None and not asked.get("BypassPolicyLockoutSafetyCheck"):
        documents.refuse_lock_out(call, Found(key), key.policy)
    kms_state(world, call.account, region).keys[key_id] = key
    return key


def recorded_create(call: Call) -> Mapping[str, Any]:
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


def _last_usage(call: Call, found: Found) -> Answer:
    """The last successful cryptographic operation; each key of a family has its own.

    The id of its event is the one in the owner's records, and left out where a schedule of faults
    keeps the record from coming.
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyLastUsage.html
    """
    key, use = found.key, found.key.last_use
    shown: dict[str, Any] = {}
    if use is not None:
        shown = {
            "Operation": use.operation,
            "Timestamp": use.time,
            "KmsRequestId": use.request_id,
        }
        for entry in reversed(call.world.trail.entries(key.account, key.region)):
            if entry.record["requestID"] == use.request_id:
                shown["CloudTrailEventId"] = entry.record["eventID"]
                break
    return Answer(
        {
            "KeyId": key.key_id,
            "KeyLastUsage": shown,
            "KeyCreationDate": key.created,
            "TrackingStartDate": key.created,
        }
    )


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
    """Start the waiting period; that of a primary key begins when its last replica is deleted.

    Undo: CancelKeyDeletion.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html
    """
    key, days = found.key, _window_days(call)
    key.pending_window_days = days
    if key.family is None or key.lead is not key or not key.family.replicas:
        key.deletion_at = call.time + timedelta(days=days)
    output: dict[str, Any] = {
        "KeyId": key.arn,
        "KeyState": key.state,
        "PendingWindowInDays": days,
    }
    if key.deletion_at is not None:
        output["DeletionDate"] = key.deletion_at
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
        _create, _create_access, read_only=False, refused_request=recorded_create
    ),
    "ListKeys": Operation(_list, _list_access, read_only=True, refused_request=trail.request),
    "DescribeKey": key_operation(
        _described,
        parameters=("KeyId", "GrantTokens"),
        read_only=True,
        aliases=True,
        cross_account=True,
    ),
    "GetKeyLastUsage": key_operation(_last_usage, parameters=("KeyId",), read_only=True),
    "EnableKey": key_operation(_enable, parameters=("KeyId",)),
    "DisableKey": key_operation(_disable, parameters=("KeyId",)),
    "UpdateKeyDescription": key_operation(_describe_again, parameters=("KeyId", "Description")),
    "ScheduleKeyDeletion": key_operation(
        _schedule, parameters=("KeyId", "PendingWindowInDays"), access=_schedule_access
    ),
    "CancelKeyDeletion": key_operation(_cancel, parameters=("KeyId",)),
}
