"""The gate beside nbval: the committed notebooks pass it, and each of its checks can fail."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from gate import problems, shows
from keyrunbook.execution.reference import NOTEBOOKS
from keyrunbook.execution.runner import notebooks_dir
from keyrunbook.steps import STEPS

Change = Callable[[Any], object]


def committed(name: str) -> Any:
    """A committed notebook, by its step's name."""
    return nbformat.read(notebooks_dir() / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]


def test_every_notebook_is_a_step() -> None:
    """The seven, the one to start from, and no other beside them."""
    assert sorted(path.stem for path in Path(notebooks_dir()).glob("*.ipynb")) == sorted(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_committed_notebook_passes(name: str) -> None:
    assert problems(committed(name)) == []


def first_shown(notebook: Any) -> Any:
    """The first cell with an output."""
    return next(cell for cell in notebook.cells if cell.get("outputs"))


def _text(notebook: Any, text: str) -> None:
    output = nbformat.v4.new_output("stream", name="stdout", text=text)  # type: ignore[no-untyped-call]
    first_shown(notebook).outputs.append(output)


CHANGES: list[tuple[str, Change, str]] = [
    ("a removed output", lambda nb: first_shown(nb).outputs.clear(), "stored without output"),
    ("an un-run cell", lambda nb: first_shown(nb).update(execution_count=None), "in order"),
    (
        "a cell run out of order",
        lambda nb: first_shown(nb).update(execution_count=99),
        "in order",
    ),
    (
        "a stored error",
        lambda nb: first_shown(nb).outputs.append(
            nbformat.v4.new_output("error", ename="E", evalue="v", traceback=[])  # type: ignore[no-untyped-call]
        ),
        "an error is stored",
    ),
    ("another kernel", lambda nb: nb.metadata.kernelspec.update(name="julia"), "kernelspec"),
    ("widget state", lambda nb: nb.metadata.update(widgets={}), "widgets"),
    ("a doubled cell id", lambda nb: nb.cells[0].update(id=nb.cells[1]["id"]), "the same"),
    ("no parameters cell", lambda nb: [c.metadata.clear() for c in nb.cells], "0 cells are tagged"),
    (
        "a tag that hides",
        lambda nb: first_shown(nb).metadata.update(tags=["nbval-skip"]),
        "a tag that hides",
    ),
    (
        "a marker that hides",
        lambda nb: first_shown(nb).update(source="# NBVAL_IGNORE_OUTPUT\n1"),
        "a marker that hides",
    ),
    ("an access key", lambda nb: _text(nb, "AKIAABCDEFGHIJKLMNOP"), "like a secret"),
    (
        "a secret key",
        lambda nb: _text(nb, "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"),
        "like a secret",
    ),
    ("a path", lambda nb: _text(nb, "/home/somebody/outputs"), "a path of one machine"),
    ("a port", lambda nb: _text(nb, "http://127.0.0.1:39871"), "an address"),
    ("an object's address", lambda nb: _text(nb, "<X at 0x7f0123456789>"), "an address"),
    (
        "stderr",
        lambda nb: first_shown(nb).outputs.append(
            nbformat.v4.new_output("stream", name="stderr", text="careful")  # type: ignore[no-untyped-call]
        ),
        "stderr",
    ),
    (
        "a picture without words",
        lambda nb: first_shown(nb).outputs.append(
            nbformat.v4.new_output("display_data", data={"image/png": "x", "text/plain": "y"})  # type: ignore[no-untyped-call]
        ),
        "alternative text",
    ),
]


@pytest.mark.parametrize(("change", "told"), [pytest.param(c, t, id=i) for i, c, t in CHANGES])
def test_the_gate_sees(change: Change, told: str) -> None:
    notebook = copy.deepcopy(committed(STEPS[0]))
    change(notebook)
    assert any(told in problem for problem in problems(notebook))


@pytest.mark.parametrize(
    ("source", "expected"),
    [("x = 1", False), ("assert x", False), ("import os", False), ("x", True), ("f(x)", True)],
)
def test_which_cells_show_something(source: str, expected: bool) -> None:
    assert shows(source) is expected
