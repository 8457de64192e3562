"""An operator with the printed policy can do the whole job; with one permission less it cannot.

Each permission is taken away alone. The run without it must end in a step that fails, or that
says "fail" or "not checked", with words that name the permission. One that nobody misses is too
many. To be quick, such a run ends with the step in whose name the policy has the permission.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from botocore.exceptions import ClientError
from jobs import Job, module_of
from keyrunbook.aws.clients import Clients
from keyrunbook.errors import RunbookError
from keyrunbook.findings import Finding
from keyrunbook.parameters import Parameters
from keyrunbook.permissions import Where, operator_policy
from keyrunbook.proof import Outcome
from keyrunbook.sandboxes import HANDED_OVER, Sandbox
from keyrunbook.session import Run
from keyrunbook.steps import STEPS, builds, clean_up, confirm_events, inventory, revoke_access

pytestmark = pytest.mark.e2e

Policy = dict[str, Any]
Step = Callable[[Job], Iterable[Finding]]


# The steps, each giving its findings; the last ones as their notebooks do them


def common(number: str) -> Step:
    return lambda job: job.do(number)


def confirm(job: Job) -> Iterable[Finding]:
    verdict = job.do("04")
    assert verdict.outcome is Outcome.PROVED
    last_use = confirm_events.last_use(job.open("04"), verdict)
    return [*confirm_events.findings(verdict), *last_use]


def revoke(job: Job) -> Iterable[Finding]:
    run = job.open("05")
    inventory.workflows(run)
    inventory.ways(run)
    revoke_access.who_may(run, "before")
    revoke_access.build(run, "before")
    first = revoke_access.first_path(_planned(run))
    for when, plan in (("one", first), ("both", None)):
        revoke_access.apply(run, plan or _planned(run))
        revoke_access.build(run, when)
        revoke_access.who_may(run, "revoked")
    revoke_access.refusals(run)
    given_back = revoke_access.restore(revoke_access.observe(run), revoke_access.saved(run))
    revoke_access.give_back(run, given_back)
    revoke_access.build(run, "restored")
    return revoke_access.verify(run)


def _planned(run: Run) -> Any:
    return revoke_access.plan(revoke_access.observe(run), run.parameters)


def remove(job: Job) -> Iterable[Finding]:
    findings = job.do("06")
    run = job.open("06")
    assert clean_up.plan(clean_up.observe(run), run.parameters).changes == ()
    return list(findings)


THE_STEPS: dict[str, Step] = {
    **{name: common(name[:2]) for name in STEPS[:4]},
    **dict(zip(STEPS[4:], (confirm, revoke, remove), strict=True)),
}


LOST: dict[str, Callable[[Run], tuple[str, Any]]] = {
    "01": lambda run: ("kms:CreateKey", {}),
    "05": lambda run: (
        "imagebuilder:CreateImage",
        builds.planned(run, run.step, "before")[0].parameters,
    ),
}
"""A call of a step of which the ledger has the intent alone, as a crash leaves it."""


def lose(job: Job, number: str) -> None:
    run = job.open(number)
    call, parameters = LOST[number](run)
    run.record("intent", call=call, parameters=dict(parameters), before={})


Meanwhile = Mapping[str, Callable[[], None]]
"""What others do before a step, by its number."""


def complaints(
    job: Job,
    steps: Iterable[str] = STEPS,
    losing: Iterable[str] = (),
    others: Meanwhile = MappingProxyType({}),
) -> Iterator[str]:
    """What each step says that is not "pass", in order, up to an error.

    `losing`: the numbers of the steps that go on after a lost call.
    """
    for name in steps:
        if name[:2] in others:
            others[name[:2]]()
        try:
            if name[:2] in losing:
                lose(job, name[:2])
            for finding in THE_STEPS[name](job):
                if finding.status != "pass":
                    yield f"{finding.status}: {finding.evidence}"
        except (RunbookError, ClientError) as error:
            yield f"error: {error}"
            return


# The operator


class Operators:
    """Makes users of the sandbox's account that hold one policy, and lets the steps be theirs."""

    def __init__(self, sandbox: Sandbox, aws: Clients, folder: Path, patch: Any) -> None:
        self._sandbox, self._aws, self._folder, self._patch = sandbox, aws, folder, patch

    def become(self, name: str, policy: Policy) -> None:
        """From here on the environment hands the sandbox over with this operator's keys."""
        iam = self._aws("iam")
        iam.create_user(UserName=name)
        document = json.dumps(policy)
        arn = iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
        iam.attach_user_policy(UserName=name, PolicyArn=arn)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        handoff = replace(
            self._sandbox.ready(),
            access_key_id=key["AccessKeyId"],
            secret_access_key=key["SecretAccessKey"],
        )
        path = self._folder / f"{name}.json"
        path.touch(mode=0o600)
        fields = {field: getattr(handoff, field) for field in handoff.__dataclass_fields__}
        path.write_text(json.dumps(fields))
        self._patch.setenv(HANDED_OVER, str(path))


