"""How a running sandbox is found and told things: a hand-off file and a local socket.

Neither is the AWS port: no AWS client can move the clock or end the sandbox, and no web page can
reach a Unix socket. Both belong to the user who started it, and only that user can open them.
"""

from __future__ import annotations

import json
import os
import socketserver
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Command = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Control(socketserver.ThreadingUnixStreamServer):
    """A socket at `path` that answers one JSON object a line: ``{"command": "status"}``.

    `commands` maps a command's name to what carries it out; what it raises as ValueError is
    answered as an error.
    """

    daemon_threads = True

    def __init__(self, path: Path, commands: Mapping[str, Command]) -> None:
        self.commands = commands
        before = os.umask(0o177)
        try:
            super().__init__(str(path), _Handler)
        finally:
            os.umask(before)

    def start(self) -> None:
        """Serve in a thread of its own, until `shutdown`."""
        threading.Thread(target=self.serve_forever, name="control", daemon=True).start()


class _Handler(socketserver.StreamRequestHandler):
    server: Control

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(json.dumps(self._answer(line)).encode() + b"\n")

    def _answer(self, line: bytes) -> Mapping[str, Any]:
        try:
            asked = json.loads(line)
            name = asked["command"]
        except (ValueError, KeyError, TypeError):
            return {"error": "a line is a JSON object with a command"}
        command = self.server.commands.get(name) if isinstance(name, str) else None
        if command is None:
            return {"error": f"there is no command {name}; {', '.join(self.server.commands)} are"}
        try:
            return command(asked)
        except (ValueError, OverflowError) as error:
            return {"error": str(error)}


def write_hand_off(path: Path, values: Mapping[str, Any]) -> None:
    """Write what a client needs to know, at once and readable by its owner only.

    Raises OSError when the folder is not there or cannot be written.
    """
    # mkstemp makes files of mode 0600, so the secret is never readable by others.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(values, file)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
