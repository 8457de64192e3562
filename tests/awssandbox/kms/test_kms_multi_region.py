"""Multi-Region keys: a primary, its replicas, what they share and what each has of its own.

Sources: https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-overview.html,
https://docs.aws.amazon.com/kms/latest/APIReference/API_ReplicateKey.html
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from kms_setting import (
    DELEGATION,
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

AWAY = "eu-central-1"
THIRD = "ap-south-1"
_fresh = itertools.count()


@pytest.fixture(scope="module")
def kms() -> Iterator[Kms]:
    with kms_served() as served:
        yield served


def at(kms: Kms, region: str) -> Any:
    """KMS of another Region, as the administrator calls it."""
    return kms.of(kms.served.administrator, region)


def arn(key: str, region: str) -> str:
    return f"arn:aws:kms:{region}:{ACCOUNT}:key/{key_id(key)}"


def replicated(kms: Kms, *regions: str, **more: Any) -> str:
    """The ARN of a new primary key with replicas."""
    primary = kms.key(MultiRegion=True)
    for region in regions:
        kms.admin.replicate_key(KeyId=primary, ReplicaRegion=region, **more)
    return primary


def described(kms: Kms, key: str, region: str = REGION) -> dict[str, Any]:
    found: dict[str, Any] = at(kms, region).describe_key(KeyId=key_id(key))["KeyMetadata"]
    return found


def test_a_primary_key_and_its_replicas_name_each_other(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_MultiRegionConfiguration.html"""
    primary = replicated(kms, AWAY, THIRD)
    assert key_id(primary).startswith("mrk-")
    assert len(key_id(primary)) == 36
    for region, kind in ((REGION, "PRIMARY"), (AWAY, "REPLICA"), (THIRD, "REPLICA")):
        found = described(kms, primary, region)
        assert (found["KeyId"], found["MultiRegion"]) == (key_id(primary), True)
        assert found["Arn"] == arn(primary, region)
        assert found["MultiRegionConfiguration"] == {
            "MultiRegionKeyType": kind,
            "PrimaryKey": {"Arn": primary, "Region": REGION},
            "ReplicaKeys": [{"Arn": arn(primary, r), "Region": r} for r in (THIRD, AWAY)],
        }
    single = described(kms, kms.key())
    assert (single["MultiRegion"], "MultiRegionConfiguration" in single) == (False, False)


def test_what_is_encrypted_in_one_region_is_decrypted_in_another(kms: Kms) -> None:
    """Also after a rotation, and by each key's ARN or none; not under a key of one Region."""
    primary = replicated(kms, AWAY)
    kms.admin.enable_key_rotation(KeyId=primary, RotationPeriodInDays=90)
    there, context = at(kms, AWAY), {"a": "b"}
    sealed = [kms.admin.encrypt(KeyId=primary, Plaintext=b"x", EncryptionContext=context)]
    kms.advance(days=91)
    sealed.append(there.encrypt(KeyId=key_id(primary), Plaintext=b"x", EncryptionContext=context))
    for one in sealed:
        asked = {"CiphertextBlob": one["CiphertextBlob"], "EncryptionContext": context}
        for client, region in ((kms.admin, REGION), (there, AWAY)):
            own = arn(primary, region)
            for named in ({}, {"KeyId": own}, {"KeyId": key_id(own)}):
                answer = client.decrypt(**asked, **named)
                assert (answer["Plaintext"], answer["KeyId"]) == (b"x", own)
        assert kms.served.records("Decrypt", region=AWAY)[-1]["resources"][0]["ARN"] == own
    single = kms.admin.encrypt(KeyId=kms.key(), Plaintext=b"x")["CiphertextBlob"]
    assert outcome(there.decrypt, CiphertextBlob=single) == "AccessDeniedException"


def test_each_key_has_its_own_policy_tags_description_aliases_and_state(kms: Kms) -> None:
    policy = document(DELEGATION, allow("Decrypt", Principal={"AWS": OTHER_ACCOUNT}))
    tags = [{"TagKey": "k", "TagValue": "v"}]
    primary = kms.key(MultiRegion=True, Description="first")
    answer = kms.admin.replicate_key(
        KeyId=key_id(primary), ReplicaRegion=AWAY, Policy=policy, Tags=tags, Description="second"
    )
    there, named = at(kms, AWAY), {"KeyId": key_id(primary)}
    assert answer["ReplicaKeyMetadata"]["Description"] == "second"
    assert answer["ReplicaTags"] == tags == there.list_resource_tags(**named)["Tags"]
    assert answer["ReplicaPolicy"] == there.get_key_policy(**named)["Policy"]
    assert OTHER_ACCOUNT in answer["ReplicaPolicy"]
    assert OTHER_ACCOUNT not in kms.admin.get_key_policy(**named)["Policy"]
    assert kms.admin.list_resource_tags(**named)["Tags"] == []
    there.disable_key(**named)
    assert described(kms, primary)["KeyState"] == "Enabled"
    there.create_alias(AliasName="alias/there", TargetKeyId=named["KeyId"])
    assert kms.admin.list_aliases(**named)["Aliases"] == []
    default = replicated(kms, AWAY)
    assert '"Action" : "kms:*"' in there.get_key_policy(KeyId=key_id(default))["Policy"]


