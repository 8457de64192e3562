"""What result.json says, however a run ended. Real kernels, small notebooks."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.channels import HBChannel
from keyrunbook.errors import RunbookError, RunBusy, Unreachable
from keyrunbook.execution import runner
from keyrunbook.execution.kernels import WarmKernel
from keyrunbook.execution.progress import Silent
from keyrunbook.execution.result import RunResult, StepResult
from keyrunbook.execution.runner import Order, run
from keyrunbook.execution.selection import Selection, default_selection, parse_selection
from keyrunbook.ledger import Ledger
from keyrunbook.sandboxes import start_private
from small_notebooks import STEPS, cells_of, ledger_cell, set_verdict, write_notebook

pytestmark = pytest.mark.e2e


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return Order(
        run_id="r1",
        target="sandbox",
        outputs_dir=tmp_path / "outputs {x}",
        selection=default_selection("sandbox", STEPS),
        all_steps=STEPS,
        parameters={},
    )


def steps_of(result: RunResult) -> str:
    """One letter for each step: Done, Failed, Skipped, Not run."""
    return "".join(step.status[0] for step in result.steps)


def stored(order: Order) -> dict[str, Any]:
    """result.json."""
    content: dict[str, Any] = json.loads((order.folder / "result.json").read_text())
    return content


def execute(order: Order, notebooks: Path, kernel: Any, progress: Any = None) -> RunResult:
    result = run(
        order,
        progress or Silent(),
        sandbox=None,
        journal=Ledger,
        notebooks=notebooks,
        kernel=kernel,
    )
    assert stored(order) == json.loads(result.to_json())
    return result


@pytest.mark.parametrize(
    ("verdict", "asked", "exit_status", "steps"),
    [
        ("PROVED", None, 0, "ddddddd"),
        ("REFUTED", None, 1, "dddddnn"),
        ("NOT_YET", None, 3, "dddddnn"),
        ("REFUTED", "00..06", 1, "ddddddd"),
        ("NOT_YET", "04,06", 3, "ssssdsd"),
        ("PROVED", "00..03", 0, "ddddsss"),
        ("NOT_YET", "05", 0, "sssssds"),
    ],
)
def test_verdict_steps_and_exit_status(
    order: Order,
    notebooks: Path,
    kernel: WarmKernel,
    verdict: str,
    asked: str | None,
    exit_status: int,
    steps: str,
) -> None:
    set_verdict(notebooks, verdict)
    selection = order.selection if asked is None else parse_selection(asked, STEPS)
    result = execute(replace(order, selection=selection), notebooks, kernel)
    assert (result.status, result.exit_status, steps_of(result)) == ("done", exit_status, steps)
    assert result.error is None
    assert result.verdict == (verdict if "04_confirm_events" in selection.steps else None)
    assert result.events == (("e-1",) if result.verdict else ())


def test_no_verdict_is_no_success(order: Order, notebooks: Path, kernel: WarmKernel) -> None:
    set_verdict(notebooks, None)
    result = execute(order, notebooks, kernel)
    assert (result.status, result.exit_status, steps_of(result)) == ("failed", 5, "dddddnn")
    assert result.error is not None
    assert result.error.what == "04_confirm_events ended without leaving a verdict in the ledger."


def test_verdict_of_an_earlier_part_is_not_this_ones(
    order: Order, notebooks: Path, kernel: WarmKernel
) -> None:
    selection = Selection(("04_confirm_events",), by_name=True)
    execute(replace(order, selection=selection), notebooks, kernel)
    set_verdict(notebooks, None)
    result = execute(replace(order, selection=selection), notebooks, kernel)
    assert (result.exit_status, result.verdict) == (5, None)


def test_what_the_ledger_knows_is_in_the_result(
    order: Order, notebooks: Path, kernel: WarmKernel
) -> None:
    opened = ledger_cell(
        "opened", account="111122223333", region="eu-west-1", endpoint="http://e", is_aws=False
    )
    facts = ledger_cell("facts", facts={"key_arn": "arn:k", "workflow_arn": "arn:w"})
    write_notebook(notebooks / "00_preflight.ipynb", opened, facts)
    result = execute(order, notebooks, kernel)
    assert (result.account, result.region, result.key_arn, result.workflow_arn) == (
        "111122223333",
        "eu-west-1",
        "arn:k",
        "arn:w",
    )
    assert result.endpoint_url == "http://e"


def test_parameters_reach_the_notebook_as_they_are(
    order: Order, notebooks: Path, kernel: WarmKernel
) -> None:
    write_notebook(notebooks / "00_preflight.ipynb", "print(repr((run_id, target, tags)))")
    given = replace(
        order,
        run_id="012",
        parameters={"tags": {"a": "01"}},
        selection=parse_selection("00", STEPS),
    )
    assert execute(given, notebooks, kernel).exit_status == 0
    (output,) = cells_of(given.folder / "00_preflight.ipynb")[-1]["outputs"]
    assert "".join(output["text"]) == "('012', 'sandbox', {'a': '01'})\n"


def test_no_notebook_sees_anothers_variables(
    order: Order, notebooks: Path, kernel: WarmKernel
) -> None:
    write_notebook(
        notebooks / "00_preflight.ipynb",
        "import os, matplotlib.pyplot as plt\nplt.figure()\nsecret = 1\n"
        "os.environ['LEAK'] = '1'\nos.chdir('/')",
    )
    write_notebook(
        notebooks / "01_create_key.ipynb",
        "import os, matplotlib.pyplot as plt\n"
        "assert 'secret' not in globals() and len(In) == 4\n"
        "assert 'LEAK' not in os.environ and os.getcwd() != '/'\n"
        "assert plt.get_fignums() == []",
    )
    result = execute(replace(order, selection=parse_selection("00,01", STEPS)), notebooks, kernel)
    assert result.error is None
    assert [cell["execution_count"] for cell in cells_of(order.folder / "01_create_key.ipynb")] == [
        1,
        2,
        3,
    ]


@pytest.mark.parametrize(
    ("code", "type_", "what"),
    [
        ("1/0", "ZeroDivisionError", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(0)", "SystemExit", "SystemExit: 0"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", "KeyboardInterrupt: "),
        ("syntax error", "SyntaxError", "SyntaxError: "),
        (
            "class Value:\n    def _repr_html_(self): raise ValueError('no picture')\nValue()",
            "ValueError",
            "ValueError: no picture",
        ),
    ],
)
def test_failing_cell_stops_the_run(
    order: Order, notebooks: Path, kernel: WarmKernel, code: str, type_: str, what: str
) -> None:
    write_notebook(notebooks / "02_grant_access.ipynb", "x = 1", code, "x = 2")
    result = execute(order, notebooks, kernel)
    assert (result.status, result.exit_status, steps_of(result)) == ("failed", 5, "ddfnnnn")
    assert result.error is not None
    assert (result.error.type, result.error.step) == (type_, "02_grant_access")
    assert result.error.what.startswith(what)
    last = cells_of(order.folder / "02_grant_access.ipynb")[-1]
    assert last["metadata"]["papermill"]["status"] == "pending"
    assert last["execution_count"] is None


def test_a_cell_that_may_fail_fails(order: Order, notebooks: Path, kernel: WarmKernel) -> None:
    path = notebooks / "00_preflight.ipynb"
    write_notebook(path, "1/0")
    content = json.loads(path.read_text())
    content["cells"][-1]["metadata"]["tags"] = ["raises-exception"]
    path.write_text(json.dumps(content))
    assert execute(order, notebooks, kernel).step("00_preflight").status == "failed"


@pytest.mark.parametrize(
    ("error", "exit_status"),
    [("AwsRefused", 5), ("ApprovalRequired", 4), ("ParameterError", 2), ("StepMissing", 2)],
)
def test_runbook_errors_keep_their_exit_status(
    order: Order, notebooks: Path, kernel: WarmKernel, error: str, exit_status: int
) -> None:
    code = f"from keyrunbook.errors import {error}\nraise {error}('No.', 'Do this.')"
    write_notebook(notebooks / "01_create_key.ipynb", code)
    result = execute(order, notebooks, kernel)
    assert (result.exit_status, steps_of(result)) == (exit_status, "dfnnnnn")
    assert result.error is not None
    assert (result.error.what, result.error.fix) == ("No.", "Do this.")


def test_the_ledgers_sentence_is_the_results(
    order: Order, notebooks: Path, kernel: WarmKernel
) -> None:
    told = ledger_cell("error", type="ApprovalRequired", what="No.", fix="Do this.", exit_status=4)
    write_notebook(notebooks / "01_create_key.ipynb", told + "\n1/0")
    result = execute(order, notebooks, kernel)
    assert result.error is not None
    assert (result.error.type, result.error.what, result.error.fix, result.exit_status) == (
        "ApprovalRequired",
        "No.",
        "Do this.",
        4,
    )


@pytest.mark.parametrize(
    ("step", "after", "exit_status", "steps"),
    [
        ("01_create_key", (), 1, "dfnnnnn"),
        ("01_create_key", ("done",), 0, "ddddddd"),
        ("00_preflight", ("done",), 0, "ddddddd"),
        ("another step", (), 0, "ddddddd"),
    ],
)
def test_a_step_whose_findings_failed_is_not_done(
    order: Order,
    notebooks: Path,
    kernel: WarmKernel,
    step: str,
    after: tuple[str, ...],
    exit_status: int,
    steps: str,
) -> None:
    """A notebook may run to its end and find that it did not reach what it is for."""
    found = [
        {"statement": "The key is enabled", "status": "fail"},
        {"statement": "The key rotates", "status": "pass"},
    ]
    name = step if step in order.all_steps else "01_create_key"
    cells = [ledger_cell("findings", step, findings=found)]
    cells += [ledger_cell(kind, step) for kind in after]
    write_notebook(notebooks / f"{name}.ipynb", *cells)
    result = execute(order, notebooks, kernel)
    assert (result.exit_status, steps_of(result)) == (exit_status, steps)
    if exit_status:
        assert result.error is not None
        assert "The key is enabled" in result.error.what
        assert "rotates" not in result.error.what


def test_an_error_that_an_earlier_part_left_is_not_told_again(
    order: Order, notebooks: Path, kernel: WarmKernel
) -> None:
    told = ledger_cell("error", type="AwsRefused", what="Old.", fix="", exit_status=4)
    write_notebook(notebooks / "00_preflight.ipynb", told)
    write_notebook(notebooks / "01_create_key.ipynb", "1/0")
    result = execute(order, notebooks, kernel)
    assert result.error is not None
    assert result.error.type == "ZeroDivisionError"


def test_going_on_keeps_what_earlier_parts_did(
    order: Order, notebooks: Path, kernel: WarmKernel
) -> None:
    execute(replace(order, selection=parse_selection("00,01", STEPS)), notebooks, kernel)
    result = execute(replace(order, selection=parse_selection("04", STEPS)), notebooks, kernel)
    assert steps_of(result) == "ddssdss"
    assert result.step("01_create_key").seconds is not None


def test_a_killed_parts_last_step_counts_as_failed(
    order: Order, notebooks: Path, kernel: WarmKernel
) -> None:
    first = execute(replace(order, selection=parse_selection("00", STEPS)), notebooks, kernel)
    killed = first.with_step("01_create_key", status="running")
    (order.folder / "result.json").write_text(killed.to_json())
    result = execute(replace(order, selection=parse_selection("04", STEPS)), notebooks, kernel)
    assert steps_of(result) == "dfssdss"


class Watcher(Silent):
    """Reads result.json at each step, as somebody looking on would."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.seen: list[tuple[str, str, str]] = []

    def _look(self) -> None:
        content = stored(self.order)
        assert content["pid"] == os.getpid()
        letters = "".join(step["status"][0] for step in content["steps"])
        self.seen.append((content["status"], letters, content["exit_status"]))

    def started(self, result: RunResult) -> None:
        self._look()

    def step(self, result: RunResult, name: str) -> None:
        self._look()

    def step_ended(self, result: RunResult, step: StepResult) -> None:
        self._look()


