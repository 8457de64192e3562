"""AWS's words for a refusal, layer by layer: as its pages print them.

Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html
"""

from __future__ import annotations

from typing import Any

import pytest
from iamaccess import Decision, Outcome, Principal, Request, StatementRef, denied_message

MARY = Principal("user", "arn:aws:iam::777788889999:user/MaryMajor", "777788889999")
OBJECT = "arn:aws:s3:::amzn-s3-demo-bucket1/object-name"
KEY = "arn:aws:kms:us-west-2:777788889999:key/1234abcd"
SCP = "arn:aws:organizations::987654321098:policy/o-qv5af4abcd/service_control_policy/p-2kgnabcd"


def message(request: Request, layer: Any, reason: Any, policy: str = "") -> str:
    statement = StatementRef(policy, None, 0) if reason == "explicit_deny" else None
    denied = Decision(Outcome.DENIED, reason, layer, statement, (), (), False)
    return denied_message(denied, request)


WORDS = [
    ("identity", "an identity-based policy"),
    ("resource", "a resource-based policy"),
    ("boundary", "a permissions boundary"),
    ("session", "a session policy"),
    ("service_control", "a service control policy"),
    ("resource_control", "a resource control policy"),
]


@pytest.mark.parametrize(("layer", "noun"), WORDS)
def test_each_layer_has_its_noun(layer: str, noun: str) -> None:
    asked = f"User: {MARY.arn} is not authorized to perform: s3:GetObject on resource"
    request = Request(MARY, "s3:GetObject", OBJECT)
    explicit = message(request, layer, "explicit_deny")
    assert explicit == f'{asked}: "{OBJECT}" with an explicit deny in {noun}'
    implicit = message(request, layer, "implicit_deny")
    plain = noun.partition(" ")[2]
    assert implicit == f'{asked}: "{OBJECT}" because no {plain} allows the s3:GetObject action'


@pytest.mark.parametrize(
    ("layer", "policy", "resource", "told"),
    [
        pytest.param("service_control", SCP, KEY, f": {SCP}", id="an SCP"),
        pytest.param("identity", "arn:aws:iam::1:policy/P", KEY, ": arn:aws:iam::1:policy/P"),
        pytest.param("identity", "Inline", KEY, "", id="an inline policy has no ARN"),
        pytest.param("resource", "arn:aws:x", KEY, "", id="a resource's policy is not named"),
        pytest.param(
            "identity", "arn:aws:iam::1:policy/P", KEY.replace("7777", "1111"), "", id="not across"
        ),
    ],
)
def test_the_arn_of_the_policy_that_denies(
    layer: str, policy: str, resource: str, told: str
) -> None:
    """Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied-authorization-id.html"""
    text = message(Request(MARY, "kms:Decrypt", resource), layer, "explicit_deny", policy)
    assert text.partition(" with an explicit deny in ")[2].partition(":")[2] == told[1:]
    assert f"on resource: {resource} with" in text


def test_only_a_denial_has_a_message() -> None:
    allowed = Decision(Outcome.ALLOWED, "allowed", "identity", None, (), (), True)
    with pytest.raises(ValueError, match="only a DENIED decision has a message"):
        denied_message(allowed, Request(MARY, "s3:GetObject", OBJECT))
