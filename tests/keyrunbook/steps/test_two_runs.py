"""Two runs on one key and one role, which were there before: neither undoes the other's part."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from jobs import Job
from keyrunbook import policies
from keyrunbook.aws.clients import Clients
from keyrunbook.policies import sid
from keyrunbook.proof import Outcome
from keyrunbook.steps import grant_access
from keyrunbook.steps.grant_access import policy_name

pytestmark = pytest.mark.e2e


def statements(aws: Clients, key: str) -> list[str]:
    text = aws("kms").get_key_policy(KeyId=key, PolicyName="default")["Policy"]
    return [one["Sid"] for one in json.loads(text)["Statement"]]


@pytest.mark.parametrize("cleaned_up", [0, 1])
def test_both_grants_survive_and_cleaning_one_up_leaves_the_other_whole(
    cleaned_up: int, new_job: Callable[..., Job], aws: Clients
) -> None:
    role = f"TwoRuns{cleaned_up}"
    trust = policies.to_text(policies.trust_policy(aws.identity.account))
    aws("iam").create_role(RoleName=role, AssumeRolePolicyDocument=trust)
    admins = policies.administrators_policy("aws", aws.identity.account)
    key = aws("kms").create_key(Policy=policies.to_text(admins))["KeyMetadata"]["Arn"]
    jobs = [new_job(word, key_arn=key, execution_role=role) for word in ("a", "b")]
    for number in ("01", "02", "03"):
        for job in jobs:
            assert not job.do(number).failed()
    ids = [job.given["run_id"] for job in jobs]
    ours = [sid("WorkflowKeyUse", run_id) for run_id in ids]
    before = [one["Sid"] for one in admins["Statement"]]
    assert sorted(statements(aws, key)) == sorted([*before, *ours])
    inline = aws("iam").list_role_policies(RoleName=role)["PolicyNames"]
    assert sorted(inline) == sorted(map(policy_name, ids))
    gone, stays = jobs[cleaned_up], jobs[1 - cleaned_up]
    assert not gone.do("06").failed()
    kept = ids[1 - cleaned_up]
    assert sorted(statements(aws, key)) == sorted([*before, sid("WorkflowKeyUse", kept)])
    assert aws("iam").list_role_policies(RoleName=role)["PolicyNames"] == [policy_name(kept)]
    assert aws("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"
    run = stays.open("02")
    assert grant_access.plan(grant_access.observe(run), run.parameters).changes == ()
    assert stays.do("04").outcome is Outcome.PROVED
    assert not stays.do("06").failed()
    assert sorted(statements(aws, key)) == sorted(before)
    assert aws("iam").list_role_policies(RoleName=role)["PolicyNames"] == []