def test_the_file_is_true_at_every_moment(
    order: Order, notebooks: Path, kernel: WarmKernel
) -> None:
    watcher = Watcher(order)
    execute(replace(order, selection=parse_selection("00,01", STEPS)), notebooks, kernel, watcher)
    assert watcher.seen == [
        ("running", "nnsssss", None),
        ("running", "rnsssss", None),
        ("running", "dnsssss", None),
        ("running", "drsssss", None),
        ("running", "ddsssss", None),
    ]
    assert stored(order)["status"] == "done"
    assert sorted(path.name for path in order.folder.iterdir()) == [
        ".lock",
        "00_preflight.ipynb",
        "01_create_key.ipynb",
        "result.json",
    ]


def test_a_missing_notebook_is_told_before_anything_starts(order: Order, notebooks: Path) -> None:
    (notebooks / "03_encrypt_workflow.ipynb").unlink()
    with pytest.raises(RunbookError, match=r"There is no notebook 03_encrypt_workflow.ipynb"):
        execute(order, notebooks, None)
    assert not order.outputs_dir.exists()


def test_outputs_that_cannot_be_written(order: Order, notebooks: Path) -> None:
    order.outputs_dir.write_text("a file")
    with pytest.raises(RunbookError) as caught:
        execute(order, notebooks, None)
    assert "cannot be written: Not a directory" in caught.value.what
    assert "--outputs" in caught.value.fix


