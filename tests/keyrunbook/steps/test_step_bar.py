"""The buttons of a step: they do what its cells do, and undo it where a command does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.events import EventManager, available_events
from jobs import Job
from keyrunbook.execution.stepbar import StepBar
from keyrunbook.session import Run
from keyrunbook.steps import STEPS

pytestmark = pytest.mark.e2e


class Bar:
    """A step's bar as it is shown."""

    def __init__(self, run: Run) -> None:
        box = StepBar(run).box
        _, buttons, self.how, self._said, self._shown = box.children
        self.do, self.undo = buttons.children

    def press(self, button: Any) -> str:
        button.click()
        assert not button.disabled
        return self.said()

    def said(self) -> str:
        text: str = self._said.value
        assert text.startswith('<p role="status"')
        return text

    def shown(self) -> str:
        return "\n".join(str(getattr(one, "value", "")) for one in self._shown.children)


def test_a_step_is_done_once_more_and_then_changes_nothing(job: Job) -> None:
    bar = Bar(job.open("01"))
    assert "01_create_key: ○ can be done." in bar.said()
    assert (bar.do.description, bar.undo.layout.display) == ("Do this step", "none")
    assert "01_create_key: ✓ done." in bar.press(bar.do)
    assert "kms:CreateKey" in bar.shown()
    assert bar.shown().count("✓ pass") == 4
    assert bar.do.description == "Do this step again"
    made = len(job.open("01").ledger.of_kind("intent"))
    assert "Nothing to change" in (bar.press(bar.do), bar.shown())[1]
    assert len(job.open("01").ledger.of_kind("intent")) == made


def test_access_is_taken_away_and_given_back(job: Job) -> None:
    job.through("03")
    bar = Bar(job.open("02"))
    assert bar.undo.layout.display is None
    said = bar.press(bar.undo)
    assert "Mind: a revocation of" in said
    assert "✓ pass" in bar.shown()
    bar = Bar(job.open("05"))
    assert "Mind" not in bar.press(bar.undo)
    assert "✓ pass" in bar.shown()


def test_what_goes_wrong_is_said_and_noted(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    run = job.open("01")
    bar = Bar(run)
    run.ledger.append("intent", step="01_create_key", time="", call="kms:CreateKey", parameters={})
    said = bar.press(bar.do)
    assert "✗ " in said
    assert [entry["type"] for entry in run.ledger.of_kind("error")] == ["PlanStale"]


def test_on_aws_nothing_is_changed_before_it_is_approved(on_aws: Job) -> None:
    for number in ("01", "02"):
        run = on_aws.open(number)
        bar = Bar(run)
        made = len(run.ledger.of_kind("intent"))
        assert "? Waits for approval: approve the plan below" in bar.press(bar.do)
        assert len(run.ledger.of_kind("intent")) == made
        typed, approve = bar._shown.children[1].children[1].children
        typed.value = run.identity.account
        approve.click()
        assert "✓ done" in bar.press(bar.do)
    made = len(run.ledger.of_kind("intent"))
    assert "? Waits for approval: the command that applies it" in bar.press(bar.undo)
    assert f"runbook revoke {run.run_id}" in bar.shown()
    assert len(run.ledger.of_kind("intent")) == made


@pytest.mark.parametrize("step", STEPS)
def test_every_step_says_how_it_is_undone(job: Job, step: str) -> None:
    run = job.open("00").at(step)
    assert "undo" in Bar(run).how.value.lower()


def test_a_live_front_end_shows_the_bar_with_the_run(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = job.open("00")
    static = run._repr_mimebundle_()
    monkeypatch.setenv("JPY_SESSION_NAME", "00_preflight.ipynb")
    shown, _ = run._repr_mimebundle_()
    assert shown.keys() - static.keys() == {"application/vnd.jupyter.widget-view+json"}
    assert run.at("05_revoke")._repr_mimebundle_().keys() == static.keys()


def test_the_bar_follows_what_the_cells_do(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """And only the newest bar of a notebook does."""
    monkeypatch.setattr("keyrunbook.execution.stepbar._following", [])
    shell = SimpleNamespace(events=EventManager(None, available_events))
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    run = job.open("01")
    bars = [StepBar(run), StepBar(run)]
    for bar in bars:
        bar.follow()
    run.done()
    shell.events.trigger("post_run_cell", None)
    said = [bar.box.children[3].value for bar in bars]
    assert ["✓ done" in one for one in said] == [False, True]
