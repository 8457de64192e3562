"""What IAM refuses though the caller may, what it lists, and what it leaves in CloudTrail.

Sources: https://docs.aws.amazon.com/IAM/latest/APIReference/ (each action),
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import ACCOUNT, OTHER, START, Sandbox, allow, document, refusal, trust

ROOT = f"arn:aws:iam::{ACCOUNT}:root"
TRUST = document(trust({"AWS": ROOT}))
ALLOW = document(allow("s3:*"))
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
POLICY = f"arn:aws:iam::{ACCOUNT}:policy/Policy"


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox()


def run(sandbox: Sandbox, *calls: tuple[str, dict[str, Any]]) -> Any:
    """Make calls as the account's root user; the last one's answer."""
    iam = sandbox.client("iam")
    answer = None
    for operation, parameters in calls:
        answer = iam._make_api_call(operation, parameters)
    return answer


ROLE = ("CreateRole", {"RoleName": "Role", "AssumeRolePolicyDocument": TRUST})
USER = ("CreateUser", {"UserName": "User"})
GROUP = ("CreateGroup", {"GroupName": "Group"})
MANAGED = ("CreatePolicy", {"PolicyName": "Policy", "PolicyDocument": ALLOW})
PROFILE = ("CreateInstanceProfile", {"InstanceProfileName": "Profile"})
VERSION = ("CreatePolicyVersion", {"PolicyArn": POLICY, "PolicyDocument": ALLOW})


def renamed(call: tuple[str, dict[str, Any]], member: str, name: str) -> Any:
    return call[0], {**call[1], member: name}


MISSING: list[tuple[str, dict[str, Any], str]] = [
    ("GetRole", {"RoleName": "No"}, "The role with name No cannot be found."),
    ("GetUser", {"UserName": "No"}, "The user with name No cannot be found."),
    ("GetGroup", {"GroupName": "No"}, "The group with name No cannot be found."),
    (
        "GetRolePolicy",
        {"RoleName": "Role", "PolicyName": "No"},
        "The role policy with name No cannot be found.",
    ),
    (
        "DeleteRolePolicy",
        {"RoleName": "Role", "PolicyName": "No"},
        "The role policy with name No cannot be found.",
    ),
    (
        "GetUserPolicy",
        {"UserName": "User", "PolicyName": "No"},
        "The user policy with name No cannot be found.",
    ),
    (
        "DeleteGroupPolicy",
        {"GroupName": "Group", "PolicyName": "No"},
        "The group policy with name No cannot be found.",
    ),
    ("GetPolicy", {"PolicyArn": f"{POLICY}No"}, f"Policy {POLICY}No was not found."),
    (
        "GetPolicyVersion",
        {"PolicyArn": POLICY, "VersionId": "v9"},
        f"Policy {POLICY} version v9 does not exist or is not attachable.",
    ),
    (
        "AttachRolePolicy",
        {"RoleName": "Role", "PolicyArn": f"{POLICY}No"},
        f"Policy {POLICY}No does not exist or is not attachable.",
    ),
    (
        "AttachGroupPolicy",
        {"GroupName": "Group", "PolicyArn": f"{POLICY}No"},
        f"Policy {POLICY}No does not exist or is not attachable.",
    ),
    (
        "DetachRolePolicy",
        {"RoleName": "Role", "PolicyArn": POLICY},
        f"Policy {POLICY} was not found.",
    ),
    (
        "PutUserPermissionsBoundary",
        {"UserName": "User", "PermissionsBoundary": f"{POLICY}No"},
        f"Scope ARN: {POLICY}No does not exist or is not attachable.",
    ),
    (
        "PutUserPermissionsBoundary",
        {"UserName": "No", "PermissionsBoundary": POLICY},
        "The user with name No cannot be found.",
    ),
    (
        "CreateRole",
        {"RoleName": "N", "AssumeRolePolicyDocument": TRUST, "PermissionsBoundary": f"{POLICY}No"},
        f"Scope ARN: {POLICY}No does not exist or is not attachable.",
    ),
    (
        "DeleteAccessKey",
        {"UserName": "User", "AccessKeyId": "AKIAIOSFODNN7EXAMPLE"},
        "The Access Key with id AKIAIOSFODNN7EXAMPLE cannot be found",
    ),
    (
        "GetInstanceProfile",
        {"InstanceProfileName": "No"},
        "Instance Profile No cannot be found.",
    ),
]


@pytest.mark.parametrize(("operation", "parameters", "text"), MISSING)
def test_what_is_not_there(
    sandbox: Sandbox, operation: str, parameters: dict[str, Any], text: str
) -> None:
    run(sandbox, ROLE, USER, GROUP, MANAGED)
    said = refusal(lambda: run(sandbox, (operation, parameters)))
    assert said == ("NoSuchEntity", text, 404)


@pytest.mark.parametrize(
    ("made", "member", "text"),
    [
        (ROLE, "RoleName", "Role with name {} already exists."),
        (USER, "UserName", "User with name {} already exists."),
        (GROUP, "GroupName", "Group with name {} already exists."),
        (PROFILE, "InstanceProfileName", "Instance Profile {} already exists."),
        (
            MANAGED,
            "PolicyName",
            "A policy called {} already exists. Duplicate names are not allowed.",
        ),
    ],
)
def test_a_name_is_taken_in_any_letter_case_and_in_its_account_only(
    sandbox: Sandbox, made: Any, member: str, text: str
) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""
    run(sandbox, made)
    for name in (made[1][member], made[1][member].upper()):
        said = refusal(lambda name=name: run(sandbox, renamed(made, member, name)))
        assert said == ("EntityAlreadyExists", text.format(name), 409)
    elsewhere = {**made[1]}
    if "AssumeRolePolicyDocument" in elsewhere:
        elsewhere["AssumeRolePolicyDocument"] = document(trust({"AWS": OTHER}))
    sandbox.client("iam", sandbox.root(OTHER))._make_api_call(made[0], elsewhere)


IN_USE: list[tuple[list[Any], Any, str]] = [
    (
        [USER, ("CreateAccessKey", {"UserName": "User"})],
        ("DeleteUser", {"UserName": "User"}),
        "Cannot delete entity, must delete access keys first.",
    ),
    (
        [USER, GROUP, ("AddUserToGroup", {"UserName": "User", "GroupName": "Group"})],
        ("DeleteUser", {"UserName": "User"}),
        "Cannot delete entity, must remove user from groups first.",
    ),
    (
        [USER, ("AttachUserPolicy", {"UserName": "User", "PolicyArn": ADMINISTRATOR})],
        ("DeleteUser", {"UserName": "User"}),
        "Cannot delete entity, must detach all policies first.",
    ),
    (
        [USER, GROUP, ("AddUserToGroup", {"UserName": "User", "GroupName": "Group"})],
        ("DeleteGroup", {"GroupName": "Group"}),
        "Cannot delete entity, must remove users from group first.",
    ),
    (
        [
            GROUP,
            ("PutGroupPolicy", {"GroupName": "Group", "PolicyName": "p", "PolicyDocument": ALLOW}),
        ],
        ("DeleteGroup", {"GroupName": "Group"}),
        "Cannot delete entity, must delete policies first.",
    ),
    (
        [
            ROLE,
            ("PutRolePolicy", {"RoleName": "Role", "PolicyName": "p", "PolicyDocument": ALLOW}),
        ],
        ("DeleteRole", {"RoleName": "Role"}),
        "Cannot delete entity, must delete policies first.",
    ),
    (
        [
            ROLE,
            PROFILE,
            (
                "AddRoleToInstanceProfile",
                {"RoleName": "Role", "InstanceProfileName": "Profile"},
            ),
        ],
        ("DeleteRole", {"RoleName": "Role"}),
        "Cannot delete entity, must remove roles from instance profile first.",
    ),
    (
        [ROLE, MANAGED, ("AttachRolePolicy", {"RoleName": "Role", "PolicyArn": POLICY})],
        ("DeletePolicy", {"PolicyArn": POLICY}),
        "Cannot delete a policy attached to entities.",
    ),
    (
        [
            USER,
            MANAGED,
            (
                "PutUserPermissionsBoundary",
                {"UserName": "User", "PermissionsBoundary": POLICY},
            ),
        ],
        ("DeletePolicy", {"PolicyArn": POLICY}),
        "Cannot delete a policy attached to entities.",
    ),
    (
        [MANAGED, VERSION],
        ("DeletePolicy", {"PolicyArn": POLICY}),
        "This policy has more than one version. Before you delete a policy, you must delete the "
        "policy's versions. The default version is deleted with the policy.",
    ),
    (
        [MANAGED],
        ("DeletePolicyVersion", {"PolicyArn": POLICY, "VersionId": "v1"}),
        "Cannot delete the default version of a policy.",
    ),
]


@pytest.mark.parametrize(("before", "deletion", "text"), IN_USE)
def test_what_is_in_use_is_not_deleted(
    sandbox: Sandbox, before: list[Any], deletion: Any, text: str
) -> None:
    run(sandbox, *before)
    assert refusal(lambda: run(sandbox, deletion)) == ("DeleteConflict", text, 409)


def test_what_is_not_in_use_is_deleted(sandbox: Sandbox) -> None:
    run(sandbox, ROLE, USER, GROUP, MANAGED, PROFILE)
    run(
        sandbox,
        ("AttachRolePolicy", {"RoleName": "Role", "PolicyArn": POLICY}),
        ("DetachRolePolicy", {"RoleName": "Role", "PolicyArn": POLICY}),
        ("PutUserPermissionsBoundary", {"UserName": "User", "PermissionsBoundary": POLICY}),
        ("DeleteUserPermissionsBoundary", {"UserName": "User"}),
        ("DeleteRole", {"RoleName": "Role"}),
        ("DeleteUser", {"UserName": "User"}),
        ("DeleteGroup", {"GroupName": "Group"}),
        ("DeletePolicy", {"PolicyArn": POLICY}),
        ("DeleteInstanceProfile", {"InstanceProfileName": "Profile"}),
    )
    iam = sandbox.client("iam")
    assert iam.list_roles()["Roles"] == iam.list_users()["Users"] == []
    assert iam.list_policies(Scope="Local")["Policies"] == []


def test_attaching_twice_is_attaching_once(sandbox: Sandbox) -> None:
    attach = ("AttachRolePolicy", {"RoleName": "Role", "PolicyArn": POLICY})
    run(sandbox, ROLE, MANAGED, attach, attach)
    policy = run(sandbox, ("GetPolicy", {"PolicyArn": POLICY}))["Policy"]
    assert policy["AttachmentCount"] == 1


QUOTAS: list[tuple[Any, list[Any], str]] = [
    (
        USER,
        [("CreateAccessKey", {"UserName": "User"})] * 3,
        "Cannot exceed quota for AccessKeysPerUser: 2",
    ),
    (
        MANAGED,
        [VERSION] * 5,
        "A managed policy can have up to 5 versions. Before you create a new version, you must "
        "delete an existing version.",
    ),
    (
        ROLE,
        [
            call
            for number in range(11)
            for call in (
                renamed(MANAGED, "PolicyName", f"p{number}"),
                (
                    "AttachRolePolicy",
                    {"RoleName": "Role", "PolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/p{number}"},
                ),
            )
        ],
        "Cannot exceed quota for PoliciesPerRole: 10",
    ),
]


@pytest.mark.parametrize(("made", "calls", "text"), QUOTAS)
def test_quotas(sandbox: Sandbox, made: Any, calls: list[Any], text: str) -> None:
    run(sandbox, made, *calls[:-1])
    assert refusal(lambda: run(sandbox, calls[-1])) == ("LimitExceeded", text, 409)


def test_what_is_attached_already_counts_once(sandbox: Sandbox) -> None:
    made, calls, _ = QUOTAS[2]
    run(sandbox, made, *calls[:-2], calls[1])
    attached = run(sandbox, ("ListAttachedRolePolicies", {"RoleName": "Role"}))["AttachedPolicies"]
    assert len(attached) == 10


def test_policies_are_not_listed_by_usage(sandbox: Sandbox) -> None:
    """moto would ignore the filter."""
    asked = ("ListPolicies", {"PolicyUsageFilter": "PermissionsBoundary"})
    assert refusal(lambda: run(sandbox, asked))[0] == "NotImplemented"


def test_awss_own_policies_cannot_be_changed(sandbox: Sandbox) -> None:
    change = ("CreatePolicyVersion", {"PolicyArn": ADMINISTRATOR, "PolicyDocument": ALLOW})
    assert refusal(lambda: run(sandbox, change))[0] == "ValidationError"
    shown = run(sandbox, ("GetPolicyVersion", {"PolicyArn": ADMINISTRATOR, "VersionId": "v1"}))
    assert shown["PolicyVersion"]["Document"]["Statement"] == [
        {"Effect": "Allow", "Action": "*", "Resource": "*"}
    ]


def test_tags_differ_in_more_than_letter_case(sandbox: Sandbox) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html"""
    tags = [{"Key": "Team", "Value": "a"}, {"Key": "team", "Value": "b"}]
    said = refusal(lambda: run(sandbox, ("CreateUser", {"UserName": "User", "Tags": tags})))
    assert said[:2] == (
        "InvalidInput",
        "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
    )


