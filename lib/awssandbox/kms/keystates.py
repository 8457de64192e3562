"""Which operation works on a key in which state: AWS's table, as a table.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
"""

from __future__ import annotations

from typing import Final

from awssandbox.kms import errors
from awssandbox.kms.state import PENDING, Key

CRYPTOGRAPHIC: Final = frozenset(
    {"Encrypt", "Decrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext"}
)
NEEDS_ENABLED: Final = CRYPTOGRAPHIC | {
    *("CreateGrant", "EnableKeyRotation", "DisableKeyRotation", "ReplicateKey"),
}
NOT_WHEN_PENDING: Final = NEEDS_ENABLED | {
    "EnableKey",
    "DisableKey",
    "TagResource",
    "UntagResource",
    "UpdateKeyDescription",
    "CreateAlias",
    "UpdateAlias",
    "ScheduleKeyDeletion",
}
ONLY_WHEN_PENDING: Final = frozenset({"CancelKeyDeletion"})


def check(operation: str, key: Key) -> None:
    """Refuse `operation` where the key's state does not allow it.

    For UpdateAlias, `key` is the one that the alias is to name. Where AWS's table allows either
    DisabledException or KMSInvalidStateException for a key pending deletion, it is the latter.
    Raises AwsError: DisabledException, KMSInvalidStateException.
    Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
    """
    if key.state in PENDING and operation in NOT_WHEN_PENDING:
        raise errors.pending_deletion(key.arn)
    if key.state == "Disabled" and operation in NEEDS_ENABLED:
        raise errors.disabled(key.arn)
    if key.state not in PENDING and operation in ONLY_WHEN_PENDING:
        raise errors.not_pending_deletion(key.arn)
