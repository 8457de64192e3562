"""Encrypt, Decrypt, GenerateDataKey: the exact context, the sizes, the refusals.

Sources: https://docs.aws.amazon.com/kms/latest/developerguide/encrypt_context.html,
https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html,
https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html,
https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from awssandbox.kms import ciphertext
from hypothesis import example, given, settings
from hypothesis import strategies as st
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

INVALID = ("InvalidCiphertextException", "")
"""AWS gives no text with it."""
CONTEXT = {"aws:imagebuilder:arn": "arn:…/1.0.0/*", "Purpose": "test"}


@pytest.fixture(scope="module")
def kms() -> Iterator[Kms]:
    with kms_served() as served:
        yield served


@pytest.fixture(scope="module")
def key(kms: Kms) -> str:
    return kms.key()


def encrypt(kms: Kms, key: str, plaintext: bytes = b"secret", **more: Any) -> bytes:
    blob: bytes = kms.admin.encrypt(KeyId=key, Plaintext=plaintext, **more)["CiphertextBlob"]
    return blob


# Round trips ------------------------------------------------------------------------------------


def test_what_is_encrypted_is_decrypted(kms: Kms, key: str) -> None:
    answer = kms.admin.encrypt(KeyId=key, Plaintext=b"secret", EncryptionContext=CONTEXT)
    assert answer["KeyId"] == key
    assert answer["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
    assert b"secret" not in answer["CiphertextBlob"]
    back = kms.admin.decrypt(CiphertextBlob=answer["CiphertextBlob"], EncryptionContext=CONTEXT)
    assert back["Plaintext"] == b"secret"
    assert back["KeyId"] == key
    assert back["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({"KeySpec": "AES_256"}, 32),
        ({"KeySpec": "AES_128"}, 16),
        ({"NumberOfBytes": 1}, 1),
        ({"NumberOfBytes": 32}, 32),
        ({"NumberOfBytes": 1024}, 1024),
    ],
)
def test_a_data_key(kms: Kms, key: str, asked: dict[str, Any], size: int) -> None:
    answer = kms.admin.generate_data_key(KeyId=key, EncryptionContext=CONTEXT, **asked)
    assert len(answer["Plaintext"]) == size
    assert answer["KeyId"] == key
    assert re.fullmatch("[0-9a-f]{64}", answer["KeyMaterialId"])
    blob = answer["CiphertextBlob"]
    back = kms.admin.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)
    assert back["Plaintext"] == answer["Plaintext"]
    without = kms.admin.generate_data_key_without_plaintext(KeyId=key, **asked)
    assert "Plaintext" not in without
    assert len(kms.admin.decrypt(CiphertextBlob=without["CiphertextBlob"])["Plaintext"]) == size


def test_no_two_data_keys_and_no_two_ciphertexts_are_the_same(kms: Kms, key: str) -> None:
    keys = {kms.admin.generate_data_key(KeyId=key, NumberOfBytes=32)["Plaintext"] for _ in "abc"}
    blobs = {encrypt(kms, key) for _ in "abc"}
    assert (len(keys), len(blobs)) == (3, 3)


def test_not_even_the_seed_makes_a_data_key_foreseeable() -> None:
    def data_key() -> bytes:
        with kms_served(seed=7) as kms:
            found: bytes = kms.admin.generate_data_key(KeyId=kms.key(), NumberOfBytes=32)[
                "Plaintext"
            ]
            return found

    assert data_key() != data_key()


# The context ------------------------------------------------------------------------------------

# (context at encryption, context at decryption, whether it opens)
CONTEXTS: list[tuple[dict[str, str], dict[str, str], bool]] = [
    ({}, {}, True),
    ({"a": "1"}, {"a": "1"}, True),
    ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}, True),
    ({"a": ""}, {"a": ""}, True),
    ({"é": "ü"}, {"é": "ü"}, True),
    ({"a": "1"}, {}, False),
    ({}, {"a": "1"}, False),
    ({"a": "1"}, {"a": "1", "b": "2"}, False),
    ({"a": "1", "b": "2"}, {"a": "1"}, False),
    ({"a": "1"}, {"a": "2"}, False),
    ({"a": "x"}, {"a": "X"}, False),
    ({"a": "x"}, {"A": "x"}, False),
    ({"a": "bc"}, {"ab": "c"}, False),
    ({"a": "b", "c": "d"}, {"a": "d", "c": "b"}, False),
    ({"a": "1"}, {"a": "1 "}, False),
    ({"a": ""}, {}, False),
]


@pytest.mark.parametrize(("at_encryption", "at_decryption", "opens"), CONTEXTS)
def test_the_context_must_be_exactly_that_of_encryption(
    kms: Kms, key: str, at_encryption: dict[str, str], at_decryption: dict[str, str], opens: bool
) -> None:
    """Case-sensitive, in any order. Source: encrypt_context.html"""
    blobs = [
        encrypt(kms, key, EncryptionContext=at_encryption),
        kms.admin.generate_data_key(KeyId=key, NumberOfBytes=32, EncryptionContext=at_encryption)[
            "CiphertextBlob"
        ],
    ]
    for blob in blobs:
        asked = {"CiphertextBlob": blob, "EncryptionContext": at_decryption}
        if opens:
            assert outcome(kms.admin.decrypt, **asked) == "allowed"
        else:
            assert refused(kms.admin.decrypt, **asked) == INVALID
            assert kms.record("Decrypt")["errorCode"] == "InvalidCiphertextException"


texts = st.text(st.characters(codec="utf-8"), max_size=12)
contexts = st.dictionaries(texts, texts, max_size=5)


@given(plaintext=st.binary(min_size=1, max_size=4096), context=contexts)
@settings(max_examples=40, deadline=None)
def test_law_decrypt_undoes_encrypt_for_any_context(
    kms: Kms, key: str, plaintext: bytes, context: dict[str, str]
) -> None:
    blob = encrypt(kms, key, plaintext, EncryptionContext=context)
    turned = dict(reversed(context.items()))
    answer = kms.admin.decrypt(CiphertextBlob=blob, EncryptionContext=turned)
    assert answer["Plaintext"] == plaintext


# The same laws on the ciphertext itself, where many more examples can be tried.
ARN = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{NO_KEY}"
MATERIAL_ID, MATERIAL = "ab" * 32, bytes(range(32))


def opened(blob: bytes, context: dict[str, str]) -> bytes | None:
    """The plaintext, None where the blob is refused."""
    try:
        return ciphertext.unseal(ciphertext.parse(blob), MATERIAL, context)
    except ciphertext.BlobError:
        return None


@given(one=contexts, other=contexts)
@example({"a": "bc"}, {"ab": "c"})
@example({"a": "b", "c": "d"}, {"a": "bcd"})
@example({}, {"": ""})
def test_law_two_contexts_are_bound_the_same_only_if_they_are_equal(
    one: dict[str, str], other: dict[str, str]
) -> None:
    blob = ciphertext.seal(ARN, MATERIAL_ID, MATERIAL, b"x", one)
    assert (opened(blob, other) == b"x") == (one == other)
    same = ciphertext.canonical_context(one) == ciphertext.canonical_context(other)
    assert same == (one == other)


@given(plaintext=st.binary(min_size=1, max_size=64), data=st.data())
def test_law_any_changed_byte_is_refused(plaintext: bytes, data: st.DataObject) -> None:
    blob = ciphertext.seal(ARN, MATERIAL_ID, MATERIAL, plaintext, {"a": "1"})
    assert opened(blob, {"a": "1"}) == plaintext
    place = data.draw(st.integers(0, len(blob) - 1))
    flip = data.draw(st.integers(1, 255))
    altered = blob[:place] + bytes([blob[place] ^ flip]) + blob[place + 1 :]
    assert opened(altered, {"a": "1"}) is None
    assert opened(blob[:place], {"a": "1"}) is None
    assert opened(blob + bytes([flip]), {"a": "1"}) is None


def test_a_blob_s_parts() -> None:
    blob = ciphertext.parse(ciphertext.seal(ARN, MATERIAL_ID, MATERIAL, b"x", {}))
    assert (blob.key_arn, blob.material_id) == (ARN, MATERIAL_ID)


@given(place=st.floats(0, 0.999), flip=st.integers(1, 255))
@example(place=0.09375, flip=1)  # the partition in the ciphertext's key ARN
@settings(max_examples=60, deadline=None)
def test_law_kms_refuses_a_ciphertext_with_any_byte_changed(
    kms: Kms, key: str, place: float, flip: int
) -> None:
    """With the key named; without, the changed byte may name another key, or none."""
    blob = bytearray(encrypt(kms, key))
    blob[int(place * len(blob))] ^= flip
    named = outcome(kms.admin.decrypt, CiphertextBlob=bytes(blob), KeyId=key)
    assert named in ("InvalidCiphertextException", "IncorrectKeyException")
    alone = outcome(kms.admin.decrypt, CiphertextBlob=bytes(blob))
    assert alone in ("InvalidCiphertextException", "AccessDeniedException")


def test_what_is_no_ciphertext(kms: Kms, key: str) -> None:
    whole = encrypt(kms, key)
    for blob in (b"x", b"x" * 6144, whole[:-1], whole[:40], whole + b"x", whole * 2):
        assert refused(kms.admin.decrypt, CiphertextBlob=blob) == INVALID
        assert refused(kms.admin.decrypt, CiphertextBlob=blob, KeyId=key) == INVALID


# Keys -------------------------------------------------------------------------------------------


def test_a_key_that_is_not_the_ciphertext_s(kms: Kms, key: str) -> None:
    blob, other = encrypt(kms, key), kms.key()
    told = (
        "IncorrectKeyException",
        "The key ID in the request does not identify a CMK that can perform this operation.",
    )
    for name in (other, key_id(other)):
        assert refused(kms.admin.decrypt, CiphertextBlob=blob, KeyId=name) == told
    for name in (key, key_id(key)):
        assert outcome(kms.admin.decrypt, CiphertextBlob=blob, KeyId=name) == "allowed"


def test_a_ciphertext_opens_only_in_its_region(kms: Kms, key: str) -> None:
    blob, elsewhere = encrypt(kms, key), kms.of(kms.served.administrator, "eu-west-1")
    code, text = refused(elsewhere.decrypt, CiphertextBlob=blob)
    assert code == "AccessDeniedException"
    assert "does not exist in this region" in text
    told = ("NotFoundException", f"Invalid arn {REGION}")
    assert refused(elsewhere.decrypt, CiphertextBlob=blob, KeyId=key) == told
    assert refused(elsewhere.encrypt, KeyId=key, Plaintext=b"x") == told


def test_another_account_decrypts_by_key_id_key_arn_alias_arn_or_none(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html"""
    other = {"Principal": {"AWS": f"arn:aws:iam::{OTHER_ACCOUNT}:root"}}
    key = kms.key(allow("Decrypt", "Encrypt", **other))
    kms.admin.create_alias(AliasName="alias/shared", TargetKeyId=key)
    alias = f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/shared"
    foreign, blob = kms.of(kms.account(OTHER_ACCOUNT).administrator), encrypt(kms, key)
    assert foreign.decrypt(CiphertextBlob=blob)["KeyId"] == key
    for name in (key, key_id(key), alias):
        assert foreign.decrypt(CiphertextBlob=blob, KeyId=name)["Plaintext"] == b"secret"
    for name in (key, alias):
        assert outcome(foreign.encrypt, KeyId=name, Plaintext=b"x") == "allowed"
    for name in (key_id(key), "alias/shared"):
        assert outcome(foreign.encrypt, KeyId=name, Plaintext=b"x") == "NotFoundException"
    kms.admin.put_key_policy(KeyId=key, Policy=document(DELEGATION))
    assert outcome(foreign.decrypt, CiphertextBlob=blob) == "AccessDeniedException"
    assert outcome(foreign.decrypt, CiphertextBlob=blob, KeyId=key) == "AccessDeniedException"


