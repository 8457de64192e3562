"""Reads the policies that decide over a key and a role. What cannot be read is not known: None."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote

from botocore.exceptions import ClientError
from iamaccess import Grant, Policies, Policy, Principal, parse_policy

from keyrunbook.access import Operator, Read
from keyrunbook.aws.clients import Clients, Identity
from keyrunbook.aws.refusals import code_of

T = TypeVar("T")


def read(clients: Clients, key_arn: str, role_name: str) -> Read | None:
    """The role's and the key's policies, or None when there is no such role."""
    iam = clients("iam")
    try:
        role = iam.get_role(RoleName=role_name)["Role"]
    except ClientError as error:
        if code_of(error) == "NoSuchEntity":
            return None
        raise
    policies = Policies(
        identity=_allowed(lambda: [*_inline(iam, role_name), *_attached(iam, role_name)]),
        resource=_allowed(lambda: [_key_policy(clients("kms"), key_arn)]),
        grants=_allowed(lambda: list(_grants(clients("kms"), key_arn))),
        boundary=_allowed(lambda: _boundary(iam, role)),
        session=(),
        service_control=() if clients.sandbox else None,
        resource_control=() if clients.sandbox else None,
    )
    return Read(role["Arn"], role["RoleId"], key_arn, policies)


def operator(clients: Clients) -> Operator:
    """The operator and its own policies; what it may not read is not known.

    Grants and session policies cannot be read, or do not matter to PutKeyPolicy: no grant allows
    it. Source: https://docs.aws.amazon.com/kms/latest/developerguide/create-grant-overview.html
    """
    who, iam = clients.identity, clients("iam")
    kind, _, rest = who.arn.split(":", 5)[5].partition("/")
    if kind == "user":
        return _user(clients, who, rest.rpartition("/")[2])
    if kind != "assumed-role":
        principal = Principal("root", who.arn, who.account)
        return Operator(principal, _layers(clients, lambda: [], lambda: [], session=()))
    name = rest.split("/")[0]
    role = _allowed(lambda: iam.get_role(RoleName=name)["Role"])
    # Without its path, which the session's ARN does not have, the role cannot be named for sure.
    arn = role["Arn"] if role else None
    principal = Principal("session", who.arn, who.account, arn, role["RoleId"] if role else None)
    return Operator(
        principal,
        _layers(
            clients,
            lambda: [*_inline(iam, name), *_attached(iam, name)],
            (lambda: _boundary(iam, role)) if role else None,
            session=None,
        ),
    )


def _user(clients: Clients, who: Identity, name: str) -> Operator:
    iam = clients("iam")
    user = _allowed(lambda: iam.get_user(UserName=name)["User"])
    principal = Principal("user", who.arn, who.account, unique_id=user["UserId"] if user else None)
    return Operator(
        principal,
        _layers(
            clients,
            lambda: list(_of_user(iam, name)),
            (lambda: _boundary(iam, user)) if user else None,
            session=(),
        ),
    )


def _layers(
    clients: Clients,
    identity: Callable[[], list[Policy]],
    boundary: Callable[[], list[Policy]] | None,
    session: tuple[Policy, ...] | None,
) -> Policies:
    return Policies(
        identity=_allowed(identity),
        resource=None,
        grants=(),
        boundary=_allowed(boundary) if boundary else None,
        session=session,
        service_control=() if clients.sandbox else None,
        resource_control=() if clients.sandbox else None,
    )


def _boundary(iam: Any, owner: Mapping[str, Any]) -> list[Policy]:
    arn = owner.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    return [_managed(iam, arn)] if arn else []


def _of_user(iam: Any, user: str) -> Iterable[Policy]:
    """A user's own policies, and those of its groups."""
    for page in iam.get_paginator("list_user_policies").paginate(UserName=user):
        for name in page["PolicyNames"]:
            answer = iam.get_user_policy(UserName=user, PolicyName=name)
            yield _identity(answer["PolicyDocument"], name)
    for page in iam.get_paginator("list_attached_user_policies").paginate(UserName=user):
        for policy in page["AttachedPolicies"]:
            yield _managed(iam, policy["PolicyArn"])
    for page in iam.get_paginator("list_groups_for_user").paginate(UserName=user):
        for group in page["Groups"]:
            yield from _of_group(iam, group["GroupName"])


def _of_group(iam: Any, group: str) -> Iterable[Policy]:
    for page in iam.get_paginator("list_group_policies").paginate(GroupName=group):
        for name in page["PolicyNames"]:
            answer = iam.get_group_policy(GroupName=group, PolicyName=name)
            yield _identity(answer["PolicyDocument"], name)
    for page in iam.get_paginator("list_attached_group_policies").paginate(GroupName=group):
        for policy in page["AttachedPolicies"]:
            yield _managed(iam, policy["PolicyArn"])


def _allowed(call: Callable[[], T]) -> T | None:
    """What `call` answers, or None (not known) where the operator may not read it."""
    try:
        return call()
    except ClientError as error:
        if code_of(error) in ("AccessDenied", "AccessDeniedException"):
            return None
        raise


def _inline(iam: Any, role: str) -> Iterable[Policy]:
    for page in iam.get_paginator("list_role_policies").paginate(RoleName=role):
        for name in page["PolicyNames"]:
            answer = iam.get_role_policy(RoleName=role, PolicyName=name)
            yield _identity(answer["PolicyDocument"], name)


def _attached(iam: Any, role: str) -> Iterable[Policy]:
    for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName=role):
        for policy in page["AttachedPolicies"]:
            yield _managed(iam, policy["PolicyArn"])


def _managed(iam: Any, arn: str) -> Policy:
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    answer = iam.get_policy_version(PolicyArn=arn, VersionId=version)
    return _identity(answer["PolicyVersion"]["Document"], arn)


def _identity(document: Any, name: str) -> Policy:
    text = unquote(document) if isinstance(document, str) else document
    return parse_policy(text, kind="identity", name=name)


def _key_policy(kms: Any, key_arn: str) -> Policy:
    text = kms.get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"]
    return parse_policy(text, kind="resource", name="key policy")


def _grants(kms: Any, key_arn: str) -> Iterable[Grant]:
    for page in kms.get_paginator("list_grants").paginate(KeyId=key_arn):
        for grant in page["Grants"]:
            constraints = grant.get("Constraints", {})
            yield Grant(
                grant["GrantId"],
                grant["GranteePrincipal"],
                frozenset(grant["Operations"]),
                constraints.get("EncryptionContextSubset"),
                constraints.get("EncryptionContextEquals"),
                key_arn,
            )
