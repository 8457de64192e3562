"""Parameters as a person gives them: `-p NAME VALUE` and YAML files.

Their text is kept as text wherever a parameter is a string: `-p run_id 012` and `run_id: 012` both
mean "012". YAML alone would read an octal number, and papermill's `-p` an int; an account number
would lose its leading zero on the way.
"""

from __future__ import annotations

import ast
import json
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from keyrunbook.errors import ParameterError


@dataclass(frozen=True, slots=True)
class FromFile:
    """The parameters of a file, and the line of each."""

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[str, int]  # from 1

    def place(self, name: str) -> str:
        """`FILE:LINE` of a parameter."""
        return f"{self.path}:{self.lines[name]}"


def read_pairs(pairs: Sequence[tuple[str, str]], types_: Mapping[str, Any]) -> dict[str, Any]:
    """The `-p` options. `types_`: each parameter's annotation, by name.

    Raises:
        ParameterError: a name given twice.
    """
    values: dict[str, Any] = {}
    for name, text in pairs:
        if name in values:
            raise ParameterError(
                f"-p {name} is given twice: {values[name]!r} and {text!r}.", "Give it once."
            )
        values[name] = text if takes_text(types_.get(name, str)) else _parsed(text)
    return values


def read_file(path: Path, types_: Mapping[str, Any]) -> FromFile:
    """Reads a YAML mapping of parameters.

    Raises:
        ParameterError: with file and line: it is not there, is no YAML, no mapping, or has a name
            twice.
    """
    fix = "The file is YAML: one `name: value` on each line."
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ParameterError(
            f"{path}: cannot be read: {reason}.", "Give the path of a file that can be read."
        ) from error
    except UnicodeDecodeError as error:
        raise ParameterError(f"{path}: is not a text in UTF-8.", fix) from error
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f"{error.problem_mark.line + 1}"
        raise ParameterError(f"{path}:{line}: is not YAML: {error.problem}.", fix) from error
    except yaml.YAMLError as error:
        raise ParameterError(f"{path}: is not YAML: {error}.", fix) from error
    if node is None:
        return FromFile(path, {}, {})
    if not isinstance(node, yaml.MappingNode):
        line = node.start_mark.line + 1
        raise ParameterError(f"{path}:{line}: is not a mapping of names to values.", fix)
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in lines:
            raise ParameterError(
                f"{path}:{line}: {name} is there twice, first on line {lines[name]}.", "Remove one."
            )
        values[name] = _constructed(value, types_.get(name, str), f"{path}:{line}: {name}")
        lines[name] = line
    return FromFile(path, values, lines)


def names_in(notebook: Path) -> set[str]:
    """The parameters of a notebook: the names that its parameters cell assigns."""
    return {
        target.id
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        if "parameters" in cell["metadata"].get("tags", ())
        for node in ast.parse("".join(cell["source"])).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def without_effect(
    names: Iterable[str], steps: Sequence[str], uses: Mapping[str, set[str]]
) -> dict[str, list[str]]:
    """Those of the parameters that none of `steps` uses, each with the steps that do.

    `uses`: each step's parameters. What no step names, such as a limit, is for all.
    """
    found = {name: [step for step in uses if name in uses[step]] for name in names}
    return {name: users for name, users in found.items() if users and not set(users) & set(steps)}


def takes_text(annotation: Any) -> bool:
    """Whether text is a value of that type: `str`, `Path`, a Literal of strings, or optional."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return any(takes_text(part) for part in get_args(annotation))
    if origin is Literal:
        return all(isinstance(value, str) for value in get_args(annotation))
    if origin is not None and hasattr(annotation, "__metadata__"):
        return takes_text(get_args(annotation)[0])
    return isinstance(annotation, type) and issubclass(annotation, (str, Path))


def _parsed(text: str) -> Any:
    """Numbers, true and false, lists, mappings; what is none of these stays text, to be refused."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return text if node is None else _constructed(node, None, text)
    except (yaml.YAMLError, ParameterError):
        return text


def _constructed(node: yaml.Node, annotation: Any, place: str) -> Any:
    if isinstance(node, yaml.ScalarNode) and node.tag != "tag:yaml.org,2002:null":
        if annotation is not None and takes_text(annotation):
            return node.value
    elif isinstance(node, yaml.MappingNode):
        # Names and texts, such as tags: never numbers.
        return {
            str(key.value): value.value
            if isinstance(value, yaml.ScalarNode)
            else _constructed(value, None, place)
            for key, value in node.value
        }
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError) as error:
        raise ParameterError(f"{place}: {error}.", "Write it as a plain value.") from error
    finally:
        loader.dispose()
