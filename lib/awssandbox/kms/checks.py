"""Checks of a request's parameters that are made before anything is decided."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from awssandbox.errors import not_imitated
from awssandbox.kms import errors

if TYPE_CHECKING:
    from awssandbox.call import Call

Item = TypeVar("Item")

MAX_TAGS: Final = 50


def within(call: Call, parameter: str, low: int, high: int) -> int | None:
    """The integer `parameter` when it is given and within `low` to `high`, inclusive.

    Raises AwsError: ValidationException.
    """
    value: int | None = call.parameters.get(parameter)
    if value is None:
        return None
    member = parameter[0].lower() + parameter[1:]
    if value < low:
        raise errors.constraint(value, member, f"have value greater than or equal to {low}")
    if value > high:
        raise errors.constraint(value, member, f"have value less than or equal to {high}")
    return value


def only(call: Call, *imitated: str) -> None:
    """Refuse any parameter that AWS has and the sandbox does not imitate."""
    for parameter in call.parameters:
        if parameter not in imitated:
            raise not_imitated(f"the parameter {parameter} of {call.operation}")


def page(
    call: Call,
    items: Iterable[Item],
    name: Callable[[Item], str],
    *,
    default: int,
    most: int,
) -> tuple[list[Item], dict[str, Any]]:
    """The page of `items` that a listing call asks for, and its ``Truncated`` and ``NextMarker``.

    Pages are in order of the items' names, so that items made or deleted between two pages are
    neither repeated nor hide others. `default` and `most` are the operation's limits.
    Raises AwsError: ValidationException, InvalidMarkerException.
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeys.html
    """
    limit = within(call, "Limit", 1, most) or default
    after = _read_marker(call)
    left = sorted((i for i in items if after is None or name(i) > after), key=name)
    if len(left) <= limit:
        return left, {"Truncated": False}
    shown = left[:limit]
    marker = base64.b64encode(f"{call.operation}\n{name(shown[-1])}".encode()).decode()
    return shown, {"Truncated": True, "NextMarker": marker}


def _read_marker(call: Call) -> str | None:
    marker = call.parameters.get("Marker")
    if marker is None:
        return None
    try:
        text = base64.b64decode(marker, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise errors.invalid_marker() from error
    operation, newline, after = text.partition("\n")
    if operation != call.operation or not newline:
        raise errors.invalid_marker()
    return after


def tags(given: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Tags to be put on a key, by key. Raises AwsError: TagException.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/tagging-keys.html
    """
    found: dict[str, str] = {}
    for tag in given:
        key = tag["TagKey"]
        if key.lower().startswith("aws:"):
            raise errors.bad_tag("Tags beginning with aws: are reserved")
        if key in found:
            raise errors.bad_tag("Duplicate tag keys")
        found[key] = tag["TagValue"]
    if len(found) > MAX_TAGS:
        raise errors.bad_tag("Too many tags")
    return found


def encryption_context(call: Call) -> dict[str, str]:
    """The call's encryption context, empty when it has none."""
    context: Mapping[str, str] = call.parameters.get("EncryptionContext") or {}
    return dict(context)
