"""Runs the notebooks of a run, one after the other, and tells the truth about it.

Order of things: the sandbox and the kernel are started first, as processes of their own, and boot
while this process imports papermill. Then one notebook after the other runs in that one kernel,
which is reset in between (`kernels` tells the trade-off). The first step that fails ends the run.
However it ends, the kernel and a private sandbox end with it, and `result.json` says what happened.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

import keyrunbook.errors
from keyrunbook.aws.wait import NotYet, wait_until
from keyrunbook.errors import RunbookError, RunBusy
from keyrunbook.execution.progress import Progress
from keyrunbook.execution.result import (
    EXIT_STATUS_OF_VERDICT,
    RESULT_FILE,
    RunError,
    RunResult,
    StepResult,
    earlier_selection,
    earlier_steps,
    write_result,
)
from keyrunbook.execution.selection import CONFIRM, Selection, united
from keyrunbook.ledger import NAME, facts_of, run_folder
from keyrunbook.parameters import OUTPUTS, outputs_words, project_dir

if TYPE_CHECKING:
    from keyrunbook.execution.kernels import WarmKernel

KERNEL_LOG = "kernel.log"  # what the kernel's process says outside any cell; only if it does
INTERRUPTED = 130


class Journal(Protocol):
    """What the runner reads of a run's ledger."""

    def entries(self) -> Sequence[Mapping[str, Any]]: ...


