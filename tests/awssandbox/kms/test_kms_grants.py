"""Grants: what they let whom do, and how they end.

Sources: https://docs.aws.amazon.com/kms/latest/developerguide/grants.html,
https://docs.aws.amazon.com/kms/latest/developerguide/create-grant-overview.html,
https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest
from kms_setting import (
    ADMINISTRATOR,
    NO_KEY,
    OTHER_ACCOUNT,
    ROOT,
    TRUST,
    Kms,
    allow,
    kms_served,
    outcome,
    refused,
)
from served import ACCOUNT, Credentials

ROLE = f"arn:aws:iam::{ACCOUNT}:role/Grantee"
WORKFLOW = "arn:aws:imagebuilder:us-west-2:111122223333:workflow/build/example/1.0.0/*"
_fresh = itertools.count()


@pytest.fixture(scope="module")
def kms() -> Iterator[Kms]:
    with kms_served() as served:
        served.served.role("Grantee", TRUST)
        yield served


@pytest.fixture(scope="module")
def session(kms: Kms) -> Credentials:
    """A session of the role that grants are given to, which has no policy at all."""
    return kms.served.assume(ROLE)


@pytest.fixture
def key(kms: Kms) -> str:
    return kms.key()


def give(kms: Kms, key: str, *operations: str, **more: Any) -> dict[str, str]:
    """A grant to the role."""
    asked = {"GranteePrincipal": ROLE, "Operations": list(operations), **more}
    answer: dict[str, str] = kms.admin.create_grant(KeyId=key, **asked)
    return answer


def test_a_grant_lets_a_role_without_policies_use_the_key_until_it_is_revoked(
    kms: Kms, key: str, session: Credentials
) -> None:
    role = kms.of(session)
    assert outcome(role.encrypt, KeyId=key, Plaintext=b"x") == "AccessDeniedException"
    grant = give(kms, key, "Encrypt", "DescribeKey")
    assert outcome(role.encrypt, KeyId=key, Plaintext=b"x") == "allowed"
    assert outcome(role.describe_key, KeyId=key) == "allowed"
    blob = kms.admin.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    assert outcome(role.decrypt, CiphertextBlob=blob) == "AccessDeniedException"
    assert outcome(role.encrypt, KeyId=kms.key(), Plaintext=b"x") == "AccessDeniedException"
    kms.admin.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
    assert outcome(role.encrypt, KeyId=key, Plaintext=b"x") == "AccessDeniedException"


def test_a_deny_in_the_key_policy_is_stronger_than_a_grant(kms: Kms, session: Credentials) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/policy-evaluation.html"""
    deny = {**allow("Encrypt"), "Effect": "Deny", "Principal": {"AWS": ROLE}}
    key = kms.key(deny)
    give(kms, key, "Encrypt")
    assert outcome(kms.of(session).encrypt, KeyId=key, Plaintext=b"x") == "AccessDeniedException"


