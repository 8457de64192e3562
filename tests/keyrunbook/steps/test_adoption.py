"""What is there is adopted: compared with what is wanted, and only the difference is planned."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from jobs import Job, module_of
from keyrunbook import policies, sandboxes
from keyrunbook.aws.clients import Clients, sandbox_clients
from keyrunbook.errors import ParameterError
from keyrunbook.findings import Finding
from keyrunbook.parameters import Parameters
from keyrunbook.plan import Plan
from keyrunbook.proof import Outcome
from keyrunbook.sandboxes import Sandbox
from keyrunbook.steps import inventory, revoke_access

pytestmark = pytest.mark.e2e

COMPACT = (
    '{"Version":"2012-10-17","Statement":[{"Sid":"Somebody, by hand","Effect":"Allow",'
    '"Principal":{"AWS":"arn:aws:iam::%s:root"},"Action":"kms:*","Resource":"*"}]}'
)


def planned(job: Job, step: str, **more: Any) -> Plan:
    module, run = module_of(step), job.open(step, **more)
    plan = module.plan(module.observe(run), run.parameters)
    assert isinstance(plan, Plan)
    return plan


def calls(plan: Plan) -> list[str]:
    return [change.call for change in plan]


def the(findings: Any, statement: str) -> Finding:
    (found,) = [one for one in findings if one.statement.startswith(statement)]
    assert isinstance(found, Finding)
    return found


def text_of(aws: Clients, key_arn: str) -> str:
    return str(aws("kms").get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"])


def a_role(aws: Clients, name: str, path: str = "/") -> str:
    trust = policies.to_text(policies.trust_policy(aws.identity.account))
    role = aws("iam").create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trust)
    return str(role["Role"]["Arn"])


@pytest.fixture
def central(on_sandbox: Sandbox) -> Clients:
    """The administrator of another account."""
    handoff = on_sandbox.ready()
    other = sandboxes.command(handoff, "new-account")
    fields = ("account", "access_key_id", "secret_access_key")
    return sandbox_clients(replace(handoff, **{name: other[name] for name in fields}))


def test_the_bytes_of_others_are_kept_and_come_back(
    new_job: Callable[..., Job], aws: Clients
) -> None:
    key = aws("kms").create_key(Policy=COMPACT % aws.identity.account)["KeyMetadata"]["Arn"]
    text = text_of(aws, key)
    job = new_job(key_arn=key)
    job.through("02")
    granted = text_of(aws, key)
    assert granted.startswith(text[: text.rindex("}", 0, text.rindex("]"))])
    assert not job.do("03").failed()
    run = job.open("05")
    revoke_access.apply(run, revoke_access.plan(revoke_access.observe(run), run.parameters))
    assert text_of(aws, key) == text
    revoke_access.give_back(run, revoke_access.restoration(run))
    assert text_of(aws, key) == granted
    assert not job.do("06").failed()
    assert text_of(aws, key) == text


def test_a_key_in_a_central_account_is_used_and_never_changed(
    new_job: Callable[..., Job], aws: Clients, central: Clients
) -> None:
    account, owner = aws.identity.account, central.identity.account
    job = new_job()
    role = a_role(aws, job.given["execution_role"])
    policy = json.loads(COMPACT % owner)
    use = ["kms:DescribeKey", "kms:GetKeyRotationStatus", "kms:ListGrants", *policies.ACTIONS]
    policy["Statement"].append(
        {
            "Effect": "Allow",
            "Principal": {"AWS": aws.identity.arn},
            "Action": use,
            "Resource": "*",
        }
    )
    kms = central("kms")
    key = kms.create_key(Policy=json.dumps(policy))["KeyMetadata"]["Arn"]
    job.given["key_arn"] = key

    assert calls(planned(job, "01")) == []
    findings = job.do("01")
    assert not findings.failed()
    assert the(findings, "The key rotates").status == "not checked"

    assert calls(planned(job, "02")) == ["iam:PutRolePolicy"]
    findings = job.do("02")
    assert not findings.failed()
    asked = the(findings, "The key policy lets")
    assert asked.status == "not checked"
    assert f"the account {owner}" in asked.evidence
    statement = json.loads(asked.mend.partition(": ")[2])
    assert statement["Principal"] == {"AWS": role}

    policy["Statement"].append(statement)
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))
    assert not job.do("03").failed()
    assert job.do("04").outcome is Outcome.PROVED

    run = job.open("05")
    assert any(row[3].startswith("? not known") for row in inventory.ways(run).rows)
    assert revoke_access.open_paths(run).rows
    assert revoke_access.build(run, "before").decrypted is True
    plan = revoke_access.plan(revoke_access.observe(run), run.parameters)
    assert calls(plan) == ["iam:DeleteRolePolicy"]
    revoke_access.apply(run, plan)
    assert revoke_access.build(run, "both").decrypted is False
    revoke_access.give_back(run, revoke_access.restoration(run))
    assert revoke_access.build(run, "restored").decrypted is True
    assert not job.do("06").failed()
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"
    assert account != owner


@pytest.mark.parametrize(
    ("region", "wanted", "rotation"),
    [
        ("us-west-2", ["kms:EnableKeyRotation", "kms:CreateAlias"], "pass"),
        ("eu-central-1", ["kms:CreateAlias"], "not checked"),
    ],
)
def test_a_multi_region_keys_rotation_is_its_primarys(
    new_job: Callable[..., Job], aws: Clients, region: str, wanted: list[str], rotation: str
) -> None:
    kms = aws("kms", "us-west-2")
    primary = kms.create_key(MultiRegion=True)["KeyMetadata"]
    kms.replicate_key(KeyId=primary["KeyId"], ReplicaRegion="eu-central-1")
    key = primary["Arn"].replace("us-west-2", region)
    job = new_job(key_arn=key, region=region, rotate_key=True)
    assert calls(planned(job, "01")) == wanted
    findings = job.do("01")
    assert not findings.failed()
    assert the(findings, "The key rotates").status == rotation
    if rotation != "pass":
        assert primary["Arn"] in the(findings, "The key rotates").mend


def test_a_key_that_was_there_gets_no_alias_and_no_rotation_that_nobody_asked_for(
    new_job: Callable[..., Job], aws: Clients
) -> None:
    """Though an alias of the default name is another key's, which then nobody looks at."""
    kms = aws("kms")
    key, other = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    name = Parameters().key_alias
    kms.create_alias(AliasName=name, TargetKeyId=other)
    try:
        job = new_job(key_arn=key)
        del job.given["key_alias"]
        assert calls(planned(job, "01")) == []
        findings = job.do("01")
    finally:
        kms.delete_alias(AliasName=name)
    assert not findings.failed()
    assert [one for one in findings if "alias" in one.statement] == []
    rotation = the(findings, "The key rotates")
    assert (rotation.status, rotation.mend[:23]) == ("not checked", "Set rotate_key = True t")
    assert not kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"]


