"""Reads the policies that decide over a key and a role. What cannot be read is not known: None.

So is a policy that AWS holds and the judge takes for malformed: one of them is wrong, and nothing
is decided from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from botocore.exceptions import ClientError
from iamaccess import Grant, MalformedPolicy, Policies, Policy, Principal, parse_policy

from keyrunbook.access import Operator, Read
from keyrunbook.aws.clients import Clients
from keyrunbook.aws.refusals import code_of

T = TypeVar("T")

_DENIED = {"AccessDenied": "iam", "AccessDeniedException": "kms"}
"""The code of a refusal tells which of the two services it is of.

Source: https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html and
https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html
"""


@dataclass(frozen=True, slots=True)
class _Unknown:
    """Why layers are not known: permissions that are missing, policies that are malformed."""

    refused: list[str] = field(default_factory=list)
    malformed: list[str] = field(default_factory=list)

    def unless_read(self, call: Callable[[], T]) -> T | None:
        """What `call` answers, or None where the operator may not read it, or nobody can."""
        try:
            return call()
        except ClientError as error:
            if code_of(error) in _DENIED:
                self.refused.append(f"{_DENIED[code_of(error)]}:{error.operation_name}")
                return None
            raise
        except _Malformed as error:
            self.malformed.append(str(error))
            return None


class _Malformed(Exception):
    """A policy of AWS's that the judge cannot read: its name, what is wrong, and where."""


@dataclass(frozen=True, slots=True)
class KeySide:
    """What of a decision is the key's: its policy and its grants, None where not known.

    `text` is the policy as KMS gives it. `refused` names the permissions for want of which
    something was not read, `malformed` the policy that the judge could not read, and why.
    """

    arn: str
    text: str | None
    policy: list[Policy] | None
    grants: list[Grant] | None
    refused: tuple[str, ...] = ()
    malformed: tuple[str, ...] = ()


def key_side(clients: Clients, key_arn: str, text: str | None = None) -> KeySide:
    """Read the key's policy, unless its text was read already, and its grants."""
    kms, unknown = clients("kms"), _Unknown()
    policy = {"KeyId": key_arn, "PolicyName": "default"}
    text = text or unknown.unless_read(lambda: kms.get_key_policy(**policy)["Policy"])
    pages = kms.get_paginator("list_grants").paginate(KeyId=key_arn)
    grants = unknown.unless_read(lambda: [one for page in pages for one in page["Grants"]])
    return as_read(key_arn, text, grants)


def as_read(key_arn: str, text: str | None, grants: Iterable[Mapping[str, Any]] | None) -> KeySide:
    """The key's side, of the policy's text and the grants as KMS gave them; None was refused."""
    unknown = _Unknown()
    policy = None
    if text is None:
        unknown.refused.append("kms:GetKeyPolicy")
    else:
        policy = unknown.unless_read(lambda: [_parsed(text, "resource", "key policy")])
    if grants is None:
        unknown.refused.append("kms:ListGrants")
    return KeySide(
        key_arn,
        text,
        policy,
        None if grants is None else [grant(one, key_arn) for one in grants],
        tuple(unknown.refused),
        tuple(unknown.malformed),
    )


def planned(key_arn: str) -> KeySide:
    """The side of a key whose policy is still to be put: it is not read, and need not be there.

    Grants do not matter then, since none allows kms:PutKeyPolicy.
    Source: https://docs.aws.amazon.com/kms/latest/developerguide/create-grant-overview.html
    """
    return KeySide(key_arn, None, None, [])


def read(clients: Clients, key: KeySide, role_name: str) -> Read | None:
    """The role's policies beside the key's, or None when there is no such role."""
    iam = clients("iam")
    try:
        role = iam.get_role(RoleName=role_name)["Role"]
    except ClientError as error:
        if code_of(error) == "NoSuchEntity":
            return None
        raise
    unknown = _Unknown()
    known = unknown.unless_read
    policies = Policies(
        identity=known(lambda: list(_policies(iam, "role", role_name, iam.get_role_policy))),
        resource=key.policy,
        grants=key.grants,
        boundary=known(lambda: _boundary(iam, role)),
        session=(),
        service_control=() if clients.sandbox else None,
        resource_control=() if clients.sandbox else None,
    )
    refused = tuple(dict.fromkeys((*unknown.refused, *key.refused)))
    malformed = (*unknown.malformed, *key.malformed)
    return Read(role["Arn"], role["RoleId"], key.arn, policies, refused, malformed)


