"""The adapter to moto's IAM, which keeps users, groups, roles and policies.

What only moto's objects can be given is put right here: identifiers (from the sandbox's seed, in
AWS's forms), times (the sandbox's clock), policy documents as they were sent (moto's validator
refuses legal ones), users' permissions boundaries, and the unique ids that trust policies hold.
IAM's rules about requests are in `awssandbox.iam`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from iamaccess import parse_policy
from moto.iam.models import AWSManagedPolicy, IAMBackend, iam_backends

from awssandbox.errors import AwsError
from awssandbox.iam.managed import MANAGED_POLICIES
from awssandbox.kms.principals import principal_values, renamed
from awssandbox.moto_store import Kept, Store

if TYPE_CHECKING:
    from awssandbox.world import World

Document = tuple[str, str]
"""A policy's name (an ARN where it has one) and its JSON text."""

_store = Store("iam", "iam.amazonaws.com", iam_backends)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A long-term access key."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


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
        self._kept = Kept()
        self._user_boundaries: dict[tuple[str, str], str] = {}
        self._trusted: dict[str, dict[str, str]] = {}

    def _lent(self) -> AbstractContextManager[None]:
        """moto's store with this sandbox's accounts."""
        return _store.lent(self._kept)

    def _backend(self, account: str) -> IAMBackend:
        """moto's IAM of one account, with the managed policies of AWS that the sandbox has."""
        new = account not in iam_backends
        backend: IAMBackend = iam_backends[account][self._world.partition]
        if new:
            for name, data in MANAGED_POLICIES.items():
                policy = AWSManagedPolicy.from_data(
                    name, account, self._world.global_region, dict(data)
                )
                policy.id = data["PolicyId"]
                backend.managed_policies[policy.arn] = policy
        return backend

    def _stored(self, account: str, store: str, name: str) -> Any:
        """A thing in moto's store; None where there is none. No account is made by looking."""
        if account not in iam_backends:
            return None
        things = getattr(self._backend(account), store)
        if store == "roles":  # kept by their ids
            return next((role for role in things.values() if role.name == name), None)
        return things.get(name)

    # Looking up ----------------------------------------------------------------------------------

    def accounts(self) -> tuple[str, ...]:
        """The accounts that have been used."""
        with self._lent():
            return tuple(iam_backends)

    def find(self, arn: str) -> IamPrincipal | None:
        """The user or role with this ARN (path included), None if there is none."""
        parts = arn.split(":", 5)
        if len(parts) != 6 or parts[2] != "iam":
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
            role = self.role(parts[4], role_name)
            return None if role is None else f"{role.unique_id}:{session}"
        found = self.find(arn)
        return None if found is None else found.unique_id

    def arn(self, unique_id: str) -> str | None:
        """The ARN of the user or role with this unique id; None if there is none (any more)."""
        for account in self.accounts():
            with self._lent():
                backend = self._backend(account)
                things: list[Any] = [*backend.users.values(), *backend.roles.values()]
                for thing in things:
                    if thing.id == unique_id:
                        return str(thing.arn)
        return None

    def user(self, account: str, name: str) -> IamPrincipal | None:
        """A user, with its own and its groups' policies."""
        with self._lent():
            user = self._stored(account, "users", name)
            if user is None:
                return None
            backend = self._backend(account)
            policies = [*_inline(user), *_attached(user)]
            for group in backend.get_groups_for_user(name):
                policies += [*_inline(group), *_attached(group)]
            return IamPrincipal(
                kind="user",
                arn=user.arn,
                name=name,
                unique_id=user.id,
                account=account,
                policies=tuple(policies),
                boundary=self._boundary(account, self._user_boundaries.get((account, name))),
                tags=_tags(user),
            )

    def role(self, account: str, name: str) -> IamPrincipal | None:
        """A role, with its policies and its trust policy as it is now."""
        with self._lent():
            role = self._stored(account, "roles", name)
            if role is None:
                return None
            return IamPrincipal(
                kind="role",
                arn=role.arn,
                name=name,
                unique_id=role.id,
                account=account,
                policies=(*_inline(role), *_attached(role)),
                boundary=self._boundary(account, role.permissions_boundary_arn),
                trust=self._trust(role),
                tags=_tags(role),
                max_session_s=int(role.max_session_duration or 3600),
            )

    def resource(self, account: str, kind: str, name: str) -> tuple[str, Mapping[str, str]] | None:
        """ARN (path included) and tags of a thing in IAM by its name; None if there is none.

        `kind` is ``user``, ``role``, ``group``, ``instance-profile`` or ``policy`` (by its ARN).
        """
        with self._lent():
            found = self._stored(account, _STORES[kind], name)
            return None if found is None else (str(found.arn), _tags(found))

    def names(self, account: str, kind: str) -> tuple[str, ...]:
        """The names of all things of a `kind` (of `resource`) in an account."""
        with self._lent():
            things = getattr(self._backend(account), _STORES[kind]).values()
            return tuple(thing.name for thing in things)

    def managed_policy(self, account: str, arn: str) -> Document | None:
        """The default version of a managed policy, of the account's or of AWS's."""
        with self._lent():
            policy = self._backend(account).managed_policies.get(arn)
            return None if policy is None else (arn, _default_version(policy))

    def bounded_by(self, account: str, arn: str) -> int:
        """How many users and roles have this policy as their permissions boundary."""
        with self._lent():
            roles = self._backend(account).roles.values()
            of_users = [a for (owner, _), a in self._user_boundaries.items() if owner == account]
            return [*of_users, *(role.permissions_boundary_arn for role in roles)].count(arn)

    def key_owner(self, access_key_id: str) -> tuple[str, str, str] | None:
        """Account, user name and secret of a long-term access key.

        None for a key that does not exist, is inactive, or whose user is gone.
        """
        with self._lent():
            for account in tuple(iam_backends):
                backend = self._backend(account)
                key = backend.access_keys.get(access_key_id)
                if key is not None and key.status == "Active" and key.user_name in backend.users:
                    return account, key.user_name, key.secret_access_key
        return None

    def key_account(self, access_key_id: str) -> str | None:
        """The account of a long-term access key, active or not; None if there is no such key."""
        with self._lent():
            for account in tuple(iam_backends):
                if access_key_id in self._backend(account).access_keys:
                    return account
        return None

    # Making --------------------------------------------------------------------------------------

    def administrator(self, account: str, name: str = "administrator") -> Credentials:
        """A new user with AWS's AdministratorAccess policy attached, and an access key of it."""
        policy = f"arn:{self._world.partition}:iam::aws:policy/AdministratorAccess"
        maker = "the sandbox"
        self.run(account, "CreateUser", {"UserName": name}, maker)
        self.run(account, "AttachUserPolicy", {"UserName": name, "PolicyArn": policy}, maker)
        key = self.run(account, "CreateAccessKey", {"UserName": name}, maker)["AccessKey"]
        return Credentials(key["AccessKeyId"], key["SecretAccessKey"])

    def _new_key(self, *about: object) -> Credentials:
        ids = self._world.ids
        secret = base64.b64encode(bytes.fromhex(ids.make("secret access key", *about))[:30])
        return Credentials(ids.unique_id("AKIA", "access key", *about)[:20], secret.decode())

    def run(
        self, account: str, operation: str, parameters: Mapping[str, Any], caller: str
    ) -> dict[str, Any]:
        """Carry out an IAM operation in an account and give its output, named as in the model.

        Documents in the output are percent-encoded, as IAM sends them. `caller` is the ARN of who
        calls: identifiers depend on it. Raises AwsError with IAM's code and text.
        """
        with self._lent():
            backend = self._backend(account)
            boundary_of = _USER_BOUNDARIES.get(operation)
            if boundary_of is not None:
                self._moto(account, "GetUser", {"UserName": parameters["UserName"]})
                self._set_user_boundary(account, parameters, boundary_of(parameters))
                return {}
            sent = {**parameters, **_PLACEHOLDERS.get(operation, {})}
            output = self._moto(account, operation, sent)
            if operation in _PLACEHOLDERS:
                _keep_document(backend, operation, parameters, output)
            if operation.startswith("Create") and output:  # an account's alias has nothing to tell
                self._identify(backend, operation, parameters, output, caller)
            if operation in ("CreateRole", "UpdateAssumeRolePolicy"):
                self._remember_trusted(backend.get_role(parameters["RoleName"]))
            if operation == "CreateUser":
                boundary = parameters.get("PermissionsBoundary")
                self._set_user_boundary(account, parameters, boundary)
            elif operation == "DeleteUser":
                self._set_user_boundary(account, parameters, None)
            self._show(backend, operation, output)
            return output

    def _moto(self, account: str, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return _store.call(account, self._world.global_region, operation, parameters)
        except AwsError as refusal:
            text = _in_aws_words(refusal.message, operation, parameters)
            raise AwsError(refusal.code, text, refusal.status) from None

    # Putting right -------------------------------------------------------------------------------

    def _identify(
        self,
        backend: IAMBackend,
        operation: str,
        parameters: Mapping[str, Any],
        output: dict[str, Any],
        caller: str,
    ) -> None:
        """Give what was made the sandbox's time and an identifier from its seed."""
        (shown,) = output.values()
        thing = _made(backend, operation, parameters, shown)
        now = self._world.clock.now().replace(microsecond=0)
        thing.create_date = now.replace(tzinfo=None)
        shown["CreateDate"] = now
        about = (operation, backend.account_id, caller, parameters)
        if operation == "CreateAccessKey":
            key = self._new_key(*about)
            del backend.access_keys[thing.access_key_id]
            thing.access_key_id = shown["AccessKeyId"] = key.access_key_id
            thing.secret_access_key = shown["SecretAccessKey"] = key.secret_access_key
            backend.access_keys[key.access_key_id] = thing
            return
        if operation in ("CreatePolicy", "CreatePolicyVersion"):
            policy = backend.managed_policies[thing.policy_arn] if "VersionId" in shown else thing
            policy.update_date = policy.versions[-1].create_date = thing.create_date
            if policy is thing:
                shown["UpdateDate"] = now
        prefix = _PREFIXES.get(operation)
        if prefix is not None:
            made_by_moto = thing.id
            thing.id = self._world.ids.unique_id(prefix, *about)
            shown[next(name for name in shown if name.endswith("Id"))] = thing.id
            if operation == "CreateRole":
                backend.roles[thing.id] = backend.roles.pop(made_by_moto)

    def _set_user_boundary(
        self, account: str, parameters: Mapping[str, Any], arn: str | None
    ) -> None:
        place = (account, parameters["UserName"])
        if arn is None:
            self._user_boundaries.pop(place, None)
        else:
            self._user_boundaries[place] = arn

    def _remember_trusted(self, role: Any) -> None:
        """Keep the unique ids of the principals that a trust policy names, as of now."""
        policy = parse_policy(role.assume_role_policy_document, kind="trust")
        self._trusted[role.id] = {
            arn: unique_id
            for arn in principal_values(policy.document, "AWS")
            if (unique_id := self.unique_id(arn)) is not None
        }

    def _trust(self, role: Any) -> str:
        """A role's trust policy, where the ids of deleted principals stand for their ARNs.

        Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
        """
        text = str(role.assume_role_policy_document)
        gone = {
            arn: unique_id.partition(":")[0]
            for arn, unique_id in self._trusted.get(role.id, {}).items()
            if self.unique_id(arn) != unique_id
        }
        if not gone:
            return text
        return json.dumps(renamed(json.loads(text), lambda arn: gone.get(arn, arn)))

    def _boundary(self, account: str, arn: str | None) -> tuple[Document, ...]:
        found = None if arn is None else self.managed_policy(account, arn)
        return () if found is None else (found,)

    def _show(self, backend: IAMBackend, operation: str, output: dict[str, Any]) -> None:
        """Correct what moto shows of what it keeps: documents and boundaries."""
        for shown in _shown(output, "Role"):
            role: Any = backend.get_role(shown["RoleName"])
            shown["AssumeRolePolicyDocument"] = quote(self._trust(role))
            if "PermissionsBoundary" in shown:
                shown["PermissionsBoundary"] = _shown_boundary(role.permissions_boundary_arn)
            if operation != "GetRole":
                shown.pop("RoleLastUsed", None)
        for shown in _shown(output, "InstanceProfile"):
            self._show(backend, operation, shown)
        if "User" in output:
            name = output["User"]["UserName"]
            boundary = self._user_boundaries.get((backend.account_id, name))
            if boundary is not None:
                output["User"]["PermissionsBoundary"] = _shown_boundary(boundary)
        for shown in _shown(output, "Policy"):
            count = self.bounded_by(backend.account_id, shown["Arn"])
            shown["PermissionsBoundaryUsageCount"] = count
        for shown in _shown(output, "PolicyVersion") + output.get("Versions", []):
            text = shown.pop("Document", "")
            if operation == "GetPolicyVersion":
                shown["Document"] = quote(text)


def _shown(output: Mapping[str, Any], member: str) -> list[dict[str, Any]]:
    """The things of one kind in an output, which has one or a list of them."""
    plural = member[:-1] + "ies" if member.endswith("y") else member + "s"
    return [output[member]] if member in output else list(output.get(plural, ()))


_STORES: Final[Mapping[str, str]] = {
    "user": "users",
    "role": "roles",
    "group": "groups",
    "policy": "managed_policies",
    "instance-profile": "instance_profiles",
}
_PREFIXES: Final[Mapping[str, str]] = {
    "CreateUser": "AIDA",
    "CreateRole": "AROA",
    "CreateGroup": "AGPA",
    "CreatePolicy": "ANPA",
    "CreateInstanceProfile": "AIPA",
}
"""Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html"""

_USER_BOUNDARIES: Final[Mapping[str, Callable[[Mapping[str, Any]], str | None]]] = {
    "PutUserPermissionsBoundary": lambda parameters: str(parameters["PermissionsBoundary"]),
    "DeleteUserPermissionsBoundary": lambda parameters: None,
}
"""Operations that moto does not have: the boundary that a user has after each."""

_IDENTITY: Final = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}'
)
_TRUST: Final = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"sts:AssumeRole",'
    '"Principal":{"AWS":"*"}}]}'
)
_PLACEHOLDERS: Final[Mapping[str, Mapping[str, str]]] = {
    "PutUserPolicy": {"PolicyDocument": _IDENTITY},
    "PutRolePolicy": {"PolicyDocument": _IDENTITY},
    "PutGroupPolicy": {"PolicyDocument": _IDENTITY},
    "CreatePolicy": {"PolicyDocument": _IDENTITY},
    "CreatePolicyVersion": {"PolicyDocument": _IDENTITY},
    "UpdateAssumeRolePolicy": {"PolicyDocument": _TRUST},
}
"""What moto's validator is given in place of the document, which is judged before."""


