"""Who am I, and becoming a session of a role: trust, limits, session policies, records.

Sources: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from awssandbox.call import Call
from awssandbox.clock import real_now
from awssandbox.errors import AwsError
from awssandbox.sts import sessions
from in_process import ACCOUNT, OTHER, START, Sandbox, allow, document, refusal, trust

ROOT = f"arn:aws:iam::{ACCOUNT}:root"
ANN = f"arn:aws:iam::{ACCOUNT}:user/ann"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/team/Role"
MAY_ASSUME = allow("sts:AssumeRole", ROLE)


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox()


def role(
    sandbox: Sandbox, trusted: dict[str, Any], *statements: dict[str, Any], **more: Any
) -> None:
    """The role under test, which has a path."""
    sandbox.role("Role", trusted, *statements, Path="/team/", **more)


def assume(sandbox: Sandbox, caller: Any, **more: Any) -> Any:
    """Assume the role under test."""
    asked = {"RoleArn": ROLE, "RoleSessionName": "tester", **more}
    return sandbox.client("sts", caller).assume_role(**asked)


# Who am I ----------------------------------------------------------------------------------------


def test_everybody_may_ask_who_they_are_even_against_a_deny(sandbox: Sandbox) -> None:
    """https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html"""
    deny = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    ann = sandbox.user("ann", deny)
    answer = sandbox.client("sts", ann).get_caller_identity()
    assert (answer["UserId"], answer["Account"], answer["Arn"]) == (ann.principal_id, ACCOUNT, ANN)
    assert sandbox.record("GetCallerIdentity")["requestParameters"] is None
    root = sandbox.client("sts").get_caller_identity()
    assert (root["UserId"], root["Arn"]) == (ACCOUNT, ROOT)
    role(sandbox, trust({"AWS": ROOT}), deny)
    session = sandbox.session(ROLE, sandbox.user("bob", MAY_ASSUME))
    mine = sandbox.client("sts", session).get_caller_identity()
    assert mine["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/Role/tester"
    assert mine["UserId"] == session.principal_id


def test_whose_account_a_key_is_of(sandbox: Sandbox) -> None:
    """https://docs.aws.amazon.com/STS/latest/APIReference/API_GetAccessKeyInfo.html"""
    key = sandbox.world.iam.administrator(OTHER).access_key_id
    sts = sandbox.client("sts")
    assert sts.get_access_key_info(AccessKeyId=key)["Account"] == OTHER
    said = refusal(lambda: sts.get_access_key_info(AccessKeyId="AKIAIOSFODNN7EXAMPLE"))
    assert said[0] == "NotImplemented"


# Trust -------------------------------------------------------------------------------------------

BY_NAME = trust({"AWS": ANN})
BY_ACCOUNT = trust({"AWS": ROOT})
DENIED = {"Effect": "Deny", "Action": "sts:AssumeRole", "Resource": "*"}
NO_TRUST = "because no role trust policy allows the sts:AssumeRole action"
NO_IDENTITY = "because no identity-based policy allows the sts:AssumeRole action"

TRUST: list[tuple[str, dict[str, Any], list[dict[str, Any]], str | None]] = [
    ("the role names the user", BY_NAME, [], None),
    ("the role delegates, the user may", BY_ACCOUNT, [MAY_ASSUME], None),
    ("the role delegates, the user may not", BY_ACCOUNT, [], NO_IDENTITY),
    (
        "the role trusts another account",
        trust({"AWS": OTHER}),
        [MAY_ASSUME],
        NO_TRUST,
    ),
    (
        "the role trusts a service",
        trust({"Service": "imagebuilder.amazonaws.com"}),
        [MAY_ASSUME],
        NO_TRUST,
    ),
    (
        "the user is denied",
        BY_NAME,
        [DENIED],
        "with an explicit deny in an identity-based policy",
    ),
    (
        "the role denies",
        {**BY_NAME, "Effect": "Deny"},
        [MAY_ASSUME],
        "with an explicit deny in the role trust policy",
    ),
    (
        "the session's name is not the wanted one",
        trust({"AWS": ANN}, Condition={"StringEquals": {"sts:RoleSessionName": "other"}}),
        [],
        NO_TRUST,
    ),
    (
        "the session's name is the wanted one",
        trust({"AWS": ANN}, Condition={"StringEquals": {"sts:RoleSessionName": "tester"}}),
        [],
        None,
    ),
]


