"""TagResource, UntagResource and ListTagsForResource, of workflows, images and the other resources.

Tags belong to a build version, as those given at its creation do.
Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/tag-resources.html and
https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_TagResource.html

UNCONFIRMED: what AWS answers to a version ARN, with or without wildcards (here: not found).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from awssandbox.call import Access, Answer, Call
from awssandbox.errors import not_imitated
from awssandbox.imagebuilder import errors
from awssandbox.imagebuilder.limits import check_limits
from awssandbox.imagebuilder.requests import request_tags, resource_tags, state_of
from awssandbox.imagebuilder.resources import KINDS
from awssandbox.imagebuilder.state import Image, Resource, Workflow

MAX_TAGS: Final = 50
"""Tags of one resource.

Source: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_TagResource.html
"""
_HELD: Final = ("workflow", "image", *(kind.path for kind in KINDS))


# --- what must be allowed ------------------------------------------------------------------------
# Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_imagebuilder.html


def tag_access(call: Call) -> Sequence[Access]:
    """``imagebuilder:TagResource``, with the request's tags and the resource's."""
    check_limits(call, errors.invalid_parameter)
    return [_access(call, request_tags(call))]


def untag_access(call: Call) -> Sequence[Access]:
    """``imagebuilder:UntagResource``, with the keys (``aws:TagKeys``) and the resource's tags."""
    check_limits(call, errors.invalid_parameter)
    return [_access(call, {"aws:TagKeys": tuple(sorted(call.parameters["tagKeys"]))})]


def list_access(call: Call) -> Sequence[Access]:
    """``imagebuilder:ListTagsForResource``, with the resource's tags."""
    check_limits(call, errors.invalid_parameter)
    return [_access(call, {})]


def _access(call: Call, context: Mapping[str, str | Sequence[str]]) -> Access:
    arn: str = call.parameters["resourceArn"]
    owner, resource = arn.split(":", 5)[4:]
    kind = resource.split("/")[0]
    if kind not in _HELD:
        raise not_imitated(f"tags of Image Builder's {kind} resources")
    if not owner.isdigit():
        raise not_imitated("the resources that Image Builder manages")
    found = _held(call)
    tags = resource_tags(found.tags) if found else {}
    action = f"imagebuilder:{call.operation}"
    return Access(action, arn, {**context, **tags}, resource_account=owner)


def _held(call: Call) -> Workflow | Image | Resource | None:
    arn: str = call.parameters["resourceArn"]
    state = state_of(call)
    return state.workflows.get(arn) or state.images.get(arn) or state.resources.get(arn)


# --- what they do --------------------------------------------------------------------------------


def tag(call: Call) -> Answer:
    """Put tags on a resource; those with the same keys are replaced.

    Raises InvalidParameterException when it would have more than 50, ResourceNotFoundException.
    """
    after = {**_found(call).tags, **call.parameters["tags"]}
    if len(after) > MAX_TAGS:
        raise errors.invalid_parameter("tags", f"A resource can have up to {MAX_TAGS} tags.")
    _keep(call, after)
    return Answer()


def untag(call: Call) -> Answer:
    """Take tags off a resource; keys that it does not have are passed over."""
    gone = set(call.parameters["tagKeys"])
    _keep(call, {key: value for key, value in _found(call).tags.items() if key not in gone})
    return Answer()


def list_tags(call: Call) -> Answer:
    """The tags of a resource."""
    return Answer({"tags": dict(_found(call).tags)})


def _found(call: Call) -> Workflow | Image | Resource:
    found = _held(call)
    if found is None:
        raise errors.not_found(call.parameters["resourceArn"])
    return found


def _keep(call: Call, tags: Mapping[str, str]) -> None:
    found, state = _found(call), state_of(call)
    if isinstance(found, Workflow):
        state.workflows[str(found.arn)] = replace(found, tags=tags)
    elif isinstance(found, Image):
        state.images[str(found.arn)] = replace(found, tags=tags)
    else:
        state.resources[call.parameters["resourceArn"]] = replace(found, tags=tags)
