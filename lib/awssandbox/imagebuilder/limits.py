"""The limits of Image Builder's model, refused with Image Builder's own error.

The service answers InvalidParameterValueException where other services answer ValidationException.
Source: https://github.com/boto/boto3/issues/2224 (a value that does not match its pattern).
The texts for lengths, sizes and fixed values are not documented.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from botocore.model import Shape

from awssandbox.call import Call
from awssandbox.errors import AwsError
from awssandbox.imagebuilder import errors
from awssandbox.protocol import compiled
from awssandbox.services import model


def check_limits(
    call: Call, refusal: Callable[[str, str], AwsError] = errors.invalid_value
) -> None:
    """Raises `refusal` of the first parameter outside its model's limits: its name, and why."""
    shape = model("imagebuilder").operation_model(call.operation).input_shape
    for name, value in call.parameters.items():
        for problem in _problems(shape.members[name], value, name):
            raise refusal(name, problem)


def _problems(shape: Shape, value: Any, place: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure":
        for name, inner in value.items():
            yield from _problems(shape.members[name], inner, f"{place}.{name}")
        return
    if kind == "boolean":
        return
    yield from _size(shape, value, place)
    if kind == "list":
        for index, item in enumerate(value):
            yield from _problems(shape.member, item, f"{place}[{index}]")
    elif kind == "map":
        for key, item in value.items():
            yield from _problems(shape.key, key, f"{place} key '{key}'")
            yield from _problems(shape.value, item, f"{place}.{key}")
    elif kind == "string":
        allowed, pattern = shape.metadata.get("enum"), shape.metadata.get("pattern")
        if allowed and value not in allowed:
            yield f"'{place}' must be one of {', '.join(allowed)}."
        if pattern and not compiled(pattern).fullmatch(value):
            yield f"'{place}' must match pattern {pattern}"


def _size(shape: Shape, value: Any, place: str) -> Iterator[str]:
    units = {"string": "characters", "list": "entries", "map": "entries"}
    size = len(value) if shape.type_name in units else value
    lowest, highest = shape.metadata.get("min"), shape.metadata.get("max")
    if (lowest is None or size >= lowest) and (highest is None or size <= highest):
        return
    bounds = " and ".join(
        f"{word} {limit:,}" for word, limit in (("at least", lowest), ("at most", highest)) if limit
    )
    unit = units.get(shape.type_name)
    yield f"'{place}' must have {bounds} {unit}." if unit else f"'{place}' must be {bounds}."
