"""What the tests of the sandbox's KMS share: one served sandbox a module, and its principals.

A test makes the keys that it needs, so that many can share a sandbox.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import boto3
from awssandbox.clock import Clock
from awssandbox.server import Application, Server
from awssandbox.world import World
from botocore.config import Config
from botocore.exceptions import ClientError
from served import ACCOUNT, REGION, START, Credentials, Served, document

OTHER_ACCOUNT = "444455556666"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
ADMINISTRATOR = f"arn:aws:iam::{ACCOUNT}:user/administrator"
DELEGATION = {
    "Sid": "Enable IAM User Permissions",
    "Effect": "Allow",
    "Principal": {"AWS": ROOT},
    "Action": "kms:*",
    "Resource": "*",
}
TRUST = {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "sts:AssumeRole"}
NO_KEY = "00000000-0000-4000-8000-000000000000"
"""The id of no key."""

_CONFIG = Config(retries={"total_max_attempts": 1, "mode": "standard"}, parameter_validation=False)


class Kms:
    """A served sandbox, and KMS as its principals see it."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._session = boto3.Session(region_name=REGION)
        self._clients: dict[tuple[Credentials, str], Any] = {}
        self._accounts: dict[str, Served] = {}
        self.admin = self.of(served.administrator)

    def of(self, credentials: Credentials, region: str = REGION) -> Any:
        """KMS as the owner of `credentials` calls it; the service alone checks parameters."""
        if (credentials, region) not in self._clients:
            key, secret, token = credentials
            self._clients[credentials, region] = self._session.client(
                "kms",
                region_name=region,
                endpoint_url=self.served.url,
                aws_access_key_id=key,
                aws_secret_access_key=secret,
                aws_session_token=token,
                config=_CONFIG,
            )
        return self._clients[credentials, region]

    def account(self, account: str) -> Served:
        """The same sandbox as the administrator of another account sees it."""
        if account not in self._accounts:
            world = self.served.world
            keys = world.iam.administrator(account)
            credentials = (keys.access_key_id, keys.secret_access_key, None)
            self._accounts[account] = Served(world, self.served.url, credentials)
        return self._accounts[account]

    def key(self, *statements: Mapping[str, Any], **more: Any) -> str:
        """The ARN of a new key, whose policy delegates to the account and has `statements` too."""
        policy = document(DELEGATION, *statements)
        arn: str = self.admin.create_key(Policy=policy, **more)["KeyMetadata"]["Arn"]
        return arn

    def user(self, name: str, *statements: Mapping[str, Any]) -> Any:
        """KMS as a new IAM user with one inline policy calls it."""
        return self.of(self.served.user(name, *map(dict, statements)))

    def advance(self, **by: float) -> None:
        """Move the sandbox's clock."""
        self.served.world.clock.advance(timedelta(**by))

    def record(self, name: str) -> dict[str, Any]:
        """The newest record of an event name."""
        return self.served.records(name)[-1]

    def close(self) -> None:
        """Close the clients' connections."""
        clients = [*self._clients.values(), *self.served.clients]
        for served in self._accounts.values():
            clients += served.clients
        for client in clients:
            client.close()


@contextmanager
def kms_served(**options: Any) -> Iterator[Kms]:
    """A sandbox over HTTP; `options` are those of `World`."""
    world = World(**{"seed": 1, "clock": Clock(START), **options})
    server = Server(Application(world), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    keys = world.iam.administrator(ACCOUNT)
    kms = Kms(Served(world, server.url, (keys.access_key_id, keys.secret_access_key, None)))
    try:
        yield kms
    finally:
        kms.close()
        server.stop()
        thread.join(timeout=5)


def allow(*actions: str, resource: Any = "*", **more: Any) -> dict[str, Any]:
    """A statement that allows KMS `actions`."""
    names = [f"kms:{action}" for action in actions]
    return {"Effect": "Allow", "Action": names, "Resource": resource, **more}


def refused(call: Callable[..., Any], **parameters: Any) -> tuple[str, str]:
    """The code and text with which a call is refused."""
    try:
        answer = call(**parameters)
    except ClientError as refusal:
        error = refusal.response["Error"]
        return error["Code"], error["Message"]
    raise AssertionError(f"allowed: {answer}")


def outcome(call: Callable[..., Any], **parameters: Any) -> str:
    """``allowed``, or the code with which a call is refused."""
    try:
        call(**parameters)
    except ClientError as refusal:
        return str(refusal.response["Error"]["Code"])
    return "allowed"


def method(client: Any, operation: str) -> Callable[..., Any]:
    """A client's method for an operation's name."""
    by_name = {api: python for python, api in client.meta.method_to_api_mapping.items()}
    found: Callable[..., Any] = getattr(client, by_name[operation])
    return found


def key_id(arn: str) -> str:
    """The key id in a key ARN."""
    return arn.rpartition("/")[2]
