"""What CloudTrail records of KMS calls: parameters in lowerCamelCase, no plaintext or ciphertext.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/logging-using-cloudtrail.html and the
examples it links (ct-decrypt.html, ct-generatedatakey.html, ct-createkey.html, …)
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from awssandbox.call import Resource
from awssandbox.kms.state import Key

if TYPE_CHECKING:
    from awssandbox.call import Call

KEY_TYPE: Final = "AWS::KMS::Key"
_NEVER_RECORDED: Final = frozenset({"Plaintext", "CiphertextBlob", "Recipient"})
_FREE_FORM: Final = frozenset(
    {"EncryptionContext", "EncryptionContextSubset", "EncryptionContextEquals"}
)


def camel(value: Any) -> Any:
    """A value of the API as CloudTrail writes it; keys of an encryption context stay as they are.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-createkey.html
    """
    if isinstance(value, Mapping):
        return {
            k[0].lower() + k[1:]: dict(v) if k in _FREE_FORM else camel(v) for k, v in value.items()
        }
    if isinstance(value, list | tuple):
        return [camel(item) for item in value]
    return shown_time(value) if isinstance(value, datetime) else value


def shown_time(when: datetime) -> str:
    """A time as KMS's records write it: ``Aug 10, 2022, 10:38:27 PM``.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-createkey.html
    """
    hour = when.hour % 12 or 12
    half = "AM" if when.hour < 12 else "PM"
    return f"{when:%b} {when.day}, {when.year}, {hour}:{when:%M:%S} {half}"


def request(call: Call, **defaults: Any) -> dict[str, Any]:
    """The recorded ``requestParameters`` of a call: as passed, `defaults` where not passed."""
    passed = {k: v for k, v in call.parameters.items() if k not in _NEVER_RECORDED}
    recorded: dict[str, Any] = camel(passed)
    return {**recorded, **{k: v for k, v in defaults.items() if k not in recorded}}


def key_resource(key: Key) -> Resource:
    """A key as the record's ``resources`` name it."""
    return Resource(key.arn, KEY_TYPE, key.account)


def alias_resource(arn: str, account: str) -> Resource:
    """An alias as the record's ``resources`` name it: with the type of a key.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-createalias.html
    """
    return Resource(arn, KEY_TYPE, account)
