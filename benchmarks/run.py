"""How long the whole runbook takes, against two other ways to the same end, in turn on one machine.

    python benchmarks/run.py [--rounds N] [--against GIT_REV]              (make bench)

- run: `runbook run`, the seven notebooks headlessly, each executed notebook kept
- script: the same steps as one plain Python script, no notebooks, no kernel, no papermill
- papermill: seven `papermill` commands in a row, as a scheduler without this project would

Each way gets a sandbox of its own each time, started and ended within its seconds. It prints the
median seconds of each and two ratios; the seconds are this machine's, the ratios are what is aimed
at: run at most 1.3 times script, papermill at least 4 times run.

With --against, `runbook run` is measured before and after instead: as it was in a revision, checked
out into a temporary folder, and as it is in this folder. Both use this Python and its packages; it
says so where the revision's requirements are others. One run of each is not counted; then the
rounds go in turn, and who is first in a round changes too. Each ratio is the median of the rounds'
own ratios, with the lowest and the highest; aimed at is that it is no slower: at most 1. Beside the
ratio of the seconds is that of the processor's, which other work on the machine moves less.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from keyrunbook import sandboxes
from keyrunbook.execution.runner import notebooks_dir
from keyrunbook.steps import STEPS

BIN = Path(sys.executable).parent
PROJECT = Path(__file__).resolve().parent.parent
SCRIPT = Path(__file__).with_name("script.py")
AIMS = {"run / script": "at most 1.3", "papermill / run": "at least 4"}


def by_run(outputs: Path, environment: Mapping[str, str] | None = None) -> None:
    """The whole runbook by its command."""
    words = [str(BIN / "runbook"), "run", "--outputs", str(outputs), "--json"]
    done = subprocess.run(
        words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    if json.loads(done.stdout)["verdict"] != "PROVED":
        raise SystemExit("the run did not end PROVED: there is nothing to measure")


def by_script(outputs: Path) -> None:
    """The same steps as a script."""
    subprocess.run([sys.executable, str(SCRIPT), str(outputs)], check=True)


def by_papermill(outputs: Path) -> None:
    """Seven papermill commands on one sandbox."""
    with sandboxes.start_private(sandboxes.TLS) as sandbox:
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


def three_ways(rounds: int) -> None:
    """Measure in turn, so that a slow minute of the machine slows all three."""
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


def check_out(revision: str, folder: Path) -> None:
    """A revision's files in an empty folder. Raises SystemExit when git does not know it."""
    words = ["git", "-c", "safe.directory=*", "-C", str(PROJECT), "archive", revision]
    packed = subprocess.run(words, stdout=subprocess.PIPE)  # git itself says what is wrong
    if packed.returncode != 0:
        raise SystemExit(f"--against: {revision!r} cannot be checked out")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)


def environment_of(project: Path) -> dict[str, str]:
    """An environment in which the project of a folder runs. Raises SystemExit where it does not."""
    environment = {**os.environ, "PYTHONPATH": str(project / "lib")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or one of the two compiles in each round
    words = [sys.executable, "-c", "import keyrunbook; print(keyrunbook.__file__)"]
    done = subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    if not Path(done.stdout.strip()).is_relative_to(project / "lib"):
        raise SystemExit(f"what would run is not in {project}, but {done.stdout.strip()}")
    return environment


def before_and_after(revision: str, rounds: int) -> None:
    """Measure `runbook run` of a revision and of this folder in turn."""
    with tempfile.TemporaryDirectory(prefix="keyrunbook-bench-") as folder:
        there = Path(folder).resolve()
        check_out(revision, there)
        pins = (project / "requirements.txt" for project in (there, PROJECT))
        if len({path.read_bytes() for path in pins}) > 1:
            print(f"requirements.txt of {revision} is another; it runs with this one's packages")
        environments = {"before": environment_of(there), "after": environment_of(PROJECT)}
        taken: dict[str, list[float]] = {name: [] for name in environments}
        busy: dict[str, list[float]] = {name: [] for name in environments}
        for number in range(rounds + 1):
            for name in list(environments)[:: -1 if number % 2 else 1]:
                began = processor_seconds()
                took = seconds(lambda outputs, name=name: by_run(outputs, environments[name]))
                if number == 0:
                    continue  # the first of each compiles
                taken[name].append(took)
                busy[name].append(processor_seconds() - began)
                print(f"round {number}: {name:<8} {took:6.1f} s", flush=True)
    for name in environments:
        median, processor = statistics.median(taken[name]), statistics.median(busy[name])
        print(f"{name:<16} {median:6.1f} s, of the processor {processor:.1f} s")
    print(f"after / before   {ratio(**taken)}   (aim: at most 1)")
    print(f"processor        {ratio(**busy)}")


def processor_seconds() -> float:
    """What the processes that ended have used of the processor until now."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ratio(before: Sequence[float], after: Sequence[float]) -> str:
    """The median of the rounds' ratios, with the lowest and the highest."""
    each = [late / early for early, late in zip(before, after, strict=True)]
    return f"{statistics.median(each):6.2f} ({min(each):.2f}–{max(each):.2f})"


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--against", metavar="GIT_REV", help="measure before and after instead")
    return made


def main() -> None:
    """Measure what the options ask for."""
    options = parser().parse_args()
    if options.rounds < 1:
        parser().error(f"--rounds: {options.rounds} is not 1 or more")
    if options.against is None:
        three_ways(options.rounds)
    else:
        before_and_after(options.against, options.rounds)


if __name__ == "__main__":
    main()
