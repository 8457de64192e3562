"""RetireGrant: the grant, not the key policy, says who may.

Sources: https://docs.aws.amazon.com/kms/latest/developerguide/grant-delete.html,
https://docs.aws.amazon.com/kms/latest/APIReference/API_RetireGrant.html
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from kms_setting import (
    NO_KEY,
    OTHER_ACCOUNT,
    ROOT,
    TRUST,
    Kms,
    allow,
    key_id,
    kms_served,
    outcome,
    refused,
)
from served import ACCOUNT

USER = f"arn:aws:iam::{ACCOUNT}:user/Somebody"
OTHER = f"arn:aws:iam::{OTHER_ACCOUNT}:root"
_fresh = itertools.count()


class Setting:
    """KMS as a user without policies calls it, who stands in grants."""

    def __init__(self, kms: Kms) -> None:
        self.kms = kms
        self.somebody = kms.user("Somebody")

    def grant(self, grantee: str = ROOT, *operations: str, **more: Any) -> dict[str, str]:
        """A new key's ARN, and the id and token of a new grant on it."""
        key = self.kms.key()
        asked = {"GranteePrincipal": grantee, "Operations": ["Encrypt", *operations], **more}
        answer = self.kms.admin.create_grant(KeyId=key, **asked)
        return {"key": key, "id": answer["GrantId"], "token": answer["GrantToken"]}

    def left(self, grant: dict[str, str]) -> int:
        """How many grants the key still has."""
        return len(self.kms.admin.list_grants(KeyId=grant["key"])["Grants"])


@pytest.fixture(scope="module")
def setting() -> Iterator[Setting]:
    with kms_served() as served:
        yield Setting(served)


@pytest.mark.parametrize(
    ("grantee", "operations", "more", "expected"),
    [
        (ROOT, (), {"RetiringPrincipal": USER}, "allowed"),
        (USER, ("RetireGrant",), {}, "allowed"),
        (USER, (), {}, "AccessDeniedException"),
        (ROOT, ("RetireGrant",), {}, "AccessDeniedException"),
        (ROOT, (), {"RetiringPrincipal": ROOT}, "AccessDeniedException"),
        (
            USER,
            ("RetireGrant",),
            {"Constraints": {"EncryptionContextEquals": {"a": "b"}}},
            "allowed",
        ),
    ],
)
def test_who_may_retire_a_grant(
    setting: Setting, grantee: str, operations: tuple[str, ...], more: dict[str, Any], expected: str
) -> None:
    grant = setting.grant(grantee, *operations, **more)
    got = outcome(setting.somebody.retire_grant, GrantToken=grant["token"])
    assert (got, setting.left(grant)) == (expected, 0 if expected == "allowed" else 1)


def test_an_iam_policy_of_the_account_that_made_the_grant_lets(setting: Setting) -> None:
    grant = setting.grant()
    client = setting.kms.user("Retirer", allow("RetireGrant", resource=grant["key"]))
    assert outcome(client.retire_grant, GrantToken=setting.grant()["token"]) == (
        "AccessDeniedException"
    )
    assert outcome(client.retire_grant, GrantToken=grant["token"]) == "allowed"


def test_a_key_policy_lets_nobody(setting: Setting) -> None:
    grant = setting.grant()
    kms = setting.kms
    by_policy = kms.key(allow("RetireGrant", Principal={"AWS": USER}))
    answer = kms.admin.create_grant(KeyId=by_policy, GranteePrincipal=ROOT, Operations=["Encrypt"])
    asked = {"KeyId": by_policy, "GrantId": answer["GrantId"]}
    code, text = refused(setting.somebody.retire_grant, **asked)
    assert code == "AccessDeniedException"
    assert text.startswith(
        f"User: {USER} is not authorized to perform: kms:RetireGrant on resource: {by_policy}"
    )
    assert setting.left(grant) == 1


def test_a_deny_is_stronger(setting: Setting) -> None:
    name = f"Denied{next(_fresh)}"
    client = setting.kms.user(name, {**allow("RetireGrant"), "Effect": "Deny"})
    grant = setting.grant(RetiringPrincipal=f"arn:aws:iam::{ACCOUNT}:user/{name}")
    asked = {"GrantToken": grant["token"]}
    assert outcome(client.retire_grant, **asked) == "AccessDeniedException"


def test_the_retiring_account_may_be_another(setting: Setting) -> None:
    grant = setting.grant(RetiringPrincipal=OTHER)
    foreign = setting.kms.account(OTHER_ACCOUNT)
    asked = {"KeyId": grant["key"], "GrantId": grant["id"]}
    stranger = setting.kms.of(foreign.user("Stranger"))
    assert outcome(stranger.retire_grant, **asked) == "AccessDeniedException"
    assert outcome(setting.kms.of(foreign.administrator).retire_grant, **asked) == "allowed"
    kept = setting.grant()
    asked = {"KeyId": kept["key"], "GrantId": kept["id"]}
    refusal = outcome(setting.kms.of(foreign.administrator).retire_grant, **asked)
    assert (refusal, setting.left(kept)) == ("AccessDeniedException", 1)


