"""What an explanation says: why, what nearly allowed it, and in what little it differs."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
import test_laws as laws
from hypothesis import given
from hypothesis import strategies as st
from iamaccess import (
    Grant,
    Outcome,
    Policies,
    Policy,
    Principal,
    Request,
    decide,
    parse_policy,
)
from iamaccess.explain import Explanation, explain, not_read
from iamaccess.nearness import nearness, one_edit

ACCOUNT = "111122223333"
KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/Builder"
SESSION = Principal("session", f"arn:aws:sts::{ACCOUNT}:assumed-role/Builder/b", ACCOUNT, ROLE)
NAME = "kms:EncryptionContext:aws:imagebuilder:arn"
PATTERN = f"arn:aws:imagebuilder:*:{ACCOUNT}:workflow/*"
WORKFLOW = f"arn:aws:imagebuilder:us-west-2:{ACCOUNT}:workflow/build/x/1.0.0/*"
COMPONENT = f"arn:aws:imagebuilder:us-west-2:{ACCOUNT}:component/x/1.0.0/*"
SID = "Allow access to build images with encrypted workflow"

USE = {
    "Sid": SID,
    "Effect": "Allow",
    "Principal": {"AWS": ROLE},
    "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
    "Resource": "*",
    "Condition": {"StringLike": {NAME: PATTERN}},
}
DELEGATES = {
    "Sid": "Allow access for key administrators",
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    "Action": "kms:*",
    "Resource": "*",
}
OWN = {
    "Effect": "Allow",
    "Action": "kms:Decrypt",
    "Resource": KEY,
    "Condition": {"StringLike": {NAME: PATTERN}},
}
OTHERS = {"Effect": "Deny", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*", "Sid": "No"}


def policy(kind: Any, name: str, *statements: dict[str, Any]) -> list[Policy]:
    return [
        parse_policy({"Version": "2012-10-17", "Statement": [*statements]}, kind=kind, name=name)
    ]


def key_policy(*statements: dict[str, Any]) -> list[Policy]:
    return policy("resource", "key policy", *statements)


def asked(
    context: str | None = WORKFLOW,
    /,
    *statements: dict[str, Any],
    action: str = "kms:Decrypt",
    name: str = NAME,
    who: Principal = SESSION,
    absent: tuple[str, ...] | None = None,
    **layers: Any,
) -> Explanation:
    """The explanation of one request; what is not given is known to be none."""
    known: dict[str, Any] = dict.fromkeys(Policies.__dataclass_fields__, ())
    given = Policies(**{**known, "resource": key_policy(*(statements or (USE,))), **layers})
    pairs = {} if context is None else {name: context}
    request = Request(who, action, KEY, pairs, absent=absent)
    return explain(request, given, decide(request, given))


def but(statement: dict[str, Any], **changes: Any) -> dict[str, Any]:
    changed = {**copy.deepcopy(statement), **changes}
    return {name: value for name, value in changed.items() if value is not None}


# One sentence why


OWN_LAYER = {"identity": policy("identity", "Own", OWN)}
BOUNDARY = policy("identity", "arn:aws:iam::aws:policy/ReadOnlyAccess", but(OWN, Action="s3:*"))
SENTENCES = [
    pytest.param(
        asked(),
        f"ALLOWED: key policy, statement {SID!r} allows kms:Decrypt",
        id="by the key policy",
    ),
    pytest.param(
        asked(WORKFLOW, DELEGATES, **OWN_LAYER),
        "ALLOWED: identity policy 'Own', statement 1 allows kms:Decrypt; the key policy lets "
        "identity policies count (statement 'Allow access for key administrators')",
        id="by an identity policy",
    ),
    pytest.param(
        asked(WORKFLOW, OTHERS, USE),
        "DENIED: key policy, statement 'No' denies kms:Decrypt explicitly, and nothing outweighs "
        "that",
        id="explicit deny",
    ),
    pytest.param(
        asked(None),
        "DENIED: no statement of the key policy allows kms:Decrypt to this principal, and none "
        "lets the account's identity policies count",
        id="no path",
    ),
    pytest.param(
        asked(None, DELEGATES),
        "DENIED: neither the key policy nor an identity policy allows kms:Decrypt; the key policy "
        "lets identity policies count (statement 'Allow access for key administrators')",
        id="delegated",
    ),
    pytest.param(
        asked(boundary=BOUNDARY),
        "DENIED: the permissions boundary limits this principal, and does not allow kms:Decrypt",
        id="boundary",
    ),
    pytest.param(
        asked(
            WORKFLOW,
            DELEGATES,
            grants=(Grant("g-1", ROLE, frozenset({"Decrypt"}), None, None, KEY),),
        ),
        "ALLOWED: grant g-1 allows kms:Decrypt",
        id="grant",
    ),
    pytest.param(
        asked(
            WORKFLOW,
            DELEGATES,
            who=Principal("user", "arn:aws:iam::444455556666:user/U", "444455556666"),
        ),
        "DENIED: no statement of the key policy allows kms:Decrypt to this principal, which is not "
        f"of the account {ACCOUNT}",
        id="another account's",
    ),
    pytest.param(
        asked(
            WORKFLOW,
            but(USE, Principal={"AWS": "444455556666"}),
            who=Principal("user", "arn:aws:iam::444455556666:user/U", "444455556666"),
        ),
        "DENIED: no identity policy of the account 444455556666 allows kms:Decrypt, and between "
        "accounts both sides must",
        id="another account's, whose own side does not allow",
    ),
    pytest.param(
        asked(WORKFLOW, DELEGATES, who=Principal("root", f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT)),
        "ALLOWED: key policy, statement 'Allow access for key administrators' allows kms:Decrypt",
        id="root",
    ),
    pytest.param(
        asked(service_control=None, resource_control=None),
        f"UNKNOWN: allowed by all that was read (key policy, statement {SID!r} allows "
        "kms:Decrypt); not read: SCP, RCP",
        id="the organization's policies were not read",
    ),
    pytest.param(
        asked(WORKFLOW, DELEGATES, identity=None),
        "UNKNOWN: not settled (the key policy lets identity policies count (statement 'Allow "
        "access for key administrators')); not read: identity policies",
        id="identity policies were not read",
    ),
    pytest.param(
        asked(resource=None, grants=None),
        "UNKNOWN: not settled; not read: key policy, grants",
        id="of a key policy that was not read nothing is told",
    ),
]


@pytest.mark.parametrize(("told", "sentence"), SENTENCES)
def test_the_sentence_names_layer_policy_and_statement(told: Explanation, sentence: str) -> None:
    assert str(told).splitlines()[0] == sentence


FULL = policy("identity", "FullAWSAccess", {"Effect": "Allow", "Action": "*", "Resource": "*"})
NEAR = policy("identity", "p-1", {"Effect": "Allow", "Action": "kms:Decrpyt", "Resource": "*"})
AWAY = {"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}}
NETWORK = "aws:SourceIp"


@pytest.mark.parametrize(
    ("told", "lines"),
    [
        pytest.param(
            asked(WORKFLOW, but(USE, Condition=AWAY), absent=()),
            [
                f"UNKNOWN: not settled; the request does not tell the condition key {NETWORK}",
                f"rests on: key policy, statement {SID!r}: principal, action and resource match; "
                f"condition NotIpAddress {NETWORK} needs other than 192.0.2.0/24, which the "
                "request does not tell",
                f"what would settle it: telling the condition key {NETWORK}, or that it is absent",
            ],
            id="a condition key that the request does not tell",
        ),
        pytest.param(
            asked(WORKFLOW, USE, but(OTHERS, Condition=AWAY), absent=(), service_control=None),
            [
                "UNKNOWN: not settled; not read: SCP; the request does not tell the condition key "
                f"{NETWORK}",
                "rests on: key policy, statement 'No' (a Deny): principal, action and resource "
                f"match; condition NotIpAddress {NETWORK} needs other than 192.0.2.0/24, which the "
                "request does not tell",
                "what would settle it: reading the SCPs of the account and of each level above it; "
                f"telling the condition key {NETWORK}, or that it is absent",
            ],
            id="a Deny that may apply, and SCPs",
        ),
        pytest.param(
            asked(WORKFLOW, but(USE, Condition={})),
            [
                "UNKNOWN: not settled; AWS does not document an empty Condition",
                f"rests on: key policy, statement {SID!r}: principal, action and resource match",
                "what would settle it: a call, as AWS does not document an empty Condition (policy "
                "'key policy' at /Statement/0/Condition)",
            ],
            id="what AWS does not document",
        ),
        pytest.param(
            asked(service_control=[FULL, NEAR]),
            [
                "DENIED: no SCP of level 2, counted from the root, allows kms:Decrypt",
                "nearest: SCP 'p-1', statement 1: resource matches; action needs kms:Decrpyt, the "
                "request has kms:Decrypt (two neighbouring characters are swapped)",
            ],
            id="a level of SCPs",
        ),
        pytest.param(
            asked(resource_control=[FULL, policy("identity", "p-2", but(OTHERS, Principal=None))]),
            [
                "DENIED: RCP 'p-2', statement 'No' denies kms:Decrypt explicitly, and nothing "
                "outweighs that",
            ],
            id="an RCP",
        ),
    ],
)
def test_what_is_not_told_or_documented_and_what_the_organization_says(
    told: Explanation, lines: list[str]
) -> None:
    assert str(told).splitlines() == lines


def test_what_was_not_read_is_said_where_it_makes_no_difference_too() -> None:
    told = asked(WORKFLOW, OTHERS, service_control=None)
    assert str(told).splitlines()[1:] == ["not read, which makes no difference: SCP"]


def test_what_would_settle_it() -> None:
    told = asked(identity=None, service_control=None, resource_control=None)
    assert told.outcome is Outcome.UNKNOWN
    assert str(told).splitlines()[-1] == (
        "what would settle it: reading the identity policies of the principal, its groups' "
        "included; reading the SCPs of the account and of each level above it; reading the RCPs of "
        "the account and of each level above it"
    )


def test_what_would_settle_it_where_nothing_was_read() -> None:
    told = asked(**dict.fromkeys(Policies.__dataclass_fields__))
    assert str(told).splitlines() == [
        "UNKNOWN: not settled; not read: identity policies, key policy, grants, permissions "
        "boundary, session policy, SCP, RCP",
        "what would settle it: reading the identity policies of the principal, its groups' "
        "included; reading the key policy; reading the key's grants; reading the permissions "
        "boundary; reading the session policy, if there is one; reading the SCPs of the account "
        "and of each level above it; reading the RCPs of the account and of each level above it",
    ]


ROOT = Principal("root", f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT)
FOREIGN_ROOT = Principal("root", "arn:aws:iam::444455556666:root", "444455556666")


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        pytest.param(
            asked(grants=None),
            f"ALLOWED: key policy, statement {SID!r} allows kms:Decrypt",
            id="what was not read makes no difference",
        ),
        pytest.param(
            asked(None, grants=None),
            "UNKNOWN: not settled (no statement of the key policy allows kms:Decrypt to this "
            "principal, and none lets the account's identity policies count); not read: grants",
            id="denied by what was read",
        ),
        pytest.param(
            asked(WORKFLOW, action="s3:GetObject", resource=None, identity=FULL),
            "UNKNOWN: allowed by all that was read (identity policy 'FullAWSAccess', statement 1 "
            "allows s3:GetObject); not read: resource policy",
            id="allowed by what was read, the resource's policy not",
        ),
        pytest.param(
            asked(
                action="s3:GetObject",
                resource=None,
                identity=FULL,
                boundary=policy("identity", "B", OWN),
            ),
            "UNKNOWN: not settled (the permissions boundary limits this principal, and does not "
            "allow s3:GetObject); not read: resource policy",
            id="limited by what was read, the resource's policy not",
        ),
        pytest.param(
            asked(WORKFLOW, DELEGATES, identity=None),
            "UNKNOWN: not settled (the key policy lets identity policies count (statement 'Allow "
            "access for key administrators')); not read: identity policies",
            id="delegated, the identity policies not read",
        ),
        pytest.param(
            asked(COMPONENT, DELEGATES, **OWN_LAYER, grants=None),
            "UNKNOWN: not settled (neither the key policy nor an identity policy allows "
            "kms:Decrypt; the key policy lets identity policies count (statement 'Allow access for "
            "key administrators')); not read: grants",
            id="delegated, the grants not read",
        ),
        pytest.param(
            asked(
                WORKFLOW,
                but(USE, Condition={"Bool": {"aws:MultiFactorAuthPresent": True}}),
                but(OTHERS, Condition=AWAY),
                absent=(),
            ),
            "UNKNOWN: not settled; the request does not tell the condition keys "
            "aws:MultiFactorAuthPresent and aws:SourceIp",
            id="two condition keys",
        ),
        pytest.param(
            asked(action="s3:GetObject", identity=None),
            "UNKNOWN: not settled; not read: identity policies",
            id="no delegation is needed, the identity policies not read",
        ),
        pytest.param(
            asked(action="s3:GetObject"),
            "DENIED: no identity policy allows s3:GetObject",
            id="no delegation is needed",
        ),
        pytest.param(
            asked(WORKFLOW, but(USE, Principal={"AWS": f"{ROLE}2"}), DELEGATES, **OWN_LAYER),
            "ALLOWED: identity policy 'Own', statement 1 allows kms:Decrypt; the key policy lets "
            "identity policies count (statement 'Allow access for key administrators')",
            id="behind a statement for another",
        ),
        pytest.param(
            asked(who=Principal("service", "s3.amazonaws.com", None)),
            "DENIED: no statement of the key policy allows kms:Decrypt to this principal",
            id="a service",
        ),
        pytest.param(
            asked(action="KMS:Decrypt"),
            f"ALLOWED: key policy, statement {SID!r} allows KMS:Decrypt",
            id="an action in other letter case",
        ),
        pytest.param(
            asked(WORKFLOW, DELEGATES, identity=policy("identity", "", OWN)),
            "ALLOWED: identity policy, statement 1 allows kms:Decrypt; the key policy lets identity"
            " policies count (statement 'Allow access for key administrators')",
            id="a policy without a name",
        ),
        pytest.param(
            asked(WORKFLOW, but(USE, Principal={"AWS": FOREIGN_ROOT.arn}), who=FOREIGN_ROOT),
            "ALLOWED: the root user may kms:Decrypt: nothing that was read limits it",
            id="the root user of another account",
        ),
        pytest.param(
            asked(WORKFLOW, but(USE, Principal={"Federated": "accounts.google.com"})),
            "UNKNOWN: not settled; AWS does not document principal Federated",
            id="a principal that AWS does not document",
        ),
    ],
)
def test_what_was_read_comes_to(told: Explanation, sentence: str) -> None:
    assert str(told).splitlines()[0] == sentence


def test_what_would_settle_two_keys() -> None:
    told = asked(
        WORKFLOW,
        but(USE, Condition={"Bool": {"aws:MultiFactorAuthPresent": True}}),
        but(OTHERS, Condition=AWAY),
        absent=(),
    )
    assert told.settles == (
        "telling the condition keys aws:MultiFactorAuthPresent and aws:SourceIp, or that they are "
        "absent",
    )


@pytest.mark.parametrize("layer", ["service_control", "resource_control"])
def test_a_control_policy_s_deny_that_may_apply_is_what_it_rests_on(layer: str) -> None:
    control = policy(
        "service_control" if layer == "service_control" else "resource_control",
        "p-1",
        *([] if layer == "resource_control" else [{**OWN, "Action": "*", "Condition": {}}]),
        but(
            OTHERS,
            Condition=AWAY,
            Principal="*" if layer == "resource_control" else None,
        ),
    )
    told = asked(absent=(), **{layer: [FULL, control] if layer == "service_control" else [control]})
    place = {"service_control": "SCP", "resource_control": "RCP"}[layer]
    assert any(
        str(miss).startswith(f"{place} 'p-1', statement 'No' (a Deny): ") for miss in told.misses
    )


def test_what_was_read_of_another_service_or_of_a_role_is_called_as_it_is() -> None:
    of_s3 = asked(action="s3:GetObject", resource=None, identity=FULL)
    assert of_s3.settles == ("reading the resource policy",)
    of_sts = asked(action="sts:AssumeRole", resource=None, identity=FULL)
    assert of_sts.settles == ("reading the trust policy",)
    assert asked(WORKFLOW, OTHERS, grants=None).unread == ("grants",)
    denied = asked(
        action="s3:GetObject",
        resource=None,
        identity=policy("identity", "Own", but(OWN, Effect="Deny", Action="*", Condition=None)),
    )
    assert denied.unread == ("resource policy",)


@pytest.mark.parametrize(
    ("told", "end"),
    [
        pytest.param(
            asked(WORKFLOW, but(USE, Principal={"Federated": "accounts.google.com"})),
            f"principal needs accounts.google.com, the request has {ROLE} (AWS does not document "
            "it)",
            id="a principal",
        ),
        pytest.param(
            asked(WORKFLOW, but(USE, Condition={"Null": {NAME: "perhaps"}})),
            f"condition Null {NAME} needs ?, the request has {WORKFLOW} (AWS does not document it)",
            id="a condition",
        ),
        pytest.param(
            asked(
                WORKFLOW,
                DELEGATES,
                identity=policy(
                    "identity", "Own", but(OWN, Resource=KEY[:-2] + "${aws:PrincipalTag/key}")
                ),
                absent=(),
            ),
            f"resource needs {KEY[:-2]}${{aws:PrincipalTag/key}}, which the request does not tell",
            id="a variable of the resource",
        ),
    ],
)
def test_what_cannot_be_said_of_an_element_rests_on(told: Explanation, end: str) -> None:
    assert told.outcome is Outcome.UNKNOWN
    assert nearest(told).endswith(end)


# The nearest misses


def nearest(told: Explanation) -> str:
    return str(told.misses[0])


def test_the_nearest_miss_tells_what_matches_and_what_does_not() -> None:
    assert nearest(asked(COMPONENT)) == (
        f"key policy, statement {SID!r}: principal, action and resource match; condition StringLike"
        f" {NAME} needs {PATTERN}, the request has {COMPONENT}"
    )


@pytest.mark.parametrize(
    ("told", "end"),
    [
        pytest.param(
            asked(WORKFLOW.replace("workflow", "Workflow")),
            "(differs in letter case only)",
            id="letter case",
        ),
        pytest.param(
            asked(WORKFLOW.replace("workflow", "workflaw")),
            "(one character differs: 'a', not 'o', at place 51)",
            id="a letter",
        ),
        pytest.param(
            asked(WORKFLOW.replace("workflow", "workflo")),
            "(one character is missing: 'w' at place 52)",
            id="a letter that is missing",
        ),
        pytest.param(
            asked(WORKFLOW.replace(ACCOUNT, "444455556666")),
            "(only the account differs)",
            id="the account",
        ),
        pytest.param(
            asked(WORKFLOW, but(USE, Condition={"StringEquals": {NAME: PATTERN}})),
            "(this operator has no wildcards)",
            id="wildcards where there are none",
        ),
        pytest.param(
            asked(None), f"condition StringLike {NAME} needs {PATTERN}, the request has none"
        ),
        pytest.param(
            asked(name=NAME.replace("arn", "arm")),
            f"the request has none (it has {NAME.replace('arn', 'arm')}: one character differs: "
            "'m', not 'n', at place 42)",
            id="a letter of the condition key",
        ),
        pytest.param(
            asked(
                WORKFLOW,
                but(USE, Condition={"StringEquals": {"kms:EncryptionContext:my name": "x"}}),
                name="kms:EncryptionContext:my nane",
            ),
            "the request has none (it has kms:EncryptionContext:my nane: one character differs: "
            "'n', not 'm', at place 28)",
            id="a letter of a name with a space",
        ),
        pytest.param(
            asked(action="kms:Decrpyt"),
            "action needs kms:Decrypt or kms:GenerateDataKey, the request has kms:Decrpyt (two "
            "neighbouring characters are swapped)",
            id="the action",
        ),
        pytest.param(
            asked(WORKFLOW, but(USE, Principal={"AWS": ROLE.replace("B", "b")})),
            f"principal needs {ROLE.replace('B', 'b')}, the request has {ROLE} (differs in letter "
            "case only)",
            id="the principal's letter case",
        ),
        pytest.param(
            asked(WORKFLOW, but(USE, Resource=f"arn:aws:kms:*:{ACCOUNT}:key/")),
            f"resource needs arn:aws:kms:*:{ACCOUNT}:key/, the request has {KEY}",
            id="the Resource as AWS's page prints it",
        ),
        pytest.param(
            asked(WORKFLOW, but(USE, Action=None)),
            f"statement {SID!r}: action: it has none, and so no effect",
            id="no Action",
        ),
        pytest.param(
            asked(WORKFLOW, but(USE, Condition={"StringNotLike": {NAME: PATTERN}})),
            f"StringNotLike {NAME} needs other than {PATTERN}, the request has {WORKFLOW}",
            id="a negated operator",
        ),
        pytest.param(
            asked(None, but(USE, Condition={"Null": {NAME: "false"}})),
            f"condition Null {NAME} needs a value, the request has none",
            id="Null",
        ),
        pytest.param(
            asked(WORKFLOW, but(USE, Condition={"Null": {NAME: "true"}})),
            f"condition Null {NAME} needs no value, the request has {WORKFLOW}",
            id="Null, of a key that is there",
        ),
        pytest.param(
            asked(
                WORKFLOW,
                but(USE, Condition={"ForAnyValue:StringLike": {"aws:CalledVia": ["a", "b"]}}),
            ),
            "condition ForAnyValue:StringLike aws:CalledVia needs a or b, the request has none",
            id="a set operator",
        ),
        pytest.param(
            asked(COMPONENT, but(USE, Condition={"StringLikeIfExists": {NAME: PATTERN}})),
            f"condition StringLikeIfExists {NAME} needs {PATTERN}, the request has {COMPONENT}",
            id="IfExists",
        ),
        pytest.param(
            asked(session=policy("identity", "S", but(OWN, Action="kms:Encrypt"))),
            "session policy 'S', statement 1: resource and condition StringLike "
            f"{NAME} match; action needs kms:Encrypt, the request has kms:Decrypt",
            id="the session policy's",
        ),
        pytest.param(
            asked(COMPONENT, but(USE, Principal={"AWS": []}), USE),
            f"needs {PATTERN}, the request has {COMPONENT}",
            id="behind a statement that has no effect",
        ),
        pytest.param(
            asked("192.0.2.1", but(USE, Condition={"IpAddress": {NAME: "192.0.2.2"}})),
            f"condition IpAddress {NAME} needs 192.0.2.2, the request has 192.0.2.1",
            id="what is not compared letter by letter",
        ),
        pytest.param(
            asked(WORKFLOW, but(USE, Action=[f"kms:Action{n}" for n in range(5)])),
            "needs kms:Action0, kms:Action1, kms:Action2, kms:Action3 or kms:Action4, the request "
            "has kms:Decrypt",
            id="five values",
        ),
        pytest.param(
            asked(
                WORKFLOW,
                DELEGATES,
                grants=(Grant("g-1", ROLE, frozenset({"Encrypt", "Sign"}), None, None, KEY),),
            ),
            "grant g-1: grantee matches; operation needs Encrypt or Sign, the request has Decrypt",
            id="a grant of other operations",
        ),
        pytest.param(
            asked(WORKFLOW, but(USE, Action=None, NotAction="kms:D*")),
            "NotAction needs other than kms:D*, the request has kms:Decrypt",
            id="NotAction",
        ),
        pytest.param(
            asked(COMPONENT, DELEGATES, **OWN_LAYER),
            f"identity policy 'Own', statement 1: action and resource match; condition StringLike "
            f"{NAME} needs {PATTERN}, the request has {COMPONENT}",
            id="an identity policy's",
        ),
        pytest.param(
            asked(boundary=BOUNDARY),
            "permissions boundary 'ReadOnlyAccess', statement 1: resource and condition StringLike "
            f"{NAME} match; action needs s3:*, the request has kms:Decrypt",
            id="the boundary's",
        ),
        pytest.param(
            asked(
                WORKFLOW,
                DELEGATES,
                grants=(Grant("g-1", ROLE, frozenset({"Decrypt"}), {"a": "b"}, None, KEY),),
            ),
            "grant g-1: grantee and operation match; constraint encryptionContextSubset needs a=b, "
            f"the request has aws:imagebuilder:arn={WORKFLOW}",
            id="a grant's",
        ),
    ],
)
def test_what_did_not_match(told: Explanation, end: str) -> None:
    assert told.outcome is Outcome.DENIED
    assert nearest(told).endswith(end)


def test_misses_come_nearest_first_and_are_few() -> None:
    far = but(USE, Sid="Far", Action="kms:Encrypt", Condition={"StringLike": {NAME: "x"}})
    near = [but(USE, Sid=f"Near{n}", Condition={"StringLike": {NAME: f"{n}"}}) for n in range(3)]
    letter = but(USE, Sid="Letter", Condition={"StringLike": {NAME: PATTERN.replace("w/", "W/")}})
    told = asked(WORKFLOW, far, *near, letter)
    assert [miss.statement.sid for miss in told.misses] == ["Letter", "Near0", "Near1"]


def test_what_could_not_have_allowed_it_alone_is_no_miss() -> None:
    """Without delegation no identity policy counts; who is allowed has missed nothing."""
    told = asked(COMPONENT, USE, **OWN_LAYER)
    assert {miss.layer for miss in told.misses} == {"resource"}
    assert asked().misses == ()
    assert asked(WORKFLOW, OTHERS, USE).misses == ()
    of_another = but(USE, Action=None, Principal={"AWS": f"{ROLE}2"})
    assert asked(WORKFLOW, of_another).misses == ()
    assert asked(WORKFLOW, but(USE, Principal={"AWS": []})).misses == ()
    theirs = Grant("g-1", f"{ROLE}2", frozenset({"Encrypt"}), None, None, KEY)
    elsewhere = Grant("g-2", ROLE, frozenset({"Encrypt"}), None, None, KEY[:-1])
    assert asked(None, OTHERS, grants=(theirs, elsewhere)).misses == ()
    assert asked(WORKFLOW, but(OTHERS, Action="s3:*"), grants=(theirs, elsewhere)).misses == ()


def test_a_deny_is_no_miss_and_between_accounts_only_one_side_is() -> None:
    theirs = but(OTHERS, Action="kms:Sign")
    assert [miss.statement.sid for miss in asked(COMPONENT, theirs, USE).misses] == [SID]
    other = "444455556666"
    stranger = Principal("user", f"arn:aws:iam::{other}:user/U", other)
    for_them = but(USE, Principal={"AWS": other})
    told = asked(WORKFLOW, for_them, but(USE, Sid="Role"), who=stranger, **{"identity": NEAR})
    assert [miss.layer for miss in told.misses] == ["identity"]


@pytest.mark.parametrize(
    ("equals", "context", "near"),
    [({"a": "b"}, {"a": "b", "c": "d"}, True), ({"a": "b"}, {"A": "b"}, False)],
)
def test_a_grant_for_exactly_another_context_is_near(
    equals: dict[str, str], context: dict[str, str], near: bool
) -> None:
    grants = (Grant("g-1", ROLE, frozenset({"Decrypt"}), None, equals, KEY),)
    layers = Policies((), (), grants, (), (), (), ())
    pairs = {f"kms:EncryptionContext:{name}": value for name, value in context.items()}
    request = Request(SESSION, "kms:Decrypt", KEY, pairs)
    told = explain(request, layers, decide(request, layers))
    says = [
        "grant g-1: grantee and operation match; constraint encryptionContextEquals needs a=b, the "
        "request has a=b and c=d"
    ]
    assert list(map(str, told.misses)) == (says if near else [])


def test_a_statement_of_which_more_than_two_elements_fail_is_not_near() -> None:
    away = {"Principal": {"AWS": f"{ROLE}2"}, "Action": "kms:Sign"}
    assert asked(WORKFLOW, but(USE, **away)).misses != ()
    assert asked(COMPONENT, but(USE, **away)).misses == ()


def test_of_many_statements_the_nearest_are_compared() -> None:
    far = [but(USE, Sid=f"Far{n}", Action="kms:Sign", Resource=f"{KEY}{n}") for n in range(15)]
    told = asked(COMPONENT, *[but(one, Condition=None) for one in far], USE)
    assert told.misses[0].statement.sid == SID


def test_a_statement_that_is_one_object() -> None:
    document = {"Version": "2012-10-17", "Statement": USE}
    alone = [parse_policy(document, kind="resource", name="key policy")]
    assert nearest(asked(COMPONENT, resource=alone)) == nearest(asked(COMPONENT))


def test_of_many_values_only_the_first_are_told() -> None:
    many = [f"kms:Action{n}" for n in range(50)]
    told = nearest(asked(WORKFLOW, but(USE, Action=many)))
    assert (
        "needs kms:Action0, kms:Action1, kms:Action2, kms:Action3, kms:Action4 or 45 more" in told
    )


def test_layers_are_told_in_a_person_s_words() -> None:
    assert not_read(("resource_control", "service_control", "grants")) == "grants, SCP, RCP"


def test_deciding_does_not_load_it() -> None:
    code = "import sys, iamaccess.decide, iamaccess; print('iamaccess.explain' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@given(laws.requests, laws.written(), st.none() | laws.grants)
def test_every_decision_can_be_explained(
    request: Request, layers: laws.Written, granted: list[Grant] | None
) -> None:
    """It never raises, says the decision's outcome, and finds no fault with what is allowed."""
    given = laws.policies(layers, granted)
    decision = decide(request, given)
    told = explain(request, given, decision)
    assert told.outcome is decision.outcome
    assert str(told).startswith(f"{decision.outcome.value}: {told.sentence}")
    if decision.outcome is Outcome.ALLOWED or decision.reason == "explicit_deny":
        assert told.misses == ()
    assert bool(told.settles) is (decision.outcome is Outcome.UNKNOWN)


