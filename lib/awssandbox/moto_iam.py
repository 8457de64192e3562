"""The one adapter to moto, which keeps IAM's users, groups, roles and policies.

Requests reach moto's own WSGI application re-written from their checked parameters, so nothing of
a client's request but its parameters gets there. moto's store is global to the process: each
`Iam` keeps its own part and lends it to moto, under a lock, for the time of a call.

What moto gets wrong and this project needs is put right here: identifiers (from the sandbox's
seed, in AWS's forms), times (the sandbox's clock), users' permissions boundaries, boundaries and
trust policies that name what does not exist, and deletions that AWS refuses.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

for _name in [name for name in os.environ if name.startswith("MOTO_")]:
    del os.environ[_name]
os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "1"

from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from moto.iam.exceptions import MalformedPolicyDocument
from moto.iam.models import AWSManagedPolicy, IAMBackend, iam_backends
from moto.iam.policy_validation import (
    IAMPolicyDocumentValidator,
    IAMTrustPolicyDocumentValidator,
)
from moto.moto_api._internal import mock_random
from moto.moto_server.werkzeug_app import create_backend_app

from awssandbox.errors import AwsError
from awssandbox.iam.managed import MANAGED_POLICIES
from awssandbox.services import model
from iamaccess import MalformedPolicy, Policy, PolicyKind, parse_policy

if TYPE_CHECKING:
    from awssandbox.world import World

Document = tuple[str, str]
"""A policy's name (an ARN where it has one) and its JSON text."""

_moto = threading.RLock()

