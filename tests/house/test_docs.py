"""The documents say what is so: tables, options, links and test names against the code."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from keyrunbook.cli import runbook
from keyrunbook.cli.common import EXIT_STATUSES
from keyrunbook.parameters import project_dir
from keyrunbook.steps import STEPS

ROOT = project_dir()
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIDELITY = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("outputs/*.md")])
NAMED_TEST = re.compile(r"`(test_\w+\.py)(?:::(test_\w+))?`")


def rows(text: str, heading: str) -> list[list[str]]:
    """The body rows of the table whose header row begins with `heading`."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_the_readme_names_the_seven_notebooks_in_order() -> None:
    assert [row[0].strip("`") for row in rows(README, "notebook")] == list(STEPS)


def test_the_readme_names_the_exit_statuses_of_the_command() -> None:
    stated = re.findall(r"^  (\d+)", EXIT_STATUSES, re.MULTILINE)
    assert [row[0] for row in rows(README, "status")] == stated


def options(command: click.Command) -> set[str]:
    """All option names of a command and of those below it."""
    found = {name for one in command.params for name in one.opts}
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            found |= options(inner)
    return found


def test_every_option_that_the_readme_shows_exists() -> None:
    lines = [line for line in README.splitlines() if "/runbook " in line]
    shown = {word for line in lines for word in re.findall(r"(?<![\w-])--?[a-z][\w-]*", line)}
    assert len(shown) >= 5
    assert shown <= options(runbook)


def test_the_refusal_that_the_readme_explains_is_what_the_command_says() -> None:
    asked = (ROOT / "docs" / "refusal.json").read_text(encoding="utf-8")
    done = CliRunner().invoke(runbook, ["access", "decide", "--complete"], input=asked)
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["outcome"]) == (0, "DENIED")
    shown = "\n".join(f"    {line}" for line in answer["explanation"].splitlines())
    assert shown in README


def test_every_task_that_the_readme_shows_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    tasks = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    shown = set(re.findall(r"(?:^    |`)make ([a-z]+)", README, re.MULTILINE))
    assert {"run", "test", "lab", "bench"} <= shown
    assert shown <= tasks


def test_the_readme_s_ratios_are_the_benchmarks() -> None:
    aims = {
        name: aim
        for command in ("run", "describe_key")
        for node in ast.parse((ROOT / "benchmarks" / f"{command}.py").read_text("utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "AIMS"
        for name, aim in ast.literal_eval(node.value).items()
    }
    stated = {row[0]: (float(row[1]), row[2]) for row in rows(README, "ratio")}
    assert {name: aim for name, (_, aim) in stated.items()} == aims


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


def test_the_picture_has_words_and_asks_nothing_of_the_network() -> None:
    picture = (ROOT / "docs" / "run.svg").read_text(encoding="utf-8")
    assert "<title>" in picture
    assert "PROVED" in picture
    assert "not&#160;AWS" in picture
    assert re.findall(r"https?://[^\"' )]+", picture) == ["http://www.w3.org/2000/svg"]


def functions(path: Path) -> set[str]:
    """The tests of a file, methods included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_the_fidelity_page_names_exists() -> None:
    files = {path.name: path for path in (ROOT / "tests").rglob("test_*.py")}
    named = NAMED_TEST.findall(FIDELITY)
    assert len(named) > 100
    missing = [
        f"{file}::{test}"
        for file, test in named
        if file not in files or (test and test not in functions(files[file]))
    ]
    assert missing == []


def test_every_row_of_the_fidelity_page_has_a_source_and_a_test() -> None:
    body = [
        line
        for line in FIDELITY.splitlines()
        if line.startswith("| ") and not line.startswith("| behaviour")
    ]
    assert len(body) > 60
    for line in body:
        cells = line.strip("| ").split(" | ")
        assert len(cells) == 3, line
        assert cells[1].startswith("https://"), line
        assert NAMED_TEST.search(cells[2]), line


def test_the_changelog_is_of_this_version() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert version[1] in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
