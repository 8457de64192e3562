"""Which permissions each IAM operation needs: action, resource ARN, condition keys.

The keys of TABLE are the operations that the sandbox serves.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html
(actions, resource types, condition keys). That page gives lists no resource type; the ARN used for
them (``role/``, ``user/``, …) is the one that IAM names in its refusals. "role NAME", as which IAM
names an existing role there, is written as its ARN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from iamaccess import ContextValue

from awssandbox.call import Access, Call
from awssandbox.errors import not_imitated
from awssandbox.iam import errors, mfa

Context = dict[str, ContextValue]
Rule = Callable[[Call], Sequence[Access]]

EC2: Final = "ec2.amazonaws.com"


def user_name(call: Call) -> str:
    """The user that a call is about: the caller, when it names none.

    Raises AwsError (ValidationError) for a caller that is not a user.
    Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetUser.html
    """
    named = call.parameters.get("UserName") or call.caller.user_name
    if named is None:
        raise errors.validation("Must specify userName when calling with non-User credentials")
    return str(named)


# Parts of the table ------------------------------------------------------------------------------


def _arn(call: Call, kind: str, path: str, name: str) -> str:
    return f"arn:{call.world.partition}:iam::{call.account}:{kind}{path}{name}"


def _name(call: Call, kind: str) -> str:
    if kind == "user":
        return user_name(call)
    members = {
        "role": "RoleName",
        "group": "GroupName",
        "policy": "PolicyArn",
        "instance-profile": "InstanceProfileName",
    }
    return str(call.parameters[members[kind]])


def _existing(call: Call, kind: str) -> tuple[str, Context]:
    """The ARN of what a call names, with its real path, and the condition keys of its tags."""
    name = _name(call, kind)
    found = call.world.iam.resource(call.account, kind, name)
    if found is None:
        return (name if kind == "policy" else _arn(call, kind, "/", name)), {}
    arn, tags = found
    context: Context = {f"aws:ResourceTag/{key}": value for key, value in tags.items()}
    if kind in ("user", "role"):
        context |= {f"iam:ResourceTag/{key}": value for key, value in tags.items()}
    return arn, context


def _boundary(call: Call, kind: str) -> Context:
    """The boundary that a user or role has."""
    lookup = call.world.iam.user if kind == "user" else call.world.iam.role
    found = lookup(call.account, _name(call, kind))
    if found is None or not found.boundary:
        return {}
    return {"iam:PermissionsBoundary": found.boundary[0][0]}


def _tags(tags: Iterable[Mapping[str, str]]) -> Context:
    context: Context = {f"aws:RequestTag/{tag['Key']}": tag["Value"] for tag in tags}
    keys = [tag["Key"] for tag in tags]
    return context | ({"aws:TagKeys": keys} if keys else {})


def _on(kind: str, *, bounded: bool = False, attaches: bool = False) -> Rule:
    """On an existing user, role, group, policy or instance profile.

    `bounded`: with the key ``iam:PermissionsBoundary``; `attaches`: with ``iam:PolicyARN``.
    """

    def rule(call: Call) -> Sequence[Access]:
        arn, context = _existing(call, kind)
        if bounded:
            asked = call.parameters.get("PermissionsBoundary")
            context |= {"iam:PermissionsBoundary": asked} if asked else _boundary(call, kind)
        if attaches:
            context["iam:PolicyARN"] = call.parameters["PolicyArn"]
        if "Tags" in call.parameters:
            context |= _tags(call.parameters["Tags"])
        if "TagKeys" in call.parameters:
            context["aws:TagKeys"] = list(call.parameters["TagKeys"])
        return [Access(f"iam:{call.operation}", arn, context)]

    return rule


def _new(kind: str, member: str, tag_action: str | None = None) -> Rule:
    """On what is to be made; with tags, the permission to tag it too.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags_roles.html
    """

    def rule(call: Call) -> Sequence[Access]:
        given: Mapping[str, Any] = call.parameters
        arn = _arn(call, kind, given.get("Path", "/"), given[member])
        context = _tags(given.get("Tags", ()))
        tagged = [Access(f"iam:{tag_action}", arn, dict(context))] if context else []
        if "PermissionsBoundary" in given:
            context["iam:PermissionsBoundary"] = given["PermissionsBoundary"]
        return [Access(f"iam:{call.operation}", arn, context), *tagged]

    return rule


def _list(kind: str) -> Rule:
    def rule(call: Call) -> Sequence[Access]:
        arn = _arn(call, kind, call.parameters.get("PathPrefix", "/"), "")
        return [Access(f"iam:{call.operation}", arn)]

    return rule


def _anywhere(call: Call) -> Sequence[Access]:
    return [Access(f"iam:{call.operation}")]


def _add_role(call: Call) -> Sequence[Access]:
    """Who gives a role to instances also passes it to EC2.

    Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_AddRoleToInstanceProfile.html
    """
    profile, context = _existing(call, "instance-profile")
    role, tags = _existing(call, "role")
    return [
        Access("iam:AddRoleToInstanceProfile", profile, context),
        Access("iam:PassRole", role, {**tags, "iam:PassedToService": EC2}),
    ]


def _new_device(call: Call) -> Sequence[Access]:
    if call.parameters.get("Tags"):
        raise not_imitated("tags of MFA devices")
    return [Access("iam:CreateVirtualMFADevice", mfa.serial_number(call))]


def _on_device(call: Call) -> Sequence[Access]:
    return [Access("iam:DeleteVirtualMFADevice", call.parameters["SerialNumber"])]


# The table ---------------------------------------------------------------------------------------

TABLE: Final[Mapping[str, Rule]] = {
    # users
    "CreateUser": _new("user", "UserName", "TagUser"),
    "GetUser": _on("user"),
    "DeleteUser": _on("user"),
    "ListUsers": _list("user"),
    "TagUser": _on("user"),
    "UntagUser": _on("user"),
    "ListUserTags": _on("user"),
    "PutUserPermissionsBoundary": _on("user", bounded=True),
    "DeleteUserPermissionsBoundary": _on("user", bounded=True),
    "PutUserPolicy": _on("user", bounded=True),
    "GetUserPolicy": _on("user"),
    "DeleteUserPolicy": _on("user", bounded=True),
    "ListUserPolicies": _on("user"),
    "AttachUserPolicy": _on("user", bounded=True, attaches=True),
    "DetachUserPolicy": _on("user", bounded=True, attaches=True),
    "ListAttachedUserPolicies": _on("user"),
    "ListGroupsForUser": _on("user"),
    "CreateAccessKey": _on("user"),
    "ListAccessKeys": _on("user"),
    "UpdateAccessKey": _on("user"),
    "DeleteAccessKey": _on("user"),
    # MFA
    "CreateVirtualMFADevice": _new_device,
    "DeleteVirtualMFADevice": _on_device,
    "EnableMFADevice": _on("user"),
    "DeactivateMFADevice": _on("user"),
    "ListMFADevices": _on("user"),
    "ListVirtualMFADevices": _anywhere,
    # groups
    "CreateGroup": _new("group", "GroupName"),
    "GetGroup": _on("group"),
    "DeleteGroup": _on("group"),
    "ListGroups": _list("group"),
    "AddUserToGroup": _on("group"),
    "RemoveUserFromGroup": _on("group"),
    "PutGroupPolicy": _on("group"),
    "GetGroupPolicy": _on("group"),
    "DeleteGroupPolicy": _on("group"),
    "ListGroupPolicies": _on("group"),
    "AttachGroupPolicy": _on("group", attaches=True),
    "DetachGroupPolicy": _on("group", attaches=True),
    "ListAttachedGroupPolicies": _on("group"),
    # roles
    "CreateRole": _new("role", "RoleName", "TagRole"),
    "GetRole": _on("role"),
    "DeleteRole": _on("role"),
    "ListRoles": _list("role"),
    "UpdateRole": _on("role"),
    "UpdateRoleDescription": _on("role"),
    "UpdateAssumeRolePolicy": _on("role"),
    "TagRole": _on("role"),
    "UntagRole": _on("role"),
    "ListRoleTags": _on("role"),
    "PutRolePermissionsBoundary": _on("role", bounded=True),
    "DeleteRolePermissionsBoundary": _on("role", bounded=True),
    "PutRolePolicy": _on("role", bounded=True),
    "GetRolePolicy": _on("role"),
    "DeleteRolePolicy": _on("role", bounded=True),
    "ListRolePolicies": _on("role"),
    "AttachRolePolicy": _on("role", bounded=True, attaches=True),
    "DetachRolePolicy": _on("role", bounded=True, attaches=True),
    "ListAttachedRolePolicies": _on("role"),
    # managed policies
    "CreatePolicy": _new("policy", "PolicyName", "TagPolicy"),
    "GetPolicy": _on("policy"),
    "DeletePolicy": _on("policy"),
    "ListPolicies": _anywhere,
    "CreatePolicyVersion": _on("policy"),
    "GetPolicyVersion": _on("policy"),
    "DeletePolicyVersion": _on("policy"),
    "ListPolicyVersions": _on("policy"),
    "SetDefaultPolicyVersion": _on("policy"),
    "TagPolicy": _on("policy"),
    "UntagPolicy": _on("policy"),
    "ListPolicyTags": _on("policy"),
    # instance profiles
    "CreateInstanceProfile": _new("instance-profile", "InstanceProfileName", "TagInstanceProfile"),
    "GetInstanceProfile": _on("instance-profile"),
    "DeleteInstanceProfile": _on("instance-profile"),
    "ListInstanceProfiles": _list("instance-profile"),
    "ListInstanceProfilesForRole": _on("role"),
    "AddRoleToInstanceProfile": _add_role,
    "RemoveRoleFromInstanceProfile": _on("instance-profile"),
    # the account
    "CreateAccountAlias": _anywhere,
    "DeleteAccountAlias": _anywhere,
    "ListAccountAliases": _anywhere,
    "GetAccountSummary": _anywhere,
}
