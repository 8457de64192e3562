"""Virtual MFA devices of users, and what an account's summary says. Kept here, not in moto's store.

A device makes the codes of RFC 6238 from its seed, on real time, as the phone that holds the seed
does; a code is good once, half a minute early or late. There is no root user to sign in as:
`Mfa.root` and `Mfa.root_keys` stand for what it would have done in the console.

Not imitated: the QR code, hardware devices, passkeys, ResyncMFADevice.
Sources: https://datatracker.ietf.org/doc/html/rfc6238 and
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_mfa.html; the texts of refusals are
those that users of AWS quote, such as
https://github.com/aws/aws-cli/issues/6325 and https://github.com/lonelyplanet/aws-mfa/pull/21
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from awssandbox.call import DERIVED, Answer, Call
from awssandbox.clock import real_now
from awssandbox.errors import AwsError
from awssandbox.iam import errors
from awssandbox.world import World

STEP_S: Final = 30
DIGITS: Final = 6
EARLY_OR_LATE: Final = (-1, 0, 1)
"""Steps. UNCONFIRMED: how far AWS lets a device's clock be off."""
DEVICES_OF_A_USER: Final = 8
"""Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""
_NO_CODE: Final = "MultiFactorAuthentication failed with invalid MFA one time pass code. "
_NO_DEVICE: Final = (
    "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial "
    "number is valid and associated with this user."
)


@dataclass(slots=True)
class Device:
    """A virtual device: `user` None until it is enabled; `used` is the last step that was used."""

    serial: str
    seed: bytes = field(repr=False)
    created: datetime
    user: str | None = None
    enabled: datetime | None = None
    used: int = -1


@dataclass(slots=True)
class Mfa:
    """The devices of one account by their serial numbers, and what its root user has."""

    devices: dict[str, Device] = field(default_factory=dict)
    root: bool = False
    root_keys: bool = False

    def of(self, user: str) -> list[Device]:
        """A user's devices, by serial number."""
        return sorted((d for d in self.devices.values() if d.user == user), key=lambda d: d.serial)


def mfa_of(world: World, account: str) -> Mfa:
    """An account's devices."""
    return world.state(Mfa, account, "")


def code(seed: bytes, step: int) -> str:
    """The code of a device in one step of half a minute."""
    digest = hmac.new(seed, struct.pack(">Q", step), hashlib.sha1).digest()
    at = digest[-1] & 0x0F
    number: int = struct.unpack(">I", digest[at : at + 4])[0] & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def _accepted(device: Device, given: str) -> int | None:
    """The step that a code is of, when it is good and was not used before."""
    now = int(real_now().timestamp()) // STEP_S
    steps = (now + off for off in EARLY_OR_LATE)
    return next((s for s in steps if s > device.used and code(device.seed, s) == given), None)


def check_code(call: Call, serial: str, given: str) -> None:
    """Hold a code to the caller's device. Raises AwsError (AccessDenied)."""
    device = mfa_of(call.world, call.account).devices.get(serial)
    if device is None or device.user is None or device.user != call.caller.user_name:
        raise AwsError("AccessDenied", _NO_DEVICE, 403)
    step = _accepted(device, given)
    if step is None:
        raise AwsError("AccessDenied", _NO_CODE, 403)
    device.used = step


# Operations --------------------------------------------------------------------------------------


def _device(call: Call) -> Device:
    serial = call.parameters["SerialNumber"]
    found = mfa_of(call.world, call.account).devices.get(serial)
    if found is None:
        raise errors.not_found(f"VirtualMFADevice with serial number {serial} doesn't exist.")
    return found


def _user(call: Call) -> str:
    from awssandbox.iam.access import user_name

    name = user_name(call)
    if call.world.iam.user(call.account, name) is None:
        raise errors.not_found(f"The user with name {name} cannot be found.")
    return name


def serial_number(call: Call) -> str:
    """The serial number of a device to be made, which is its ARN."""
    given = call.parameters
    path = given.get("Path", "/")
    where = f"arn:{call.world.partition}:iam::{call.account}:mfa"
    return f"{where}{path}{given['VirtualMFADeviceName']}"


