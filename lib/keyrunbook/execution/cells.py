"""papermill's engine for the runbook: one cell after the other, and the truth about each.

What it does that papermill's own does not:

- A cell that was never run does not read "completed" after a kernel died, a cell ran out of time or
  somebody pressed Ctrl-C; the cell in which that happened is marked as failed and says so.
- `sys.exit()` in a cell is a failure: papermill takes it for success and skips the rest.
- Files are replaced at once, never half written, and not more often than `SAVE_INTERVAL_S`.
- It can be given a warm kernel, and a listener that is told of each cell.

Import `engine`, not this module: see there.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any, Protocol

import nbformat
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import (
    NBClientEngine,
    NotebookExecutionManager,
)
from papermill.exceptions import PapermillException
from papermill.iorw import papermill_io
from papermill.log import logger

from keyrunbook.execution.kernels import KernelError, WarmKernel, kernel_manager
from keyrunbook.files import write_atomically

SAVE_INTERVAL_S = 1.0

# What a notebook's run ends with when it does not end well. DeadKernelError is a RuntimeError, as
# is what jupyter_client raises; a notebook that is not one is a ValueError.
NOTEBOOK_FAILURES = (
    PapermillException,
    CellTimeoutError,
    KernelError,
    RuntimeError,
    OSError,
    ValueError,
)

# A path with this in front is written by `AtomicFiles`.
ATOMIC = "atomic:"


class AtomicFiles:
    """papermill's file handler for output paths that begin with `atomic:`."""

    def read(self, path: str) -> str:
        return Path(path.removeprefix(ATOMIC)).read_text(encoding="utf-8")

    def listdir(self, path: str) -> list[str]:
        return [str(entry) for entry in Path(path.removeprefix(ATOMIC)).iterdir()]

    def write(self, buf: str, path: str) -> None:
        write_atomically(Path(path.removeprefix(ATOMIC)), buf)

    def pretty_path(self, path: str) -> str:
        return path.removeprefix(ATOMIC)


papermill_io.register(ATOMIC, AtomicFiles())


class Listener(Protocol):
    """Who is told what happens in a notebook, in the order in which it happens."""

    def cell_started(self, index: int, cells: int, title: str) -> None:
        """Cell `index` (from 0) of `cells` begins; `title`: the heading it stands under."""

    def cell_failed(self, index: int, type_: str, what: str) -> None:
        """It did not end well: the exception's class name and its sentence."""

    def notebook_completed(self) -> None:
        """Every cell ran to its end."""


class Deaf:
    """The listener of a notebook run by plain papermill."""

    def cell_started(self, index: int, cells: int, title: str) -> None: ...

    def cell_failed(self, index: int, type_: str, what: str) -> None: ...

    def notebook_completed(self) -> None: ...


