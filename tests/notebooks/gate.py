"""What nbval does not see: it passes a cell that is stored without outputs, whatever it does now.

`problems` names what is wrong with a committed notebook; an empty list lets it pass.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

SECRETS = (
    re.compile(r"\b(?:AKIA|ASIA)(?!IOSFODNN7EXAMPLE)[A-Z0-9]{16}\b"),
    re.compile(r"(?<![A-Za-z0-9/+=])(?=[A-Za-z0-9/+]*[A-Z])(?=[A-Za-z0-9/+]*\d)"
               r"(?=[A-Za-z0-9/+]*[a-z])[A-Za-z0-9/+]{40,}={0,2}(?![A-Za-z0-9/+=])"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
)
PATHS = re.compile(r"(?<![\w.:/])/(?:home|Users|root|tmp|work|var|private|opt)/[^\s\"'<]+")
ADDRESS = re.compile(r"\b(?:0x[0-9a-f]{6,}|(?:127\.0\.0\.1|localhost):\d+)\b")


def problems(notebook: Any) -> list[str]:
    """Everything that is wrong, each with its cell's number from 1."""
    return [*_whole(notebook), *_cells(notebook)]


def _whole(notebook: Any) -> Iterator[str]:
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "the kernelspec is not python3"
    unknown = set(notebook.metadata) - {"kernelspec", "language_info"}
    if unknown:
        yield f"metadata that no reader needs: {', '.join(sorted(unknown))}"
    ids = [cell.get("id") for cell in notebook.cells]
    if None in ids or len(set(ids)) != len(ids):
        yield "a cell has no id, or two have the same"
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    if len(tagged) != 1:
        yield f"{len(tagged)} cells are tagged parameters, not one"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in code]
    if counts != list(range(1, len(code) + 1)):
        yield f"the cells did not run in order from the top: {counts}"


def _cells(notebook: Any) -> Iterator[str]:
    for number, cell in enumerate(notebook.cells, 1):
        extra = set(cell.metadata) - {"tags"}
        if extra:
            yield f"cell {number}: metadata that no reader needs: {', '.join(sorted(extra))}"
        if set(cell.metadata.get("tags", ())) - {"parameters"}:
            yield f"cell {number}: a tag that hides something from nbval or papermill"
        if "NBVAL_" in cell.source:
            yield f"cell {number}: a marker that hides something from nbval"
        if cell.cell_type != "code":
            continue
        if not cell.outputs and shows(cell.source):
            yield f"cell {number}: shows a value, and is stored without output"
        for output in cell.outputs:
            yield from (f"cell {number}: {problem}" for problem in _output(output))


def shows(source: str) -> bool:
    """Whether a cell ends in an expression, whose value Jupyter shows."""
    body = ast.parse(source).body
    return bool(body) and isinstance(body[-1], ast.Expr)


def _output(output: Any) -> Iterator[str]:
    if output.output_type == "error":
        yield "an error is stored"
    if output.output_type == "stream" and output.name == "stderr":
        yield "something was written to stderr"
    if output.output_type in ("display_data", "execute_result"):
        if "text/plain" not in output.data:
            yield "an output has no text for those who do not see it"
        if "image/png" in output.data and "alt=" not in output.data.get("text/html", ""):
            yield "a picture has no alternative text"
    text = "\n".join(
        str(value) for kind, value in output.get("data", {}).items() if kind != "image/png"
    ) + str(output.get("text", ""))
    # Pictures inside HTML are long runs of letters; they are no secret, and have no words.
    text = re.sub(r"data:image/(?:png|svg\+xml);base64,[A-Za-z0-9/+=]+", "", text)
    for pattern in SECRETS:
        if found := pattern.search(text):
            yield f"something like a secret: {found[0][:8]}…"
    if found := PATHS.search(text):
        yield f"a path of one machine: {found[0]}"
    if found := ADDRESS.search(text):
        yield f"an address that differs each time: {found[0]}"
