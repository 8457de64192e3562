"""Reads the policies that decide over a key and a role. What cannot be read is not known: None."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import unquote

from botocore.exceptions import ClientError
from iamaccess import Grant, Policies, Policy, parse_policy

from keyrunbook.access import Read
from keyrunbook.aws.clients import Clients
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
    boundary = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    policies = Policies(
        identity=_allowed(lambda: [*_inline(iam, role_name), *_attached(iam, role_name)]),
        resource=_allowed(lambda: [_key_policy(clients("kms"), key_arn)]),
        grants=_allowed(lambda: list(_grants(clients("kms"), key_arn))),
        boundary=_allowed(lambda: [_managed(iam, boundary)] if boundary else []),
        session=(),
        service_control=() if clients.sandbox else None,
        resource_control=() if clients.sandbox else None,
    )
    return Read(role["Arn"], role["RoleId"], key_arn, policies)


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
