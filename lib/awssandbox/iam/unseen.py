"""IAM's reads while a schedule of faults keeps what is new from them.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from awssandbox.call import Call
from awssandbox.iam import errors
from awssandbox.late import iam_thing

_LISTED: Final[Mapping[str, tuple[str, str]]] = {
    "ListRoles": ("role", "RoleName"),
    "ListUsers": ("user", "UserName"),
    "ListPolicies": ("policy", "Arn"),
}


def check(call: Call) -> None:
    """Refuse to read what is not seen yet. Raises AwsError: NoSuchEntity."""
    asked = call.parameters
    for kind, member in (("role", "RoleName"), ("user", "UserName")):
        if member in asked and not _sees(call, kind, asked[member]):
            raise errors.not_found(f"The {kind} with name {asked[member]} cannot be found.")
    if "PolicyArn" in asked and not _sees(call, "policy", asked["PolicyArn"]):
        raise errors.not_found(f"Policy {asked['PolicyArn']} was not found.")


def role_policy(call: Call, output: Mapping[str, Any]) -> Mapping[str, Any]:
    """GetRolePolicy's output with the document that is seen. Raises AwsError: NoSuchEntity."""
    role, name = call.parameters["RoleName"], call.parameters["PolicyName"]
    current = output["PolicyDocument"]
    seen = call.world.seen(iam_thing(call, "role policy", role, name), current)
    if seen is None:
        raise errors.not_found(f"The role policy with name {name} cannot be found.")
    return output if seen is current else {**output, "PolicyDocument": quote(seen)}


def listed(call: Call, items: list[Any]) -> list[Any]:
    """The items of a list that are seen."""
    if call.operation in _LISTED:
        kind, member = _LISTED[call.operation]
        return [one for one in items if _sees(call, kind, one[member])]
    role = call.parameters.get("RoleName")
    if call.operation == "ListRolePolicies":
        return [one for one in items if _sees(call, "role policy", role, one)]
    if call.operation == "ListAttachedRolePolicies":
        return [one for one in items if _sees(call, "role policy", role, one["PolicyArn"])]
    return items


def _sees(call: Call, kind: str, *names: Any) -> bool:
    return call.world.seen(iam_thing(call, kind, *names), "there") is not None
