"""Keys: made, described, listed, scheduled for deletion and gone.

Sources: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html,
https://docs.aws.amazon.com/kms/latest/APIReference/API_KeyMetadata.html,
https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeys.html,
https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from kms_setting import NO_KEY, Kms, allow, document, key_id, kms_served, outcome, refused
from served import ACCOUNT, REGION, START


@pytest.fixture(scope="module")
def kms() -> Iterator[Kms]:
    with kms_served() as served:
        yield served


DEFAULT_POLICY = """{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::111122223333:root"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}"""
"""As https://docs.aws.amazon.com/kms/latest/developerguide/ct-put-key-policy.html prints it."""


def test_a_key_s_metadata(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html (examples)"""
    made = kms.admin.create_key(Description="Workflows")["KeyMetadata"]
    name = made["KeyId"]
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", name
    )
    assert timedelta() <= made["CreationDate"] - START < timedelta(minutes=10)
    assert re.fullmatch("[0-9a-f]{64}", made["CurrentKeyMaterialId"])
    del made["CreationDate"], made["CurrentKeyMaterialId"]
    assert made == {
        "AWSAccountId": ACCOUNT,
        "KeyId": name,
        "Arn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{name}",
        "Enabled": True,
        "Description": "Workflows",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": "Enabled",
        "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER",
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "MultiRegion": False,
    }


def test_describe_key_answers_what_create_key_answered(kms: Kms) -> None:
    made = kms.admin.create_key()["KeyMetadata"]
    kms.admin.create_alias(AliasName="alias/described", TargetKeyId=made["KeyId"])
    prefix = f"arn:aws:kms:{REGION}:{ACCOUNT}:"
    for name in (made["KeyId"], made["Arn"], "alias/described", f"{prefix}alias/described"):
        assert kms.admin.describe_key(KeyId=name)["KeyMetadata"] == made


def test_the_default_key_policy(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html"""
    key = kms.admin.create_key()["KeyMetadata"]["KeyId"]
    answer = kms.admin.get_key_policy(KeyId=key)
    assert (answer["Policy"], answer["PolicyName"]) == (DEFAULT_POLICY, "default")
    assert kms.admin.list_key_policies(KeyId=key)["PolicyNames"] == ["default"]


def test_the_description_can_be_changed(kms: Kms) -> None:
    key = kms.key(Description="before")
    kms.admin.update_key_description(KeyId=key, Description="after")
    assert kms.admin.describe_key(KeyId=key)["KeyMetadata"]["Description"] == "after"


# (parameters, code, what the text names)
NOT_MADE: list[tuple[dict[str, Any], str, str]] = [
    ({"KeySpec": "RSA_2048"}, "UnsupportedOperationException", "KeySpec RSA_2048"),
    ({"KeySpec": "HMAC_256"}, "UnsupportedOperationException", "KeySpec HMAC_256"),
    (
        {"CustomerMasterKeySpec": "ECC_NIST_P256"},
        "UnsupportedOperationException",
        "KeySpec ECC_NIST_P256",
    ),
    ({"KeyUsage": "SIGN_VERIFY"}, "UnsupportedOperationException", "KeyUsage SIGN_VERIFY"),
    ({"Origin": "EXTERNAL"}, "UnsupportedOperationException", "Origin EXTERNAL"),
    ({"Origin": "AWS_CLOUDHSM"}, "UnsupportedOperationException", "Origin AWS_CLOUDHSM"),
    ({"CustomKeyStoreId": "cks-1234567890abcdef0"}, "UnsupportedOperationException", "stores"),
    ({"XksKeyId": "k"}, "UnsupportedOperationException", "stores"),
    ({"KeySpec": "AES_512"}, "ValidationException", "enum value set"),
    (
        {"KeySpec": "SYMMETRIC_DEFAULT", "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT"},
        "ValidationException",
        "KeySpec and CustomerMasterKeySpec in the same request",
    ),
    ({"Description": "x" * 8193}, "ValidationException", "less than or equal to 8192"),
    ({"Tags": [{"TagKey": "aws:x", "TagValue": ""}]}, "TagException", "aws:"),
]


@pytest.mark.parametrize(
    ("asked", "code", "named"), NOT_MADE, ids=[",".join(asked) for asked, _, _ in NOT_MADE]
)
def test_a_key_that_is_not_made(kms: Kms, asked: dict[str, Any], code: str, named: str) -> None:
    before = kms.admin.list_keys()["Keys"]
    got, text = refused(kms.admin.create_key, **asked)
    assert got == code
    assert named in text
    assert kms.admin.list_keys()["Keys"] == before


@pytest.mark.parametrize(
    "asked",
    [
        {"KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": "ENCRYPT_DECRYPT", "Origin": "AWS_KMS"},
        {"CustomerMasterKeySpec": "SYMMETRIC_DEFAULT"},
        {"MultiRegion": False},
    ],
)
def test_the_defaults_may_be_said(kms: Kms, asked: dict[str, Any]) -> None:
    assert kms.admin.create_key(**asked)["KeyMetadata"]["KeySpec"] == "SYMMETRIC_DEFAULT"


def test_list_keys_by_pages() -> None:
    """Each key once, whatever the page's size, also when one is made between two pages.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeys.html
    """
    with kms_served() as kms:
        made = {kms.admin.create_key()["KeyMetadata"]["Arn"] for _ in range(7)}
        whole = kms.admin.list_keys()
        assert {key["KeyArn"] for key in whole["Keys"]} == made
        assert all(key["KeyArn"].endswith(f":key/{key['KeyId']}") for key in whole["Keys"])
        assert (whole["Truncated"], "NextMarker" in whole) == (False, False)
        paginator = kms.admin.get_paginator("list_keys")
        for size in (1, 3, 7, 1000):
            pages = list(paginator.paginate(PaginationConfig={"PageSize": size}))
            assert [key for page in pages for key in page["Keys"]] == whole["Keys"]
            assert all(len(page["Keys"]) <= size for page in pages)
        first = kms.admin.list_keys(Limit=3)
        assert first["Truncated"]
        kms.admin.create_key()
        rest = kms.admin.list_keys(Marker=first["NextMarker"])["Keys"]
        seen = [key["KeyArn"] for key in [*first["Keys"], *rest]]
        assert len(seen) == len(set(seen))
        assert made <= set(seen)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"Limit": 0}, "ValidationException"),
        ({"Limit": 1001}, "ValidationException"),
        ({"Marker": "nonsense"}, "InvalidMarkerException"),
        ({"Marker": "TGlzdEFsaWFzZXMKYWxpYXMveA=="}, "InvalidMarkerException"),
    ],
    ids=["no items", "too many", "no marker", "of another operation"],
)
def test_a_page_that_is_not_given(kms: Kms, asked: dict[str, Any], code: str) -> None:
    assert outcome(kms.admin.list_keys, **asked) == code


