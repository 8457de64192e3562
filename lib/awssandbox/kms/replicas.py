"""ReplicateKey: a multi-Region key in another Region.

A replica is Enabled at once, where AWS shows it Creating for some seconds.
Source: https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-overview.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from awssandbox.call import Access, Answer, Operation
from awssandbox.kms import checks, errors, keys, trail
from awssandbox.kms.conditions import bypass, key_access, tag_list
from awssandbox.kms.lookup import Found, find_for, key_arn, kms_state
from awssandbox.kms.operation import key_operation
from awssandbox.services import regions

if TYPE_CHECKING:
    from awssandbox.call import Call


def _access(call: Call) -> Sequence[Access]:
    """ReplicateKey on the primary key; in the replica's Region CreateKey, and TagResource for tags.

    UNCONFIRMED: AWS's answer for a Region that there is not.
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ReplicateKey.html
    """
    checks.tags(call.parameters.get("Tags") or ())
    region = call.parameters["ReplicaRegion"]
    if region not in regions(call.world.partition):
        raise errors.invalid(f"There is no Region {region} with KMS in this partition.")
    context = {"kms:ReplicaRegion": region, **bypass(call)}
    return [
        key_access(call, find_for(call), context),
        *keys.creation_access(call, region, "REPLICA"),
    ]


def _replicate(call: Call, found: Found) -> Answer:
    """Make a replica, with a policy, tags and a description of its own.

    It leaves a record of ReplicateKey in the primary's Region and of CreateKey in the replica's.
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ReplicateKey.html
    """
    primary, region = found.key, call.parameters["ReplicaRegion"]
    if primary.family is None or primary.lead is not primary:
        raise errors.of_primary(primary.arn)
    kms_state(call.world, call.account, region).forget_deleted(call.time)
    if region in primary.family.keys:
        raise errors.key_exists(key_arn(call.world, call.account, region, primary.key_id))
    replica = keys.keep(call, primary.key_id, region, primary.materials)
    replica.family = primary.family
    primary.family.keys[region] = replica
    shown = keys.metadata(call, replica)
    output: dict[str, Any] = {
        "ReplicaKeyMetadata": shown,
        "ReplicaPolicy": replica.policy_text,
        "ReplicaTags": tag_list(replica.tags),
    }
    made = {"keyMetadata": trail.camel(shown)}
    given = {k: v for k, v in call.parameters.items() if k not in ("KeyId", "ReplicaRegion")}
    there = replace(
        call, operation="CreateKey", region=region, parameters={**given, "MultiRegion": True}
    )
    answer = Answer(
        resources=(trail.key_resource(replica),),
        record_request=keys.recorded_create(there),
        record_response=made,
    )
    call.world.trail.served(there, keys.OPERATIONS["CreateKey"], answer)
    return Answer(output, record_response=trail.camel(output))


def _recorded(call: Call) -> Mapping[str, Any]:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-replicate-key.html"""
    return trail.request(call, bypassPolicyLockoutSafetyCheck=False, description="")


OPERATIONS: Final[Mapping[str, Operation]] = {
    "ReplicateKey": key_operation(
        _replicate,
        parameters=(
            *("KeyId", "ReplicaRegion", "Policy", "BypassPolicyLockoutSafetyCheck"),
            *("Description", "Tags"),
        ),
        access=_access,
        recorded=_recorded,
    ),
}
