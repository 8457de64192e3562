"""CloudTrail's records of KMS calls, field by field as AWS's examples have them.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/logging-using-cloudtrail.html and the
examples that it links, which are named below. The examples' years differ: since December 2022
``responseElements`` has the key's ARN for operations that change a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from kms_setting import (
    ADMINISTRATOR,
    DELEGATION,
    Kms,
    document,
    key_id,
    kms_served,
    outcome,
)
from served import ACCOUNT, REGION

TIME = re.compile(r"[A-Z][a-z]{2} \d{1,2}, \d{4}, \d{1,2}:\d{2}:\d{2} [AP]M")


@pytest.fixture(scope="module")
def kms() -> Iterator[Kms]:
    with kms_served() as served:
        yield served


@pytest.fixture(scope="module")
def key(kms: Kms) -> str:
    return kms.key()


def of_key(arn: str) -> list[dict[str, str]]:
    return [{"accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": arn}]


def recorded(kms: Kms, name: str) -> tuple[Any, Any, bool, Any]:
    """Request, response, whether read-only, resources of the newest record of a name."""
    record = kms.record(name)
    assert record["eventSource"] == "kms.amazonaws.com"
    assert record["eventType"] == "AwsApiCall"
    assert record["managementEvent"] is True
    return (
        record["requestParameters"],
        record["responseElements"],
        record["readOnly"],
        record.get("resources"),
    )


def test_create_key(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-createkey.html"""
    made = kms.admin.create_key(Description="d", Tags=[{"TagKey": "k", "TagValue": "v"}])
    metadata = made["KeyMetadata"]
    request, response, read_only, resources = recorded(kms, "CreateKey")
    assert request == {
        "description": "d",
        "origin": "AWS_KMS",
        "bypassPolicyLockoutSafetyCheck": False,
        "customerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "keySpec": "SYMMETRIC_DEFAULT",
        "keyUsage": "ENCRYPT_DECRYPT",
        "multiRegion": False,
        "tags": [{"tagKey": "k", "tagValue": "v"}],
    }
    shown = response["keyMetadata"]
    assert TIME.fullmatch(shown.pop("creationDate"))
    assert shown == {
        "aWSAccountId": ACCOUNT,
        "keyId": metadata["KeyId"],
        "arn": metadata["Arn"],
        "enabled": True,
        "description": "d",
        "keyUsage": "ENCRYPT_DECRYPT",
        "keyState": "Enabled",
        "origin": "AWS_KMS",
        "keyManager": "CUSTOMER",
        "customerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "keySpec": "SYMMETRIC_DEFAULT",
        "encryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "multiRegion": False,
        "currentKeyMaterialId": metadata["CurrentKeyMaterialId"],
    }
    assert (read_only, resources) == (False, of_key(metadata["Arn"]))


def test_put_key_policy(kms: Kms, key: str) -> None:
    """The policy as text, the key as passed, and no response.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-put-key-policy.html
    """
    policy = document(DELEGATION)
    kms.admin.put_key_policy(KeyId=key_id(key), Policy=policy)
    request = {
        "keyId": key_id(key),
        "policyName": "default",
        "policy": policy,
        "bypassPolicyLockoutSafetyCheck": False,
    }
    assert recorded(kms, "PutKeyPolicy") == (request, None, False, of_key(key))


def test_aliases(kms: Kms, key: str) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-createalias.html"""
    alias = f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/recorded"
    both = of_key(key) + of_key(alias)
    named = {"aliasName": "alias/recorded", "targetKeyId": key}
    kms.admin.create_alias(AliasName="alias/recorded", TargetKeyId=key)
    assert recorded(kms, "CreateAlias") == (named, {"keyId": key}, False, both)
    kms.admin.update_alias(AliasName="alias/recorded", TargetKeyId=key)
    assert recorded(kms, "UpdateAlias") == (named, {"keyId": key}, False, both)
    kms.admin.delete_alias(AliasName="alias/recorded")
    request = {"aliasName": "alias/recorded"}
    assert recorded(kms, "DeleteAlias") == (request, {"keyId": key}, False, both)


def test_grants(kms: Kms, key: str) -> None:
    """The context's keys are as passed, and no token is recorded.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-creategrant.html
    """
    grant = kms.admin.create_grant(
        KeyId=key,
        GranteePrincipal=ADMINISTRATOR,
        Operations=["Encrypt", "RetireGrant"],
        Constraints={"EncryptionContextSubset": {"ContextKey1": "Value1"}},
    )
    request = {
        "keyId": key,
        "constraints": {"encryptionContextSubset": {"ContextKey1": "Value1"}},
        "operations": ["Encrypt", "RetireGrant"],
        "granteePrincipal": ADMINISTRATOR,
    }
    response = {"grantId": grant["GrantId"], "keyId": key}
    assert recorded(kms, "CreateGrant") == (request, response, False, of_key(key))
    assert grant["GrantToken"] not in str(kms.record("CreateGrant"))
    kms.admin.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
    request = {"keyId": key, "grantId": grant["GrantId"]}
    assert recorded(kms, "RevokeGrant") == (request, {"keyId": key}, False, of_key(key))


def test_deletion(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-schedule-key-deletion.html"""
    key = kms.key()
    kms.admin.schedule_key_deletion(KeyId=key_id(key), PendingWindowInDays=7)
    request, response, read_only, resources = recorded(kms, "ScheduleKeyDeletion")
    assert request == {"pendingWindowInDays": 7, "keyId": key_id(key)}
    assert TIME.fullmatch(response.pop("deletionDate"))
    assert response == {"keyId": key, "keyState": "PendingDeletion", "pendingWindowInDays": 7}
    assert (read_only, resources) == (False, of_key(key))
    kms.admin.cancel_key_deletion(KeyId=key)
    assert recorded(kms, "CancelKeyDeletion") == (
        {"keyId": key},
        {"keyId": key},
        False,
        of_key(key),
    )


