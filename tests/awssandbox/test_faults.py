"""Faults by schedule, by real clients over HTTP: without retries, and with botocore's own.

Sources: https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html,
https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from awssandbox.__main__ import main
from awssandbox.faults import ALWAYS, CHANGES, FAULTS, Faults, Rule, ScheduleError, parse
from awssandbox.services import MODULES
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from served import ACCOUNT, SESSION, Served

TRUST = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
Make = Callable[..., Served]


def rule(fault: str, service: str = "kms", operation: str = "CreateKey", **more: Any) -> Any:
    return {"service": service, "operation": operation, "fault": fault, **more}


def serve(sandboxes: Make, *rules: Any) -> Served:
    return sandboxes(faults=Faults(parse(json.dumps(rules))))


def patient(sandbox: Served, service: str, mode: str = "standard", **more: Any) -> Any:
    """A client with botocore's own retries."""
    key, secret, _ = sandbox.administrator
    client = SESSION.create_client(
        service,
        region_name="us-west-2",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        endpoint_url=sandbox.url,
        config=Config(retries={"total_max_attempts": 4, "mode": mode}, **more),
    )
    sandbox.clients.append(client)
    return client


def code(call: Callable[..., Any], **parameters: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    answer = refused.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def keys(sandbox: Served) -> int:
    return len(sandbox.client("kms").list_keys()["Keys"])


# What a schedule is -------------------------------------------------------------------------------


def test_a_schedule_in_yaml_or_json() -> None:
    text = '- {service: kms, operation: "*", fault: timeout, seconds: 0.5, after: 2, times: always}'
    expected = Rule("kms", "*", "timeout", after=2, times=None, seconds=0.5)
    assert parse(text) == (expected,)
    assert parse(json.dumps([rule("throttle")])) == (Rule("kms", "CreateKey", "throttle"),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- {", "line 1, column"),
        ("{}", "the file: is not a list of rules"),
        ("", "the file: is not a list of rules"),
        ("- throttle", "rule 1: is not a mapping"),
        (
            [rule("throttle"), rule("flood")],
            "rule 2, fault: 'flood' is none of expired_credentials, reset",
        ),
        (
            [rule("throttle", "sns")],
            "rule 1, service: 'sns' is none of athena, cloudtrail, ec2, iam",
        ),
        ([rule("throttle", operation="MakeKey")], "rule 1, operation: kms has no 'MakeKey'"),
        ([rule("throttle", "*")], "rule 1, operation: must be '*'"),
        ([{"service": "kms", "fault": "throttle"}], "rule 1, operation: is needed"),
        ([rule("throttle", after=-1)], "rule 1, after: -1 is not a whole number"),
        ([rule("throttle", times=0)], "rule 1, times: 0 is not a whole number from 1"),
        ([rule("throttle", times="ever")], "rule 1, times: 'ever' is not"),
        ([rule("throttle", after=True)], "rule 1, after: True is not"),
        ([rule("throttle", seconds=1)], "rule 1, seconds: has no meaning with throttle"),
        ([rule("timeout")], "rule 1, seconds: is needed with timeout"),
        ([rule("timeout", seconds=float("nan"))], "rule 1, seconds: nan is not"),
        ([rule("throttle", every=2)], "rule 1: has no 'every'"),
        (
            [rule("unknown_to_kms", seconds=1)],
            "rule 1, operation: unknown_to_kms is only for iam: CreateRole, CreateUser",
        ),
        ([rule("seen_late")], "rule 1, seconds: is needed with seen_late"),
        ([rule("seen_late", "sts", "*", seconds=1)], "operation: seen_late is only for iam: At"),
        ([rule("seen_late", operation="PutKeyPolicy", seconds=1)], "; kms: CreateAlias, CreateKey"),
        ([rule("effect_late", seconds=1)], "rule 1, operation: effect_late is only for iam: Add"),
        ([rule("effect_late", "*", "*", seconds=1)], "operation: effect_late is only for"),
    ],
)
def test_a_schedule_that_is_not_valid_is_refused_with_its_place(text: Any, words: str) -> None:
    with pytest.raises(ScheduleError) as refused:
        parse(text if isinstance(text, str) else json.dumps(text).replace("NaN", ".nan"))
    assert words in str(refused.value)


def test_the_process_refuses_a_schedule_with_its_place_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "faults.yaml"
    wrong.write_text("- {service: kms, operation: Encrypt, fault: flood}\n")
    for path, words in ((wrong, f"{wrong}, rule 1, fault: 'flood'"), (tmp_path / "no", "No such")):
        with pytest.raises(SystemExit) as ended:
            main(["--faults", str(path)])
        assert ended.value.code == 2
        assert words in capsys.readouterr().err


def test_the_process_serves_with_its_schedule(tmp_path: Path) -> None:
    schedule = tmp_path / "faults.json"
    schedule.write_text(json.dumps([rule("throttle", "sts", "GetCallerIdentity", after=1)]))
    words = [sys.executable, "-m", "awssandbox", "--until-stdin-closes", "--faults", str(schedule)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        client = SESSION.create_client(
            "sts",
            region_name=ready["region"],
            aws_access_key_id=ready["access_key_id"],
            aws_secret_access_key=ready["secret_access_key"],
            endpoint_url=ready["endpoint_url"],
            config=Config(retries={"total_max_attempts": 1}),
        )
        client.get_caller_identity()
        assert code(client.get_caller_identity) == ("Throttling", 400)
        client.close()
        process.stdin.close()
        assert process.wait(timeout=30) == 0


def test_the_page_describes_every_fault() -> None:
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
    described = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert sorted(set(described) & set(FAULTS)) == sorted(FAULTS)
    example = "\n".join(line[4:] for line in page.splitlines() if line.startswith("    - "))
    assert len(parse(example)) == 8


def test_the_page_names_the_operations_whose_changes_may_be_late() -> None:
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = {
        line.split("`")[1]: set(re.findall(r"[A-Z][a-z]+[A-Z]\w+", line))
        for line in page.partition("## Changes")[2].splitlines()
        if line.startswith("| `")
    }
    by_kind = CHANGES["effect_late"]["iam"]
    for fault, may in CHANGES.items():
        assert rows[fault] == set().union(*may.values()) - by_kind | (
            {"PutRolePolicy", "AttachRolePolicy"} if fault == "seen_late" else set()
        )


def test_each_rule_counts_its_own_matches() -> None:
    faults = Faults(
        parse(
            json.dumps(
                [
                    rule("throttle", after=1, times=2),
                    rule("server_error", operation="*", after=2, times=ALWAYS),
                ]
            )
        )
    )
    seen = [faults.of_call("kms", "CreateKey") for _ in range(4)]
    assert [one and one.fault for one in seen] == [None, "throttle", "throttle", "server_error"]
    other = faults.of_call("kms", "ListKeys")
    assert other is not None
    assert (other.fault, faults.of_call("iam", "GetUser")) == ("server_error", None)


# Calls --------------------------------------------------------------------------------------------

CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "athena": ("list_work_groups", {}),
    "cloudtrail": ("lookup_events", {}),
    "ec2": ("get_ebs_default_kms_key_id", {}),
    "iam": ("list_users", {}),
    "imagebuilder": ("list_workflows", {}),
    "kms": ("list_keys", {}),
    "macie2": ("get_macie_session", {}),
    "s3": ("list_buckets", {}),
    "sso-admin": ("list_instances", {}),
    "sts": ("get_caller_identity", {}),
}


@pytest.mark.parametrize("service", sorted(MODULES))
@pytest.mark.parametrize(
    ("fault", "json_code", "query_code", "s3_code", "ec2_code"),
    [
        ("throttle", "ThrottlingException", "Throttling", "SlowDown", "RequestLimitExceeded"),
        ("server_error", "InternalFailure", "InternalFailure", "InternalError", "InternalError"),
        ("unavailable", *(["ServiceUnavailable"] * 3), "Unavailable"),
        ("expired_credentials", "ExpiredTokenException", *(["ExpiredToken"] * 2), "RequestExpired"),
    ],
)
def test_each_service_refuses_in_its_own_words(
    sandboxes: Make,
    service: str,
    fault: str,
    json_code: str,
    query_code: str,
    s3_code: str,
    ec2_code: str,
) -> None:
    sandbox = serve(sandboxes, rule(fault, service, "*", after=1))
    name, parameters = CALLS[service]
    call = getattr(sandbox.client(service), name)
    if service == "macie2":  # which tells nothing of itself while it is off
        sandbox.client(service).enable_macie()
    else:
        call(**parameters)
    codes = {"iam": query_code, "sts": query_code, "s3": s3_code, "ec2": ec2_code}
    assert code(call, **parameters)[0] == codes.get(service, json_code)
    call(**parameters)


@pytest.mark.parametrize("mode", ["standard", "legacy"])
@pytest.mark.parametrize("fault", ["throttle", "server_error", "unavailable", "reset_before"])
def test_botocore_s_own_retries_survive(sandboxes: Make, fault: str, mode: str) -> None:
    sandbox = serve(sandboxes, rule(fault, times=2))
    answer = patient(sandbox, "kms", mode).create_key()
    assert answer["ResponseMetadata"]["RetryAttempts"] == 2
    assert (keys(sandbox), len(sandbox.records("CreateKey"))) == (1, 1)


@pytest.mark.parametrize("fault", ["throttle", "server_error", "unavailable"])
def test_a_refused_call_changes_nothing(sandboxes: Make, fault: str) -> None:
    sandbox = serve(sandboxes, rule(fault))
    code(sandbox.client("kms").create_key)
    assert (keys(sandbox), sandbox.records("CreateKey")) == (0, [])


@pytest.mark.parametrize(("fault", "made"), [("reset_before", 0), ("reset_after", 1)])
def test_a_connection_that_is_reset_before_and_after_the_change(
    sandboxes: Make, fault: str, made: int
) -> None:
    sandbox = serve(sandboxes, rule(fault))
    client = sandbox.client("kms")
    with pytest.raises(ConnectionClosedError):
        client.create_key()
    assert (keys(sandbox), len(sandbox.records("CreateKey"))) == (made, made)
    client.create_key()
    assert keys(sandbox) == made + 1


def test_a_retry_after_the_change_was_made_makes_another_key(sandboxes: Make) -> None:
    """CreateKey has no idempotency token: what the schedule is for."""
    sandbox = serve(sandboxes, rule("reset_after"))
    patient(sandbox, "kms").create_key()
    assert keys(sandbox) == 2


def test_an_answer_that_is_late(sandboxes: Make) -> None:
    sandbox = serve(sandboxes, rule("timeout", seconds=0.6, times=2))
    begun = time.monotonic()
    sandbox.client("kms").create_key()
    assert time.monotonic() - begun >= 0.6
    with pytest.raises(ReadTimeoutError):
        sandbox.client("kms", read_timeout=0.1).create_key()
    assert keys(sandbox) == 2


def test_credentials_that_expire_half_way(sandboxes: Make) -> None:
    sandbox = serve(sandboxes, rule("expired_credentials", operation="*", after=2, times=ALWAYS))
    client = patient(sandbox, "kms")
    key = client.create_key()["KeyMetadata"]["KeyId"]
    client.describe_key(KeyId=key)
    for _ in range(3):
        assert code(client.describe_key, KeyId=key)[0] == "ExpiredTokenException"
    assert sandbox.client("sts").get_caller_identity()["Account"] == ACCOUNT


def test_a_call_that_a_service_makes_has_no_faults_of_calls(sandboxes: Make) -> None:
    sandbox = serve(sandboxes, rule("server_error", operation="GenerateDataKey"))
    encrypted(sandbox)
    assert len(sandbox.records("GenerateDataKey")) == 1


# New principals -----------------------------------------------------------------------------------


def test_a_new_role_is_an_invalid_principal_for_some_seconds(sandboxes: Make) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html (Policy)"""
    sandbox = serve(sandboxes, rule("unknown_to_kms", "iam", "CreateRole", seconds=10))
    kms = sandbox.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    new, known = sandbox.role("New", TRUST), sandbox.role("Known", TRUST)

    def policy(role: str) -> dict[str, Any]:
        root = {
            "Effect": "Allow",
            "Principal": {"AWS": ACCOUNT},
            "Action": "kms:*",
            "Resource": "*",
        }
        statements = [root, {**root, "Principal": {"AWS": role}, "Action": "kms:Decrypt"}]
        return {
            "KeyId": key,
            "Policy": json.dumps({"Version": "2012-10-17", "Statement": statements}),
        }

    grant = {"KeyId": key, "Operations": ["Decrypt"]}
    kms.put_key_policy(**policy(known))
    assert code(kms.put_key_policy, **policy(new))[0] == "MalformedPolicyDocumentException"
    assert code(kms.create_grant, GranteePrincipal=new, **grant)[0] == "InvalidArnException"
    sandbox.world.clock.advance(timedelta(seconds=11))
    kms.put_key_policy(**policy(new))
    kms.create_grant(GranteePrincipal=new, **grant)


# Changes that are seen late -----------------------------------------------------------------------

LATER = timedelta(seconds=31)


def late(operation: str, service: str = "iam", fault: str = "effect_late", **more: Any) -> Any:
    return rule(fault, service, operation, seconds=30, **more)


def allow(action: str, principal: str | None = None, **more: Any) -> dict[str, Any]:
    """A statement of an identity policy, or of a key policy where it names a principal."""
    named = {} if principal is None else {"Principal": {"AWS": principal}}
    return {"Effect": "Allow", "Action": action, "Resource": "*", **named, **more}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


ROOT = allow("kms:*", f"arn:aws:iam::{ACCOUNT}:root")


def may(client: Any, key: str, **more: Any) -> bool:
    """Whether the client's principal may encrypt."""
    try:
        client.encrypt(KeyId=key, Plaintext=b"x", **more)
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        return False
    return True


class Late:
    """A sandbox with a schedule, a key, and a client of a role without any policy."""

    def __init__(self, sandboxes: Make, *rules: Any) -> None:
        self.sandbox = serve(sandboxes, *rules)
        self.kms, self.iam = self.sandbox.client("kms"), self.sandbox.client("iam")
        self.key = self.kms.create_key()["KeyMetadata"]["Arn"]
        self.role = self.sandbox.role("Late", TRUST)
        self.user = self.sandbox.client("kms", self.sandbox.assume(self.role))

    def wait(self) -> None:
        self.sandbox.world.clock.advance(LATER)

    def put(self, *statements: dict[str, Any]) -> None:
        self.kms.put_key_policy(KeyId=self.key, Policy=policy(*statements))


def key_policy(late: Late, on: bool) -> None:
    late.put(*[ROOT, allow("kms:Encrypt", late.role)][: 1 + on])


def grant(late: Late, on: bool) -> None:
    if on:
        late.kms.create_grant(KeyId=late.key, GranteePrincipal=late.role, Operations=["Encrypt"])
    else:
        (made,) = late.kms.list_grants(KeyId=late.key)["Grants"]
        late.kms.revoke_grant(KeyId=late.key, GrantId=made["GrantId"])


def inline(late: Late, on: bool) -> None:
    if on:
        late.iam.put_role_policy(
            RoleName="Late", PolicyName="use", PolicyDocument=policy(allow("kms:Encrypt"))
        )
    else:
        late.iam.delete_role_policy(RoleName="Late", PolicyName="use")


def attached(late: Late, on: bool) -> None:
    change = late.iam.attach_role_policy if on else late.iam.detach_role_policy
    change(RoleName="Late", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")


TAGGED = {"StringEquals": {"aws:ResourceTag/open": "yes"}}
TAG = [{"TagKey": "open", "TagValue": "yes"}]


def tag(late: Late, on: bool) -> None:
    if on:
        late.put(ROOT, allow("kms:Encrypt", late.role, Condition=TAGGED))
        late.kms.tag_resource(KeyId=late.key, Tags=TAG)
    else:
        late.kms.untag_resource(KeyId=late.key, TagKeys=["open"])


@pytest.mark.parametrize(
    ("change", "service", "on", "off"),
    [
        (key_policy, "kms", "PutKeyPolicy", "PutKeyPolicy"),
        (grant, "kms", "CreateGrant", "RevokeGrant"),
        (tag, "kms", "TagResource", "UntagResource"),
        (inline, "iam", "PutRolePolicy", "DeleteRolePolicy"),
        (attached, "iam", "AttachRolePolicy", "DetachRolePolicy"),
    ],
)
def test_what_is_allowed_and_what_is_taken_away_takes_effect_late(
    sandboxes: Make, change: Callable[[Late, bool], None], service: str, on: str, off: str
) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/programming-eventual-consistency.html"""
    one = Late(sandboxes, *(late(name, service, times=ALWAYS) for name in {on, off}))
    change(one, True)
    assert not may(one.user, one.key), "not yet allowed"
    one.wait()
    assert may(one.user, one.key)
    change(one, False)
    assert may(one.user, one.key), "not yet taken away"
    one.wait()
    assert not may(one.user, one.key)


def test_reads_see_at_once_what_takes_effect_late(sandboxes: Make) -> None:
    """Also the source of that: https://docs.aws.amazon.com/kms/latest/developerguide/abac.html"""
    one = Late(sandboxes, late("*", "kms", times=ALWAYS), late("*", times=ALWAYS))
    for change in (key_policy, grant, inline, attached, tag):
        change(one, True)
    assert "kms:Encrypt" in one.kms.get_key_policy(KeyId=one.key)["Policy"]
    assert len(one.kms.list_grants(KeyId=one.key)["Grants"]) == 1
    assert one.kms.list_resource_tags(KeyId=one.key)["Tags"] == TAG
    assert one.iam.get_role_policy(RoleName="Late", PolicyName="use")["PolicyDocument"]
    assert one.iam.list_attached_role_policies(RoleName="Late")["AttachedPolicies"]
    assert not may(one.user, one.key)


def test_a_grant_token_is_stronger_than_a_late_grant(sandboxes: Make) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/using-grant-token.html"""
    one = Late(sandboxes, late("CreateGrant", "kms"))
    token = one.kms.create_grant(KeyId=one.key, GranteePrincipal=one.role, Operations=["Encrypt"])[
        "GrantToken"
    ]
    assert not may(one.user, one.key)
    assert may(one.user, one.key, GrantTokens=[token])


def test_changes_of_one_thing_take_effect_in_their_order(sandboxes: Make) -> None:
    one = Late(sandboxes, late("PutKeyPolicy", "kms", after=1))
    key_policy(one, True)
    assert may(one.user, one.key)
    key_policy(one, False)
    one.put(ROOT, allow("kms:Decrypt", one.role))
    assert may(one.user, one.key), "the second change is late, and the third after it"
    one.wait()
    assert not may(one.user, one.key)


def test_a_role_made_again_has_nothing_of_the_first(sandboxes: Make) -> None:
    one = Late(sandboxes, late("PutRolePolicy"))
    inline(one, True)
    one.iam.delete_role_policy(RoleName="Late", PolicyName="use")
    one.iam.delete_role(RoleName="Late")
    again = one.sandbox.role("Late", TRUST, allow("kms:Encrypt"))
    assert may(one.sandbox.client("kms", one.sandbox.assume(again)), one.key)


def test_a_trust_policy_takes_effect_late(sandboxes: Make) -> None:
    one = Late(sandboxes, late("UpdateAssumeRolePolicy"))
    nobody = policy({**TRUST, "Effect": "Deny"})
    one.iam.update_assume_role_policy(RoleName="Late", PolicyDocument=nobody)
    one.sandbox.assume(one.role)
    one.wait()
    with pytest.raises(ClientError, match="AccessDenied"):
        one.sandbox.assume(one.role)


def test_a_group_s_policy_and_a_default_version_take_effect_late(sandboxes: Make) -> None:
    one = Late(sandboxes, late("*", times=ALWAYS))
    user = one.sandbox.client("kms", one.sandbox.user("member"))
    one.iam.create_group(GroupName="group")
    one.iam.add_user_to_group(GroupName="group", UserName="member")
    made = one.iam.create_policy(PolicyName="use", PolicyDocument=policy(allow("kms:List*")))
    arn = made["Policy"]["Arn"]
    one.iam.attach_group_policy(GroupName="group", PolicyArn=arn)
    one.wait()
    one.iam.create_policy_version(
        PolicyArn=arn, PolicyDocument=policy(allow("kms:Encrypt")), SetAsDefault=True
    )
    assert not may(user, one.key)
    one.wait()
    assert may(user, one.key)


def missing(call: Callable[..., Any], **parameters: Any) -> bool:
    """Whether a read does not find what it names."""
    try:
        call(**parameters)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchEntity", "NotFoundException"):
            raise
        return True
    return False


def test_iam_does_not_show_a_new_role_and_its_policies_at_once(sandboxes: Make) -> None:
    """Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html"""
    sandbox = serve(sandboxes, late("*", fault="seen_late", times=ALWAYS))
    iam = sandbox.client("iam")
    sandbox.role("New", TRUST, allow("kms:ListKeys"))
    arn = iam.create_policy(
        PolicyName="new", Path="/of/", PolicyDocument=policy(allow("kms:ListKeys"))
    )["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="New", PolicyArn=arn)

    def reads() -> list[bool]:
        return [
            missing(iam.get_role, RoleName="New"),
            missing(iam.list_role_policies, RoleName="New"),
            missing(iam.get_policy, PolicyArn=arn),
            iam.list_roles()["Roles"] == [],
            iam.list_policies(Scope="Local")["Policies"] == [],
        ]

    assert reads() == [True] * 5
    assert code(iam.create_role, RoleName="New", AssumeRolePolicyDocument=policy(TRUST)) == (
        "EntityAlreadyExists",
        409,
    )
    sandbox.world.clock.advance(LATER)
    assert reads() == [False] * 5


def test_iam_shows_a_role_s_policy_as_it_was(sandboxes: Make) -> None:
    one = Late(sandboxes, late("*", fault="seen_late", times=ALWAYS))
    one.wait()
    named = {"RoleName": "Late", "PolicyName": "use"}

    def shown() -> Any:
        return one.iam.get_role_policy(**named)["PolicyDocument"]["Statement"]

    inline(one, True)
    assert missing(one.iam.get_role_policy, **named)
    assert one.iam.list_role_policies(RoleName="Late")["PolicyNames"] == []
    assert may(one.user, one.key), "it is in effect"
    one.wait()
    assert shown() == [allow("kms:Encrypt")]
    one.iam.put_role_policy(**named, PolicyDocument=policy(allow("kms:Decrypt")))
    assert shown() == [allow("kms:Encrypt")]
    one.wait()
    assert shown() == [allow("kms:Decrypt")]
    attached(one, True)
    listed = one.iam.list_attached_role_policies
    assert listed(RoleName="Late")["AttachedPolicies"] == []
    one.wait()
    attached(one, True)
    assert len(listed(RoleName="Late")["AttachedPolicies"]) == 1, "there already"


def test_kms_does_not_show_a_new_key_and_alias_at_once(sandboxes: Make) -> None:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/programming-eventual-consistency.html"""
    sandbox = serve(sandboxes, late("*", "kms", "seen_late", times=ALWAYS))
    kms = sandbox.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/new", TargetKeyId=key)

    def reads() -> list[bool]:
        return [
            missing(kms.describe_key, KeyId=key),
            missing(kms.describe_key, KeyId="alias/new"),
            missing(kms.get_key_policy, KeyId=key),
            kms.list_keys()["Keys"] == [],
            kms.list_aliases()["Aliases"] == [],
        ]

    assert reads() == [True] * 5
    assert code(kms.create_alias, AliasName="alias/new", TargetKeyId=key)[0] == (
        "AlreadyExistsException"
    )
    kms.encrypt(KeyId=key, Plaintext=b"changes and uses know it")
    sandbox.world.clock.advance(LATER)
    assert reads() == [False] * 5


# Records ------------------------------------------------------------------------------------------


def encrypted(sandbox: Served) -> None:
    """Make a key and an encrypted workflow."""
    key = sandbox.client("kms").create_key()["KeyMetadata"]["Arn"]
    document = (
        "schemaVersion: 1.0\nsteps:\n  - name: Launch\n    action: LaunchInstance\n"
        "    onFailure: Abort\n    inputs:\n      waitFor: ssmAgent\n"
    )
    sandbox.client("imagebuilder").create_workflow(
        name="secret", semanticVersion="1.0.0", type="BUILD", data=document, kmsKeyId=key
    )


def seen(sandbox: Served) -> list[str]:
    """The ids of the events of GenerateDataKey that a look-up sees."""
    asked = [{"AttributeKey": "EventName", "AttributeValue": "GenerateDataKey"}]
    events = sandbox.client("cloudtrail").lookup_events(LookupAttributes=asked)["Events"]
    return [event["EventId"] for event in events]


def test_a_record_that_is_late_and_out_of_order(sandboxes: Make) -> None:
    sandbox = serve(sandboxes, rule("record_late", operation="GenerateDataKey", seconds=900))
    encrypted(sandbox)
    key = sandbox.client("kms").list_keys()["Keys"][0]["KeyId"]
    sandbox.client("kms").generate_data_key(KeyId=key, KeySpec="AES_256")
    late, early = (one["eventID"] for one in sandbox.records("GenerateDataKey"))
    assert seen(sandbox) == [early]
    sandbox.world.clock.advance(timedelta(seconds=901))
    assert sorted(seen(sandbox)) == sorted([late, early])


def test_a_record_that_comes_twice_has_one_id(sandboxes: Make) -> None:
    sandbox = serve(sandboxes, rule("record_twice", operation="GenerateDataKey"))
    encrypted(sandbox)
    first, second = seen(sandbox)
    assert first == second


def test_a_record_that_never_comes(sandboxes: Make) -> None:
    sandbox = serve(sandboxes, rule("record_never", operation="GenerateDataKey"))
    encrypted(sandbox)
    assert seen(sandbox) == []
    assert len(sandbox.records("CreateWorkflow")) == 1
