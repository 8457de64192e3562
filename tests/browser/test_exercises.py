"""Two exercises, as a learner solves them: a hint, something wrong, then something right."""

from __future__ import annotations

import pytest
from in_browser import Notebook, entered, opened
from looks import OUR_OUTPUTS, Looks
from playwright.sync_api import Page, expect
from served_lab import Lab

pytestmark = pytest.mark.e2e

ACT = "# Act here"
WRONG_ALIAS = """
other = kms.create_key()["KeyMetadata"]["KeyId"]
kms.update_alias(AliasName="alias/golden", TargetKeyId=other)
"""
ENABLED = """
key = exercise.facts.key_arn
kms.enable_key(KeyId=key)
kms.update_alias(AliasName="alias/golden", TargetKeyId=key)
"""
DELEGATED_TO_ALL = """
from keyrunbook import policies
policy = json.loads(kms.get_key_policy(KeyId=facts.key_arn, PolicyName="default")["Policy"])
everything = dict(Sid="All", Effect="Allow", Action="kms:*", Resource="*")
everything["Principal"] = {"AWS": exercise.account.number}
opened = {**policy, "Statement": [*policy["Statement"], everything]}
kms.put_key_policy(KeyId=facts.key_arn, PolicyName="default", Policy=json.dumps(opened))
"""
THE_ROLE_ALONE = """
role = policies.execution_role_statement(
    "mine", facts.role_arn, exercise.account.partition, exercise.account.number)
narrow = {**policy, "Statement": [*policy["Statement"], role]}
kms.put_key_policy(KeyId=facts.key_arn, PolicyName="default", Policy=json.dumps(narrow))
"""


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("07_disabled_key", WRONG_ALIAS, ENABLED),
        ("01_one_sided_grant", DELEGATED_TO_ALL, THE_ROLE_ALONE),
    ],
)
def test_solved(page: Page, lab: Lab, looks: Looks, name: str, wrong: str, right: str) -> None:
    entered(page, lab.address)
    notebook = opened(page, f"exercises/{name}.ipynb")
    notebook.run_all()
    verdict = notebook.status.filter(has_text="Not yet")
    expect(verdict).to_be_visible()
    first = verdict.inner_text()
    notebook.button("Hint").click()
    expect(notebook.status).to_have_count(2)
    act(notebook, wrong)
    notebook.button("Check again").click()
    expect(verdict).not_to_have_text(first)
    looks.check(page, f"exercise-{name}", OUR_OUTPUTS)
    act(notebook, right)
    notebook.button("Check again").click()
    expect(notebook.status.filter(has_text="✓ Solved")).to_be_visible()


def act(notebook: Notebook, code: str) -> None:
    """Write code into the learner's cell, and run it."""
    notebook.write(ACT, f"{ACT}{code}")
    expect(notebook.failed).to_have_count(0)
