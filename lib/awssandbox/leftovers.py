"""The folders that sandboxes leave behind when they are killed, removed at the next start."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
import time
from pathlib import Path
from typing import Final

PREFIX: Final = "awssandbox-"
SOCKET: Final = "control"
STARTING_S: Final = 3600
"""A younger folder without a control socket may be of a sandbox that is just starting."""


def remove() -> None:
    """Remove this user's folders of sandboxes of which nobody answers any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if _is_left(folder):
            # Two starts may remove the same folder: what one of them misses, the other removes.
            shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    try:
        info = folder.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
        return False
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(1)
        try:
            channel.connect(str(folder / SOCKET))
        except ConnectionRefusedError:
            return True
        except FileNotFoundError:
            return time.time() - info.st_mtime > STARTING_S
        except OSError:  # somebody holds it and is busy, or the path is too long to know
            return False
    return False
