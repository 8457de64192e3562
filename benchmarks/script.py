"""The notebooks' code as one plain script: what `benchmarks/run.py` compares the notebooks with.

Usage: python benchmarks/script.py OUTPUTS

The code cells of all seven, one after another in this process, with no kernel, no papermill and no
executed notebook kept. What a cell would show is made, pictures included, and thrown away.
"""

from __future__ import annotations

import ast
import json
import os
import sys
from pathlib import Path
from typing import Any

from keyrunbook import sandboxes
from keyrunbook.execution.runner import notebooks_dir
from keyrunbook.steps import STEPS


def main(outputs: str) -> None:
    """Everything that the notebooks do."""
    with sandboxes.start_private(sandboxes.TLS) as sandbox:
        from keyrunbook.session import open_run  # noqa: F401 - imported while the sandbox starts

        sandbox.ready()
        os.environ.update(sandbox.environment())
        given = {"run_id": "script", "outputs_dir": outputs}
        for step in STEPS:
            run_cells(notebooks_dir() / f"{step}.ipynb", given)
        ledger = (Path(outputs) / "script" / "ledger.jsonl").read_text()
        verdicts = [line for line in map(json.loads, ledger.splitlines()) if "verdict" in line]
        assert verdicts[-1]["verdict"] == "PROVED", verdicts


def run_cells(notebook: Path, given: dict[str, Any]) -> None:
    """Run a notebook's code in a namespace of its own, with these parameters."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        run_cell("".join(cell["source"]), namespace)
        if "parameters" in cell["metadata"].get("tags", ()):
            namespace.update(given)


def run_cell(source: str, namespace: dict[str, Any]) -> None:
    """Run one cell; make what its last expression shows."""
    *statements, last = ast.parse(source).body
    if not isinstance(last, ast.Expr):
        exec(compile(source, "cell", "exec"), namespace)
        return
    exec(compile(ast.Module(statements, []), "cell", "exec"), namespace)
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)
    if hasattr(value, "_repr_mimebundle_"):
        value._repr_mimebundle_()


if __name__ == "__main__":
    main(sys.argv[1])
