"""What situations are made of: keys, roles, workflows, and builds that use them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from keyrunbook import policies
from keyrunbook.aws.clients import Clients
from keyrunbook.exercises.account import Account
from keyrunbook.steps.builds import ENDED, Build

ROLE: Final = "ImageBuilderExecutionRole"
RUN: Final = "Exercise"
"""Stands for the run's id in the Sids of statements that a situation starts with."""

DOCUMENT: Final = """\
schemaVersion: 1.0
steps:
  - name: LaunchBuildInstance
    action: LaunchInstance
    onFailure: Abort
    inputs:
      waitFor: ssmAgent
"""


def text_of(*statements: Mapping[str, Any]) -> str:
    """A policy document of these statements, as it is sent."""
    return policies.to_text({"Version": policies.VERSION, "Statement": list(statements)})


def delegation(account: Account) -> dict[str, Any]:
    """The statement that lets the account's IAM policies decide over a key."""
    (statement,) = policies.administrators_policy(account.partition, account.number)["Statement"]
    return dict(statement)


def use_by(account: Account, role_arn: str) -> dict[str, Any]:
    """The statement of a key policy that lets a role use the key, for workflows only."""
    return policies.execution_role_statement(RUN, role_arn, account.partition, account.number)


def a_key(account: Account, *statements: Mapping[str, Any]) -> str:
    """Make a key, with this policy or KMS's default; its ARN."""
    given = {"Policy": text_of(*statements)} if statements else {}
    return str(account.administrator("kms").create_key(**given)["KeyMetadata"]["Arn"])


def an_alias(account: Account, name: str, key_arn: str) -> str:
    """Make an alias of a key; its ARN."""
    account.administrator("kms").create_alias(AliasName=name, TargetKeyId=key_arn)
    return f"{key_arn.rpartition(':')[0]}:{name}"


def put_key_policy(account: Account, key_arn: str, *statements: Mapping[str, Any]) -> None:
    """Give a key this policy in the place of its own."""
    account.administrator("kms").put_key_policy(
        KeyId=key_arn, PolicyName="default", Policy=text_of(*statements)
    )


def key_policy(account: Account, key_arn: str) -> dict[str, Any]:
    """A key's policy, as it is now."""
    kms = account.administrator("kms")
    text = kms.get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"]
    return dict(json.loads(text))


def a_role(account: Account, name: str = ROLE) -> str:
    """Make a role that Image Builder may assume, without permissions; its ARN."""
    trust = policies.to_text(policies.trust_policy(account.number))
    made = account.administrator("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    return str(made["Role"]["Arn"])


def may_use(account: Account, key_arn: str, role_name: str = ROLE) -> None:
    """Give a role step 2 of the page: its own policy lets it use the key, for workflows only."""
    document = policies.role_policy(RUN, key_arn, account.partition, account.number)
    put_role_policy(account, role_name, *document["Statement"])


def put_role_policy(account: Account, role_name: str, *statements: Mapping[str, Any]) -> None:
    """Give a role an inline policy of these statements."""
    account.administrator("iam").put_role_policy(
        RoleName=role_name, PolicyName="WorkflowKey", PolicyDocument=text_of(*statements)
    )


def a_workflow(clients: Clients, key: str, version: str = "1.0.0", name: str = "golden") -> str:
    """Make a workflow under a key, named by key or alias ARN; its build version's ARN."""
    made = clients("imagebuilder").create_workflow(
        name=name, semanticVersion=version, type="BUILD", data=DOCUMENT, kmsKeyId=key
    )
    return str(made["workflowBuildVersionArn"])


def context_arn(workflow_arn: str) -> str:
    """What Image Builder puts into the encryption context for a workflow: it ends in ``/*``.

    Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html
    """
    return f"{workflow_arn.rpartition('/')[0]}/*"


def build(account: Account, workflow_arn: str, role_arn: str) -> Build:
    """Have a build use a workflow as an execution role, and say how it came out."""
    clients = account.administrator
    place = f"arn:{account.partition}:imagebuilder:{clients.region}:{account.number}"
    builder = clients("imagebuilder")
    made = builder.create_image(
        imageRecipeArn=f"{place}:image-recipe/example/1.0.0",
        infrastructureConfigurationArn=f"{place}:infrastructure-configuration/example",
        executionRole=role_arn,
        workflows=[{"workflowArn": workflow_arn}],
    )
    arn = made["imageBuildVersionArn"]
    state = builder.get_image(imageBuildVersionArn=arn)["image"]["state"]
    status = state["status"]
    decrypted = status != "FAILED" if status in ENDED else None
    return Build("now", decrypted, status, state.get("reason", ""))


def newest(account: Account, version_arn: str) -> str | None:
    """The newest build version of a workflow's version, None where all are deleted."""
    builder = account.administrator("imagebuilder")
    pages = builder.get_paginator("list_workflow_build_versions")
    arns = [
        str(one["arn"])
        for page in pages.paginate(workflowVersionArn=version_arn)
        for one in page["workflowSummaryList"]
    ]
    return max(arns, key=lambda arn: int(arn.rpartition("/")[2]), default=None)
