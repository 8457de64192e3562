"""Aliases: made, moved, deleted, listed, and who may.

Sources: https://docs.aws.amazon.com/kms/latest/developerguide/alias-access.html,
https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html,
https://docs.aws.amazon.com/kms/latest/APIReference/API_ListAliases.html
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from kms_setting import (
    DELEGATION,
    NO_KEY,
    OTHER_ACCOUNT,
    Kms,
    allow,
    document,
    key_id,
    kms_served,
    outcome,
    refused,
)
from served import ACCOUNT, REGION

_fresh = itertools.count()


@pytest.fixture(scope="module")
def kms() -> Iterator[Kms]:
    with kms_served() as served:
        yield served


def arn(name: str) -> str:
    return f"arn:aws:kms:{REGION}:{ACCOUNT}:{name}"


def fresh() -> str:
    """The name of an alias that no other test has."""
    return f"alias/fresh-{next(_fresh)}"


def test_an_alias_is_made_moved_and_deleted(kms: Kms) -> None:
    one, other, name = kms.key(), kms.key(), fresh()
    kms.admin.create_alias(AliasName=name, TargetKeyId=one)
    (made,) = kms.admin.list_aliases(KeyId=one)["Aliases"]
    assert made.pop("CreationDate") == made.pop("LastUpdatedDate")
    assert made == {"AliasName": name, "AliasArn": arn(name), "TargetKeyId": key_id(one)}
    kms.advance(hours=1)
    kms.admin.update_alias(AliasName=name, TargetKeyId=other)
    assert kms.admin.list_aliases(KeyId=one)["Aliases"] == []
    (moved,) = kms.admin.list_aliases(KeyId=other)["Aliases"]
    assert moved["LastUpdatedDate"] > moved["CreationDate"]
    assert kms.admin.describe_key(KeyId=name)["KeyMetadata"]["Arn"] == other
    kms.admin.delete_alias(AliasName=name)
    gone = ("NotFoundException", f"Alias {arn(name)} is not found.")
    assert refused(kms.admin.describe_key, KeyId=name) == gone
    assert kms.admin.describe_key(KeyId=other)["KeyMetadata"]["Enabled"], "the key stays"


def test_a_ciphertext_stays_that_of_its_key_when_the_alias_moves(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/alias-about.html"""
    one, other, name = kms.key(), kms.key(), fresh()
    kms.admin.create_alias(AliasName=name, TargetKeyId=one)
    blob = kms.admin.encrypt(KeyId=name, Plaintext=b"x")["CiphertextBlob"]
    kms.admin.update_alias(AliasName=name, TargetKeyId=other)
    assert kms.admin.decrypt(CiphertextBlob=blob)["KeyId"] == one
    assert outcome(kms.admin.decrypt, CiphertextBlob=blob, KeyId=name) == "IncorrectKeyException"


def test_an_alias_of_the_same_name_names_another_key_in_another_region(kms: Kms) -> None:
    elsewhere, name, here = kms.of(kms.served.administrator, "eu-west-1"), fresh(), kms.key()
    there = elsewhere.create_key()["KeyMetadata"]["Arn"]
    kms.admin.create_alias(AliasName=name, TargetKeyId=here)
    elsewhere.create_alias(AliasName=name, TargetKeyId=there)
    assert kms.admin.describe_key(KeyId=name)["KeyMetadata"]["Arn"] == here
    assert elsewhere.describe_key(KeyId=name)["KeyMetadata"]["Arn"] == there
    assert refused(elsewhere.describe_key, KeyId=arn(name))[1] == f"Invalid arn {REGION}"


# (alias name, code, a part of the text)
REFUSED_NAMES = [
    ("alias/aws/imagebuilder", "NotAuthorizedException", "reserved"),
    ("no-prefix", "ValidationException", "Invalid identifier"),
    ("alias/", "InvalidAliasNameException", "alias/"),
    ("alias/a:b", "InvalidAliasNameException", "alias/a:b"),
    ("alias/a b", "ValidationException", "regular expression"),
    ("alias/" + "x" * 251, "ValidationException", "less than or equal to 256"),
]


@pytest.mark.parametrize(("name", "code", "text"), REFUSED_NAMES)
@pytest.mark.parametrize("operation", ["create_alias", "update_alias", "delete_alias"])
def test_a_name_that_is_refused(kms: Kms, operation: str, name: str, code: str, text: str) -> None:
    asked = {"AliasName": name}
    if operation != "delete_alias":
        asked["TargetKeyId"] = NO_KEY
    got, told = refused(getattr(kms.admin, operation), **asked)
    assert got == code
    assert text in told


def test_a_name_may_be_taken_once_and_have_slashes(kms: Kms) -> None:
    key, name = kms.key(), f"{fresh()}/with_all-of/THEM"
    kms.admin.create_alias(AliasName=name, TargetKeyId=key)
    assert refused(kms.admin.create_alias, AliasName=name, TargetKeyId=key) == (
        "AlreadyExistsException",
        f"An alias with the name {arn(name)} already exists",
    )


