"""A sandbox without a socket: genuine clients, answered by the pipeline in this process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from awssandbox.call import Caller
from awssandbox.clock import Clock
from awssandbox.forward import ServiceAccess
from awssandbox.pipeline import GLOBAL_SERVICES
from awssandbox.sts import sessions
from awssandbox.world import World
from botocore.exceptions import ClientError
from iamaccess import Principal
from served import ACCOUNT, REGION, START, document

OTHER = "444455556666"
SOURCE_IP = "198.51.100.7"
AGENT = "tests"


def allow(action: str | list[str], resource: str = "*", **more: Any) -> dict[str, Any]:
    """A statement that allows."""
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def trust(principal: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A statement of a trust policy."""
    return {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more}


def refusal(call: Callable[[], Any]) -> tuple[str, str, int]:
    """Error code, text and HTTP status of a call that must be refused."""
    try:
        answer = call()
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return error.response["Error"]["Code"], error.response["Error"]["Message"], status
    raise AssertionError(f"it was not refused; the answer was {answer}")


class Still(Clock):
    """A clock that goes only where it is moved, for tests that tell seconds apart."""

    def now(self) -> datetime:
        return self._start + self._advanced


class Sandbox:
    """One world, and clients of it as whomever."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("seed", 1)
        options.setdefault("clock", Clock(START))
        self.world = World(**options)

    def root(self, account: str = ACCOUNT) -> Caller:
        """An account's root user, who may do everything in it."""
        arn = f"arn:aws:iam::{account}:root"
        key = f"AKIAROOT{account}"
        return Caller(Principal("root", arn, account), account, key, account, SOURCE_IP, AGENT)

    def client(self, service: str, caller: Caller | None = None) -> Any:
        """A client; the root user's of the first account unless told otherwise."""
        region = self.world.global_region if service in GLOBAL_SERVICES else REGION
        return ServiceAccess(self.world, caller or self.root(), region).client(service)

    def user(self, name: str, *statements: dict[str, Any], account: str = ACCOUNT) -> Caller:
        """A new user with one inline policy."""
        iam = self.client("iam", self.root(account))
        arn = iam.create_user(UserName=name)["User"]["Arn"]
        if statements:
            iam.put_user_policy(
                UserName=name, PolicyName="inline", PolicyDocument=document(*statements)
            )
        user = self.world.iam.find(arn)
        assert user is not None
        principal = Principal("user", arn, account, unique_id=user.unique_id)
        return Caller(
            principal, user.unique_id, f"AKIA{name}", account, SOURCE_IP, AGENT, user_name=name
        )

    def role(
        self,
        name: str,
        trusted: dict[str, Any],
        *statements: dict[str, Any],
        account: str = ACCOUNT,
        **more: Any,
    ) -> str:
        """A new role with one inline policy; its ARN."""
        iam = self.client("iam", self.root(account))
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trusted), **more)[
            "Role"
        ]
        if statements:
            iam.put_role_policy(
                RoleName=name, PolicyName="inline", PolicyDocument=document(*statements)
            )
        arn: str = made["Arn"]
        return arn

    def session(self, role_arn: str, assumer: Caller, name: str = "tester", **more: Any) -> Caller:
        """Who calls with a session of a role that `assumer` assumes."""
        answer = self.client("sts", assumer).assume_role(
            RoleArn=role_arn, RoleSessionName=name, **more
        )
        found = sessions.find(self.world, answer["Credentials"]["AccessKeyId"])
        assert found is not None
        return found.caller(self.world, SOURCE_IP, AGENT)

    def record(self, name: str, region: str = REGION, account: str = ACCOUNT) -> dict[str, Any]:
        """The last CloudTrail record of an event name."""
        entries = self.world.trail.entries(account, region)
        found = [entry.record for entry in entries if entry.record["eventName"] == name]
        return dict(found[-1])
