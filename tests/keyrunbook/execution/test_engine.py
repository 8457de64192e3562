"""The engine, as papermill itself uses it: by its entry point, with a kernel of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from keyrunbook.files import write_atomically
from small_notebooks import cells_of, write_notebook

pytestmark = pytest.mark.e2e


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def papermill(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "papermill", "--engine", "keyrunbook", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "code",
    [
        "import papermill.engines as e; print(e.papermill_engines.get_engine('keyrunbook'))",
        "from keyrunbook.execution.engine import RunbookEngine; print(RunbookEngine)",
        "import keyrunbook.execution.engine as e; import papermill; print(e.RunbookEngine)",
    ],
)
def test_the_engine_is_found_whoever_is_imported_first(code: str) -> None:
    done = python(code)
    assert done.stdout == "<class 'keyrunbook.execution.cells.RunbookEngine'>\n", done.stderr


def test_the_grammar_that_takes_so_long_is_not_imported() -> None:
    done = python(
        "import sys\nfrom keyrunbook.execution.engine import load_papermill\nload_papermill()\n"
        "print('papermill' in sys.modules, 'rfc3987_syntax' in sys.modules)"
    )
    assert done.stdout == "True False\n", done.stderr


def test_plain_papermill(tmp_path: Path) -> None:
    write_notebook(tmp_path / "in.ipynb", "print(run_id)", "1 + 1")
    out = tmp_path / "out.ipynb"
    done = papermill(str(tmp_path / "in.ipynb"), str(out), "-r", "run_id", "012")
    assert done.returncode == 0, done.stderr
    *_, first, second = cells_of(out)
    assert first["outputs"][0]["text"] == ["012\n"]
    assert second["outputs"][0]["data"]["text/plain"] == ["2"]
    assert second["metadata"]["papermill"]["status"] == "completed"


def test_plain_papermill_with_a_kernel_that_dies(tmp_path: Path) -> None:
    write_notebook(tmp_path / "in.ipynb", "import os; os._exit(1)", "x = 2")
    out = tmp_path / "out.ipynb"
    done = papermill(str(tmp_path / "in.ipynb"), str(out))
    assert done.returncode != 0
    marks = [cell["metadata"]["papermill"]["status"] for cell in cells_of(out)]
    assert marks == ["completed", "failed", "pending"]
    assert json.loads(out.read_text())["metadata"]["papermill"]["exception"] is True


def test_plain_papermill_with_a_failing_cell(tmp_path: Path) -> None:
    write_notebook(tmp_path / "in.ipynb", "1/0", "x = 2")
    out = tmp_path / "out.ipynb"
    done = papermill(str(tmp_path / "in.ipynb"), str(out))
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stderr
    assert cells_of(out)[-1]["metadata"]["papermill"]["status"] == "pending"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "result.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]
