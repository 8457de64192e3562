"""Sandboxes as processes: private ones end with their owner, the shared one is found or started."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from keyrunbook import sandboxes
from keyrunbook.errors import SandboxGone, Unreachable
from keyrunbook.sandboxes import HANDED_OVER, Handoff, Sandbox, command, read, start_private

GONE = Handoff(
    endpoint_url="http://127.0.0.1:1",
    region="us-west-2",
    account="111122223333",
    access_key_id="AKIAIOSFODNN7EXAMPLE",
    secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    ca_bundle=None,
    instance_id="abc",
    pid=1,
    control="/nowhere/control",
)


def write(path: Path, values: object, mode: int = 0o600) -> Path:
    path.write_text(json.dumps(values), encoding="utf-8")
    path.chmod(mode)
    return path


def eventually(condition: Callable[[], bool], limit_s: float = 10) -> bool:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def answers(handoff: Handoff) -> bool:
    """Whether somebody listens where the sandbox was."""
    address = urlsplit(handoff.endpoint_url)
    with closing(socket.socket()) as channel:
        return channel.connect_ex((str(address.hostname), int(address.port or 0))) == 0


# The hand-off file


def test_no_file_no_sandbox(tmp_path: Path) -> None:
    assert read(tmp_path / "sandbox.json") is None


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o602, 0o610])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "sandbox.json", asdict(GONE), mode)
    with pytest.raises(SandboxGone, match="can be read by others") as caught:
        read(path)
    assert str(path) in caught.value.what
    assert GONE.secret_access_key not in str(caught.value)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "sandbox.json", asdict(GONE))
    os.chown(path, 65534, -1)
    with pytest.raises(SandboxGone, match="not trusted"):
        read(path)


def test_a_sandbox_that_is_not_running_is_none(tmp_path: Path) -> None:
    assert read(write(tmp_path / "sandbox.json", asdict(GONE))) is None


@pytest.mark.parametrize("values", [[], None, "x", {}, {"pid": 1}])
def test_a_damaged_file_is_named(tmp_path: Path, values: object) -> None:
    path = write(tmp_path / "sandbox.json", values)
    with pytest.raises(SandboxGone, match="does not tell of a sandbox") as caught:
        read(path)
    assert str(path) in caught.value.what
    path.write_text("{", encoding="utf-8")
    with pytest.raises(SandboxGone, match="does not tell of a sandbox"):
        read(path)


def test_what_is_shown_of_a_sandbox_holds_no_secret() -> None:
    assert repr(GONE) == "<sandbox abc at http://127.0.0.1:1>"


def test_nobody_answers_on_a_control_channel_that_is_gone() -> None:
    with pytest.raises(Unreachable, match="process 1") as caught:
        command(GONE, "status")
    assert caught.value.fix == "Start one with: runbook sandbox"


def test_the_environment_names_the_sandbox_to_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(HANDED_OVER, raising=False)
    assert sandboxes.handed_over() is None
    monkeypatch.setenv(HANDED_OVER, str(write(tmp_path / "sandbox.json", asdict(GONE))))
    with pytest.raises(SandboxGone, match="not running") as caught:
        sandboxes.handed_over()
    assert f"unset {HANDED_OVER}" in caught.value.fix


def test_a_folder_for_the_shared_one_that_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    place = tmp_path / "file" / "keyrunbook" / "sandbox.json"
    monkeypatch.setattr(sandboxes, "shared_path", lambda: place)
    with pytest.raises(Unreachable, match=f"{place.parent}.* cannot be made") as caught:
        sandboxes.shared()
    assert "XDG_CACHE_HOME" in caught.value.fix


# A private one


@pytest.fixture(scope="module")
def private() -> Iterator[Sandbox]:
    """One sandbox for the tests that leave it as it is."""
    with start_private() as sandbox:
        yield sandbox


@pytest.mark.e2e
def test_a_private_sandbox_serves_and_is_handed_over(
    private: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    handoff = private.ready()
    assert private.ready() is handoff
    assert answers(handoff)
    assert private.path.stat().st_mode & 0o777 == 0o600
    (name,) = private.environment()
    monkeypatch.setenv(name, private.environment()[name])
    assert sandboxes.handed_over() == handoff


@pytest.mark.e2e
def test_its_status_holds_no_secret_and_its_time_can_be_moved(private: Sandbox) -> None:
    handoff = private.ready()
    before = command(handoff, "status")
    assert before["instance_id"] == handoff.instance_id
    assert handoff.secret_access_key not in json.dumps(before)
    moved = command(handoff, "advance", seconds=3600)
    assert moved["time"] > before["time"]
    assert "error" in command(handoff, "advance", seconds="soon")
    assert "there is no command" in command(handoff, "reset")["error"]


@pytest.mark.e2e
def test_another_sandbox_behind_the_same_file_is_not_taken_for_it(
    private: Sandbox, tmp_path: Path
) -> None:
    values = {**asdict(private.ready()), "instance_id": "another"}
    assert read(write(tmp_path / "sandbox.json", values)) is None


@pytest.mark.e2e
def test_a_private_sandbox_ends_when_it_is_closed() -> None:
    with start_private() as sandbox:
        handoff = sandbox.ready()
        folder = sandbox.path.parent
        assert folder.exists()
    assert not answers(handoff)
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(handoff.pid, 0)


OWNER = """
import sys
from keyrunbook.sandboxes import start_private
sandbox = start_private()
handoff = sandbox.ready()
print(handoff.endpoint_url, flush=True)
sys.stdin.read()
"""


@pytest.mark.e2e
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_private_sandbox_ends_with_its_owner_however_that_dies(how: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        handoff = Handoff(**{**asdict(GONE), "endpoint_url": url})
        assert answers(handoff)
        owner.send_signal(how)
    assert eventually(lambda: not answers(handoff))


@pytest.mark.e2e
def test_a_sandbox_that_cannot_start_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        start_private("--region", "nowhere") as sandbox,
        pytest.raises(Unreachable, match=r"could not start \(exit status 2\)"),
    ):
        sandbox.ready()
    assert "'nowhere' is not a Region" in capfd.readouterr().err


@pytest.mark.e2e
def test_waiting_for_a_sandbox_has_a_limit(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    sandbox = Sandbox(process, tmp_path / "sandbox.json", start_seconds=0.2)
    with pytest.raises(Unreachable, match="did not start within 0 seconds"):
        sandbox.ready()
    assert process.poll() is not None


# The shared one


@pytest.fixture
def shared_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for the shared sandbox of this test alone; whatever runs there is stopped."""
    path = tmp_path / "cache" / "sandbox.json"
    monkeypatch.setattr(sandboxes, "shared_path", lambda: path)
    yield path
    if (running := read(path)) is not None:
        command(running, "stop")
        assert eventually(lambda: not answers(running))


