"""A sandbox served over real HTTP in this process, and real AWS SDK clients that talk to it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any

import botocore.session
import pytest
from awssandbox.world import World
from botocore.config import Config
from botocore.exceptions import ClientError

ACCOUNT = "111122223333"
REGION = "us-west-2"
START = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)
DOCUMENT = """\
schemaVersion: 1.0
steps:
  - name: LaunchBuildInstance
    action: LaunchInstance
    onFailure: Abort
    inputs:
      waitFor: ssmAgent
"""
"""A small build workflow."""

SESSION = botocore.session.Session()
"""One for all clients: it keeps the service models that it has read, which takes the most time."""

_ON_PATH = shutil.which("aws")
AWS = [sys.executable, "-m", "awscli"] if find_spec("awscli") else [_ON_PATH] if _ON_PATH else None
"""The aws command: this environment's own, or else the one on PATH; None where there is none.

As a module: the script that pip installs does not start in a folder with a space in its path.
"""

Credentials = tuple[str, str, str | None]
"""Access key id, secret access key, session token."""


def document(*statements: Mapping[str, Any]) -> str:
    """A policy document's text."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def refusal(call: Callable[..., Any], *given: Any, **parameters: Any) -> tuple[str, int, str]:
    """The code, HTTP status and text of a call that is refused."""
    with pytest.raises(ClientError) as refused:
        call(*given, **parameters)
    answer = refused.value.response
    return (
        answer["Error"]["Code"],
        answer["ResponseMetadata"]["HTTPStatusCode"],
        answer["Error"]["Message"],
    )


@dataclass
class Served:
    """A running sandbox: its world, its address, and its administrator's credentials."""

    world: World
    url: str
    administrator: Credentials
    clients: list[Any] = field(default_factory=list)

    def client(
        self,
        service: str,
        credentials: Credentials | None = None,
        *,
        region: str = REGION,
        **more: Any,
    ) -> Any:
        """An SDK client without retries; the administrator's unless told otherwise."""
        key, secret, token = credentials or self.administrator
        client = SESSION.create_client(
            service,
            region_name=region,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            endpoint_url=self.url,
            config=Config(retries={"total_max_attempts": 1, "mode": "standard"}, **more),
        )
        self.clients.append(client)
        return client

    def records(self, name: str | None = None, *, region: str = REGION) -> list[dict[str, Any]]:
        """The CloudTrail records of the account, oldest first, all or those of one event name."""
        entries = self.world.trail.entries(ACCOUNT, region)
        found = [dict(entry.record) for entry in entries]
        return [record for record in found if name in (None, record["eventName"])]

    def user(self, name: str, *statements: dict[str, Any]) -> Credentials:
        """A new IAM user with one inline policy, and its access key."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        if statements:
            iam.put_user_policy(
                UserName=name, PolicyName="inline", PolicyDocument=document(*statements)
            )
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"], None

    def role(self, name: str, trust: dict[str, Any], *statements: dict[str, Any]) -> str:
        """A new role with a trust statement and an inline policy; its ARN."""
        iam = self.client("iam")
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))
        if statements:
            iam.put_role_policy(
                RoleName=name, PolicyName="inline", PolicyDocument=document(*statements)
            )
        arn: str = role["Role"]["Arn"]
        return arn

    def assume(self, role_arn: str, **more: Any) -> Credentials:
        """Credentials of a session of a role, assumed by the administrator."""
        sts = self.client("sts")
        answer = sts.assume_role(RoleArn=role_arn, RoleSessionName="tester", **more)["Credentials"]
        return answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"]
