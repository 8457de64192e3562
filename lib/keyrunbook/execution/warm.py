"""What runs inside the warm kernel, before and between the notebooks.

The kernel that executes a whole run imports the heavy packages while the sandbox starts, and is
brought back to a fresh state between notebooks, so that no notebook can lean on another's
variables. What is not undone is what cannot be: imported modules, and whatever a notebook changed
inside them. Plain papermill and nbval use a kernel for each notebook; the notebooks' tests under
nbval therefore show that none needs the kernel of another.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import threading
from dataclasses import dataclass

from keyrunbook.steps import STEPS

# Imported ahead where they are installed; the notebooks import what they need themselves, so a
# missing one is told there, in the cell that wants it.
PRELOADED = (
    "keyrunbook.session",
    *(f"keyrunbook.steps.{name.partition('_')[2]}" for name in STEPS),
)
# Imported beside the first notebooks, which mostly wait for answers, and wanted by a later one.
LATER = ("keyrunbook.aws.ahead", "keyrunbook.show.drawing")


@dataclass(frozen=True, slots=True)
class _Start:
    environment: dict[str, str]
    folder: str


_start: _Start | None = None


def prepare(modules: tuple[str, ...] = PRELOADED, later: tuple[str, ...] = LATER) -> None:
    """Remembers the process's state and imports `modules`, then `later`, which nobody waits for.

    It never fails: what cannot be imported is told where it is wanted.
    """
    global _start
    _start = _Start(dict(os.environ), os.getcwd())
    # Each reset collects garbage; what is imported is none, and need not be looked at, now or then.
    gc.disable()
    _load(modules)
    gc.freeze()
    gc.enable()
    threading.Thread(target=_load, args=(later,), name="preload", daemon=True).start()


def _load(modules: tuple[str, ...]) -> None:
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError:
            continue


def reset() -> None:
    """Makes the kernel as good as new: variables, history, counts, figures, widgets, environment.

    Raises:
        RuntimeError: `prepare` never ran, so there is no state to come back to.
    """
    from IPython.core.getipython import get_ipython

    if _start is None:
        raise RuntimeError("the kernel was not prepared")
    if (shell := get_ipython()) is not None:
        shell.reset(new_session=True)  # type: ignore[no-untyped-call]
    if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
        pyplot.close("all")
    if (widgets := sys.modules.get("ipywidgets")) is not None:
        widgets.Widget.close_all()
    os.environ.clear()
    os.environ.update(_start.environment)
    os.chdir(_start.folder)