def test_list_keys_needs_permission_on_everything(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/iam-policies-best-practices.html"""
    key = kms.key()
    one = kms.user("OneKey", allow("ListKeys", resource=key))
    every = kms.user("EveryKey", allow("ListKeys"))
    assert outcome(one.list_keys) == "AccessDeniedException"
    assert key in {found["KeyArn"] for found in every.list_keys()["Keys"]}


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (("CreateKey",), "AccessDeniedException"),
        (("TagResource",), "AccessDeniedException"),
        (("CreateKey", "TagResource"), "allowed"),
    ],
)
def test_tags_at_creation_need_their_own_permission(
    kms: Kms, actions: tuple[str, ...], expected: str
) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html (Tags)"""
    client = kms.user("Tags" + "".join(actions), allow(*actions))
    tags = [{"TagKey": "Purpose", "TagValue": "workflows"}]
    assert outcome(client.create_key, Tags=tags) == expected
    if expected == "AccessDeniedException":
        missing = {"CreateKey", "TagResource"} - set(actions)
        assert f"kms:{missing.pop()} on resource" in refused(client.create_key, Tags=tags)[1]


def test_the_tags_of_a_new_key(kms: Kms) -> None:
    tags = [{"TagKey": "b", "TagValue": ""}, {"TagKey": "A", "TagValue": "1"}]
    key = kms.key(Tags=tags)
    shown = kms.admin.list_resource_tags(KeyId=key)["Tags"]
    assert sorted(shown, key=lambda tag: str(tag["TagKey"])) == tags[::-1]


def test_a_principal_without_put_key_policy_may_use_the_default_policy(kms: Kms) -> None:
    """As the managed policy AWSKeyManagementServicePowerUser, which has no PutKeyPolicy, is for.

    Source: https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSKeyManagementServicePowerUser.html
    """
    power_user = kms.user("PowerUser", allow("CreateKey"))
    assert outcome(power_user.create_key) == "allowed"


# Identifiers ------------------------------------------------------------------------------------


def _made(*, polled: bool = False, seed: int = 1) -> list[str]:
    with kms_served(seed=seed) as kms:
        ids = []
        for description in ("one", "two", "one"):
            if polled:
                kms.admin.list_keys()
                outcome(kms.admin.describe_key, KeyId=NO_KEY)
                outcome(kms.admin.create_key, KeySpec="RSA_2048")
            ids.append(kms.admin.create_key(Description=description)["KeyMetadata"]["KeyId"])
        return ids


def test_key_ids_follow_from_the_seed_and_from_no_polling() -> None:
    ids = _made()
    assert len(set(ids)) == 3
    assert _made() == ids
    assert _made(polled=True) == ids
    assert not set(_made(seed=2)) & set(ids)


# Not found --------------------------------------------------------------------------------------

# (key id, code, text)
NOT_FOUND = [
    (
        NO_KEY,
        "NotFoundException",
        f"Key 'arn:aws:kms:{REGION}:{ACCOUNT}:key/{NO_KEY}' does not exist",
    ),
    (
        f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{NO_KEY}",
        "NotFoundException",
        f"Key 'arn:aws:kms:{REGION}:{ACCOUNT}:key/{NO_KEY}' does not exist",
    ),
    (
        "alias/none",
        "NotFoundException",
        f"Alias arn:aws:kms:{REGION}:{ACCOUNT}:alias/none is not found.",
    ),
    (
        f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/none",
        "NotFoundException",
        f"Alias arn:aws:kms:{REGION}:{ACCOUNT}:alias/none is not found.",
    ),
    (
        f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/{NO_KEY}",
        "NotFoundException",
        "Invalid arn eu-west-1",
    ),
    ("not a key", "NotFoundException", "Invalid keyId 'not a key'"),
    ("arn:aws:s3:::bucket", "InvalidArnException", "Invalid arn arn:aws:s3:::bucket"),
    (
        f"arn:aws-cn:kms:{REGION}:{ACCOUNT}:key/{NO_KEY}",
        "InvalidArnException",
        f"Invalid arn arn:aws-cn:kms:{REGION}:{ACCOUNT}:key/{NO_KEY}",
    ),
]


@pytest.mark.parametrize(("name", "code", "text"), NOT_FOUND, ids=[row[0] for row in NOT_FOUND])
def test_a_key_that_is_not_found(kms: Kms, name: str, code: str, text: str) -> None:
    """Sources: those of `awssandbox.kms.errors`."""
    assert refused(kms.admin.describe_key, KeyId=name) == (code, text)


def test_a_key_of_another_region_is_found_only_there(kms: Kms) -> None:
    elsewhere = kms.of(kms.served.administrator, "eu-west-1")
    there = elsewhere.create_key()["KeyMetadata"]["Arn"]
    assert ":eu-west-1:" in there
    assert refused(kms.admin.describe_key, KeyId=there)[1] == "Invalid arn eu-west-1"
    assert refused(kms.admin.describe_key, KeyId=key_id(there))[0] == "NotFoundException"
    assert outcome(elsewhere.describe_key, KeyId=there) == "allowed"
    assert there not in {key["KeyArn"] for key in kms.admin.list_keys()["Keys"]}


# Deletion ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "days"), [({}, 30), ({"PendingWindowInDays": 7}, 7)])
def test_a_key_is_scheduled_for_deletion(kms: Kms, asked: dict[str, int], days: int) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html"""
    key = kms.key()
    answer = kms.admin.schedule_key_deletion(KeyId=key, **asked)
    assert answer["KeyId"] == key
    assert answer["KeyState"] == "PendingDeletion"
    assert answer["PendingWindowInDays"] == days
    shown = kms.admin.describe_key(KeyId=key)["KeyMetadata"]
    assert (shown["KeyState"], shown["Enabled"]) == ("PendingDeletion", False)
    assert shown["DeletionDate"] == answer["DeletionDate"]
    left = answer["DeletionDate"] - kms.served.world.clock.now()
    assert timedelta(days=days, minutes=-1) < left <= timedelta(days=days)


@pytest.mark.parametrize("days", [0, 6, 31, 366])
def test_the_waiting_period_is_seven_to_thirty_days(kms: Kms, days: int) -> None:
    key = kms.key()
    code, text = refused(kms.admin.schedule_key_deletion, KeyId=key, PendingWindowInDays=days)
    assert code == "ValidationException"
    assert "at 'pendingWindowInDays' failed to satisfy constraint" in text
    assert kms.admin.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"


def test_deletion_can_be_canceled_and_leaves_the_key_disabled(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CancelKeyDeletion.html"""
    key = kms.key()
    kms.admin.schedule_key_deletion(KeyId=key)
    assert kms.admin.cancel_key_deletion(KeyId=key)["KeyId"] == key
    shown = kms.admin.describe_key(KeyId=key)["KeyMetadata"]
    assert shown["KeyState"] == "Disabled"
    assert "DeletionDate" not in shown
    kms.admin.enable_key(KeyId=key)
    assert outcome(kms.admin.encrypt, KeyId=key, Plaintext=b"x") == "allowed"


def test_after_the_waiting_period_the_key_is_gone_with_all_that_it_had() -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys.html"""
    with kms_served() as kms:
        key, kept = kms.key(), kms.key()
        kms.admin.create_alias(AliasName="alias/gone", TargetKeyId=key)
        blob = kms.admin.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
        kms.admin.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
        kms.advance(days=7, minutes=-5)
        assert outcome(kms.admin.describe_key, KeyId="alias/gone") == "allowed"
        kms.advance(minutes=6)
        gone = ("NotFoundException", f"Key '{key}' does not exist")
        assert refused(kms.admin.describe_key, KeyId=key) == gone
        assert refused(kms.admin.cancel_key_deletion, KeyId=key) == gone
        assert refused(kms.admin.decrypt, KeyId=key, CiphertextBlob=blob) == gone
        assert [found["KeyArn"] for found in kms.admin.list_keys()["Keys"]] == [kept]
        assert kms.admin.list_aliases()["Aliases"] == []
        code, text = refused(kms.admin.decrypt, CiphertextBlob=blob)
        assert code == "AccessDeniedException"
        assert text.startswith("The ciphertext refers to a customer master key that does not exist")
        kms.admin.create_alias(AliasName="alias/gone", TargetKeyId=kept)


def test_what_is_not_imitated_says_so(kms: Kms) -> None:
    for name in ("generate_random", "update_primary_region", "rotate_key_on_demand"):
        code, text = refused(getattr(kms.admin, name))
        assert code == "NotImplemented"
        assert "The sandbox does not imitate kms:" in text


def test_a_condition_on_what_is_made(kms: Kms) -> None:
    """The key that is asked for has condition keys before it exists.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
    """
    only = allow(
        "CreateKey",
        "TagResource",
        Condition={
            "StringEquals": {
                "kms:KeySpec": "SYMMETRIC_DEFAULT",
                "kms:KeyUsage": "ENCRYPT_DECRYPT",
                "kms:KeyOrigin": "AWS_KMS",
                "aws:RequestTag/Purpose": "workflows",
            },
            "Bool": {"kms:MultiRegion": "false"},
        },
    )
    client = kms.user("Conditioned", only)
    wanted = [{"TagKey": "Purpose", "TagValue": "workflows"}]
    assert outcome(client.create_key, Tags=wanted) == "allowed"
    other = [{"TagKey": "Purpose", "TagValue": "else"}]
    assert outcome(client.create_key, Tags=other) == "AccessDeniedException"
    assert outcome(client.create_key) == "AccessDeniedException"


def test_create_key_refuses_a_policy_as_put_key_policy_does(kms: Kms) -> None:
    locked = document({**allow("*"), "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/Nobody"}})
    code, text = refused(kms.admin.create_key, Policy=locked)
    assert code == "MalformedPolicyDocumentException"
    assert text == "Policy contains a statement with one or more invalid principals."
