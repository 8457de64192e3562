"""Key policies: what KMS accepts, refuses and shows; the lock-out check.

Sources: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html,
https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html,
https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from kms_setting import (
    ADMINISTRATOR,
    DELEGATION,
    OTHER_ACCOUNT,
    TRUST,
    Kms,
    allow,
    document,
    kms_served,
    outcome,
    refused,
)
from served import ACCOUNT

LOCKED_OUT = (
    "MalformedPolicyDocumentException",
    "The new key policy will not allow you to update the key policy in the future.",
)
NO_PRINCIPAL = (
    "MalformedPolicyDocumentException",
    "Policy contains a statement with one or more invalid principals.",
)
_fresh = itertools.count()


@pytest.fixture(scope="module")
def kms() -> Iterator[Kms]:
    with kms_served() as served:
        iam = served.served.client("iam")
        served.served.role("Role", TRUST)
        served.served.user("User")
        iam.create_group(GroupName="Group")
        yield served


@pytest.fixture(scope="module")
def key(kms: Kms) -> str:
    return kms.key()


def put(kms: Kms, key: str, *statements: dict[str, Any], **more: Any) -> tuple[str, str]:
    """How a policy that delegates to the account and has `statements` is refused."""
    policy = document(DELEGATION, *statements)
    return refused(kms.admin.put_key_policy, KeyId=key, Policy=policy, **more)


# Size and characters ----------------------------------------------------------------------------


def sized(size: int) -> str:
    """A policy of exactly `size` bytes."""
    policy = document(DELEGATION)
    return policy + " " * (size - len(policy))


def test_a_key_policy_has_at_most_32768_bytes(kms: Kms, key: str) -> None:
    assert outcome(kms.admin.put_key_policy, KeyId=key, Policy=sized(32_768)) == "allowed"
    for put_or_create in (kms.admin.put_key_policy, kms.admin.create_key):
        more = {"KeyId": key} if put_or_create == kms.admin.put_key_policy else {}
        assert outcome(put_or_create, Policy=sized(32_769), **more) == "LimitExceededException"
    assert outcome(kms.admin.put_key_policy, KeyId=key, Policy="") == "ValidationException"


@pytest.mark.parametrize(
    ("sid", "expected"),
    [
        ("Allow access for key administrators", "allowed"),
        ("tab\tnewline\nreturn\r", "allowed"),
        ("é ÿ ü £", "allowed"),
        ("€", "ValidationException"),
        ("Ā", "ValidationException"),
        ("\u0007", "ValidationException"),
        ("😀", "ValidationException"),
    ],
)
def test_the_characters_of_a_key_policy(kms: Kms, key: str, sid: str, expected: str) -> None:
    """Tab, line feed, return and U+0020 to U+00FF. A Sid may have spaces, which IAM's may not."""
    shown = json.dumps({**DELEGATION, "Sid": "@"}).replace("@", sid)
    if expected == "allowed" and any(c in sid for c in "\t\n\r"):
        # Control characters stand between elements: JSON's strings have none.
        shown = json.dumps(DELEGATION).replace(",", ",\t\n\r", 1)
    policy = f'{{"Version": "2012-10-17", "Statement": [{shown}]}}'
    assert outcome(kms.admin.put_key_policy, KeyId=key, Policy=policy) == expected


# What is shown ----------------------------------------------------------------------------------