def _keep_document(
    backend: IAMBackend, operation: str, parameters: Mapping[str, Any], output: Mapping[str, Any]
) -> None:
    """Put the document that was sent where moto keeps the placeholder."""
    text = parameters["PolicyDocument"]
    if operation == "UpdateAssumeRolePolicy":
        backend.get_role(parameters["RoleName"]).assume_role_policy_document = text
    elif operation == "CreatePolicy":
        backend.managed_policies[output["Policy"]["Arn"]].versions[0].document = text
    elif operation == "CreatePolicyVersion":
        backend.managed_policies[parameters["PolicyArn"]].versions[-1].document = text
    else:
        kind = operation.removeprefix("Put").removesuffix("Policy")
        owner = getattr(backend, f"get_{kind.lower()}")(parameters[f"{kind}Name"])
        owner.policies[parameters["PolicyName"]] = text


def _made(
    backend: IAMBackend, operation: str, parameters: Mapping[str, Any], shown: Mapping[str, Any]
) -> Any:
    """What an operation made, as moto keeps it."""
    if operation == "CreateAccessKey":
        return backend.access_keys[shown["AccessKeyId"]]
    if operation == "CreatePolicy":
        return backend.managed_policies[shown["Arn"]]
    if operation == "CreatePolicyVersion":
        return backend.managed_policies[parameters["PolicyArn"]].versions[-1]
    if operation == "CreateInstanceProfile":
        return backend.get_instance_profile(parameters["InstanceProfileName"])
    kind = operation.removeprefix("Create")
    return getattr(backend, f"get_{kind.lower()}")(parameters[f"{kind}Name"])


