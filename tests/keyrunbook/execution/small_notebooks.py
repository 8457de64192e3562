"""Small notebooks for the tests of the runner."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

STEPS = (
    "00_preflight",
    "01_create_key",
    "02_grant_access",
    "03_encrypt_workflow",
    "04_confirm_events",
    "05_revoke_access",
    "06_clean_up",
)


def write_notebook(path: Path, *code: str) -> None:
    """A notebook with a heading, a parameters cell, and one cell for each of `code`."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def cell(kind: str, source: str, **metadata: Any) -> dict[str, Any]:
        extra = {"execution_count": None, "outputs": []} if kind == "code" else {}
        base = {"cell_type": kind, "metadata": metadata, "source": source}
        return base | extra | {"id": f"cell-{len(cells)}"}

    cells: list[dict[str, Any]] = []
    cells.append(cell("markdown", f"# {path.stem}"))
    cells.append(cell("code", "run_id = outputs_dir = target = None", tags=["parameters"]))
    for source in code:
        cells.append(cell("code", source))
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {
        "cells": cells,
        "metadata": {"kernelspec": spec},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(notebook), encoding="utf-8")


def ledger_cell(kind: str, step: str = "x", **fields: Any) -> str:
    """A cell that writes one line into the run's ledger."""
    return (
        "from pathlib import Path\nfrom keyrunbook.ledger import Ledger\n"
        "ledger = Ledger(Path(outputs_dir, run_id, 'ledger.jsonl'))\n"
        f"ledger.append({kind!r}, step={step!r}, time='t', **{fields!r})"
    )


def set_verdict(notebooks: Path, verdict: str | None) -> None:
    """Makes 04 end with that verdict in the ledger."""
    code = "x = 1" if verdict is None else ledger_cell("verdict", verdict=verdict, events=["e-1"])
    write_notebook(notebooks / "04_confirm_events.ipynb", code)


def cells_of(path: Path) -> Sequence[dict[str, Any]]:
    """The code cells of an executed notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]