def test_outputs_that_vanish(order: Order, notebooks: Path, kernel: WarmKernel) -> None:
    write_notebook(
        notebooks / "01_create_key.ipynb",
        "import shutil, pathlib\nshutil.rmtree(outputs_dir)\npathlib.Path(outputs_dir).touch()",
    )
    result = run(order, Silent(), sandbox=None, journal=Ledger, notebooks=notebooks, kernel=kernel)
    assert (result.status, result.exit_status, steps_of(result)) == ("failed", 5, "dfnnnnn")
    assert result.error is not None
    assert "cannot be written" in result.error.what


def test_two_processes_cannot_run_one_run(order: Order, notebooks: Path) -> None:
    import fcntl

    order.folder.mkdir(parents=True)
    with (order.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunBusy, match=r"Run r1 is being run by another process\."):
            execute(order, notebooks, None)


def test_who_only_asks_whether_a_run_is_held_does_not_stop_it(tmp_path: Path) -> None:
    import fcntl

    (tmp_path / ".lock").touch()
    with (tmp_path / ".lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        letting_go = threading.Timer(0.1, lambda: fcntl.flock(lock, fcntl.LOCK_UN))
        letting_go.start()
        with runner._alone(tmp_path, "r1"):
            letting_go.join()


def test_steps_that_are_done_are_left_and_the_verdict_counts(
    order: Order, notebooks: Path, kernel: WarmKernel
) -> None:
    execute(replace(order, selection=parse_selection("00..04", STEPS)), notebooks, kernel)
    done = frozenset(STEPS[:5])
    result = execute(replace(order, done=done), notebooks, kernel)
    assert (steps_of(result), result.verdict, result.exit_status) == ("ddddddd", "PROVED", 0)
    assert stored(order)["selection"] == {"steps": list(STEPS), "by_name": False}
    whole = execute(replace(order, done=frozenset(STEPS)), notebooks, None)
    assert (steps_of(whole), whole.exit_status) == ("ddddddd", 0)


class FakeSandbox:
    """Notes what is done with it; may fail to start."""

    def __init__(self, error: RunbookError | None = None) -> None:
        self.error = error
        self.calls: list[str] = []

    def ready(self) -> None:
        self.calls.append("ready")
        if self.error is not None:
            raise self.error

    def ended(self) -> None: ...

    def environment(self) -> dict[str, str]:
        return {"KEYRUNBOOK_SANDBOX": "/handed/over"}

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[WarmKernel]]:
    """The kernels that runs start, to see that they end."""
    kernels: list[WarmKernel] = []
    original = WarmKernel.start

    def start(self: WarmKernel) -> None:
        original(self)
        assert self.manager is not None
        kernels.append(self)
        self.process = self.manager.provisioner.process  # type: ignore[attr-defined, union-attr]

    monkeypatch.setattr(WarmKernel, "start", start)
    yield kernels
    for kernel in kernels:
        assert kernel.process.poll() is not None, "a kernel outlived its run"  # type: ignore[attr-defined]


