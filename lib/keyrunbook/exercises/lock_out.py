"""The administrators' statement as the page prints it would lock the operator out."""

from __future__ import annotations

from dataclasses import dataclass

from keyrunbook import policies
from keyrunbook.exercises import seen, stage
from keyrunbook.exercises.account import Account
from keyrunbook.exercises.exercise import Exercise, Lesson
from keyrunbook.findings import Finding


@dataclass(frozen=True, slots=True)
class Facts:
    """What the learner is told. `proposed` is the colleague's key policy, as JSON."""

    key_arn: str
    role_arn: str
    role_name: str
    proposed: str


def situation(account: Account) -> Facts:
    """A key with KMS's default policy, and the policy that a colleague copied from the page."""
    key = stage.a_key(account)
    role = stage.a_role(account)
    printed = policies.printed_administrators_statement(account.number)
    return Facts(key, role, stage.ROLE, stage.text_of(stage.use_by(account, role), printed))


def check(exercise: Exercise[Facts]) -> list[Finding]:
    """The role may use the key for workflows only, and the administrator keeps control."""
    account, key, role = exercise.account, exercise.facts.key_arn, exercise.facts.role_name
    return [
        seen.keeps_control(account, key),
        seen.may_use(account, key, role),
        seen.workflows_only(account, key, role),
        seen.statements_count(account, key, exercise.facts.role_arn),
    ]


def solution(exercise: Exercise[Facts]) -> None:
    """In a key policy, "*" means this key: the administrators' statement has to say that."""
    import json

    policy = json.loads(exercise.facts.proposed)
    policy["Statement"][1]["Resource"] = "*"
    exercise.client("kms").put_key_policy(
        KeyId=exercise.facts.key_arn, PolicyName="default", Policy=json.dumps(policy)
    )


LESSON = Lesson(
    title="The policy from the page, and a tempting way around the refusal",
    minutes=7,
    learn="why KMS refuses a policy that locks you out, and why its check is never turned off",
    task="put a policy on the key that does what the proposed one means to do: the role may use "
    "the key for workflows, and administrators keep control.",
    situation=situation,
    check=check,
    moral="A Resource in a key policy is this key or nothing: \"*\" or the key's own ARN. KMS's "
    "check saw that the statement matches no key; turning it off would have left a key that "
    "nobody can manage.",
    hints=(
        "Send the proposed policy as it is: exercise.facts.proposed. What does KMS say?",
        "KMS refuses, because you could not change the policy again. Which of the two statements "
        "was to let you? A parameter of PutKeyPolicy turns the check off: then it is too late.",
        "Look at the Resource of the administrators' statement: …:key/ and then nothing. It "
        'matches no key. In a key policy "*" means this key.',
    ),
    solution=solution,
)