class TruthfulManager(NotebookExecutionManager):  # type: ignore[misc]
    """Keeps the marks of cells as they are, and saves."""

    def save(self, **kwargs: Any) -> None:
        super().save(**kwargs)
        self._saved = time.monotonic()

    def save_soon(self) -> None:
        """Saves unless that was done a moment ago."""
        if time.monotonic() - self._saved >= SAVE_INTERVAL_S:
            self.save()

    def cell_start(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        cell.metadata.papermill["start_time"] = self.now().isoformat()
        cell.metadata.papermill["status"] = self.RUNNING
        cell.metadata.papermill["exception"] = False
        self.save_soon()

    def cell_complete(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        end, marks = self.now(), cell.metadata.papermill
        marks["end_time"] = end.isoformat()
        marks["duration"] = (end - type(end).fromisoformat(marks["start_time"])).total_seconds()
        if marks["status"] != self.FAILED:
            marks["status"] = self.COMPLETED
        self.save_soon()
        if self.pbar:
            self.pbar.update(1)

    def notebook_complete(self, **kwargs: Any) -> None:
        self.end_time = self.now()
        self.nb.metadata.papermill["end_time"] = self.end_time.isoformat()
        self.nb.metadata.papermill["duration"] = (self.end_time - self.start_time).total_seconds()
        self.cleanup_pbar()
        self.save()


class RunbookClient(PapermillNotebookClient):  # type: ignore[misc]
    """Runs the cells of one notebook, in a kernel of its own or in a warm one."""

    listener: Listener
    warm: WarmKernel | None

    def execute(self, **kwargs: Any) -> Any:
        """Runs all cells, or up to the first that fails.

        Raises:
            DeadKernelError, CellTimeoutError, KeyboardInterrupt: the notebook says which.
        """
        self.reset_execution_trackers()
        if self.warm is not None:
            self.kc = self.warm.client
        with self.setup_kernel(**kwargs):
            self.papermill_execute_cells()
            if self.warm is not None:
                self.nb.metadata["language_info"] = self.warm.language_info
            self.set_widgets_metadata()
        return self.nb

    def papermill_execute_cells(self) -> None:
        titles = headings(self.nb.cells)
        for index, cell in enumerate(self.nb.cells):
            self.nb_man.cell_start(cell, index)
            self.listener.cell_started(index, len(self.nb.cells), titles[index])
            try:
                self.execute_cell(cell, index)
            except CellExecutionError as error:
                self._failed(index, *_said(cell, error), told=True)
                return
            except DeadKernelError:
                what = f"the kernel died while this cell ran{self._how_it_died()}"
                self._failed(index, "DeadKernelError", what)
                raise
            except CellTimeoutError:
                limit = self._get_timeout(cell)
                if self.warm is not None:
                    self.warm.interrupt()
                self._failed(index, "CellTimeoutError", f"the cell took longer than {limit} s")
                raise
            except KeyboardInterrupt as error:
                if self.warm is not None:
                    self.warm.interrupt()
                self._failed(index, type(error).__name__, str(error) or "interrupted")
                raise
            except BaseException as error:
                self._failed(index, type(error).__name__, str(error))
                raise
            self.nb_man.cell_complete(cell, cell_index=index)
        self.listener.notebook_completed()

    def _how_it_died(self) -> str:
        status = None if self.warm is None else self.warm.exit_status()
        if status is None:
            return ""
        if status < 0:
            return f" ({signal.Signals(-status).name})"
        return f" (exit status {status})"

    def _failed(self, index: int, type_: str, what: str, *, told: bool = False) -> None:
        """Marks the cell. `told`: the kernel has put the error among the outputs itself."""
        cell = self.nb.cells[index]
        told = told or any(output.output_type == "error" for output in cell.get("outputs", []))
        if not told and cell.cell_type == "code":
            cell.outputs.append(
                nbformat.NotebookNode(  # type: ignore[no-untyped-call]
                    {"output_type": "error", "ename": type_, "evalue": what, "traceback": [what]}
                )
            )
        self.nb_man.cell_exception(cell, cell_index=index)
        self.nb_man.cell_complete(cell, cell_index=index)
        self.listener.cell_failed(index, type_, what)


def _said(cell: Any, error: CellExecutionError) -> tuple[str, str]:
    """The exception's name and sentence, as the kernel put them among the cell's outputs.

    Its reply has neither where it is the display of a value that failed.
    """
    for output in cell.get("outputs", ()):
        if output.output_type == "error":
            return output.ename, output.evalue
    return error.ename, error.evalue


class RunbookEngine(NBClientEngine):  # type: ignore[misc]
    """Registered with papermill as `keyrunbook`.

    More arguments of `papermill.execute_notebook` than NBClientEngine's: `kernel`, a started
    `WarmKernel` (else the notebook gets its own kernel, over encrypted sockets), and `listener`.
    """

    @classmethod
    def execute_notebook(
        cls,
        nb: Any,
        kernel_name: str,
        output_path: str | None = None,
        progress_bar: bool = True,
        log_output: bool = False,
        autosave_cell_every: int = 30,
        **kwargs: Any,
    ) -> Any:
        manager = TruthfulManager(
            nb,
            output_path=output_path,
            progress_bar=progress_bar,
            log_output=log_output,
            autosave_cell_every=autosave_cell_every,
        )
        if output_path is not None:
            nb.metadata.papermill["output_path"] = output_path.removeprefix(ATOMIC)
        manager.notebook_start()
        try:
            cls.execute_managed_notebook(manager, kernel_name, log_output=log_output, **kwargs)
        finally:
            manager.notebook_complete()
        return manager.nb

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        log_output: bool = False,
        stdout_file: Any = None,
        stderr_file: Any = None,
        start_timeout: int = 60,
        execution_timeout: int | None = None,
        kernel: WarmKernel | None = None,
        listener: Listener | None = None,
        **kwargs: Any,
    ) -> Any:
        kwargs.pop("input_path", None)
        client = RunbookClient(
            nb_man,
            km=kernel_manager() if kernel is None else kernel.manager,
            timeout=execution_timeout,
            startup_timeout=start_timeout,
            kernel_name=kernel_name,
            log=logger,
            log_output=log_output,
            stdout_file=stdout_file,
            stderr_file=stderr_file,
            **kwargs,
        )
        client.warm = kernel
        client.owns_km = kernel is None
        client.listener = Deaf() if listener is None else listener
        return client.execute()


def headings(cells: list[Any]) -> list[str]:
    """For each cell the last Markdown heading at or above it, without its marks; "" before one."""
    titles, current = [], ""
    for cell in cells:
        if cell.cell_type == "markdown":
            for line in cell.source.splitlines():
                if line.startswith("#"):
                    current = line.lstrip("#").strip().replace("`", "")
        titles.append(current)
    return titles
