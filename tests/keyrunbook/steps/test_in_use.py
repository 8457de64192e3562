"""Clean-up leaves what others use: other runs, other workflows under the key, other uses of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from jobs import Job, module_of
from keyrunbook import policies
from keyrunbook.aws import approval
from keyrunbook.aws.clients import Clients, sandbox_clients
from keyrunbook.errors import StepFailed
from keyrunbook.findings import Finding
from keyrunbook.sandboxes import HANDED_OVER, start_private
from keyrunbook.session import Run
from keyrunbook.steps import clean_up, events, in_use, revoke_access
from keyrunbook.steps.events import CLOCK_SKEW
from keyrunbook.steps.planning import plan_steps

pytestmark = pytest.mark.e2e


def by_statement(findings: Any) -> dict[str, Finding]:
    return {one.statement: one for one in findings}


def state_of_key(aws: Clients, run: Run) -> str:
    key = aws("kms").describe_key(KeyId=run.facts()["key_arn"])["KeyMetadata"]
    return str(key["KeyState"])


def test_of_two_runs_on_one_key_and_role_the_other_stays_whole(
    new_job: Callable[..., Job], aws: Clients
) -> None:
    """The first made the key, its rotation and the role; the second found them there."""
    first = new_job()
    facts = first.through("03").facts()
    second = new_job("b", key_arn=facts["key_arn"], execution_role=facts["role_name"])
    second.through("04")
    found = by_statement(first.do("06"))
    left = found["The key is scheduled for deletion"]
    assert (left.status, "is under the key" in left.evidence) == ("fail", True)
    assert "delete_used_key = True" in left.mend
    assert found["The role that others use has no policy of this run"].status == "pass"
    assert found["The alias stays with the key"].status == "pass"
    sids = policies.sids(json.loads(aws("kms").get_key_policy(KeyId=facts["key_arn"])["Policy"]))
    assert policies.sid("WorkflowKeyUse", second.given["run_id"]) in sids
    assert policies.sid("WorkflowKeyUse", first.given["run_id"]) not in sids
    for number in ("01", "02", "03"):
        module, run = module_of(number), second.open(number)
        assert module.plan(module.observe(run), run.parameters).changes == ()
    run = second.open("05")
    assert revoke_access.build(run, "before").decrypted is True
    assert {one.status for one in second.do("06")} <= {"pass", "not checked"}
    assert state_of_key(aws, run) == "Enabled"


def test_a_key_that_somebody_used_for_something_else_stays_until_that_is_allowed(
    job: Job, aws: Clients
) -> None:
    run = job.through("03")
    revoke_access.build(job.open("05"), "before")  # this, and the run's reads, are no other's use
    aws("kms").encrypt(KeyId=run.facts()["key_arn"], Plaintext=b"theirs")
    state = clean_up.observe(job.open("06"))
    assert [how.split(" at ")[0] for _, how in state.use.key] == ["Encrypt"]
    assert {"GetKeyLastUsage", "records of the key's uses"} <= set(state.use.looked_at)
    found = by_statement(job.do("06"))
    left = found["The key is scheduled for deletion"]
    assert (left.status, "Encrypt at" in left.evidence) == ("fail", True)
    assert state_of_key(aws, run) == "Enabled"
    found = by_statement(job.do("06", delete_used_key=True))
    scheduled = found["The key is scheduled for deletion"]
    assert scheduled.status == "pass"
    assert "aws kms cancel-key-deletion --key-id" in scheduled.evidence
    assert "aws kms enable-key" in scheduled.evidence
    assert state_of_key(aws, run) == "PendingDeletion"


def test_a_last_use_that_no_record_and_no_call_of_the_run_explains_counts(
    job: Job, aws: Clients
) -> None:
    """Records may come late, or never; KMS's own word of the last use counts too."""
    run = job.through("03")
    key = aws("kms").describe_key(KeyId=run.facts()["key_arn"])["KeyMetadata"]
    last = {"Operation": "Decrypt", "Timestamp": key["CreationDate"], "CloudTrailEventId": "gone"}
    assert in_use._by_last_usage(run, last, ()) == []  # within the run's own calls
    much_later = {**last, "Timestamp": key["CreationDate"].replace(year=2100)}
    ((who, how),) = in_use._by_last_usage(run, much_later, ())
    assert who == "unknown"
    assert how.startswith("Decrypt at 2100-")


def test_who_is_set_up_to_use_the_key_counts_as_its_user(
    new_job: Callable[..., Job], aws: Clients
) -> None:
    """Another run that has not made its workflow yet; a statement, an alias and a grant of others.

    They go one after another; in the end the key does.
    """
    first = new_job()
    facts, kms = first.through("03").facts(), aws("kms")
    key, role = facts["key_arn"], facts["role_name"]
    alias = first.given["key_alias"]
    second = new_job("b", key_arn=key, key_alias=alias, execution_role=role)
    for number in ("01", "02"):
        second.do(number)
    kms.create_alias(AliasName=f"{alias}-theirs", TargetKeyId=key)
    grant = kms.create_grant(
        KeyId=key, GranteePrincipal=facts["role_arn"], Operations=["DescribeKey"]
    )

    def users() -> list[str]:
        return [who for who, _ in clean_up.observe(first.open("06")).use.key]

    sid = policies.sid("WorkflowKeyUse", second.given["run_id"])
    statement = f"the key policy's statement {sid!r}"
    assert users() == [statement, facts["role_arn"], f"{alias}-theirs"]
    left = by_statement(first.do("06"))["The key is scheduled for deletion"]
    assert (left.status, statement in left.evidence) == ("fail", True)
    assert state_of_key(aws, first.open("06")) == "Enabled"
    assert not second.do("02").failed()
    assert second.do("06").failed() == []
    kms.delete_alias(AliasName=f"{alias}-theirs")
    assert users() == [facts["role_arn"]]
    kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
    assert users() == []
    assert not first.do("06").failed()
    assert state_of_key(aws, first.open("06")) == "PendingDeletion"