@pytest.mark.parametrize(
    ("operation", "asked", "request_", "answered"),
    [
        ("DisableKey", {}, {}, True),
        ("EnableKey", {}, {}, True),
        (
            "TagResource",
            {"Tags": [{"TagKey": "Department", "TagValue": "IT"}]},
            {"tags": [{"tagKey": "Department", "tagValue": "IT"}]},
            True,
        ),
        ("UntagResource", {"TagKeys": ["Department"]}, {"tagKeys": ["Department"]}, True),
        ("EnableKeyRotation", {"RotationPeriodInDays": 90}, {"rotationPeriodInDays": 90}, True),
        ("DisableKeyRotation", {}, {}, False),
        ("UpdateKeyDescription", {"Description": "d"}, {"description": "d"}, False),
    ],
)
def test_operations_that_change_a_key(
    kms: Kms,
    key: str,
    operation: str,
    asked: dict[str, Any],
    request_: dict[str, Any],
    answered: bool,
) -> None:
    """Sources: ct-disablekey.html, ct-enablekey.html, ct-tagresource.html, ct-untagresource.html,
    ct-enablekeyrotation.html, ct-disable-key-rotation.html, ct-update-key-description.html
    """
    getattr(kms.admin, re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower())(KeyId=key, **asked)
    response = {"keyId": key} if answered else None
    assert recorded(kms, operation) == ({"keyId": key, **request_}, response, False, of_key(key))


@pytest.mark.parametrize(
    "operation",
    ["describe_key", "get_key_policy", "get_key_rotation_status", "list_grants"],
)
def test_operations_that_read_a_key_have_no_response_recorded(
    kms: Kms, key: str, operation: str
) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-describekey.html"""
    getattr(kms.admin, operation)(KeyId=key)
    name = "".join(part.title() for part in operation.split("_"))
    assert recorded(kms, name) == ({"keyId": key}, None, True, of_key(key))


def test_encrypt_shows_neither_plaintext_nor_ciphertext(kms: Kms, key: str) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-encrypt.html"""
    context = {"Department": "IT"}
    kms.admin.encrypt(KeyId=key, Plaintext=b"secret", EncryptionContext=context)
    request = {
        "keyId": key,
        "encryptionContext": context,
        "encryptionAlgorithm": "SYMMETRIC_DEFAULT",
    }
    assert recorded(kms, "Encrypt") == (request, None, True, of_key(key))


def test_generate_data_key(kms: Kms, key: str) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-generatedatakey.html"""
    kms.admin.generate_data_key(KeyId=key_id(key), KeySpec="AES_256")
    request = {"keyId": key_id(key), "keySpec": "AES_256"}
    assert recorded(kms, "GenerateDataKey") == (request, None, True, of_key(key))
    kms.admin.generate_data_key_without_plaintext(KeyId=key, NumberOfBytes=16)
    request = {"keyId": key, "numberOfBytes": 16}  # type: ignore[dict-item]
    expected = (request, None, True, of_key(key))
    assert recorded(kms, "GenerateDataKeyWithoutPlaintext") == expected


def test_a_refused_state_keeps_the_request_and_the_key(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-decrypt.html (failed)"""
    key = kms.key()
    kms.admin.disable_key(KeyId=key)
    assert outcome(kms.admin.generate_data_key, KeyId=key, NumberOfBytes=32) == "DisabledException"
    record = kms.record("GenerateDataKey")
    assert record["errorCode"] == "DisabledException"
    assert record["errorMessage"] == f"{key} is disabled."
    assert record["requestParameters"] == {"keyId": key, "numberOfBytes": 32}
    assert record["resources"] == of_key(key)
