"""The start notebook: how the current run stands, and which run to go on with.

It reads ledgers and `result.json`, and whether the run's sandbox is there. It starts no sandbox and
asks nothing of AWS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from keyrunbook import chosen, sandboxes
from keyrunbook.errors import LedgerDamaged, RunbookError, SandboxGone
from keyrunbook.execution.runs import run_ids, summary
from keyrunbook.ledger import NAME, Ledger, find_run, new_run_id
from keyrunbook.parameters import Parameters, outputs_dir
from keyrunbook.show.errors import show_errors_as_messages
from keyrunbook.show.map import Map, State
from keyrunbook.show.sentence import Sentence
from keyrunbook.show.widgets import bundle, is_live, status
from keyrunbook.steps import STEPS, standing
from keyrunbook.steps.states import states

MOST: Final = 20
"""Runs that are offered to go on with, the newest first."""
_NO_BUTTONS: Final = (
    "In JupyterLab there are buttons here: Continue, Start a new run, Look again. "
    "Without: runbook run begins a run, runbook resume RUN_ID goes on with one."
)


class Overview:
    """The map of the run that the notebooks would go on with, and the buttons to choose another.

    `namespace` is the start notebook's ``globals()``. Raises ParameterError.
    """

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        show_errors_as_messages()
        given = Parameters.from_notebook(namespace)
        self._outputs = outputs_dir(given)
        self._named = given.run_id
        self._shown: Any = None

    def run_id(self) -> str | None:
        """The run that is shown: the one that is named, or chosen, or the newest unfinished."""
        if self._named is not None:
            return self._named
        if is_live() and (run_id := chosen.current(self._outputs)) is not None:
            return run_id
        try:
            return find_run(self._outputs, STEPS[-1])
        except LedgerDamaged:  # told by its map
            return run_ids(self._outputs)[0]

    def map(self) -> Map:
        """How that run stands now."""
        run_id = self.run_id()
        if run_id is None:
            return Map("No run yet", states([]), ("00 begins one.", _sandbox_for_new_runs()))
        try:
            entries = Ledger(self._outputs / run_id / NAME).entries()
        except LedgerDamaged as damaged:
            steps = states([], f"{damaged.what} {damaged.fix}")
            return Map(f"The run {run_id}", steps, ("Start a new run.",))
        opened = next((one for one in entries if one["kind"] == "opened"), None)
        if opened is None:
            about = f"The run {run_id} has not begun: 00 begins it."
            return Map(f"The run {run_id}", states([]), (about, _sandbox_for_new_runs()))
        where, elsewhere = _where(opened)
        told = [f"Mind: {one}." for one in standing.told(entries, run_id, self._outputs)]
        return Map(f"The run {run_id}", states(entries, elsewhere), (where, *told))

    def buttons(self) -> Buttons:
        """Which run to go on with: a field and buttons where a front end is alive."""
        return Buttons(self)

    def choose(self, run_id: str) -> str:
        """From now on the notebooks go on with this run; gives what to do next, in words."""
        chosen.go_on_with(self._outputs, run_id)
        self.refresh()
        return self.next_step()

    def begin(self) -> str:
        """From now on the notebooks go on with a new run; gives what to do next, in words."""
        return self.choose(new_run_id())

    def next_step(self) -> str:
        """The run, and the notebook that is next."""
        shown = self.map()
        step = next((one.step for one in shown.steps if one.state is State.NEXT), None)
        if all(one.state is State.DONE for one in shown.steps):
            return f"✓ {shown.title}: all is done. Start a new run, or take an exercise."
        if step is None:
            return f"✗ {shown.title}: nothing can be done next; the map says why. Start a new run."
        return f"✓ {shown.title}. Next: {step}.ipynb, by its link in the map."

    def offered(self) -> list[tuple[str, str]]:
        """The newest runs, each in words and by its id; first the current one, begun or not."""
        there = run_ids(self._outputs)[:MOST]
        current = self.run_id()
        return [(self._told(one), one) for one in dict.fromkeys(filter(None, [current, *there]))]

    def _told(self, run_id: str) -> str:
        done = len(summary(self._outputs, run_id).steps_done)
        return f"{run_id}: {done} of {len(STEPS)} done"

    def refresh(self) -> None:
        """Draw the map that is shown again, as things stand now."""
        if self._shown is not None:
            self._shown.update(self.map().mimebundle(), raw=True)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        self._shown = display(self.map().mimebundle(), raw=True, display_id=True)  # type: ignore[no-untyped-call]


class Buttons:
    """Continue, Start a new run, Look again; without a front end, what to do instead."""

    def __init__(self, overview: Overview) -> None:
        self._overview = overview

    def form(self) -> Any:
        """The field with the runs, the buttons and what came of them: an ipywidgets box."""
        import ipywidgets as widgets

        row = widgets.Layout(flex_flow="row wrap")
        runs = widgets.Dropdown(description="Run", layout=widgets.Layout(width="auto"))
        go_on = widgets.Button(description="Continue", tooltip="Go on with the run in the field")
        begin = widgets.Button(
            description="Start a new run", tooltip="Leave the others as they are"
        )
        look = widgets.Button(description="Look again", tooltip="Draw the map as things stand now")
        said = widgets.HTML()

        def offer() -> None:
            """The runs that there are now, the current one chosen."""
            offered = self._overview.offered()
            runs.options = offered or [("no run yet", "")]
            runs.value = self._overview.run_id() or ""
            go_on.disabled = not offered

        def say(what: Callable[[], str]) -> None:
            """Do it; what came of it, or what went wrong, is said."""
            try:
                text = what()
                offer()
            except RunbookError as error:
                text = f"✗ {error.what} {error.fix}"
            said.value = status(text)

        def look_again() -> str:
            self._overview.refresh()
            return self._overview.next_step()

        go_on.on_click(lambda _: say(lambda: self._overview.choose(runs.value)))
        begin.on_click(lambda _: say(self._overview.begin))
        look.on_click(lambda _: say(look_again))
        say(self._overview.next_step)
        return widgets.VBox([runs, widgets.HBox([go_on, begin, look], layout=row), said])

    def _repr_mimebundle_(self, **more: Any) -> Any:
        static = Sentence(_NO_BUTTONS)._repr_mimebundle_()
        if not is_live():
            return static
        shown, metadata = bundle(self.form(), **more)
        return {**shown, **static}, metadata


def _where(opened: Mapping[str, Any]) -> tuple[str, str]:
    """Where a run works, in a sentence, and why it cannot go on here; "" where it can."""
    place = f"account {opened['account']}, Region {opened['region']}"
    if opened["target"] != "sandbox":
        return f"It works on AWS: {place}. AWS is not asked here.", ""
    try:
        here = _running()
    except SandboxGone as error:
        return f"It was made on a sandbox: {place}.", f"{error.what} {error.fix}"
    if here is None or here.instance_id != opened["sandbox"]:
        gone = sandboxes.gone(opened["run_id"])
        return f"It was made on a sandbox that is gone: {place}.", f"{gone.what} {gone.fix}"
    return f"It works on the sandbox of this machine, which is there: {place}.", ""


def _sandbox_for_new_runs() -> str:
    running = _running()
    if running is None:
        return "The sandbox starts when the first notebook is run."
    return f"The sandbox is there: account {running.account}, Region {running.region}."


def _running() -> sandboxes.Handoff | None:
    """The sandbox that notebooks would use, if one runs. Raises SandboxGone."""
    return sandboxes.handed_over() or sandboxes.read(sandboxes.shared_path())