def test_what_this_run_did_to_the_key_is_within_its_own_calls_and_a_late_look_up_is_not(
    job: Job,
) -> None:
    run = job.through("01")
    spans = len(list(in_use._calls(run)))
    early = run.record("intent", call="kms:CreateAlias", parameters={}, before={})
    lost = run.record("intent", call="kms:CreateAlias", parameters={}, before={})
    run.record("outcome", call="kms:CreateAlias", status="done", intent=early, gives={})
    *_, (since, until) = in_use._calls(run)
    began, *_, ended = [
        datetime.fromisoformat(one["time"]) for one in run.ledger.entries() if one["n"] >= early
    ]
    assert (since, until) == (began - CLOCK_SKEW["sandbox"], ended + CLOCK_SKEW["sandbox"])
    run.record("outcome", call="kms:CreateAlias", status="done", intent=lost, found="x", gives={})
    assert len(list(in_use._calls(run))) == spans + 1


def test_what_a_revocation_took_of_others_is_given_back_before_the_clean_up(
    new_job: Callable[..., Job], aws: Clients
) -> None:
    key = aws("kms").create_key()["KeyMetadata"]["Arn"]
    job = new_job(key_arn=key)
    facts = job.through("03").facts()
    aws("kms").create_grant(KeyId=key, GranteePrincipal=facts["role_arn"], Operations=["Decrypt"])
    run = job.open("05")
    revoke_access.apply(run, revoke_access.plan(revoke_access.observe(run), run.parameters))
    with pytest.raises(StepFailed, match="holds back what others had"):
        job.do("06")
    revoke_access.give_back(run, revoke_access.restoration(run))
    assert {one.status for one in job.do("06")} <= {"pass", "not checked"}


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clients]:
    """A sandbox whose builds take long, as the target aws."""
    faults = tmp_path / "faults.yaml"
    rule = {
        "service": "imagebuilder", "operation": "CreateImage", "fault": "slow_build",
        "seconds": 3600, "times": "always",
    }  # fmt: skip
    faults.write_text(json.dumps([rule]))
    with start_private("--faults", str(faults)) as sandbox:
        handoff = sandbox.ready()
        monkeypatch.setenv(HANDED_OVER, str(sandbox.path))
        monkeypatch.setenv("AWS_ENDPOINT_URL", handoff.endpoint_url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", handoff.access_key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", handoff.secret_access_key)
        monkeypatch.setitem(events.INTERVAL_S, "aws", 0.1)
        yield sandbox_clients(handoff)


def test_a_build_on_aws_is_cancelled_when_its_limit_is_over_and_its_image_removed(
    slow: Clients, tmp_path: Path
) -> None:
    job = Job(tmp_path, "slow", target="aws", region="us-west-2")
    trust = policies.to_text(policies.trust_policy(slow.identity.account))
    slow("iam").create_role(RoleName="Roleslow", AssumeRolePolicyDocument=trust)

    def approved(number: str) -> str:
        run = job.open(number)
        return approval.store(run, plan_steps(run, [run.step]))

    for number in ("01", "02", "03"):
        job.do(number, approve=approved(number))
    made_of = f"arn:aws:imagebuilder:us-west-2:{slow.identity.account}"
    job.given |= {
        "run_build": True, "build_wait_seconds": 0,
        "build_recipe": f"{made_of}:container-recipe/mine/1.0.0",
        "build_infrastructure": f"{made_of}:infrastructure-configuration/mine",
    }  # fmt: skip
    run = job.open("05", approve=approved("05"))
    outcome = revoke_access.build(run, "before")
    assert (outcome.decrypted, outcome.status) == (True, "BUILDING")
    assert "CloudTrail has the role's Decrypt" in outcome.reason
    image = {"imageBuildVersionArn": run.facts()["image_arn"]}
    assert slow("imagebuilder").get_image(**image)["image"]["state"]["status"] == "CANCELLED"
    assert run.ledger.of_kind("intent")[-1]["call"] == "imagebuilder:CancelImageCreation"
    # One that nobody saw the end of is ended by the next to open the step, and stops the clean-up.
    again = slow("imagebuilder").create_image(
        containerRecipeArn=job.given["build_recipe"],
        infrastructureConfigurationArn=job.given["build_infrastructure"],
        executionRole="Roleslow",
        workflows=[{"workflowArn": run.facts()["workflow_arn"]}],
        distributionConfigurationArn=f"{made_of}:distribution-configuration/mine",
    )["imageBuildVersionArn"]
    with pytest.raises(StepFailed, match="the image is BUILDING with it"):
        clean_up.plan(clean_up.observe(job.open("06")), job.open("06").parameters)
    slow("imagebuilder").cancel_image_creation(imageBuildVersionArn=again)
    plan = clean_up.plan(clean_up.observe(job.open("06")), job.open("06").parameters)
    assert plan.changes[0].call == "imagebuilder:DeleteImage"
    assert {one.status for one in job.do("06", approve=approved("06"))} <= {"pass", "not checked"}
    with pytest.raises(slow("imagebuilder").exceptions.ClientError, match="ResourceNotFound"):
        slow("imagebuilder").get_image(**image)
