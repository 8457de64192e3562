"""Every KMS operation against what AWS documents of all of them, as tables.

Which permission it needs on which resource, whether it works on other accounts' keys, whether it
takes an alias: read from botocore's own documentation of each operation, which is that of
https://docs.aws.amazon.com/kms/latest/APIReference/ and agrees with
https://docs.aws.amazon.com/kms/latest/developerguide/kms-api-permissions-reference.html
In which key state it works: https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest
from awssandbox import kms as kms_package
from awssandbox import services
from kms_setting import (
    ADMINISTRATOR,
    DELEGATION,
    OTHER_ACCOUNT,
    Kms,
    allow,
    document,
    kms_served,
    method,
    outcome,
    refused,
)
from served import ACCOUNT, REGION

OPERATIONS = sorted(kms_package.OPERATIONS)
NO_KEY_OF_ITS_OWN = {"CreateKey", "ListKeys", "ListAliases", "ListRetirableGrants"}
"""Operations whose permission is on ``*``, or on the retiring principal."""
ALIAS_OPERATIONS = {"CreateAlias", "UpdateAlias", "DeleteAlias"}
BY_THE_GRANT = {"RetireGrant"}
"""Operations that the grant decides, not the key policy: see `test_kms_retire_grant`."""
MULTI_REGION = {"ReplicateKey"}
"""Operations on multi-Region keys alone: see `test_kms_multi_region`."""
KEY_OPERATIONS = sorted(
    set(OPERATIONS) - NO_KEY_OF_ITS_OWN - ALIAS_OPERATIONS - BY_THE_GRANT - MULTI_REGION
)
RETIRING = {"RetiringPrincipal": ADMINISTRATOR}
DRY_RUN = (
    "CreateGrant",
    "Decrypt",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "RetireGrant",
    "RevokeGrant",
)
"""Source: https://docs.aws.amazon.com/kms/latest/developerguide/testing-permissions.html"""


def documentation(operation: str) -> str:
    """AWS's documentation of an operation, without its mark-up."""
    text = services.model("kms").operation_model(operation).documentation
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", "", text))


class Prepared:
    """A new key with what the operations need, and valid parameters for each."""

    fresh = itertools.count()

    def __init__(self, kms: Kms, state: str = "Enabled") -> None:
        self.kms = kms
        self.key = kms.key()
        self.alias = f"alias/prepared-{next(self.fresh)}"
        kms.admin.create_alias(AliasName=self.alias, TargetKeyId=self.key)
        self.blob = kms.admin.encrypt(KeyId=self.key, Plaintext=b"x")["CiphertextBlob"]
        self.grant = kms.admin.create_grant(
            KeyId=self.key, GranteePrincipal=ADMINISTRATOR, Operations=["Encrypt"]
        )["GrantId"]
        if state == "Disabled":
            kms.admin.disable_key(KeyId=self.key)
        elif state == "PendingDeletion":
            kms.admin.schedule_key_deletion(KeyId=self.key)

    def key_policy(self, *statements: dict[str, Any]) -> None:
        self.kms.admin.put_key_policy(KeyId=self.key, Policy=document(DELEGATION, *statements))

    def parameters(self, operation: str, key: str | None = None) -> dict[str, Any]:
        """Parameters with which `operation` works on the key (named by `key`)."""
        of_key = {"KeyId": key or self.key}
        more: dict[str, dict[str, Any]] = {
            "CreateAlias": {
                "AliasName": f"alias/prepared-{next(self.fresh)}",
                "TargetKeyId": of_key["KeyId"],
            },
            "UpdateAlias": {"AliasName": self.alias, "TargetKeyId": of_key["KeyId"]},
            "DeleteAlias": {"AliasName": self.alias},
            "CreateKey": {},
            "ListKeys": {},
            "ListRetirableGrants": RETIRING,
            "CreateGrant": {**of_key, "GranteePrincipal": ADMINISTRATOR, "Operations": ["Encrypt"]},
            "Decrypt": {**of_key, "CiphertextBlob": self.blob},
            "Encrypt": {**of_key, "Plaintext": b"x"},
            "GenerateDataKey": {**of_key, "KeySpec": "AES_256"},
            "GenerateDataKeyWithoutPlaintext": {**of_key, "NumberOfBytes": 16},
            "PutKeyPolicy": {**of_key, "Policy": document(DELEGATION)},
            "RetireGrant": {**of_key, "GrantId": self.grant},
            "RevokeGrant": {**of_key, "GrantId": self.grant},
            "TagResource": {**of_key, "Tags": [{"TagKey": "k", "TagValue": "v"}]},
            "UntagResource": {**of_key, "TagKeys": ["k"]},
            "UpdateKeyDescription": {**of_key, "Description": "d"},
        }
        return more.get(operation, of_key)

    def outcome(self, client: Any, operation: str, key: str | None = None, **more: Any) -> str:
        """What `client`'s call of `operation` answers."""
        return outcome(method(client, operation), **{**self.parameters(operation, key), **more})


