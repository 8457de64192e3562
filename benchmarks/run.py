"""How long the whole runbook takes, against two other ways to the same end, in turn on one machine.

    python benchmarks/run.py [--rounds N]              (make bench)

- run: `runbook run`, the seven notebooks headlessly, each executed notebook kept
- script: the same steps as one plain Python script, no notebooks, no kernel, no papermill
- papermill: seven `papermill` commands in a row, as a scheduler without this project would

Each way gets a sandbox of its own each time, started and ended within its seconds. It prints the
median seconds of each and two ratios; the seconds are this machine's, the ratios are what is aimed
at: run at most 1.3 times script, papermill at least 4 times run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from keyrunbook import sandboxes
from keyrunbook.execution.runner import notebooks_dir
from keyrunbook.steps import STEPS

BIN = Path(sys.executable).parent
SCRIPT = Path(__file__).with_name("script.py")
AIMS = {"run / script": "at most 1.3", "papermill / run": "at least 4"}


def by_run(outputs: Path) -> None:
    """The whole runbook by its command."""
    words = [str(BIN / "runbook"), "run", "--outputs", str(outputs), "--json"]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if json.loads(done.stdout)["verdict"] != "PROVED":
        raise SystemExit("the run did not end PROVED: there is nothing to measure")


def by_script(outputs: Path) -> None:
    """The same steps as a script."""
    subprocess.run([sys.executable, str(SCRIPT), str(outputs)], check=True)


def by_papermill(outputs: Path) -> None:
    """Seven papermill commands on one sandbox."""
    with sandboxes.start_private() as sandbox:
        sandbox.ready()
        environment = {**os.environ, **sandbox.environment()}
        for name in STEPS:
            words = [str(BIN / "papermill"), str(notebooks_dir() / f"{name}.ipynb")]
            words += [str(outputs / f"{name}.ipynb"), "-p", "run_id", "bench"]
            words += ["-p", "outputs_dir", str(outputs), "--no-progress-bar"]
            subprocess.run(words, check=True, env=environment, stderr=subprocess.DEVNULL)


def seconds(way: Callable[[Path], None]) -> float:
    """How long one way takes, with an empty outputs folder."""
    with tempfile.TemporaryDirectory(prefix="keyrunbook-bench-") as folder:
        began = time.monotonic()
        way(Path(folder))
        return time.monotonic() - began


def main() -> None:
    """Measure in turn, so that a slow minute of the machine slows all three."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    ways = {"run": by_run, "script": by_script, "papermill": by_papermill}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            taken[name].append(seconds(way))
            print(f"round {number + 1}: {name:<10} {taken[name][-1]:6.1f} s", flush=True)
    median = {name: statistics.median(values) for name, values in taken.items()}
    for name, value in median.items():
        print(f"{name:<16} {value:6.1f} s")
    ratios = {
        "run / script": median["run"] / median["script"],
        "papermill / run": median["papermill"] / median["run"],
    }
    for name, ratio in ratios.items():
        print(f"{name:<16} {ratio:6.2f}   (aim: {AIMS[name]})")


if __name__ == "__main__":
    main()
