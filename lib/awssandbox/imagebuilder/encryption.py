"""Workflow documents under a customer managed key, by the genuine AWS Encryption SDK.

The SDK asks KMS for one data key of 32 bytes a message, puts the public half of a fresh signing
key (``aws-crypto-public-key``) into the message's encryption context, and signs. So the context in
KMS's records is the one that the ciphertext is bound to. That Image Builder uses this SDK follows
from that pair in AWS's sample records.
Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html and
https://docs.aws.amazon.com/encryption-sdk/latest/developer-guide/supported-algorithms.html

The SDK is imported late: it takes some tenths of a second, and most runs of the sandbox's tests do
without it.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from awssandbox.errors import AwsError
from awssandbox.imagebuilder.arns import ResourceArn
from awssandbox.imagebuilder.state import Encrypted

if TYPE_CHECKING:
    from awssandbox.forward import ServiceAccess

CONTEXT_KEY: Final = "aws:imagebuilder:arn"
SERVICE: Final = "imagebuilder.amazonaws.com"
"""The service principal: whom KMS's records name, and who assumes execution roles."""


def encryption_context(arn: ResourceArn) -> dict[str, str]:
    """The encryption context of a workflow: its version ARN with a literal ``/*`` at the end.

    It is the same for every build of the version, so it does not tell builds apart.
    Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html
    """
    return {CONTEXT_KEY: f"{arn.version_arn}/*"}


class KmsRefusal(Exception):
    """KMS refused the one call that the SDK made; `cause` is KMS's own error."""

    def __init__(self, cause: AwsError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def encrypt(access: ServiceAccess, key_id: str, context: Mapping[str, str], text: str) -> Encrypted:
    """Encrypt `text` under the key that `key_id` (a key or alias ARN) names: one GenerateDataKey.

    Raises KmsRefusal.
    """
    sdk = _sdk()
    try:
        message, header = sdk.client.encrypt(
            source=text.encode(),
            encryption_context=dict(context),
            key_provider=sdk.master_key(key_id=key_id, client=access.client("kms")),
        )
    except sdk.error:
        _raise_refusal(access)
        raise
    (data_key,) = header.encrypted_data_keys
    key_arn = data_key.key_provider.key_info
    return Encrypted(message, key_arn.decode() if isinstance(key_arn, bytes) else str(key_arn))


def decrypt(access: ServiceAccess, body: Encrypted) -> str:
    """The text in `body`: one Decrypt, with the key's ARN and the message's whole context.

    Raises KmsRefusal.
    """
    sdk = _sdk()
    stream = sdk.client.stream(
        mode="decrypt",
        source=body.message,
        key_provider=sdk.master_key(key_id=body.key_arn, client=access.client("kms")),
    )
    try:
        return bytes(stream.read()).decode()
    except sdk.error:
        _raise_refusal(access)
        raise
    finally:
        # Its own close() raises after a refusal, once more when the stream is dropped.
        io.IOBase.close(stream)


def _raise_refusal(access: ServiceAccess) -> None:
    """The SDK hides KMS's error behind its own, so it is taken from the transport."""
    if access.last_error is not None:
        raise KmsRefusal(access.last_error) from None


class _Sdk:
    """The parts of the Encryption SDK that are used here."""

    def __init__(self) -> None:
        from aws_encryption_sdk import (
            CommitmentPolicy,
            EncryptionSDKClient,
        )
        from aws_encryption_sdk.exceptions import (
            AWSEncryptionSDKClientError,
        )
        from aws_encryption_sdk.key_providers.kms import (
            KMSMasterKey,
        )

        # It logs each refusal of KMS with a traceback; the refusal is answered, not logged.
        logging.getLogger("aws_encryption_sdk").setLevel(logging.CRITICAL + 1)
        self.client: Any = EncryptionSDKClient(
            commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT,
            max_encrypted_data_keys=1,
        )
        self.error: type[Exception] = AWSEncryptionSDKClientError
        self.master_key: Any = KMSMasterKey


@cache
def _sdk() -> _Sdk:
    return _Sdk()
