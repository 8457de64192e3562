"""Starts and finds sandboxes: as processes, of which only the endpoint is known.

A sandbox is *private* (it ends with whoever started it) or *shared*: one for this user, started
on demand, which ends when nobody has used it for a while. Whoever starts one writes where it is
into a hand-off file that its owner alone can read; notebooks find it there.
"""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import platformdirs
from filelock import FileLock

from keyrunbook.errors import SandboxGone, Unreachable

HANDED_OVER = "KEYRUNBOOK_SANDBOX"
"""The environment variable that names the hand-off file of the sandbox to use."""

TLS = "--tls"
"""The option by which a sandbox is spoken to as AWS is: every run's own has it."""
IDLE_TIMEOUT_SECONDS = 4 * 3600
START_LIMIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Handoff:
    """What a client needs to know of a running sandbox."""

    endpoint_url: str
    region: str
    account: str
    access_key_id: str
    secret_access_key: str
    ca_bundle: str | None
    instance_id: str
    pid: int
    control: str

    def __repr__(self) -> str:
        return f"<sandbox {self.instance_id} at {self.endpoint_url}>"


def shared_path() -> Path:
    """Where the shared sandbox's hand-off file is."""
    return platformdirs.user_cache_path("keyrunbook") / "sandbox.json"


def shared_place() -> Path:
    """The same path, in a folder that is there. Raises Unreachable where it cannot be made."""
    path = shared_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Unreachable(
            f"The folder {path.parent}, where a sandbox is found, cannot be made: "
            f"{error.strerror}.",
            "Set XDG_CACHE_HOME to a folder that you may write.",
        ) from error
    return path


def read(path: Path) -> Handoff | None:
    """The sandbox that `path` tells of, or None when there is none or it is not running.

    Raises SandboxGone when the file can be read by others than its owner, or is damaged.
    """
    try:
        with path.open(encoding="utf-8") as file:
            info = os.fstat(file.fileno())  # of what is read, whatever is at the path by now
            if stat.S_IMODE(info.st_mode) & 0o077 or info.st_uid != os.getuid():
                raise _not_trusted(path)
            text = file.read()
    except FileNotFoundError:
        return None
    except PermissionError:
        raise _not_trusted(path) from None
    try:
        values = json.loads(text)
        handoff = Handoff(**{name: values[name] for name in Handoff.__dataclass_fields__})
    except (ValueError, KeyError, TypeError) as error:
        raise SandboxGone(
            f"{path} does not tell of a sandbox: {error}.",
            "Delete the file and start the sandbox again.",
        ) from error
    return handoff if _alive(handoff) else None


def _not_trusted(path: Path) -> SandboxGone:
    return SandboxGone(
        f"{path} can be read by others, or is not yours: the sandbox it names is not trusted.",
        "Delete the file and start the sandbox again.",
    )


def _alive(handoff: Handoff) -> bool:
    try:
        return bool(command(handoff, "status").get("instance_id") == handoff.instance_id)
    except Unreachable:
        return False


