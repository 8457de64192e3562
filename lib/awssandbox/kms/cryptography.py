"""Cryptographic operations with symmetric keys.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/kms-cryptography.html
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from iamaccess import ContextValue

from awssandbox.call import Access, Answer, Operation
from awssandbox.errors import AwsError, not_imitated
from awssandbox.kms import checks, ciphertext, errors, trail
from awssandbox.kms.conditions import encryption_context, key_access
from awssandbox.kms.lookup import Found, find, find_for, related_arn
from awssandbox.kms.operation import key_operation
from awssandbox.kms.state import KEY_SPEC, Key

if TYPE_CHECKING:
    from awssandbox.call import Call

_BYTES_OF_SPEC: Final = {"AES_256": 32, "AES_128": 16}
_MAX_PLAINTEXT: Final = 4096
_MAX_DATA_KEY: Final = 1024


def _use(call: Call, found: Found) -> Sequence[Access]:
    context: dict[str, ContextValue] = {
        **encryption_context(checks.encryption_context(call)),
        "kms:EncryptionAlgorithm": KEY_SPEC,
    }
    return [key_access(call, found, context)]


def _check_algorithm(call: Call) -> None:
    algorithm = call.parameters.get("EncryptionAlgorithm", KEY_SPEC)
    if algorithm != KEY_SPEC:
        raise errors.invalid_algorithm(algorithm)


def _end_dry_run(call: Call) -> None:
    """Refuse a dry run that would have succeeded, as AWS does.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/testing-permissions.html
    """
    if call.parameters.get("DryRun"):
        raise errors.dry_run()


def _seal(call: Call, key: Key, plaintext: bytes) -> tuple[bytes, str]:
    material = key.material(call.time)
    blob = ciphertext.seal(
        key.arn,
        material.material_id,
        material.secret,
        plaintext,
        checks.encryption_context(call),
    )
    return blob, material.material_id


def _extra(material_id: str) -> Mapping[str, Any]:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-generatedatakey.html"""
    return {"additionalEventData": {"keyMaterialId": material_id}}


def _any_key(call: Call) -> Found:
    return find_for(call, aliases=True, cross_account=True)


def _encrypt_access(call: Call) -> Sequence[Access]:
    size = len(call.parameters["Plaintext"])
    if not 1 <= size <= _MAX_PLAINTEXT:
        raise errors.constraint(
            "<sensitive>", "plaintext", f"have length between 1 and {_MAX_PLAINTEXT}"
        )
    return _use(call, _any_key(call))


def _encrypt(call: Call, found: Found) -> Answer:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html"""
    _check_algorithm(call)
    _end_dry_run(call)
    blob, material_id = _seal(call, found.key, call.parameters["Plaintext"])
    return Answer(
        {"CiphertextBlob": blob, "KeyId": found.key.arn, "EncryptionAlgorithm": KEY_SPEC},
        record_extra=_extra(material_id),
    )


def _recorded_encrypt(call: Call) -> Mapping[str, Any]:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-encrypt.html"""
    return trail.request(call, encryptionAlgorithm=KEY_SPEC)


def _data_key_bytes(call: Call) -> int:
    """The length that a data key is to have: exactly one of two parameters says it.

    Raises AwsError: ValidationException.
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html
    """
    size = checks.within(call, "NumberOfBytes", 1, _MAX_DATA_KEY)
    spec = call.parameters.get("KeySpec")
    if (size is None) == (spec is None):
        raise errors.invalid("Please specify either number of bytes or key spec.")
    if size is None:
        if spec not in _BYTES_OF_SPEC:
            raise errors.constraint(spec, "keySpec", "satisfy enum value set: [AES_256, AES_128]")
        size = _BYTES_OF_SPEC[spec]
    return size


def _data_key_access(call: Call) -> Sequence[Access]:
    if "Recipient" in call.parameters:
        raise not_imitated(f"the parameter Recipient of {call.operation} (attested enclaves)")
    _data_key_bytes(call)
    return _use(call, _any_key(call))


def _data_key(call: Call, found: Found) -> Answer:
    """A random data key and its ciphertext.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html
    """
    _end_dry_run(call)
    plaintext = os.urandom(_data_key_bytes(call))
    blob, material_id = _seal(call, found.key, plaintext)
    output: dict[str, Any] = {
        "CiphertextBlob": blob,
        "KeyId": found.key.arn,
        "KeyMaterialId": material_id,
    }
    if call.operation == "GenerateDataKey":
        output["Plaintext"] = plaintext
    return Answer(output, record_extra=_extra(material_id))