def test_a_policy_is_shown_in_aws_s_layout_whatever_it_was_sent_in(kms: Kms, key: str) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyPolicy.html"""
    policy = {"Version": "2012-10-17", "Id": "x", "Statement": [DELEGATION, allow("Encrypt")]}
    policy["Statement"][1]["Principal"] = {"AWS": [ADMINISTRATOR, f"{ACCOUNT}"]}  # type: ignore[index]
    layouts = (json.dumps(policy), json.dumps(policy, indent=7), json.dumps(policy, indent=0))
    shown = set()
    for layout in layouts:
        kms.admin.put_key_policy(KeyId=key, Policy=layout)
        shown.add(kms.admin.get_key_policy(KeyId=key)["Policy"])
    (text,) = shown
    assert json.loads(text) == policy
    assert text.startswith('{\n  "Version" : "2012-10-17",\n  "Id" : "x",\n  "Statement" : [ {\n')


def test_the_only_policy_is_the_default_one(kms: Kms, key: str) -> None:
    policy = document(DELEGATION)
    put_policy, get_policy = kms.admin.put_key_policy, kms.admin.get_key_policy
    assert outcome(put_policy, KeyId=key, Policy=policy, PolicyName="default") == "allowed"
    assert outcome(get_policy, KeyId=key, PolicyName="default") == "allowed"
    gone = ("NotFoundException", "No such policy exists")
    assert refused(put_policy, KeyId=key, Policy=policy, PolicyName="other") == gone
    assert refused(get_policy, KeyId=key, PolicyName="other") == gone


# Form -------------------------------------------------------------------------------------------

MALFORMED: list[tuple[str, str]] = [
    ("no JSON", "{"),
    ("no object", "[]"),
    ("no statement", '{"Version": "2012-10-17"}'),
    ("an unknown element", document({**DELEGATION, "Conditions": {}})),
    ("another effect", document({**DELEGATION, "Effect": "Permit"})),
    ("no principal", document(DELEGATION, allow("Encrypt"))),
    ("an unknown operator", document({**DELEGATION, "Condition": {"StringMatches": {"a": "b"}}})),
    ("an unknown version", json.dumps({"Version": "2020-01-01", "Statement": [DELEGATION]})),
    ("an element twice", document(DELEGATION).replace('"Sid"', '"Effect": "Allow", "Sid"')),
]


@pytest.mark.parametrize(("what", "policy"), MALFORMED, ids=[row[0] for row in MALFORMED])
def test_a_malformed_policy_is_refused(kms: Kms, what: str, policy: str) -> None:
    made = kms.key()
    before = kms.admin.get_key_policy(KeyId=made)["Policy"]
    for bypass in (False, True):
        code, text = refused(
            kms.admin.put_key_policy,
            KeyId=made,
            Policy=policy,
            BypassPolicyLockoutSafetyCheck=bypass,
        )
        assert code == "MalformedPolicyDocumentException", what
        assert text
    assert kms.admin.get_key_policy(KeyId=made)["Policy"] == before


@pytest.mark.parametrize("element", ["Action", "Resource"])
def test_a_statement_without_action_or_resource_is_accepted_and_has_no_effect(
    kms: Kms, element: str
) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html"""
    name = f"Without{element}"
    client = kms.user(name)
    principal = {"AWS": f"arn:aws:iam::{ACCOUNT}:user/{name}"}
    whole = {**allow("Encrypt"), "Principal": principal}
    partial = {k: v for k, v in whole.items() if k != element}
    made = kms.key(partial)
    assert json.loads(kms.admin.get_key_policy(KeyId=made)["Policy"])["Statement"][1] == partial
    assert outcome(client.encrypt, KeyId=made, Plaintext=b"x") == "AccessDeniedException"
    kms.admin.put_key_policy(KeyId=made, Policy=document(DELEGATION, whole))
    assert outcome(client.encrypt, KeyId=made, Plaintext=b"x") == "allowed"


OVERLY_PERMISSIVE = [
    ("ForAllValues:StringLike", "kms:EncryptionContext:aws:imagebuilder:arn", "encryption context"),
    ("ForAllValues:StringEquals", "KMS:encryptioncontext:A", "encryption context"),
    ("ForAnyValue:StringEquals", "kms:EncryptionContext:a", "encryption context"),
    ("ForAllValues:StringEquals", "aws:RequestTag/Purpose", "tag"),
]