FINDER = """
import sys
from pathlib import Path
from keyrunbook import sandboxes
path = Path(sys.argv[1])
sandboxes.shared_path = lambda: path
print("ready", flush=True)
sys.stdin.readline()
print(sandboxes.shared().instance_id, flush=True)
"""


@pytest.mark.e2e
def test_processes_that_need_the_shared_sandbox_at_once_start_one(shared_path: Path) -> None:
    finders = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", FINDER, str(shared_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for finder in finders:
        assert finder.stdout is not None
        assert finder.stdout.readline() == "ready\n"
    found = set()
    for finder in finders:
        assert finder.stdin is not None
        finder.stdin.write("go\n")
        finder.stdin.flush()
    for finder in finders:
        out, _ = finder.communicate()
        assert finder.returncode == 0
        found.add(out.strip())
    assert len(found) == 1

    running = read(shared_path)  # it outlives those who started it
    assert running is not None
    assert {running.instance_id} == found
    assert sandboxes.shared() == running
    assert shared_path.stat().st_mode & 0o777 == 0o600
    assert shared_path.parent.stat().st_mode & 0o777 == 0o700
    assert running.secret_access_key not in shared_path.with_suffix(".log").read_text()


@pytest.mark.e2e
def test_one_that_was_killed_is_replaced(shared_path: Path) -> None:
    first = sandboxes.shared()
    os.kill(first.pid, signal.SIGKILL)
    assert eventually(lambda: not answers(first))
    second = sandboxes.shared()
    assert second.instance_id != first.instance_id
    assert answers(second)


@pytest.mark.e2e
def test_a_shared_sandbox_that_cannot_start_names_its_log(
    shared_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path, *arguments: str) -> list[Any]:
        return [sys.executable, "-c", "import sys; sys.exit('no such thing')"]

    monkeypatch.setattr(sandboxes, "_command", broken)
    with pytest.raises(Unreachable, match="did not start") as caught:
        sandboxes.shared()
    log = shared_path.with_suffix(".log")
    assert str(log) in caught.value.what
    assert log.read_text() == "no such thing\n"
