"""`runbook resume` after the runner, or the kernel, was killed: real processes, a real sandbox."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from keyrunbook import sandboxes
from keyrunbook.ledger import NAME
from keyrunbook.sandboxes import HANDED_OVER, Sandbox
from keyrunbook.steps import STEPS
from kills import Account, wrong_in_the_ledger, wrong_when_gone, wrong_when_made

pytestmark = pytest.mark.e2e

BIN = Path(sys.executable).parent
LIMIT_S = 120.0


@pytest.fixture(scope="module")
def host() -> Iterator[Sandbox]:
    with sandboxes.start_private("--event-delay", "0") as started:
        started.ready()
        yield started


@pytest.fixture
def account(host: Sandbox, tmp_path: Path) -> Account:
    return Account(host, tmp_path)


def begin(account: Account, *words: str) -> subprocess.Popen[str]:
    """Start the command on the account's sandbox."""
    return subprocess.Popen(
        [str(BIN / "runbook"), *words, "--outputs", str(account.path.parent)],
        env={**os.environ, HANDED_OVER: str(account.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the command's end; its status and what it said."""
    said, _ = process.communicate(timeout=LIMIT_S)
    return process.returncode, said


def runbook(account: Account, *words: str) -> tuple[int, str]:
    return end(begin(account, *words))


def result(account: Account) -> dict[str, Any]:
    path = account.ledger.path.with_name("result.json")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def until_intent(account: Account, call: str) -> None:
    """Wait until the call is about to be sent, or was just now."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        text = account.ledger.path.read_text() if account.ledger.path.exists() else ""
        if f'"kind": "intent", "call": "{call}"' in text:
            return
        time.sleep(0.001)
    pytest.fail(f"{call} never came")


def kernel_of(runner: subprocess.Popen[str]) -> int:
    (kernel,) = (
        child.pid
        for child in psutil.Process(runner.pid).children(recursive=True)
        if "ipykernel" in " ".join(child.cmdline())
    )
    return kernel


def kill(runner: subprocess.Popen[str], victim: str) -> tuple[int, str]:
    """SIGKILL to one of the run's two processes. A kernel whose runner is gone ends by itself."""
    kernel = kernel_of(runner)
    os.kill(runner.pid if victim == "runner" else kernel, signal.SIGKILL)
    ended = end(runner)
    psutil.wait_procs([psutil.Process(kernel)] if psutil.pid_exists(kernel) else [], timeout=20)
    return ended


def run(account: Account, *words: str) -> subprocess.Popen[str]:
    return begin(account, "run", "--run-id", account.run_id, *words)


KILLS = [
    ("runner", "kms:CreateKey", "01_create_key"),
    ("kernel", "imagebuilder:CreateWorkflow", "03_encrypt_workflow"),
    ("runner", "iam:DeleteRolePolicy", "05_revoke_access"),
]


@pytest.mark.parametrize(("victim", "call", "step"), KILLS)
def test_after_a_kill_the_run_says_where_it_stood_and_is_gone_on_with(
    victim: str, call: str, step: str, account: Account
) -> None:
    runner = run(account)
    until_intent(account, call)
    status, said = kill(runner, victim)
    stored = result(account)
    _, shown = runbook(account, "show", account.run_id)
    if victim == "runner":
        assert status == -signal.SIGKILL
        assert (stored["status"], stored["exit_status"]) == ("running", None)
        stood = f"its process is gone (process {runner.pid}) in {step}"
    else:
        assert status == 5, said
        assert (stored["status"], stored["exit_status"]) == ("failed", 5)
        assert said.rstrip().count("✗ Failed in") == 1
        stood = f"failed in {step}: DeadKernelError"
    assert stood in shown
    status, said = runbook(account, "resume", account.run_id)
    assert status == 0, said
    assert f"It stood here: {stood}." in said
    assert "✓ PROVED" in said
    stored = result(account)
    assert (stored["status"], stored["exit_status"], stored["verdict"]) == ("done", 0, "PROVED")
    assert {one["status"] for one in stored["steps"]} == {"done"}
    assert [*wrong_when_gone(account), *wrong_in_the_ledger(account)] == []


def test_it_keeps_the_steps_and_parameters_through_two_kills(account: Account) -> None:
    runner = run(account, "--steps", "00..04", "-p", "tags", "{team: images}")
    until_intent(account, "kms:CreateAlias")
    kill(runner, "runner")
    again = begin(account, "resume", account.run_id)
    until_intent(account, "iam:CreateRole")
    kill(again, "runner")
    status, said = runbook(account, "resume", account.run_id, "--json")
    assert status == 0, said
    stored = result(account)
    assert [one["status"] for one in stored["steps"]] == ["done"] * 5 + ["skipped"] * 2
    assert stored["selection"]["by_name"] is True
    assert stored["parameters"]["tags"] == {"team": "images"}
    assert [*wrong_when_made(account), *wrong_in_the_ledger(account)] == []
    tags = account.client("kms").list_resource_tags(KeyId=stored["key_arn"])["Tags"]
    assert {"TagKey": "team", "TagValue": "images"} in tags
    roles = account.client("iam").list_role_tags(RoleName="ImageBuilderExecutionRole")["Tags"]
    assert {"Key": "team", "Value": "images"} in roles


def test_notebooks_run_by_hand_are_gone_on_with_and_then_there_is_nothing(
    account: Account,
) -> None:
    status, said = end(run(account, "--steps", "00..03", "-p", "workflow_name", "by-hand"))
    assert status == 0, said
    account.ledger.path.with_name("result.json").unlink()
    status, said = runbook(account, "resume", account.run_id)
    assert status == 0, said
    assert "no result.json" in said
    assert [one["status"] for one in result(account)["steps"]] == ["done"] * 7
    assert [*wrong_when_gone(account), *wrong_in_the_ledger(account)] == []
    status, said = runbook(account, "resume", account.run_id)
    assert (status, said) == (0, "There is nothing to go on with: done, exit status 0.\n")


# What it refuses


@pytest.fixture(scope="module")
def only_looked(host: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Account:
    """A run that has done 00 and no more."""
    account = Account(host, tmp_path_factory.mktemp("looked"))
    assert end(run(account, "--steps", "00"))[0] == 0
    return account


@pytest.fixture
def stopped(only_looked: Account) -> Iterator[Account]:
    """The same, to be spoiled: its files are put back afterwards."""
    folder = only_looked.ledger.path.parent
    kept = {one: one.read_bytes() for one in (only_looked.path, *folder.iterdir()) if one.is_file()}
    yield only_looked
    for path, content in kept.items():
        path.write_bytes(content)


def put(account: Account, **fields: Any) -> None:
    path = account.ledger.path.with_name("result.json")
    path.write_text(json.dumps({**result(account), **fields}))


def damage_result(account: Account) -> str:
    path = account.ledger.path.with_name("result.json")
    path.write_text(path.read_text()[:-20])
    return f"{path} is damaged"


def damage_ledger(account: Account) -> str:
    path = account.ledger.path
    path.write_text(path.read_text().replace('"sandbox"', '"sandboy"', 1))
    return f"{path}, line 1, is damaged"


def lose_sandbox(account: Account) -> str:
    put(account, status="failed", selection={"steps": STEPS, "by_name": False})
    account.path.unlink()
    return f"{HANDED_OVER} names a sandbox that is not running"


REFUSED: list[tuple[Callable[[Account], str], int]] = [
    (damage_result, 2),
    (damage_ledger, 1),
    (lose_sandbox, 5),
]


@pytest.mark.parametrize(("spoil", "status"), REFUSED)
def test_what_it_cannot_go_on_from_is_told_with_its_place(
    spoil: Callable[[Account], str], status: int, stopped: Account
) -> None:
    told = spoil(stopped)
    came, said = runbook(stopped, "resume", stopped.run_id)
    assert (came, told in said) == (status, True), said


def test_a_run_whose_process_lives_is_refused_by_its_name(stopped: Account) -> None:
    put(stopped, status="running", pid=os.getpid())
    with stopped.ledger.path.with_name(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, said = runbook(stopped, "resume", stopped.run_id)
    assert status == 5
    assert f"Run {stopped.run_id} is being run by process {os.getpid()}" in said


def test_a_run_on_a_sandbox_of_its_own_that_ended_with_it_says_so(tmp_path: Path) -> None:
    words = [str(BIN / "runbook"), "run", "--outputs", str(tmp_path), "--run-id", "own"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + LIMIT_S
    while not (tmp_path / "own" / NAME).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    kill(process, "runner")
    words = [str(BIN / "runbook"), "resume", "own", "--outputs", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 5
    assert "The sandbox of the run 'own' is gone" in done.stderr


def test_a_run_that_is_not_there_is_told_with_those_that_are(stopped: Account) -> None:
    status, said = runbook(stopped, "resume", "other")
    assert status == 2
    assert stopped.run_id in said
