"""What the operations have in common: tags, ARNs, client tokens, pages, times."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from awssandbox.call import Call
from awssandbox.imagebuilder import errors
from awssandbox.imagebuilder.arns import ResourceArn, parse_arn
from awssandbox.imagebuilder.state import ImageBuilderState, Remembered
from awssandbox.imagebuilder.versions import (
    VersionBoundsError,
    VersionPattern,
    WildcardOrderError,
    parse_pattern,
)

DEFAULT_PAGE: Final = 25

Item = TypeVar("Item")


def state_of(call: Call) -> ImageBuilderState:
    """The caller's account's state in the call's Region."""
    return call.world.state(ImageBuilderState, call.account, call.region)


def timestamp(moment: datetime) -> str:
    """A time as Image Builder writes it: ``2023-11-21T20:29:31.345Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def request_tags(call: Call) -> dict[str, str | Sequence[str]]:
    """The condition keys that a request's tags give (``aws:RequestTag/…``, ``aws:TagKeys``)."""
    tags: Mapping[str, str] = call.parameters.get("tags") or {}
    keys: dict[str, str | Sequence[str]] = {
        f"aws:RequestTag/{key}": value for key, value in tags.items()
    }
    if tags:
        keys["aws:TagKeys"] = tuple(sorted(tags))
    return keys


def resource_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The condition keys that a resource's tags give (``aws:ResourceTag/…``)."""
    return {f"aws:ResourceTag/{key}": value for key, value in tags.items()}


def read_arn(parameter: str, text: str) -> tuple[ResourceArn, VersionPattern]:
    """An ARN that has its model's pattern, and the version pattern in it.

    Raises InvalidParameterValueException for wildcards in a wrong place (AWS says of these that
    they "produce an error", not which), InvalidVersionNumberException for a node above 2^30-1.
    Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/ibhow-semantic-versioning.html
    """
    arn = parse_arn(text)
    try:
        return arn, parse_pattern(arn.version)
    except WildcardOrderError:
        raise errors.invalid_value(
            parameter,
            f"All nodes to the right of the first wildcard in '{arn.version}' must be wildcards.",
        ) from None
    except VersionBoundsError:
        raise errors.version_out_of_bounds() from None


def fingerprint(content: object) -> str:
    """A hash of plain content, the same for equal content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def once(call: Call, run: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """`run`'s output, or what an earlier call with this client token and parameters got.

    A call that fails is not remembered. Raises IdempotentParameterMismatchException when the token
    came before with other parameters.
    Source: the models of CreateWorkflow and CreateImage (``clientToken``).
    """
    tokens = state_of(call).tokens
    place = (call.operation, call.parameters["clientToken"])
    request = fingerprint(dict(call.parameters))
    if place in tokens:
        if tokens[place].fingerprint != request:
            raise errors.token_mismatch()
        return tokens[place].output
    output = run()
    tokens[place] = Remembered(request, output)
    return output


def filters(
    call: Call, readers: Mapping[str, Callable[[Item], str]]
) -> list[Callable[[Item], bool]]:
    """One test for each filter of a list: any of its values matches. Letter case counts.

    `readers` gives what each filter is about.
    Raises InvalidParameterValueException for a filter that the list does not have.
    Source: the models of ListWorkflows and ListImages (``Filter``): the name filter may have a
    ``*`` at its end, or at both ends.
    """
    return [_filter(entry, readers) for entry in call.parameters.get("filters", [])]


def _filter(
    entry: Mapping[str, Any], readers: Mapping[str, Callable[[Item], str]]
) -> Callable[[Item], bool]:
    name, values = str(entry.get("name")), tuple(entry.get("values", ()))
    if name not in readers:
        raise errors.invalid_value(
            "filters", f"The filter '{name}' is not supported. Supported: {', '.join(readers)}."
        )
    read = readers[name]
    if name == "name":
        return lambda item: any(_name_matches(read(item), value) for value in values)
    return lambda item: read(item) in values


def _name_matches(name: str, wanted: str) -> bool:
    if wanted.startswith("*") and wanted.endswith("*") and len(wanted) > 1:
        return wanted[1:-1] in name
    if wanted.endswith("*"):
        return name.startswith(wanted[:-1])
    return name == wanted


def page(call: Call, items: Sequence[Item]) -> tuple[Sequence[Item], str | None]:
    """The part of `items` that the call asks for, and the token for the next part.

    A token is good for the parameters that it was given out for.
    """
    size = call.parameters.get("maxResults", DEFAULT_PAGE)
    asked = {
        key: value
        for key, value in call.parameters.items()
        if key not in ("nextToken", "maxResults")
    }
    bound = fingerprint([call.operation, asked])[:16]
    start = _offset(call.parameters.get("nextToken"), bound)
    end = start + size
    more = None
    if end < len(items):
        more = base64.urlsafe_b64encode(f"{bound}:{end}".encode()).decode()
    return items[start:end], more


def _offset(token: str | None, bound: str) -> int:
    if token is None:
        return 0
    try:
        text = base64.urlsafe_b64decode(token.encode()).decode()
    except ValueError:
        raise errors.invalid_pagination_token() from None
    match = re.fullmatch(rf"{bound}:([0-9]{{1,9}})", text)
    if match is None:
        raise errors.invalid_pagination_token()
    return int(match[1])