class Sandbox(Protocol):
    """A sandbox on its way: `keyrunbook.sandboxes`."""

    def ready(self) -> Any: ...

    def ended(self) -> RunbookError | None: ...

    def environment(self) -> Mapping[str, str]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run.

    `parameters`: the values that the notebooks get, by name; `run_id`, `outputs_dir` and `target`
    are added to them. `all_steps`: the runbook's steps in order, of which `selection` takes some.
    `done`: those of the selection that an earlier part of the run has done, and that this leaves.
    """

    run_id: str
    target: str
    outputs_dir: Path
    selection: Selection
    all_steps: Sequence[str]
    parameters: Mapping[str, Any]
    cell_limit_s: int = 3600
    start_limit_s: int = 60
    done: frozenset[str] = frozenset()

    @property
    def to_do(self) -> tuple[str, ...]:
        """The steps that are run."""
        return tuple(name for name in self.selection.steps if name not in self.done)

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return self.outputs_dir / self.run_id


class Interrupted(KeyboardInterrupt):
    """SIGINT, SIGTERM or SIGHUP."""


def notebooks_dir() -> Path:
    """The project's `notebooks/`, which lies beside `lib/`.

    Raises:
        RunbookError: it is not there, because only the packages were copied.
    """
    folder = project_dir() / "notebooks"
    if not folder.is_dir():
        raise RunbookError(
            f"The notebooks are not in {folder}.",
            "Install the project in place (pip install -r requirements.txt in its own folder).",
        )
    return folder


def run(
    order: Order,
    progress: Progress,
    *,
    sandbox: Callable[[], Sandbox] | None,
    journal: Callable[[Path], Journal],
    notebooks: Path | None = None,
    kernel: WarmKernel | None = None,
) -> RunResult:
    """Runs the selected steps and returns what is in `result.json`.

    `sandbox` starts the one this run shall have for itself; None when it talks to AWS or to a
    sandbox that others own. `journal` opens the ledger at a path. `kernel`: a started one, which is
    left running; else the run has its own. Notebooks that fail, a kernel that dies, a signal: all
    end in the result, none is raised.

    Raises:
        RunbookError: the run could not begin: no folder, somebody else runs it, no notebooks.
    """
    folder = order.folder
    source = notebooks_dir() if notebooks is None else notebooks
    missing = [name for name in order.selection.steps if not (source / f"{name}.ipynb").is_file()]
    if missing:
        raise RunbookError(
            f"There is no notebook {missing[0]}.ipynb in {source}.",
            "Restore it (git checkout notebooks), or leave the step out with --steps.",
        )
    run_folder(order.outputs_dir, order.run_id)
    with _alone(folder, order.run_id), _Signals() as signals:
        ledger = journal(folder / NAME)
        return _Run(order, progress, source, ledger).run(sandbox, kernel, signals)


class _Run:
    """One call of `run`; also the engine's listener."""

    def __init__(self, order: Order, progress: Progress, source: Path, ledger: Journal) -> None:
        self._order = order
        self._progress = progress
        self._source = source
        self._ledger = ledger
        self._begin = self._offset = len(ledger.entries())
        self._cell: tuple[int, str, str] | None = None
        self._completed = False
        self._own: Sandbox | None = None
        earlier = earlier_steps(order.folder)
        self._result = RunResult(
            run_id=order.run_id,
            target=order.target,
            outputs=str(order.folder),
            status="running",
            pid=os.getpid(),
            started=_now(),
            steps=tuple(
                StepResult(name, "not run")
                if name in order.to_do
                else earlier.get(
                    name, StepResult(name, "done" if name in order.done else "skipped")
                )
                for name in order.all_steps
            ),
            selection=united(earlier_selection(order.folder), order.selection),
            parameters=order.parameters,
        )

    # What the engine tells.

    def cell_started(self, index: int, cells: int, title: str) -> None:
        self._progress.cell(index, cells, title)

    def cell_failed(self, index: int, type_: str, what: str) -> None:
        self._cell = (index, type_, what)

    def notebook_completed(self) -> None:
        self._completed = True

    # The run.

    def run(
        self,
        sandbox: Callable[[], Sandbox] | None,
        given: WarmKernel | None,
        signals: _Signals,
    ) -> RunResult:
        own: Sandbox | None = None
        kernel = given
        try:
            self._read_ledger()
            self._write()
            self._progress.started(self._result)
            if not self._order.to_do:
                self._end()
                return self._result
            if sandbox is not None:
                own = self._own = sandbox()
            if kernel is None:
                kernel = self._make_kernel({} if own is None else own.environment())
                kernel.start()
            from keyrunbook.execution.engine import load_papermill

            load_papermill()
            if own is not None:
                own.ready()
            kernel.ready(self._order.start_limit_s)
            self._steps(kernel)
            signals.ignore()
            self._end()
        except Interrupted as error:
            signals.ignore()
            cell = None if self._cell is None else self._cell[0] + 1
            what = str(error)
            elsewhere = outputs_words(self._order.outputs_dir)
            fix = f"To go on with this run: runbook resume {self._order.run_id}{elsewhere}"
            if own is not None:
                fix = "Run it again: what it made was in a sandbox of its own, which ended with it."
            told = RunError("Interrupted", what, fix, INTERRUPTED, cell=cell)
            self._fail(told, "interrupted")
        except RunbookError as error:
            signals.ignore()
            self._fail(_of(error))
        except BaseException as error:
            signals.ignore()
            what = f"{type(error).__name__}: {error}"
            self._fail(RunError(type(error).__name__, what, "This is a defect of the runbook.", 5))
            raise
        finally:
            self._close(None if given is not None else kernel, own)
        return self._result

    def _make_kernel(self, environment: Mapping[str, str]) -> WarmKernel:
        from keyrunbook.execution.kernels import WarmKernel

        outputs = {OUTPUTS: str(self._order.outputs_dir)}
        log = self._order.folder / KERNEL_LOG
        return WarmKernel(self._source, {**outputs, **environment}, log)

    def _close(self, kernel: WarmKernel | None, own: Sandbox | None) -> None:
        try:
            self._progress.ended(self._result)
        finally:
            try:
                if kernel is not None:
                    kernel.close()
            finally:
                if own is not None:
                    own.close()

    def _steps(self, kernel: WarmKernel) -> None:
        selection = self._order.selection
        for name in self._order.to_do:
            if (
                selection.after_proof(name)
                and not selection.by_name
                and self._result.verdict != "PROVED"
            ):
                return
            if not self._step(kernel, name):
                return

    def _step(self, kernel: WarmKernel, name: str) -> bool:
        """Runs one notebook; True when every cell of it ended well."""
        started = time.monotonic()
        self._cell, self._completed = None, False
        self._offset = len(self._ledger.entries())
        notebook = f"{name}.ipynb"
        self._update(self._result.with_step(name, status="running", notebook=notebook))
        self._progress.step(self._result, name)
        from keyrunbook.execution.cells import NOTEBOOK_FAILURES

        error: RunError | None = None
        interrupted: Interrupted | None = None
        try:
            kernel.fresh(self._order.start_limit_s)
            self._execute(kernel, name)
        except Interrupted as caught:
            interrupted = caught
        except NOTEBOOK_FAILURES as caught:
            error = self._told(name, caught)
        if interrupted is None and error is None:
            error = self._findings(name) if self._completed else self._told(name, None)
        failed = error is not None or interrupted is not None
        self._read_ledger()
        self._result = self._result.with_step(
            name,
            status="failed" if failed else "done",
            seconds=round(time.monotonic() - started, 3),
        )
        if error is not None:
            self._result = dataclasses.replace(self._result, error=error)
        self._write()
        self._progress.step_ended(self._result, self._result.step(name))
        if interrupted is not None:
            raise interrupted
        return not failed

    def _execute(self, kernel: WarmKernel, name: str) -> None:
        from keyrunbook.execution.cells import ATOMIC
        from keyrunbook.execution.engine import load_papermill

        order = self._order
        parameters = dict(order.parameters) | {
            "run_id": order.run_id,
            "outputs_dir": str(order.outputs_dir),
            "target": order.target,
        }
        logging.getLogger("papermill").setLevel(logging.CRITICAL)
        load_papermill().execute_notebook(
            _literal(self._source / f"{name}.ipynb"),
            ATOMIC + _literal(order.folder / f"{name}.ipynb"),
            parameters=parameters,
            engine_name="keyrunbook",
            kernel_name="python3",
            progress_bar=False,
            execution_timeout=order.cell_limit_s,
            kernel=kernel,
            listener=self,
        )

    def _findings(self, name: str) -> RunError | None:
        """The error of a notebook that ran to its end, and found that its step is not done."""
        failed: list[str] = []
        for entry in self._ledger.entries()[self._offset :]:
            if entry.get("step") == name and entry["kind"] == "findings":
                failed = [one["statement"] for one in entry["findings"] if one["status"] == "fail"]
            elif entry.get("step") == name and entry["kind"] == "done":
                failed = []
        if not failed:
            return None
        what = f"{name} checked what it had done, and found otherwise: {'; '.join(failed)}."
        fix = f"See the findings in {self._order.folder / name}.ipynb, mend that, and run it again."
        return RunError("FindingsFailed", what, fix, 1, step=name)

    def _told(self, name: str, caught: Exception | None) -> RunError:
        """The error of a failed step: as the ledger has it, else as the cell has it.

        Where the run's own sandbox ended, that is what the step failed of.
        """
        index, type_, what = self._cell or (None, type(caught).__name__, str(caught or ""))
        cell = None if index is None else index + 1
        if self._own is not None and (gone := self._own.ended()) is not None:
            return _of(gone, step=name, cell=cell)
        for entry in reversed(self._ledger.entries()[self._offset :]):
            if entry.get("kind") == "error" and "what" in entry:
                return RunError(
                    type=str(entry.get("type", type_)),
                    what=str(entry["what"]),
                    fix=str(entry.get("fix", "")),
                    exit_status=int(entry.get("exit_status", 5)),
                    step=name,
                    cell=cell,
                )
        if self._cell is None and isinstance(caught, RunbookError):
            return _of(caught, step=name)
        if self._cell is None and isinstance(caught, OSError):
            return _not_written(caught, self._order.folder, name)
        known = getattr(keyrunbook.errors, type_, None)
        if isinstance(known, type) and issubclass(known, RunbookError):
            sentence, _, fix = what.partition("\n")
            return RunError(type_, sentence, fix, known.exit_status, step=name, cell=cell)
        if type_ == "DeadKernelError":
            fix = "Run it again; if it happens again, look for what kills it: memory, or a limit."
        elif type_ == "CellTimeoutError":
            fix = "See in the notebook what it waited for."
        else:
            fix = f"The whole message is in {self._order.folder / name}.ipynb."
        words = what if type_ in ("DeadKernelError", "CellTimeoutError") else f"{type_}: {what}"
        return RunError(type_, words, fix, 5, step=name, cell=cell)

    def _end(self) -> None:
        """The selected steps ran, or one failed."""
        result = self._result
        if result.error is not None:
            self._fail(result.error)
            return
        exit_status = 0
        if CONFIRM in self._order.selection.steps:
            if result.verdict is None:
                what = f"{CONFIRM} ended without leaving a verdict in the ledger."
                fix = f"See {self._order.folder / CONFIRM}.ipynb."
                self._fail(RunError("NoVerdict", what, fix, 5, step=CONFIRM))
                return
            exit_status = EXIT_STATUS_OF_VERDICT[result.verdict]
        self._update(
            dataclasses.replace(result, status="done", finished=_now(), exit_status=exit_status)
        )

    def _fail(self, error: RunError, status: Any = "failed") -> None:
        """Ends the result; when it cannot be written, that is told instead of being raised."""
        steps = tuple(
            dataclasses.replace(step, status="failed") if step.status == "running" else step
            for step in self._result.steps
        )
        if error.step is None:
            running = [step.name for step in self._result.steps if step.status == "failed"]
            error = dataclasses.replace(error, step=running[-1] if running else None)
        self._result = dataclasses.replace(
            self._result,
            steps=steps,
            error=error,
            status=status,
            finished=_now(),
            exit_status=error.exit_status,
        )
        try:
            write_result(self._result)
        except OSError as cause:
            told = _not_written(cause, self._order.folder, error.step)
            what = f"{error.what} Besides: {told.what}"
            self._result = dataclasses.replace(
                self._result, error=dataclasses.replace(error, what=what)
            )

    # Small things.

    def _read_ledger(self) -> None:
        """Takes over what the ledger knows; a verdict is a new one where one is looked for."""
        known: dict[str, Any] = {}
        confirms = CONFIRM in self._order.to_do
        for number, entry in enumerate(self._ledger.entries()):
            told = dict(facts_of(entry))
            if entry["kind"] == "opened":
                told = {name: entry.get(name) for name in ("account", "region")}
                told["endpoint_url"] = None if entry.get("is_aws") else entry.get("endpoint")
            elif entry["kind"] == "verdict":
                told = {name: entry.get(name) for name in ("verdict", "events")}
            if confirms and number < self._begin:
                told.pop("verdict", None)
                told.pop("events", None)
            known.update(told)
        self._result = dataclasses.replace(
            self._result,
            account=known.get("account"),
            region=known.get("region"),
            endpoint_url=known.get("endpoint_url"),
            verdict=known.get("verdict"),
            key_arn=known.get("key_arn"),
            workflow_arn=known.get("workflow_arn"),
            events=tuple(known.get("events") or ()),
        )

    def _update(self, result: RunResult) -> None:
        self._result = result
        self._write()

    def _write(self) -> None:
        try:
            write_result(self._result)
        except OSError as error:
            told = _not_written(error, self._order.folder, None)
            raise RunbookError(told.what, told.fix) from error