def test_the_records_of_another_account_s_use_are_in_both(kms: Kms) -> None:
    """A refused one only in the caller's.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/logging-using-cloudtrail.html
    """
    other = {"Principal": {"AWS": f"arn:aws:iam::{OTHER_ACCOUNT}:root"}}
    key = kms.key(allow("Encrypt", **other))
    foreign, trail = kms.of(kms.account(OTHER_ACCOUNT).administrator), kms.served.world.trail

    def newest(account: str) -> dict[str, Any]:
        return dict(trail.entries(account, REGION)[-1].record)

    foreign.encrypt(KeyId=key, Plaintext=b"x")
    ours, theirs = newest(ACCOUNT), newest(OTHER_ACCOUNT)
    assert ours["eventName"] == theirs["eventName"] == "Encrypt"
    assert ours["sharedEventID"] == theirs["sharedEventID"]
    assert (ours["recipientAccountId"], theirs["recipientAccountId"]) == (ACCOUNT, OTHER_ACCOUNT)
    assert outcome(foreign.describe_key, KeyId=key) == "AccessDeniedException"
    assert newest(OTHER_ACCOUNT)["errorCode"] == "AccessDenied"
    assert newest(ACCOUNT)["eventID"] == ours["eventID"]


# Sizes and parameters ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "ValidationException"), (1, "allowed"), (4096, "allowed"), (4097, "ValidationException")],
)
def test_the_size_of_a_plaintext(kms: Kms, key: str, size: int, expected: str) -> None:
    assert outcome(kms.admin.encrypt, KeyId=key, Plaintext=b"p" * size) == expected


