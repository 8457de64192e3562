"""An alias was moved to another key, and a workflow was made meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keyrunbook.exercises import seen, stage
from keyrunbook.exercises.account import Account
from keyrunbook.exercises.exercise import Exercise, Lesson
from keyrunbook.findings import Finding

ALIAS: Final = "alias/golden"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the learner is told. `old` and `new` are the two versions of the workflow."""

    alias_arn: str
    right_key: str
    wrong_key: str
    role_arn: str
    role_name: str
    old: str
    new: str
    document: str


def situation(account: Account) -> Facts:
    """Version 1.0.0 was made before the alias moved, version 1.1.0 after it."""
    role = stage.a_role(account)
    right = stage.a_key(account, stage.delegation(account), stage.use_by(account, role))
    wrong = stage.a_key(account)
    alias = stage.an_alias(account, ALIAS, right)
    old = stage.a_workflow(account.administrator, alias, "1.0.0")
    account.administrator("kms").update_alias(AliasName=ALIAS, TargetKeyId=wrong)
    new = stage.a_workflow(account.administrator, alias, "1.1.0")
    return Facts(
        alias,
        right,
        wrong,
        role,
        stage.ROLE,
        old.rpartition("/")[0],
        new.rpartition("/")[0],
        stage.DOCUMENT,
    )


def check(exercise: Exercise[Facts]) -> list[Finding]:
    """The alias is back, and the newest build of each version is under the right key.

    GetWorkflow tells the alias, which it was created with, not the key: what a build can read
    shows it, since the role may use the right key only.
    """
    account, facts = exercise.account, exercise.facts
    old, new = (stage.newest(account, one) for one in (facts.old, facts.new))
    return [
        seen.alias_names(account, ALIAS, facts.right_key),
        seen.opens(account, old, facts.role_arn, " 1.0.0"),
        seen.opens(account, new, facts.role_arn, " 1.1.0"),
        seen.may_not_use(
            account, facts.wrong_key, facts.role_name, "The role may not use the wrong key"
        ),
    ]


def solution(exercise: Exercise[Facts]) -> None:
    """The alias goes back; what was made meanwhile is made again, since it cannot be moved."""
    facts = exercise.facts
    exercise.client("kms").update_alias(AliasName="alias/golden", TargetKeyId=facts.right_key)
    exercise.client("imagebuilder").create_workflow(
        name="golden",
        semanticVersion="1.1.0",
        type="BUILD",
        data=facts.document,
        kmsKeyId=facts.right_key,
    )


LESSON = Lesson(
    title="Version 1.0.0 builds, version 1.1.0 does not",
    minutes=8,
    learn="an alias names a key at the time of encryption; moving it moves nothing that is there",
    task="both versions are to build, and both under facts.right_key. facts.wrong_key is another "
    "team's: the role is to have nothing of it.",
    situation=situation,
    check=check,
    moral="The ciphertext names its key; the alias was only looked up when it was made. "
    "GetWorkflow still shows the alias, whichever key it names now. So a proof rests on the key "
    "in the record of the Decrypt.",
    hints=(
        "Let a build of each version say why: exercise.check() has the reasons. Which key is in "
        "the refusal, and which one does DescribeKey of the alias name?",
        "The alias was moved to the wrong key before 1.1.0 was made. UpdateAlias moves it back: "
        "do that, and check. What is still so?",
        "1.1.0 stays under the key that made its data key. A workflow cannot be changed: create "
        "it again, the same name and version, under facts.right_key by its own ARN. (With the "
        "alias it would be the configuration that is there already, which is refused.)",
    ),
    solution=solution,
)