@pytest.fixture(scope="module")
def kms() -> Iterator[Kms]:
    with kms_served() as served:
        served.stranger = served.user("Stranger")  # type: ignore[attr-defined]
        yield served


def stranger(kms: Kms) -> tuple[Any, str]:
    """A user without any policy, and its ARN."""
    return kms.stranger, f"arn:aws:iam::{ACCOUNT}:user/Stranger"  # type: ignore[attr-defined]


# Permissions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", KEY_OPERATIONS)
def test_the_key_policy_alone_allows_exactly_the_operation_of_its_name(
    kms: Kms, operation: str
) -> None:
    assert f"kms:{operation} (key policy)" in documentation(operation)
    client, arn = stranger(kms)
    state = "PendingDeletion" if operation == "CancelKeyDeletion" else "Enabled"
    prepared = Prepared(kms, state)
    to_client = {"Principal": {"AWS": arn}}
    all_others = {**allow(operation, **to_client)}
    all_others["NotAction"] = all_others.pop("Action")
    prepared.key_policy(all_others)
    code, text = refused(method(client, operation), **prepared.parameters(operation))
    assert code == "AccessDeniedException"
    assert text.startswith(
        f"User: {arn} is not authorized to perform: kms:{operation} on resource: {prepared.key}"
    )
    # PutKeyPolicy's lock-out check asks for that permission in the new policy too.
    own = {"Policy": document(DELEGATION, allow(operation, **to_client))}
    more = own if operation == "PutKeyPolicy" else {}
    prepared.key_policy(allow(operation, **to_client))
    assert prepared.outcome(client, operation, **more) == "allowed"


@pytest.mark.parametrize("operation", sorted(NO_KEY_OF_ITS_OWN))
def test_what_concerns_no_key_needs_an_identity_policy(kms: Kms, operation: str) -> None:
    assert f"kms:{operation} (IAM policy)" in documentation(operation)
    client = kms.user(f"May{operation}", allow(operation))
    asked = RETIRING if operation == "ListRetirableGrants" else {}
    assert outcome(method(client, operation), **asked) == "allowed"
    nobody, _ = stranger(kms)
    code, text = refused(method(nobody, operation), **asked)
    assert code == "AccessDeniedException"
    assert f"kms:{operation} on resource: {asked.get('RetiringPrincipal', '*')}" in text


@pytest.mark.parametrize("operation", sorted(set(KEY_OPERATIONS) | ALIAS_OPERATIONS))
def test_which_operations_work_on_another_account_s_key(kms: Kms, operation: str) -> None:
    """By ARN, where both accounts allow it; else the refusal says not even whether it exists."""
    found = re.search(r"Cross-account use: ?(Yes|No)", documentation(operation))
    assert found is not None
    state = "PendingDeletion" if operation == "CancelKeyDeletion" else "Enabled"
    prepared = Prepared(kms, state)
    other = {"Principal": {"AWS": f"arn:aws:iam::{OTHER_ACCOUNT}:root"}}
    prepared.key_policy(allow("*", **other))
    foreign = kms.of(kms.account(OTHER_ACCOUNT).administrator)
    got = prepared.outcome(foreign, operation)
    if operation in ("UpdateAlias", "DeleteAlias"):
        assert got == "NotFoundException", "an alias is always one of the caller's account"
    else:
        assert got == ("allowed" if found[1] == "Yes" else "AccessDeniedException")
    if found[1] == "Yes":
        prepared.key_policy()
        assert prepared.outcome(foreign, operation) == "AccessDeniedException"
        gone = prepared.key.rpartition("/")[0] + "/00000000-0000-4000-8000-000000000000"
        assert prepared.outcome(foreign, operation, gone) == "AccessDeniedException"


