"""The ledger of a run: append-only JSON Lines; the memory between notebooks.

Every line has `n` (its number), `time` (the service's, ISO 8601 UTC), `step` and `kind`:

- ``opened``: who, where, on what; once, at the start of the run
- ``intent``, ``outcome``: before and after each mutating call
- ``facts``: values that later steps build on (`key_arn`, `workflow_arn`, …)
- ``read``: a GetWorkflow call, for whose record the proof looks
- ``build``: how a build that used the workflow as the execution role came out
- ``lock_out_check``: a key policy that could not be judged before it was sent, and why
- ``findings``, ``verdict``: what a step found
- ``error``: why a step ended early
- ``done``: a step came to its end
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from keyrunbook.errors import OutputsNotWritable, ParameterError

NAME = "ledger.jsonl"


class Ledger:
    """One run's ledger, at `path`. Appending is safe between processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, kind: str, *, step: str, time: str, **fields: Any) -> None:
        """Write one line and have the system store it before returning.

        Raises ParameterError, with the line's number, where the ledger is damaged.
        """
        with self._lock():
            n = len(self._read(self.path.read_bytes() if self.path.exists() else b"")) + 1
            line = {"n": n, "time": time, "step": step, "kind": kind, **fields}
            text = json.dumps(line, ensure_ascii=False, default=str) + "\n"
            with self.path.open("ab") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())

    def entries(self) -> list[dict[str, Any]]:
        """All lines. Raises ParameterError, with the line's number, where one is damaged."""
        try:
            content = self.path.read_bytes()
            if content and not content.endswith(b"\n"):  # perhaps just being written
                with self._lock():
                    content = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return []
        return self._read(content)

    def _lock(self) -> FileLock:
        return FileLock(self.path.with_suffix(".lock"))

    def _read(self, content: bytes) -> list[dict[str, Any]]:
        *lines, rest = content.split(b"\n")
        entries = [self._entry(number, line) for number, line in enumerate(lines, 1)]
        if rest:
            raise self._damaged(len(lines) + 1, "its end is missing")
        return entries

    def _entry(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise self._damaged(number, str(error)) from error
        if not isinstance(entry, dict) or not entry.keys() >= {"n", "time", "step", "kind"}:
            raise self._damaged(number, "it is not an entry")
        if entry["n"] != number:
            raise self._damaged(
                number, f"it is entry {entry['n']}, so lines are missing or doubled"
            )
        return entry

    def _damaged(self, number: int, reason: str) -> ParameterError:
        return ParameterError(
            f"{self.path}, line {number}, is damaged: {reason}.",
            "The run cannot go on from it; start a new run.",
        )

    def of_kind(self, kind: str, step: str | None = None) -> list[dict[str, Any]]:
        """The lines of one kind, and of one step when given."""
        return [
            entry
            for entry in self.entries()
            if entry["kind"] == kind and step in (None, entry["step"])
        ]

    def opened(self) -> Mapping[str, Any] | None:
        """The line that opened the run, or None."""
        return next((entry for entry in self.entries() if entry["kind"] == "opened"), None)

    def facts(self) -> dict[str, Any]:
        """What the run knows so far; a later line overrides an earlier one."""
        known: dict[str, Any] = {}
        for entry in self.entries():
            if entry["kind"] == "facts":
                known.update(entry["facts"])
        return known

    def done(self) -> set[str]:
        """The steps that came to their end."""
        return {entry["step"] for entry in self.entries() if entry["kind"] == "done"}


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

    Raises OutputsNotWritable.
    """
    folder = outputs_dir / run_id
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputsNotWritable(
            f"The run's folder {folder} cannot be written: {error.strerror}.",
            "Give another folder by --outputs (outputs_dir), or mend its permissions.",
        ) from error
    return folder
