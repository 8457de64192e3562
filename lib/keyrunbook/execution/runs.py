"""The runs of an outputs folder: what ledger and `result.json` say of each, and how it ended.

Only reads. Whether a run that says `running` still does is asked of the system: its process must
live, and hold the run's lock, since a process id may have been given to somebody else meanwhile.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keyrunbook.errors import ApprovalRequired, LedgerDamaged, ParameterError, RunBusy
from keyrunbook.execution.result import RESULT_FILE, stored_result
from keyrunbook.execution.selection import CONFIRM, Selection
from keyrunbook.ledger import NAME, Ledger
from keyrunbook.parameters import OF_ONE_CALL
from keyrunbook.steps import STEPS, standing

NAMED = 10  # runs that an error message names


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run. None where nobody said it; `damage` says what could not be read, and where."""

    run_id: str
    began: str | None = None  # ISO 8601, UTC
    target: str | None = None
    account: str | None = None
    region: str | None = None
    steps_done: tuple[str, ...] = ()
    verdict: str | None = None
    ended: str = ""
    standing: tuple[str, ...] = ()  # what somebody has to end, by the ledger
    damage: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As `runbook runs --json` has it."""
        return asdict(self)


def run_ids(outputs: Path) -> list[str]:
    """The runs of a folder, by their folders' names, the one last written first.

    A folder is a run's when it holds a ledger or a result.
    """
    written: dict[str, float] = {}
    for name in (NAME, RESULT_FILE):
        for path in outputs.glob(f"*/{name}"):
            run_id = path.parent.name
            written[run_id] = max(path.stat().st_mtime, written.get(run_id, 0))
    return sorted(written, key=lambda run_id: (-written[run_id], run_id))


def summary(outputs: Path, run_id: str) -> RunSummary:
    """What is known of a run."""
    folder = outputs / run_id
    damage: list[str] = []
    entries: list[dict[str, Any]] = []
    result: Mapping[str, Any] = {}
    try:
        entries = Ledger(folder / NAME).entries()
    except LedgerDamaged as error:
        damage.append(error.what)
    try:
        result = stored_result(folder)
    except ParameterError as error:
        damage.append(error.what)
    opened = next((entry for entry in entries if entry["kind"] == "opened"), {})
    verdicts = [entry["verdict"] for entry in entries if entry["kind"] == "verdict"]
    began = opened.get("time") or result.get("started")
    return RunSummary(
        run_id,
        None if began is None else str(began).replace("+00:00", "Z"),
        opened.get("target") or result.get("target"),
        opened.get("account") or result.get("account"),
        opened.get("region") or result.get("region"),
        tuple(sorted({one["step"] for one in entries if one["kind"] == "done"} & set(STEPS))),
        verdicts[-1] if verdicts else result.get("verdict"),
        how_it_ended(folder, result),
        tuple(standing.told(entries, run_id, outputs)),
        " ".join(damage) or None,
    )


def begun_with(folder: Path) -> dict[str, Any]:
    """The parameters that a run was begun with: as it was opened, last planned, last run.

    Without those that say which run it is, where, and what is done with it now. Nothing, where
    there is no such run. Raises LedgerDamaged, and ParameterError for a damaged `result.json`.
    """
    kept: dict[str, Any] = {}
    for entry in Ledger(folder / NAME).entries():
        if entry["kind"] in ("opened", "plan"):
            kept |= (entry if entry["kind"] == "opened" else entry["plan"])["parameters"]
    kept |= stored_result(folder).get("parameters") or {}
    return {
        name: value
        for name, value in kept.items()
        if value is not None and name not in OF_ONE_CALL | {"target"}
    }


def how_it_ended(folder: Path, result: Mapping[str, Any]) -> str:
    """In words, from what `result.json` says; without one it was planned, or run by hand."""
    if not result:
        try:
            kinds = {entry["kind"] for entry in Ledger(folder / NAME).entries()}
        except LedgerDamaged:  # told where the ledger is read
            kinds = set()
        if "plan" in kinds and "intent" not in kinds:
            return "planned, nothing changed yet"
        return "no result.json: its notebooks were opened by hand"
    pid, at = result["pid"], _place(result)
    if result["status"] == "running":
        if _is_running(folder, result):
            return f"running (process {pid}){at}"
        return f"its process is gone (process {pid}){at}"
    if result["status"] == "done":
        return f"done, exit status {result.get('exit_status')}"
    error = result.get("error") or {}
    if error.get("exit_status") == ApprovalRequired.exit_status:
        return f"waits for approval{at}"
    why = f": {error['type']}" if error.get("type") and result["status"] == "failed" else ""
    return f"{result['status']}{at}{why}"


def _place(result: Mapping[str, Any]) -> str:
    """The step that it stands in, or stopped in."""
    at = [step["name"] for step in result["steps"] if step["status"] in ("running", "failed")]
    return f" in {at[-1]}" if at else ""


def _is_running(folder: Path, result: Mapping[str, Any]) -> bool:
    """Whether the process of a run that says so still runs it."""
    return _lives(result["pid"]) and _is_held(folder / ".lock")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, so it lives
        return True
    return True


def _is_held(lock: Path) -> bool:
    """Whether the process that runs the run holds its lock."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def check_not_running(folder: Path, result: Mapping[str, Any]) -> None:
    """Raise RunBusy, naming the process, where the run's process lives."""
    if result.get("status") == "running" and _is_running(folder, result):
        raise RunBusy(
            f"Run {folder.name} is being run by process {result['pid']}.",
            "Wait until it has ended.",
        )


def left_to_do(
    selection: Selection, result: Mapping[str, Any], entries: Iterable[Mapping[str, Any]]
) -> tuple[str, ...]:
    """The steps of the selection that a resumed run does, by its result and its ledger's entries.

    A step is done where the ledger says so, unless the run was in it when it stopped: then its
    notebook is not whole. 04 is done once it has a verdict that more records cannot change.
    """
    done: set[str] = set()
    verdict = None
    for entry in entries:
        if entry["kind"] == "done":
            done.add(entry["step"])
        elif entry["kind"] == "verdict":
            verdict = entry["verdict"]
    stopped = ("failed", "running", "not run")
    done -= {step["name"] for step in result.get("steps", ()) if step["status"] in stopped}
    if verdict == "NOT_YET":
        done.discard(CONFIRM)
    return tuple(
        name
        for name in selection.steps
        if name not in done
        and (verdict != "REFUTED" or selection.by_name or not selection.after_proof(name))
    )


def existing(outputs: Path, run_id: str) -> Path:
    """The folder of a run.

    Raises ParameterError, naming the runs that there are, where there is no such run.
    """
    there = run_ids(outputs)
    if run_id in there:
        return outputs / run_id
    names = ", ".join(there[:NAMED]) + (f" and {len(there) - NAMED} more" * (len(there) > NAMED))
    raise ParameterError(
        f"There is no run {run_id!r} in {outputs}.",
        f"The runs there, newest first: {names}." if there else "Begin one with: runbook run",
    )
