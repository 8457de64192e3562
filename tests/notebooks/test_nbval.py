"""The committed notebooks run again, under nbval, and show what is stored: strictly compared.

In the order of their making, in one worker, on a private sandbox with seed and clock fixed, sharing
one run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from keyrunbook.execution.reference import CELL_LIMIT_S, NOTEBOOKS, place
from keyrunbook.execution.runner import notebooks_dir
from keyrunbook.steps import STEPS

pytestmark = pytest.mark.e2e

SANITIZERS = Path(__file__).parent / "sanitize.cfg"


def nbval(notebooks: list[Path], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run nbval on notebooks, in the order given; the first cell that differs ends it."""
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-c", os.devnull]
    words += ["--nbval", "--nbval-current-env", f"--nbval-cell-timeout={CELL_LIMIT_S}"]
    words += [f"--nbval-sanitize-with={SANITIZERS}", *map(str, notebooks)]
    return subprocess.run(
        words,
        env={**os.environ, **environment, "NO_COLOR": "1"},
        cwd=notebooks[0].parent,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def test_the_notebooks_show_what_is_stored() -> None:
    with place() as environment:
        done = nbval([notebooks_dir() / f"{name}.ipynb" for name in NOTEBOOKS], environment)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_an_altered_output_is_seen(tmp_path: Path) -> None:
    """One letter of one stored output makes nbval fail, and it names the cell."""
    path = tmp_path / f"{STEPS[0]}.ipynb"
    notebook = nbformat.read(notebooks_dir() / path.name, as_version=4)  # type: ignore[no-untyped-call]
    cell = next(cell for cell in reversed(notebook.cells) if cell.get("outputs"))
    text = cell.outputs[-1].data["text/plain"]
    assert "pass" in text
    cell.outputs[-1].data["text/plain"] = text.replace("pass", "past", 1)
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]
    with place() as environment:
        done = nbval([path], environment)
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-2000:]
    assert "past" in done.stdout
    assert "1 failed" in done.stdout
