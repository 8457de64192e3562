"""A step's bar in a notebook: how the step stands, and buttons to do it and to undo it.

The buttons call the step's own verbs, or the commands of `keyrunbook.execution.direct`: they do no
more than the cells do. A step is undone by a button only where a command of the runbook does so,
from the ledger; for the others the bar says what does. Nothing is applied without the approval that
it needs.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from keyrunbook.aws import approval
from keyrunbook.aws.refusals import explain
from keyrunbook.aws.wait import Waited
from keyrunbook.errors import LedgerDamaged, RunbookError
from keyrunbook.execution import direct
from keyrunbook.findings import Finding, Findings
from keyrunbook.proof import Verdict
from keyrunbook.show.approving import Approving
from keyrunbook.show.map import State
from keyrunbook.show.tables import (
    Table,
    applied_table,
    findings_table,
    plan_table,
    run_banner,
    verdict_table,
)
from keyrunbook.show.waiting import bar
from keyrunbook.show.widgets import status
from keyrunbook.steps import standing
from keyrunbook.steps.states import states

if TYPE_CHECKING:
    from keyrunbook.session import Run

_UNDO: Final[dict[str, direct.Command]] = {
    "02_grant_access": direct.REVOKE,
    "05_revoke_access": direct.RESTORE,
}
"""The commands that undo a step; 05 is done by one, too, for its notebook shows each round."""
_DO: Final = {"05_revoke_access": direct.REVOKE}
_HOW: Final = {
    "00_preflight": "It changes nothing, so there is nothing to undo.",
    "01_create_key": "It is undone by 06_clean_up.",
    "02_grant_access": "Undo takes the role's access away, as runbook revoke does; "
    "05_revoke_access gives it back.",
    "03_encrypt_workflow": "It is undone by 06_clean_up.",
    "04_confirm_events": "It changes nothing, so there is nothing to undo.",
    "05_revoke_access": "Do takes the role's access away, as runbook revoke does; "
    "Undo gives it back, as runbook restore does.",
    "06_clean_up": "Until its date the key's deletion is undone by CancelKeyDeletion and then "
    "EnableKey; what else is removed is made again by 01, 02 and 03.",
}
_WAITS: Final = "? Waits for approval: approve the plan below, then press again."
_BY_COMMAND: Final = "? Waits for approval: the command that applies it is below."
_CLASS: Final = "jp-RenderedHTMLCommon"
"""JupyterLab's look of tables."""

_following: list[Callable[[object], None]] = []
"""What is called after each cell of this notebook: of its newest bar."""
Outcome = tuple[str, Sequence[Any]]
"""Words for the bar, and what is shown below it."""


class StepBar:
    """The bar of the step that a run was opened for."""

    def __init__(self, run: Run) -> None:
        import ipywidgets as widgets

        self._run = run
        self._do = widgets.Button(
            description="Do this step", tooltip="Observe, plan, apply and verify, in one go"
        )
        self._undo = widgets.Button(description="Undo this step", tooltip=_HOW[run.step])
        self._undo.layout.display = None if run.step in _UNDO else "none"
        self._said = widgets.HTML()
        self._shown = widgets.VBox()
        self._do.on_click(lambda _: self._carry_out(self._doing()))
        self._undo.on_click(lambda _: self._carry_out(lambda: self._command(_UNDO[run.step])))
        buttons = widgets.HBox([self._do, self._undo], layout=widgets.Layout(flex_flow="row wrap"))
        how = widgets.HTML(
            f'<small style="display:block;line-height:1.35">{escape(_HOW[run.step])}</small>'
        )
        self.box = widgets.VBox([_html(run_banner(run)), buttons, how, self._said, self._shown])
        self._say_state()

    def _say_state(self, before: str = "") -> None:
        """How the step stands by the ledger, after the words `before`."""
        run, entries = self._run, self._run.ledger.entries()
        found = next(one for one in states(entries) if one.step == run.step)
        done = found.state is State.DONE
        self._do.description = "Do this step again" if done else "Do this step"
        minded = [f"Mind: {one}." for one in standing.told(entries, run.run_id, run.folder.parent)]
        words = [before, f"{run.step}: {found.state.value}.", found.why, *minded]
        self._said.value = status(" ".join(filter(None, words)))

    def follow(self) -> None:
        """Say again how the step stands after each cell that runs, in place of an earlier bar."""
        from IPython import get_ipython

        if (shell := get_ipython()) is not None:
            for earlier in _following:
                shell.events.unregister("post_run_cell", earlier)
            _following[:] = [self._cell_has_run]
            shell.events.register("post_run_cell", self._cell_has_run)

    def _cell_has_run(self, _: object) -> None:
        with contextlib.suppress(LedgerDamaged):  # told by the cell that needs it
            self._say_state()

    def _doing(self) -> Callable[[], Outcome]:
        command = _DO.get(self._run.step)
        return self._verbs if command is None else lambda: self._command(command)

    def _carry_out(self, what: Callable[[], Outcome]) -> None:
        """Do it, with the buttons off meanwhile; say how it came out."""
        self._do.disabled = self._undo.disabled = True
        self._said.value = status(f"Working on {self._run.step}…")
        self._shown.children = ()
        try:
            words, shown = what()
            self._shown.children = tuple(shown)
            self._say_state(words)
        except (RunbookError, ClientError, BotoCoreError) as error:
            told = error if isinstance(error, RunbookError) else explain(error)
            self._run.record("error", **told.to_dict())
            self._say_state(f"✗ {told.what} {told.fix}")
        finally:
            self._do.disabled = self._undo.disabled = False

    def _verbs(self) -> Outcome:
        """The step's four verbs, one after the other; a plan that waits for approval only shows."""
        run = self._run.at(self._run.step)
        run.shows_wait = self._waiting
        module = importlib.import_module(f"keyrunbook.steps.{run.step.split('_', 1)[1]}")
        plan = module.plan(module.observe(run), run.parameters)
        shown = [_html(plan_table(plan))]
        if plan.changes and approval.is_needed(run) and not approval.is_approved(run, plan):
            return _WAITS, [*shown, Approving(run, plan).form()]
        applied = module.apply(run, plan)
        return "", [*shown, _html(applied_table(applied)), _said(module.verify(run))]

    def _command(self, command: direct.Command) -> Outcome:
        """A command of the runbook, and all that it says."""
        import ipywidgets as widgets

        run, lines = self._run, list[str]()
        more = {"run_id": run.run_id, "outputs_dir": str(run.folder.parent), "approve": None}
        given = run.parameters.model_copy(update=more)
        outcome, report = direct.carry_out(command, given, lines.append)
        style = "white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.35"
        waits = outcome == direct.WAITS
        text = escape("\n".join(lines))
        about = "What was found and planned, and what was changed"
        opened = f"<details{' open' * waits}><summary>{about}</summary>"
        said = widgets.HTML(f'{opened}<pre style="{style}">{text}</pre></details>')
        if waits:
            return _BY_COMMAND, [said]
        found = Findings([Finding(**one) for one in report["findings"]])
        return "", [_html(findings_table(found)), said]

    def _waiting(self, what: str) -> Callable[[Waited], None]:
        def show(waited: Waited) -> None:
            self._said.value = bar(what, waited)["text/html"]

        return show


def _said(found: Findings | Verdict) -> Any:
    """What a step's verify says, as HTML."""
    return _html(verdict_table(found) if isinstance(found, Verdict) else findings_table(found))


def _html(table: Table) -> Any:
    import ipywidgets as widgets

    shown = widgets.HTML(table.html())
    shown.add_class(_CLASS)
    return shown
