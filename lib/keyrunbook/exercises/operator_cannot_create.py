"""The role may use the key, and the operator still cannot create the workflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from keyrunbook.aws.refusals import code_of, explain
from keyrunbook.exercises import seen, stage
from keyrunbook.exercises.account import Account
from keyrunbook.exercises.exercise import Exercise, Lesson
from keyrunbook.findings import Finding
from keyrunbook.proof import ARN_KEY
from keyrunbook.records import IMAGE_BUILDER

OPERATOR: Final = "Olga"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the learner is told. `refused` is what the operator got so far."""

    key_arn: str
    role_arn: str
    operator: str
    document: str
    refused: str


def situation(account: Account) -> Facts:
    """An operator who may do everything in Image Builder, and nothing with the key."""
    role = stage.a_role(account)
    key = stage.a_key(account, stage.delegation(account), stage.use_by(account, role))
    stage.may_use(account, key)
    account.add_user(
        OPERATOR,
        {"Effect": "Allow", "Action": "imagebuilder:*", "Resource": "*"},
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": role},
    )
    return Facts(key, role, OPERATOR, stage.DOCUMENT, _tried(account, key))


def _tried(account: Account, key_arn: str) -> str:
    try:
        stage.a_workflow(account.of(OPERATOR), key_arn)
    except ClientError as error:
        return str(error)
    raise AssertionError("the operator may use the key already")


def check(exercise: Exercise[Facts]) -> list[Finding]:
    """The operator's own workflow is under the key, readable, and the key no direct tool."""
    account, facts = exercise.account, exercise.facts
    return [
        _created(account, facts.key_arn),
        _reads(account, facts.key_arn),
        _not_directly(account, facts.key_arn),
    ]


def _created(account: Account, key_arn: str) -> Finding:
    statement = f"{OPERATOR} has created a workflow under the key"
    made = [
        one
        for one in seen.records(account.administrator, "GenerateDataKey")
        if one.invoked_by == IMAGE_BUILDER and not one.dry_run
    ]
    done = [one for one in made if not one.failed and key_arn in one.key_arns]
    who = [seen.short(one.principal_arn) for one in done]
    if f"user/{OPERATOR}" in who:
        return Finding(statement, "pass", "CloudTrail has GenerateDataKey, through Image Builder")
    if who:
        return Finding(statement, "fail", f"the one that is there was created by {who[0]}")
    last = next((one for one in made if one.failed), None)
    said = f"the last try was refused: {last.error_message}" if last else "no try so far"
    return Finding(statement, "fail", said.rstrip("."))


def _reads(account: Account, key_arn: str) -> Finding:
    statement = f"{OPERATOR} can read a workflow under the key"
    found = account.administrator("imagebuilder").list_workflows(owner="Self")
    said = "there is none"
    for one in found["workflowVersionList"]:
        get = account.of(OPERATOR)("imagebuilder").get_workflow
        try:
            workflow = get(workflowBuildVersionArn=one["arn"])["workflow"]
        except ClientError as error:
            said = explain(error).what.rstrip(".")
            continue
        if _key_of(account, workflow) == key_arn:
            return Finding(statement, "pass", str(workflow["arn"]))
        said = f"{workflow['arn']} is under {workflow.get('kmsKeyId', 'no key of yours')}"
    return Finding(statement, "fail", said)


def _key_of(account: Account, workflow: Mapping[str, Any]) -> str | None:
    """The key that a workflow names; an alias as it is now."""
    named = workflow.get("kmsKeyId")
    if named is None:
        return None
    describe = account.administrator("kms").describe_key
    return str(describe(KeyId=named)["KeyMetadata"]["Arn"])


def _not_directly(account: Account, key_arn: str) -> Finding:
    """KMS is asked whether it would serve the operator's own call; nothing is made.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/testing-permissions.html
    """
    statement = f"{OPERATOR} cannot use the key past Image Builder"
    clients = account.of(OPERATOR)
    place = f"arn:{account.partition}:imagebuilder:{clients.region}:{account.number}"
    context = {ARN_KEY: f"{place}:workflow/build/golden/1.0.0/*"}
    call: dict[str, Any] = {"KeyId": key_arn, "NumberOfBytes": 32, "DryRun": True}
    try:
        clients("kms").generate_data_key(**call, EncryptionContext=context)
    except ClientError as error:
        if code_of(error) == "DryRunOperationException":
            return Finding(
                statement,
                "fail",
                "KMS would serve GenerateDataKey called directly, with any workflow's context",
            )
        return seen.judged(
            statement, code_of(error) == "AccessDeniedException", "KMS refuses", str(error)
        )
    raise AssertionError("a dry run has no answer")


def solution(exercise: Exercise[Facts]) -> None:
    """The operator may use the key, through Image Builder, for workflows; and creates one."""
    import json

    from keyrunbook import policies

    facts, account = exercise.facts, exercise.account
    pattern = policies.workflow_pattern(account.partition, account.number)
    statement = {
        "Effect": "Allow",
        "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
        "Resource": facts.key_arn,
        "Condition": {
            "StringLike": {policies.CONTEXT_KEY: pattern},
            "ForAnyValue:StringEquals": {"aws:CalledVia": "imagebuilder.amazonaws.com"},
        },
    }
    document = json.dumps({"Version": policies.VERSION, "Statement": [statement]})
    exercise.client("iam").put_user_policy(
        UserName=facts.operator, PolicyName="WorkflowKey", PolicyDocument=document
    )
    exercise.client("imagebuilder", facts.operator).create_workflow(
        name="golden",
        semanticVersion="1.0.0",
        type="BUILD",
        data=facts.document,
        kmsKeyId=facts.key_arn,
    )


LESSON = Lesson(
    title="The role may use the key, and the operator cannot create the workflow",
    minutes=10,
    learn="Image Builder calls KMS as whoever calls CreateWorkflow; the role is for builds",
    task=f"let {OPERATOR} create an encrypted workflow and read it, and create it as {OPERATOR}. "
    f"{OPERATOR} is to use the key through Image Builder only.",
    situation=situation,
    check=check,
    moral="CreateWorkflow and GetWorkflow use the key as their caller, by a forward access "
    "session; a build uses it as the execution role. The condition aws:CalledVia tells the "
    "service's call from a script's.",
    hints=(
        "Read the refusal (facts.refused): who is not authorized? It is not the role.",
        f"Image Builder calls KMS with {OPERATOR}'s own permissions. The key's policy delegates "
        f"to the account, so an IAM policy of {OPERATOR} is enough: kms:GenerateDataKey to create, "
        "kms:Decrypt to read.",
        "To allow that through Image Builder only, add the condition "
        '"ForAnyValue:StringEquals": {"aws:CalledVia": "imagebuilder.amazonaws.com"}. Then create '
        f'the workflow with exercise.client("imagebuilder", "{OPERATOR}").',
    ),
    solution=solution,
)
