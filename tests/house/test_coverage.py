"""docs/coverage.md: every statement of AWS's page has something that holds it, and that exists.

No file outside the project is needed: that each statement is listed was read by people; that no
ordinal is missing, and that what is named exists, is held here.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict

from keyrunbook.parameters import project_dir
from keyrunbook.scorecard import RECOMMENDATIONS
from keyrunbook.steps import STEPS

ROOT = project_dir()
COVERAGE = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
HEADING = re.compile(r"^## (\d+)\. (.+)$", re.MULTILINE)
ROW = re.compile(r"^\| (\d+)\.(\d+) \| (.+) \| (.+) \|$", re.MULTILINE)
NAMED = re.compile(r"`([^`]+)`")
HEAD = "| n | AWS's page says | held by |"
SECTIONS = 9
LEAST = {1: 14, 2: 6, 3: 4, 4: 4, 5: 5, 6: 3, 7: 4, 8: 2, 9: 2}
"""How many statements each section of the page has at least."""


def rows() -> list[tuple[int, int, str, list[str]]]:
    """Section, ordinal, paraphrase, and what holds it."""
    return [
        (int(one[1]), int(one[2]), one[3], NAMED.findall(one[4])) for one in ROW.finditer(COVERAGE)
    ]


def functions_by_file() -> dict[str, set[str]]:
    """The tests of each test file, by its name."""
    return {
        path.name: {
            node.name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef)
        }
        for path in (ROOT / "tests").rglob("test_*.py")
    }


def test_sections_and_ordinals_have_no_gaps() -> None:
    assert [int(one[1]) for one in HEADING.finditer(COVERAGE)] == list(range(1, SECTIONS + 1))
    found = defaultdict(list)
    for section, ordinal, _, _ in rows():
        found[section].append(ordinal)
    assert list(found) == list(range(1, SECTIONS + 1))
    for section, ordinals in found.items():
        assert ordinals == list(range(1, len(ordinals) + 1)), section
        assert len(ordinals) >= LEAST[section], section


def test_no_row_is_read_past() -> None:
    """Each line of a table is a row of the form above, its head, or the line below it."""
    lines = [line for line in COVERAGE.splitlines() if line.startswith("|")]
    heads = [line for line in lines if line in (HEAD, "|---|---|---|")]
    assert len(lines) == len(rows()) + len(heads)
    assert len(heads) == 2 * SECTIONS


def test_what_holds_a_statement_exists() -> None:
    tests, names = functions_by_file(), {one.name for one in RECOMMENDATIONS}
    missing = []
    for section, ordinal, paraphrase, named in rows():
        assert paraphrase.strip()
        assert named, f"{section}.{ordinal} is held by nothing"
        for one in named:
            if one.startswith("scorecard: "):
                there = one.removeprefix("scorecard: ") in names
            elif one.startswith("test_"):
                file, _, test = one.partition("::")
                there = file in tests and (not test or test in tests[file])
            else:
                there = one in STEPS
            if not there:
                missing.append(f"{section}.{ordinal}: {one}")
    assert missing == []


def test_every_recommendation_of_the_scorecard_is_of_the_page() -> None:
    named = {one for _, _, _, names in rows() for one in names}
    assert [one.name for one in RECOMMENDATIONS if f"scorecard: {one.name}" not in named] == []


def test_every_notebook_holds_a_statement() -> None:
    named = {one for _, _, _, names in rows() for one in names}
    assert set(STEPS) <= named
