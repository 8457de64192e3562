"""Automatic rotation, by moving the sandbox's clock.

Sources: https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html,
https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html,
https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyRotationStatus.html
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from kms_setting import Kms, allow, kms_served, outcome, refused


@pytest.fixture(scope="module")
def kms() -> Iterator[Kms]:
    with kms_served() as served:
        yield served


def status(kms: Kms, key: str) -> dict[str, Any]:
    """What GetKeyRotationStatus answers."""
    answer: dict[str, Any] = kms.admin.get_key_rotation_status(KeyId=key)
    del answer["ResponseMetadata"]
    return answer


def material(kms: Kms, key: str) -> str:
    """The id of the key material that encrypts now."""
    found: str = kms.admin.generate_data_key(KeyId=key, NumberOfBytes=1)["KeyMaterialId"]
    shown = kms.admin.describe_key(KeyId=key)["KeyMetadata"]["CurrentKeyMaterialId"]
    assert found == shown
    return found


def test_rotation_is_off_until_it_is_enabled(kms: Kms) -> None:
    key = kms.key()
    assert status(kms, key) == {"KeyId": key, "KeyRotationEnabled": False}
    before = material(kms, key)
    kms.advance(days=1000)
    assert material(kms, key) == before


@pytest.mark.parametrize(
    ("asked", "days"),
    [({}, 365), ({"RotationPeriodInDays": 90}, 90), ({"RotationPeriodInDays": 2560}, 2560)],
)
def test_rotation_comes_a_period_after_it_was_enabled(
    kms: Kms, asked: dict[str, int], days: int
) -> None:
    key = kms.key()
    kms.admin.enable_key_rotation(KeyId=key, **asked)
    shown = status(kms, key)
    left = shown.pop("NextRotationDate") - kms.served.world.clock.now()
    assert timedelta(days=days, minutes=-1) < left <= timedelta(days=days)
    assert shown == {"KeyId": key, "KeyRotationEnabled": True, "RotationPeriodInDays": days}


@pytest.mark.parametrize("days", [0, 89, 2561])
def test_the_period_is_90_to_2560_days(kms: Kms, days: int) -> None:
    key = kms.key()
    code, text = refused(kms.admin.enable_key_rotation, KeyId=key, RotationPeriodInDays=days)
    assert code == "ValidationException"
    assert "at 'rotationPeriodInDays' failed to satisfy constraint" in text
    assert not status(kms, key)["KeyRotationEnabled"]


def test_old_ciphertexts_still_decrypt_after_each_rotation(kms: Kms) -> None:
    """Each with its own generation of key material, whose id the answers and records name."""
    key = kms.key()
    kms.admin.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    blobs = {}
    for generation in range(3):
        blob = kms.admin.encrypt(KeyId=key, Plaintext=bytes([generation]))["CiphertextBlob"]
        blobs[material(kms, key)] = (generation, blob)
        kms.advance(days=90, minutes=1)
    assert len(blobs) == 3
    for name, (generation, blob) in blobs.items():
        answer = kms.admin.decrypt(CiphertextBlob=blob)
        assert answer["Plaintext"] == bytes([generation])
        assert answer["KeyMaterialId"] == name
        assert kms.record("Decrypt")["additionalEventData"]["keyMaterialId"] == name
    assert material(kms, key) not in blobs


def test_rotation_can_be_disabled_and_enabled_again_from_then_on(kms: Kms) -> None:
    key = kms.key()
    kms.admin.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    before = material(kms, key)
    kms.advance(days=60)
    kms.admin.disable_key_rotation(KeyId=key)
    assert status(kms, key) == {"KeyId": key, "KeyRotationEnabled": False}
    kms.advance(days=60)
    kms.admin.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    kms.advance(days=60)
    assert material(kms, key) == before
    kms.advance(days=31)
    assert material(kms, key) != before


def test_a_rotation_that_was_due_comes_before_rotation_is_disabled(kms: Kms) -> None:
    key = kms.key()
    kms.admin.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    before = material(kms, key)
    kms.advance(days=91)
    kms.admin.disable_key_rotation(KeyId=key)
    assert material(kms, key) != before


def test_a_disabled_key_does_not_rotate_and_catches_up_once_when_enabled(kms: Kms) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyRotationStatus.html"""
    key = kms.key()
    kms.admin.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    before = material(kms, key)
    kms.admin.disable_key(KeyId=key)
    kms.advance(days=300)
    shown = status(kms, key)
    assert shown == {"KeyId": key, "KeyRotationEnabled": True, "RotationPeriodInDays": 90}
    described = kms.admin.describe_key(KeyId=key)["KeyMetadata"]
    assert described["CurrentKeyMaterialId"] == before
    kms.admin.enable_key(KeyId=key)
    after = material(kms, key)
    assert after != before
    left = status(kms, key)["NextRotationDate"] - kms.served.world.clock.now()
    assert timedelta(days=90, minutes=-1) < left <= timedelta(days=90)


def test_a_key_that_is_enabled_again_in_time_keeps_its_schedule(kms: Kms) -> None:
    key = kms.key()
    kms.admin.enable_key_rotation(KeyId=key, RotationPeriodInDays=90)
    planned, before = status(kms, key)["NextRotationDate"], material(kms, key)
    kms.admin.disable_key(KeyId=key)
    kms.advance(days=30)
    kms.admin.enable_key(KeyId=key)
    assert status(kms, key)["NextRotationDate"] == planned
    assert material(kms, key) == before


def test_while_a_key_is_pending_deletion_its_rotation_shows_as_off(kms: Kms) -> None:
    """Canceling deletion brings the status back. Source: API_GetKeyRotationStatus.html"""
    key = kms.key()
    kms.admin.enable_key_rotation(KeyId=key)
    kms.admin.schedule_key_deletion(KeyId=key)
    assert status(kms, key) == {"KeyId": key, "KeyRotationEnabled": False}
    kms.admin.cancel_key_deletion(KeyId=key)
    assert status(kms, key)["KeyRotationEnabled"]


def test_a_rotation_is_read_by_its_own_permission(kms: Kms) -> None:
    key = kms.key()
    client = kms.user("RotationReader", allow("GetKeyRotationStatus", resource=key))
    assert outcome(client.get_key_rotation_status, KeyId=key) == "allowed"
    assert outcome(client.enable_key_rotation, KeyId=key) == "AccessDeniedException"