def _tags(thing: Any) -> dict[str, str]:
    """moto has tags as a list, or as a mapping from the lower-cased key."""
    tags = getattr(thing, "tags", None) or ()
    listed = tags.values() if isinstance(tags, Mapping) else tags
    return {tag["Key"]: tag["Value"] for tag in listed}


def _shown_boundary(arn: str) -> dict[str, str]:
    """Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_AttachedPermissionsBoundary.html"""
    return {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}


def _inline(owner: Any) -> list[Document]:
    return [(name, text) for name, text in owner.policies.items()]


def _attached(owner: Any) -> list[Document]:
    return [(arn, _default_version(policy)) for arn, policy in owner.managed_policies.items()]


def _default_version(policy: Any) -> str:
    for version in policy.versions:
        if version.version_id == policy.default_version_id:
            return str(version.document)
    raise LookupError(f"{policy.arn} has no default version")


def _in_aws_words(message: str, operation: str, parameters: Mapping[str, Any]) -> str:
    """moto's sentence about what is not there, as IAM words it; others are IAM's already.

    Source: messages that users of AWS quote; IAM's documentation has none. One of many places:
    https://github.com/aws-controllers-k8s/community/issues/2229
    """
    found = re.fullmatch(r"(Role|Group|User) (\S+) not found", message)
    if found:
        return f"The {found[1].lower()} with name {found[2]} cannot be found."
    found = re.fullmatch(r"Policy (arn:\S+) not found", message)
    if found:
        return f"Policy {found[1]} was not found."
    if operation.startswith("Attach"):
        return f"Policy {parameters['PolicyArn']} does not exist or is not attachable."
    found = re.fullmatch(r"Instance profile (\S+) not found", message)
    if found:
        return f"Instance Profile {found[1]} cannot be found."
    if re.fullmatch(r"Policy( version)? not found", message):
        policy, version = parameters["PolicyArn"], parameters["VersionId"]
        return f"Policy {policy} version {version} does not exist or is not attachable."
    if re.fullmatch(r"Policy (Document )?\S+ not (found|attached to role \S+)", message):
        kinds = [each for each in ("user", "group", "role") if each.title() in operation]
        if not kinds:  # by an ARN that is none
            return f"Policy {parameters['PolicyArn']} was not found."
        return f"The {kinds[0]} policy with name {parameters['PolicyName']} cannot be found."
    return message
