"""On AWS a step changes what an approved plan says, and nothing else.

The target is AWS, and endpoint variables point to a sandbox: the code is that which runs on AWS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from jobs import Job, module_of
from keyrunbook import policies
from keyrunbook.aws import approval
from keyrunbook.aws.clients import Clients
from keyrunbook.errors import ApprovalRequired, LedgerDamaged, ParameterError, PlanStale
from keyrunbook.plan import Plan, digest
from keyrunbook.proof import Outcome
from keyrunbook.session import Run
from keyrunbook.show.approving import Approving
from keyrunbook.steps import STEPS, grant_access, revoke_access
from keyrunbook.steps.planning import plan_steps

pytestmark = pytest.mark.e2e


def planned(job: Job, *numbers: str) -> str:
    """Plan the steps, store the plan, and give its digest, as `runbook plan` does."""
    names = [name for name in STEPS if name[:2] in numbers]
    run = job.open(numbers[0])
    return approval.store(run, plan_steps(run, names))


def keys(aws: Clients) -> set[str]:
    pages = aws("kms").get_paginator("list_keys").paginate()
    return {key["KeyArn"] for page in pages for key in page["Keys"]}


def intents(run: Run) -> list[str]:
    return [entry["call"] for entry in run.ledger.of_kind("intent")]


def test_a_whole_plan_is_approved_once_and_applied_to_the_proof(on_aws: Job) -> None:
    approved = planned(on_aws, "01", "02", "03", "04")
    for number in ("01", "02", "03"):
        assert not on_aws.do(number, approve=approved).failed()
    assert on_aws.do("04", approve=approved).outcome is Outcome.PROVED
    run = on_aws.open("04")
    assert intents(run) == [
        "kms:CreateKey",
        "kms:EnableKeyRotation",
        "kms:CreateAlias",
        "kms:PutKeyPolicy",
        "iam:PutRolePolicy",
        "imagebuilder:CreateWorkflow",
    ]
    (line,) = run.ledger.of_kind("approved")
    assert (line["digest"], line["operator"]) == (approved, run.identity.arn)


def test_without_approval_nothing_changes_and_the_error_names_the_plan(
    on_aws: Job, aws: Clients
) -> None:
    before = keys(aws)
    with pytest.raises(ApprovalRequired, match=r"kms:CreateKey.*Nothing was changed") as caught:
        on_aws.do("01")
    assert caught.value.exit_status == 4
    assert keys(aws) == before
    run = on_aws.open("01")
    (plan,) = run.ledger.of_kind("plan")
    assert intents(run) == []
    assert f"--steps 01 --approve {plan['digest']}" in caught.value.fix
    assert not on_aws.do("01", approve=plan["digest"]).failed()
    assert len(keys(aws) - before) == 1


def test_an_approval_is_kept_for_a_run_that_goes_on(on_aws: Job) -> None:
    approved = planned(on_aws, "01", "02")
    on_aws.do("01", approve=approved)
    assert not on_aws.do("02").failed()  # as resumed: nobody says approve again


def _statement_of_somebody(aws: Clients, key_arn: str, role: str) -> None:
    kms = aws("kms")
    policy = json.loads(kms.get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"])
    root = policy["Statement"][0]["Principal"]
    policy["Statement"].append(
        {
            "Sid": "Somebody",
            "Effect": "Allow",
            "Principal": root,
            "Action": "kms:DescribeKey",
            "Resource": "*",
        }
    )
    kms.put_key_policy(KeyId=key_arn, PolicyName="default", Policy=json.dumps(policy))


def _role_policy_of_ours(aws: Clients, key_arn: str, role: str) -> None:
    run_id = role.removeprefix("Role")
    account, region = aws.identity.account, aws.region
    document = policies.role_policy(run_id, key_arn, aws.identity.partition, account)
    assert region in key_arn
    aws("iam").put_role_policy(
        RoleName=role,
        PolicyName=f"WorkflowKeyAccess-{run_id}",
        PolicyDocument=policies.to_text(document),
    )


@pytest.mark.parametrize(
    ("behind_its_back", "shown"),
    [
        (_statement_of_somebody, r'\+ +"Sid": "Somebody"'),
        (_role_policy_of_ours, r'- +"call": "iam:PutRolePolicy"'),
    ],
)
def test_an_account_that_has_changed_stops_the_step_before_its_first_change(
    on_aws: Job, aws: Clients, behind_its_back: Callable[..., None], shown: str
) -> None:
    approved = planned(on_aws, "01", "02")
    on_aws.do("01", approve=approved)
    run = on_aws.open("02")
    behind_its_back(aws, run.facts()["key_arn"], on_aws.given["execution_role"])
    before = intents(run)
    with pytest.raises(ApprovalRequired, match="stopped before it changed anything") as caught:
        on_aws.do("02", approve=approved)
    assert re.search(shown, caught.value.what)
    assert intents(run) == before
    assert len(run.ledger.of_kind("difference")) == 1
    offered = run.ledger.of_kind("plan")[-1]["digest"]
    assert offered in caught.value.fix
    assert offered != approved
    assert not on_aws.do("02", approve=offered).failed()


def test_what_is_left_of_a_step_that_died_half_way_is_approved_still(on_aws: Job) -> None:
    approved = planned(on_aws, "01")

    def die(**_: Any) -> None:
        raise KeyboardInterrupt

    run = on_aws.open("01", approve=approved)
    run.clients.once("kms").meta.events.register("before-send.kms.CreateAlias", die)
    step = module_of("01")
    with pytest.raises(KeyboardInterrupt):
        step.apply(run, step.plan(step.observe(run), run.parameters))
    assert intents(run)[-1] == "kms:CreateAlias"
    assert not on_aws.do("01").failed()
    assert intents(run).count("kms:CreateKey") == 1


def test_an_approval_is_used_up_when_its_step_has_come_to_its_end(
    on_aws: Job, aws: Clients
) -> None:
    approved = planned(on_aws, "01")
    on_aws.do("01", approve=approved)
    aws("kms").delete_alias(AliasName=on_aws.given["key_alias"])
    with pytest.raises(ApprovalRequired, match=r"kms:CreateAlias\. Nothing was changed"):
        on_aws.do("01")


def test_a_digest_of_no_plan_is_refused_and_the_plans_are_named(
    on_aws: Job, new_job: Callable[..., Job]
) -> None:
    own = planned(on_aws, "01")
    other = planned(new_job("b", **{**on_aws.given, "run_id": f"{on_aws.given['run_id']}b"}), "01")
    assert own != other
    with pytest.raises(ParameterError, match="is no plan of the run") as caught:
        on_aws.do("01", approve=other)
    assert own in caught.value.fix


def test_on_the_sandbox_a_digest_that_is_given_binds_as_well(job: Job, aws: Clients) -> None:
    approved = planned(job, "01")
    assert not job.do("01", approve=approved).failed()
    approved = planned(job, "02")
    _statement_of_somebody(aws, job.open("02").facts()["key_arn"], "")
    with pytest.raises(ApprovalRequired, match="the sandbox is not as it was"):
        job.do("02", approve=approved)
    assert not job.do("02").failed()


def test_a_step_that_applies_in_parts_is_approved_as_a_whole(on_aws: Job, aws: Clients) -> None:
    approved = planned(on_aws, "01", "02", "03", "05")
    for number in ("01", "02", "03"):
        on_aws.do(number, approve=approved)
    run = on_aws.open("05", approve=approved)
    plan = revoke_access.plan(revoke_access.observe(run), run.parameters)
    revoke_access.apply(run, revoke_access.first_path(plan))
    # Whatever is not of the plan is refused, also after the first change.
    alien = Plan(plan.step, (grant_access.put_key_policy(run.facts()["key_arn"], "{}", "{}", "x"),))
    with pytest.raises(ApprovalRequired, match="stopped before its next change"):
        revoke_access.apply(run, alien)
    rest = revoke_access.plan(revoke_access.observe(run), run.parameters)
    revoke_access.apply(run, rest)
    revoke_access.give_back(run, revoke_access.restoration(run))
    assert not revoke_access.verify(run).failed()


def test_a_step_in_parts_stops_before_its_first_when_the_account_has_changed(
    on_aws: Job, aws: Clients
) -> None:
    approved = planned(on_aws, "01", "02", "03", "05")
    for number in ("01", "02", "03"):
        on_aws.do(number, approve=approved)
    run = on_aws.open("05", approve=approved)
    role, name = on_aws.given["execution_role"], f"WorkflowKeyAccess-{run.run_id}"
    aws("iam").delete_role_policy(RoleName=role, PolicyName=name)
    plan = revoke_access.plan(revoke_access.observe(run), run.parameters)
    before = intents(run)
    with pytest.raises(ApprovalRequired, match="stopped before it changed anything"):
        revoke_access.apply(run, plan)
    assert intents(run) == before


def test_a_plan_that_waited_for_its_button_is_not_applied_to_what_has_changed(
    on_aws: Job, aws: Clients
) -> None:
    on_aws.do("01", approve=planned(on_aws, "01"))
    run, step = on_aws.open("02"), module_of("02")
    plan = step.plan(step.observe(run), run.parameters)
    Approving(run, plan).words()
    approval.approve(run, run.ledger.of_kind("plan")[-1]["digest"], "a test")
    key_arn = run.facts()["key_arn"]
    _statement_of_somebody(aws, key_arn, "")
    before = intents(run)
    with pytest.raises(ApprovalRequired, match='"Sid": "Somebody"'):
        step.apply(run, plan)
    assert intents(run) == before


def test_a_part_made_before_the_account_changed_is_not_applied(on_aws: Job, aws: Clients) -> None:
    for number in ("01", "02", "03"):
        on_aws.do(number, approve=planned(on_aws, number))
    run = on_aws.open("05")
    stale = revoke_access.plan(revoke_access.observe(run), run.parameters)
    _statement_of_somebody(aws, run.facts()["key_arn"], "")
    run = on_aws.open("05", approve=planned(on_aws, "05"))
    before = intents(run)
    with pytest.raises(ApprovalRequired):
        revoke_access.apply(run, revoke_access.first_path(stale))
    assert intents(run) == before


def test_a_policy_that_changes_at_the_last_moment_is_not_overwritten(
    job: Job, aws: Clients
) -> None:
    job.do("01")
    run, step = job.open("02"), module_of("02")
    plan = step.plan(step.observe(run), run.parameters)
    key_arn = run.facts()["key_arn"]
    _statement_of_somebody(aws, key_arn, "")
    with pytest.raises(PlanStale, match="somebody changed the policy"):
        step.apply(run, plan)
    there = aws("kms").get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"]
    assert "Somebody" in there


def _replace(run: Run, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Another plan under the digest, the chain mended: who may write the folder can do that."""
    lines = run.ledger.entries()
    run.ledger.path.unlink()
    for line in lines:
        if line["kind"] == "plan" and line["digest"] == name:
            change(line["plan"])
        kept = {key: value for key, value in line.items() if key not in ("n", "hash")}
        run.ledger.append(kept.pop("kind"), **kept)


