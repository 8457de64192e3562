"""IAM's operations: judged by the access table and the rules, carried out by the store.

Lists are sorted by name and cut into pages here. CloudTrail records what was made without secrets,
and documents as text, percent-encoded where IAM answers them so.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/cloudtrail-integration.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from awssandbox.call import DERIVED, Answer, Call, Operation
from awssandbox.iam import errors, mfa, unseen
from awssandbox.iam.access import TABLE, user_name
from awssandbox.iam.rules import RULES, ask
from awssandbox.kms.trail import camel

PAGE: Final = 100
"""Items of a page when MaxItems is not given.

Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListRoles.html
"""

_LISTS: Final[Mapping[str, tuple[str, str | None]]] = {
    "ListUsers": ("Users", "UserName"),
    "ListGroups": ("Groups", "GroupName"),
    "ListRoles": ("Roles", "RoleName"),
    "ListPolicies": ("Policies", "PolicyName"),
    "ListInstanceProfiles": ("InstanceProfiles", "InstanceProfileName"),
    "ListInstanceProfilesForRole": ("InstanceProfiles", "InstanceProfileName"),
    "ListGroupsForUser": ("Groups", "GroupName"),
    "ListAccessKeys": ("AccessKeyMetadata", None),
    "ListUserPolicies": ("PolicyNames", ""),
    "ListGroupPolicies": ("PolicyNames", ""),
    "ListRolePolicies": ("PolicyNames", ""),
    "ListAttachedUserPolicies": ("AttachedPolicies", "PolicyName"),
    "ListAttachedGroupPolicies": ("AttachedPolicies", "PolicyName"),
    "ListAttachedRolePolicies": ("AttachedPolicies", "PolicyName"),
    "ListPolicyVersions": ("Versions", None),
    "ListUserTags": ("Tags", "Key"),
    "ListRoleTags": ("Tags", "Key"),
    "ListPolicyTags": ("Tags", "Key"),
    "GetGroup": ("Users", "UserName"),
}
"""The member that is a list, and what it is sorted by: "" the item itself, None kept in order."""

_OF_THE_CALLER: Final = frozenset(
    {"GetUser", "CreateAccessKey", "ListAccessKeys", "UpdateAccessKey", "DeleteAccessKey"}
)
_ENDLESS: Final = 1_000_000
"""Asks the store for all items."""


def _serve(call: Call) -> Answer:
    for rule in RULES.get(call.operation, ()):
        rule(call)
    given = dict(call.parameters)
    if call.operation in _OF_THE_CALLER:
        given["UserName"] = user_name(call)
    if _reads(call.operation):
        unseen.check(call)
    if call.operation.startswith("Attach") and _is_attached(call):
        return Answer()
    if call.operation == "UpdateRole":
        given = {**_current(call), **given}
    asked = DERIVED if call.parameters else None
    if call.operation in _LISTS:
        return Answer(_page(call, given), record_request=asked)
    output = ask(call, call.operation, **given)
    if call.operation == "GetRolePolicy":
        output = unseen.role_policy(call, output)
    made = None if _reads(call.operation) else _recorded(output)
    return Answer(output, record_request=asked, record_response=made)


def _is_attached(call: Call) -> bool:
    """Attaching twice changes nothing."""
    kind = call.operation.removeprefix("Attach").removesuffix("Policy")
    owner = {f"{kind}Name": call.parameters[f"{kind}Name"]}
    attached = ask(call, f"ListAttached{kind}Policies", **owner)["AttachedPolicies"]
    return any(one["PolicyArn"] == call.parameters["PolicyArn"] for one in attached)


def _current(call: Call) -> dict[str, Any]:
    """What UpdateRole leaves as it is when it is not given."""
    role = ask(call, "GetRole", RoleName=call.parameters["RoleName"])["Role"]
    return {name: role[name] for name in ("Description", "MaxSessionDuration") if name in role}


def _page(call: Call, given: Mapping[str, Any]) -> dict[str, Any]:
    member, key = _LISTS[call.operation]
    asked = {name: value for name, value in given.items() if name != "Marker"}
    asked["MaxItems"] = _ENDLESS
    output = dict(ask(call, call.operation, **asked))
    items = unseen.listed(call, output.get(member, []))
    prefix = given.get("PathPrefix", "/")
    items = [one for one in items if "Path" not in one or one["Path"].startswith(prefix)]
    if key is not None:
        items = sorted(items, key=lambda one: one[key] if key else one)
    marker, size = given.get("Marker", "0"), given.get("MaxItems", PAGE)
    if not marker.isdecimal():
        raise errors.validation("Invalid Marker.")
    start, end = int(marker), int(marker) + size
    output |= {member: items[start:end], "IsTruncated": end < len(items)}
    output.pop("Marker", None)
    return output | ({"Marker": str(end)} if end < len(items) else {})


def _recorded(output: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What CloudTrail records of an output: null for an empty one, never a secret access key."""
    shown = {name: dict(value) for name, value in output.items()}
    for value in shown.values():
        value.pop("SecretAccessKey", None)
    recorded: Mapping[str, Any] = camel(shown)
    return recorded or None


def _reads(operation: str) -> bool:
    return operation.startswith(("Get", "List"))


OPERATIONS: Final[Mapping[str, Operation]] = {
    name: Operation(
        serve=mfa.SERVED.get(name, _serve),
        access=access,
        read_only=_reads(name),
        refused_request=mfa.refused_request if name in mfa.SERVED else None,
    )
    for name, access in TABLE.items()
}