def _by_hand(role: str, account: str) -> dict[str, Any]:
    """What somebody copies from AWS's page."""
    statement = policies.execution_role_statement("x", role, "aws", account)
    return {**statement, "Sid": "Allow access to build images with encrypted workflows"}


@pytest.mark.parametrize("adopt", [False, True])
def test_a_statement_made_by_hand_is_kept_and_adopted_only_on_request(
    new_job: Callable[..., Job], aws: Clients, adopt: bool
) -> None:
    job = new_job()
    role = a_role(aws, job.given["execution_role"])
    account = aws.identity.account
    by_hand = _by_hand(role, account)
    policy = policies.with_statement(json.loads(COMPACT % account), by_hand)
    key = aws("kms").create_key(Policy=json.dumps(policy))["KeyMetadata"]["Arn"]
    before = text_of(aws, key)
    job.given |= {"key_arn": key, "adopt_statements": adopt}
    job.do("01")
    findings = job.do("02")
    assert not findings.failed()
    left = json.loads(text_of(aws, key))
    assert (policies.statement_of(left, by_hand["Sid"]) == by_hand) is not adopt
    assert len(left["Statement"]) == (2 if adopt else 3)
    said = [one for one in findings if one.statement.startswith("What gives the role")]
    assert [one.status for one in said] == ([] if adopt else ["not checked"])
    assert calls(planned(job, "02")) == []
    assert not job.do("06").failed()  # and what was adopted is there again
    assert text_of(aws, key) == before


def test_a_role_that_cannot_take_the_policy_is_refused_before_the_key_policy_is_put(
    new_job: Callable[..., Job], aws: Clients
) -> None:
    full = new_job()
    a_role(aws, full.given["execution_role"])
    objects = [f"arn:aws:s3:::bucket-{number:040}/*" for number in range(153)]
    allow = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": objects}
    document = {"Version": "2012-10-17", "Statement": [allow]}
    aws("iam").put_role_policy(
        RoleName=full.given["execution_role"],
        PolicyName="long",
        PolicyDocument=json.dumps(document, indent=1),
    )
    full.do("01")
    with pytest.raises(ParameterError, match="IAM takes 10240 of a role's together"):
        planned(full, "02")
    service = new_job("s")
    path = "/aws-service-role/imagebuilder.amazonaws.com/"
    a_role(aws, service.given["execution_role"], path)
    service.do("01")
    with pytest.raises(ParameterError, match="is a service-linked role"):
        planned(service, "02")


def test_an_alias_that_names_the_key_and_a_role_with_a_path_are_there_already(
    new_job: Callable[..., Job], aws: Clients
) -> None:
    job = new_job()
    role = a_role(aws, job.given["execution_role"], "/builds/")
    kms = aws("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName=job.given["key_alias"], TargetKeyId=key)
    kms.enable_key_rotation(KeyId=key)
    job.given |= {"key_arn": key, "execution_role": role}
    assert calls(planned(job, "01")) == []
    job.do("01")
    assert calls(planned(job, "02")) == ["kms:PutKeyPolicy", "iam:PutRolePolicy"]
    assert not job.do("02").failed()
