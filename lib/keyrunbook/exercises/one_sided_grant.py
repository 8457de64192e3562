"""The role's policy is there, and the key's policy does not know of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from keyrunbook.exercises import seen, stage
from keyrunbook.exercises.account import Account
from keyrunbook.exercises.exercise import Exercise, Lesson
from keyrunbook.findings import Finding

OTHER: Final = "DataTeamRole"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the learner is told."""

    key_arn: str
    role_arn: str
    role_name: str
    workflow_arn: str
    other_role: str


def situation(account: Account) -> Facts:
    """A key whose policy names its administrator, and nobody else, not even the account."""
    administrator: dict[str, Any] = {
        "Sid": "KeyAdministrator",
        "Effect": "Allow",
        "Principal": {"AWS": account.administrator.identity.arn},
        "Action": "kms:*",
        "Resource": "*",
    }
    key = stage.a_key(account, administrator)
    role = stage.a_role(account)
    stage.may_use(account, key)
    stage.a_role(account, OTHER)
    decrypt = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*"}
    stage.put_role_policy(account, OTHER, decrypt)
    workflow = stage.a_workflow(account.administrator, key)
    return Facts(key, role, stage.ROLE, workflow, OTHER)


def check(exercise: Exercise[Facts]) -> list[Finding]:
    """A build can read the workflow, and nobody got in beside it."""
    account, facts = exercise.account, exercise.facts
    return [
        seen.opens(account, facts.workflow_arn, facts.role_arn),
        seen.workflows_only(account, facts.key_arn, facts.role_name),
        seen.may_not_use(account, facts.key_arn, OTHER, f"{OTHER} may still not use the key"),
    ]


def solution(exercise: Exercise[Facts]) -> None:
    """The key's policy names the role, for workflows only."""
    import json

    from keyrunbook import policies

    facts, account = exercise.facts, exercise.account
    kms = exercise.client("kms")
    policy = json.loads(kms.get_key_policy(KeyId=facts.key_arn, PolicyName="default")["Policy"])
    statement = policies.execution_role_statement(
        "mine", facts.role_arn, account.partition, account.number
    )
    policy["Statement"].append(statement)
    kms.put_key_policy(KeyId=facts.key_arn, PolicyName="default", Policy=json.dumps(policy))


LESSON = Lesson(
    title="The role policy is there, and the build is refused",
    minutes=8,
    learn="an IAM policy counts only where the key policy delegates to the account",
    task="let the build read the workflow; let nobody else use the key, and the role for nothing "
    "else.",
    situation=situation,
    check=check,
    moral="A key policy is not one layer among others: without a word of it, no IAM policy counts. "
    "To name the role opens the key for the role; to delegate to the account opens it for "
    "whoever has an IAM policy.",
    hints=(
        "Read the reason of the refused build to its end: which kind of policy does not allow it?",
        "The role's policy is right. Look at the key's: whom does it name? Is there a statement "
        "for the account, arn:…:root? Without one, IAM policies do not count.",
        "A statement for the account would let DataTeamRole in, too. Add one for the execution "
        "role: kms:Decrypt and kms:GenerateDataKey, under the condition that role's own policy "
        "has. keyrunbook.policies.execution_role_statement builds it.",
    ),
    solution=solution,
)
