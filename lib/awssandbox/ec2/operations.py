"""EBS encryption by default: on or off, and by which key, in each Region of an account.

No volume is ever made here, so nothing follows from it.

Sources: https://docs.aws.amazon.com/ebs/latest/userguide/encryption-by-default.html and
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html

UNCONFIRMED: how ModifyEbsDefaultKmsKeyId shows a key that was given by its id or alias (here as it
was given). AWS looks at the key later, and so takes any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from awssandbox.call import Access, Answer, Call, Operation
from awssandbox.errors import AwsError

OF_AWS: Final = "alias/aws/ebs"
"""The key until another is named."""


@dataclass(slots=True)
class EbsDefaults:
    """What holds for new volumes in one account and Region."""

    encrypted: bool = False
    key: str = OF_AWS


def _state(call: Call) -> EbsDefaults:
    return call.world.state(EbsDefaults, call.account, call.region)


def _access(call: Call) -> Sequence[Access]:
    return [Access(f"ec2:{call.operation}")]


def _operation(serve: Callable[[Call], dict[str, Any]], *, read_only: bool = False) -> Operation:
    def checked(call: Call) -> Answer:
        """Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/CommonParameters.html"""
        if call.parameters.get("DryRun"):
            text = "Request would have succeeded, but DryRun flag is set."
            raise AwsError("DryRunOperation", text, 412, record_code="Client.DryRunOperation")
        output = serve(call)
        return Answer(output, record_response=None if read_only else _recorded(output))

    return Operation(checked, _access, read_only)


def _recorded(output: Mapping[str, Any]) -> dict[str, Any]:
    return {name[0].lower() + name[1:]: value for name, value in output.items()}


def _shown(call: Call) -> dict[str, Any]:
    state = _state(call)
    return {
        "EbsEncryptionByDefault": state.encrypted,
        "SseType": "sse-kms" if state.encrypted else "none",
    }


def _switch(encrypted: bool) -> Callable[[Call], dict[str, Any]]:
    def serve(call: Call) -> dict[str, Any]:
        _state(call).encrypted = encrypted
        return {"EbsEncryptionByDefault": encrypted}

    return serve


def _key(call: Call) -> dict[str, Any]:
    return {"KmsKeyId": _state(call).key}


def _other_key(call: Call) -> dict[str, Any]:
    _state(call).key = call.parameters["KmsKeyId"]
    return _key(call)


def _aws_s_key(call: Call) -> dict[str, Any]:
    _state(call).key = OF_AWS
    return _key(call)


OPERATIONS: Final[Mapping[str, Operation]] = {
    "GetEbsEncryptionByDefault": _operation(_shown, read_only=True),
    "EnableEbsEncryptionByDefault": _operation(_switch(True)),
    "DisableEbsEncryptionByDefault": _operation(_switch(False)),
    "GetEbsDefaultKmsKeyId": _operation(_key, read_only=True),
    "ModifyEbsDefaultKmsKeyId": _operation(_other_key),
    "ResetEbsDefaultKmsKeyId": _operation(_aws_s_key),
}