def test_the_answer_and_the_list(kms: Kms, key: str) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GrantListEntry.html"""
    subset = {"EncryptionContextSubset": {"aws:imagebuilder:arn": WORKFLOW}}
    answer = give(
        kms, key, "Decrypt", "GenerateDataKey",
        Constraints=subset, RetiringPrincipal=ADMINISTRATOR, Name="workflows",
    )  # fmt: skip
    assert re.fullmatch("[0-9a-f]{64}", answer["GrantId"])
    assert answer["GrantToken"]
    (entry,) = kms.admin.list_grants(KeyId=key)["Grants"]
    assert entry.pop("CreationDate") <= kms.served.world.clock.now()
    assert entry == {
        "KeyId": key,
        "GrantId": answer["GrantId"],
        "Name": "workflows",
        "GranteePrincipal": ROLE,
        "RetiringPrincipal": ADMINISTRATOR,
        "IssuingAccount": ROOT,
        "Operations": ["Decrypt", "GenerateDataKey"],
        "Constraints": subset,
    }


def test_a_grant_without_a_name_has_none_in_the_list(kms: Kms, key: str) -> None:
    give(kms, key, "Encrypt")
    (entry,) = kms.admin.list_grants(KeyId=key)["Grants"]
    assert not {"Name", "RetiringPrincipal", "Constraints"} & set(entry)


def test_the_list_by_grant_by_grantee_and_by_pages(kms: Kms, key: str) -> None:
    ids = sorted(give(kms, key, "Encrypt")["GrantId"] for _ in range(4))
    other = give(kms, key, "Encrypt", GranteePrincipal=ADMINISTRATOR)["GrantId"]

    def listed(**asked: Any) -> list[str]:
        pages = kms.admin.get_paginator("list_grants").paginate(KeyId=key, **asked)
        return [grant["GrantId"] for page in pages for grant in page["Grants"]]

    assert listed() == sorted([*ids, other])
    assert listed(PaginationConfig={"PageSize": 2}) == sorted([*ids, other])
    assert listed(GrantId=other) == [other]
    assert listed(GranteePrincipal=ROLE) == ids
    assert listed(GranteePrincipal=ROOT) == []
    assert outcome(kms.admin.list_grants, KeyId=key, Limit=101) == "ValidationException"


# Retries ----------------------------------------------------------------------------------------


def test_the_same_name_and_properties_are_the_same_grant_with_another_token(
    kms: Kms, key: str
) -> None:
    first = give(kms, key, "Encrypt", Name="one")
    again = give(kms, key, "Encrypt", Name="one")
    assert again["GrantId"] == first["GrantId"]
    assert again["GrantToken"] != first["GrantToken"]
    others = [
        give(kms, key, "Encrypt", Name="two"),
        give(kms, key, "Decrypt", Name="one"),
        give(kms, key, "Encrypt", Name="one", RetiringPrincipal=ADMINISTRATOR),
        give(kms, key, "Encrypt", Name="one", GranteePrincipal=ADMINISTRATOR),
        give(
            kms, key, "Encrypt",
            Name="one", Constraints={"EncryptionContextSubset": {"a": "b"}},
        ),
    ]  # fmt: skip
    ids = {grant["GrantId"] for grant in [first, *others]}
    assert len(ids) == 6
    assert len(kms.admin.list_grants(KeyId=key)["Grants"]) == 6


def test_without_a_name_each_request_makes_a_grant(kms: Kms, key: str) -> None:
    ids = {give(kms, key, "Encrypt")["GrantId"] for _ in range(3)}
    assert len(ids) == 3


# Constraints ------------------------------------------------------------------------------------

# (constraint, context, outcome)
CONSTRAINTS: list[tuple[dict[str, dict[str, str]], dict[str, str], str]] = [
    ({"EncryptionContextSubset": {"a": "1"}}, {"a": "1"}, "allowed"),
    ({"EncryptionContextSubset": {"a": "1"}}, {"a": "1", "b": "2"}, "allowed"),
    ({"EncryptionContextSubset": {"a": "1"}}, {"b": "2"}, "AccessDeniedException"),
    ({"EncryptionContextSubset": {"a": "1"}}, {}, "AccessDeniedException"),
    ({"EncryptionContextSubset": {"a": "1", "b": "2"}}, {"a": "1"}, "AccessDeniedException"),
    ({"EncryptionContextSubset": {"a": "x"}}, {"a": "X"}, "AccessDeniedException"),
    ({"EncryptionContextSubset": {"a": "x*"}}, {"a": "xyz"}, "AccessDeniedException"),
    ({"EncryptionContextEquals": {"a": "1"}}, {"a": "1"}, "allowed"),
    ({"EncryptionContextEquals": {"a": "1", "b": "2"}}, {"b": "2", "a": "1"}, "allowed"),
    ({"EncryptionContextEquals": {"a": "1"}}, {"a": "1", "b": "2"}, "AccessDeniedException"),
    ({"EncryptionContextEquals": {"a": "1"}}, {}, "AccessDeniedException"),
    # What Image Builder sends: the ARN with its literal star, and a fresh public key each time.
    (
        {"EncryptionContextSubset": {"aws:imagebuilder:arn": WORKFLOW}},
        {"aws:imagebuilder:arn": WORKFLOW, "aws-crypto-public-key": "AnyKey"},
        "allowed",
    ),
    (
        {"EncryptionContextEquals": {"aws:imagebuilder:arn": WORKFLOW}},
        {"aws:imagebuilder:arn": WORKFLOW, "aws-crypto-public-key": "AnyKey"},
        "AccessDeniedException",
    ),
    (
        {"EncryptionContextSubset": {"aws:imagebuilder:arn": WORKFLOW[:-1] + "1"}},
        {"aws:imagebuilder:arn": WORKFLOW},
        "AccessDeniedException",
    ),
]


@pytest.mark.parametrize(("constraint", "context", "expected"), CONSTRAINTS)
def test_for_which_context_a_grant_is_good(
    kms: Kms,
    key: str,
    session: Credentials,
    constraint: dict[str, dict[str, str]],
    context: dict[str, str],
    expected: str,
) -> None:
    """Exact values, no wildcards. Source: create-grant-overview.html"""
    give(kms, key, "GenerateDataKey", "DescribeKey", Constraints=constraint)
    role = kms.of(session)
    asked = {"KeyId": key, "NumberOfBytes": 32, "EncryptionContext": context}
    assert outcome(role.generate_data_key, **asked) == expected
    assert outcome(role.describe_key, KeyId=key) == "allowed", "a constraint is not for it"


def pairs(count: int, size: int = 1) -> dict[str, str]:
    return {f"k{i}": "v" * size for i in range(count)}


@pytest.mark.parametrize("name", ["EncryptionContextSubset", "EncryptionContextEquals"])
def test_a_constraint_has_at_most_eight_pairs_of_384_characters(
    kms: Kms, key: str, name: str
) -> None:
    def answered(context: dict[str, str]) -> str:
        asked = {"GranteePrincipal": ROLE, "Operations": ["Encrypt"]}
        return outcome(kms.admin.create_grant, KeyId=key, Constraints={name: context}, **asked)

    assert answered(pairs(8)) == "allowed"
    assert answered(pairs(9)) == "ValidationException"
    assert answered(pairs(1, 384)) == "allowed"
    assert answered(pairs(1, 385)) == "ValidationException"


def test_a_grant_has_one_kind_of_constraint(kms: Kms, key: str) -> None:
    both = {"EncryptionContextSubset": {"a": "1"}, "EncryptionContextEquals": {"a": "1"}}
    asked = {"KeyId": key, "GranteePrincipal": ROLE, "Operations": ["Encrypt"]}
    assert outcome(kms.admin.create_grant, Constraints=both, **asked) == "ValidationException"


# What is refused --------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"GranteePrincipal": f"arn:aws:iam::{ACCOUNT}:role/Nobody"}, "InvalidArnException"),
    ({"GranteePrincipal": f"arn:aws:iam::{OTHER_ACCOUNT}:user/Nobody"}, "InvalidArnException"),
    ({"GranteePrincipal": "Grantee"}, "InvalidArnException"),
    ({"GranteePrincipal": f"arn:aws:iam::{ACCOUNT}:role/*"}, "ValidationException"),
    ({"GranteePrincipal": ACCOUNT}, "InvalidArnException"),
    ({"RetiringPrincipal": f"arn:aws:iam::{ACCOUNT}:role/Nobody"}, "InvalidArnException"),
    ({"Operations": []}, "ValidationException"),
    ({"Operations": ["Sign"]}, "ValidationException"),
    ({"Operations": ["PutKeyPolicy"]}, "ValidationException"),
    ({"Name": "with space"}, "ValidationException"),
    ({"GrantTokens": ["no token"]}, "InvalidGrantTokenException"),
    ({"KeyId": NO_KEY}, "NotFoundException"),
]


@pytest.mark.parametrize(("wrong", "code"), REFUSED)
def test_a_grant_that_is_refused(kms: Kms, key: str, wrong: dict[str, Any], code: str) -> None:
    asked = {"KeyId": key, "GranteePrincipal": ROLE, "Operations": ["Encrypt"], **wrong}
    assert outcome(kms.admin.create_grant, **asked) == code
    assert kms.admin.list_grants(KeyId=key)["Grants"] == []


def test_a_grant_needs_a_grantee(kms: Kms, key: str) -> None:
    code, text = refused(kms.admin.create_grant, KeyId=key, Operations=["Encrypt"])
    assert (code, "'granteePrincipal'" in text) == ("ValidationException", True)


def test_a_grant_that_is_revoked_is_gone(kms: Kms, key: str) -> None:
    grant = give(kms, key, "Encrypt")["GrantId"]
    other = kms.key()
    assert outcome(kms.admin.revoke_grant, KeyId=other, GrantId=grant) == "NotFoundException"
    kms.admin.revoke_grant(KeyId=key, GrantId=grant)
    assert refused(kms.admin.revoke_grant, KeyId=key, GrantId=grant) == (
        "NotFoundException",
        f"Grant ID {grant} not found",
    )


# Tokens, principals, conditions -----------------------------------------------------------------


def test_a_grant_token_is_accepted_where_kms_gave_it(
    kms: Kms, key: str, session: Credentials
) -> None:
    token = give(kms, key, "Encrypt")["GrantToken"]
    role = kms.of(session)
    asked = {"KeyId": key, "Plaintext": b"x"}
    assert outcome(role.encrypt, GrantTokens=[token], **asked) == "allowed"
    assert outcome(role.encrypt, GrantTokens=["x"], **asked) == "InvalidGrantTokenException"


def test_a_role_made_again_has_not_the_grants_of_the_first(kms: Kms, key: str) -> None:
    """As in key policies: the grant is the first role's, and shows its unique id.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
    """
    iam = kms.served.client("iam")
    arn = kms.served.role("Passing", TRUST)
    give(kms, key, "Encrypt", GranteePrincipal=arn)
    assert outcome(kms.of(kms.served.assume(arn)).encrypt, KeyId=key, Plaintext=b"x") == "allowed"
    iam.delete_role(RoleName="Passing")
    assert kms.served.role("Passing", TRUST) == arn
    again = kms.of(kms.served.assume(arn))
    assert outcome(again.encrypt, KeyId=key, Plaintext=b"x") == "AccessDeniedException"
    (entry,) = kms.admin.list_grants(KeyId=key)["Grants"]
    assert entry["GranteePrincipal"].startswith("AROA")


def test_another_account_s_principal_is_let_in_by_a_grant_and_its_own_policies(
    kms: Kms, key: str
) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-modifying-external-accounts.html"""
    foreign = kms.account(OTHER_ACCOUNT)
    client = kms.of(foreign.administrator)
    give(kms, key, "Encrypt", GranteePrincipal=ADMINISTRATOR.replace(ACCOUNT, OTHER_ACCOUNT))
    assert outcome(client.encrypt, KeyId=key, Plaintext=b"x") == "allowed"
    assert outcome(client.describe_key, KeyId=key) == "AccessDeniedException"


