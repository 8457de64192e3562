"""The condition keys that a request on a key has, each by a policy that it alone decides.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from awssandbox.kms import conditions
from kms_setting import OTHER_ACCOUNT, Kms, allow, kms_served, outcome
from served import ACCOUNT, REGION

_fresh = itertools.count()
ENCRYPT = {"Plaintext": b"x", "EncryptionContext": {"a": "1", "b": "2"}}


@pytest.fixture(scope="module")
def kms() -> Iterator[Kms]:
    with kms_served() as served:
        yield served


@dataclass
class Case:
    """A condition; the call that meets it (by default), and whether it does."""

    condition: dict[str, Any]
    met: bool
    operation: str = "Encrypt"
    asked: dict[str, Any] = field(default_factory=lambda: dict(ENCRYPT))
    tags: dict[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    by: str = "arn"


def equals(key: str, value: Any) -> dict[str, Any]:
    return {"StringEquals": {key: value}}


def any_of(key: str, *values: str) -> dict[str, Any]:
    return {"ForAnyValue:StringEquals": {key: list(values)}}


def all_of(key: str, *values: str) -> dict[str, Any]:
    return {"ForAllValues:StringEquals": {key: list(values)}}


READ: dict[str, Any] = {"operation": "DescribeKey", "asked": {}}
CASES = [
    # Who calls
    Case(equals("kms:CallerAccount", ACCOUNT), True),
    Case(equals("kms:CallerAccount", OTHER_ACCOUNT), False),
    Case(equals("kms:CallerAccount", ACCOUNT), True, **READ),
    Case(equals("kms:ViaService", f"imagebuilder.{REGION}.amazonaws.com"), False),
    Case({"Null": {"kms:ViaService": "true"}}, True),
    # The key
    Case(equals("kms:KeySpec", "SYMMETRIC_DEFAULT"), True, **READ),
    Case(equals("kms:KeySpec", "RSA_2048"), False, **READ),
    Case(equals("kms:KeyUsage", "ENCRYPT_DECRYPT"), True, **READ),
    Case(equals("kms:KeyOrigin", "AWS_KMS"), True, **READ),
    Case(equals("kms:KeyOrigin", "EXTERNAL"), False, **READ),
    Case({"Bool": {"kms:MultiRegion": "false"}}, True, **READ),
    Case({"Bool": {"kms:MultiRegion": "true"}}, False, **READ),
    # Its tags
    Case(equals("aws:ResourceTag/Purpose", "w"), True, tags={"Purpose": "w"}, **READ),
    Case(equals("aws:ResourceTag/Purpose", "w"), False, tags={"Purpose": "x"}, **READ),
    Case(equals("aws:ResourceTag/Purpose", "w"), False, **READ),
    # Its aliases, and the one that the request has
    Case(any_of("kms:ResourceAliases", "alias/1-{n}"), True, aliases=("1", "2"), **READ),
    Case(any_of("kms:ResourceAliases", "alias/3-{n}"), False, aliases=("1", "2"), **READ),
    Case(any_of("kms:ResourceAliases", "alias/1-{n}"), False, **READ),
    Case(equals("kms:RequestAlias", "alias/1-{n}"), True, aliases=("1",), by="alias"),
    Case(equals("kms:RequestAlias", "alias/1-{n}"), True, aliases=("1",), by="alias ARN"),
    Case(equals("kms:RequestAlias", "alias/1-{n}"), False, aliases=("1",), by="arn"),
    Case(equals("kms:RequestAlias", "alias/1-{n}"), False, aliases=("1",), by="key id"),
    # The context of the request
    Case(equals("kms:EncryptionContext:a", "1"), True),
    Case(equals("KMS:encryptioncontext:A", "1"), True),
    Case(equals("kms:EncryptionContext:a", "2"), False),
    Case(equals("kms:EncryptionContext:c", "1"), False),
    Case(any_of("kms:EncryptionContextKeys", "a"), True),
    Case(all_of("kms:EncryptionContextKeys", "a", "b", "c"), True),
    Case(all_of("kms:EncryptionContextKeys", "a"), False),
    Case(equals("kms:EncryptionContext:a", "1"), False, **READ),
    Case(equals("kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT"), True),
    Case(equals("kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT"), False, **READ),
    # Global keys
    Case(equals("aws:PrincipalAccount", ACCOUNT), True, **READ),
    Case(equals("aws:ResourceAccount", ACCOUNT), True, **READ),
    Case(equals("aws:RequestedRegion", REGION), True, **READ),
    Case({"Bool": {"aws:ViaAWSService": "true"}}, False),
]


def name(case: Case) -> str:
    ((operator, keys),) = case.condition.items()
    ((key, value),) = keys.items()
    return f"{case.operation} {operator} {key} {value} {case.by} {case.met}"


@pytest.mark.parametrize("place", ["key policy", "identity policy"])
@pytest.mark.parametrize("case", CASES, ids=name)
def test_a_condition(kms: Kms, case: Case, place: str) -> None:
    number = str(next(_fresh))
    ((operator, keys),) = case.condition.items()
    ((key_name, value),) = keys.items()
    values = value if isinstance(value, list) else [value]
    condition = {operator: {key_name: [v.replace("{n}", number) for v in values]}}
    statement = allow(case.operation, Condition=condition)
    user = f"User{number}"
    if place == "key policy":
        client = kms.user(user)
        principal = {"AWS": f"arn:aws:iam::{ACCOUNT}:user/{user}"}
        key = kms.key({**statement, "Principal": principal}, Tags=_tags(case))
    else:
        client = kms.user(user, statement)
        key = kms.key(Tags=_tags(case))
    for alias in case.aliases:
        kms.admin.create_alias(AliasName=f"alias/{alias}-{number}", TargetKeyId=key)
    names = {
        "arn": key,
        "key id": key.rpartition("/")[2],
        "alias": f"alias/1-{number}",
        "alias ARN": f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/1-{number}",
    }
    method = {"Encrypt": client.encrypt, "DescribeKey": client.describe_key}[case.operation]
    expected = "allowed" if case.met else "AccessDeniedException"
    assert outcome(method, KeyId=names[case.by], **case.asked) == expected


def _tags(case: Case) -> list[dict[str, str]]:
    return [{"TagKey": k, "TagValue": v} for k, v in case.tags.items()]


def test_the_value_of_a_parameter_is_a_condition_key_too(kms: Kms) -> None:
    """Of the deletion's waiting period and of the rotation's period, both numbers.

    Source: conditions-kms.html, kms:ScheduleKeyDeletionPendingWindowInDays and
    kms:RotationPeriodInDays
    """
    number = next(_fresh)
    periods = kms.user(
        f"User{number}",
        allow(
            "ScheduleKeyDeletion",
            Condition={"StringEquals": {"kms:ScheduleKeyDeletionPendingWindowInDays": "30"}},
        ),
        allow(
            "EnableKeyRotation",
            Condition={"StringEquals": {"kms:RotationPeriodInDays": "365"}},
        ),
    )
    key = kms.key()
    assert outcome(periods.enable_key_rotation, KeyId=key) == "allowed", "365 is the default"
    asked = {"KeyId": key, "RotationPeriodInDays": 364}
    assert outcome(periods.enable_key_rotation, **asked) == "AccessDeniedException"
    asked = {"KeyId": key, "PendingWindowInDays": 7}
    assert outcome(periods.schedule_key_deletion, **asked) == "AccessDeniedException"
    assert outcome(periods.schedule_key_deletion, KeyId=key) == "allowed"


def test_image_builder_is_not_among_the_services_that_via_service_knows() -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service"""
    assert "imagebuilder" not in conditions.VIA_SERVICES
    assert {"ec2", "s3", "lambda", "secretsmanager"} <= conditions.VIA_SERVICES


