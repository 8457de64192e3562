"""The parameters, from the model that validates them."""

from __future__ import annotations

import ast
import json
import typing
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any

import annotated_types
from keyrunbook.parameters import Parameters, project_dir
from pydantic.fields import FieldInfo

from generate.markdown import escaped

_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", dict: "mapping"}


def parameters() -> str:
    """A section for each parameter: what it means, its form and limits, who heeds it."""
    return "\n\n".join(_section(name, field) for name, field in Parameters.model_fields.items())


def _section(name: str, field: FieldInfo) -> str:
    lines = [f"- {what}: {value}" for what, value in _facts(name, field)]
    return f"## {name}\n\n{escaped(field.description or '')}\n\n" + "\n".join(lines)


def _facts(name: str, field: FieldInfo) -> Iterator[tuple[str, str]]:
    yield "type", _type(field.annotation)
    default = field.get_default(call_default_factory=True)
    yield "default", "unset" if default is None else f"`{json.dumps(default)}`"
    yield from _limits(field)
    for example in field.examples or ():
        yield "for example", f"`{json.dumps(example)}`"
    yield "in the notebooks", ", ".join(notebooks_with(name)) or "none: given by name, where needed"


def _type(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Annotated:
        return _type(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(annotation))
    if typing.get_origin(annotation) in (UnionType, typing.Union):
        kinds = [kind for kind in typing.get_args(annotation) if kind is not NoneType]
        return " or ".join(map(_type, kinds))
    return _WORDS[typing.get_origin(annotation) or annotation]


def _limits(field: FieldInfo) -> Iterator[tuple[str, str]]:
    for rule in field.metadata:
        match rule:
            case annotated_types.Ge(least):
                yield "at least", f"{least}"
            case annotated_types.Gt(bound):
                yield "more than", f"{bound}"
            case annotated_types.Le(most):
                yield "at most", f"{most}"
            case annotated_types.Lt(bound):
                yield "less than", f"{bound}"
            case annotated_types.MinLen(least):
                yield "length at least", f"{least}"
            case annotated_types.MaxLen(most):
                yield "length at most", f"{most}"
            case _:
                if (pattern := getattr(rule, "pattern", None)) is not None:
                    yield "form", f"`{pattern}`"


def notebooks_with(name: str) -> list[str]:
    """The notebooks whose parameters cell has this name."""
    return [
        notebook.stem
        for notebook in sorted((project_dir() / "notebooks").glob("0*.ipynb"))
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        if "parameters" in cell["metadata"].get("tags", ()) and name in _assigned(cell["source"])
    ]


def _assigned(source: str | list[str]) -> set[str]:
    tree = ast.parse("".join(source))
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