@pytest.fixture
def operators(
    on_sandbox: Sandbox, aws: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Operators:
    return Operators(on_sandbox, aws, tmp_path, monkeypatch)


# Two situations: everything is made by the run; or key and role are there, and no build is made


def policy_for(job: Job, aws: Clients, target: str, steps: Iterable[str] = STEPS) -> Policy:
    parameters = Parameters.load({**job.given, "target": target})
    who = aws.identity
    return operator_policy(steps, parameters, Where(who.partition, aws.region, who.account))


def a_trail(aws: Clients) -> None:
    """A trail that logs: without one nobody asks for its status and its selectors."""
    cloudtrail, s3, name = aws("cloudtrail"), aws("s3"), "trail-of-the-account"
    if cloudtrail.describe_trails()["trailList"]:
        return
    service = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}}
    statements = [
        {**service, "Action": "s3:GetBucketAcl", "Resource": f"arn:aws:s3:::{name}"},
        {**service, "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{name}/AWSLogs/*"},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": aws.region})
    s3.put_bucket_policy(Bucket=name, Policy=policy)
    cloudtrail.create_trail(Name=name, S3BucketName=name)
    cloudtrail.start_logging(Name=name)


def made_by_the_run(new_job: Callable[..., Job], aws: Clients) -> tuple[Job, Policy]:
    a_trail(aws)
    job = new_job(settle_seconds=0)
    return job, policy_for(job, aws, "sandbox")


def there_before(new_job: Callable[..., Job], aws: Clients) -> tuple[Job, Policy]:
    """As on AWS: a key without rotation, and a role with a path and an attached policy."""
    a_trail(aws)
    name = new_job().given["execution_role"]
    iam, account = aws("iam"), aws.identity.account
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "imagebuilder.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    role = iam.create_role(
        RoleName=name, Path="/builders/", AssumeRolePolicyDocument=json.dumps(trust)
    )["Role"]
    attached = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}],
    }
    created = iam.create_policy(PolicyName=f"{name}-s3", PolicyDocument=json.dumps(attached))
    iam.attach_role_policy(RoleName=name, PolicyArn=created["Policy"]["Arn"])
    key_arn = aws("kms").create_key()["KeyMetadata"]["Arn"]
    assert role["Arn"] == f"arn:{aws.identity.partition}:iam::{account}:role/builders/{name}"
    # Without a grant of the role nobody takes one, nor gives it back.
    aws("kms").create_grant(
        KeyId=key_arn,
        GranteePrincipal=role["Arn"],
        Operations=["Decrypt"],
        Constraints={"EncryptionContextEquals": {"for": "another purpose"}},
    )
    job = new_job(key_arn=key_arn, rotate_key=True, run_build=False)
    return job, policy_for(job, aws, "aws")


def grants_of_others(job: Job, aws: Clients) -> Meanwhile:
    """Others give the role a grant on the key that the run made, and have no use for it later."""
    if "key_arn" in job.given:
        return {}
    kms = aws("kms")

    def give() -> None:
        facts = job.open("05").facts()
        kms.create_grant(
            KeyId=facts["key_arn"], GranteePrincipal=facts["role_arn"], Operations=["Decrypt"]
        )

    def take() -> None:
        key_arn = job.open("06").facts()["key_arn"]
        for one in kms.list_grants(KeyId=key_arn)["Grants"]:
            kms.revoke_grant(KeyId=key_arn, GrantId=one["GrantId"])

    return {"05": give, "06": take}


@pytest.fixture(autouse=True)
def no_workflows_of_others(aws: Clients) -> Iterator[None]:
    """A run that ends early leaves its workflow: to the next one it would be somebody else's."""
    yield
    builder = aws("imagebuilder")
    for page in builder.get_paginator("list_workflows").paginate(owner="Self"):
        for version in page["workflowVersionList"]:
            builds = builder.list_workflow_build_versions(workflowVersionArn=version["arn"])
            for build in builds["workflowSummaryList"]:
                builder.delete_workflow(workflowBuildVersionArn=build["arn"])


