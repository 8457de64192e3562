"""JupyterLab on the notebooks, with a sandbox that lives as long as it does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

START: Final = "start"
"""The notebook that JupyterLab opens first: the map of the seven, and how the run stands."""

# No news, no look for updates: JupyterLab would ask the network. No windowing: a cell is in the
# page whether it is in sight or not, so that searching the page finds it.
SETTINGS: Mapping[str, Mapping[str, object]] = {
    "@jupyterlab/apputils-extension:notification": {
        "checkForUpdates": False,
        "fetchNews": "false",
        "doNotDisturbMode": True,
    },
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}


def write_settings(folder: Path) -> None:
    """Fills a JUPYTER_CONFIG_DIR."""
    labconfig = folder / "labconfig"
    labconfig.mkdir(parents=True)
    text = json.dumps(SETTINGS, indent=2)
    (labconfig / "default_setting_overrides.json").write_text(text, encoding="utf-8")


def command(notebooks: Path, *, port: int | None, browser: bool) -> list[str]:
    """The command line that serves `notebooks` to this machine only."""
    words = [sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1"]
    words.append(f"--ServerApp.root_dir={notebooks}")
    words.append(f"--LabApp.default_url=/lab/tree/{START}.ipynb")
    if port is not None:
        words += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if not browser:
        words.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        words.append("--allow-root")
    return words


def serve(
    notebooks: Path, environment: Mapping[str, str], *, port: int | None, browser: bool
) -> int:
    """Runs JupyterLab until it ends; returns its exit status, 130 when a signal ended it.

    Ctrl-C reaches JupyterLab by itself and makes it ask; SIGTERM is handed on to it.
    """
    with tempfile.TemporaryDirectory(prefix="runbook-lab-") as folder:
        write_settings(Path(folder))
        return supervise(
            command(notebooks, port=port, browser=browser),
            {**os.environ, **environment, "JUPYTER_CONFIG_DIR": folder},
        )


def supervise(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs a command to its end, with the terminal's Ctrl-C left to it and SIGTERM handed on."""
    ended_by: list[int] = []
    process = subprocess.Popen(words, env=dict(environment))

    def hand_on(number: int, frame: FrameType | None) -> None:
        ended_by.append(number)
        if number != signal.SIGINT:
            process.terminate()

    before = {
        number: signal.signal(number, hand_on)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if ended_by or status < 0:
        return 130
    return 0 if status == 0 else 5
