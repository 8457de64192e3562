"""The committed notebooks' outputs: how they are made, and where they can be made again.

    python -m keyrunbook.execution.reference          (make notebooks)

The start notebook and then the seven run, each in a kernel of its own, on a private sandbox with
seed and clock fixed, sharing one run. nbval compares against these outputs in the same place
(`place`). The clock runs at the real rate, so the times in the outputs differ from one making to
the next: nbval sanitizes them, and a notebook whose outputs differ in nothing else is left as it
is. After a change of how pictures look, make all: ``make notebooks ARGS=--all``.
"""

from __future__ import annotations

import argparse
import configparser
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

from keyrunbook import sandboxes
from keyrunbook.execution.lab import START
from keyrunbook.execution.runner import notebooks_dir
from keyrunbook.files import write_atomically
from keyrunbook.parameters import OUTPUTS, Parameters, project_dir
from keyrunbook.session import open_step
from keyrunbook.steps import STEPS

NOTEBOOKS = (START, *STEPS)
"""What is made, in this order: the start notebook shows a run that has just begun."""
RUN_ID = "reference"
SEED = "1"
CLOCK = "2026-01-31T09:00:00Z"
CELL_LIMIT_S = 120
_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


@contextmanager
def place() -> Iterator[dict[str, str]]:
    """A private sandbox and an outputs folder with the run begun; what the environment needs.

    Both end with the context.
    """
    with (
        tempfile.TemporaryDirectory(prefix="keyrunbook-reference-") as folder,
        sandboxes.start_private(sandboxes.TLS, "--seed", SEED, "--clock", CLOCK) as sandbox,
    ):
        sandbox.ready()
        environment = {**sandbox.environment(), OUTPUTS: folder}
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        try:
            open_step(STEPS[0], Parameters(run_id=RUN_ID))
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        yield environment


def execute(notebook: Any, folder: Path, environment: dict[str, str]) -> Any:
    """Run a notebook's cells in a fresh kernel; only cells, tags, ids and outputs are kept.

    Raises CellExecutionError when a cell fails.
    """
    from nbclient import NotebookClient

    from keyrunbook.execution.kernels import kernel_manager

    client = NotebookClient(
        notebook,
        km=kernel_manager(),
        timeout=CELL_LIMIT_S,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.owns_km = True  # else the kernel is left running
    done = client.execute(env={**os.environ, **environment})
    done.metadata = nbformat.from_dict(_METADATA)  # type: ignore[no-untyped-call]
    for cell in done.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})  # type: ignore[no-untyped-call]
    return done


def sanitizers(path: Path) -> list[tuple[re.Pattern[str], str]]:
    """The regular expressions of an nbval sanitizer file, with what each puts in its place."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(path.read_text(encoding="utf-8"))
    return [
        (re.compile(parser[name]["regex"], re.MULTILINE), parser[name]["replace"])
        for name in parser.sections()
    ]


def same(one: Any, other: Any, hidden: Sequence[tuple[re.Pattern[str], str]]) -> bool:
    """Whether two notebooks differ only in what the sanitizers hide."""

    def plain(notebook: Any) -> str:
        text: str = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
        for pattern, word in hidden:
            text = pattern.sub(word, text)
        return text

    return plain(one) == plain(other)


def main(words: Sequence[str] | None = None) -> int:
    """Make the outputs of all notebooks; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="also where only times differ")
    options = parser.parse_args(words)
    hidden = sanitizers(project_dir() / "tests" / "notebooks" / "sanitize.cfg")
    folder = notebooks_dir()
    with place() as environment:
        for name in NOTEBOOKS:
            path = folder / f"{name}.ipynb"
            before = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
            after = nbformat.from_dict(before)  # type: ignore[no-untyped-call]
            after = execute(after, folder, environment)
            changed = options.all or not same(before, after, hidden)
            if changed:
                text = nbformat.writes(after)  # type: ignore[no-untyped-call]
                write_atomically(path, text.rstrip("\n") + "\n")
            print(f"{name}: {'written' if changed else 'as it was'}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
