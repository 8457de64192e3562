"""The ledger of a run: append-only JSON Lines; the memory between notebooks.

Every line has `n` (its number), `time` (the service's, ISO 8601 UTC), `step` and `kind`:

- ``opened``: who, where, on what; once, at the start of the run
- ``intent``, ``outcome``: before and after each mutating call
- ``facts``: values that later steps build on (`key_arn`, `workflow_arn`, …)
- ``findings``, ``verdict``: what a step found
- ``error``: why a step ended early
- ``done``: a step came to its end
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from keyrunbook.errors import ParameterError

NAME = "ledger.jsonl"


class Ledger:
    """One run's ledger, at `path`. Appending is safe between processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, kind: str, *, step: str, time: str, **fields: Any) -> None:
        """Write one line and have the system store it before returning."""
        with FileLock(self.path.with_suffix(".lock")):
            line = {"n": self._count() + 1, "time": time, "step": step, "kind": kind, **fields}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
                file.flush()
                os.fsync(file.fileno())

    def _count(self) -> int:
        if not self.path.exists():
            return 0
        with self.path.open("rb") as file:
            return sum(1 for _ in file)

    def entries(self) -> list[dict[str, Any]]:
        """All lines. Raises ParameterError, with the line's number, when one is not JSON."""
        return list(self._read())

    def _read(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as error:
                    raise ParameterError(
                        f"{self.path}, line {number}, is damaged: {error}.",
                        "The run cannot go on from it; start a new run.",
                    ) from error

    def of_kind(self, kind: str, step: str | None = None) -> list[dict[str, Any]]:
        """The lines of one kind, and of one step when given."""
        return [
            entry
            for entry in self._read()
            if entry["kind"] == kind and step in (None, entry["step"])
        ]

    def opened(self) -> Mapping[str, Any] | None:
        """The line that opened the run, or None."""
        return next((entry for entry in self._read() if entry["kind"] == "opened"), None)

    def facts(self) -> dict[str, Any]:
        """What the run knows so far; a later line overrides an earlier one."""
        known: dict[str, Any] = {}
        for entry in self._read():
            if entry["kind"] == "facts":
                known.update(entry["facts"])
        return known

    def done(self) -> set[str]:
        """The steps that came to their end."""
        return {entry["step"] for entry in self._read() if entry["kind"] == "done"}


def new_run_id() -> str:
    """A name for a new run: today's date and four random letters."""
    return f"{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(3)}"


def find_run(outputs_dir: Path, last_step: str) -> str | None:
    """The newest run in `outputs_dir` that has not come to its `last_step`, or None."""
    ledgers = sorted(
        outputs_dir.glob(f"*/{NAME}"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    for path in ledgers:
        if last_step not in Ledger(path).done():
            return path.parent.name
    return None


def run_folder(outputs_dir: Path, run_id: str) -> Path:
    """The run's folder, made where missing.

    Raises ParameterError when it cannot be written.
    """
    folder = outputs_dir / run_id
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ParameterError(
            f"{folder} cannot be written: {error.strerror}.",
            "Give another folder by --outputs (outputs_dir), or mend its permissions.",
        ) from error
    return folder
