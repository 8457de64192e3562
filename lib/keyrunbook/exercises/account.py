"""A fresh account of the sandbox, for one exercise: its people, and what they sign in with.

Exercises set their situations up by calls that change an account, without a plan that anybody
approves. So this is the only place where they get clients, and it refuses every endpoint that is
not the sandbox's own.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from keyrunbook import policies, sandboxes
from keyrunbook.aws.clients import Clients, sandbox_clients
from keyrunbook.errors import ParameterError
from keyrunbook.sandboxes import Handoff

ADMINISTRATOR: Final = "administrator"
_CREDENTIALS: Final = ("account", "access_key_id", "secret_access_key")


class Account:
    """An account on a sandbox, and clients as whoever is in it.

    Raises ParameterError where `handoff` tells of another endpoint than the sandbox's.
    """

    def __init__(self, handoff: Handoff) -> None:
        _refuse_others(handoff)
        self._people: dict[str, tuple[Handoff, Clients]] = {}
        self._add(ADMINISTRATOR, handoff)

    def _add(self, name: str, handoff: Handoff) -> None:
        clients = sandbox_clients(handoff)
        if clients.is_aws:
            raise _not_the_sandbox(clients.endpoint)
        self._people[name] = (handoff, clients)

    @property
    def administrator(self) -> Clients:
        """The clients of the administrator, who is the learner."""
        return self.of(ADMINISTRATOR)

    @property
    def number(self) -> str:
        """The account's number."""
        return self._people[ADMINISTRATOR][0].account

    @property
    def partition(self) -> str:
        """The partition of its ARNs."""
        return self.administrator.identity.partition

    def of(self, name: str) -> Clients:
        """The clients of a person of the account. Raises ParameterError for an unknown one."""
        return self._person(name)[1]

    def _person(self, name: str) -> tuple[Handoff, Clients]:
        if name not in self._people:
            raise ParameterError(
                f"Nobody in this exercise is called {name!r}.", f"Name {' or '.join(self._people)}."
            )
        return self._people[name]

    def add_user(self, name: str, *statements: Mapping[str, Any]) -> str:
        """Make an IAM user with an access key and one inline policy; its ARN."""
        iam = self.administrator("iam")
        arn = str(iam.create_user(UserName=name)["User"]["Arn"])
        document = json.dumps({"Version": policies.VERSION, "Statement": list(statements)})
        iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        there = self._people[ADMINISTRATOR][0]
        names = {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}
        self._add(name, replace(there, **names))
        return arn

    def shell(self, name: str) -> Path:
        """Write what a shell needs so that the aws command works as this person; gives the file.

        Its owner alone can read it, and it is removed with the sandbox. Nothing else of AWS's
        configuration counts there.
        Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
        """
        handoff, _ = self._person(name)
        values = {
            "AWS_ENDPOINT_URL": handoff.endpoint_url,
            "AWS_ACCESS_KEY_ID": handoff.access_key_id,
            "AWS_SECRET_ACCESS_KEY": handoff.secret_access_key,
            "AWS_DEFAULT_REGION": handoff.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": urlsplit(handoff.endpoint_url).hostname or "",
        } | ({"AWS_CA_BUNDLE": handoff.ca_bundle} if handoff.ca_bundle else {})
        lines = [
            "for name in $(env | sed -n 's/^\\(AWS_[A-Za-z0-9_]*\\)=.*/\\1/p'); do",
            '    unset "$name"',
            "done",
            *(f"export {key}={shlex.quote(value)}" for key, value in values.items()),
        ]
        path = Path(handoff.control).parent / f"{handoff.account}-{name}.sh"
        path.touch(mode=0o600)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path


def fresh_account() -> Account:
    """A new account of the sandbox that the environment names, or of this user's shared one.

    Raises SandboxGone, Unreachable; ParameterError as `Account` does.
    """
    there = sandboxes.handed_over() or sandboxes.shared()
    _refuse_others(there)
    new = sandboxes.command(there, "new-account")
    return Account(replace(there, **{name: new[name] for name in _CREDENTIALS}))


def _refuse_others(handoff: Handoff) -> None:
    """Refuse an endpoint that the running sandbox does not call its own."""
    own = sandboxes.command(handoff, "status")["endpoint_url"]
    if own != handoff.endpoint_url:
        raise _not_the_sandbox(handoff.endpoint_url)


def _not_the_sandbox(endpoint: str) -> ParameterError:
    return ParameterError(
        f"An exercise changes its account freely, and {endpoint} is not the sandbox's endpoint. "
        "Nothing was sent there.",
        f"Unset {sandboxes.HANDED_OVER}, and start a sandbox with: runbook sandbox",
    )