def test_a_grant_is_named_by_its_token_or_by_key_and_id(setting: Setting) -> None:
    retire = setting.kms.admin.retire_grant
    for short in (True, False):
        grant = setting.grant()
        key = key_id(grant["key"]) if short else grant["key"]
        assert outcome(retire, KeyId=key, GrantId=grant["id"]) == "allowed"
        again = outcome(retire, KeyId=key, GrantId=grant["id"])
        assert (again, setting.left(grant)) == ("NotFoundException", 0)
        assert outcome(retire, GrantToken=grant["token"]) == "InvalidGrantTokenException"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({}, "ValidationException"),
        ({"KeyId": "key"}, "ValidationException"),
        ({"GrantId": "id"}, "ValidationException"),
        ({"GrantToken": "token", "KeyId": "key", "GrantId": "id"}, "ValidationException"),
        ({"GrantToken": "no-token"}, "InvalidGrantTokenException"),
        ({"KeyId": NO_KEY, "GrantId": "id"}, "NotFoundException"),
        ({"KeyId": "key", "GrantId": "0" * 64}, "NotFoundException"),
    ],
)
def test_what_names_no_grant(setting: Setting, asked: dict[str, str], code: str) -> None:
    grant = setting.grant()
    held = {"key": grant["key"], "token": grant["token"], "id": grant["id"]}
    given = {name: held.get(value, value) for name, value in asked.items()}
    assert (outcome(setting.kms.admin.retire_grant, **given), setting.left(grant)) == (code, 1)


def test_a_dry_run_retires_nothing(setting: Setting) -> None:
    grant = setting.grant(RetiringPrincipal=USER)
    asked = {"GrantToken": grant["token"], "DryRun": True}
    assert outcome(setting.somebody.retire_grant, **asked) == "DryRunOperationException"
    stranger = setting.kms.user(f"Stranger{next(_fresh)}")
    assert outcome(stranger.retire_grant, **asked) == "AccessDeniedException"
    assert setting.left(grant) == 1


def test_the_record_has_the_grant_and_no_token(setting: Setting) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-retire-grant.html"""
    grant = setting.grant()
    setting.kms.admin.retire_grant(GrantToken=grant["token"])
    record = setting.kms.record("RetireGrant")
    assert (record["requestParameters"], record["responseElements"]) == (None, None)
    assert record["additionalEventData"] == {"grantId": grant["id"]}
    assert [one["ARN"] for one in record["resources"]] == [grant["key"]]
    assert record["readOnly"] is False
    asked = {"GrantToken": grant["token"]}
    assert outcome(setting.kms.admin.retire_grant, **asked) == "InvalidGrantTokenException"
    assert grant["token"] not in str(setting.kms.record("RetireGrant"))


# ListRetirableGrants ------------------------------------------------------------------------------


def test_the_grants_that_a_principal_may_retire_on_keys_of_any_account(setting: Setting) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ListRetirableGrants.html"""
    kms = setting.kms
    retiring = kms.served.role("Retiring", TRUST)
    mine = setting.grant(RetiringPrincipal=retiring)
    setting.grant(RetiringPrincipal=USER)
    setting.grant()
    other = kms.of(kms.account(OTHER_ACCOUNT).administrator)
    key = other.create_key()["KeyMetadata"]["Arn"]
    theirs = other.create_grant(
        KeyId=key, GranteePrincipal=OTHER, Operations=["Decrypt"], RetiringPrincipal=retiring
    )["GrantId"]
    listed = kms.admin.list_retirable_grants(RetiringPrincipal=retiring)["Grants"]
    assert {one["GrantId"]: one["KeyId"] for one in listed} == {
        mine["id"]: mine["key"],
        theirs: key,
    }
    pages = [
        page["GrantId"]
        for answer in kms.admin.get_paginator("list_retirable_grants").paginate(
            RetiringPrincipal=retiring, PaginationConfig={"PageSize": 1}
        )
        for page in answer["Grants"]
    ]
    assert sorted(pages) == sorted([mine["id"], theirs])
    kms.admin.retire_grant(KeyId=mine["key"], GrantId=mine["id"])
    listed = kms.admin.list_retirable_grants(RetiringPrincipal=retiring)["Grants"]
    assert [one["GrantId"] for one in listed] == [theirs]


def test_who_may_list_the_retirable_grants_of_a_principal(setting: Setting) -> None:
    """The principal is the resource; it must be of the caller's account."""
    own = setting.kms.user("Lister", allow("ListRetirableGrants", resource=USER))
    assert outcome(own.list_retirable_grants, RetiringPrincipal=USER) == "allowed"
    assert outcome(own.list_retirable_grants, RetiringPrincipal=ROOT) == "AccessDeniedException"
    listed = setting.kms.admin.list_retirable_grants
    assert outcome(listed, RetiringPrincipal=OTHER) == "AccessDeniedException"
    assert outcome(listed, RetiringPrincipal=f"{USER}s") == "InvalidArnException"
    assert outcome(listed, RetiringPrincipal=USER, Limit=101) == "ValidationException"
    assert outcome(listed) == "ValidationException"
    by_service = {"RetiringServicePrincipal": "ec2.amazonaws.com"}
    assert outcome(listed, **by_service) == "NotImplemented"
