"""A sandbox's state on disk, so that it goes on after it was ended, killed or the machine was.

The folder holds one file, written as a whole beside the old one and then put in its place: after a
crash it is the old state or the new one. It is written before a call that changed something is
answered, and within a second after one that only read. It can be opened by its owner alone: it
holds secrets, and loading it can run code.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import pickle
import platform
import stat
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from iamaccess import Policy, parse_policy

from awssandbox import moto_store

if TYPE_CHECKING:
    from awssandbox.moto_iam import Credentials
    from awssandbox.world import World

NAME: Final = "sandbox.state"
FORMAT: Final = 1
LATEST_S: Final = 1.0
"""How long after a read the state is written that has its record."""

_PACKAGES: Final = ("keyrunbook", "moto", "botocore", "cryptography")
_LOCKS: Final = (type(threading.Lock()), type(threading.RLock()))


class NotKept(Exception):
    """The folder's state cannot be used: what is wrong, and what to do about it."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what} {fix}")
        self.what = what
        self.fix = fix


@dataclass(frozen=True, slots=True)
class State:
    """What is kept: the sandbox's memory, its id, by which runs know it, and whom it gives out."""

    world: World
    instance_id: str
    administrator: Credentials


def versions() -> Mapping[str, str]:
    """What wrote a state, and alone can read it again."""
    return {
        "format": str(FORMAT),
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


class Folder:
    """The folder of one sandbox's state, held until this process ends.

    Raises NotKept where it is not this user's alone, cannot be made, or another sandbox holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_own(path, path.lstat(), stat.S_ISDIR)
            self._held = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise NotKept(
                f"{path} cannot be used: {error.strerror}.", "Give another --state."
            ) from error
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotKept(
                f"Another sandbox goes on with the state in {path}.",
                "Use that one (runbook sandbox --status), or end it first.",
            ) from None

    def read(self) -> State | None:
        """The state that is there, None where there is none.

        Raises NotKept where the file is damaged, is not this user's alone, or was written by other
        versions.
        """
        path = self.path / NAME
        try:
            with path.open("rb") as file:
                _check_own(path, os.fstat(file.fileno()), stat.S_ISREG)
                header, body = file.readline(), file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise NotKept(
                f"{path} cannot be read: {error.strerror}.", "Give another --state."
            ) from error
        return _opened(path, header, body)

    def write(self, body: bytes) -> None:
        """Put `body` in the place of the state that is there, and on the disk."""
        header = {"versions": versions(), "sha256": hashlib.sha256(body).hexdigest()}
        descriptor, temporary = tempfile.mkstemp(dir=self.path, prefix=f".{NAME}.")  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps(header).encode() + b"\n" + body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path / NAME)
        except BaseException:
            os.unlink(temporary)
            raise
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _check_own(path: Path, info: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    if (
        info.st_uid != os.getuid()
        or stat.S_IMODE(info.st_mode) & 0o077
        or not is_kind(info.st_mode)
    ):
        raise NotKept(
            f"{path} can be changed or read by others, or is not yours: it is not trusted.",
            f"Take it back (chmod go= {path}), or give another --state.",
        )


def _opened(path: Path, header: bytes, body: bytes) -> State:
    again = f"Move {path} away to begin anew."
    try:
        said = json.loads(header)
        wrote, digest = said["versions"], said["sha256"]
    except (ValueError, KeyError, TypeError):
        raise NotKept(f"{path} is no state of a sandbox.", again) from None
    if wrote != versions():
        theirs = ", ".join(f"{name} {wrote.get(name)}" for name in versions())
        raise NotKept(
            f"{path} was written by other versions: {theirs}.",
            f"Use those again, or begin anew: move {path} away.",
        )
    if hashlib.sha256(body).hexdigest() != digest:
        raise NotKept(f"{path} is damaged: it is not what was written.", again)
    try:
        found = pickle.loads(body)
    except (pickle.UnpicklingError, AttributeError, ImportError, TypeError, ValueError) as error:
        raise NotKept(
            f"{path} was written by another state of this code ({error}).", again
        ) from error
    assert isinstance(found, State)
    return found


class Keeper:
    """Writes a sandbox's state whenever it changed. `start` lets it write what only reads left."""

    def __init__(self, folder: Folder, state: State) -> None:
        self._folder = folder
        self._state = state
        self._writing = threading.Lock()
        self._left = threading.Event()
        self._ended = threading.Event()

    def start(self) -> None:
        """Write at once, and from now on within a second what `note` was told of."""
        self.save()
        threading.Thread(target=self._write_late, name="state", daemon=True).start()

    def note(self, *, read_only: bool) -> None:
        """A call was served: write what it changed now, a mere record soon."""
        if read_only:
            self._left.set()
        else:
            self.save()

    def save(self) -> None:
        """Write the state; when this returns it is on the disk."""
        with self._writing:
            self._left.clear()
            with self._state.world.lock:
                body = dumped(self._state)
            self._folder.write(body)

    def end(self) -> None:
        """Write what is left."""
        self._ended.set()
        self.save()

    def _write_late(self) -> None:
        while not self._ended.wait(LATEST_S):
            if self._left.is_set():
                self.save()


def dumped(state: State) -> bytes:
    """The state in bytes; its world must be locked."""
    moto_store.write_back()
    body = io.BytesIO()
    _Pickler(body, protocol=pickle.HIGHEST_PROTOCOL).dump(state)
    return body.getvalue()


class _Pickler(pickle.Pickler):
    """Takes what has no state of its own, or one that is compiled, by what makes it again."""

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, _LOCKS):
            return (threading.RLock if isinstance(thing, _LOCKS[1]) else threading.Lock), ()
        if isinstance(thing, Policy):
            return partial(parse_policy, kind=thing.kind, name=thing.name), (dict(thing.document),)
        if hasattr(thing, "private_bytes"):
            return _private_key, (_pem(thing),)
        return NotImplemented


def _pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def _private_key(pem: bytes) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return load_pem_private_key(pem, None)
