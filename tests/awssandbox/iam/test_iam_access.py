"""Which permission each IAM call needs, on which ARN, with which condition keys.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html
"""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from awssandbox.iam import OPERATIONS
from awssandbox.iam.access import TABLE
from in_process import ACCOUNT, Sandbox, allow, document, refusal, trust

BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/Boundary"
OTHER_BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/Other"
POLICY = f"arn:aws:iam::{ACCOUNT}:policy/made/Policy"
TRUST = document(trust({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}))
DENY = document({"Effect": "Deny", "Action": "s3:*", "Resource": "*"})
PATHED = {"RoleName": "Pathed"}

Call = tuple[str, dict[str, Any]]


@pytest.fixture
def sandbox() -> Sandbox:
    """A role and a user under a path, a group, managed policies, an instance profile."""
    made = Sandbox()
    iam = made.client("iam")
    for name in ("Boundary", "Other"):
        iam.create_policy(PolicyName=name, PolicyDocument=DENY)
    iam.create_policy(PolicyName="Policy", Path="/made/", PolicyDocument=DENY)
    iam.create_role(
        RoleName="Pathed",
        Path="/team/build/",
        AssumeRolePolicyDocument=TRUST,
        PermissionsBoundary=BOUNDARY,
        Tags=[{"Key": "team", "Value": "build"}],
    )
    iam.put_role_policy(RoleName="Pathed", PolicyName="inline", PolicyDocument=DENY)
    iam.create_user(UserName="ann", Path="/people/", Tags=[{"Key": "team", "Value": "build"}])
    iam.create_group(GroupName="staff", Path="/people/")
    iam.create_instance_profile(InstanceProfileName="profile")
    return made


IN = f"arn:aws:iam::{ACCOUNT}:"
ROLE = f"{IN}role/team/build/Pathed"
NAMED: list[tuple[str, dict[str, Any], str]] = [
    ("GetRole", PATHED, ROLE),
    ("GetRole", {"RoleName": "Missing"}, f"{IN}role/Missing"),
    ("ListRoles", {}, f"{IN}role/"),
    ("ListRoles", {"PathPrefix": "/team/"}, f"{IN}role/team/"),
    ("ListRolePolicies", PATHED, ROLE),
    ("PutRolePolicy", {**PATHED, "PolicyName": "p", "PolicyDocument": DENY}, ROLE),
    ("UpdateAssumeRolePolicy", {**PATHED, "PolicyDocument": TRUST}, ROLE),
    (
        "CreateRole",
        {"RoleName": "New", "Path": "/a/b/", "AssumeRolePolicyDocument": TRUST},
        f"{IN}role/a/b/New",
    ),
    ("CreateRole", {"RoleName": "New", "AssumeRolePolicyDocument": TRUST}, f"{IN}role/New"),
    ("GetUser", {"UserName": "ann"}, f"{IN}user/people/ann"),
    ("CreateAccessKey", {"UserName": "ann"}, f"{IN}user/people/ann"),
    ("ListUsers", {}, f"{IN}user/"),
    ("GetGroup", {"GroupName": "staff"}, f"{IN}group/people/staff"),
    ("AddUserToGroup", {"GroupName": "staff", "UserName": "ann"}, f"{IN}group/people/staff"),
    ("GetPolicy", {"PolicyArn": POLICY}, POLICY),
    ("CreatePolicy", {"PolicyName": "n", "Path": "/x/", "PolicyDocument": DENY}, f"{IN}policy/x/n"),
    ("AttachRolePolicy", {**PATHED, "PolicyArn": POLICY}, ROLE),
    ("GetInstanceProfile", {"InstanceProfileName": "profile"}, f"{IN}instance-profile/profile"),
]


def call(sandbox: Sandbox, caller: Any, operation: str, parameters: dict[str, Any]) -> Any:
    """Make a call by its name in the API."""
    return sandbox.client("iam", caller)._make_api_call(operation, parameters)


@pytest.mark.parametrize(("operation", "parameters", "arn"), NAMED)
def test_a_call_needs_its_action_on_the_arn_with_its_path(
    sandbox: Sandbox, operation: str, parameters: dict[str, Any], arn: str
) -> None:
    nobody = sandbox.user("nobody")
    assert refusal(lambda: call(sandbox, nobody, operation, parameters)) == (
        "AccessDenied",
        f"User: {IN}user/nobody is not authorized to perform: iam:{operation} on resource: {arn} "
        f"because no identity-based policy allows the iam:{operation} action",
        403,
    )
    elsewhere = sandbox.user("elsewhere", allow(f"iam:{operation}", f"{IN}role/elsewhere/*"))
    assert refusal(lambda: call(sandbox, elsewhere, operation, parameters))[0] == "AccessDenied"
    somebody = sandbox.user("somebody", allow(f"iam:{operation}", arn))
    if parameters.get("RoleName") == "Missing":
        assert refusal(lambda: call(sandbox, somebody, operation, parameters))[0] == "NoSuchEntity"
    else:
        call(sandbox, somebody, operation, parameters)


