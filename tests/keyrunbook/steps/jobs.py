"""The steps of one run as plain Python: no notebook, no mock."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from keyrunbook.parameters import Parameters, workflow_document
from keyrunbook.session import Run, open_step
from keyrunbook.steps import STEPS

DOCUMENT = workflow_document(Parameters())


def module_of(step: str) -> ModuleType:
    """A step's module, by its name or its number (``01``)."""
    name = next(name for name in STEPS if name.startswith(step))
    return import_module(f"keyrunbook.steps.{name.partition('_')[2]}")


class Job:
    """The steps of one run as plain Python, with names that no other job has."""

    def __init__(self, outputs: Path, word: str, **given: Any) -> None:
        self.outputs = outputs
        self.given: dict[str, Any] = {
            "run_id": word,
            "outputs_dir": str(outputs),
            "key_alias": f"alias/{word}",
            "execution_role": f"Role{word}",
            "workflow_name": f"workflow-{word}",
            "event_wait_seconds": 10,
            "settle_seconds": 2,
            **given,
        }

    def open(self, step: str, **more: Any) -> Run:
        """Open a step by its number."""
        name = next(name for name in STEPS if name.startswith(step))
        return open_step(name, Parameters.load({**self.given, **more}))

    def do(self, step: str, **more: Any) -> Any:
        """Observe, plan, apply, verify; returns what verify says."""
        module, run = module_of(step), self.open(step, **more)
        module.apply(run, module.plan(module.observe(run), run.parameters))
        return module.verify(run)

    def through(self, last: str) -> Run:
        """Do the steps from 01 to `last`, and return its run."""
        for name in STEPS[1 : int(last) + 1]:
            self.do(name[:2])
        return self.open(last)
