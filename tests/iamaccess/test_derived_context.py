"""The condition keys that follow from who asks and for what."""

from __future__ import annotations

from typing import Any

import pytest
from iamaccess import Principal, Request
from iamaccess.context import derived

ACCOUNT = "111122223333"
KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/teams/R"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/R/s"
COMMON = {"kms:CallerAccount": ACCOUNT, "aws:PrincipalAccount": ACCOUNT}


@pytest.mark.parametrize(
    ("principal", "keys"),
    [
        (
            Principal("session", SESSION, ACCOUNT, ROLE, "AROA1"),
            {
                **COMMON,
                "aws:PrincipalArn": ROLE,
                "aws:PrincipalType": "AssumedRole",
                "aws:PrincipalIsAWSService": False,
                "aws:userid": "AROA1:s",
            },
        ),
        (
            Principal("user", f"arn:aws:iam::{ACCOUNT}:user/x/U", ACCOUNT, None, "AIDA1"),
            {
                **COMMON,
                "aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:user/x/U",
                "aws:PrincipalType": "User",
                "aws:PrincipalIsAWSService": False,
                "aws:username": "U",
                "aws:userid": "AIDA1",
            },
        ),
        (
            Principal("role", ROLE, ACCOUNT, None, "AROA1"),
            {
                **COMMON,
                "aws:PrincipalArn": ROLE,
                "aws:PrincipalType": "AssumedRole",
                "aws:PrincipalIsAWSService": False,
            },
        ),
        (
            Principal("root", f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT),
            {
                **COMMON,
                "aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:root",
                "aws:PrincipalType": "Account",
                "aws:PrincipalIsAWSService": False,
                "aws:userid": ACCOUNT,
            },
        ),
        (
            Principal("service", "s3.amazonaws.com", None),
            {"aws:PrincipalIsAWSService": True, "aws:PrincipalServiceName": "s3.amazonaws.com"},
        ),
        (
            Principal("federated", "accounts.google.com", None),
            {"aws:PrincipalIsAWSService": False},
        ),
        (
            Principal("session", f"arn:aws:sts::{ACCOUNT}:federated-user/F", ACCOUNT),
            {
                **COMMON,
                "aws:PrincipalArn": f"arn:aws:sts::{ACCOUNT}:federated-user/F",
                "aws:PrincipalType": "FederatedUser",
                "aws:PrincipalIsAWSService": False,
                "aws:userid": f"{ACCOUNT}:F",
            },
        ),
        (
            Principal("anonymous", "anonymous", None),
            {"aws:PrincipalIsAWSService": False, "aws:PrincipalType": "Anonymous"},
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, Principal) else "",
)
def test_the_keys_of_a_principal(principal: Principal, keys: dict[str, Any]) -> None:
    found = derived(Request(principal, "kms:Decrypt", KEY))
    assert found == {**keys, "aws:ResourceAccount": ACCOUNT}


def test_what_the_request_tells_is_not_told_again() -> None:
    who = Principal("root", f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT)
    found = derived(Request(who, "s3:GetObject", "arn:aws:s3:::b/o", {"AWS:principalARN": "x"}))
    assert found == {
        "aws:PrincipalAccount": ACCOUNT,
        "aws:PrincipalType": "Account",
        "aws:PrincipalIsAWSService": False,
        "aws:userid": ACCOUNT,
    }
    owned = derived(Request(who, "s3:GetObject", "arn:aws:s3:::b/o", {}, "444455556666"))
    assert owned["aws:ResourceAccount"] == "444455556666"


@pytest.mark.parametrize(
    ("resource", "owner"),
    [
        (KEY, ACCOUNT),
        (f"arn:aws:logs:us-west-2:{ACCOUNT}:log-group:g:*", ACCOUNT),
        ("arn:aws:iam::aws:policy/X", None),
        ("arn:aws:s3:::bucket", None),
        ("*", None),
    ],
)
def test_the_account_of_a_resource(resource: str, owner: str | None) -> None:
    who = Principal("service", "s3.amazonaws.com", None)
    assert derived(Request(who, "KMS:decrypt", resource)).get("aws:ResourceAccount") == owner


def test_the_action_s_letter_case_does_not_count() -> None:
    who = Principal("user", f"arn:aws:iam::{ACCOUNT}:user/teams/images/U", ACCOUNT)
    keys = derived(Request(who, "KMS:Decrypt", KEY))
    assert (keys["kms:CallerAccount"], keys["aws:username"]) == (ACCOUNT, "U")
    assert "kms:CallerAccount" not in derived(Request(who, "s3:GetObject", "*"))