_TEXTS = (
    ("Role ", " not found", "The role with name {} cannot be found."),
    ("Group ", " not found", "The group with name {} cannot be found."),
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A long-term access key."""

    access_key_id: str
    secret_access_key: str


@dataclass(frozen=True, slots=True)
class IamPrincipal:
    """A user or role: `policies` and `boundary` are those that decide what it may do."""

    kind: str
    arn: str
    name: str
    unique_id: str
    account: str
    policies: tuple[Document, ...] = ()
    boundary: tuple[Document, ...] = ()
    trust: str = ""
    tags: Mapping[str, str] | None = None
    max_session_s: int = 3600


class Iam:
    """The IAM of every account of one sandbox."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._backends: dict[str, Any] = {}
        self._roots: dict[str, tuple[str, str]] = {}
        self._user_boundaries: dict[tuple[str, str], str] = {}
        self._trusted: dict[str, dict[str, str]] = {}
        with self._lent():
            self._app = create_backend_app("iam")
            iam_backends.clear()

    # Looking up ----------------------------------------------------------------------------------

    def backend(self, account: str) -> IAMBackend:
        """moto's IAM of one account, with the managed policies of AWS that the sandbox has."""
        with self._lent():
            new = account not in iam_backends
            backend: IAMBackend = iam_backends[account][self._world.partition]
            if new:
                for name, data in MANAGED_POLICIES.items():
                    policy = AWSManagedPolicy.from_data(name, account, "us-east-1", dict(data))
                    policy.id = self._world.ids.unique_id("ANPA", "managed policy", name, account)
                    backend.managed_policies[policy.arn] = policy
                    backend.aws_managed_policies.append(policy)
            return backend

    def accounts(self) -> tuple[str, ...]:
        """The accounts that have been used."""
        return tuple(self._backends)

    def find(self, arn: str) -> IamPrincipal | None:
        """The user or role with this ARN (path included), None if there is none."""
        parts = arn.split(":", 5)
        if len(parts) != 6 or parts[2] != "iam" or parts[4] not in self._backends:
            return None
        kind, _, path = parts[5].partition("/")
        name = path.rpartition("/")[2]
        found = self.role(parts[4], name) if kind == "role" else None
        if kind == "user":
            found = self.user(parts[4], name)
        return found if found is not None and found.arn == arn else None

    def unique_id(self, arn: str) -> str | None:
        """The unique id of the user or role with this ARN (path included), None if there is none.

        For a session's ARN, that of its role, a colon and the session's name.
        """
        parts = arn.split(":", 5)
        if len(parts) == 6 and parts[2] == "sts" and parts[5].startswith("assumed-role/"):
            _, role_name, session = parts[5].split("/", 2)
            role = self.role(parts[4], role_name) if parts[4] in self._backends else None
            return None if role is None else f"{role.unique_id}:{session}"
        found = self.find(arn)
        return None if found is None else found.unique_id

    def arn(self, unique_id: str) -> str | None:
        """The ARN of the user or role with this unique id; None if there is none (any more)."""
        for account in self._backends:
            backend = self.backend(account)
            for thing in (*backend.users.values(), *backend.roles.values()):
                if thing.id == unique_id:
                    return str(thing.arn)
        return None

    def user(self, account: str, name: str) -> IamPrincipal | None:
        """A user, with its own and its groups' policies."""
        with self._lent():
            backend = self.backend(account)
            user = backend.users.get(name)
            if user is None:
                return None
            policies = [*_inline(user), *_attached(user)]
            for group in backend.get_groups_for_user(name):
                policies += [*_inline(group), *_attached(group)]
            boundary = self._user_boundaries.get((account, name))
            return IamPrincipal(
                kind="user",
                arn=user.arn,
                name=name,
                unique_id=user.id,
                account=account,
                policies=tuple(policies),
                boundary=self._boundary(account, boundary),
                tags={tag["Key"]: tag["Value"] for tag in user.tags or ()},
            )

    def role(self, account: str, name: str) -> IamPrincipal | None:
        """A role, with its policies and its trust policy as it is now."""
        with self._lent():
            for role in self.backend(account).get_roles():
                if role.name == name:
                    return IamPrincipal(
                        kind="role",
                        arn=role.arn,
                        name=name,
                        unique_id=role.id,
                        account=account,
                        policies=(*_inline(role), *_attached(role)),
                        boundary=self._boundary(account, role.permissions_boundary_arn),
                        trust=self._trust(role),
                        tags={tag["Key"]: tag["Value"] for tag in role.tags or ()},
                        max_session_s=int(role.max_session_duration or 3600),
                    )
            return None

    def managed_policy(self, account: str, arn: str) -> Document | None:
        """The default version of a managed policy."""
        policy = self.backend(account).managed_policies.get(arn)
        return None if policy is None else (arn, _default_version(policy))

    def key_owner(self, access_key_id: str) -> tuple[str, str | None, str] | None:
        """Account, user name (None for the root user) and secret of a long-term access key.

        None for a key that does not exist, is inactive, or whose user is gone.
        """
        root = self._roots.get(access_key_id)
        if root is not None:
            return root[0], None, root[1]
        for account in self._backends:
            backend = self.backend(account)
            key = backend.access_keys.get(access_key_id)
            if key is not None and key.status == "Active" and key.user_name in backend.users:
                return account, key.user_name, key.secret_access_key
        return None

    # Making --------------------------------------------------------------------------------------

    def root_key(self, account: str) -> Credentials:
        """A new access key of an account's root user."""
        self.backend(account)
        ids = self._world.ids
        key_id = ids.unique_id("AKIA", "root key", account)[:20]
        secret = ids.make("root secret", account)[:40]
        self._roots[key_id] = (account, secret)
        return Credentials(key_id, secret)

    def administrator(self, account: str, name: str = "administrator") -> Credentials:
        """A new user with AWS's AdministratorAccess policy attached, and an access key of it."""
        administrator = f"arn:{self._world.partition}:iam::aws:policy/AdministratorAccess"
        self.run(account, "CreateUser", {"UserName": name}, "the sandbox")
        self.run(
            account,
            "AttachUserPolicy",
            {"UserName": name, "PolicyArn": administrator},
            "the sandbox",
        )
        key = self.run(account, "CreateAccessKey", {"UserName": name}, "the sandbox")["AccessKey"]
        return Credentials(key["AccessKeyId"], key["SecretAccessKey"])

    def run(
        self, account: str, operation: str, parameters: Mapping[str, Any], caller: str
    ) -> dict[str, Any]:
        """Carry out an IAM operation in an account and give its output, named as in the model.

        Raises AwsError with IAM's code and text.
        """
        with self._lent():
            backend = self.backend(account)
            before = _BEFORE.get(operation)
            if before is not None:
                done = before(self, backend, parameters)
                if done is not None:
                    return done
            if not operation.startswith(("Get", "List")):
                mock_random.seed(self._world.ids.make("iam", account, caller, operation, parameters))
            output = self._moto(account, operation, parameters)
            self._put_right(backend, operation, parameters, output)
            return output

    def _moto(self, account: str, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        operation_model = model("iam").operation_model(operation)
        form = create_serializer("query").serialize_to_request(dict(parameters), operation_model)
        body = urlencode(form["body"]).encode()
        environ = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/",
            "QUERY_STRING": "",
            "SERVER_NAME": "iam.amazonaws.com",
            "SERVER_PORT": "443",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_HOST": "iam.amazonaws.com",
            "HTTP_X_MOTO_ACCOUNT_ID": account,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https",
            "wsgi.input": BytesIO(body),
            "wsgi.errors": BytesIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        started: list[tuple[int, dict[str, str]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> None:
            started.append((int(status.split()[0]), dict(headers)))

        content = b"".join(self._app(environ, start_response))
        status, headers = started[0]
        response = {"status_code": status, "headers": headers, "body": content}
        parsed: dict[str, Any] = create_parser("query").parse(
            response, operation_model.output_shape
        )
        parsed.pop("ResponseMetadata", None)
        if status >= 300:
            found = parsed["Error"]
            raise AwsError(found["Code"], _in_aws_words(found["Message"]), status)
        return parsed

    # Putting right -------------------------------------------------------------------------------

    def _put_right(
        self,
        backend: IAMBackend,
        operation: str,
        parameters: Mapping[str, Any],
        output: dict[str, Any],
    ) -> None:
        made = _MADE.get(operation)
        if made is not None:
            member, prefix, find = made
            thing = find(backend, output)
            shown = output[member]
            thing.create_date = shown["CreateDate"] = self._world.clock.now().replace(
                microsecond=0, tzinfo=UTC
            )
            if prefix:
                key = next(name for name in shown if name.endswith("Id"))
                new = self._world.ids.unique_id(prefix, operation, backend.account_id, parameters)
                thing.id = shown[key] = new
            if operation == "CreatePolicy":
                thing.update_date = shown["UpdateDate"] = thing.create_date
                thing.versions[0].create_date = thing.create_date
        if operation in ("CreateRole", "UpdateAssumeRolePolicy"):
            self._remember_trusted(backend, parameters)
        if operation == "CreateUser" and "PermissionsBoundary" in parameters:
            boundary = parameters["PermissionsBoundary"]
            self._user_boundaries[(backend.account_id, parameters["UserName"])] = boundary
        if operation == "DeleteUser":
            self._user_boundaries.pop((backend.account_id, parameters["UserName"]), None)
        if operation in ("GetUser", "CreateUser"):
            name = output["User"]["UserName"]
            boundary = self._user_boundaries.get((backend.account_id, name))
            if boundary is not None:
                output["User"]["PermissionsBoundary"] = {
                    "PermissionsBoundaryType": "Policy",
                    "PermissionsBoundaryArn": boundary,
                }

    def _remember_trusted(self, backend: IAMBackend, parameters: Mapping[str, Any]) -> None:
        role = backend.get_role(parameters["RoleName"])
        policy = parse_policy(role.assume_role_policy_document, kind="trust")
        self._trusted[role.id] = {
            arn: unique_id
            for arn in _principals(policy.document)
            if (unique_id := self.unique_id(arn)) is not None
        }

    def _trust(self, role: Any) -> str:
        """A role's trust policy, where the ids of deleted principals stand for their ARNs.

        Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
        """
        text = str(role.assume_role_policy_document)
        for arn, unique_id in self._trusted.get(role.id, {}).items():
            if self.unique_id(arn) != unique_id:
                text = text.replace(f'"{arn}"', f'"{unique_id}"')
        return text

    def _boundary(self, account: str, arn: str | None) -> tuple[Document, ...]:
        if arn is None:
            return ()
        found = self.managed_policy(account, arn)
        return () if found is None else (found,)

    @contextmanager
    def _lent(self) -> Iterator[None]:
        with _moto:
            if iam_backends is not None and dict.get(iam_backends, "owner") is self:
                yield
                return
            before = dict(iam_backends)
            iam_backends.clear()
            iam_backends.update(self._backends)
            try:
                yield
            finally:
                self._backends = {k: v for k, v in iam_backends.items() if k.isdigit()}
                iam_backends.clear()
                iam_backends.update(before)


def _inline(owner: Any) -> list[Document]:
    return [(name, text) for name, text in owner.policies.items()]


def _attached(owner: Any) -> list[Document]:
    return [(arn, _default_version(policy)) for arn, policy in owner.managed_policies.items()]


def _default_version(policy: Any) -> str:
    for version in policy.versions:
        if version.version_id == policy.default_version_id:
            return str(version.document)
    raise LookupError(f"{policy.arn} has no default version")