@pytest.mark.parametrize(("operator", "condition_key", "what"), OVERLY_PERMISSIVE)
def test_a_set_operator_on_a_single_valued_key_is_refused(
    kms: Kms, key: str, operator: str, condition_key: str, what: str
) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html"""
    statement = {
        **allow("Encrypt"),
        "Principal": {"AWS": ADMINISTRATOR},
        "Condition": {operator: {condition_key: "x"}},
    }
    used = operator.partition(":")[0]
    assert put(kms, key, statement) == (
        "MalformedPolicyDocumentException",
        f"OverlyPermissiveCondition: Using the {used} set operator with a single-valued "
        f"condition key matches requests without the specified {what} or with an unspecified "
        f"{what}. To fix, remove {used}.",
    )


def test_for_all_values_on_the_names_of_the_pairs_is_accepted(kms: Kms, key: str) -> None:
    statement = {
        **allow("Encrypt"),
        "Principal": {"AWS": ADMINISTRATOR},
        "Condition": {"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["a"]}},
    }
    policy = document(DELEGATION, statement)
    assert outcome(kms.admin.put_key_policy, KeyId=key, Policy=policy) == "allowed"


# Principals -------------------------------------------------------------------------------------

ACCEPTED = [
    {"AWS": f"arn:aws:iam::{ACCOUNT}:role/Role"},
    {"AWS": f"arn:aws:iam::{ACCOUNT}:user/User"},
    {"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/Role/session"},
    {"AWS": f"arn:aws:iam::{OTHER_ACCOUNT}:root"},
    {"AWS": ACCOUNT},
    {"AWS": "*"},
    {"Service": "imagebuilder.amazonaws.com"},
    {"AWS": [ACCOUNT, f"arn:aws:iam::{ACCOUNT}:role/Role"], "Service": "ec2.amazonaws.com"},
    "*",
]
REFUSED_PRINCIPALS = [
    {"AWS": f"arn:aws:iam::{ACCOUNT}:role/Nobody"},
    {"AWS": f"arn:aws:iam::{ACCOUNT}:user/Nobody"},
    {"AWS": f"arn:aws:iam::{ACCOUNT}:group/Group"},
    {"AWS": f"arn:aws:iam::{ACCOUNT}:role/path/Role"},
    {"AWS": f"arn:aws:iam::{ACCOUNT}:role/*"},
    {"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/Nobody/session"},
    {"AWS": f"arn:aws:iam::{OTHER_ACCOUNT}:role/Role"},
    {"AWS": "AROAAAAAAAAAAAAAAAAAA"},
    {"AWS": "AIDAAAAAAAAAAAAAAAAAA"},
    {"AWS": "Role"},
    {"AWS": [ACCOUNT, f"arn:aws:iam::{ACCOUNT}:role/Nobody"]},
    {"Service": "imagebuilder"},
]


@pytest.mark.parametrize("principal", ACCEPTED, ids=json.dumps)
def test_a_principal_that_exists(kms: Kms, key: str, principal: Any) -> None:
    statement = {"Effect": "Deny", "Principal": principal, "Action": "kms:Encrypt", "Resource": "*"}
    policy = document(DELEGATION, statement)
    assert outcome(kms.admin.put_key_policy, KeyId=key, Policy=policy) == "allowed"
    shown = json.loads(kms.admin.get_key_policy(KeyId=key)["Policy"])
    assert shown["Statement"][1]["Principal"] == principal


@pytest.mark.parametrize("principal", REFUSED_PRINCIPALS, ids=json.dumps)
def test_a_principal_that_does_not_exist(kms: Kms, key: str, principal: Any) -> None:
    """Never made, a group, a pattern, a path that is not its own, an id of nobody.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html
    """
    statement = {**allow("Encrypt"), "Principal": principal}
    assert put(kms, key, statement) == NO_PRINCIPAL
    assert put(kms, key, statement, BypassPolicyLockoutSafetyCheck=True) == NO_PRINCIPAL


def test_a_unique_id_is_shown_as_the_arn_of_its_principal(kms: Kms, key: str) -> None:
    """A deleted principal's id cannot be put again, so the policy must be mended first.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
    """
    iam = kms.served.client("iam")
    arn = kms.served.role("Passing", TRUST)
    unique_id = iam.get_role(RoleName="Passing")["Role"]["RoleId"]
    statement = {**allow("Encrypt"), "Principal": {"AWS": unique_id}}
    kms.admin.put_key_policy(KeyId=key, Policy=document(DELEGATION, statement))
    shown = kms.admin.get_key_policy(KeyId=key)["Policy"]
    assert json.loads(shown)["Statement"][1]["Principal"] == {"AWS": arn}
    iam.delete_role(RoleName="Passing")
    shown = kms.admin.get_key_policy(KeyId=key)["Policy"]
    assert json.loads(shown)["Statement"][1]["Principal"] == {"AWS": unique_id}
    assert refused(kms.admin.put_key_policy, KeyId=key, Policy=shown) == NO_PRINCIPAL


# Lock-out ---------------------------------------------------------------------------------------

PUT = allow("PutKeyPolicy")
# (what, the caller's identity policy, the new key policy's statements, outcome). {me} is the
# caller's ARN.
LOCK_OUTS: list[tuple[str, list[dict[str, Any]], list[dict[str, Any]], bool]] = [
    ("delegation, and IAM allows", [PUT], [DELEGATION], True),
    ("delegation, and IAM does not allow", [], [DELEGATION], False),
    ("no delegation, and IAM allows", [PUT], [{**PUT, "Principal": {"AWS": ADMINISTRATOR}}], False),
    ("the key policy allows the caller", [], [{**PUT, "Principal": {"AWS": "{me}"}}], True),
    (
        "the key policy allows the caller something else",
        [],
        [DELEGATION, {**allow("Encrypt"), "Principal": {"AWS": "{me}"}}],
        False,
    ),
    (
        "the key policy denies the caller",
        [PUT],
        [DELEGATION, {**PUT, "Sid": "no", "Effect": "Deny", "Principal": {"AWS": "{me}"}}],
        False,
    ),
    ("the delegation is of no key", [PUT], [{**DELEGATION, "Resource": "arn:aws:s3:::x"}], False),
    (
        "a condition that this call does not meet",
        [PUT],
        [{**DELEGATION, "Condition": {"StringEquals": {"kms:ViaService": "s3.x"}}}],
        False,
    ),
    ("another account alone", [PUT], [{**DELEGATION, "Principal": {"AWS": OTHER_ACCOUNT}}], False),
]


@pytest.mark.parametrize(
    ("what", "own", "statements", "accepted"), LOCK_OUTS, ids=[row[0] for row in LOCK_OUTS]
)
def test_the_caller_must_be_able_to_put_the_next_policy(
    kms: Kms,
    what: str,
    own: list[dict[str, Any]],
    statements: list[dict[str, Any]],
    accepted: bool,
) -> None:
    """Key policy and the identity policies that it lets count decide together.

    Sources: https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html and, for
    IAM's part, https://github.com/aws-samples/rds-snapshot-export-to-s3-pipeline/issues/8
    """
    name = f"Putter{next(_fresh)}"
    client = kms.user(name, allow("CreateKey"), *own)
    me = f"arn:aws:iam::{ACCOUNT}:user/{name}"
    policy = document(*statements).replace("{me}", me)
    # The old policy lets the caller put one new policy, whatever that one says.
    made = kms.key({**PUT, "Principal": {"AWS": me}})
    before = kms.admin.get_key_policy(KeyId=made)["Policy"]
    if accepted:
        client.put_key_policy(KeyId=made, Policy=policy)
        assert outcome(client.put_key_policy, KeyId=made, Policy=policy) == "allowed", what
        assert outcome(client.create_key, Policy=policy) == "allowed"
        return
    assert refused(client.put_key_policy, KeyId=made, Policy=policy) == LOCKED_OUT
    assert kms.admin.get_key_policy(KeyId=made)["Policy"] == before
    assert refused(client.create_key, Policy=policy) == LOCKED_OUT
    client.put_key_policy(KeyId=made, Policy=policy, BypassPolicyLockoutSafetyCheck=True)
    assert outcome(client.put_key_policy, KeyId=made, Policy=policy) == "AccessDeniedException"


def test_the_bypass_can_be_forbidden(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-bypass-policy-lockout-safety-check"""
    deny = {
        "Effect": "Deny",
        "Action": ["kms:CreateKey", "kms:PutKeyPolicy"],
        "Resource": "*",
        "Condition": {"Bool": {"kms:BypassPolicyLockoutSafetyCheck": "true"}},
    }
    client = kms.user("NoBypass", allow("CreateKey", "PutKeyPolicy"), deny)
    asked = {"KeyId": kms.key(), "Policy": document(DELEGATION)}
    bypass = {"BypassPolicyLockoutSafetyCheck": True}
    assert outcome(client.put_key_policy, **asked) == "allowed"
    assert outcome(client.create_key) == "allowed"
    assert outcome(client.put_key_policy, **asked, **bypass) == "AccessDeniedException"
    assert outcome(client.create_key, **bypass) == "AccessDeniedException"


def test_root_may_be_locked_out_too(kms: Kms) -> None:
    """A key that only a deleted principal could manage is out of reach.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
    """
    keeper = kms.user("Keeper", allow("CreateKey"))
    arn = f"arn:aws:iam::{ACCOUNT}:user/Keeper"
    mine = document({**allow("*"), "Principal": {"AWS": arn}})
    made = keeper.create_key(Policy=mine)["KeyMetadata"]["Arn"]
    for method in (kms.admin.describe_key, kms.admin.get_key_policy, kms.admin.disable_key):
        assert outcome(method, KeyId=made) == "AccessDeniedException"
    asked = {"KeyId": made, "Policy": document(DELEGATION)}
    assert outcome(kms.admin.put_key_policy, **asked) == "AccessDeniedException"
    assert outcome(keeper.put_key_policy, KeyId=made, Policy=mine) == "allowed"