def _create(call: Call) -> Answer:
    serial = serial_number(call)
    state = mfa_of(call.world, call.account)
    if serial in state.devices:
        raise errors.exists("MFADevice entity at the same path and name already exists.")
    seed = bytes.fromhex(call.world.ids.make("mfa seed", call.account, serial))[:20]
    state.devices[serial] = Device(serial, seed, call.time)
    shown = {"SerialNumber": serial, "Base32StringSeed": base64.b32encode(seed)}
    recorded = {"virtualMFADevice": {"serialNumber": serial}}
    return Answer({"VirtualMFADevice": shown}, record_response=recorded)


def _enable(call: Call) -> Answer:
    """Two codes in a row show that somebody holds the seed."""
    given, device, name = call.parameters, _device(call), _user(call)
    if device.user is not None:
        raise errors.exists("MFA Device is already in use.")
    if len(mfa_of(call.world, call.account).of(name)) >= DEVICES_OF_A_USER:
        quota = f"Cannot exceed quota for MFADevicesPerUser: {DEVICES_OF_A_USER}"
        raise errors.limit_exceeded(quota)
    step = _accepted(device, given["AuthenticationCode1"])
    if step is None or code(device.seed, step + 1) != given["AuthenticationCode2"]:
        text = "Authentication code for device is not valid."
        raise AwsError("InvalidAuthenticationCode", text, 403)
    device.user, device.enabled, device.used = name, call.time.replace(microsecond=0), step + 1
    return Answer(record_request=_without_codes(call))


def refused_request(call: Call) -> Mapping[str, Any] | None:
    """The parameters that are recorded of a refused call: never a code."""
    secret = ("AuthenticationCode1", "AuthenticationCode2")
    return {
        name[0].lower() + name[1:]: value
        for name, value in call.parameters.items()
        if name not in secret
    }


def _without_codes(call: Call) -> Mapping[str, Any]:
    given = call.parameters
    return {"userName": given["UserName"], "serialNumber": given["SerialNumber"]}


def _deactivate(call: Call) -> Answer:
    device, name = _device(call), _user(call)
    if device.user != name:
        raise errors.not_found(f"MFA Device invalid for user: {name}")
    device.user = device.enabled = None
    return Answer()


def _delete(call: Call) -> Answer:
    device = _device(call)
    if device.user is not None:
        raise errors.conflict("MFA VirtualDevice in use. Must deactivate first.")
    del mfa_of(call.world, call.account).devices[device.serial]
    return Answer()


def _list(call: Call) -> Answer:
    devices = [
        {"UserName": one.user, "SerialNumber": one.serial, "EnableDate": one.enabled}
        for one in mfa_of(call.world, call.account).of(_user(call))
    ]
    return Answer({"MFADevices": devices, "IsTruncated": False}, record_request=_asked(call))


def _list_virtual(call: Call) -> Answer:
    wanted = call.parameters.get("AssignmentStatus", "Any")
    shown = []
    for one in mfa_of(call.world, call.account).devices.values():
        if wanted == "Any" or (wanted == "Assigned") == (one.user is not None):
            enabled = {} if one.enabled is None else {"EnableDate": one.enabled}
            shown.append({"SerialNumber": one.serial, **enabled})
    answer = {"VirtualMFADevices": shown, "IsTruncated": False}
    return Answer(answer, record_request=_asked(call))


def _asked(call: Call) -> Mapping[str, Any] | None:
    return DERIVED if call.parameters else None


def _summary(call: Call) -> Answer:
    """What there is; quotas are left out.

    Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetAccountSummary.html
    """
    iam, state = call.world.iam, mfa_of(call.world, call.account)
    kinds = {"Users": "user", "Groups": "group", "Roles": "role"}
    counted = {name: len(iam.names(call.account, kind)) for name, kind in kinds.items()}
    owners = [device.user for device in state.devices.values() if device.user is not None]
    numbers = {
        **counted,
        "InstanceProfiles": len(iam.names(call.account, "instance-profile")),
        "MFADevices": len(state.devices) + state.root,
        "MFADevicesInUse": len(owners) + state.root,
        "AccountMFAEnabled": int(state.root),
        "AccountAccessKeysPresent": int(state.root_keys),
    }
    return Answer({"SummaryMap": numbers}, record_request=None)


SERVED: Final[Mapping[str, Callable[[Call], Answer]]] = {
    "CreateVirtualMFADevice": _create,
    "DeactivateMFADevice": _deactivate,
    "DeleteVirtualMFADevice": _delete,
    "EnableMFADevice": _enable,
    "GetAccountSummary": _summary,
    "ListMFADevices": _list,
    "ListVirtualMFADevices": _list_virtual,
}