def test_own_kernel_and_sandbox_end_with_the_run(
    order: Order, notebooks: Path, started: list[WarmKernel]
) -> None:
    sandbox = FakeSandbox()
    write_notebook(
        notebooks / "00_preflight.ipynb",
        "import os\nassert os.environ['KEYRUNBOOK_SANDBOX'] == '/handed/over'\n"
        "assert os.environ['KEYRUNBOOK_OUTPUTS'] == outputs_dir",
    )
    result = run(
        replace(order, selection=parse_selection("00", STEPS)),
        Silent(),
        sandbox=lambda: sandbox,
        journal=Ledger,
        notebooks=notebooks,
    )
    assert result.error is None
    assert sandbox.calls == ["ready", "close"]
    assert len(started) == 1


def test_a_sandbox_that_does_not_start(
    order: Order, notebooks: Path, started: list[WarmKernel]
) -> None:
    sandbox = FakeSandbox(Unreachable("It did not start.", "Look."))
    result = run(order, Silent(), sandbox=lambda: sandbox, journal=Ledger, notebooks=notebooks)
    assert (result.status, result.exit_status, steps_of(result)) == ("failed", 5, "nnnnnnn")
    assert result.error is not None
    assert (result.error.what, result.error.step) == ("It did not start.", None)
    assert sandbox.calls == ["ready", "close"]
    assert stored(order)["error"]["type"] == "Unreachable"