def test_update_role_leaves_what_is_not_given(sandbox: Sandbox) -> None:
    run(sandbox, (ROLE[0], {**ROLE[1], "Description": "builds", "MaxSessionDuration": 7200}))
    run(sandbox, ("UpdateRole", {"RoleName": "Role", "MaxSessionDuration": 43_200}))
    role = run(sandbox, ("GetRole", {"RoleName": "Role"}))["Role"]
    assert (role["Description"], role["MaxSessionDuration"]) == ("builds", 43_200)


# Lists -------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.text("abcXYZ019", min_size=1, max_size=5), max_size=8, unique_by=str.lower),
    st.integers(1, 9),
)
def test_pages_hold_everything_once_in_order(names: list[str], size: int) -> None:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListRoles.html"""
    sandbox = Sandbox()
    iam = sandbox.client("iam")
    for name in names:
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    pages = iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": size})
    found = [[role["RoleName"] for role in page["Roles"]] for page in pages]
    assert [name for page in found for name in page] == sorted(names)
    assert all(len(page) <= size for page in found)


@pytest.mark.parametrize(
    ("operation", "member"),
    [
        ("ListRoles", "Roles"),
        ("ListUsers", "Users"),
        ("ListGroups", "Groups"),
        ("ListPolicies", "Policies"),
        ("ListInstanceProfiles", "InstanceProfiles"),
    ],
)
def test_a_path_prefix_selects(sandbox: Sandbox, operation: str, member: str) -> None:
    for call in (ROLE, USER, GROUP, MANAGED, PROFILE):
        run(sandbox, (call[0], {**call[1], "Path": "/team/build/"}))
    assert len(run(sandbox, (operation, {"PathPrefix": "/team/"}))[member]) == 1
    assert run(sandbox, (operation, {"PathPrefix": "/other/"}))[member] == []
    assert refusal(lambda: run(sandbox, (operation, {"Marker": "x"})))[1] == "Invalid Marker."


# Records -----------------------------------------------------------------------------------------


def test_a_role_is_recorded_as_made(sandbox: Sandbox) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/cloudtrail-integration.html"""
    made = run(sandbox, (ROLE[0], {**ROLE[1], "Path": "/team/"}))["Role"]
    record = sandbox.record("CreateRole", "us-east-1")
    assert record["eventSource"] == "iam.amazonaws.com"
    assert record["awsRegion"] == "us-east-1"
    assert record["readOnly"] is False
    assert record["requestParameters"] == {
        "roleName": "Role",
        "path": "/team/",
        "assumeRolePolicyDocument": TRUST,
    }
    role = record["responseElements"]["role"]
    assert role["arn"] == f"arn:aws:iam::{ACCOUNT}:role/team/Role"
    assert role["roleId"] == made["RoleId"]
    assert role["createDate"] == "Jan 31, 2026, 9:00:00 AM"
    assert role["assumeRolePolicyDocument"].startswith("%7B%22Version%22%3A")


