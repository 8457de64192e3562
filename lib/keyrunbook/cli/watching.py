"""What a person sees while a proof takes time: bars on a terminal, elsewhere a line for each kind.

All of it on stderr: stdout is the answer's alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from keyrunbook.aws.wait import Waited
    from keyrunbook.execution.proving import Watch

_LONG_S = 10
"""From how many seconds on a look-up's estimate is worth a line."""


@contextmanager
def watching() -> Iterator[Watch]:
    """What is told how a proof gets on; bars are gone at the end."""
    from keyrunbook.execution.proving import Watch

    calls = _Calls()
    if not sys.stderr.isatty():
        yield Watch(waiting=_waiting, calls=calls)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        console=Console(file=sys.stderr),
        transient=True,
    ) as bars:
        shown = _Bars(bars)
        yield Watch(shown.waiting, calls, shown.files, shown.query)


class _Bars:
    """A bar for each kind of work, from the first that is told of it on."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def waiting(self, waited: Waited) -> None:
        what = f"waiting for CloudTrail's records, {waited.waited_s:.0f} s"
        self._show("waiting", what, waited.waited_s, waited.limit_s)

    def files(self, done: int, of: int) -> None:
        self._show("files", f"log files read: {done} of {of}", done, of)

    def query(self, waited: Waited) -> None:
        state = waited.state or "done"
        what = f"Athena's query, {waited.waited_s:.0f} s: {state}"
        self._show("query", what, waited.waited_s, waited.limit_s)

    def _show(self, kind: str, what: str, done: float, of: float) -> None:
        if kind not in self._tasks:
            self._tasks[kind] = self._bars.add_task(what)
        self._bars.update(self._tasks[kind], description=what, completed=done, total=of)


def _waiting(waited: Waited) -> None:
    """Say once that it takes time."""
    if waited.probes == 1 and not waited.over:
        seconds = f"{waited.limit_s:.0f}"
        click.echo(f"Waiting for CloudTrail's records, at most {seconds} s.", err=True)


class _Calls:
    """Says what a long look-up takes; of those that follow, what takes longer."""

    def __init__(self) -> None:
        self._most = 0

    def __call__(self, calls: int) -> None:
        from keyrunbook.aws.lookup import seconds_for

        seconds = seconds_for(calls)
        if seconds >= _LONG_S and calls > self._most:
            click.echo(f"The look-up takes about {calls} calls, {seconds} s or more.", err=True)
            self._most = calls
