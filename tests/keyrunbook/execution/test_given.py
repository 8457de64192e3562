from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from keyrunbook.errors import ParameterError
from keyrunbook.execution.given import (
    names_in,
    read_file,
    read_pairs,
    takes_text,
    without_effect,
)
from keyrunbook.execution.runner import notebooks_dir
from keyrunbook.steps import STEPS

TYPES: dict[str, Any] = {
    "run_id": str | None,
    "target": Literal["sandbox", "aws"] | None,
    "event_wait_seconds": int | None,
    "run_build": bool | None,
    "tags": dict[str, str],
}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("run_id", "012", "012"),
        ("run_id", "true", "true"),
        ("run_id", "1e3", "1e3"),
        ("run_id", "null", "null"),
        ("run_id", "", ""),
        ("target", "aws", "aws"),
        ("event_wait_seconds", "60", 60),
        ("event_wait_seconds", "soon", "soon"),
        ("run_build", "true", True),
        ("run_build", "maybe", "maybe"),
        ("tags", "{team: images, cost: 012}", {"team": "images", "cost": "012"}),
        ("tags", '{"a": "b"}', {"a": "b"}),
        ("tags", "{a", "{a"),
        ("unknown", "012", "012"),
    ],
)
def test_p_keeps_text_as_text(name: str, text: str, value: object) -> None:
    assert read_pairs([(name, text)], TYPES) == {name: value}


def test_p_twice() -> None:
    with pytest.raises(ParameterError, match=r"-p run_id is given twice: 'a' and 'b'\."):
        read_pairs([("run_id", "a"), ("run_id", "b")], TYPES)


def test_file_keeps_text_as_text(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "# mine\nrun_id: 012\nevent_wait_seconds: 60\nrun_build: false\n"
        "target: ~\ntags:\n  cost: 0123\n  on: yes\n"
    )
    read = read_file(path, TYPES)
    assert read.values == {
        "run_id": "012",
        "event_wait_seconds": 60,
        "run_build": False,
        "target": None,
        "tags": {"cost": "0123", "on": "yes"},
    }
    assert read.place("tags") == f"{path}:6"


def test_empty_file_gives_nothing(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("# nothing yet\n")
    assert read_file(path, TYPES).values == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("run_id: a\nrun_id: b\n", ":2: run_id is there twice, first on line 1."),
        ("\n- a\n", ":2: is not a mapping of names to values."),
        ("run_id: a\ntags: {a: b\n", ":3: is not YAML: "),
        ("run_id: 'a\n", ":2: is not YAML: "),
        ("\n\nrun_id: !secret a\nevent_wait_seconds: !!python/name:os.system\n", ":4: event"),
    ],
)
def test_file_errors_have_file_and_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ParameterError) as caught:
        read_file(path, TYPES)
    assert caught.value.what.startswith(f"{path}{told}")


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"none\.yaml: cannot be read: No such file"):
        read_file(tmp_path / "none.yaml", TYPES)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (str, True),
        (Annotated[str, "x"], True),
        (Annotated[str | None, "x"], True),
        (Path | None, True),
        (Literal["a", "b"], True),
        (Literal[1, 2], False),
        (int | None, False),
        (bool, False),
        (list[str], False),
        (dict[str, str], False),
    ],
)
def test_which_types_take_text(annotation: object, text: bool) -> None:
    assert takes_text(annotation) is text


USES = {step: names_in(notebooks_dir() / f"{step}.ipynb") for step in STEPS}


@pytest.mark.parametrize(
    ("name", "steps", "users"),
    [
        ("key_alias", STEPS[2:3], ["01_create_key"]),
        ("key_alias", STEPS[:2], None),
        ("tags", STEPS[:1], [step for step in STEPS if "tags" in USES[step]]),
        ("tags", STEPS[3:], None),
        ("pending_window_days", STEPS[:5], ["06_clean_up"]),
        ("region", STEPS[6:], None),
        ("a limit of every step's", STEPS[6:], None),
    ],
)
def test_parameters_that_none_of_the_steps_uses(
    name: str, steps: tuple[str, ...], users: list[str] | None
) -> None:
    assert without_effect([name], steps, USES) == ({} if users is None else {name: users})
