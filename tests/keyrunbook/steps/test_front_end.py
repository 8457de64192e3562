"""Notebooks with a live front end: which run they go on with, what a form chose, what is next."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from keyrunbook import chosen
from keyrunbook.errors import ParameterError, StepMissing
from keyrunbook.execution.overview import Overview
from keyrunbook.sandboxes import HANDED_OVER, Sandbox
from keyrunbook.session import Run, open_run
from keyrunbook.show.map import State
from keyrunbook.show.tables import run_banner
from keyrunbook.steps import STEPS

pytestmark = pytest.mark.e2e

ALIAS = "alias/imagebuilder-workflows"


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch, on_sandbox: Sandbox) -> Sandbox:
    """A front end started this kernel, beside a sandbox."""
    monkeypatch.setenv("JPY_SESSION_NAME", "01_create_key.ipynb")
    return on_sandbox


def cell(folder: Path, **given: Any) -> dict[str, Any]:
    """The variables of a notebook once its parameters cell has run."""
    defaults = {"run_id": None, "target": "sandbox", "key_alias": ALIAS, "profile": None}
    return {**defaults, "outputs_dir": str(folder), **given}


def opened(step: str, folder: Path, **given: Any) -> Run:
    return open_run(step, cell(folder, **given))


def test_what_a_form_chose_stands_in_for_a_default(live: Sandbox, tmp_path: Path) -> None:
    chosen.go_on_with(tmp_path, "mine")
    chosen.keep(tmp_path, "mine", {"key_alias": "alias/mine"})
    namespace = cell(tmp_path)
    run = open_run("01_create_key", namespace)
    assert (run.run_id, run.parameters.key_alias) == ("mine", "alias/mine")
    assert namespace["key_alias"] == "alias/mine"
    assert ("from the form", "key_alias = 'alias/mine'") in run_banner(run).rows
    assert opened("01_create_key", tmp_path, key_alias="alias/cell").from_form == {}


def test_without_a_front_end_nothing_of_it_counts(
    live: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So papermill, and runbook run, have one truth: the notebook's parameters."""
    chosen.go_on_with(tmp_path, "mine")
    chosen.keep(tmp_path, "mine", {"key_alias": "alias/mine"})
    monkeypatch.delenv("JPY_SESSION_NAME")
    run = opened("01_create_key", tmp_path, run_id="mine")
    assert run.parameters.key_alias == ALIAS
    assert opened("01_create_key", tmp_path / "other").run_id != "mine"


def test_the_run_that_is_opened_is_the_current_one(live: Sandbox, tmp_path: Path) -> None:
    first = opened("00_preflight", tmp_path, run_id="first")
    opened("00_preflight", tmp_path, run_id="second")
    chosen.go_on_with(tmp_path, "first")
    assert opened("01_create_key", tmp_path).run_id == "first"
    first.ledger.append("done", step=STEPS[-1], time="")
    assert opened("01_create_key", tmp_path).run_id == "second"


def test_a_run_that_began_elsewhere_hands_its_choices_on(live: Sandbox, tmp_path: Path) -> None:
    """A new run begins where the chosen one cannot go on; what was chosen was meant for both."""
    run = opened("00_preflight", tmp_path)
    line = dict(run.ledger.opened() or {})
    more = {name: line.pop(name) for name in ("n", "hash", "kind")}
    run.ledger.path.unlink()
    run.ledger.append(more["kind"], **{**line, "sandbox": "gone"})
    chosen.keep(tmp_path, run.run_id, {"key_alias": "alias/mine"})
    again = opened("01_create_key", tmp_path)
    assert again.run_id != run.run_id
    assert chosen.kept(tmp_path, again.run_id) == {"key_alias": "alias/mine"}


def overview(folder: Path, run_id: str | None = None) -> Overview:
    return Overview({"run_id": run_id, "outputs_dir": str(folder)})


def test_the_map_of_no_run_begins_one(live: Sandbox, tmp_path: Path) -> None:
    shown = overview(tmp_path).map()
    assert shown.title == "No run yet"
    assert shown.steps[0].state is State.NEXT
    assert any("The sandbox is there: account " in one for one in shown.about)
    assert list(tmp_path.iterdir()) == []


def test_start_and_continue_say_which_run_and_which_notebook(live: Sandbox, tmp_path: Path) -> None:
    run = opened("00_preflight", tmp_path)
    run.done()
    start = overview(tmp_path)
    box = start.buttons().form()
    runs, buttons, said = box.children
    go_on, begin, look = buttons.children
    assert f"✓ The run {run.run_id}. Next: 01_create_key.ipynb" in said.value
    begin.click()
    new = re.search(r"The run (\S+)\. Next: 00_preflight\.ipynb", said.value)
    assert new is not None
    assert (chosen.current(tmp_path), runs.value) == (new[1], new[1])
    with pytest.raises(StepMissing, match="has not begun"):
        opened("02_grant_access", tmp_path)
    runs.value = run.run_id
    go_on.click()
    assert chosen.current(tmp_path) == run.run_id
    assert opened("01_create_key", tmp_path).run_id == run.run_id
    run.at("01_create_key").done()
    look.click()
    assert "Next: 02_grant_access.ipynb" in said.value
    (tmp_path / chosen.CURRENT).write_text("no run")
    look.click()
    assert ".current does not name a run. Delete the file." in said.value


def test_a_run_whose_sandbox_is_gone_is_blocked(
    live: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opened("00_preflight", tmp_path)
    monkeypatch.setenv(HANDED_OVER, str(tmp_path / "nothing"))
    shown = overview(tmp_path, run.run_id).map()
    assert {one.state for one in shown.steps} == {State.BLOCKED}
    assert "names a sandbox that is not running" in shown.steps[1].why
    assert "Start a new run" in overview(tmp_path, run.run_id).next_step()
    monkeypatch.delenv(HANDED_OVER)
    monkeypatch.setattr("keyrunbook.sandboxes.shared_path", lambda: tmp_path / "nothing")
    assert "The sandbox of the run" in overview(tmp_path, run.run_id).map().steps[1].why


def test_a_damaged_ledger_is_told_by_the_map(live: Sandbox, tmp_path: Path) -> None:
    run = opened("00_preflight", tmp_path)
    run.ledger.path.write_text("{}\n")
    shown = overview(tmp_path).map()
    assert "line 1, is damaged" in shown.steps[0].why
    assert shown.about == ("Start a new run.",)


def test_what_stands_is_told(live: Sandbox, tmp_path: Path) -> None:
    run = opened("00_preflight", tmp_path)
    at = run.at("05_emergency_stop")
    at.record("intent", call="kms:DisableKey", parameters={})
    at.record("outcome", call="kms:DisableKey", status="done", gives={})
    assert any("Mind: the key is disabled since" in one for one in overview(tmp_path).map().about)


def test_the_start_notebook_without_a_front_end(on_sandbox: Sandbox, tmp_path: Path) -> None:
    shown = overview(tmp_path).buttons()._repr_mimebundle_()
    assert "runbook resume RUN_ID" in shown["text/plain"]
    assert shown.keys() == {"text/plain", "text/html"}
    with pytest.raises(ParameterError):
        overview(tmp_path, "no such/name")
