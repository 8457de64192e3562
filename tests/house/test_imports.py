"""The layers of lib/: imports go one way. The contracts are in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts on the packages of `folder`/lib."""
    return subprocess.run(
        [*LINT, "--no-cache", "--config", str(folder / "pyproject.toml")],
        env={**os.environ, "PYTHONPATH": str(folder / "lib"), "PYTHONSAFEPATH": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_layers_hold() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("keyrunbook/errors.py", "import keyrunbook.session"),
        ("keyrunbook/policies.py", "import iamaccess"),
        ("keyrunbook/session.py", "import awssandbox.world"),
        ("awssandbox/clock.py", "import keyrunbook.errors"),
        ("iamaccess/model.py", "import os"),
        ("iamaccess/model.py", "import botocore.session"),
        ("keyrunbook/of_no_layer.py", ""),
    ],
)
def test_an_import_the_wrong_way_is_seen(tmp_path: Path, module: str, line: str) -> None:
    """One line too many, or a module that no layer has a place for, breaks a contract."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(
        ROOT / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__")
    )
    with (tmp_path / "lib" / module).open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout or "of_no_layer" in done.stdout + done.stderr
