"""Rules of the exercises' notebooks: a story, no logic, and what the library says of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from keyrunbook.exercises import LESSONS
from keyrunbook.exercises.exercise import solution_text
from test_docs import README
from test_notebooks import NOTEBOOKS, logic_in, source

FOLDER = NOTEBOOKS[0].parent / "exercises"
INDEX = FOLDER / "00_index.ipynb"


def cells_of(path: Path) -> list[dict[str, Any]]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells: list[dict[str, Any]] = notebook["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    return cells


def test_there_is_one_for_each_lesson_and_an_index() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == [INDEX.stem, *LESSONS]
    assert len(LESSONS) >= 8


def test_the_index_lists_them_with_minutes_and_what_one_learns() -> None:
    text = source(cells_of(INDEX)[0])
    rows = re.findall(r"^\| \[(\d\d) · (.+)\]\((.+)\.ipynb\) \| (\d+) \| (.+) \|$", text, re.M)
    assert rows == [
        (name[:2], one.title, name, str(one.minutes), one.learn) for name, one in LESSONS.items()
    ]


def test_the_readme_names_the_index() -> None:
    assert "notebooks/exercises/00_index.ipynb" in README


@pytest.mark.parametrize("name", LESSONS)
def test_an_exercise_is_a_story_a_turn_a_check_and_a_closed_solution(name: str) -> None:
    lesson = LESSONS[name]
    assert 5 <= lesson.minutes <= 10
    assert len(lesson.hints) >= 2
    cells = cells_of(FOLDER / f"{name}.ipynb")
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert {one["id"]: found for one in code if (found := list(logic_in(source(one))))} == {}
    first, last = source(cells[0]), source(cells[-1])
    assert first.startswith(f"# Exercise {name[:2]} · {lesson.title}\n\n**The situation.** ")
    assert f"| minutes | you learn |\n|---|---|\n| {lesson.minutes} | {lesson.learn} |" in first
    text = "\n".join(source(cell) for cell in cells)
    assert lesson.task[1:] in text
    assert source(code[-1]) == "exercise.check()"
    solution = f"```python\n{solution_text(lesson)}\n```\n\n{lesson.moral}"
    assert f"</summary>\n\n{solution}\n\n</details>" in last
    assert text.count("<details>") == 1


@pytest.mark.parametrize("name", LESSONS)
def test_nothing_of_a_run_is_stored(name: str) -> None:
    """An account's number and its keys' are others each time."""
    for cell in cells_of(FOLDER / f"{name}.ipynb"):
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