@pytest.mark.parametrize(
    ("trusted", "statements", "refused"),
    [case[1:] for case in TRUST],
    ids=[case[0] for case in TRUST],
)
def test_the_trust_policy_decides(
    sandbox: Sandbox, trusted: dict[str, Any], statements: list[dict[str, Any]], refused: str | None
) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html"""
    ann = sandbox.user("ann", *statements)
    role(sandbox, trusted)
    if refused is None:
        assert assume(sandbox, ann)["AssumedRoleUser"]["Arn"].endswith(":assumed-role/Role/tester")
        return
    code, text, status = refusal(lambda: assume(sandbox, ann))
    assert (code, status) == ("AccessDenied", 403)
    assert text.startswith(f"User: {ANN} is not authorized to perform: sts:AssumeRole ")
    assert text.endswith(refused)


@pytest.mark.parametrize(("given", "allowed"), [({"ExternalId": "secret-1"}, True), ({}, False)])
def test_an_external_id(sandbox: Sandbox, given: dict[str, str], allowed: bool) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_common-scenarios_third-party.html"""
    ann = sandbox.user("ann")
    wanted = {"StringEquals": {"sts:ExternalId": "secret-1"}}
    role(sandbox, trust({"AWS": ANN}, Condition=wanted))
    if allowed:
        assume(sandbox, ann, **given)
    else:
        assert refusal(lambda: assume(sandbox, ann, **given))[0] == "AccessDenied"


@pytest.mark.parametrize("both", [True, False])
def test_between_accounts_both_sides_must_allow(sandbox: Sandbox, both: bool) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html"""
    stranger = sandbox.user("eve", *([MAY_ASSUME] if both else []), account=OTHER)
    role(sandbox, trust({"AWS": OTHER}))
    if both:
        assert sandbox.session(ROLE, stranger).account == ACCOUNT
        assert sandbox.record("AssumeRole", account=ACCOUNT)["recipientAccountId"] == ACCOUNT
    else:
        assert refusal(lambda: assume(sandbox, stranger))[1].endswith(NO_IDENTITY)


@pytest.mark.parametrize("arn", [f"arn:aws:iam::{ACCOUNT}:role/Role", ROLE + "2", ANN])
def test_a_role_that_does_not_exist_is_told_from_no_other(sandbox: Sandbox, arn: str) -> None:
    """The path belongs to the ARN, and a user is no role."""
    ann = sandbox.user("ann", allow("sts:AssumeRole"))
    role(sandbox, BY_NAME)
    assert refusal(lambda: assume(sandbox, ann, RoleArn=arn)) == (
        "AccessDenied",
        f"User: {ANN} is not authorized to perform: sts:AssumeRole on resource: {arn}",
        403,
    )


def test_the_root_user_assumes_no_role(sandbox: Sandbox) -> None:
    """https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html"""
    role(sandbox, BY_ACCOUNT)
    said = refusal(lambda: assume(sandbox, sandbox.root()))
    assert said == ("AccessDenied", "Roles may not be assumed by root accounts.", 403)


def test_a_trusted_user_that_was_made_again_is_not_trusted(sandbox: Sandbox) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html"""
    first = sandbox.user("ann")
    role(sandbox, BY_NAME)
    assume(sandbox, first)
    sandbox.client("iam").delete_user(UserName="ann")
    assert refusal(lambda: assume(sandbox, sandbox.user("ann")))[1].endswith(NO_TRUST)


# Limits ------------------------------------------------------------------------------------------

CHAINED = (
    "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role "
    "chaining."
)
TOO_LONG = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."


@pytest.mark.parametrize(
    ("asked", "longest", "chained", "refused"),
    [
        ({}, 3_600, False, None),
        ({"DurationSeconds": 3_600}, 3_600, False, None),
        ({"DurationSeconds": 3_601}, 3_600, False, TOO_LONG),
        ({"DurationSeconds": 43_200}, 43_200, False, None),
        ({"DurationSeconds": 3_600}, 43_200, True, None),
        ({"DurationSeconds": 3_601}, 43_200, True, CHAINED),
    ],
)
def test_how_long_a_session_may_be(
    sandbox: Sandbox, asked: dict[str, int], longest: int, chained: bool, refused: str | None
) -> None:
    """https://github.com/99designs/aws-vault/issues/263 has the text of chaining."""
    caller = sandbox.user("ann", allow("sts:AssumeRole"))
    role(sandbox, BY_ACCOUNT, MaxSessionDuration=longest)
    if chained:
        hub = sandbox.role("Hub", BY_ACCOUNT, allow("sts:AssumeRole"))
        caller = sandbox.session(hub, caller)
    if refused is not None:
        said = refusal(lambda: assume(sandbox, caller, **asked))
        assert said == ("ValidationError", refused, 400)
        return
    expires = assume(sandbox, caller, **asked)["Credentials"]["Expiration"]
    expected = real_now() + timedelta(seconds=asked.get("DurationSeconds", 3_600))
    assert abs((expires - expected).total_seconds()) < 30


