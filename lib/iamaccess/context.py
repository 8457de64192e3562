"""The condition keys that follow from who asks and for what: IAM puts them into each request.

Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from iamaccess.model import ContextValue, Principal, Request
from iamaccess.principals import ACCOUNT

_TYPES: Final[Mapping[str, str]] = {
    "root": "Account",
    "user": "User",
    "role": "AssumedRole",
    "session": "AssumedRole",
    "anonymous": "Anonymous",
}


def derived(request: Request) -> dict[str, ContextValue]:
    """The keys that a request surely has; those that its own context holds are not among them.

    For a role, or a session of one, `aws:PrincipalArn` is the role's ARN, path included. For KMS
    there is `kms:CallerAccount` too.
    """
    keys = _of_principal(request.principal)
    if request.action.lower().startswith("kms:") and request.principal.account:
        keys["kms:CallerAccount"] = request.principal.account
    if owner := request.resource_account or _owner(request.resource):
        keys["aws:ResourceAccount"] = owner
    told = {key.lower() for key in request.context}
    return {key: value for key, value in keys.items() if key.lower() not in told}


def _owner(arn: str) -> str | None:
    fields = arn.split(":", 5)
    return fields[4] if len(fields) == 6 and ACCOUNT.fullmatch(fields[4]) else None


def _of_principal(who: Principal) -> dict[str, ContextValue]:
    if who.kind == "service":
        return {"aws:PrincipalIsAWSService": True, "aws:PrincipalServiceName": who.arn}
    keys: dict[str, ContextValue] = {"aws:PrincipalIsAWSService": False}
    federated = ":federated-user/" in who.arn
    if who.kind in _TYPES:
        keys["aws:PrincipalType"] = "FederatedUser" if federated else _TYPES[who.kind]
    if who.kind not in ("anonymous", "federated"):
        keys["aws:PrincipalArn"] = who.arn if federated else who.role_arn or who.arn
    if who.account:
        keys["aws:PrincipalAccount"] = who.account
    if who.kind == "user":
        keys["aws:username"] = who.arn.rsplit("/", 1)[-1]
    if (userid := _userid(who, federated)) is not None:
        keys["aws:userid"] = userid
    return keys


def _userid(who: Principal, federated: bool) -> str | None:
    """`aws:userid`; None where the principal does not tell it."""
    name = who.arn.rsplit("/", 1)[-1]
    if who.kind == "root":
        return who.account
    if federated:
        return f"{who.account}:{name}"
    if who.unique_id and who.kind == "session":
        return f"{who.unique_id}:{name}"
    return who.unique_id if who.kind == "user" else None
