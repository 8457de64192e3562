"""What is there after the kernel, and JupyterLab itself, was ended and started again."""

from __future__ import annotations

import pytest
from in_browser import Notebook, entered, opened
from playwright.sync_api import Page, expect
from served_lab import Lab

pytestmark = pytest.mark.e2e


def runs(lab: Lab) -> list[str]:
    """The runs that there are."""
    return [ledger.parent.name for ledger in lab.outputs.glob("*/ledger.jsonl")]


def run_all(notebook: Notebook) -> Notebook:
    """Run all cells, which go well."""
    notebook.run_all()
    notebook.all_ran()
    return notebook


def test_a_run_goes_on_after_a_restart_of_the_kernel_and_of_jupyterlab(
    page: Page, lab: Lab
) -> None:
    entered(page, lab.address)
    notebook = run_all(opened(page, "01_create_key.ipynb"))
    (run,) = runs(lab)
    notebook.restart()
    run_all(notebook)
    expect(notebook.output_with("nothing would be changed").first).to_be_visible()
    assert runs(lab) == [run]

    page.goto("about:blank")
    lab.end()
    lab.start()
    start = run_all(entered(page, lab.address))
    expect(start.output_with(run).first).to_be_visible()
    start.button("Continue").click()
    expect(start.status.filter(has_text="02_grant_access")).to_be_visible()
    notebook = start
    for name in ("02_grant_access", "03_encrypt_workflow", "04_confirm_events"):
        notebook = run_all(notebook.follow(f"{name}.ipynb"))
    expect(notebook.output_with("PROVED").first).to_be_visible()
    assert runs(lab) == [run]