def test_a_policy_is_recorded_as_sent_and_answers_null(sandbox: Sandbox) -> None:
    put = {"RoleName": "Role", "PolicyName": "p", "PolicyDocument": ALLOW}
    run(sandbox, ROLE, ("PutRolePolicy", put))
    record = sandbox.record("PutRolePolicy", "us-east-1")
    assert record["requestParameters"] == {
        "roleName": "Role",
        "policyName": "p",
        "policyDocument": ALLOW,
    }
    assert record["responseElements"] is None


def test_no_record_holds_a_secret_access_key(sandbox: Sandbox) -> None:
    key = run(sandbox, USER, ("CreateAccessKey", {"UserName": "User"}))["AccessKey"]
    record = sandbox.record("CreateAccessKey", "us-east-1")
    assert record["responseElements"]["accessKey"] == {
        "accessKeyId": key["AccessKeyId"],
        "status": "Active",
        "userName": "User",
        "createDate": "Jan 31, 2026, 9:00:00 AM",
    }
    assert key["SecretAccessKey"] not in json.dumps(record)
    run(sandbox, ("ListUsers", {}))
    assert sandbox.record("ListUsers", "us-east-1")["requestParameters"] is None


# Identifiers, times, stores ----------------------------------------------------------------------


def everything(sandbox: Sandbox) -> dict[str, str]:
    """The identifiers of one of each kind."""
    found = [run(sandbox, call) for call in (ROLE, USER, GROUP, MANAGED, PROFILE)]
    key = run(sandbox, ("CreateAccessKey", {"UserName": "User"}))["AccessKey"]
    ids = {
        name: value
        for answer in found
        for thing in answer.values()
        if isinstance(thing, dict)
        for name, value in thing.items()
        if name in FORMS
    }
    return ids | {"AccessKeyId": key["AccessKeyId"], "Secret": key["SecretAccessKey"]}


