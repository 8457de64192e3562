"""The steps on a real sandbox: twice the same, what happens behind their back, and what stays."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError
from jobs import DOCUMENT, Job, module_of
from keyrunbook import policies
from keyrunbook.access import OPERATOR, ROLE
from keyrunbook.aws import mutate
from keyrunbook.aws.clients import Clients
from keyrunbook.errors import AwsRefused, LockOut, ParameterError, StepFailed, StepMissing
from keyrunbook.findings import Findings
from keyrunbook.plan import Plan
from keyrunbook.steps import grant_access, inventory, revoke_access
from keyrunbook.steps.grant_access import policy_name, put_key_policy

pytestmark = pytest.mark.e2e


def statuses(findings: Findings) -> dict[str, str]:
    return {finding.statement: finding.status for finding in findings}


def seen_to(findings: Findings) -> set[str]:
    """The outcomes, but for what the sandbox does not serve: it has no image pipelines."""
    return {one.status for one in findings if not one.statement.endswith("image pipelines")}


def failed(findings: Findings) -> list[str]:
    return [finding.statement for finding in findings.failed()]


def test_a_second_run_of_every_step_plans_nothing(job: Job) -> None:
    for number in ("00", "01", "02", "03", "04"):
        job.do(number)
    for number in ("00", "01", "02", "03", "04"):
        module, run = module_of(number), job.open(number)
        assert module.plan(module.observe(run), run.parameters).changes == ()
    job.do("06")
    run = job.open("06")
    assert module_of("06").plan(module_of("06").observe(run), run.parameters).changes == ()


# Behind the run's back


def test_the_key_is_disabled(job: Job, aws: Clients) -> None:
    run = job.through("01")
    aws("kms").disable_key(KeyId=run.facts()["key_arn"])
    found = module_of("01").verify(job.open("01"))
    assert "The key is enabled" in failed(found)


def test_the_alias_is_moved(job: Job, aws: Clients) -> None:
    job.through("01")
    other = aws("kms").create_key()["KeyMetadata"]["KeyId"]
    aws("kms").update_alias(AliasName=job.given["key_alias"], TargetKeyId=other)
    assert failed(module_of("01").verify(job.open("01"))) == ["The alias names the key"]


def test_the_statement_in_the_key_policy_is_removed(job: Job, aws: Clients) -> None:
    run = job.through("02")
    start = policies.administrators_policy("aws", run.identity.account)
    aws("kms").put_key_policy(KeyId=run.facts()["key_arn"], Policy=json.dumps(start))
    found = module_of("02").verify(job.open("02"))
    assert failed(found) == ["The key policy lets the execution role use the key for workflows"]
    # The other path is open still: one suffices.
    assert statuses(found)[
        "The execution role may decrypt this account's workflows (decided, not observed)"
    ] == "pass"  # fmt: skip


def test_the_role_policy_is_removed(job: Job, aws: Clients) -> None:
    run = job.through("02")
    name = run.facts()["role_name"]
    aws("iam").delete_role_policy(RoleName=name, PolicyName=policy_name(run.run_id))
    found = module_of("02").verify(job.open("02"))
    assert failed(found) == ["The role's policy names the key for workflows"]


def test_both_paths_are_removed(job: Job, aws: Clients) -> None:
    run = job.through("02")
    name = run.facts()["role_name"]
    aws("iam").delete_role_policy(RoleName=name, PolicyName=policy_name(run.run_id))
    start = policies.administrators_policy("aws", run.identity.account)
    aws("kms").put_key_policy(KeyId=run.facts()["key_arn"], Policy=json.dumps(start))
    assert (
        "The execution role may decrypt this account's workflows (decided, not observed)"
        in failed(module_of("02").verify(job.open("02")))
    )


def test_access_for_more_than_workflows_is_told(job: Job, aws: Clients) -> None:
    run = job.through("02")
    wide = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*"}
    aws("iam").put_role_policy(
        RoleName=run.facts()["role_name"],
        PolicyName="wide",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [wide]}),
    )
    assert failed(module_of("02").verify(job.open("02"))) == [
        "The execution role may use the key for nothing else (decided, not observed)"
    ]


def test_the_operator_loses_the_key_and_cannot_read_the_workflow(job: Job, aws: Clients) -> None:
    run = job.through("03")
    aws("kms").disable_key(KeyId=run.facts()["key_arn"])
    with pytest.raises(ClientError, match="is disabled"):
        module_of("04").verify(job.open("04"))
    assert run.ledger.of_kind("verdict") == []


def test_the_workflow_is_deleted_and_made_again(job: Job, aws: Clients) -> None:
    run = job.through("03")
    first = run.facts()["workflow_arn"]
    aws("imagebuilder").delete_workflow(workflowBuildVersionArn=first)
    assert failed(module_of("03").verify(job.open("03"))) == ["The workflow exists"]
    assert not failed(job.do("03"))
    made = [line["call"] for line in run.ledger.of_kind("intent", "03_encrypt_workflow")]
    assert made == ["imagebuilder:CreateWorkflow"] * 2


# Revocation


def test_taking_access_away_and_giving_it_back(job: Job) -> None:
    job.through("03")
    run, step = job.open("05"), revoke_access
    step.give_back(run, step.unfinished(run))
    assert inventory.workflows(run).under == (run.facts()["workflow_arn"],)
    step.who_may(run, "before")
    assert step.build(run, "before").decrypted is True
    plan = step.plan(step.observe(run), run.parameters)
    step.apply(run, step.first_path(plan))
    assert step.build(run, "one").decrypted is True
    rest = step.plan(step.observe(run), run.parameters)
    assert [change.call for change in rest] == ["iam:DeleteRolePolicy"]
    step.apply(run, rest)
    assert step.build(run, "both").decrypted is False
    may = {(cell.principal, cell.outcome.value) for cell in step.who_may(run, "revoked").cells}
    assert may == {(ROLE, "DENIED"), (OPERATOR, "ALLOWED")}
    [refused] = step.refusals(run)
    assert (refused.error_code, refused.issuer_arn) == ("AccessDenied", run.facts()["role_arn"])
    step.give_back(run, step.restore(step.observe(run), step.saved(run)))
    assert step.build(run, "restored").decrypted is True
    found = statuses(step.verify(run))
    # Other tests leave workflows behind whose keys are gone.
    found.pop("The inventory knows every workflow under the key")
    assert set(found.values()) == {"pass"}
    assert step.saved(run)
    assert not step.is_open(run)


def test_another_path_keeps_builds_reading_and_the_step_says_so(job: Job, aws: Clients) -> None:
    """A policy that others gave the role is not taken; the step names what closes it."""
    run = job.through("03")
    wide = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*"}
    aws("iam").put_role_policy(
        RoleName=run.facts()["role_name"],
        PolicyName="theirs",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [wide]}),
    )
    run = job.open("05")
    shown = revoke_access.open_paths(run)
    assert [row[2] for row in shown.rows if row[1] == "theirs"] == ["✗ stays open"]
    assert 'revoke_by = "deny"' in shown.note
    revoke_access.apply(run, revoke_access.plan(revoke_access.observe(run), run.parameters))
    assert revoke_access.build(run, "both").decrypted is True
    assert revoke_access.refusals(run) == []
    revoke_access.who_may(run, "revoked")
    found = revoke_access.verify(run)
    assert "With every path closed, builds cannot decrypt" in failed(found)
    assert statuses(found)["CloudTrail shows the refusals"] == "not checked"
    (open_still,) = (one for one in found if one.statement.startswith("Nothing allows"))
    assert (open_still.status, open_still.mend) == ("fail", revoke_access.BY_DENY)
    assert "theirs" in open_still.evidence


def test_no_build_when_none_is_wanted(job: Job) -> None:
    job.through("03")
    run = job.open("05", run_build=False)
    assert revoke_access.build(run, "before").decrypted is None
    assert revoke_access.refused_records(run).rows == []


# Clean-up


def test_clean_up_removes_what_the_run_made(job: Job, aws: Clients) -> None:
    run = job.through("04")
    facts = run.facts()
    found = job.do("06")
    assert seen_to(found) == {"pass"}
    key = aws("kms").describe_key(KeyId=facts["key_arn"])["KeyMetadata"]
    assert key["KeyState"] == "PendingDeletion"
    with pytest.raises(aws("iam").exceptions.NoSuchEntityException):
        aws("iam").get_role(RoleName=facts["role_name"])
    with pytest.raises(aws("kms").exceptions.NotFoundException):
        aws("kms").describe_key(KeyId=job.given["key_alias"])


def test_clean_up_leaves_what_was_there_before(job: Job, aws: Clients) -> None:
    kms, iam, builder = aws("kms"), aws("iam"), aws("imagebuilder")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    policy = kms.get_key_policy(KeyId=key)["Policy"]
    trust = policies.to_text(policies.trust_policy(aws.identity.account))
    role = job.given["execution_role"]
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust)
    theirs = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [theirs]})
    iam.put_role_policy(RoleName=role, PolicyName="theirs", PolicyDocument=document)
    other = builder.create_workflow(
        name=f"other-{role}", semanticVersion="1.0.0", type="BUILD", data=DOCUMENT
    )["workflowBuildVersionArn"]
    job.given["key_arn"] = key
    job.through("04")
    assert seen_to(job.do("06")) == {"pass"}
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"
    assert policies.same(json.loads(kms.get_key_policy(KeyId=key)["Policy"]), json.loads(policy))
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is False
    assert iam.list_role_policies(RoleName=role)["PolicyNames"] == ["theirs"]
    assert builder.get_workflow(workflowBuildVersionArn=other)["workflow"]["arn"] == other


def test_a_run_that_was_cleaned_up_does_not_go_on(job: Job) -> None:
    job.through("04")
    job.do("06")
    with pytest.raises(StepMissing, match="is finished: 06_clean_up has removed") as caught:
        job.do("01")
    assert caught.value.fix.startswith("Start a new run")


# Rules


def test_a_policy_that_locks_its_operator_out_is_not_sent(job: Job, aws: Clients) -> None:
    run = job.through("02")
    state = grant_access.observe(run)
    ours = policies.statement_of(state.key_policy or {}, policies.sid("WorkflowKeyUse", run.run_id))
    only_ours = {"Version": "2012-10-17", "Statement": [ours]}
    before = len(run.ledger.of_kind("intent"))
    text = policies.to_text(only_ours)
    change = put_key_policy(state.key_arn, str(state.key_policy_text), text)
    with pytest.raises(LockOut, match="could not change the policy"):
        mutate.apply(run, Plan("02_grant_access", (change,)))
    assert len(run.ledger.of_kind("intent")) == before
    assert policies.same(grant_access.observe(run).key_policy, state.key_policy)


def test_a_run_keeps_to_its_key_and_role(job: Job, aws: Clients) -> None:
    job.through("02")
    other = aws("kms").create_key()["KeyMetadata"]["Arn"]
    with pytest.raises(ParameterError, match="works with the key"):
        job.do("01", key_arn=other)
    with pytest.raises(ParameterError, match="works with the role"):
        job.do("02", execution_role="Other")


@pytest.mark.parametrize(
    ("role", "told"),
    [
        ("arn:aws:iam::444455556666:role/Builder", "is of the account 444455556666"),
        ("arn:aws:iam::{account}:role/elsewhere/{name}", "has that name"),
    ],
)
def test_a_role_that_is_another_one(job: Job, role: str, told: str) -> None:
    run = job.through("01")
    trust = policies.to_text(policies.trust_policy(run.identity.account))
    name = job.given["execution_role"]
    run.clients("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    given = role.format(account=run.identity.account, name=name)
    with pytest.raises(ParameterError, match=told):
        job.do("02", execution_role=given)


def test_a_key_that_is_not_there(job: Job) -> None:
    run = job.open("01")
    absent = f"arn:aws:kms:{run.region}:{run.identity.account}:key/1234abcd-0000"
    with pytest.raises(ParameterError, match="There is no key"):
        job.do("01", key_arn=absent)
    run.learn(key_arn=absent)
    with pytest.raises(StepFailed, match="is not there any more"):
        job.do("01")


def test_a_step_whose_findings_failed_is_named_by_the_next(job: Job, aws: Clients) -> None:
    run = job.open("01")
    module_of("01").apply(run, module_of("01").plan(module_of("01").observe(run), run.parameters))
    aws("kms").disable_key_rotation(KeyId=run.facts()["key_arn"])
    module_of("01").verify(run)
    with pytest.raises(StepMissing, match="It found: The key rotates by itself: fail"):
        job.open("02")


def test_a_refusal_stops_the_plan_and_what_was_made_is_known(
    new_job: Callable[..., Job], aws: Clients
) -> None:
    """Others give the role a policy after the plan: DeleteRole is refused; clean-up goes on."""
    job = new_job()
    job.through("03")
    run, step = job.open("06"), module_of("06")
    facts, plan = run.facts(), step.plan(step.observe(run), run.parameters)
    wide = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    aws("iam").put_role_policy(
        RoleName=facts["role_name"],
        PolicyName="theirs",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [wide]}),
    )
    with pytest.raises(AwsRefused, match="DeleteConflict"):
        step.apply(run, plan)
    *_, last = run.ledger.of_kind("outcome")
    assert (last["call"], last["status"], last["code"]) == (
        "iam:DeleteRole", "refused", "DeleteConflict",
    )  # fmt: skip
    aws("iam").delete_role_policy(RoleName=facts["role_name"], PolicyName="theirs")
    assert not failed(job.do("06"))