DOCUMENT = """
schemaVersion: 1.0
steps:
  - name: Launch
    action: LaunchInstance
    onFailure: Abort
    inputs:
      waitFor: ssmAgent
"""


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [
        ({"StringLike": {"kms:ViaService": "imagebuilder.*"}}, False),
        ({"StringLike": {"kms:ViaService": "*"}}, False),
        ({"Null": {"kms:ViaService": "true"}}, True),
        (any_of("aws:CalledVia", "imagebuilder.amazonaws.com"), True),
        ({"Bool": {"aws:ViaAWSService": "true"}}, True),
    ],
    ids=str,
)
def test_a_call_that_image_builder_makes_for_its_caller(
    kms: Kms, condition: dict[str, Any], allowed: bool
) -> None:
    """``kms:ViaService`` never matches it; ``aws:CalledVia`` does.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_forward_access_sessions.html
    """
    number = next(_fresh)
    own = {"Effect": "Allow", "Action": "imagebuilder:*", "Resource": "*"}
    use = allow("GenerateDataKey", "Decrypt", "DescribeKey", Condition=condition)
    credentials = kms.served.user(f"User{number}", own, use)
    client = kms.served.client("imagebuilder", credentials)
    got = outcome(
        client.create_workflow,
        name=f"workflow-{number}",
        semanticVersion="1.0.0",
        type="BUILD",
        data=DOCUMENT,
        kmsKeyId=kms.key(),
    )
    assert (got == "allowed") == allowed, got
