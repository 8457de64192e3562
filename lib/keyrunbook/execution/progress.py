"""What a person sees of a run: a line for each notebook, the current cell, the verdict at the end.

On a terminal the lines are redrawn in place; elsewhere (a log, a pipe) each is printed once when
its notebook ends. Nothing is ever told by colour alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import IO, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from keyrunbook.errors import ApprovalRequired
from keyrunbook.execution.result import RunError, RunResult, StepResult
from keyrunbook.execution.runs import RunSummary

SANDBOX_NOTICE = "the embedded sandbox, not AWS: nothing leaves this machine"

WAITS = "waits for approval"

_MARKS = {
    "done": ("✓", "green"),
    "failed": ("✗", "red"),
    "running": ("…", "cyan"),
    "skipped": ("–", "dim"),
    "not run": ("–", "yellow"),
    WAITS: ("?", "yellow"),
}
_VERDICTS = {
    "PROVED": (
        "✓",
        "bold green",
        "CloudTrail shows that this key, and Image Builder, protected this workflow.",
    ),
    "REFUTED": ("✗", "bold red", "the records show that this workflow is not under this key."),
    "NOT_YET": (
        "?",
        "bold yellow",
        "the records seen so far do not show it; that proves nothing either way.",
    ),
}


class Progress(Protocol):
    """Told what happens, in order. `result` is always the newest."""

    def started(self, result: RunResult) -> None:
        """The run's folder is there; sandbox and kernel are on their way."""

    def step(self, result: RunResult, name: str) -> None:
        """A step begins."""

    def cell(self, index: int, cells: int, title: str) -> None:
        """A cell of the current step begins."""

    def step_ended(self, result: RunResult, step: StepResult) -> None:
        """A step ended, well or not."""

    def ended(self, result: RunResult) -> None:
        """Nothing more will happen."""


class Silent:
    """Shows nothing."""

    def started(self, result: RunResult) -> None: ...

    def step(self, result: RunResult, name: str) -> None: ...

    def cell(self, index: int, cells: int, title: str) -> None: ...

    def step_ended(self, result: RunResult, step: StepResult) -> None: ...

    def ended(self, result: RunResult) -> None: ...


def progress_to(stream: IO[str]) -> Progress:
    """Live lines when `stream` is a terminal, plain ones otherwise."""
    console = Console(file=stream, highlight=False, soft_wrap=True)
    return LiveLines(console) if console.is_terminal else PlainLines(console)


class PlainLines:
    """One line for each thing that happened."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = 0

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False)
        self._console.file.flush()

    def _tell_left_out(self, steps: Sequence[StepResult]) -> None:
        """The steps that did not run, of those not told of yet."""
        for step in steps[self._told :]:
            if step.status in ("skipped", "not run"):
                self._print(step_line(step))
        self._told = max(self._told, len(steps))

    def started(self, result: RunResult) -> None:
        self._print(heading(result))

    def step(self, result: RunResult, name: str) -> None: ...

    def cell(self, index: int, cells: int, title: str) -> None: ...

    def step_ended(self, result: RunResult, step: StepResult) -> None:
        at = [one.name for one in result.steps].index(step.name)
        self._tell_left_out(result.steps[:at])
        self._print(step_line(step, result.error))
        self._told = at + 1

    def ended(self, result: RunResult) -> None:
        self._tell_left_out(result.steps)
        self._console.print()
        for line in summary(result):
            self._console.print(line)
        self._console.file.flush()


class LiveLines:
    """The same lines, redrawn in place, with the current cell's heading beside the current step."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._result: RunResult | None = None
        self._current: str | None = None
        self._since = 0.0
        self._cell = ""
        self._spinner = Spinner("dots", style="cyan")

    def started(self, result: RunResult) -> None:
        self._console.print(heading(result), markup=False)
        self._result = result
        self._cell = "starting"
        self._live = Live(
            get_renderable=self._lines, console=self._console, refresh_per_second=10, transient=True
        )
        self._live.start()

    def step(self, result: RunResult, name: str) -> None:
        self._result, self._current, self._cell = result, name, ""
        self._since = time.monotonic()

    def cell(self, index: int, cells: int, title: str) -> None:
        self._cell = f"{index + 1}/{cells} {title}"

    def step_ended(self, result: RunResult, step: StepResult) -> None:
        self._result, self._current = result, None

    def ended(self, result: RunResult) -> None:
        self._result, self._current = result, None
        if self._live is not None:
            self._live.stop()
            self._live = None
        for line in [self._line(step) for step in result.steps]:
            self._console.print(line)
        self._console.print()
        for summary_line in summary(result):
            self._console.print(summary_line)

    def _lines(self) -> RenderableType:
        assert self._result is not None
        lines: list[RenderableType] = []
        for step in self._result.steps:
            if step.name == self._current:
                grid = Table.grid(padding=(0, 1))
                grid.add_column(width=1)
                grid.add_column(min_width=20)
                grid.add_column(justify="right", min_width=7)
                grid.add_column(no_wrap=True, overflow="ellipsis")
                seconds = f"{time.monotonic() - self._since:5.1f} s"
                grid.add_row(self._spinner, step.name, seconds, Text(self._cell, style="dim"))
                lines.append(grid)
            else:
                lines.append(self._line(step))
        if self._current is None and self._cell == "starting":
            self._spinner.update(text=" starting the kernel and what it talks to")
            lines.append(self._spinner)
        elif self._current is not None:
            self._spinner.text = ""
        return Group(*lines)

    def _line(self, step: StepResult) -> Text:
        error = None if self._result is None else self._result.error
        _, style = _MARKS[_status(step, error)]
        to_come = self._live is not None and step.status == "not run"
        return Text(
            f"  {step.name}" if to_come else step_line(step, error),
            style="dim" if to_come else style,
        )


