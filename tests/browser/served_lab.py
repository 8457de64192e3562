"""A real `runbook lab`, on a copy of the project: what JupyterLab saves there is thrown away."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from keyrunbook.parameters import project_dir

START_S = 60.0
END_S = 30.0
EVENT_DELAY_S = 600.0
"""How late records come in what stands for AWS, unless a test moves its clock."""
ADDRESS = re.compile(r"http://(?:127\.0\.0\.1|localhost):\d+/\S*token=\w+")
NOT_COPIED = shutil.ignore_patterns(".ipynb_checkpoints", "*.egg-info")
RUNBOOK = Path(sys.executable).with_name("runbook")
THEMES = "@jupyterlab/apputils-extension/themes.jupyterlab-settings"


def copy_of_the_project(folder: Path) -> Path:
    """The packages and the notebooks of the project; JupyterLab takes the system's theme."""
    for name in ("lib", "notebooks"):
        shutil.copytree(project_dir() / name, folder / name, ignore=NOT_COPIED)
    settings = folder / "settings" / THEMES
    settings.parent.mkdir(parents=True)
    settings.write_text('{"adaptive-theme": true}', encoding="utf-8")
    return folder


class Lab:
    """`runbook lab --no-browser`; `address` is what it prints for a person to open.

    `environment` is added to this process's. To come back, `end` it and `start` it again.
    """

    def __init__(self, project: Path, outputs: Path, **environment: str) -> None:
        self._project = project
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._log = outputs.with_name(f"{outputs.name}.log")
        self.outputs = outputs
        self.address = ""

    def start(self) -> None:
        """Start it, and wait until it says where it is."""
        own = {
            "PYTHONPATH": str(self._project / "lib"),
            "JUPYTERLAB_SETTINGS_DIR": str(self._project / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(self._project / "workspaces"),
            "IPYTHONDIR": str(self._project / "ipython"),
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [RUNBOOK, "lab", "--no-browser", "--outputs", self.outputs],
                cwd=self._project,
                env={**os.environ, **own, **self._environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until = time.monotonic() + START_S
        while not (found := ADDRESS.search(self.told())):
            if self._process.poll() is not None or time.monotonic() > until:
                self.end()
                raise AssertionError(f"JupyterLab did not start:\n{self.told()[-4000:]}")
            time.sleep(0.05)
        self.address = found[0]

    def told(self) -> str:
        """What it has printed since it was started."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def end(self) -> None:
        """End it as a closed terminal does, with its kernels and its sandbox."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"JupyterLab did not end in {END_S:.0f} s") from None
