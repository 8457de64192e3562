"""Dependencies: named with what they earn, pinned exactly, and all that lib/ imports among them."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT_TEXT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROJECT = tomllib.loads(PROJECT_TEXT)
FILES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in (
        "docs/requirements.txt",
        "requirements.txt",
        "tests/browser/requirements.txt",
    )
}
"""What the site and the browser need lies apart.

Where two files pin a package, `pins` has that of requirements.txt.
"""
PINNED_LINES = [
    line
    for text in FILES.values()
    for line in text.splitlines()
    if line.strip() and not line.lstrip().startswith("#")
]
PIN = re.compile(r"([A-Za-z0-9._-]+)==([^\s;]+)(?: ; (.+))?")
PIN_OF_LINE = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)
DIRECT = [
    Requirement(text)
    for text in (
        *PROJECT["project"]["dependencies"],
        *PROJECT["dependency-groups"]["browser"],
        *PROJECT["dependency-groups"]["docs"],
        *PROJECT["dependency-groups"]["test"],
    )
]
OURS = {"keyrunbook", "iamaccess", "awssandbox"}


def pins() -> dict[str, str]:
    """Name to version, of what is installed with this Python on this system."""
    matches = [match for line in PINNED_LINES if (match := PIN.fullmatch(line))]
    return {
        canonicalize_name(name): version
        for name, version, marker in (match.groups() for match in matches)
        if marker is None or Marker(marker).evaluate()
    }


def test_every_line_is_an_exact_pin() -> None:
    """But for the project itself, which is installed in place."""
    assert [line for line in PINNED_LINES if not PIN.fullmatch(line)] == ["-e ."]


def test_make_run_does_not_wait_for_what_the_site_needs() -> None:
    assert "sphinx==" in FILES["docs/requirements.txt"]
    assert "sphinx==" not in FILES["requirements.txt"]


def test_site_and_browser_come_with_the_versions_that_are_there() -> None:
    """But for docutils: the aws command wants one that is older than Sphinx does."""
    versions: dict[str, set[str]] = {}
    for text in FILES.values():
        for name, version in dict(PIN_OF_LINE.findall(text)).items():
            versions.setdefault(name, set()).add(version)
    assert {name for name, pinned in versions.items() if len(pinned) > 1} == {"docutils"}


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_a_direct_dependency_is_pinned_within_its_bounds(requirement: Requirement) -> None:
    """`make requirements` was run after the last change of pyproject.toml."""
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_a_direct_dependency_says_what_it_earns(requirement: Requirement) -> None:
    lines = [line for line in PROJECT_TEXT.splitlines() if f'"{requirement.name}>' in line]
    assert len(lines) == 1
    assert re.search(r'",  # \S.{10,}', lines[0]), lines[0]


def test_all_that_lib_imports_is_a_direct_dependency() -> None:
    """What comes only by way of another package can go with it."""
    declared = {
        canonicalize_name(Requirement(text).name) for text in PROJECT["project"]["dependencies"]
    }
    provided_by = packages_distributions()
    missing = {
        module
        for path in (ROOT / "lib").rglob("*.py")
        for module in imported(path.read_text(encoding="utf-8"))
        if module not in sys.stdlib_module_names | OURS
        and not declared & {canonicalize_name(name) for name in provided_by.get(module, ())}
    }
    assert missing == set()


def imported(code: str) -> set[str]:
    """The top-level modules that a source imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_imports_are_seen_wherever_they_are() -> None:
    code = "import a.b, c\nfrom d.e import f\nfrom . import g\ndef h():\n    import i"
    assert imported(code) == {"a", "c", "d", "i"}


def test_the_python_that_is_needed_is_what_the_tools_check() -> None:
    assert PROJECT["project"]["requires-python"] == ">=3.11"
    assert PROJECT["tool"]["ruff"]["target-version"] == "py311"