def print_runs(runs: Sequence[RunSummary], stream: IO[str]) -> None:
    """A table of runs: drawn on a terminal, a line a run elsewhere."""
    names = ("run", "began", "target", "account", "Region", "steps done", "verdict", "ended")
    rows = [
        [
            one.run_id,
            one.began or "-",
            one.target or "-",
            one.account or "-",
            one.region or "-",
            f"{len(one.steps_done)}",
            one.verdict or "-",
            "; ".join([one.ended, *one.standing])
            if one.damage is None
            else f"DAMAGED: {one.damage}",
        ]
        for one in runs
    ]
    console = Console(file=stream, highlight=False)
    if console.is_terminal:
        table = Table(box=SIMPLE_HEAD)
        for name in names:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for row in [list(names), *rows]:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        stream.write("  ".join(cells).rstrip() + "\n")


def heading(result: RunResult) -> str:
    """The first line: which run, against what."""
    where = SANDBOX_NOTICE if result.target == "sandbox" else "the target aws"
    return f"run {result.run_id} on {where}"


def step_line(step: StepResult, error: RunError | None = None) -> str:
    """A step that has ended, or never began; `error` is the one that ended the run, if any."""
    status = _status(step, error)
    mark, _ = _MARKS[status]
    tail = f"{step.seconds:5.1f} s" if step.seconds is not None else ""
    words = "" if status == "done" else status
    return f"{mark} {step.name:<20} {tail:>7}  {words}".rstrip()


def _status(step: StepResult, error: RunError | None) -> str:
    failed = step.status == "failed" and error is not None and error.step == step.name
    return WAITS if failed and _waits(error) else step.status


def _waits(error: RunError | None) -> bool:
    """Whether nothing failed, and somebody has to approve the plan."""
    return error is not None and error.exit_status == ApprovalRequired.exit_status


def summary(result: RunResult) -> list[str]:
    """The last lines, in rich markup: the verdict or the error, the resources, the folder."""
    lines: list[str] = []
    if result.error is not None:
        place = f" in {result.error.step}" if result.error.step else ""
        place += f", cell {result.error.cell}" if result.error.cell else ""
        word = "Interrupted" if result.status == "interrupted" else "Failed"
        head = "[yellow]? Waits for approval" if _waits(result.error) else f"[bold red]✗ {word}"
        lines.append(f"{head}{escape(place)}[/]: {escape(result.error.what)}")
        if result.error.fix:
            lines.append(f"  {escape(result.error.fix)}")
    elif result.verdict is not None:
        mark, style, words = _VERDICTS[result.verdict]
        where = "On the embedded sandbox, not AWS: " if result.target == "sandbox" else ""
        if result.target == "aws" and result.endpoint_url is not None:
            where = f"At {result.endpoint_url}, which is not AWS: "
        sentence = where + words if where else words[0].upper() + words[1:]
        lines.append(f"[{style}]{mark} {result.verdict}[/]  {escape(sentence)}")
    else:
        lines.append("[green]✓ Done[/]  These steps end before a verdict.")
    elsewhere = result.target == "aws" and result.endpoint_url
    facts = [
        ("endpoint", f"{elsewhere}, which is not AWS" if elsewhere else None),
        ("verdict", f"{result.verdict}, before that" if result.verdict and result.error else None),
        ("key", result.key_arn),
        ("workflow", result.workflow_arn),
        ("records", ", ".join(result.events) or None),
        ("outputs", result.outputs),
    ]
    lines += [f"  {name:<9} {escape(value)}" for name, value in facts if value]
    if any(step.status == "not run" for step in result.steps) and result.status == "done":
        names = [step.name[:2] for step in result.steps if step.status == "not run"]
        lines.append(
            f"  {', '.join(names)} did not run: the verdict is not PROVED. "
            f"To run them all the same: --steps {','.join(names)} --run-id {escape(result.run_id)}"
        )
    return lines