class _Signals:
    """SIGINT, SIGTERM and SIGHUP raise `Interrupted`, once; then, and after `ignore`, nothing.

    So what is being tidied up is not torn up by a second Ctrl-C; tidying has limits of its own.
    Outside the main thread, where Python has no signals, it does nothing.
    """

    def __init__(self) -> None:
        self._quiet = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                    continue  # nohup
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ignore(self) -> None:
        self._quiet = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._quiet:
            self._quiet = True
            words = " by Ctrl-C" if number == signal.SIGINT else ""
            raise Interrupted(f"The run was interrupted{words} ({signal.Signals(number).name}).")


@contextlib.contextmanager
def _alone(folder: Path, run_id: str) -> Iterator[None]:
    """Holds the run's lock, which the operating system lets go when this process ends.

    Who asks whether a run is held takes its lock for a moment, which is waited for.

    Raises:
        RunBusy: another process holds it.
    """
    with (folder / ".lock").open("w", encoding="ascii") as lock:

        def hold() -> bool | None:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            return True

        if isinstance(wait_until(hold, limit_s=0.5, interval_s=0.02), NotYet):
            raise RunBusy(
                f"Run {run_id} is being run by another process.",
                f"Wait for it, or see its process id in {folder / RESULT_FILE}.",
            )
        yield


def _of(error: RunbookError, step: str | None = None, cell: int | None = None) -> RunError:
    return RunError(type(error).__name__, error.what, error.fix, error.exit_status, step, cell)


def _not_written(error: OSError, folder: Path, step: str | None) -> RunError:
    reason = error.strerror or str(error)
    return RunError(
        "OutputsNotWritable",
        f"The run's folder {folder} cannot be written: {reason}.",
        "Free it, or choose another folder with --outputs.",
        5,
        step=step,
    )


def _literal(path: Path) -> str:
    """papermill fills {names} in paths from the parameters; this path is meant as it stands."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
