"""Key policies: read, replaced, listed.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from awssandbox.call import Access, Answer, Operation
from awssandbox.kms import checks, documents, errors, trail
from awssandbox.kms.conditions import bypass, key_access
from awssandbox.kms.lookup import Found, find_for
from awssandbox.kms.operation import key_operation

if TYPE_CHECKING:
    from awssandbox.call import Call


def _check_name(call: Call) -> None:
    """The only valid policy name is ``default``.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyPolicy.html
    """
    if call.parameters.get("PolicyName", documents.ONLY_POLICY_NAME) != documents.ONLY_POLICY_NAME:
        raise errors.no_policy()


def _get(call: Call, found: Found) -> Answer:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyPolicy.html"""
    _check_name(call)
    return Answer({"Policy": found.key.policy_text, "PolicyName": documents.ONLY_POLICY_NAME})


def _put_access(call: Call) -> Sequence[Access]:
    return [key_access(call, find_for(call), bypass(call))]


def _put(call: Call, found: Found) -> Answer:
    """Replace the key policy. Undo: PutKeyPolicy with what GetKeyPolicy answered before.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html
    """
    _check_name(call)
    policy = documents.accept(call.parameters["Policy"], call.world)
    if not call.parameters.get("BypassPolicyLockoutSafetyCheck"):
        documents.refuse_lock_out(call, found, policy.parsed)
    found.key.stored_policy = policy
    return Answer()


def _recorded_put(call: Call) -> Mapping[str, Any]:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-putkeypolicy.html"""
    return trail.request(
        call, policyName=documents.ONLY_POLICY_NAME, bypassPolicyLockoutSafetyCheck=False
    )


def _list_access(call: Call) -> Sequence[Access]:
    checks.within(call, "Limit", 1, 1000)
    return [key_access(call, find_for(call))]


def _list(call: Call, found: Found) -> Answer:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeyPolicies.html"""
    names, more = checks.page(call, [documents.ONLY_POLICY_NAME], str, default=100, most=1000)
    return Answer({"PolicyNames": names, **more})


OPERATIONS: Final[Mapping[str, Operation]] = {
    "GetKeyPolicy": key_operation(_get, parameters=("KeyId", "PolicyName"), read_only=True),
    "PutKeyPolicy": key_operation(
        _put,
        parameters=("KeyId", "PolicyName", "Policy", "BypassPolicyLockoutSafetyCheck"),
        access=_put_access,
        recorded=_recorded_put,
    ),
    "ListKeyPolicies": key_operation(
        _list, parameters=("KeyId", "Limit", "Marker"), read_only=True, access=_list_access
    ),
}
