"""`runbook revoke`, `restore` and `emergency-stop`: what they say, change, and end with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result
from jobs import Job
from keyrunbook import policies
from keyrunbook.aws import approval
from keyrunbook.aws.clients import Clients
from keyrunbook.cli import runbook
from keyrunbook.errors import ApprovalRequired, ParameterError
from keyrunbook.sandboxes import Sandbox
from keyrunbook.steps import revoke_access
from keyrunbook.steps.planning import plan_steps

pytestmark = pytest.mark.e2e


def call(job: Job, command: str, *words: str) -> Result:
    asked = [command, job.given["run_id"], "--outputs", job.given["outputs_dir"], *words]
    return CliRunner().invoke(runbook, asked)


def reported(job: Job, command: str, *words: str) -> dict[str, Any]:
    answer = call(job, command, *words, "--json")
    assert answer.exit_code == json.loads(answer.stdout)["exit_status"]
    return dict(json.loads(answer.stdout))


def policy_of(aws: Clients, job: Job) -> str:
    key = job.given["key_alias"]
    arn = aws("kms").describe_key(KeyId=key)["KeyMetadata"]["Arn"]
    return str(aws("kms").get_key_policy(KeyId=arn, PolicyName="default")["Policy"])


def test_revoke_and_restore_on_the_sandbox(job: Job, aws: Clients) -> None:
    run = job.through("03")
    before, workflow = policy_of(aws, job), run.facts()["workflow_arn"]
    told = call(job, "revoke")
    assert told.exit_code == 0, told.output
    assert f"These workflows become unreadable to builds: {workflow}" in told.stdout
    assert "Applied by 05_revoke\n" in told.stdout
    assert "4 of 4 rows DENIED" in told.stdout
    assert revoke_access.build(job.open("05"), "both").decrypted is False
    shown = CliRunner().invoke(runbook, ["show", run.run_id, "--outputs", str(job.outputs)])
    assert re.search(r"^now    a revocation of \S+Z stands \(runbook restore", shown.stdout, re.M)
    again = reported(job, "revoke")
    assert (again["plan"]["changes"], again["exit_status"]) == ([], 0)
    (note,) = revoke_access.forecast(job.open("05")).plan.notes
    assert re.match(
        r"The revocation of \S+Z, by runbook revoke, stands, and this step ends it", note
    )
    back = reported(job, "restore")
    assert "notes" not in back["plan"], "restore is for nothing else"
    assert [one["call"] for one in back["plan"]["changes"]] == [
        "kms:PutKeyPolicy", "iam:PutRolePolicy",
    ]  # fmt: skip
    assert [one["status"] for one in back["findings"]] == ["pass"]
    assert policy_of(aws, job) == before
    assert reported(job, "restore")["plan"]["changes"] == []
    assert "05_revoke_access" not in run.ledger.done()


def test_a_path_that_stays_open_ends_with_1_and_names_the_way(job: Job, aws: Clients) -> None:
    facts = job.through("03").facts()
    wide = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}
    aws("iam").put_role_policy(
        RoleName=facts["role_name"],
        PolicyName="theirs",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [wide]}),
    )
    told = call(job, "revoke")
    assert told.exit_code == 1
    assert 'revoke_by = "deny"' in told.stdout
    assert reported(job, "revoke", "--by", "deny")["exit_status"] == 0
    assert reported(job, "restore")["exit_status"] == 0
    sids = policies.sids(json.loads(policy_of(aws, job)))
    assert sids == ["Allow access for key administrators", policies.sid(
        "WorkflowKeyUse", job.given["run_id"]
    )]  # fmt: skip


def test_the_emergency_stop_disables_the_key_and_its_undo_enables_it(
    job: Job, aws: Clients
) -> None:
    run = job.through("03")
    key = run.facts()["key_arn"]

    def state() -> str:
        return str(aws("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"])

    told = call(job, "emergency-stop")
    assert (told.exit_code, state()) == (0, "Disabled")
    assert run.facts()["workflow_arn"] in told.stdout
    assert reported(job, "emergency-stop")["plan"]["changes"] == []
    assert (call(job, "emergency-stop", "--undo").exit_code, state()) == (0, "Enabled")
    job.do("06")
    ended = call(job, "emergency-stop")
    assert isinstance(ended.exception, Exception)
    assert "PendingDeletion" in str(ended.exception)


def test_a_run_that_is_not_there(job: Job) -> None:
    answer = call(job, "revoke")
    assert isinstance(answer.exception, ParameterError)
    assert "There is no run" in answer.exception.what
    assert answer.exception.exit_status == 2


# On AWS


@pytest.fixture
def aws_job(
    on_sandbox: Sandbox,
    new_job: Callable[..., Job],
    aws: Clients,
    monkeypatch: pytest.MonkeyPatch,
) -> Job:
    """A job on the target aws, which endpoint variables send to a sandbox; 01 to 03 are done."""
    handoff = on_sandbox.ready()
    monkeypatch.setenv("AWS_ENDPOINT_URL", handoff.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", handoff.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", handoff.secret_access_key)
    job = new_job(target="aws", region="us-west-2")
    trust = policies.to_text(policies.trust_policy(aws.identity.account))
    aws("iam").create_role(RoleName=job.given["execution_role"], AssumeRolePolicyDocument=trust)
    for number in ("01", "02", "03"):
        run = job.open(number)
        approved = approval.store(run, plan_steps(run, [run.step]))
        job.do(number, approve=approved)
    return job


def test_on_aws_each_command_waits_for_the_approval_of_its_own_plan(
    aws_job: Job, aws: Clients
) -> None:
    before = policy_of(aws, aws_job)
    waits = call(aws_job, "revoke", "--by", "deny")
    assert waits.exit_code == 4
    (digest,) = re.findall(r"^digest:  ([0-9a-f]{64})$", waits.stdout, re.MULTILINE)
    where = f"{aws_job.given['run_id']} --outputs {aws_job.outputs}"
    assert f"runbook revoke {where} --approve {digest}" in waits.stdout
    assert '"Effect": "Deny"' in waits.stdout  # what is to be approved is there to be read
    assert policy_of(aws, aws_job) == before
    # The plan knows the parameters that it was made with.
    assert reported(aws_job, "revoke", "--approve", digest)["applied"] is True
    assert policy_of(aws, aws_job) != before
    other = call(aws_job, "restore", "--approve", digest)
    assert isinstance(other.exception, ApprovalRequired)
    assert "runbook restore" in other.exception.fix
    back = reported(aws_job, "restore")
    assert (back["exit_status"], back["applied"]) == (4, False)
    assert reported(aws_job, "restore", "--approve", back["digest"])["exit_status"] == 0
    assert policy_of(aws, aws_job) == before
    # An approval is used up by the command's end: what is the same again is planned again.
    go_on = ["emergency-stop", "--undo"]
    for _ in range(2):
        stop = reported(aws_job, "emergency-stop")
        done = reported(aws_job, "emergency-stop", "--approve", stop["digest"])
        assert done["exit_status"] == 0
        undo = reported(aws_job, *go_on)
        assert reported(aws_job, *go_on, "--approve", undo["digest"])["exit_status"] == 0


def test_an_earlier_approval_is_not_taken_for_the_approval_of_another_command(
    aws_job: Job, aws: Clients
) -> None:
    before = policy_of(aws, aws_job)
    waits = reported(aws_job, "revoke")
    run = aws_job.open("05", approve=waits["digest"]).at("05_revoke")
    approval.approve(run, waits["digest"], "a command that was killed right after")
    again = reported(aws_job, "revoke")
    assert (again["exit_status"], again["applied"]) == (4, False)
    assert policy_of(aws, aws_job) == before


def test_a_run_that_has_access_only_can_be_revoked(new_job: Callable[..., Job]) -> None:
    job = new_job("x")
    job.through("02")
    assert reported(job, "revoke")["exit_status"] == 0
