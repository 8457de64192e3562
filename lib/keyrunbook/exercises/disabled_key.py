"""The key is disabled, and builds fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from keyrunbook import policies
from keyrunbook.exercises import seen, stage
from keyrunbook.exercises.account import Account
from keyrunbook.exercises.exercise import Exercise, Lesson
from keyrunbook.findings import Finding

ALIAS: Final = "alias/golden"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the learner is told."""

    alias_arn: str
    role_arn: str
    role_name: str
    workflow_arn: str
    key_arn: str = field(repr=False)
    key_policy: Mapping[str, Any] = field(repr=False)
    role_policy: Mapping[str, Any] = field(repr=False)


def situation(account: Account) -> Facts:
    """Everything is as it should be, and then somebody tidied up."""
    role = stage.a_role(account)
    key = stage.a_key(account, stage.delegation(account), stage.use_by(account, role))
    stage.may_use(account, key)
    alias = stage.an_alias(account, ALIAS, key)
    workflow = stage.a_workflow(account.administrator, alias)
    before = stage.key_policy(account, key), _role_policies(account)
    account.administrator("kms").disable_key(KeyId=key)
    return Facts(alias, role, stage.ROLE, workflow, key, *before)


def check(exercise: Exercise[Facts]) -> list[Finding]:
    """The same key works again, and nobody was given more meanwhile."""
    account, facts = exercise.account, exercise.facts
    now = _role_policies(account)
    return [
        seen.opens(account, facts.workflow_arn, facts.role_arn),
        seen.key_state(account, facts.key_arn),
        seen.alias_names(account, ALIAS, facts.key_arn),
        seen.same_policy(account, facts.key_arn, facts.key_policy),
        seen.judged(
            "The role's own policies are what they were",
            policies.same(now, facts.role_policy),
            "no difference",
            "they differ: more permission was not what was missing",
        ),
    ]


def _role_policies(account: Account) -> dict[str, Any]:
    """The role's inline policies, and the ARNs of those attached to it."""
    iam = account.administrator("iam")
    names = iam.list_role_policies(RoleName=stage.ROLE)["PolicyNames"]
    attached = iam.list_attached_role_policies(RoleName=stage.ROLE)["AttachedPolicies"]
    inline = {
        name: iam.get_role_policy(RoleName=stage.ROLE, PolicyName=name)["PolicyDocument"]
        for name in names
    }
    return {**inline, "attached": [one["PolicyArn"] for one in attached]}


def solution(exercise: Exercise[Facts]) -> None:
    """The key is enabled again; its policy and the role's were right all along."""
    kms = exercise.client("kms")
    kms.enable_key(KeyId=kms.describe_key(KeyId=exercise.facts.alias_arn)["KeyMetadata"]["Arn"])


LESSON = Lesson(
    title="Since this morning all builds fail",
    minutes=5,
    learn="a disabled key refuses everybody, whatever policies say; a new key does not help old "
    "workflows",
    task="make builds of the workflow work again. Policies were not changed, and need not be.",
    situation=situation,
    check=check,
    moral="A key's state comes after all permissions: while it is disabled it opens nothing, and "
    "what was encrypted under it stays closed, whatever the alias names. Who disabled it, and "
    "when, is in CloudTrail: DisableKey.",
    hints=(
        "Let the build say why: exercise.check() has its reason. Is it about permission?",
        "Policies are right: exercise.who_may tells that the role is allowed. What else can a key "
        "be? DescribeKey has KeyState.",
        "EnableKey takes the key's ARN or id, not an alias: DescribeKey of facts.alias_arn has it. "
        "Pointing the alias to a new key helps new workflows only.",
    ),
    solution=solution,
)
