"""An account to work in for one test of the contract, and how AWS is asked there."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from keyrunbook.aws.clients import Clients
from keyrunbook.aws.refusals import code_of
from keyrunbook.policies import VERSION, administrators_policy

SETTLES_IN_S = 120
"""How long a new role or policy may take to be known everywhere on AWS; the sandbox needs none."""

Client = Callable[[str], Any]


class Place:
    """An account to work in for one test; what it makes is gone at the test's end."""

    def __init__(self, clients: Clients, ending: ExitStack) -> None:
        self.clients = clients
        self.account = clients.identity.account
        self.partition = clients.identity.partition
        self.name = f"contract-{uuid.uuid4().hex[:12]}"
        self._at_end = ending.callback

    def eventually(self, call: Callable[[], Any]) -> Any:
        """What `call` answers, once what it rests on has settled; raises its last refusal."""
        until = time.monotonic() + (SETTLES_IN_S if self.clients.sandbox is None else 0)
        while True:
            try:
                return call()
            except ClientError:
                if time.monotonic() > until:
                    raise
                time.sleep(2)

    def key(self, policy: dict[str, Any] | None = None) -> str:
        """A new key's ARN; its policy lets the account's IAM policies decide."""
        kms = self.clients("kms")
        whole = policy or administrators_policy(self.partition, self.account)
        arn = str(
            self.clients.once("kms").create_key(Policy=json.dumps(whole))["KeyMetadata"]["Arn"]
        )
        self._at_end(kms.schedule_key_deletion, KeyId=arn, PendingWindowInDays=7)
        return arn

    def alias(self, name: str, key: str) -> None:
        """A new alias of a key."""
        self.clients("kms").create_alias(AliasName=name, TargetKeyId=key)
        self._at_end(self.clients("kms").delete_alias, AliasName=name)

    def role(self, word: str, *, service: str | None = None) -> str:
        """A new role's ARN, which the service, or else the account's principals, may assume."""
        iam, name = self.clients("iam"), f"{self.name}-{word}"
        who = {"AWS": self.account} if service is None else {"Service": service}
        trust = {"Effect": "Allow", "Principal": who, "Action": "sts:AssumeRole"}
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]
        self._at_end(iam.delete_role, RoleName=name)
        return str(role["Arn"])

    def allow(self, role: str, word: str, *actions: str, resource: str = "*") -> None:
        """Give a role of this test an inline policy."""
        iam, name = self.clients("iam"), role.rsplit("/", 1)[1]
        given = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
        iam.put_role_policy(RoleName=name, PolicyName=word, PolicyDocument=document(given))
        self._at_end(iam.delete_role_policy, RoleName=name, PolicyName=word)

    def become(self, role: str) -> Client:
        """Clients of a session of that role."""
        sts = self.clients("sts")
        session = self.eventually(lambda: sts.assume_role(RoleArn=role, RoleSessionName=self.name))
        given = session["Credentials"]
        endpoint = self.clients.endpoint if self.clients.sandbox is not None else None
        return lambda service: boto3.client(
            service,
            region_name=self.clients.region,
            endpoint_url=endpoint,
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
        )

    def workflow(self, client: Client, word: str, **given: Any) -> str:
        """A new workflow's build ARN, made by that client; raises what AWS refuses it with."""
        made = client("imagebuilder").create_workflow(
            **{"name": f"{self.name}-{word}", "semanticVersion": "1.0.0", "type": "BUILD", **given}
        )
        arn = str(made["workflowBuildVersionArn"])
        self._at_end(self.clients("imagebuilder").delete_workflow, workflowBuildVersionArn=arn)
        return arn


def document(*statements: dict[str, Any]) -> str:
    """A policy of these statements."""
    return json.dumps({"Version": VERSION, "Statement": list(statements)})


def refused(call: Callable[[], Any]) -> tuple[str, str]:
    """The code and the text with which AWS refuses a call that it must refuse."""
    with pytest.raises(ClientError) as caught:
        call()
    return code_of(caught.value), str(caught.value.response["Error"]["Message"])