# Nearness


texts = st.text("ab:*?", max_size=6)


@given(texts, texts, st.booleans())
def test_one_edit_is_what_makes_the_value_match(pattern: str, value: str, wild: bool) -> None:
    """The edit, made, makes the value match; and where there is none, no single edit does."""

    def matches(text: str) -> bool:
        return nearness([pattern], text, wildcards=wild) == "differs in letter case only"

    edit = one_edit(pattern, value, wildcards=wild)
    if matches(value):
        assert edit is None
        return
    if edit is not None:
        end = edit.at + len(edit.has)
        assert value[edit.at : end] == edit.has
        assert matches(value[: edit.at] + edit.needs + value[end:])
        return
    letters = ["", *sorted(set(pattern))]
    edits = [
        value[:at] + letter + value[at + gone :]
        for at in range(len(value) + 1)
        for letter in letters
        for gone in (0, 1)
    ]
    assert not any(map(matches, edits))


ARN = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1"


@pytest.mark.parametrize(
    ("needs", "has", "wildcards", "said"),
    [
        ("kms:Decrypt", "KMS:decrypt", True, "differs in letter case only"),
        ("a*", "A*", False, "differs in letter case only"),
        ("a*", "abc", False, "this operator has no wildcards"),
        ("abc", "abbc", False, "one character too many: 'b' at place 3"),
        ("abc", "ab", False, "one character is missing: 'c' at place 3"),
        ("abc", "bc", False, "one character is missing: 'a' at place 1"),
        ("abc", "ac", False, "one character is missing: 'b' at place 2"),
        ("abc", "axc", False, "one character differs: 'x', not 'b', at place 2"),
        ("abc", "acb", False, "two neighbouring characters are swapped"),
        ("aba", "aab", False, "two neighbouring characters are swapped"),
        ("${aws:username}", "${AWS:username}", False, "differs in letter case only"),
        (ARN, ARN.replace("arn:", "urx:"), True, "only the prefix differs"),
        (ARN, ARN.replace(":aws:", ":other:"), True, "only the partition differs"),
        (ARN, ARN.replace(":kms:", ":other:"), True, "only the service differs"),
        (ARN, ARN.replace("us-west-2", "eu-north-1"), True, "only the Region differs"),
        (ARN, ARN.replace(ACCOUNT, "444455556666"), True, "only the account differs"),
        (
            f"{ARN}:a:b",
            f"{ARN}:a:b".replace(ACCOUNT, "444455556666"),
            True,
            "only the account differs",
        ),
        (ARN, ARN.replace("key/1", "alias/other"), True, ""),
        (ARN, ARN.replace(":kms:", ":other:").replace(ACCOUNT, "444455556666"), True, ""),
        (ARN, "no ARN", True, ""),
        ("no ARN", ARN, True, ""),
    ],
)
def test_in_how_little_a_value_differs(needs: str, has: str, wildcards: bool, said: str) -> None:
    assert nearness([needs], has, wildcards=wildcards) == said
    assert nearness(["nothing like it", needs], has, wildcards=wildcards) == said


def test_a_hostile_pattern_is_compared_in_time() -> None:
    assert nearness(["*a" * 200], "a" * 2_000 + "b", wildcards=True)
