"""The benchmarks can be run: they load, their options are read, and their claims are held."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from keyrunbook.parameters import project_dir

FOLDER = project_dir() / "benchmarks"
COMMANDS = ["decide", "describe_key", "run", "scan"]


def load(name: str) -> ModuleType:
    """A benchmark as a module."""
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_each_benchmark_is_a_command_or_the_script_that_one_runs() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == {*COMMANDS, "script"}
    load("script")


@pytest.mark.parametrize("name", COMMANDS)
def test_make_bench_runs_each(name: str) -> None:
    makefile = (project_dir() / "Makefile").read_text(encoding="utf-8")
    assert f"$(VENV_PYTHON) benchmarks/{name}.py" in makefile


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--help"], 0, "usage:"),
        (["--no-such-option"], 2, "--no-such-option"),
    ],
)
def test_options_are_read(
    name: str,
    words: list[str],
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *words])
    with pytest.raises(SystemExit) as ended:
        load(name).main()
    assert ended.value.code == status
    assert said in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("run", ["--rounds", "0"]),
        ("describe_key", ["--rounds", "0"]),
        ("describe_key", ["--calls", "3"]),
        ("scan", ["--rounds", "0"]),
    ],
)
def test_nothing_is_measured_in_no_rounds(
    name: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *words])
    with pytest.raises(SystemExit) as ended:
        load(name).main()
    assert ended.value.code == 2


def test_before_is_the_revision_and_not_this_folder(tmp_path: Path) -> None:
    run = load("run")
    with pytest.raises(SystemExit, match="no-such-revision"):
        run.check_out("no-such-revision", tmp_path)
    run.check_out("HEAD", tmp_path)
    words = [sys.executable, "-c", "import keyrunbook; print(keyrunbook.__file__)"]
    for project in (tmp_path, project_dir()):
        done = subprocess.run(
            words, env=run.environment_of(project), check=True, capture_output=True, text=True
        )
        assert Path(done.stdout.strip()).is_relative_to(project / "lib")
    with pytest.raises(SystemExit, match="what would run is not in"):
        run.environment_of(tmp_path / "docs")


@pytest.mark.e2e
def test_each_measured_call_is_verified_authorised_and_recorded() -> None:
    words = [sys.executable, str(FOLDER / "describe_key.py"), "--rounds", "1", "--calls", "4"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "sandbox / moto, raw" in done.stdout
    assert "of 24 answered calls, warm-up included, 24 are recorded" in done.stdout


@pytest.mark.e2e
def test_a_server_that_checks_nothing_is_found_out() -> None:
    describe_key = load("describe_key")
    with describe_key.moto("moto") as server, pytest.raises(SystemExit, match="was answered 200"):
        describe_key.refusals(server)