SITUATIONS = {"made by the run": made_by_the_run, "there before": there_before}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_policy_is_enough(
    situation: str, new_job: Callable[..., Job], aws: Clients, operators: Operators
) -> None:
    job, policy = SITUATIONS[situation](new_job, aws)
    operators.become(job.given["run_id"], policy)
    losing = [] if "key_arn" in job.given else [*LOST]
    said = list(complaints(job, losing=losing, others=grants_of_others(job, aws)))
    assert [one for one in said if not one.startswith("not checked")] == []
    assert [one for one in said for right in rights(situation) if right[2] in one] == []
    ledger = job.open("06").ledger
    assert ledger.of_kind("verdict")[-1]["verdict"] == "PROVED"
    assert ledger.done() >= set(STEPS)
    assert job.open("06").identity.arn.endswith(f":user/{job.given['run_id']}")


def test_each_step_s_own_policy_is_enough_for_it(
    new_job: Callable[..., Job], aws: Clients, operators: Operators
) -> None:
    a_trail(aws)
    job = new_job()
    for name in STEPS:
        word = f"{job.given['run_id']}-{name[:2]}"
        operators.become(word, policy_for(job, aws, "sandbox", (name,)))
        said = list(complaints(job, (name,)))
        assert [one for one in said if not one.startswith("not checked")] == []
        assert [one for one in said for right in actions_of(name) if right in one] == []
    assert job.open("06").ledger.done() >= set(STEPS)


# One less

NOT_MISSED = {
    # Asked only of images that others have in the account, and of those that are being built.
    ("Step06Images", "imagebuilder:ListImageBuildVersions"),
    ("Step06Images", "imagebuilder:GetImage"),
}


ONLY_TO_SETTLE = {
    ("Step01Settle", "kms:ListKeys"),
    ("Step01SettleTags", "kms:ListResourceTags"),
    ("Step05Image", "imagebuilder:ListImageBuildVersions"),
}
"""Missed only where a call of the step has no known outcome."""


def rights(situation: str) -> list[tuple[str, str, str]]:
    """Each permission of a situation's policy: situation, Sid, action."""
    given = (
        {"target": "sandbox"}
        if situation == "made by the run"
        else {
            "key_arn": "arn:aws:kms:us-west-2:111122223333:key/1",
            "key_alias": "alias/mine",
            "rotate_key": True,
        }
    )
    where = Where("aws", "us-west-2", "111122223333")
    return [
        (situation, statement["Sid"], action)
        for statement in operator_policy(STEPS, Parameters.load(given), where)["Statement"]
        for action in actions(statement)
        if (statement["Sid"], action) not in NOT_MISSED
    ]


def actions_of(step: str) -> list[str]:
    number = step[:2]
    return [right for _, sid, right in rights("made by the run") if sid[4:6] == number]


def actions(statement: dict[str, Any]) -> list[str]:
    listed = statement["Action"]
    return [listed] if isinstance(listed, str) else listed


def up_to(sid: str) -> list[str]:
    """The steps up to the one that a Sid names, without those that it does not go on from."""
    (last,) = (name for name in STEPS if name.startswith(sid.removeprefix("Step")[:2]))
    apart = ("00_preflight", "04_confirm_events", "05_revoke_access")
    return [name for name in STEPS if name < last and name not in apart] + [last]


def without(policy: Policy, sid: str, action: str) -> Policy:
    less = copy.deepcopy(policy)
    (statement,) = (one for one in less["Statement"] if one["Sid"] == sid)
    statement["Action"] = [one for one in actions(statement) if one != action]
    less["Statement"] = [one for one in less["Statement"] if one["Action"]]
    return less


@pytest.mark.parametrize(
    ("situation", "sid", "action"), [one for name in SITUATIONS for one in rights(name)]
)
def test_each_permission_is_missed_by_name(
    situation: str,
    sid: str,
    action: str,
    new_job: Callable[..., Job],
    aws: Clients,
    operators: Operators,
) -> None:
    job, policy = SITUATIONS[situation](new_job, aws)
    operators.become(job.given["run_id"], without(policy, sid, action))
    named = re.compile(rf"(?<![\w:]){action}(?!\w)")
    said = []
    losing = [sid[4:6]] if (sid, action) in ONLY_TO_SETTLE else []
    if "01" in losing:
        aws("kms").create_key()  # which may be what the lost call has made
    others = grants_of_others(job, aws)
    for complaint in complaints(job, up_to(sid), losing, others):
        said.append(complaint)
        if named.search(complaint):
            return
    pytest.fail(f"a run without {action} ({sid}) says nothing of it: {said}")


def test_every_step_is_done_here() -> None:
    assert list(THE_STEPS) == list(STEPS)
    assert all(module_of(name) for name in STEPS)
