"""What a person chose in JupyterLab: the run to go on with, and values in its notebooks' forms.

A kernel cannot change the text of a notebook's parameters cell, and Run All assigns its defaults
again. So what is chosen is kept beside the run, and stands in for a default of that cell:

- ``.current`` in the outputs folder names the run that notebooks without a `run_id` go on with;
- ``form.json`` in a run's folder holds the values, for all notebooks of that run.

What the cell, or papermill, sets to anything but the default wins. Both files are their owner's
alone, and hold no secrets: the values are those that `Parameters` accepts. Only a notebook with a
live front end heeds them (`keyrunbook.session`): papermill and `runbook run` never do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from keyrunbook.errors import OutputsNotWritable, ParameterError
from keyrunbook.files import write_atomically
from keyrunbook.parameters import OF_ONE_CALL, Parameters

CURRENT: Final = ".current"
FORM: Final = "form.json"
OWNER_ONLY: Final = 0o600
NOT_IN_FORMS: Final = OF_ONE_CALL - {"read_only"}
"""The parameters that no form offers: which run it is, where, and what is approved."""
MARK: Final = "_from_form"
"""The variable of a notebook that holds what was put into its parameters from a form."""
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def current(outputs: Path) -> str | None:
    """The run that was chosen to go on with, or None; whether it has begun is not looked at.

    Raises ParameterError where the file names none.
    """
    path = outputs / CURRENT
    try:
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    if not _RUN_ID.fullmatch(text):
        raise ParameterError(f"{path} does not name a run.", "Delete the file.")
    return text


def go_on_with(outputs: Path, run_id: str) -> None:
    """From now on this is the run that the notebooks share. Raises OutputsNotWritable."""
    _write(outputs / CURRENT, run_id + "\n")


def kept(outputs: Path, run_id: str) -> dict[str, Any]:
    """The values that were chosen for a run. Raises ParameterError where the file is damaged."""
    path = outputs / run_id / FORM
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it is not an object")
        Parameters.load(values)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, ParameterError) as error:
        raise ParameterError(
            f"{path} is damaged: {error}", "Delete the file: the forms then have the defaults."
        ) from error
    return {name: value for name, value in values.items() if name not in NOT_IN_FORMS}


def keep(outputs: Path, run_id: str, values: Mapping[str, Any]) -> None:
    """Keep these values for a run, in place of those before.

    Raises ParameterError for a value that the model refuses, OutputsNotWritable.
    """
    Parameters.load(values)
    _write(outputs / run_id / FORM, json.dumps(dict(values), indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text, OWNER_ONLY)
    except OSError as error:
        raise OutputsNotWritable(
            f"{path} cannot be written: {error.strerror}.",
            "Give another folder by outputs_dir, or mend its permissions.",
        ) from error


@dataclass(frozen=True, slots=True)
class Taken:
    """A notebook's parameters as they hold, and who said so."""

    values: Mapping[str, Any]
    from_form: Mapping[str, Any]
    by_cell: frozenset[str]
    """The names that the parameters cell, or papermill, sets to another value than the default."""


def take(namespace: Mapping[str, Any], kept: Mapping[str, Any], *, begins: bool) -> Taken:
    """What holds in a notebook whose ``globals()`` are `namespace`, where `kept` was chosen.

    `begins`: a run may begin in it, so that its cell's default target is the sandbox.
    """
    marked = namespace.get(MARK, {})
    values: dict[str, Any] = {}
    by_cell = set()
    for name in names(namespace):
        value, default = namespace[name], default_of(name, begins=begins)
        from_form = name in marked and marked[name] == value
        if value != default and not from_form:
            by_cell.add(name)
        elif from_form or name in kept:
            value = kept.get(name, default)
        values[name] = value
    from_form_now = {name: kept[name] for name in values if name in kept and name not in by_cell}
    return Taken(values, from_form_now, frozenset(by_cell))


def put(namespace: dict[str, Any], taken: Taken) -> None:
    """Set a notebook's variables to what holds."""
    namespace.update(taken.values)
    namespace[MARK] = dict(taken.from_form)


def names(namespace: Iterable[str]) -> list[str]:
    """The parameters that a notebook has, in the model's order."""
    there = set(namespace)
    return [name for name in Parameters.model_fields if name in there]


def default_of(name: str, *, begins: bool) -> Any:
    """What a parameters cell has for a parameter unless somebody changed it."""
    if name == "target" and begins:
        return "sandbox"
    return Parameters.model_fields[name].get_default(call_default_factory=True)