def command(handoff: Handoff, name: str, **fields: Any) -> dict[str, Any]:
    """Send one command to a sandbox's control channel.

    The commands are ``status``, ``stop``, ``advance`` (`seconds`); ``new-account``, which is
    answered as a start is: with the credentials of a fresh account's administrator; and ``faults``
    (`rules`, as docs/faults.md has them): what is to go wrong from now on. What a sandbox refuses
    it answers with an ``error``.

    Raises Unreachable when nobody answers there.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(10)
            channel.connect(handoff.control)
            channel.sendall(json.dumps({"command": name, **fields}).encode() + b"\n")
            answer = channel.makefile("rb").readline()
        return dict(json.loads(answer))
    except (OSError, ValueError) as error:
        raise Unreachable(
            f"The sandbox (process {handoff.pid}) does not answer: {error}.",
            "Start one with: runbook sandbox",
        ) from error


def _readable(stream: IO[str], limit_s: float) -> bool:
    """Whether there is something to read, or the end, within the limit."""
    with selectors.DefaultSelector() as selector:  # select.select stops at 1,024 open files
        selector.register(stream, selectors.EVENT_READ)
        return bool(selector.select(limit_s))


class Sandbox:
    """A sandbox process that is being started; `ready` waits for it."""

    def __init__(
        self,
        process: subprocess.Popen[str],
        path: Path,
        folder: Any = None,
        start_seconds: float = START_LIMIT_SECONDS,
    ) -> None:
        self._process = process
        self._folder = folder
        self._start_seconds = start_seconds
        self._handoff: Handoff | None = None
        self.path = path

    def ready(self) -> Handoff:
        """Wait until it serves. Raises Unreachable when it ended instead, or takes too long."""
        if self._handoff is None:
            assert self._process.stdout is not None
            if not _readable(self._process.stdout, self._start_seconds):
                self.close()
                raise Unreachable(
                    f"The sandbox did not start within {self._start_seconds:.0f} seconds.",
                    "Give it more (start_seconds), or try it alone with: runbook sandbox",
                )
            if not self._process.stdout.readline():
                status = self._process.wait()
                raise Unreachable(
                    f"The sandbox could not start (exit status {status}).",
                    "Its message is above; to see it alone, run: runbook sandbox",
                )
            self._handoff = read(self.path)
            if self._handoff is None:
                raise Unreachable(
                    "The sandbox ended as soon as it had started.", "Run: runbook sandbox"
                )
        return self._handoff

    def ended(self) -> SandboxGone | None:
        """What to say when it ended by itself; None while it runs.

        Asked once a call to it has failed: a process that dies hangs up before it has ended.
        """
        try:
            status = self._process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            return None
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return SandboxGone(
            f"The sandbox of this run ended ({how}), and what the run had made ended with it.",
            "Run it again, as a new run; if it happens again, look for what ends it: memory, or a "
            "limit.",
        )

    def environment(self) -> dict[str, str]:
        """What a process's environment needs so that notebooks use this sandbox."""
        return {HANDED_OVER: str(self.path)}

    def close(self) -> None:
        """End a private sandbox, and wait until it has ended."""
        if self._process.stdin is not None:
            self._process.stdin.close()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start_private(*arguments: str, start_seconds: float = START_LIMIT_SECONDS) -> Sandbox:
    """Start a sandbox that ends with this process. Returns at once; `arguments` are its options.

    `start_seconds`: how long `ready` waits for it.
    """
    folder = tempfile.TemporaryDirectory(prefix="keyrunbook-")
    path = Path(folder.name) / "sandbox.json"
    process = subprocess.Popen(
        _command(path, "--until-stdin-closes", *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    return Sandbox(process, path, folder, start_seconds)


def hold_start(path: Path) -> int:
    """The lock under which a shared sandbox is started, held by an open file descriptor.

    It is inherited by the program that this process becomes, which closes it when its hand-off
    file is there.
    """
    descriptor = os.open(_start_lock(path), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # the same lock as FileLock's
    os.set_inheritable(descriptor, True)
    return descriptor


def _start_lock(path: Path) -> Path:
    return path.with_suffix(".lock")


def shared(start_seconds: float = START_LIMIT_SECONDS) -> Handoff:
    """The shared sandbox of this user, started when none is running.

    Raises Unreachable when it ended instead, or takes longer than `start_seconds`.
    """
    path = shared_place()
    with FileLock(_start_lock(path)):
        if running := read(path):
            return running
        log = path.with_suffix(".log").open("w")
        with log:
            process = subprocess.Popen(
                _command(path, TLS, "--idle-timeout", str(IDLE_TIMEOUT_SECONDS)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # the line it prints holds a secret
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + start_seconds
        while time.monotonic() < deadline and process.poll() is None:
            if path.exists() and (running := read(path)):
                process.returncode = 0  # it outlives us, which Popen would warn of
                return running
            time.sleep(0.02)
    raise Unreachable(
        f"The sandbox did not start (its messages are in {path.with_suffix('.log')}).",
        "Give it more time (start_seconds), or try it alone with: runbook sandbox",
    )


def _command(handoff: Path, *arguments: str) -> list[str]:
    options = ("--port", "0", "--handoff", str(handoff), *arguments)
    return [sys.executable, "-m", "awssandbox", *options]


def handed_over() -> Handoff | None:
    """The sandbox that the environment names, or None when it names none.

    Raises SandboxGone when it names one that is not running.
    """
    if not (path := os.environ.get(HANDED_OVER)):
        return None
    if running := read(Path(path)):
        return running
    raise SandboxGone(
        f"{HANDED_OVER} names a sandbox that is not running ({path}).",
        f"Start the sandbox again, or unset {HANDED_OVER}.",
    )


def gone(run_id: str) -> SandboxGone:
    """The error of a run that was made on another sandbox than the one there is."""
    return SandboxGone(
        f"The sandbox of the run {run_id!r} is gone, and its AWS account with it.",
        "Start a new run: give a new run_id, or leave run_id out and begin at 00 or 01.",
    )
