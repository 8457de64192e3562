"""Tags of keys.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/tagging-keys.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from awssandbox.call import Access, Answer, Operation
from awssandbox.kms import checks, errors
from awssandbox.kms.conditions import key_access, request_tags, tag_list
from awssandbox.kms.lookup import Found, find_for
from awssandbox.kms.operation import key_operation

if TYPE_CHECKING:
    from awssandbox.call import Call


def _tag_access(call: Call) -> Sequence[Access]:
    checks.tags(call.parameters["Tags"])
    return [key_access(call, find_for(call), request_tags(call.parameters["Tags"]))]


def _tag(call: Call, found: Found) -> Answer:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_TagResource.html"""
    after = {**found.key.tags, **checks.tags(call.parameters["Tags"])}
    if len(after) > checks.MAX_TAGS:
        raise errors.bad_tag("Too many tags")
    found.key.tags = after
    return Answer(record_response={"keyId": found.key.arn})


def _untag_access(call: Call) -> Sequence[Access]:
    names = tuple(call.parameters["TagKeys"])
    return [key_access(call, find_for(call), {"aws:TagKeys": names} if names else {})]


def _untag(call: Call, found: Found) -> Answer:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_UntagResource.html"""
    gone = set(call.parameters["TagKeys"])
    found.key.tags = {k: v for k, v in found.key.tags.items() if k not in gone}
    return Answer(record_response={"keyId": found.key.arn})


def _list_access(call: Call) -> Sequence[Access]:
    checks.within(call, "Limit", 1, 50)
    return [key_access(call, find_for(call))]


def _list(call: Call, found: Found) -> Answer:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ListResourceTags.html"""
    tags, more = checks.page(
        call, tag_list(found.key.tags), lambda tag: str(tag["TagKey"]), default=50, most=50
    )
    return Answer({"Tags": tags, **more})


OPERATIONS: Final[Mapping[str, Operation]] = {
    "TagResource": key_operation(_tag, parameters=("KeyId", "Tags"), access=_tag_access),
    "UntagResource": key_operation(_untag, parameters=("KeyId", "TagKeys"), access=_untag_access),
    "ListResourceTags": key_operation(
        _list, parameters=("KeyId", "Limit", "Marker"), read_only=True, access=_list_access
    ),
}