CONDITIONS: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({"ForAllValues:StringEquals": {"kms:GrantOperations": ["Encrypt"]}}, {}, True),
    ({"ForAllValues:StringEquals": {"kms:GrantOperations": ["Decrypt"]}}, {}, False),
    ({"StringEquals": {"kms:GranteePrincipal": ROLE}}, {}, True),
    ({"StringEquals": {"kms:GranteePrincipal": ADMINISTRATOR}}, {}, False),
    ({"StringEquals": {"kms:RetiringPrincipal": ADMINISTRATOR}}, {}, False),
    (
        {"StringEquals": {"kms:RetiringPrincipal": ADMINISTRATOR}},
        {"RetiringPrincipal": ADMINISTRATOR},
        True,
    ),
    ({"Bool": {"kms:GrantIsForAWSResource": "true"}}, {}, False),
    ({"Bool": {"kms:GrantIsForAWSResource": "false"}}, {}, True),
    (
        {"StringEquals": {"kms:GrantConstraintType": "EncryptionContextSubset"}},
        {"Constraints": {"EncryptionContextSubset": {"a": "1"}}},
        True,
    ),
    ({"StringEquals": {"kms:GrantConstraintType": "EncryptionContextSubset"}}, {}, False),
    (
        {"StringEquals": {"kms:EncryptionContext:a": "1"}},
        {"Constraints": {"EncryptionContextEquals": {"a": "1"}}},
        True,
    ),
    ({"StringEquals": {"kms:EncryptionContext:a": "1"}}, {}, False),
]