TAGS = [{"Key": "team", "Value": "build"}]
ANN = {"UserName": "ann"}
CONDITIONS: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    ("GetRole", PATHED, {"StringEquals": {"aws:ResourceTag/team": "build"}}, True),
    ("GetRole", PATHED, {"StringEquals": {"iam:ResourceTag/team": "build"}}, True),
    ("GetRole", PATHED, {"StringEquals": {"aws:ResourceTag/team": "other"}}, False),
    ("TagRole", {**PATHED, "Tags": TAGS}, {"StringEquals": {"aws:RequestTag/team": "build"}}, True),
    (
        "TagRole",
        {**PATHED, "Tags": TAGS},
        {"ForAllValues:StringEquals": {"aws:TagKeys": ["other"]}},
        False,
    ),
    (
        "UntagUser",
        {**ANN, "TagKeys": ["team"]},
        {"ForAnyValue:StringEquals": {"aws:TagKeys": "team"}},
        True,
    ),
    (
        "AttachRolePolicy",
        {**PATHED, "PolicyArn": POLICY},
        {"ArnEquals": {"iam:PolicyARN": POLICY}},
        True,
    ),
    (
        "AttachUserPolicy",
        {**ANN, "PolicyArn": POLICY},
        {"ArnEquals": {"iam:PolicyARN": BOUNDARY}},
        False,
    ),
    (
        "PutRolePolicy",
        {**PATHED, "PolicyName": "p", "PolicyDocument": DENY},
        {"StringEquals": {"iam:PermissionsBoundary": BOUNDARY}},
        True,
    ),
    (
        "PutRolePolicy",
        {**PATHED, "PolicyName": "p", "PolicyDocument": DENY},
        {"StringEquals": {"iam:PermissionsBoundary": OTHER_BOUNDARY}},
        False,
    ),
    (
        "PutUserPolicy",
        {**ANN, "PolicyName": "p", "PolicyDocument": DENY},
        {"Null": {"iam:PermissionsBoundary": "true"}},
        True,
    ),
    (
        "PutRolePermissionsBoundary",
        {**PATHED, "PermissionsBoundary": OTHER_BOUNDARY},
        {"StringEquals": {"iam:PermissionsBoundary": OTHER_BOUNDARY}},
        True,
    ),
    (
        "CreateUser",
        {"UserName": "new", "PermissionsBoundary": BOUNDARY},
        {"StringEquals": {"iam:PermissionsBoundary": BOUNDARY}},
        True,
    ),
    (
        "CreateUser",
        {"UserName": "new"},
        {"StringEquals": {"iam:PermissionsBoundary": BOUNDARY}},
        False,
    ),
]


@pytest.mark.parametrize(("operation", "parameters", "condition", "allowed"), CONDITIONS)
def test_a_condition_sees_what_the_call_and_its_resource_have(
    sandbox: Sandbox,
    operation: str,
    parameters: dict[str, Any],
    condition: dict[str, Any],
    allowed: bool,
) -> None:
    caller = sandbox.user("caller", allow(f"iam:{operation}", Condition=condition))
    if allowed:
        call(sandbox, caller, operation, parameters)
    else:
        assert refusal(lambda: call(sandbox, caller, operation, parameters))[0] == "AccessDenied"


def test_making_with_tags_needs_the_permission_to_tag(sandbox: Sandbox) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags_roles.html"""
    creator = sandbox.user("creator", allow("iam:CreateRole"))
    asked = {"RoleName": "New", "AssumeRolePolicyDocument": TRUST, "Tags": TAGS}
    assert "iam:TagRole" in refusal(lambda: call(sandbox, creator, "CreateRole", asked))[1]
    tagger = sandbox.user("tagger", allow(["iam:CreateRole", "iam:TagRole"]))
    assert call(sandbox, tagger, "CreateRole", asked)["Role"]["Tags"] == TAGS


def test_giving_a_role_to_instances_passes_it(sandbox: Sandbox) -> None:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_AddRoleToInstanceProfile.html"""
    asked = {"InstanceProfileName": "profile", **PATHED}
    adder = sandbox.user("adder", allow("iam:AddRoleToInstanceProfile"))
    said = refusal(lambda: call(sandbox, adder, "AddRoleToInstanceProfile", asked))[1]
    assert f"iam:PassRole on resource: {ROLE}" in said


def test_a_user_needs_no_name_for_itself_and_others_do(sandbox: Sandbox) -> None:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetUser.html"""
    me = sandbox.user("me", allow("iam:*", f"{IN}user/me"))
    iam = sandbox.client("iam", me)
    assert iam.get_user()["User"]["UserName"] == "me"
    key = iam.create_access_key()["AccessKey"]
    assert iam.list_access_keys()["AccessKeyMetadata"][0]["AccessKeyId"] == key["AccessKeyId"]
    assert refusal(lambda: sandbox.client("iam").get_user()) == (
        "ValidationError",
        "Must specify userName when calling with non-User credentials",
        400,
    )


def test_the_table_holds_operations_of_iam_and_no_other_is_served(sandbox: Sandbox) -> None:
    names = botocore.session.Session().get_service_model("iam").operation_names
    assert set(TABLE) == set(OPERATIONS) <= set(names)
    assert refusal(lambda: sandbox.client("iam").list_saml_providers()) == (
        "NotImplemented",
        "The sandbox does not imitate iam:ListSAMLProviders.",
        501,
    )