FORMS = {
    "RoleId": r"AROA[A-Z2-7]{17}",
    "UserId": r"AIDA[A-Z2-7]{17}",
    "GroupId": r"AGPA[A-Z2-7]{17}",
    "PolicyId": r"ANPA[A-Z2-7]{17}",
    "InstanceProfileId": r"AIPA[A-Z2-7]{17}",
    "AccessKeyId": r"AKIA[A-Z2-7]{16}",
    "Secret": r"[A-Za-z0-9+/]{40}",
}
"""Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html"""


def test_identifiers_come_from_the_seed_and_polling_moves_none() -> None:
    first, again, other, secret = (Sandbox(seed=seed) for seed in (1, 1, 2, None))
    again.client("iam").list_roles()
    made = everything(first)
    assert made.keys() == FORMS.keys()
    assert all(re.fullmatch(FORMS[name], value) for name, value in made.items())
    assert everything(again) == made
    for one in (other, secret):
        assert not set(everything(one).values()) & set(made.values())


def test_a_role_made_again_is_another(sandbox: Sandbox) -> None:
    first = run(sandbox, ROLE)["Role"]["RoleId"]
    second = run(sandbox, ("DeleteRole", {"RoleName": "Role"}), ROLE)["Role"]["RoleId"]
    assert first != second


