"""What IAM refuses although the caller may: documents, names that are taken, things in use, quotas.

Each rule is checked before the store is asked to carry the operation out.

Sources: https://docs.aws.amazon.com/IAM/latest/APIReference/ (of each action) and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

from awssandbox.call import Call
from awssandbox.errors import not_imitated
from awssandbox.iam import errors, mfa
from awssandbox.iam.documents import (
    INLINE_POLICIES_SIZE,
    MANAGED_POLICY_SIZE,
    identity_policy,
    size,
    trust_policy,
)

Rule = Callable[[Call], None]

ATTACHED_POLICIES: Final = 10
"""Managed policies of a user, group or role."""


def ask(call: Call, operation: str, **parameters: Any) -> Mapping[str, Any]:
    """What the store answers to another operation."""
    found: Mapping[str, Any] = call.world.iam.run(
        call.account, operation, parameters, call.caller.principal.arn
    )
    return found


# Documents ---------------------------------------------------------------------------------------


def _inline(call: Call) -> None:
    kind = call.operation.removeprefix("Put").removesuffix("Policy")
    given = call.parameters
    identity_policy(given["PolicyDocument"])
    owner = {f"{kind}Name": given[f"{kind}Name"]}
    total = size(given["PolicyDocument"])
    for name in ask(call, f"List{kind}Policies", **owner)["PolicyNames"]:
        if name != given["PolicyName"]:
            other = ask(call, f"Get{kind}Policy", **owner, PolicyName=name)["PolicyDocument"]
            total += size(unquote(other))
    limit = INLINE_POLICIES_SIZE[kind.lower()]
    if total > limit:
        raise errors.limit_exceeded(
            f"Maximum policy size of {limit} bytes exceeded for {kind.lower()} "
            f"{given[f'{kind}Name']}"
        )


def _managed_document(call: Call) -> None:
    identity_policy(call.parameters["PolicyDocument"])
    if size(call.parameters["PolicyDocument"]) > MANAGED_POLICY_SIZE:
        raise errors.limit_exceeded(f"Cannot exceed quota for PolicySize: {MANAGED_POLICY_SIZE}")


def _trust(member: str) -> Rule:
    def rule(call: Call) -> None:
        trust_policy(call.parameters[member], call.world.iam)

    return rule


# Names, boundaries, tags -------------------------------------------------------------------------


def _free(kind: str, member: str, text: str) -> Rule:
    """Names are unique in an account whatever their letter case.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
    """

    def rule(call: Call) -> None:
        name = call.parameters[member]
        if name.lower() in {taken.lower() for taken in call.world.iam.names(call.account, kind)}:
            raise errors.exists(text.format(name))

    return rule


def _boundary(call: Call) -> None:
    arn = call.parameters.get("PermissionsBoundary")
    if arn is not None and call.world.iam.managed_policy(call.account, arn) is None:
        raise errors.no_boundary(arn)


def _tags(call: Call) -> None:
    keys = [tag["Key"].lower() for tag in call.parameters.get("Tags", ())]
    if len(set(keys)) < len(keys):
        raise errors.duplicate_tags()


# Attaching and deleting --------------------------------------------------------------------------


def _attach(call: Call) -> None:
    kind = call.operation.removeprefix("Attach").removesuffix("Policy")
    owner = {f"{kind}Name": call.parameters[f"{kind}Name"]}
    listed = ask(call, f"ListAttached{kind}Policies", **owner)["AttachedPolicies"]
    attached = {one["PolicyArn"] for one in listed} - {call.parameters["PolicyArn"]}
    if len(attached) >= ATTACHED_POLICIES:
        raise errors.limit_exceeded(
            f"Cannot exceed quota for PoliciesPer{kind}: {ATTACHED_POLICIES}"
        )


def _in_use(text: str, operation: str, member: str, list_member: str) -> Rule:
    def rule(call: Call) -> None:
        if ask(call, operation, **{member: call.parameters[member]})[list_member]:
            raise errors.conflict(f"Cannot delete entity, must {text} first.")

    return rule


def _no_mfa(call: Call) -> None:
    if mfa.mfa_of(call.world, call.account).of(call.parameters["UserName"]):
        raise errors.conflict("Cannot delete entity, must delete MFA device first.")


def _delete_policy(call: Call) -> None:
    """Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeletePolicy.html"""
    arn = call.parameters["PolicyArn"]
    _of_the_account(call)
    policy = ask(call, "GetPolicy", PolicyArn=arn)["Policy"]
    if policy["AttachmentCount"] or policy["PermissionsBoundaryUsageCount"]:
        raise errors.conflict("Cannot delete a policy attached to entities.")
    if len(ask(call, "ListPolicyVersions", PolicyArn=arn)["Versions"]) > 1:
        raise errors.conflict(
            "This policy has more than one version. Before you delete a policy, you must delete "
            "the policy's versions. The default version is deleted with the policy."
        )


def _list_policies(call: Call) -> None:
    if "PolicyUsageFilter" in call.parameters:
        raise not_imitated("lists of policies by their usage (PolicyUsageFilter)")


def _of_the_account(call: Call) -> None:
    """Only AWS changes its managed policies.

    UNCONFIRMED: the code of this refusal; the documentation says only that they cannot be changed.
    """
    arn = call.parameters["PolicyArn"]
    if arn.split(":")[4] == "aws":
        raise errors.validation(f"{arn} is managed by AWS and cannot be changed.")


RULES: Final[Mapping[str, Sequence[Rule]]] = {
    "CreateUser": (
        _free("user", "UserName", "User with name {} already exists."),
        _boundary,
        _tags,
    ),
    "CreateGroup": (_free("group", "GroupName", "Group with name {} already exists."),),
    "CreateRole": (
        _trust("AssumeRolePolicyDocument"),
        _free("role", "RoleName", "Role with name {} already exists."),
        _boundary,
        _tags,
    ),
    "CreatePolicy": (
        _managed_document,
        _free(
            "policy",
            "PolicyName",
            "A policy called {} already exists. Duplicate names are not allowed.",
        ),
        _tags,
    ),
    "CreateInstanceProfile": (
        _free("instance-profile", "InstanceProfileName", "Instance Profile {} already exists."),
        _tags,
    ),
    "UpdateAssumeRolePolicy": (_trust("PolicyDocument"),),
    "PutUserPolicy": (_inline,),
    "PutGroupPolicy": (_inline,),
    "PutRolePolicy": (_inline,),
    "CreatePolicyVersion": (_of_the_account, _managed_document),
    "DeletePolicyVersion": (_of_the_account,),
    "SetDefaultPolicyVersion": (_of_the_account,),
    "DeletePolicy": (_delete_policy,),
    "ListPolicies": (_list_policies,),
    "PutUserPermissionsBoundary": (_boundary,),
    "PutRolePermissionsBoundary": (_boundary,),
    "AttachUserPolicy": (_attach,),
    "AttachGroupPolicy": (_attach,),
    "AttachRolePolicy": (_attach,),
    "TagUser": (_tags,),
    "TagRole": (_tags,),
    "TagPolicy": (_of_the_account, _tags),
    "UntagPolicy": (_of_the_account,),
    "DeleteUser": (
        _no_mfa,
        _in_use("delete access keys", "ListAccessKeys", "UserName", "AccessKeyMetadata"),
        _in_use("remove user from groups", "ListGroupsForUser", "UserName", "Groups"),
    ),
    "DeleteGroup": (
        _in_use("remove users from group", "GetGroup", "GroupName", "Users"),
        _in_use(
            "detach all policies", "ListAttachedGroupPolicies", "GroupName", "AttachedPolicies"
        ),
        _in_use("delete policies", "ListGroupPolicies", "GroupName", "PolicyNames"),
    ),
}
"""Deletions that the store refuses itself (policies of users and roles, …) are not repeated."""
