"""Virtual MFA devices, GetSessionToken, and roles that ask for MFA: with the codes of RFC 6238.

Sources: https://datatracker.ietf.org/doc/html/rfc6238#appendix-B,
https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html,
https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_mfa_configure-api-require.html
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from awssandbox.iam import mfa
from in_process import ACCOUNT, Sandbox, allow, trust
from served import Credentials, Served, refusal

SERIAL = f"arn:aws:iam::{ACCOUNT}:mfa/phone"
NOON = datetime(2026, 1, 31, 12, 0, 10, tzinfo=UTC)
STEP = int(NOON.timestamp()) // 30


@pytest.mark.parametrize(
    ("second", "last_six"),
    [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_the_codes_of_rfc_6238(second: int, last_six: str) -> None:
    assert mfa.code(b"12345678901234567890", second // 30) == last_six


class Phone:
    """A device of the user `ann`, who holds its seed."""

    def __init__(self, sandbox: Served, *statements: dict[str, Any]) -> None:
        self.sandbox = sandbox
        self.iam = sandbox.client("iam")
        self.user: Credentials = sandbox.user("ann", *statements)
        made = self.iam.create_virtual_mfa_device(VirtualMFADeviceName="phone")["VirtualMFADevice"]
        assert made["SerialNumber"] == SERIAL
        self.seed = base64.b32decode(made["Base32StringSeed"])

    def code(self, off: int = 0) -> str:
        return mfa.code(self.seed, STEP + off)

    def enable(self, first: int = -1) -> None:
        self.iam.enable_mfa_device(
            UserName="ann",
            SerialNumber=SERIAL,
            AuthenticationCode1=self.code(first),
            AuthenticationCode2=self.code(first + 1),
        )

    def session(self, **asked: Any) -> Credentials:
        made = self.sandbox.client("sts", self.user).get_session_token(**asked)["Credentials"]
        return made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"]

    def with_code(self, off: int = 1) -> Credentials:
        return self.session(SerialNumber=SERIAL, TokenCode=self.code(off))


@pytest.fixture
def phone(sandbox: Served, monkeypatch: pytest.MonkeyPatch) -> Phone:
    monkeypatch.setattr(mfa, "real_now", lambda: NOON)
    return Phone(sandbox, allow(["kms:ListKeys", "iam:ListUsers"]))


def devices(phone: Phone) -> list[str]:
    listed = phone.iam.list_mfa_devices(UserName="ann")["MFADevices"]
    return [one["SerialNumber"] for one in listed]


@pytest.mark.e2e
def test_a_device_from_its_making_to_its_end(phone: Phone) -> None:
    assert devices(phone) == []
    summary = phone.iam.get_account_summary()["SummaryMap"]
    assert (summary["MFADevices"], summary["MFADevicesInUse"]) == (1, 0)
    phone.enable()
    assert devices(phone) == [SERIAL]
    assert phone.iam.get_account_summary()["SummaryMap"]["MFADevicesInUse"] == 1
    for call, code in (
        (lambda: phone.iam.delete_virtual_mfa_device(SerialNumber=SERIAL), "DeleteConflict"),
        (lambda: phone.iam.create_virtual_mfa_device(VirtualMFADeviceName="phone"),
         "EntityAlreadyExists"),
        (lambda: phone.enable(), "EntityAlreadyExists"),
    ):  # fmt: skip
        assert refusal(call)[0] == code
    phone.iam.delete_access_key(UserName="ann", AccessKeyId=phone.user[0])
    phone.iam.delete_user_policy(UserName="ann", PolicyName="inline")
    said = refusal(phone.iam.delete_user, UserName="ann")
    assert said == ("DeleteConflict", 409, "Cannot delete entity, must delete MFA device first.")
    phone.iam.deactivate_mfa_device(UserName="ann", SerialNumber=SERIAL)
    phone.iam.delete_virtual_mfa_device(SerialNumber=SERIAL)
    assert phone.iam.list_virtual_mfa_devices()["VirtualMFADevices"] == []
    phone.iam.delete_user(UserName="ann")


@pytest.mark.e2e
def test_codes_that_are_not_good(phone: Phone) -> None:
    assert refusal(phone.enable, 5)[0] == "InvalidAuthenticationCode"
    missing = refusal(phone.with_code)
    assert missing[0] == "AccessDenied"
    assert missing[2].startswith("MultiFactorAuthentication failed, unable to validate MFA code.")
    phone.enable()
    wrong = refusal(phone.session, SerialNumber=SERIAL, TokenCode=phone.code(9))
    assert "invalid MFA one time pass code" in wrong[2]
    assert refusal(phone.session, SerialNumber=SERIAL)[0] == "ValidationError"
    phone.with_code()
    assert "invalid MFA one time pass code" in refusal(phone.with_code)[2], "a code is good once"
    text = str(phone.sandbox.records("GetSessionToken"))
    assert phone.code(1) not in text
    assert phone.seed.hex() not in text


@pytest.mark.e2e
def test_a_session_of_a_user_and_what_it_may_not(phone: Phone) -> None:
    """Without MFA its credentials are none to IAM; STS gives it no other session of its own."""
    phone.enable()
    plain, with_mfa = phone.session(), phone.with_code()
    who = {phone.sandbox.client("sts", one).get_caller_identity()["Arn"] for one in
           (phone.user, plain, with_mfa)}  # fmt: skip
    assert who == {f"arn:aws:iam::{ACCOUNT}:user/ann"}
    for one, mfa_authenticated in ((plain, "false"), (with_mfa, "true")):
        phone.sandbox.client("kms", one).list_keys()
        context = phone.sandbox.records("ListKeys")[-1]["userIdentity"]["sessionContext"]
        assert context["attributes"]["mfaAuthenticated"] == mfa_authenticated
    assert refusal(phone.sandbox.client("iam", plain).list_users)[0] == "InvalidClientTokenId"
    phone.sandbox.client("iam", with_mfa).list_users()
    said = refusal(phone.sandbox.client("sts", with_mfa).get_session_token)
    assert said == ("AccessDenied", 403, "Cannot call GetSessionToken with session credentials")
    asked = {"AccessKeyId": phone.user[0]}
    assert refusal(phone.sandbox.client("sts", plain).get_access_key_info, **asked)[0] == (
        "AccessDenied"
    )
    phone.iam.delete_access_key(UserName="ann", AccessKeyId=phone.user[0])
    phone.iam.deactivate_mfa_device(UserName="ann", SerialNumber=SERIAL)
    phone.iam.delete_user_policy(UserName="ann", PolicyName="inline")
    phone.iam.delete_user(UserName="ann")
    gone = refusal(phone.sandbox.client("kms", with_mfa).list_keys)
    assert gone[0] == "UnrecognizedClientException"


NEEDED = {"Bool": {"aws:MultiFactorAuthPresent": "true"}}


@pytest.mark.e2e
def test_a_policy_and_a_role_that_ask_for_mfa(
    sandbox: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mfa, "real_now", lambda: NOON)
    role = sandbox.role(
        "careful",
        trust({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, Condition=NEEDED),
        allow("kms:ListKeys", Condition=NEEDED),
    )
    phone = Phone(sandbox, allow("kms:ListKeys", Condition=NEEDED), allow("sts:AssumeRole", role))
    phone.enable(-2 + 1)
    for one, allowed in ((phone.user, False), (phone.session(), False), (phone.with_code(), True)):
        kms = sandbox.client("kms", one)
        if allowed:
            kms.list_keys()
        else:
            assert refusal(kms.list_keys)[0] == "AccessDeniedException"
    sts = sandbox.client("sts", phone.user)
    asked = {"RoleArn": role, "RoleSessionName": "ann"}
    assert refusal(sts.assume_role, **asked)[0] == "AccessDenied"
    monkeypatch.setattr(mfa, "real_now", lambda: datetime.fromtimestamp((STEP + 2) * 30, UTC))
    made = sts.assume_role(**asked, SerialNumber=SERIAL, TokenCode=phone.code(2))["Credentials"]
    session = (made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])
    sandbox.client("kms", session).list_keys()


def test_the_root_user_s_mfa_and_keys_are_in_the_summary() -> None:
    sandbox = Sandbox()

    def now() -> tuple[int, int]:
        summary = sandbox.client("iam").get_account_summary()["SummaryMap"]
        return summary["AccountMFAEnabled"], summary["AccountAccessKeysPresent"]

    assert now() == (0, 0)
    state = mfa.mfa_of(sandbox.world, ACCOUNT)
    state.root, state.root_keys = True, True
    assert now() == (1, 1)
