"""`result.json`: what became of a run, however it ended.

It is written with status `running` and the writer's process id before the first step, replaced
atomically at each step, and once more at the end. A file that still says `running` while no such
process lives belongs to a run that was killed; the step it names as `running` did not end.
papermill's own marks in the executed notebooks are not the authority: it marks the cells of a
notebook whose kernel died as completed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from keyrunbook.errors import ParameterError
from keyrunbook.execution.selection import Selection
from keyrunbook.files import write_atomically

StepStatus = Literal["done", "failed", "skipped", "not run", "running"]
RunStatus = Literal["running", "done", "failed", "interrupted"]
Verdict = Literal["PROVED", "REFUTED", "NOT_YET"]

RESULT_FILE = "result.json"

EXIT_STATUS_OF_VERDICT: Mapping[str, int] = {"PROVED": 0, "REFUTED": 1, "NOT_YET": 3}


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step. `skipped`: was not asked for. `not run`: asked for, never reached.

    `running` stands only in a result whose own status is `running`.
    """

    name: str
    status: StepStatus
    seconds: float | None = None
    notebook: str | None = None  # the executed notebook's file name in the run's folder


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run failed: one sentence, and what to do about it."""

    type: str
    what: str
    fix: str
    exit_status: int
    step: str | None = None
    cell: int | None = None  # position in the executed notebook, from 1


@dataclass(frozen=True, slots=True)
class RunResult:
    """The whole of `result.json`; `account` to `events` are what the ledger says.

    `selection` and `parameters` are what the run was begun with, and is gone on with.
    """

    run_id: str
    target: str
    outputs: str  # the run's folder
    status: RunStatus
    pid: int
    started: str  # ISO 8601, UTC
    finished: str | None = None
    exit_status: int | None = None
    account: str | None = None
    region: str | None = None
    endpoint_url: str | None = None  # where it is not AWS's own
    verdict: Verdict | None = None
    key_arn: str | None = None
    workflow_arn: str | None = None
    events: tuple[str, ...] = ()
    steps: tuple[StepResult, ...] = ()
    error: RunError | None = field(default=None)
    selection: Selection | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def step(self, name: str) -> StepResult:
        """The step of that name.

        Raises:
            KeyError: there is none.
        """
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    def with_step(self, name: str, **changes: Any) -> RunResult:
        """The same result with one step changed."""
        steps = tuple(
            dataclasses.replace(step, **changes) if step.name == name else step
            for step in self.steps
        )
        return dataclasses.replace(self, steps=steps)

    def to_json(self) -> str:
        """The text of `result.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"


def write_result(result: RunResult) -> None:
    """Puts `result.json` into the run's folder.

    Raises:
        OSError: see `write_atomically`.
    """
    write_atomically(Path(result.outputs) / RESULT_FILE, result.to_json())


def stored_result(folder: Path) -> Mapping[str, Any]:
    """What `result.json` holds; nothing where there is none.

    Raises ParameterError, naming the file, where it is not a result.
    """
    path = folder / RESULT_FILE
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        _ = result["status"], result["pid"], [StepResult(**step) for step in result["steps"]]
        if result.get("selection") is not None:
            Selection(**result["selection"])
        dict(result.get("parameters", {}))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ParameterError(
            f"{path} is damaged: {type(error).__name__}: {error}.",
            "The ledger beside it holds what was done. Move the file away to go on without it: "
            "with the default steps, and the parameters that the ledger has.",
        ) from error
    return dict(result)


def earlier_selection(folder: Path) -> Selection | None:
    """The steps that the run was begun with, or None for a new run. Raises as `stored_result`."""
    stored = stored_result(folder).get("selection")
    return None if stored is None else Selection(tuple(stored["steps"]), stored["by_name"])


def earlier_steps(folder: Path) -> dict[str, StepResult]:
    """The steps that an earlier part of the same run ended, by name; {} for a new run.

    A step that was `running` when its process was killed counts as failed.
    Raises ParameterError where `result.json` is damaged.
    """
    steps = [StepResult(**step) for step in stored_result(folder).get("steps", ())]
    return {
        step.name: dataclasses.replace(step, status="failed") if step.status == "running" else step
        for step in steps
        if step.status in ("done", "failed", "running")
    }