def test_rotation_is_set_on_the_primary_and_shared(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html"""
    primary = replicated(kms, AWAY)
    there, named = at(kms, AWAY), {"KeyId": key_id(primary)}
    for change in (there.enable_key_rotation, there.disable_key_rotation):
        assert outcome(change, **named) == "UnsupportedOperationException"
    kms.admin.enable_key_rotation(**named, RotationPeriodInDays=100)
    status = there.get_key_rotation_status(**named)
    assert (status["KeyRotationEnabled"], status["RotationPeriodInDays"]) == (True, 100)
    before = described(kms, primary, AWAY)["CurrentKeyMaterialId"]
    kms.advance(days=101)
    after = described(kms, primary, AWAY)["CurrentKeyMaterialId"]
    assert after != before
    assert after == described(kms, primary)["CurrentKeyMaterialId"]
    kms.admin.disable_key_rotation(**named)
    assert there.get_key_rotation_status(**named)["KeyRotationEnabled"] is False


def foreign(kms: Kms, key: str) -> str:
    client = kms.of(kms.account(OTHER_ACCOUNT).administrator)
    return outcome(client.replicate_key, KeyId=key, ReplicaRegion=AWAY)


def test_a_replica_that_is_not_made(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ReplicateKey.html"""
    primary, single = replicated(kms, AWAY), kms.key()
    kms.admin.create_alias(AliasName="alias/primary", TargetKeyId=primary)

    def not_made(key: str, region: str = THIRD, client: Any = kms.admin, **more: Any) -> str:
        return outcome(client.replicate_key, KeyId=key, ReplicaRegion=region, **more)

    assert not_made(single) == "UnsupportedOperationException"
    assert not_made(key_id(primary), client=at(kms, AWAY)) == "UnsupportedOperationException"
    for region in (AWAY, REGION):
        assert not_made(primary, region) == "AlreadyExistsException"
    at(kms, AWAY).schedule_key_deletion(KeyId=key_id(primary))
    assert not_made(primary, AWAY) == "AlreadyExistsException", "also one that waits for deletion"
    assert not_made(primary, "xx-nowhere-1") == "ValidationException"
    assert not_made("alias/primary") == "InvalidArnException"
    assert not_made(primary, Policy="{}") == "MalformedPolicyDocumentException"
    assert not_made(primary, Tags=[{"TagKey": "aws:x", "TagValue": ""}]) == "TagException"
    kms.admin.put_key_policy(
        KeyId=primary,
        Policy=document(DELEGATION, allow("*", Principal={"AWS": OTHER_ACCOUNT})),
    )
    assert foreign(kms, primary) == "AccessDeniedException", "Cross-account use: No"
    kms.admin.disable_key(KeyId=primary)
    assert not_made(primary) == "DisabledException"
    other = replicated(kms)
    kms.admin.schedule_key_deletion(KeyId=other)
    assert not_made(other) == "KMSInvalidStateException"
    assert outcome(at(kms, THIRD).describe_key, KeyId=key_id(primary)) == "NotFoundException"


def in_region(region: str) -> dict[str, Any]:
    return {"Condition": {"StringEquals": {"aws:RequestedRegion": region}}}


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([allow("ReplicateKey"), allow("CreateKey"), allow("TagResource")], "allowed"),
        (
            [
                allow("ReplicateKey", **in_region(REGION)),
                allow("CreateKey", "TagResource", **in_region(AWAY)),
            ],
            "allowed",
        ),
        ([allow("ReplicateKey"), allow("CreateKey")], "AccessDeniedException"),
        ([allow("ReplicateKey"), allow("TagResource")], "AccessDeniedException"),
        ([allow("CreateKey"), allow("TagResource")], "AccessDeniedException"),
        (
            [allow("ReplicateKey"), allow("CreateKey", "TagResource", **in_region(REGION))],
            "AccessDeniedException",
        ),
        (
            [
                allow("CreateKey", "TagResource"),
                allow("ReplicateKey", Condition={"StringEquals": {"kms:ReplicaRegion": AWAY}}),
            ],
            "allowed",
        ),
        (
            [
                allow("CreateKey", "TagResource"),
                allow("ReplicateKey", Condition={"StringEquals": {"kms:ReplicaRegion": THIRD}}),
            ],
            "AccessDeniedException",
        ),
        (
            [
                allow("CreateKey", "TagResource"),
                allow(
                    "ReplicateKey",
                    Condition={
                        "Bool": {"kms:MultiRegion": "true"},
                        "StringEquals": {"kms:MultiRegionKeyType": "PRIMARY"},
                    },
                ),
            ],
            "allowed",
        ),
    ],
)
def test_what_replicating_needs(kms: Kms, statements: list[dict[str, Any]], expected: str) -> None:
    name = f"User{next(_fresh)}"
    client, primary = kms.user(name, *statements), kms.key(MultiRegion=True)
    tags = [{"TagKey": "k", "TagValue": "v"}]
    assert outcome(client.replicate_key, KeyId=primary, ReplicaRegion=AWAY, Tags=tags) == expected


