"""A dry run says what AWS decided; where it decided nothing, the finding is "not checked"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from jobs import Job
from keyrunbook import sandboxes
from keyrunbook.plan import Plan
from keyrunbook.sandboxes import Sandbox
from keyrunbook.session import Run
from keyrunbook.steps import encrypt_workflow

pytestmark = pytest.mark.e2e

CALLS = (("imagebuilder", "CreateWorkflow"), ("kms", "GenerateDataKey"))


@pytest.fixture
def ready(job: Job, shared_sandbox: Sandbox) -> Iterator[Run]:
    """A run that is about to create its workflow; faults end with the test."""
    job.through("02")
    yield job.open("03")
    sandboxes.command(shared_sandbox.ready(), "faults", rules=[])


def statuses(run: Run, plan: Plan | None = None) -> list[str]:
    planned = encrypt_workflow.plan(encrypt_workflow.observe(run), run.parameters)
    return [one.status for one in encrypt_workflow.rehearse(run, plan or planned)]


def test_what_aws_decides_is_pass_or_fail_and_anything_else_not_checked(
    ready: Run, shared_sandbox: Sandbox
) -> None:
    assert statuses(ready) == ["pass", "pass"]
    (change,) = encrypt_workflow.plan(encrypt_workflow.observe(ready), ready.parameters)
    wrong = replace(change, parameters={**change.parameters, "semanticVersion": "one"})
    assert statuses(ready, Plan("03_encrypt_workflow", (wrong,))) == ["fail", "pass"]
    for fault in ("expired_credentials", "unavailable"):
        always = [
            {"service": service, "operation": operation, "fault": fault, "times": "always"}
            for service, operation in CALLS
        ]
        sandboxes.command(shared_sandbox.ready(), "faults", rules=always)
        plan = encrypt_workflow.plan(encrypt_workflow.observe(ready), ready.parameters)
        findings = encrypt_workflow.rehearse(ready, plan)
        assert [one.status for one in findings] == ["not checked", "not checked"]
        assert all("AWS did not say" in one.evidence and one.mend for one in findings)