def test_times_are_the_sandboxs(sandbox: Sandbox) -> None:
    run(sandbox, ROLE, MANAGED)
    shown = [
        run(sandbox, ("GetRole", {"RoleName": "Role"}))["Role"]["CreateDate"],
        run(sandbox, ("GetPolicy", {"PolicyArn": POLICY}))["Policy"]["UpdateDate"],
        run(sandbox, ("ListPolicyVersions", {"PolicyArn": POLICY}))["Versions"][0]["CreateDate"],
    ]
    assert all(abs((time - START).total_seconds()) < 60 for time in shown)


def test_two_sandboxes_of_one_process_share_nothing() -> None:
    """moto's store is one for the process."""
    first, second = Sandbox(), Sandbox()
    run(first, ROLE)
    run(second, USER)
    assert run(first, ("ListUsers", {}))["Users"] == []
    assert run(second, ("ListRoles", {}))["Roles"] == []
    assert run(first, ("ListRoles", {}))["Roles"][0]["RoleName"] == "Role"
    assert second.world.iam.find(f"arn:aws:iam::{ACCOUNT}:role/Role") is None
    assert first.world.iam.find(f"arn:aws:iam::{ACCOUNT}:role/Role") is not None


@pytest.mark.parametrize(
    ("arn", "there"),
    [
        (f"arn:aws:iam::{ACCOUNT}:role/team/Role", True),
        (f"arn:aws:iam::{ACCOUNT}:role/Role", False),
        (f"arn:aws:iam::{ACCOUNT}:user/team/Role", False),
        (f"arn:aws:iam::{OTHER}:role/team/Role", False),
        ("nonsense", False),
    ],
)
def test_a_principal_is_found_by_its_arn_with_its_path(
    sandbox: Sandbox, arn: str, there: bool
) -> None:
    made = run(sandbox, (ROLE[0], {**ROLE[1], "Path": "/team/"}))["Role"]
    iam = sandbox.world.iam
    assert (iam.find(arn) is not None) is there
    assert iam.unique_id(arn) == (made["RoleId"] if there else None)
    assert iam.arn(made["RoleId"]) == made["Arn"]
    assert iam.unique_id(f"arn:aws:sts::{ACCOUNT}:assumed-role/Role/s") == f"{made['RoleId']}:s"
    assert iam.accounts() == (ACCOUNT,)