@pytest.mark.parametrize(
    "asked",
    [
        {"Tags": [{"Key": "a", "Value": "b"}]},
        {"SourceIdentity": "ann"},
    ],
)
def test_what_is_not_imitated_is_refused(sandbox: Sandbox, asked: dict[str, Any]) -> None:
    role(sandbox, BY_ACCOUNT)
    ann = sandbox.user("ann", MAY_ASSUME)
    said = refusal(lambda: assume(sandbox, ann, **asked))
    assert (said[0], said[2]) == ("NotImplemented", 501)
    assert next(iter(asked)) in said[1]


@pytest.mark.parametrize("name", ["a b", "x/y", "über"])
def test_a_sessions_name_has_a_form(sandbox: Sandbox, name: str) -> None:
    role(sandbox, BY_ACCOUNT)
    ann = sandbox.user("ann", MAY_ASSUME)
    assert refusal(lambda: assume(sandbox, ann, RoleSessionName=name))[0] == "ValidationError"


# Session policies --------------------------------------------------------------------------------

KEYS = allow(["iam:ListRoles", "iam:ListUsers"])
ONLY_ROLES = document(allow("iam:ListRoles"))
BIG = "arn:aws:s3:::" + "x" * 2_048
ONLY_USERS_ARN = f"arn:aws:iam::{ACCOUNT}:policy/OnlyUsers"


@pytest.mark.parametrize(
    ("given", "may"),
    [
        ({}, {"list_roles", "list_users"}),
        ({"Policy": ONLY_ROLES}, {"list_roles"}),
        ({"PolicyArns": [{"arn": ONLY_USERS_ARN}]}, {"list_users"}),
        (
            {"Policy": ONLY_ROLES, "PolicyArns": [{"arn": ONLY_USERS_ARN}]},
            {"list_roles", "list_users"},
        ),
        ({"Policy": document(allow("iam:ListGroups"))}, set()),
    ],
)
def test_a_session_policy_limits_and_never_gives(
    sandbox: Sandbox, given: dict[str, Any], may: set[str]
) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies.html#policies_session"""
    sandbox.client("iam").create_policy(
        PolicyName="OnlyUsers", PolicyDocument=document(allow("iam:ListUsers"))
    )
    role(sandbox, BY_ACCOUNT, KEYS)
    session = sandbox.session(ROLE, sandbox.user("ann", MAY_ASSUME), **given)
    iam = sandbox.client("iam", session)
    for operation in ("list_roles", "list_users", "list_groups"):
        call: Callable[[], Any] = getattr(iam, operation)
        if operation in may:
            call()
        else:
            assert refusal(call)[0] == "AccessDenied"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"Policy": "{"}, "MalformedPolicyDocument"),
        ({"Policy": document(allow("s3:*", Sid="has spaces"))}, "MalformedPolicyDocument"),
        (
            {"Policy": document(allow("s3:*", BIG))},
            "PackedPolicyTooLarge",
        ),
        ({"PolicyArns": [{"arn": f"arn:aws:iam::{ACCOUNT}:policy/No"}]}, "ValidationError"),
        ({"PolicyArns": [{"arn": ONLY_USERS_ARN}] * 11}, "ValidationError"),
    ],
)
def test_session_policies_that_are_refused(
    sandbox: Sandbox, given: dict[str, Any], code: str
) -> None:
    role(sandbox, BY_ACCOUNT)
    ann = sandbox.user("ann", MAY_ASSUME)
    assert refusal(lambda: assume(sandbox, ann, **given))[0] == code


# Sessions as callers -----------------------------------------------------------------------------