def test_a_sandbox_that_dies_in_the_middle(
    order: Order, notebooks: Path, kernel: WarmKernel
) -> None:
    """What the cell says, that nobody answers, would lead astray: the run's sandbox was its own."""
    with start_private() as sandbox:
        pid = sandbox.ready().pid
        dies = f"import os\nos.kill({pid}, 9)\nraise ConnectionRefusedError"
        write_notebook(notebooks / "01_create_key.ipynb", dies)
        result = run(
            order,
            Silent(),
            sandbox=lambda: sandbox,
            journal=Ledger,
            notebooks=notebooks,
            kernel=kernel,
        )
    assert (result.status, result.exit_status, steps_of(result)) == ("failed", 5, "dfnnnnn")
    assert result.error is not None
    assert (result.error.type, result.error.step, result.error.cell) == (
        "SandboxGone",
        "01_create_key",
        4,
    )
    assert result.error.what == (
        "The sandbox of this run ended (SIGKILL), and what the run had made ended with it."
    )
    assert result.error.fix.startswith("Run it again, as a new run")


def test_a_kernel_can_be_ended_at_once(tmp_path: Path) -> None:
    """It has no heartbeat, whose thread cannot be stopped before it has begun."""
    kernel = WarmKernel(tmp_path, {}, tmp_path / "kernel.log")
    kernel.start()
    heartbeats = [one for one in threading.enumerate() if isinstance(one, HBChannel)]
    kernel.close()
    assert heartbeats == []