def test_a_user_has_its_groups_policies_and_its_boundary(sandbox: Sandbox) -> None:
    run(
        sandbox,
        USER,
        GROUP,
        MANAGED,
        ("PutUserPolicy", {"UserName": "User", "PolicyName": "own", "PolicyDocument": ALLOW}),
        ("PutGroupPolicy", {"GroupName": "Group", "PolicyName": "g", "PolicyDocument": ALLOW}),
        ("AttachGroupPolicy", {"GroupName": "Group", "PolicyArn": ADMINISTRATOR}),
        ("AddUserToGroup", {"GroupName": "Group", "UserName": "User"}),
        ("PutUserPermissionsBoundary", {"UserName": "User", "PermissionsBoundary": POLICY}),
    )
    user = sandbox.world.iam.user(ACCOUNT, "User")
    assert user is not None
    assert [name for name, _ in user.policies] == ["own", "g", ADMINISTRATOR]
    assert user.boundary == ((POLICY, ALLOW),)


def test_an_inactive_or_deleted_key_is_nobodys(sandbox: Sandbox) -> None:
    """https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateAccessKey.html"""
    key = run(sandbox, USER, ("CreateAccessKey", {"UserName": "User"}))["AccessKey"]
    of_it = {"UserName": "User", "AccessKeyId": key["AccessKeyId"]}
    owner = (ACCOUNT, "User", key["SecretAccessKey"])
    iam = sandbox.world.iam
    assert iam.key_owner(key["AccessKeyId"]) == owner
    run(sandbox, ("UpdateAccessKey", {**of_it, "Status": "Inactive"}))
    assert iam.key_owner(key["AccessKeyId"]) is None
    run(sandbox, ("UpdateAccessKey", {**of_it, "Status": "Active"}))
    assert iam.key_owner(key["AccessKeyId"]) == owner
    run(sandbox, ("DeleteAccessKey", of_it))
    assert iam.key_owner(key["AccessKeyId"]) is None


def test_the_environment_does_not_choose_motos_account() -> None:
    code = (
        "from awssandbox.world import World\n"
        "iam = World().iam\n"
        f"iam.administrator('{ACCOUNT}')\n"
        "print(iam.accounts())"
    )
    environment = {**os.environ, "MOTO_ACCOUNT_ID": OTHER}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"('{ACCOUNT}',)"