def test_a_session_calls_as_its_role(sandbox: Sandbox) -> None:
    """The identity in the records of
    https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html"""
    role(sandbox, BY_ACCOUNT)
    answer = assume(sandbox, sandbox.user("ann", MAY_ASSUME))
    credentials = answer["Credentials"]
    session = sessions.find(sandbox.world, credentials["AccessKeyId"])
    assert session is not None
    assert session.secret_access_key == credentials["SecretAccessKey"]
    assert session.session_token == credentials["SessionToken"]
    caller = session.caller(sandbox.world, "192.0.2.1", "agent")
    role_id = sandbox.client("iam").get_role(RoleName="Role")["Role"]["RoleId"]
    assert answer["AssumedRoleUser"]["AssumedRoleId"] == f"{role_id}:tester"
    assert caller.principal.role_arn == ROLE
    assert caller.principal.unique_id == role_id
    assert caller.principal_id == f"{role_id}:tester"
    assert caller.session_issuer == {
        "type": "Role",
        "principalId": role_id,
        "arn": ROLE,
        "accountId": ACCOUNT,
        "userName": "Role",
    }
    assert caller.session_created is not None
    assert abs((caller.session_created - START).total_seconds()) < 60
    assert sessions.find(sandbox.world, "ASIAAAAAAAAAAAAAAAAA") is None


def test_sessions_show_no_secret(sandbox: Sandbox) -> None:
    role(sandbox, BY_ACCOUNT)
    credentials = assume(sandbox, sandbox.user("ann", MAY_ASSUME))["Credentials"]
    session = sessions.find(sandbox.world, credentials["AccessKeyId"])
    assert credentials["SecretAccessKey"] not in repr(session)
    assert credentials["SessionToken"] not in repr(session)
    record = sandbox.record("AssumeRole")
    assert credentials["SecretAccessKey"] not in json.dumps(record)
    assert record["readOnly"] is True
    assert record["requestParameters"] == {"roleArn": ROLE, "roleSessionName": "tester"}
    assert record["responseElements"]["assumedRoleUser"]["arn"].endswith("assumed-role/Role/tester")
    assert record["resources"] == [{"accountId": ACCOUNT, "type": "AWS::IAM::Role", "ARN": ROLE}]


def test_credentials_come_from_the_seed_and_each_session_has_its_own() -> None:
    def two(seed: int) -> list[Any]:
        sandbox = Sandbox(seed=seed)
        ann = sandbox.user("ann", MAY_ASSUME)
        role(sandbox, BY_ACCOUNT)
        found = [assume(sandbox, ann)["Credentials"] for _ in range(2)]
        return [one[name] for one in found for name in ("AccessKeyId", "SecretAccessKey")]

    assert two(1) == two(1)
    assert len({*two(1), *two(2)}) == 8


# Services ----------------------------------------------------------------------------------------

SERVICE = "imagebuilder.amazonaws.com"


def as_service(sandbox: Sandbox, service: str = SERVICE, arn: str = ROLE) -> Any:
    """The caller that a service becomes within a call of the account's root user."""
    world = sandbox.world
    call = Call(sandbox.root(), "imagebuilder", "CreateImage", {}, "us-west-2", START, "id", world)
    return sessions.session_for_service(world, call, arn, service, "ImageBuilder")


def from_account(account: str) -> dict[str, Any]:
    return {"StringEquals": {"aws:SourceAccount": account}}


@pytest.mark.parametrize(
    ("trusted", "allowed"),
    [
        (trust({"Service": SERVICE}), True),
        (trust({"Service": SERVICE}, Condition=from_account(ACCOUNT)), True),
        (trust({"Service": SERVICE}, Condition=from_account(OTHER)), False),
        (trust({"Service": "ec2.amazonaws.com"}), False),
        (trust({"AWS": ROOT}), False),
    ],
)
def test_a_service_assumes_the_roles_that_trust_it(
    sandbox: Sandbox, trusted: dict[str, Any], allowed: bool
) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html"""
    role(sandbox, trusted)
    if allowed:
        caller = as_service(sandbox)
        assert caller.principal.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/Role/ImageBuilder"
        assert (caller.invoked_by, caller.source_ip, caller.called_via) == (SERVICE, SERVICE, ())
    else:
        with pytest.raises(AwsError, match="is not authorized to perform: sts:AssumeRole"):
            as_service(sandbox)
    record = sandbox.record("AssumeRole")
    assert record["userIdentity"] == {"type": "AWSService", "invokedBy": SERVICE}
    assert record.get("errorCode") == (None if allowed else "AccessDenied")
    assert record["sourceIPAddress"] == record["userAgent"] == SERVICE


@pytest.mark.parametrize("arn", [ROLE, ANN])
def test_a_service_cannot_assume_what_is_no_role(sandbox: Sandbox, arn: str) -> None:
    sandbox.user("ann")
    with pytest.raises(AwsError, match=f"on resource: {arn}$"):
        as_service(sandbox, arn=arn)