def test_another_plan_under_an_approved_digest_is_refused(on_aws: Job) -> None:
    approved = planned(on_aws, "01", "02")
    run = on_aws.open("01")
    _replace(run, approved, lambda plan: plan["parameters"].update(execution_role="Evil"))
    with pytest.raises(LedgerDamaged, match="keeps another plan under the digest"):
        on_aws.do("01", approve=approved)


def test_the_parameters_and_the_steps_are_under_the_digest(on_aws: Job) -> None:
    run = on_aws.open("01")
    plans = plan_steps(run, ["01_create_key"])
    wider = plan_steps(on_aws.open("01", delete_used_key=True), ["01_create_key"])
    longer = plan_steps(run, ["00_preflight", "01_create_key"])
    assert len({digest(one.to_dict()) for one in (plans, wider, longer)}) == 3


def test_a_plan_for_a_key_that_is_to_be_made_is_not_applied_to_another(
    on_aws: Job, aws: Clients
) -> None:
    approved = planned(on_aws, "01", "02", "03")
    key = aws("kms").create_key()["KeyMetadata"]["Arn"]
    aws("kms").enable_key_rotation(KeyId=key)
    aws("kms").create_alias(AliasName=on_aws.given["key_alias"], TargetKeyId=key)
    on_aws.given |= {"key_arn": key, "approve": approved}
    with pytest.raises(ApprovalRequired, match="stopped before it changed anything"):
        on_aws.do("01")
    assert intents(on_aws.open("01")) == []