def _ignores_ciphertext(call: Call) -> bool:
    """Whether a Decrypt call is a dry run that asks for the permission alone.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html (DryRunModifiers)
    """
    asked = call.parameters
    return bool(asked.get("DryRun") and "IGNORE_CIPHERTEXT" in asked.get("DryRunModifiers", ()))


def _parsed(call: Call) -> ciphertext.Blob:
    if "CiphertextBlob" not in call.parameters:
        raise errors.required("ciphertextBlob")
    try:
        return ciphertext.parse(call.parameters["CiphertextBlob"])
    except ciphertext.BlobError as error:
        raise errors.invalid_ciphertext() from error


def _own(call: Call) -> str:
    """The ARN of a ciphertext's key; of a multi-Region key, of the one in the call's Region."""
    return related_arn(_parsed(call).key_arn, call.region)


def _decrypt_key(call: Call) -> Found:
    """The key that a Decrypt call names, else the one that its ciphertext names.

    A key id alone may be that of the ciphertext's key in another account.
    Raises AwsError: for a key that the ciphertext alone names, and that does not exist (here), the
    access-denied error that does not say so.
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html
    """
    named = call.parameters.get("KeyId")
    if named is not None and (_ignores_ciphertext(call) or ":" in named or "/" in named):
        return _any_key(call)
    arn = _own(call)
    if named is not None and arn.rpartition("/")[2] != named:
        return _any_key(call)
    try:
        return find(call.world, arn, call.caller, call.region, "kms:Decrypt", cross_account=True)
    except AwsError as error:
        raise errors.unknown_ciphertext() from error


def _decrypt_access(call: Call) -> Sequence[Access]:
    if "Recipient" in call.parameters:
        raise not_imitated("the parameter Recipient of Decrypt (attested enclaves)")
    if _ignores_ciphertext(call):
        if "KeyId" not in call.parameters:
            raise errors.required("keyId")
    elif "CiphertextBlob" not in call.parameters:
        raise errors.required("ciphertextBlob")
    return _use(call, _decrypt_key(call))


def _decrypt(call: Call, found: Found) -> Answer:
    """The plaintext of a ciphertext, for exactly the encryption context of its encryption.

    Raises AwsError: IncorrectKeyException, InvalidCiphertextException.
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html
    """
    _check_algorithm(call)
    if _ignores_ciphertext(call):
        raise errors.dry_run()
    blob, key = _parsed(call), found.key
    if _own(call) != key.arn:
        raise errors.incorrect_key()
    secret = key.secret(blob.material_id)
    try:
        if secret is None:
            raise errors.invalid_ciphertext()
        plaintext = ciphertext.unseal(blob, secret, checks.encryption_context(call))
    except ciphertext.BlobError as error:
        raise errors.invalid_ciphertext() from error
    _end_dry_run(call)
    return Answer(
        {
            "KeyId": key.arn,
            "Plaintext": plaintext,
            "EncryptionAlgorithm": KEY_SPEC,
            "KeyMaterialId": blob.material_id,
        },
        record_extra=_extra(blob.material_id),
    )


def _recorded_decrypt(call: Call) -> Mapping[str, Any]:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-decrypt.html"""
    recorded = trail.request(call, encryptionAlgorithm=KEY_SPEC)
    if "keyId" not in recorded:
        try:
            recorded["keyId"] = _own(call)
        except AwsError:
            return recorded
    return recorded


_COMMON: Final = ("KeyId", "EncryptionContext", "GrantTokens", "DryRun")

OPERATIONS: Final[Mapping[str, Operation]] = {
    "Encrypt": key_operation(
        _encrypt,
        parameters=(*_COMMON, "Plaintext", "EncryptionAlgorithm"),
        read_only=True,
        find=_any_key,
        access=_encrypt_access,
        recorded=_recorded_encrypt,
    ),
    "Decrypt": key_operation(
        _decrypt,
        parameters=(
            *_COMMON,
            *("CiphertextBlob", "EncryptionAlgorithm", "Recipient", "DryRunModifiers"),
        ),
        read_only=True,
        find=_decrypt_key,
        access=_decrypt_access,
        recorded=_recorded_decrypt,
    ),
    "GenerateDataKey": key_operation(
        _data_key,
        parameters=(*_COMMON, "NumberOfBytes", "KeySpec", "Recipient"),
        read_only=True,
        find=_any_key,
        access=_data_key_access,
    ),
    "GenerateDataKeyWithoutPlaintext": key_operation(
        _data_key,
        parameters=(*_COMMON, "NumberOfBytes", "KeySpec"),
        read_only=True,
        find=_any_key,
        access=_data_key_access,
    ),
}