def operator(clients: Clients, key: KeySide) -> Operator:
    """The operator with its own policies beside the key's; what it may not read is not known."""
    who, iam = clients.identity, clients("iam")
    kind, _, rest = who.arn.split(":", 5)[5].partition("/")
    unknown = _Unknown()
    known = unknown.unless_read
    owner: Mapping[str, Any] | None
    identity: list[Policy] | None
    if kind == "user":
        name = rest.rpartition("/")[2]
        owner = known(lambda: iam.get_user(UserName=name)["User"])
        principal = Principal("user", who.arn, who.account, unique_id=(owner or {}).get("UserId"))
        identity = known(lambda: list(_of_user(iam, name)))
    elif kind == "assumed-role":
        name = rest.split("/")[0]
        owner = known(lambda: iam.get_role(RoleName=name)["Role"])
        role = owner or {}
        principal = Principal("session", who.arn, who.account, role.get("Arn"), role.get("RoleId"))
        identity = known(lambda: list(_policies(iam, "role", name, iam.get_role_policy)))
    elif kind == "root":
        owner, identity = {}, []
        principal = Principal("root", who.arn, who.account)
    else:  # a federated user, whose policies nobody can read
        owner = identity = None
        principal = Principal("session", who.arn, who.account)
    policies = Policies(
        identity=identity,
        resource=key.policy,
        grants=key.grants,
        boundary=None if owner is None else known(lambda: _boundary(iam, owner)),
        session=() if kind in ("user", "root") else None,  # nobody can read a session's policy
        service_control=() if clients.sandbox else None,
        resource_control=() if clients.sandbox else None,
    )
    return Operator(principal, key.arn, policies, (*unknown.malformed, *key.malformed))


def own_policies(clients: Clients) -> Iterable[Policy]:
    """The operator's own policies: inline, attached, and its groups'.

    Raises ClientError where they may not be read, MalformedPolicy, and LookupError for a federated
    user, whose policies nobody can read.
    """
    kind, _, rest = clients.identity.arn.split(":", 5)[5].partition("/")
    iam = clients("iam")
    try:
        if kind == "user":
            yield from _of_user(iam, rest.rpartition("/")[2])
        elif kind == "assumed-role":
            yield from _policies(iam, "role", rest.split("/")[0], iam.get_role_policy)
        else:
            raise LookupError(f"nobody can read the policies of {clients.identity.arn}")
    except _Malformed as error:
        raise MalformedPolicy(str(error)) from error


def _boundary(iam: Any, owner: Mapping[str, Any]) -> list[Policy]:
    arn = owner.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    return [_managed(iam, arn)] if arn else []


def _of_user(iam: Any, user: str) -> Iterable[Policy]:
    """A user's own policies, and those of its groups."""
    yield from _policies(iam, "user", user, iam.get_user_policy)
    for page in iam.get_paginator("list_groups_for_user").paginate(UserName=user):
        for group in page["Groups"]:
            yield from _policies(iam, "group", group["GroupName"], iam.get_group_policy)


def _policies(
    iam: Any, kind: str, name: str, inline_policy: Callable[..., Any]
) -> Iterable[Policy]:
    """The inline and the attached policies of a ``user``, ``group`` or ``role``."""
    owner = {f"{kind.title()}Name": name}
    for page in iam.get_paginator(f"list_{kind}_policies").paginate(**owner):
        for inline in page["PolicyNames"]:
            answer = inline_policy(**owner, PolicyName=inline)
            yield _identity(answer["PolicyDocument"], inline)
    for page in iam.get_paginator(f"list_attached_{kind}_policies").paginate(**owner):
        for policy in page["AttachedPolicies"]:
            yield _managed(iam, policy["PolicyArn"])


def _managed(iam: Any, arn: str) -> Policy:
    policy = iam.get_policy(PolicyArn=arn)["Policy"]
    version = policy["DefaultVersionId"]
    kept = _VERSIONS.setdefault(iam, {})
    known = (policy["PolicyId"], version)
    if known not in kept:
        answer = iam.get_policy_version(PolicyArn=arn, VersionId=version)
        kept[known] = answer["PolicyVersion"]["Document"]
    return _identity(kept[known], arn)


_VERSIONS: WeakKeyDictionary[Any, dict[tuple[str, str], Any]] = WeakKeyDictionary()
"""The documents that each client has read, by the policy's id and version: a version never changes.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-versioning.html
"""


def _identity(document: Any, name: str) -> Policy:
    text = unquote(document) if isinstance(document, str) else document
    return _parsed(text, "identity", name)


def _parsed(text: Any, kind: Literal["identity", "resource"], name: str) -> Policy:
    try:
        return parse_policy(text, kind=kind, name=name)
    except MalformedPolicy as error:
        raise _Malformed(f"{name}: {error}") from error


def grant(given: Mapping[str, Any], key_arn: str) -> Grant:
    """A grant of the key, as ListGrants and the ledger have it, for the judge."""
    constraints = given.get("Constraints", {})
    return Grant(
        given["GrantId"],
        given["GranteePrincipal"],
        frozenset(given["Operations"]),
        constraints.get("EncryptionContextSubset"),
        constraints.get("EncryptionContextEquals"),
        key_arn,
    )