def test_a_kernel_that_does_not_start_says_why(
    order: Order, notebooks: Path, started: list[WarmKernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYTHONDIR", "/proc/nowhere")
    result = run(order, Silent(), sandbox=None, journal=Ledger, notebooks=notebooks)
    assert (result.status, result.exit_status, steps_of(result)) == ("failed", 5, "nnnnnnn")
    assert result.error is not None
    assert result.error.type == "KernelError"
    assert "kernel did not start: FileNotFoundError" in result.error.what
    assert "'/proc/nowhere'" in result.error.what
    assert f"See {order.folder / 'kernel.log'}; " in result.error.fix
    assert "IPYTHONDIR" in result.error.fix


@pytest.mark.parametrize(
    ("how", "told"), [("_exit(3)", "(exit status 3)"), ("kill(os.getpid(), 9)", "(SIGKILL)")]
)
def test_a_kernel_that_dies(
    order: Order, notebooks: Path, started: list[WarmKernel], how: str, told: str
) -> None:
    write_notebook(notebooks / "01_create_key.ipynb", "x = 1", f"import os; os.{how}", "x = 2")
    result = run(order, Silent(), sandbox=None, journal=Ledger, notebooks=notebooks)
    assert (result.status, result.exit_status, steps_of(result)) == ("failed", 5, "dfnnnnn")
    assert result.error is not None
    assert result.error.type == "DeadKernelError"
    assert result.error.what == f"the kernel died while this cell ran {told}"
    cells = cells_of(order.folder / "01_create_key.ipynb")
    marks = [cell["metadata"]["papermill"]["status"] for cell in cells]
    assert marks == ["completed", "completed", "completed", "failed", "pending"]
    assert cells[3]["outputs"][0]["ename"] == "DeadKernelError"
    notebook = json.loads((order.folder / "01_create_key.ipynb").read_text())
    assert notebook["metadata"]["papermill"]["exception"] is True


def test_a_cell_that_takes_too_long(
    order: Order, notebooks: Path, started: list[WarmKernel]
) -> None:
    write_notebook(notebooks / "00_preflight.ipynb", "import time; time.sleep(60)", "x = 2")
    limited = replace(order, cell_limit_s=1)
    result = run(limited, Silent(), sandbox=None, journal=Ledger, notebooks=notebooks)
    assert (result.status, result.exit_status, steps_of(result)) == ("failed", 5, "fnnnnnn")
    assert result.error is not None
    assert result.error.what == "the cell took longer than 1 s"


SCRIPT = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
from keyrunbook.execution.progress import progress_to
from keyrunbook.execution.runner import Order, run
from keyrunbook.execution.selection import default_selection
from keyrunbook.ledger import Ledger
from keyrunbook.steps import STEPS
outputs, notebooks = map(Path, sys.argv[1:])
order = Order("r1", "sandbox", outputs, default_selection("sandbox", STEPS), STEPS, {})
result = run(order, progress_to(sys.stdout), sandbox=None, journal=Ledger, notebooks=notebooks)
sys.exit(result.exit_status)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return bool(status.stdout) and not status.stdout.startswith("Z")


def wait_for(condition: Any, limit_s: float = 30) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal(order: Order, notebooks: Path, tmp_path: Path, number: signal.Signals) -> None:
    note = tmp_path / "kernel.pid"
    code = f"""
        import os, pathlib, time
        note = pathlib.Path({str(note)!r})
        note.with_suffix(".new").write_text(str(os.getpid()))
        note.with_suffix(".new").rename(note)
        try:
            time.sleep(60)
        finally:
            note.with_suffix(".tidied").touch()
        """
    write_notebook(notebooks / "01_create_key.ipynb", textwrap.dedent(code), "x = 2")
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(order.outputs_dir), str(notebooks)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that SIGINT is not ignored, as in a background job
    )
    wait_for(note.exists)
    pid = int(note.read_text())
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    wait_for(lambda: not alive(pid))
    content = stored(order)
    letters = "".join(step["status"][0] for step in content["steps"])
    if number == signal.SIGKILL:  # nobody could write it down; pid and status tell
        assert (content["status"], letters) == ("running", "drnnnnn")
        assert content["pid"] == process.pid
        return
    assert process.returncode == 130
    assert (content["status"], content["exit_status"]) == ("interrupted", 130)
    assert letters == "dfnnnnn"
    assert content["error"]["type"] == "Interrupted"
    assert number.name in content["error"]["what"]
    assert "Traceback" not in output
    assert "✗ Interrupted in 01_create_key" in output
    words = f"runbook resume {order.run_id} --outputs {shlex.quote(str(order.outputs_dir))}\n"
    assert words in output
    assert note.with_suffix(".tidied").exists()
    cells = cells_of(order.folder / "01_create_key.ipynb")
    marks = [cell["metadata"]["papermill"]["status"] for cell in cells]
    assert marks == ["completed", "completed", "failed", "pending"]
