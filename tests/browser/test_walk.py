"""From the address that `runbook lab` prints to PROVED, as a newcomer goes: by what is in sight."""

from __future__ import annotations

import subprocess

import pytest
from in_browser import Notebook, entered
from keyrunbook.steps import STEPS
from looks import OUR_OUTPUTS, Looks
from playwright.sync_api import Page, expect
from served_lab import RUNBOOK, Lab

pytestmark = pytest.mark.e2e


def test_with_the_mouse_alone(page: Page, lab: Lab, looks: Looks) -> None:
    notebook = start = entered(page, lab.address)
    start.run_all()
    start.button("Start a new run").click()
    expect(start.status.filter(has_text="✓")).to_be_visible()
    for step in STEPS:
        notebook = notebook.follow(f"{step}.ipynb")
        notebook.run_all()
        done(notebook)
        looks.check(page, step, OUR_OUTPUTS)
    map_again = notebook.follow("start.ipynb")
    map_again.button("Look again").click()
    expect(map_again.output_with("06_clean_up").get_by_text("✓ done")).to_have_count(len(STEPS))
    expect(map_again.status.filter(has_text="all is done")).to_be_visible()
    looks.check(page, "start", OUR_OUTPUTS)
    (run,) = [ledger.parent for ledger in lab.outputs.glob("*/ledger.jsonl")]
    subprocess.run([*(RUNBOOK, "report", run.name), *("--outputs", lab.outputs)], check=True)
    page.goto((run / "report.html").as_uri())
    looks.check(page, "report")


def test_by_keyboard_alone(page: Page, lab: Lab) -> None:
    notebook = start = entered(page, lab.address)
    start.run_all_by_keyboard()
    start.tab_to("button", "Start a new run")
    page.keyboard.press("Enter")
    expect(start.status.filter(has_text="✓")).to_be_visible()
    for step in STEPS[:5]:
        notebook = notebook.follow_by_keyboard(f"{step}.ipynb")
        notebook.run_all_by_keyboard()
        done(notebook)


def done(notebook: Notebook) -> None:
    """No cell failed, and `04` says what the walk is for."""
    notebook.all_ran()
    if notebook.name.startswith("04"):
        expect(notebook.output_with("PROVED").first).to_be_visible()
