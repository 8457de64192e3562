"""One warm kernel for a whole run.

Trade-off, measured: starting a kernel and importing boto3 and matplotlib in it costs about a second
a notebook. One kernel, started before anything else and reset between notebooks, costs it once and
hides it behind the sandbox's own start. In return a notebook that changes the inside of an imported
module would change it for the next; plain papermill and nbval, with a kernel for each notebook, do
not have this.

The kernel is always this interpreter's own (never one that JUPYTER_PATH names), talks over
encrypted local sockets, ignores the terminal's Ctrl-C (its owner decides), and ends itself when its
owner dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync

from keyrunbook.errors import RunbookError
from keyrunbook.show.widgets import FRONT_END

PREPARE = "from keyrunbook.execution import warm as _warm; _warm.prepare(); del _warm"
RESET = "from keyrunbook.execution import warm as _warm; _warm.reset()"


class KernelError(RunbookError):
    """The kernel did not start, or did not answer."""


def kernel_manager() -> AsyncKernelManager:
    """A manager for this interpreter's kernel over encrypted sockets, not yet started."""
    return AsyncKernelManager(
        kernel_name="python3",
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
        transport_encryption="required",
        shutdown_wait_time=4.0,
    )


def _of_nobody(environment: Mapping[str, str]) -> dict[str, str]:
    """Without the word for a front end that shows widgets: this process may be one's kernel."""
    return {name: value for name, value in environment.items() if name != FRONT_END}


class WarmKernel:
    """A kernel that outlives its notebooks. Use from one thread.

    `start` returns at once and lets the kernel import `warm.PRELOADED` by itself; `ready` waits.
    `close` may be called at any time, also twice.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], log: Path) -> None:
        """`folder`: working directory of the cells. `environment`: added to this process's.

        `log` gets what the process says outside the cells: crashes, mostly. No log, nothing said.
        """
        self._folder = folder
        self._log = log
        self._environment = dict(environment)
        self.manager: AsyncKernelManager | None = None
        self.client: Any = None
        self.language_info: dict[str, Any] = {}

    def start(self) -> None:
        """Starts the process and sends it to prepare itself.

        Raises:
            OSError: the process could not be started.
        """
        self.manager = kernel_manager()
        run_sync(self._start)()

    async def _start(self) -> None:
        assert self.manager is not None
        with self._log.open("wb") as log:
            await self.manager.start_kernel(
                cwd=str(self._folder),
                env={**_of_nobody(os.environ), **self._environment},
                extra_arguments=["--HistoryManager.hist_file=:memory:"],
                stdout=log,
                stderr=log,
            )
        self.client = self.manager.client()
        # Without the heartbeat: the process itself says whether it lives. Its thread, when stopped
        # before it has begun, opens one socket after the other until there are none left.
        self.client.start_channels(hb=False)
        self.client.allow_stdin = False
        # Sent before the kernel listens: the socket keeps it, and the kernel begins with it.
        self.client.execute(PREPARE, silent=True, store_history=False, stop_on_error=False)

    def ready(self, limit_s: float = 60.0) -> None:
        """Waits until the kernel answers.

        Raises:
            KernelError: it died, or did not answer within `limit_s`.
        """
        try:
            run_sync(self._ready)(limit_s)
        except RuntimeError as error:
            raise self._error("did not start") from error

    async def _ready(self, limit_s: float) -> None:
        await self.client.wait_for_ready(timeout=limit_s)
        reply = await self._reply_to(self.client.kernel_info(), limit_s)
        self.language_info = dict(reply["content"]["language_info"])

    def fresh(self, limit_s: float = 60.0) -> None:
        """Brings the kernel back to a state without any notebook's variables.

        Raises:
            KernelError: the kernel died, did not answer, or could not be reset.
        """
        run_sync(self._fresh)(limit_s)

    async def _fresh(self, limit_s: float) -> None:
        message = self.client.execute(RESET, silent=True, store_history=False, stop_on_error=False)
        reply = await self._reply_to(message, limit_s)
        if reply["content"]["status"] != "ok":
            told = f"{reply['content'].get('ename')}: {reply['content'].get('evalue')}"
            raise self._error(f"could not be reset between notebooks ({told})")

    async def _reply_to(self, message: str, limit_s: float) -> dict[str, Any]:
        deadline = asyncio.get_running_loop().time() + limit_s
        while asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(Empty):
                reply: dict[str, Any] = await self.client.get_shell_msg(timeout=1)
                if reply["parent_header"].get("msg_id") == message:
                    return reply
                continue
            if not await self.client.is_alive():
                raise self._error("died")
        raise self._error(f"did not answer within {limit_s:.0f} s")

    def _error(self, what: str) -> KernelError:
        """With the last line that the process said, mostly the reason."""
        said = self._log.read_text(errors="replace").split("\n") if self._log.is_file() else []
        last = next((f": {line.strip()}" for line in reversed(said) if line.strip()), "")
        look = f"See {self._log}; its folder (IPYTHONDIR) must be writable. " if last else ""
        return KernelError(f"The notebooks' kernel {what}{last}.", f"{look}Run it again.")

    def interrupt(self, limit_s: float = 3.0) -> None:
        """Interrupts the running cell and gives it `limit_s` to end in its own way.

        So a step that is interrupted between a call to AWS and its line in the ledger still writes
        that line. What arrives meanwhile goes into the notebook: nbclient's own tasks are let run.
        """
        run_sync(self._interrupt)(limit_s)

    async def _interrupt(self, limit_s: float) -> None:
        if self.manager is None or not await self.manager.is_alive():
            return
        await self.manager.interrupt_kernel()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            ended, _ = await asyncio.wait(others, timeout=0.2)
            _retrieve(ended)

    def exit_status(self) -> int | None:
        """The dead kernel process's exit status, negative for a signal; None while it lives."""
        process = getattr(getattr(self.manager, "provisioner", None), "process", None)
        status: int | None = None if process is None else process.returncode
        return status

    def close(self) -> None:
        """Ends the kernel, killing it after four seconds, and everything that waited for it."""
        manager, self.manager = self.manager, None
        client, self.client = self.client, None
        if manager is not None:
            run_sync(self._close)(manager, client)

    async def _close(self, manager: AsyncKernelManager, client: Any) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)  # so that asyncio prints nothing
        if client is not None:
            client.stop_channels()
        try:
            if manager.has_kernel:
                await manager.shutdown_kernel(now=True)
        finally:
            await manager.cleanup_resources()
            with contextlib.suppress(OSError):
                if self._log.stat().st_size == 0:
                    self._log.unlink()


def _retrieve(tasks: set[asyncio.Task[Any]]) -> None:
    """Looks at what became of them; of a failed task never looked at, asyncio prints the trace."""
    for task in tasks:
        if not task.cancelled():
            task.exception()