def test_an_approval_that_is_used_up_does_not_revive_while_its_parameter_stays(
    on_aws: Job, aws: Clients
) -> None:
    approved = planned(on_aws, "01")
    on_aws.do("01", approve=approved)
    aws("kms").delete_alias(AliasName=on_aws.given["key_alias"])
    with pytest.raises(ApprovalRequired, match=r"kms:CreateAlias\. Nothing was changed") as caught:
        on_aws.do("01", approve=approved)
    assert approved not in caught.value.fix
    again = on_aws.open("01").ledger.of_kind("plan")[-1]["digest"]
    assert not on_aws.do("01", approve=again).failed()


@pytest.mark.parametrize("name", ["policy", "Policy", "PolicyDocument"])
def test_a_tag_may_have_any_name(on_aws: Job, name: str) -> None:
    on_aws.given["tags"] = {name: "strict"}
    assert not on_aws.do("01", approve=planned(on_aws, "01")).failed()


def test_what_costs_is_not_made_more_often_than_it_was_approved(on_aws: Job, aws: Clients) -> None:
    for number in ("01", "02", "03"):
        on_aws.do(number, approve=planned(on_aws, number))
    where = f"arn:aws:imagebuilder:us-west-2:{aws.identity.account}"
    on_aws.given |= {
        "run_build": True,
        "build_recipe": f"{where}:image-recipe/example/1.0.0",
        "build_infrastructure": f"{where}:infrastructure-configuration/example",
    }
    run = on_aws.open("05", approve=planned(on_aws, "05"))
    for when in ("before", "one", "both", "restored"):
        revoke_access.build(run, when)
    with pytest.raises(ApprovalRequired, match="stopped before its next change"):
        revoke_access.build(run, "before")
    assert intents(run).count("imagebuilder:CreateImage") == 4
