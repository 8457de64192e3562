"""Executes the runbook's notebooks in plain Python processes, each killed at a given point.

A point is a moment before a request is sent, after it was served (its answer is lost), before a
line of the ledger is written, when it is written in part, and after that. Points are counted in the
order in which they come. At the one that is asked for the process kills itself with SIGKILL:
nothing is tidied up.

What a killed process leaves is the ledger and what AWS holds. Points between which neither changes
leave the same, and are told as one state: before a line is written is as after the request before
it; before and after a request that only reads are the same. GetWorkflow counts as a change: it
leaves the record of its Decrypt, which the proof looks for.

This is a process that has imported all that the notebooks import, and forks: one process for each
request of a line of JSON on stdin, which it answers on stdout when that process has ended.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.httpsession
import botocore.session
import nbformat
from keyrunbook import sandboxes
from keyrunbook.aws.clients import sandbox_clients
from keyrunbook.aws.reading import WORDS, reads
from keyrunbook.execution import warm
from keyrunbook.ledger import Ledger
from keyrunbook.parameters import project_dir
from keyrunbook.steps import STEPS

ONLY_READ = {
    operation
    for service in WORDS
    for operation in botocore.session.get_session().get_service_model(service).operation_names
    if reads(service, operation) and operation != "GetWorkflow"
}


class Points:
    """Counts the points of this process; at number `fatal` (from 1) the process is killed."""

    def __init__(self, fatal: int | None) -> None:
        self._fatal = fatal
        self.names: list[str] = []
        self.states: list[int] = []

    def at(
        self, name: str, *, changed: bool = False, before_dying: Callable[[], None] | None = None
    ) -> None:
        """A point; `changed`: what is left differs from what was left at the point before."""
        self.names.append(name)
        self.states.append((self.states[-1] if self.states else 0) + changed)
        if len(self.names) == self._fatal:
            if before_dying is not None:
                before_dying()
            os.kill(os.getpid(), signal.SIGKILL)


def watch(points: Points) -> None:
    """Put points around every request and every line of the ledger."""
    session = botocore.httpsession.URLLib3Session
    send, append = session.send, Ledger.append

    def watched_send(self: Any, request: Any) -> Any:
        name = _operation(request)
        points.at(f"{name}: to be sent")
        answer = send(self, request)
        points.at(f"{name}: served, the answer is lost", changed=name not in ONLY_READ)
        return answer

    def watched_append(self: Ledger, kind: str, **fields: Any) -> int:
        call = fields.get("call", "")
        name = f"line {kind} {call}".rstrip()
        points.at(f"{name}: to be written")
        before = self.path.stat().st_size if self.path.exists() else 0
        n = append(self, kind, **fields)
        points.at(f"{name}: torn", changed=True, before_dying=lambda: _tear(self.path, before))
        points.at(f"{name}: written", changed=True)
        return n

    session.send = watched_send
    Ledger.append = watched_append  # type: ignore[method-assign]


def _tear(path: Path, before: int) -> None:
    """Leave the half of what was written last."""
    os.truncate(path, (before + path.stat().st_size) // 2)


def _operation(request: Any) -> str:
    target = request.headers.get("X-Amz-Target", b"")
    text = target.decode() if isinstance(target, bytes) else target
    body = request.body if isinstance(request.body, str) else ""
    query = next((part[7:] for part in body.split("&") if part.startswith("Action=")), "")
    return text.rpartition(".")[2] or query or request.url.rpartition("/")[2].partition("?")[0]


def notebook_cells(step: str, given: dict[str, Any]) -> Iterator[str]:
    """The code of a notebook's cells, with the parameters as papermill would put them."""
    notebook = nbformat.read(project_dir() / "notebooks" / f"{step}.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield cell.source
            if "parameters" in cell.metadata.get("tags", ()):
                yield "\n".join(f"{name} = {value!r}" for name, value in given.items())


def execute(steps: list[str], given: dict[str, Any]) -> None:
    """The cells of these notebooks, each notebook with variables of its own."""
    for step in steps:
        namespace: dict[str, Any] = {"__name__": "__main__"}
        for source in notebook_cells(step, given):
            exec(compile(source, step, "exec"), namespace)


def not_done(folder: Path) -> list[str]:
    """The steps that the ledger does not call done."""
    done = Ledger(folder / "ledger.jsonl").done()
    return [step for step in STEPS if step not in done]


def job(order: dict[str, Any], report: Path) -> None:
    """Do, in this process, the steps that are not done; what came of it goes into `report`.

    Of these the order takes those from `first` to `last`.
    """
    os.environ["KEYRUNBOOK_SANDBOX"] = order["sandbox"]
    sandbox_clients.cache_clear()
    given = order["parameters"]
    points = Points(order.get("fatal"))
    watch(points)
    try:
        folder = Path(given["outputs_dir"]) / given["run_id"]
        steps = [
            step for step in not_done(folder) if order.get("first", "") <= step <= order["last"]
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            execute(steps, given)
        error = None
    except BaseException:  # noqa: BLE001 - told to who ordered it, in a report
        error = traceback.format_exc()
    report.write_text(json.dumps({"points": points.names, "states": points.states, "error": error}))


def read_models(handoff: Path) -> None:
    """Have the SDK read its models, which every process that is forked then has."""
    there = sandboxes.read(handoff)
    assert there is not None
    clients = sandbox_clients(there)
    for service in WORDS:
        clients(service)


def serve() -> None:
    """One forked process for each order."""
    for name in (*warm.PRELOADED, *warm.LATER):
        importlib.import_module(name)
    for number, line in enumerate(sys.stdin):
        order = json.loads(line)
        if number == 0:
            read_models(Path(order["sandbox"]))
        report = Path(order["report"])
        report.unlink(missing_ok=True)
        if (pid := os.fork()) == 0:
            job(order, report)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        answer = {"status": os.waitstatus_to_exitcode(status)}
        if report.exists():
            answer |= json.loads(report.read_text())
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