@pytest.mark.parametrize(
    "operation", [o for o in KEY_OPERATIONS if "Cross-account use: Yes" in documentation(o)]
)
def test_by_which_name_another_account_s_key_is_used(kms: Kms, operation: str) -> None:
    """By key ARN, and by alias ARN where AWS says so; by neither id nor alias name alone."""
    prepared = Prepared(kms)
    prepared.key_policy(allow("*", Principal={"AWS": f"arn:aws:iam::{OTHER_ACCOUNT}:root"}))
    foreign = kms.of(kms.account(OTHER_ACCOUNT).administrator)
    alias = f"arn:aws:kms:{REGION}:{ACCOUNT}:{prepared.alias}"
    takes = "key ARN or alias ARN" in documentation(operation)
    assert prepared.outcome(foreign, operation) == "allowed"
    assert prepared.outcome(foreign, operation, alias) == (
        "allowed" if takes else "InvalidArnException"
    )
    by_id = prepared.outcome(foreign, operation, prepared.key.rpartition("/")[2])
    # Decrypt's ciphertext names the account, so that the id suffices.
    assert by_id == ("allowed" if operation == "Decrypt" else "NotFoundException")
    assert prepared.outcome(foreign, operation, prepared.alias) == (
        "NotFoundException" if takes else "InvalidArnException"
    )