@pytest.mark.parametrize(("condition", "asked", "allowed"), CONDITIONS)
def test_a_condition_on_the_grant_that_is_asked_for(
    kms: Kms, key: str, condition: dict[str, Any], asked: dict[str, Any], allowed: bool
) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html"""
    client = kms.user(f"Granter{next(_fresh)}", allow("CreateGrant", Condition=condition))
    whole = {"KeyId": key, "GranteePrincipal": ROLE, "Operations": ["Encrypt"], **asked}
    expected = "allowed" if allowed else "AccessDeniedException"
    assert outcome(client.create_grant, **whole) == expected


@pytest.mark.parametrize(
    ("operation", "context", "expected"),
    [
        ("Decrypt", {"a": "1"}, "AccessDeniedException"),
        ("Encrypt", {"b": "1"}, "AccessDeniedException"),
        ("Encrypt", {"A": "1"}, "NotImplemented"),
        ("Encrypt", {"a": "1", "b": "1"}, "NotImplemented"),
    ],
)
def test_a_grantee_that_grants_on_cannot_grant_more_than_it_has(
    kms: Kms,
    key: str,
    session: Credentials,
    operation: str,
    context: dict[str, str],
    expected: str,
) -> None:
    """What the grant does not cover is refused; what it covers is not imitated, and says so.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/create-grant-overview.html
    """
    give(kms, key, "Encrypt", "CreateGrant", Constraints={"EncryptionContextSubset": {"a": "1"}})
    asked = {
        "GranteePrincipal": ADMINISTRATOR,
        "Operations": [operation],
        "Constraints": {"EncryptionContextSubset": context},
    }
    assert outcome(kms.of(session).create_grant, KeyId=key, **asked) == expected


def test_a_grant_to_a_whole_account_is_not_judged(kms: Kms, key: str) -> None:
    give(kms, key, "Encrypt", GranteePrincipal=ROOT)
    client = kms.user(f"Granter{next(_fresh)}")
    assert outcome(client.encrypt, KeyId=key, Plaintext=b"x") == "NotImplemented"


def test_grant_ids_follow_from_the_seed() -> None:
    def ids() -> list[str]:
        with kms_served() as kms:
            kms.served.role("Grantee", TRUST)
            key = kms.key()
            return [give(kms, key, "Encrypt")["GrantId"] for _ in range(2)]

    assert ids() == ids()
