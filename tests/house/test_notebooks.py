"""Rules of the notebooks: chapters to read and run, without logic, parameters on top."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from keyrunbook.parameters import Parameters

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
OF_STEPS = sorted(FOLDER.glob("0*.ipynb"))
STARTS_A_RUN = ("00_preflight", "01_create_key")
MAX_LINES = 8
LIMITS = {"lookup_calls", "settle_seconds", "answer_seconds", "start_seconds", "cell_seconds"}
"""Parameters that every step heeds and no notebook shows: who needs them gives them by name."""
MAGIC = re.compile(r"^\s*[!%]", re.MULTILINE)
LOGIC = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.Try,
    ast.TryStar,
    ast.While,
    ast.For,
)


def source(cell: dict[str, Any]) -> str:
    """A cell's text, which notebooks store whole or as lines."""
    text = cell["source"]
    return text if isinstance(text, str) else "".join(text)


def logic_in(code: str) -> Iterator[str]:
    """What a cell holds that belongs into the library."""
    if MAGIC.search(code):
        yield "a shell command or a magic"
        return
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) > MAX_LINES:
        yield f"{len(lines)} lines of code"
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, LOGIC):
            yield type(node).__name__
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path":
            yield "sys.path"


def is_parameters(cell: dict[str, Any]) -> bool:
    return "parameters" in cell["metadata"].get("tags", ())


def parameters_of(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """The names and values of the parameters cell, which holds nothing but literals."""
    [cell] = filter(is_parameters, cells)
    values = {}
    for node in ast.parse(source(cell)).body:
        assert isinstance(node, ast.Assign), ast.unparse(node)
        [name] = node.targets
        values[ast.unparse(name)] = ast.literal_eval(node.value)
    return values


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    chosen: Path = request.param
    return chosen


@pytest.fixture
def notebook(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


@pytest.fixture
def cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = notebook["cells"]
    return listed


def test_there_are_seven_and_one_to_start_from() -> None:
    assert [path.stem[:2] for path in OF_STEPS] == [f"0{number}" for number in range(7)]
    assert [path.stem for path in NOTEBOOKS if path not in OF_STEPS] == ["start"]


def test_cells_have_no_logic(cells: list[dict[str, Any]]) -> None:
    """At most eight lines; no def, class, lambda, try, loop, magic. A parameters cell is data."""
    code = [c for c in cells if c["cell_type"] == "code" and not is_parameters(c)]
    assert {c["id"]: found for c in code if (found := list(logic_in(source(c))))} == {}


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("x = 1\n" * 9, "9 lines of code"),
        ("def f(): ...", "FunctionDef"),
        ("class C: ...", "ClassDef"),
        ("f = lambda: 1", "Lambda"),
        ("try:\n    f()\nexcept ValueError: ...", "Try"),
        ("for page in pages: print(page)", "For"),
        ("while True: ...", "While"),
        ("import sys\nsys.path.append('lib')", "sys.path"),
        ("x = 1\n!cp a b", "a shell command or a magic"),
        ("%run other.ipynb", "a shell command or a magic"),
    ],
)
def test_logic_is_seen(code: str, seen: str) -> None:
    assert list(logic_in(code)) == [seen]


def test_the_first_cell_asks_a_question_and_says_what_it_takes(cells: list[dict[str, Any]]) -> None:
    text = source(cells[0])
    assert cells[0]["cell_type"] == "markdown"
    assert text.startswith("# ")
    assert "**The question.**" in text
    assert re.search(r"^\| you need \| minutes \| cost[^|]* \| undo \|$", text, re.MULTILINE)


def test_parameters_are_fields_of_the_model(path: Path, cells: list[dict[str, Any]]) -> None:
    """With the model's defaults. Where a run may begin, the target is the sandbox."""
    defaults = Parameters().model_dump()
    if path.stem in STARTS_A_RUN:
        defaults["target"] = "sandbox"
    given = parameters_of(cells)
    assert given == {name: defaults[name] for name in given}


@pytest.mark.parametrize("path", OF_STEPS, ids=lambda path: path.stem)
def test_every_step_can_be_told_where_it_works(path: Path) -> None:
    names = list(parameters_of(json.loads(path.read_text(encoding="utf-8"))["cells"]))
    assert names[:5] == ["run_id", "outputs_dir", "target", "region", "profile"]
    assert names[5:8] == ["account", "use_fips", "read_only"]


def test_every_parameter_is_some_notebooks() -> None:
    """A field of the model that no notebook has would be accepted, and mean nothing."""
    notebooks = [json.loads(path.read_text(encoding="utf-8")) for path in NOTEBOOKS]
    used = {name for notebook in notebooks for name in parameters_of(notebook["cells"])}
    assert used | LIMITS == set(Parameters.model_fields)


@pytest.mark.parametrize("path", OF_STEPS, ids=lambda path: path.stem)
def test_every_step_has_its_form_and_ends_with_a_checkpoint(path: Path) -> None:
    """The form stands below the parameters; the checkpoint reads AWS and links on, and back."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    at = next(at for at, cell in enumerate(cells) if is_parameters(cell))
    assert f'parameters_form("{path.stem}", globals())' in source(cells[at + 1])
    headings = [at for at, cell in enumerate(cells) if source(cell).startswith("## ")]
    assert source(cells[headings[-1]]).startswith("## Checkpoint\n\n")
    ending = "".join(map(source, cells[headings[-1] :]))
    assert any(verb in ending for verb in ("step.verify(run)", "step.conclusion(verdict)"))
    following = OF_STEPS[OF_STEPS.index(path) + 1 :][:1]
    linked = re.findall(r"\]\(([^)]+\.ipynb)\)", source(cells[-1]))
    assert linked == [*(one.name for one in following), "start.ipynb"]


def test_any_python_3_kernel_opens_it(notebook: dict[str, Any]) -> None:
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)


def test_cells_have_ids_of_their_own(cells: list[dict[str, Any]]) -> None:
    ids = [cell["id"] for cell in cells]
    assert len(set(ids)) == len(ids)
