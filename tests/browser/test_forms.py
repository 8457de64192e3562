"""The parameters' form, the Approve form, and a wait that shows how it goes."""

from __future__ import annotations

import pytest
from in_browser import Notebook, entered, opened
from keyrunbook import sandboxes
from keyrunbook.sandboxes import Handoff
from playwright.sync_api import Page, expect
from served_lab import EVENT_DELAY_S, Lab

pytestmark = pytest.mark.e2e


def in_form(notebook: Notebook) -> Notebook:
    """Go down to the parameters' form."""
    notebook.run_until(notebook.button("Apply"))
    return notebook


def test_the_form_says_beside_the_field_what_is_wrong_and_run_all_uses_what_is_right(
    page: Page, lab: Lab
) -> None:
    entered(page, lab.address)
    notebook = in_form(opened(page, "01_create_key.ipynb"))
    alias, alert = notebook.field("Key alias"), notebook.outputs.get_by_role("alert")
    for wrong in ("images", "alias/aws/images", "alias/with a space"):
        alias.fill(wrong)
        expect(alert).to_contain_text("✗ Key alias: ")
        expect(notebook.button("Apply")).to_be_disabled()
    alias.fill("alias/from-the-form")
    expect(alert).to_have_count(0)
    notebook.button("Apply").click()
    expect(notebook.status.filter(has_text="✓ Applied: ")).to_contain_text("alias/from-the-form")
    notebook.run_all()
    notebook.all_ran()
    expect(notebook.field("Key alias")).to_have_value("alias/from-the-form")
    expect(notebook.output_with("alias/from-the-form").last).to_be_visible()


def test_on_aws_each_plan_waits_for_its_button_and_a_wait_shows_how_it_goes(
    page: Page, lab: Lab, aws: Handoff
) -> None:
    entered(page, lab.address)
    notebook = in_form(opened(page, "01_create_key.ipynb"))
    notebook.button("Where it runs").click()
    notebook.field("Target").select_option("aws")
    notebook.button("Apply").click()
    expect(notebook.status.filter(has_text="✓ Applied: ")).to_be_visible()
    for name in ("01_create_key", "02_grant_access", "03_encrypt_workflow"):
        if name[:2] > "01":
            notebook = notebook.follow(f"{name}.ipynb")
        notebook.run_all()
        expect(notebook.failed).to_contain_text("approve", ignore_case=True)
        approve(notebook, aws)
        notebook.run_all()
        notebook.all_ran()
    notebook = notebook.follow("04_confirm_events.ipynb")
    with notebook.running():
        notebook.menu("Run", "Run All Cells")
        expect(notebook.outputs.get_by_role("progressbar")).to_be_visible()
        expect(notebook.output_with("waiting for").first).to_be_visible()
        sandboxes.command(aws, "advance", seconds=EVENT_DELAY_S)
    expect(notebook.output_with("PROVED").first).to_be_visible()
    expect(notebook.output_with("not AWS").first).to_be_visible()


def approve(notebook: Notebook, aws: Handoff) -> None:
    """Type the account, then press the button, which another account's number does not open."""
    notebook.field("Account").last.fill("999999999999")
    expect(notebook.button("Approve")).to_be_disabled()
    notebook.field("Account").last.fill(aws.account)
    notebook.button("Approve").click()
    expect(notebook.output_with("✓ Approved").first).to_be_visible()
