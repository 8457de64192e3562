"""After a revocation: no use seen, in which source, from when to when; and a use that was seen."""

from __future__ import annotations

import json
import re

import pytest
from jobs import Job
from keyrunbook import sandboxes
from keyrunbook.aws.clients import Clients
from keyrunbook.cli import _main
from keyrunbook.sandboxes import Sandbox
from keyrunbook.steps import after_revocation, revoke_access

pytestmark = pytest.mark.e2e

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
STATEMENT = after_revocation.STATEMENT


def revoke(job: Job, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    words = ["revoke", job.given["run_id"], "--outputs", job.given["outputs_dir"]]
    return _main(words), capsys.readouterr().out


def later(own: Sandbox, aws: Clients) -> None:
    sandboxes.command(own.ready(), "advance", seconds=61)
    aws("kms").list_aliases()  # its Date tells the service's new time


def test_what_the_revoke_command_says_then_and_later(
    job: Job, aws: Clients, on_sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """At first how to look; then that no use was seen; and what was, where a path is open."""
    facts = job.through("03").facts()
    status, told = revoke(job, capsys)
    assert (status, STATEMENT in told) == (0, False)
    [usage] = re.findall(rf"  runbook (usage --outputs .* --since {TIME})\n", told)

    later(on_sandbox, aws)
    status, told = revoke(job, capsys)
    told = " ".join(told.split())
    assert (status, STATEMENT in told) == (0, True)
    assert re.search(rf"no use by the role seen in .* from {TIME} to {TIME}; 0 refused", told)
    assert "absence proves nothing" in told

    wide = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}
    aws("iam").put_role_policy(
        RoleName=facts["role_name"],
        PolicyName="theirs",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [wide]}),
    )
    assert revoke_access.build(job.open("05"), "both").decrypted
    later(on_sandbox, aws)
    status, told = revoke(job, capsys)
    told = " ".join(told.split())
    assert status == 1
    assert re.search(rf"{STATEMENT} outcome: ✗ fail evidence: \d uses seen in CloudTrail", told)
    assert _main(usage.split()) == 0
    assert re.search(
        rf"✓ used .*by: role/{facts['role_name']} ", " ".join(capsys.readouterr()[0].split())
    )


def test_the_notebook_says_it_from_the_first_refusal_on(job: Job) -> None:
    job.through("03")
    run = job.open("05")
    assert after_revocation.finding(run).status == "not checked"
    revoke_access.build(run, "before")
    revoke_access.apply(run, revoke_access.plan(revoke_access.observe(run), run.parameters))
    revoke_access.build(run, "both")
    [refusal] = revoke_access.refusals(run)
    finding = after_revocation.finding(run)
    assert finding.status == "pass"
    assert f"from {refusal.time:%Y-%m-%dT%H:%M:%SZ} to " in finding.evidence
    assert "; 1 refused, the last at " in finding.evidence
    [noted] = run.ledger.of_kind("records")
    assert [(one["event_id"], one["became"]) for one in noted["records"]] == [
        (refusal.event_id, "refused")
    ]