def test_the_records_are_of_replicate_key_here_and_of_create_key_there(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-replicate-key.html"""
    primary = replicated(kms, AWAY)
    record = kms.record("ReplicateKey")
    assert record["requestParameters"] == {
        "keyId": primary,
        "replicaRegion": AWAY,
        "bypassPolicyLockoutSafetyCheck": False,
        "description": "",
    }
    made = record["responseElements"]["replicaKeyMetadata"]
    assert made["multiRegionConfiguration"]["multiRegionKeyType"] == "REPLICA"
    assert record["resources"][0]["ARN"] == primary
    (created,) = [
        one
        for one in kms.served.records("CreateKey", region=AWAY)
        if one["resources"][0]["ARN"] == arn(primary, AWAY)
    ]
    assert created["awsRegion"] == AWAY
    assert created["requestParameters"]["multiRegion"] is True


def test_a_primary_key_waits_for_the_deletion_of_its_replicas() -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/deleting-keys.html"""
    with kms_served() as kms:
        primary = replicated(kms, AWAY)
        there, named = at(kms, AWAY), {"KeyId": key_id(primary)}
        answer = kms.admin.schedule_key_deletion(**named, PendingWindowInDays=7)
        assert answer["KeyState"] == "PendingReplicaDeletion"
        assert "DeletionDate" not in answer
        assert described(kms, primary)["PendingDeletionWindowInDays"] == 7
        code, text = refused(kms.admin.encrypt, **named, Plaintext=b"x")
        assert (code, text) == ("KMSInvalidStateException", f"{primary} is pending deletion.")
        kms.advance(days=60)
        assert described(kms, primary)["KeyState"] == "PendingReplicaDeletion"
        kms.admin.cancel_key_deletion(**named)
        assert described(kms, primary)["KeyState"] == "Disabled"
        kms.admin.schedule_key_deletion(**named, PendingWindowInDays=7)

        gone = there.schedule_key_deletion(**named, PendingWindowInDays=10)["DeletionDate"]
        assert described(kms, primary)["KeyState"] == "PendingReplicaDeletion"
        kms.advance(days=11)
        found = described(kms, primary)
        assert found["KeyState"] == "PendingDeletion"
        assert found["DeletionDate"] == gone + timedelta(days=7)
        assert found["MultiRegionConfiguration"]["ReplicaKeys"] == []
        assert outcome(there.describe_key, **named) == "NotFoundException"
        kms.advance(days=7)
        assert outcome(kms.admin.describe_key, **named) == "NotFoundException"


def test_each_key_of_a_family_has_its_own_last_use(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyLastUsage.html"""
    primary = replicated(kms, AWAY)
    there, named = at(kms, AWAY), {"KeyId": key_id(primary)}
    new = kms.admin.get_key_last_usage(**named)
    assert new["KeyLastUsage"] == {}
    assert new["KeyCreationDate"] == new["TrackingStartDate"]
    blob = kms.admin.encrypt(**named, Plaintext=b"x")["CiphertextBlob"]
    there.decrypt(CiphertextBlob=blob)
    kms.admin.describe_key(**named)
    assert (
        outcome(kms.admin.decrypt, CiphertextBlob=blob, DryRun=True) == "DryRunOperationException"
    )
    assert outcome(kms.admin.decrypt, CiphertextBlob=b"x") == "InvalidCiphertextException"
    for client, region, operation in ((kms.admin, REGION, "Encrypt"), (there, AWAY, "Decrypt")):
        use = client.get_key_last_usage(**named)["KeyLastUsage"]
        record = kms.served.records(operation, region=region)[-1]
        assert use["Operation"] == operation
        assert use["CloudTrailEventId"] == record["eventID"]
        assert use["KmsRequestId"] == record["requestID"]


def test_the_last_use_by_another_account_names_the_owner_s_record(kms: Kms) -> None:
    key = kms.key(allow("Encrypt", Principal={"AWS": OTHER_ACCOUNT}))
    other = kms.of(kms.account(OTHER_ACCOUNT).administrator)
    other.encrypt(KeyId=key, Plaintext=b"x")
    use = kms.admin.get_key_last_usage(KeyId=key)["KeyLastUsage"]
    assert use["CloudTrailEventId"] == kms.record("Encrypt")["eventID"]
    theirs = kms.served.world.trail.entries(OTHER_ACCOUNT, REGION)[-1].record
    assert theirs["eventName"] == "Encrypt"
    assert theirs["eventID"] != use["CloudTrailEventId"]