def test_a_refusal_never_shows_a_plaintext(kms: Kms, key: str) -> None:
    _, text = refused(kms.admin.encrypt, KeyId=key, Plaintext=b"secret" * 1000)
    assert "secret" not in text


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"KeySpec": "AES_256", "NumberOfBytes": 32},
        {"NumberOfBytes": 0},
        {"NumberOfBytes": 1025},
        {"KeySpec": "AES_512"},
    ],
    ids=str,
)
def test_a_data_key_s_length_is_said_once(kms: Kms, key: str, asked: dict[str, Any]) -> None:
    for method in (kms.admin.generate_data_key, kms.admin.generate_data_key_without_plaintext):
        assert outcome(method, KeyId=key, **asked) == "ValidationException"


def test_another_algorithm_is_not_for_this_key(kms: Kms, key: str) -> None:
    told = (
        "InvalidKeyUsageException",
        "Algorithm RSAES_OAEP_SHA_256 is incompatible with key spec SYMMETRIC_DEFAULT.",
    )
    other = {"EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
    assert refused(kms.admin.encrypt, KeyId=key, Plaintext=b"x", **other) == told
    assert refused(kms.admin.decrypt, CiphertextBlob=encrypt(kms, key), **other) == told
    named = {"EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}
    assert outcome(kms.admin.encrypt, KeyId=key, Plaintext=b"x", **named) == "allowed"


def test_decrypt_needs_a_ciphertext(kms: Kms) -> None:
    code, text = refused(kms.admin.decrypt)
    assert (code, "'ciphertextBlob'" in text) == ("ValidationException", True)
