"""The Approve button: it asks for the account, and what it approves may be applied."""

from __future__ import annotations

from typing import Any

import pytest
from jobs import Job, module_of
from keyrunbook.aws.clients import Clients
from keyrunbook.show.approving import Approving

pytestmark = pytest.mark.e2e


def whole_of(job: Job) -> Any:
    run, step = job.open("01"), module_of("01")
    return run, step.plan(step.observe(run), run.parameters)


def test_on_the_sandbox_no_approval_is_needed(job: Job) -> None:
    bundle = Approving(*whole_of(job))._repr_mimebundle_()
    assert bundle["text/plain"] == "No approval is needed: this is the sandbox."
    assert "plan" not in {entry["kind"] for entry in job.open("01").ledger.entries()}


def test_where_nothing_changes_there_is_nothing_to_approve(on_aws: Job) -> None:
    run, plan = whole_of(on_aws)
    assert Approving(run, type(plan)(plan.step)).words().startswith("Nothing to approve")


def test_the_button_waits_for_the_accounts_number(on_aws: Job) -> None:
    run, plan = whole_of(on_aws)
    approving = Approving(run, plan)
    said, (typed, button) = (lambda box: (box[0], box[1].children))(approving.form().children)
    assert said.value.startswith("? Waits for approval: type the account's number")
    for text, ready in (("", False), ("999999999999", False), (run.identity.account, True)):
        typed.value = text
        assert button.disabled is not ready
    button.click()
    assert said.value == "✓ Approved: the next cell may apply it."
    (approved,) = run.ledger.of_kind("approved")
    assert approved["how"] == f"the button, for {run.identity.account}"
    assert not on_aws.do("01").failed()


def test_the_accounts_alias_will_do_as_well(on_aws: Job, aws: Clients) -> None:
    iam = aws("iam")
    iam.create_account_alias(AccountAlias="images-of-ours")
    try:
        run, plan = whole_of(on_aws)
        typed, button = Approving(run, plan).form().children[1].children
        typed.value = "images-of-ours"
        assert not button.disabled
    finally:
        iam.delete_account_alias(AccountAlias="images-of-ours")
    assert iam.list_account_aliases()["AccountAliases"] == []


def test_what_waits_shows_its_digest_as_text_and_the_form_as_a_widget(on_aws: Job) -> None:
    run, plan = whole_of(on_aws)
    shown, _ = Approving(run, plan)._repr_mimebundle_()
    (stored,) = run.ledger.of_kind("plan")
    assert f'approve = "{stored["digest"]}"' in shown["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in shown


def test_a_digest_given_as_a_parameter_shows_as_approved(on_aws: Job) -> None:
    run, plan = whole_of(on_aws)
    Approving(run, plan).words()
    (stored,) = run.ledger.of_kind("plan")
    again = on_aws.open("01", approve=stored["digest"])
    assert Approving(again, plan).words() == "✓ Approved: the next cell may apply it."