@pytest.mark.parametrize("operation", ["update_alias", "delete_alias"])
def test_an_alias_that_does_not_exist(kms: Kms, operation: str) -> None:
    name = fresh()
    asked = {"AliasName": name}
    if operation == "update_alias":
        asked["TargetKeyId"] = kms.key()
    told = ("NotFoundException", f"Alias {arn(name)} is not found.")
    assert refused(getattr(kms.admin, operation), **asked) == told


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (NO_KEY, "NotFoundException"),
        (f"arn:aws:kms:{REGION}:{OTHER_ACCOUNT}:key/{NO_KEY}", "AccessDeniedException"),
        (f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/{NO_KEY}", "NotFoundException"),
        ("alias/other", "InvalidArnException"),
    ],
    ids=["no key", "another account's", "another Region's", "an alias"],
)
def test_what_an_alias_cannot_name(kms: Kms, target: str, code: str) -> None:
    assert outcome(kms.admin.create_alias, AliasName=fresh(), TargetKeyId=target) == code


def test_list_aliases_by_pages(kms: Kms) -> None:
    key = kms.key()
    names = sorted(fresh() for _ in range(5))
    for name in names:
        kms.admin.create_alias(AliasName=name, TargetKeyId=key)
    paginator = kms.admin.get_paginator("list_aliases")
    for size in (1, 2, 5, 100):
        pages = paginator.paginate(KeyId=key, PaginationConfig={"PageSize": size})
        assert [alias["AliasName"] for page in pages for alias in page["Aliases"]] == names
    assert set(names) <= {alias["AliasName"] for alias in kms.admin.list_aliases()["Aliases"]}
    assert outcome(kms.admin.list_aliases, Limit=101) == "ValidationException"


# Permissions ------------------------------------------------------------------------------------


def test_an_alias_s_permission_is_needed_on_the_alias_and_on_each_key(kms: Kms) -> None:
    """On the alias by an identity policy; on the key by either.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/alias-access.html
    """
    one, other, name = kms.key(), kms.key(), fresh()
    steps: list[tuple[str, dict[str, str], tuple[str, ...]]] = [
        ("CreateAlias", {"AliasName": name, "TargetKeyId": one}, (arn(name), one)),
        ("UpdateAlias", {"AliasName": name, "TargetKeyId": other}, (arn(name), one, other)),
        ("DeleteAlias", {"AliasName": name}, (arn(name), other)),
    ]
    for operation, asked, resources in steps:
        method = {"C": "create_alias", "U": "update_alias", "D": "delete_alias"}[operation[0]]
        for missing in resources:
            given = [r for r in resources if r != missing]
            client = kms.user(
                f"{operation}-{key_id(missing)}",
                allow(operation, resource=given),
            )
            code, text = refused(getattr(client, method), **asked)
            assert code == "AccessDeniedException"
            assert f"kms:{operation} on resource: {missing} " in text
        client = kms.user(
            f"{operation}-all",
            allow(operation, resource=list(resources)),
        )
        assert outcome(getattr(client, method), **asked) == "allowed"


def test_the_key_policy_can_give_the_key_s_part_but_not_the_alias_s(kms: Kms) -> None:
    client, name, key = kms.user("Namer"), fresh(), kms.key()
    namer: dict[str, Any] = {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/Namer"}}
    policy = document(DELEGATION, allow("CreateAlias", **namer))
    kms.admin.put_key_policy(KeyId=key, Policy=policy)
    code, text = refused(client.create_alias, AliasName=name, TargetKeyId=key)
    assert code == "AccessDeniedException"
    assert f"on resource: {arn(name)} because no identity-based policy allows" in text
    kms.served.client("iam").put_user_policy(
        UserName="Namer",
        PolicyName="alias",
        PolicyDocument=document(allow("CreateAlias", resource=arn("alias/fresh-*"))),
    )
    assert outcome(client.create_alias, AliasName=name, TargetKeyId=key) == "allowed"


def test_a_policy_on_an_alias_gives_nothing_on_its_key(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/cmks-in-iam-policies.html"""
    key, name = kms.key(), fresh()
    kms.admin.create_alias(AliasName=name, TargetKeyId=key)
    client = kms.user("AliasOnly", allow("Encrypt", resource=arn(name)))
    assert outcome(client.encrypt, KeyId=name, Plaintext=b"x") == "AccessDeniedException"


def test_listing_aliases_of_one_key_needs_no_permission_on_it(kms: Kms) -> None:
    key = kms.key()
    client = kms.user("Lister", allow("ListAliases"))
    assert client.list_aliases(KeyId=key)["Aliases"] == []
    narrow = kms.user("NarrowLister", allow("ListAliases", resource=key))
    assert outcome(narrow.list_aliases, KeyId=key) == "AccessDeniedException"