def test_another_account_needs_its_own_permission_too(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-modifying-external-accounts.html"""
    prepared = Prepared(kms)
    prepared.key_policy(allow("*", Principal={"AWS": f"arn:aws:iam::{OTHER_ACCOUNT}:root"}))
    served = kms.account(OTHER_ACCOUNT)
    poor = kms.of(served.user("Poor"))
    rich = kms.of(served.user("Rich", allow("Encrypt", resource=prepared.key)))
    assert prepared.outcome(poor, "Encrypt") == "AccessDeniedException"
    assert prepared.outcome(rich, "Encrypt") == "allowed"


@pytest.mark.parametrize("operation", KEY_OPERATIONS)
def test_which_operations_take_an_alias(kms: Kms, operation: str) -> None:
    key_id = services.model("kms").operation_model(operation).input_shape.members["KeyId"]
    said = key_id.documentation.lower()
    takes = "alias name" in said and "alias names are not supported" not in said
    prepared = Prepared(kms, "PendingDeletion" if operation == "CancelKeyDeletion" else "Enabled")
    names = (prepared.alias, f"arn:aws:kms:{REGION}:{ACCOUNT}:{prepared.alias}")
    for name in names:
        if takes:
            assert prepared.outcome(kms.admin, operation, name) == "allowed"
        else:
            asked = prepared.parameters(operation, name)
            code, text = refused(method(kms.admin, operation), **asked)
            assert code == "InvalidArnException"
            assert text == "Key Aliases are not supported for this operation."


@pytest.mark.parametrize("operation", KEY_OPERATIONS)
def test_each_operation_takes_a_key_id_and_a_key_arn(kms: Kms, operation: str) -> None:
    for short in (True, False):
        state = "PendingDeletion" if operation == "CancelKeyDeletion" else "Enabled"
        prepared = Prepared(kms, state)
        name = prepared.key.rpartition("/")[2] if short else prepared.key
        assert prepared.outcome(kms.admin, operation, name) == "allowed"


# Key states -------------------------------------------------------------------------------------

ANY = ("allowed", "allowed", "allowed")
DISABLED, PENDING = "DisabledException", "KMSInvalidStateException"
NEEDS_ENABLED = ("allowed", DISABLED, PENDING)
NOT_PENDING = ("allowed", "allowed", PENDING)
# operation → outcome for a key that is Enabled, Disabled, PendingDeletion: AWS's table. Where it
# says "[2] or [3]" for a key pending deletion, the sandbox answers [3], KMSInvalidStateException.
STATES = {
    "CancelKeyDeletion": (PENDING, PENDING, "allowed"),
    "CreateAlias": NOT_PENDING,
    "CreateGrant": NEEDS_ENABLED,
    "Decrypt": NEEDS_ENABLED,
    "DeleteAlias": ANY,
    "DescribeKey": ANY,
    "DisableKey": NOT_PENDING,
    "DisableKeyRotation": NEEDS_ENABLED,
    "EnableKey": NOT_PENDING,
    "EnableKeyRotation": NEEDS_ENABLED,
    "Encrypt": NEEDS_ENABLED,
    "GenerateDataKey": NEEDS_ENABLED,
    "GenerateDataKeyWithoutPlaintext": NEEDS_ENABLED,
    "GetKeyLastUsage": ANY,
    "GetKeyPolicy": ANY,
    "GetKeyRotationStatus": ANY,
    "ListAliases": ANY,
    "ListGrants": ANY,
    "ListKeyPolicies": ANY,
    "ListResourceTags": ANY,
    "PutKeyPolicy": ANY,
    "RetireGrant": ANY,
    "RevokeGrant": ANY,
    "ScheduleKeyDeletion": NOT_PENDING,
    "TagResource": NOT_PENDING,
    "UntagResource": NOT_PENDING,
    "UpdateAlias": NOT_PENDING,
    "UpdateKeyDescription": NOT_PENDING,
}


def test_the_table_of_states_is_whole() -> None:
    without_a_key = {"CreateKey", "ListKeys", "ListRetirableGrants"}
    assert sorted(STATES) == sorted(set(OPERATIONS) - without_a_key - MULTI_REGION)


@pytest.mark.parametrize("state", ["Enabled", "Disabled", "PendingDeletion"])
@pytest.mark.parametrize("operation", sorted(STATES))
def test_in_which_key_state_an_operation_works(kms: Kms, operation: str, state: str) -> None:
    expected = STATES[operation][("Enabled", "Disabled", "PendingDeletion").index(state)]
    prepared = Prepared(kms, state)
    call, asked = method(kms.admin, operation), prepared.parameters(operation)
    if expected == "allowed":
        call(**asked)
        return
    texts = {
        DISABLED: f"{prepared.key} is disabled.",
        PENDING: f"{prepared.key} is pending deletion.",
    }
    text = texts[expected]
    if operation == "CancelKeyDeletion":
        text = f"{prepared.key} is not pending deletion."
    assert refused(call, **asked) == (expected, text)


def test_an_alias_can_leave_a_key_that_is_pending_deletion(kms: Kms) -> None:
    """Only the key that the alias is to name must not be. Source: key-state.html [10]"""
    prepared = Prepared(kms, "PendingDeletion")
    kms.admin.update_alias(AliasName=prepared.alias, TargetKeyId=kms.key())


def test_who_may_not_use_a_key_is_not_told_its_state(kms: Kms) -> None:
    client, _ = stranger(kms)
    assert Prepared(kms, "Disabled").outcome(client, "Encrypt") == "AccessDeniedException"


# Dry runs ---------------------------------------------------------------------------------------


def test_which_operations_have_a_dry_run() -> None:
    """Those of AWS's list that the sandbox serves; the others have no such parameter."""
    model = services.model("kms")
    having = [o for o in OPERATIONS if "DryRun" in model.operation_model(o).input_shape.members]
    assert having == list(DRY_RUN)


@pytest.mark.parametrize("operation", DRY_RUN)
def test_a_dry_run_answers_what_the_call_would_and_changes_nothing(
    kms: Kms, operation: str
) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/testing-permissions.html"""
    prepared = Prepared(kms)
    grants = kms.admin.list_grants(KeyId=prepared.key)["Grants"]
    asked = {**prepared.parameters(operation), "DryRun": True}
    call = method(kms.admin, operation)
    assert refused(call, **asked) == (
        "DryRunOperationException",
        "The request would have succeeded, but the DryRun option is set.",
    )
    assert kms.admin.list_grants(KeyId=prepared.key)["Grants"] == grants
    record = kms.record(operation)
    assert record["errorCode"] == "DryRunOperationException"
    assert record["requestParameters"]["dryRun"] is True
    client, _ = stranger(kms)
    assert outcome(method(client, operation), **asked) == "AccessDeniedException"
    assert prepared.outcome(kms.admin, operation, DryRun=False) == "allowed"


@pytest.mark.parametrize("operation", sorted(set(DRY_RUN) - {"RetireGrant", "RevokeGrant"}))
def test_a_dry_run_on_a_key_that_cannot_be_used(kms: Kms, operation: str) -> None:
    prepared = Prepared(kms, "Disabled")
    assert prepared.outcome(kms.admin, operation, DryRun=True) == "DisabledException"


@pytest.mark.parametrize(
    ("operation", "wrong", "code"),
    [
        ("CreateGrant", {"GranteePrincipal": f"{ADMINISTRATOR}s"}, "InvalidArnException"),
        ("Decrypt", {"CiphertextBlob": b"nonsense"}, "InvalidCiphertextException"),
        ("Decrypt", {"EncryptionContext": {"a": "b"}}, "InvalidCiphertextException"),
        ("Encrypt", {"Plaintext": b""}, "ValidationException"),
        ("GenerateDataKey", {"NumberOfBytes": 32}, "ValidationException"),
        ("RevokeGrant", {"GrantId": "0" * 64}, "NotFoundException"),
    ],
)
def test_a_dry_run_with_a_wrong_parameter(
    kms: Kms, operation: str, wrong: dict[str, Any], code: str
) -> None:
    assert Prepared(kms).outcome(kms.admin, operation, DryRun=True, **wrong) == code


def test_a_dry_run_of_decrypt_without_a_ciphertext(kms: Kms) -> None:
    """The permission alone is asked, so the key must be named.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html (DryRunModifiers)
    """
    key, client = kms.key(), stranger(kms)[0]
    alone = {"DryRun": True, "DryRunModifiers": ["IGNORE_CIPHERTEXT"]}
    assert outcome(kms.admin.decrypt, KeyId=key, **alone) == "DryRunOperationException"
    assert outcome(client.decrypt, KeyId=key, **alone) == "AccessDeniedException"
    code, text = refused(kms.admin.decrypt, **alone)
    assert (code, "'keyId'" in text) == ("ValidationException", True)
    code, text = refused(kms.admin.decrypt, KeyId=key, DryRun=True)
    assert (code, "'ciphertextBlob'" in text) == ("ValidationException", True)


# What is not imitated ---------------------------------------------------------------------------

NOT_IMITATED = [
    ("Decrypt", "Recipient", {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"}),
    ("GenerateDataKey", "Recipient", {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"}),
    ("CreateGrant", "GranteeServicePrincipal", "ec2.amazonaws.com"),
    ("CreateGrant", "RetiringServicePrincipal", "ec2.amazonaws.com"),
    ("CreateGrant", "Constraints", {"SourceArn": f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i"}),
    ("ListGrants", "GranteeServicePrincipal", "ec2.amazonaws.com"),
]


@pytest.mark.parametrize(("operation", "parameter", "value"), NOT_IMITATED)
def test_a_parameter_that_is_not_imitated_is_refused(
    kms: Kms, operation: str, parameter: str, value: Any
) -> None:
    prepared = Prepared(kms)
    asked = {**prepared.parameters(operation), parameter: value}
    code, text = refused(method(kms.admin, operation), **asked)
    assert code == "NotImplemented"
    named = "SourceArn" if parameter == "Constraints" else parameter
    assert re.search(rf"does not imitate .*\b{named}\b", text)
