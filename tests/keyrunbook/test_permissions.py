"""The operator's policy as a document: what is in it, where it is bound, how long it may be."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner
from iamaccess import Outcome, Policies, Principal, Request, decide, parse_policy
from keyrunbook.cli import runbook
from keyrunbook.errors import ParameterError
from keyrunbook.parameters import Parameters
from keyrunbook.permissions import (
    EMERGENCY,
    OWNERS_ONLY,
    SCORECARD,
    SIZE_LIMIT,
    Where,
    operator_policy,
    partition_of,
    size,
)
from keyrunbook.steps import STEPS

HERE = Where("aws", "us-west-2", "111122223333")
KEY_ARN = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
PLACE = ("--account", HERE.account, "--region", HERE.region)

VARIANTS: list[dict[str, Any]] = [
    {},
    {"target": "sandbox"},
    {"key_arn": KEY_ARN},
    {"target": "sandbox", "key_arn": KEY_ARN, "run_build": False},
    {"execution_role": "arn:aws:iam::111122223333:role/a/path/Role"},
]


def policy(steps: tuple[str, ...] = STEPS, **given: Any) -> dict[str, Any]:
    return operator_policy(steps, Parameters.load(given), HERE)


def actions(document: dict[str, Any]) -> list[str]:
    listed = []
    for statement in document["Statement"]:
        one = statement["Action"]
        listed += [one] if isinstance(one, str) else one
    return listed


@pytest.mark.parametrize("given", VARIANTS, ids=str)
def test_iam_accepts_it_and_it_is_bound(given: dict[str, Any]) -> None:
    document = policy(**given)
    parse_policy(json.dumps(document), kind="identity")
    sids = [statement["Sid"] for statement in document["Statement"]]
    assert len(set(sids)) == len(sids)
    assert all(re.fullmatch(r"Step0[0-6][A-Za-z0-9]+", sid) for sid in sids)
    assert all("*" not in action for action in actions(document))
    for statement in document["Statement"]:
        bound = statement["Resource"] != "*" or "Condition" in statement
        lists = ("Step00Look", "Step01Settle", "Step06Users")
        assert bound or statement["Sid"] in lists, statement


@pytest.mark.parametrize("given", VARIANTS, ids=str)
def test_it_says_no_permission_twice(given: dict[str, Any]) -> None:
    rights = [
        (action, json.dumps([statement["Resource"], statement.get("Condition")]))
        for statement in policy(**given)["Statement"]
        for action in actions({"Statement": [statement]})
    ]
    assert len(set(rights)) == len(rights)


@pytest.mark.parametrize("given", VARIANTS, ids=str)
def test_it_fits_a_managed_policy(given: dict[str, Any]) -> None:
    assert size(policy(**given, run_id="r" * 64)) <= SIZE_LIMIT


def test_a_policy_that_does_not_fit_is_refused() -> None:
    long = {
        "key_alias": f"alias/{'a' * 250}",
        "execution_role": f"arn:aws:iam::111122223333:role/{'p' * 510}/{'R' * 64}",
        "workflow_name": "w" * 128,
        "run_id": "r" * 64,
        "target": "sandbox",
    }
    with pytest.raises(ParameterError, match=r"a managed policy takes 6144") as caught:
        policy(**long)
    assert "--steps 00..03" in caught.value.fix


ALIAS_AND_ROTATION = {
    *("kms:CreateAlias", "kms:DeleteAlias", "kms:EnableKeyRotation", "kms:DisableKeyRotation"),
}


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ({}, set()),
        ({"key_alias": "alias/mine"}, {"kms:CreateAlias", "kms:DeleteAlias"}),
        ({"rotate_key": True}, {"kms:EnableKeyRotation", "kms:DisableKeyRotation"}),
    ],
)
def test_a_key_that_was_there_is_named_and_rotated_only_on_request(
    given: dict[str, Any], needed: set[str]
) -> None:
    assert {*actions(policy(key_arn=KEY_ARN, **given))} & ALIAS_AND_ROTATION == needed


def test_the_same_question_gets_the_same_text() -> None:
    assert json.dumps(policy()) == json.dumps(policy())


@pytest.mark.parametrize("step", STEPS)
def test_each_step_alone_is_stated_by_its_number(step: str) -> None:
    name = f"Step{step[:2]}"
    document = policy((step,))
    assert all(statement["Sid"].startswith(name) for statement in document["Statement"])
    assert set(actions(document)) <= set(actions(policy()))


def test_only_an_inventory_reads_other_workflows() -> None:
    for steps, reads in ((STEPS[:5], "encrypted-build/*"), (STEPS, "workflow/*")):
        for statement in policy(steps)["Statement"]:
            if "imagebuilder:GetWorkflow" in actions({"Statement": [statement]}):
                assert statement["Resource"].endswith(reads)


BUILD = {
    "run_build": True,
    "build_recipe": "arn:aws:imagebuilder:us-west-2:111122223333:container-recipe/base/1.0.0",
    "build_infrastructure": (
        "arn:aws:imagebuilder:us-west-2:111122223333:infrastructure-configuration/base"
    ),
}


def test_builds_on_aws_are_bound_to_what_they_are_made_of() -> None:
    more = policy(**BUILD)
    resources = {
        action: statement["Resource"]
        for statement in more["Statement"]
        for action in actions({"Statement": [statement]})
    }
    assert resources["imagebuilder:CreateImage"].endswith(":image/base/*")
    assert resources["imagebuilder:CancelImageCreation"].endswith(":image/base/*")
    assert resources["imagebuilder:DeleteImage"].endswith(":image/base/*")
    assert resources["imagebuilder:GetContainerRecipe"] == BUILD["build_recipe"]
    assert size(more) <= SIZE_LIMIT


NOT_ON_AWS = [
    *("iam:CreateRole", "iam:TagRole", "iam:DeleteRole", "iam:PassRole"),
    *("imagebuilder:CreateImage", "imagebuilder:GetImageRecipe"),
    "imagebuilder:GetInfrastructureConfiguration",
]


def test_what_only_runs_on_the_sandbox_do() -> None:
    more = set(actions(policy(target="sandbox"))) - set(actions(policy()))
    assert more == set(NOT_ON_AWS)


def test_a_given_key_is_named_and_no_key_is_made() -> None:
    document = policy(key_arn=KEY_ARN)
    assert not {"kms:CreateKey", "kms:TagResource", "kms:ScheduleKeyDeletion"} & set(
        actions(document)
    )
    keys = {str(s["Resource"]) for s in document["Statement"] if ":key/" in str(s["Resource"])}
    assert keys == {KEY_ARN}


def test_a_key_of_another_account_is_used_and_not_changed() -> None:
    central = KEY_ARN.replace(HERE.account, "999988887777")
    document = policy(key_arn=central)
    assert not OWNERS_ONLY & set(actions(document))
    assert {"kms:DescribeKey", "kms:Decrypt", "kms:GenerateDataKey"} <= set(actions(document))
    assert central in json.dumps(document)


def test_a_named_run_touches_its_own_key_only() -> None:
    text = json.dumps(policy(run_id="mine"))
    assert '"aws:ResourceTag/keyrunbook:run": "mine"' in text
    assert 'keyrunbook:run": "*"' not in text


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-central-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_a_region_s_partition(region: str, partition: str) -> None:
    assert partition_of(region) == partition
    where = Where(partition, region, HERE.account)
    text = json.dumps(operator_policy(STEPS, Parameters(), where))
    assert set(re.findall(r"arn:(aws[a-z-]*):", text)) == {partition}


OPERATOR = Principal("user", "arn:aws:iam::111122223333:user/operator", HERE.account)
VIA = {"aws:CalledVia": ["imagebuilder.amazonaws.com"]}
WORKFLOW = "arn:aws:imagebuilder:us-west-2:111122223333:workflow/build/encrypted-build/1.0.0/*"
OURS = {"kms:EncryptionContext:aws:imagebuilder:arn": WORKFLOW}
OTHER = {"kms:EncryptionContext:aws:imagebuilder:arn": WORKFLOW.replace("encrypted", "other")}
FOREIGN = {
    "kms:EncryptionContext:aws:imagebuilder:arn": WORKFLOW.replace(HERE.account, "444455556666")
}
MINE = {"aws:ResourceTag/keyrunbook:run": "mine"}
ROLE = "arn:aws:iam::111122223333:role/ImageBuilderExecutionRole"

TAGGING = {"aws:RequestTag/keyrunbook:run": "mine"}

BOUNDS: list[tuple[str, str, dict[str, Any], bool]] = [
    ("kms:Decrypt", KEY_ARN, {**VIA, **OURS, **MINE}, True),
    ("kms:Decrypt", KEY_ARN, {**OURS, **MINE}, False),
    ("kms:GenerateDataKey", KEY_ARN, {**VIA, **OURS, **MINE}, True),
    ("kms:GenerateDataKey", KEY_ARN, {**VIA, **OTHER, **MINE}, False),
    ("kms:Decrypt", KEY_ARN, {**VIA, **FOREIGN, **MINE}, False),
    ("kms:Decrypt", KEY_ARN, {**VIA, **MINE}, False),
    ("kms:Decrypt", KEY_ARN, {**VIA, **OURS}, False),
    ("kms:PutKeyPolicy", KEY_ARN, MINE, True),
    ("kms:PutKeyPolicy", KEY_ARN, {"aws:ResourceTag/keyrunbook:run": "another"}, False),
    ("kms:PutKeyPolicy", KEY_ARN, {}, False),
    ("kms:TagResource", KEY_ARN, {**TAGGING, "aws:TagKeys": ["keyrunbook:run"]}, True),
    ("kms:TagResource", KEY_ARN, {"aws:RequestTag/keyrunbook:run": "another"}, False),
    ("kms:TagResource", KEY_ARN, {**TAGGING, "aws:TagKeys": ["keyrunbook:run", "x"]}, False),
    ("kms:RevokeGrant", KEY_ARN, MINE, True),
    ("kms:RevokeGrant", KEY_ARN, {}, False),
    ("kms:CreateGrant", KEY_ARN, {**MINE, "kms:GranteePrincipal": ROLE}, True),
    ("kms:CreateGrant", KEY_ARN, {"kms:GranteePrincipal": ROLE}, False),
    ("kms:CreateGrant", KEY_ARN, {**MINE, "kms:GranteePrincipal": f"{ROLE}2"}, False),
    ("kms:CreateKey", "*", {"aws:RequestTag/keyrunbook:run": "mine"}, True),
    ("kms:CreateKey", "*", {}, False),
    ("iam:PassRole", ROLE, {"iam:PassedToService": "imagebuilder.amazonaws.com"}, True),
    ("iam:PassRole", ROLE, {"iam:PassedToService": "ec2.amazonaws.com"}, False),
    ("iam:PutRolePolicy", ROLE, {}, True),
    ("iam:PutRolePolicy", f"{ROLE}2", {}, False),
    ("iam:DeleteRole", ROLE, {}, False),
    ("imagebuilder:DeleteWorkflow", WORKFLOW.replace("*", "1"), MINE, True),
    ("imagebuilder:DeleteWorkflow", WORKFLOW.replace("*", "1"), {}, False),
]


@pytest.mark.parametrize(("action", "resource", "context", "allowed"), BOUNDS)
def test_what_it_allows_and_what_not(
    action: str, resource: str, context: dict[str, Any], allowed: bool
) -> None:
    document = policy(run_id="mine", target="sandbox")
    assert decided(document, action, resource, context) is allowed


@pytest.mark.parametrize("role", ["Exec", "arn:aws:iam::111122223333:role/team/Exec"])
def test_the_role_s_grants_can_be_given_back_wherever_it_is(role: str) -> None:
    document = policy(target="aws", execution_role=role, key_arn=KEY_ARN)
    account = "arn:aws:{}::111122223333"
    whole = "team/Exec" if "/" in role else "Exec"
    for grantee, allowed in (
        (f"{account.format('iam')}:role/{whole}", True),
        (f"{account.format('sts')}:assumed-role/Exec/i-0123", True),
        (f"{account.format('iam')}:role/team/Exec", True),
        (f"{account.format('iam')}:role/team/Executor", False),
        (f"{account.format('sts')}:assumed-role/Other/Exec", False),
    ):
        given = {"kms:GranteePrincipal": grantee}
        assert decided(document, "kms:CreateGrant", KEY_ARN, given) is allowed, grantee
    assert decided(document, "kms:RevokeGrant", KEY_ARN, {})


def test_one_that_would_be_too_long_says_the_same_in_fewer_statements() -> None:
    short, long = policy(**BUILD), policy(**BUILD, run_id="r" * 64)
    assert len(long["Statement"]) < len(policy(run_id="r" * 8)["Statement"]) + 6
    bounds = [json.dumps([s["Resource"], s.get("Condition")]) for s in long["Statement"]]
    assert len(set(bounds)) == len(bounds)
    assert set(actions(long)) == set(actions(short))
    assert any(re.fullmatch(r"Step01Use02Key\w*06Key", s["Sid"]) for s in long["Statement"])


@pytest.mark.parametrize("steps", [STEPS, STEPS[:1]])
def test_what_the_emergency_stop_needs_is_printed_on_request(steps: tuple[str, ...]) -> None:
    stop = {"kms:DisableKey", "kms:EnableKey"}
    assert not stop & set(actions(policy(steps)))
    document = policy((*steps, EMERGENCY), run_id="mine")
    assert stop | {"kms:DescribeKey", "imagebuilder:GetWorkflow"} <= set(actions(document))
    for action in stop:
        assert decided(document, action, KEY_ARN, MINE)
        assert not decided(document, action, KEY_ARN, {})
    central = KEY_ARN.replace(HERE.account, "999988887777")
    assert not stop & set(actions(policy((EMERGENCY,), key_arn=central)))


def decided(document: dict[str, Any], action: str, resource: str, context: dict[str, Any]) -> bool:
    """Whether the policy allows it on a key whose policy delegates to the account."""
    text = json.dumps(document)
    delegates = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
            "Action": "*",
            "Resource": "*",
        },
    }
    on_a_key = action.startswith("kms:") and resource != "*"
    layers = Policies(
        identity=[parse_policy(text, kind="identity")],
        resource=[parse_policy(delegates, kind="resource")] if on_a_key else [],
        grants=[],
        boundary=[],
        session=[],
        service_control=[],
        resource_control=[],
    )
    decision = decide(Request(OPERATOR, action, resource, context), layers)
    assert decision.outcome is not Outcome.UNKNOWN
    return decision.outcome is Outcome.ALLOWED


# The command


def test_the_command_prints_the_document_alone_on_stdout() -> None:
    words = ["permissions", *PLACE, "--steps", "00..04"]
    result = CliRunner().invoke(runbook, words)
    assert json.loads(result.stdout) == policy(STEPS[:5])
    assert result.stderr.startswith("# The operator's permissions for 00, 01, 02, 03, 04:")
    bare = CliRunner().invoke(runbook, [*words, "--json"])
    assert (bare.stdout, bare.stderr) == (result.stdout, "")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), ["Without run_id it is for the keys of all runs", "any key of the account"]),
        (("-p", "run_id", "mine"), ["any key of the account"]),
        (("-p", "run_id", "mine", "--steps", "02..06"), []),
        (("--steps", "02..06"), ["Without run_id"]),
        (("-p", "key_arn", KEY_ARN), []),
    ],
)
def test_what_the_policy_allows_beyond_the_run_is_said(
    more: tuple[str, ...], said: list[str]
) -> None:
    result = CliRunner().invoke(runbook, ["permissions", *PLACE, *more])
    _, *lines = (one for one in result.stderr.splitlines() if "defaults" not in one)
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines, strict=True))


ALIAS, ROLE = "key_alias alias/imagebuilder-workflows", "execution_role ImageBuilderExecutionRole"
WORKFLOW, TAGS = "workflow_name encrypted-build", "tags none"


@pytest.mark.parametrize(
    ("more", "values"),
    [
        ((), [ALIAS, ROLE, WORKFLOW, TAGS]),
        (("--steps", "01"), [ALIAS, TAGS]),
        (("--steps", "00"), []),
        (("--steps", "01", "-p", "tags", "{team: images}"), [ALIAS]),
        (("--steps", "01", "-p", "key_alias", "alias/mine"), [TAGS]),
        (("--steps", "01,02", "-p", "key_arn", KEY_ARN), [ROLE]),
        (("--steps", "03,06", "-p", "workflow_name", "mine"), [ALIAS, ROLE]),
    ],
    ids=str,
)
def test_what_it_is_narrowed_to_without_having_been_told_is_said(
    more: tuple[str, ...], values: list[str]
) -> None:
    result = CliRunner().invoke(runbook, ["permissions", *PLACE, *more])
    said = [one for one in result.stderr.splitlines() if "defaults" in one]
    start = "# It is narrowed to the defaults of what was not given: "
    assert [one.removeprefix(start).partition(". ")[0] for one in said] == (
        [", ".join(values)] if values else []
    )


def test_the_command_prints_the_emergency_stop_s_on_request() -> None:
    words = ["permissions", *PLACE, "--emergency", "--json"]
    result = CliRunner().invoke(runbook, words)
    assert json.loads(result.stdout) == policy((*STEPS, EMERGENCY))


def test_the_command_prints_the_scorecard_s_which_only_read() -> None:
    result = CliRunner().invoke(runbook, ["permissions", *PLACE, "--scorecard"])
    document = json.loads(result.stdout)
    assert document == policy((SCORECARD,))
    assert len(result.stderr.splitlines()) == 1
    named = {one.partition(":")[2] for one in actions(document)}
    changing = {one for one in named if not one.startswith(("Get", "List", "Describe", "Lookup"))}
    assert changing == {"Decrypt"}
    (opening,) = (one for one in document["Statement"] if one["Action"] == "kms:Decrypt")
    assert opening["Condition"]["ForAnyValue:StringEquals"] == {
        "aws:CalledVia": "imagebuilder.amazonaws.com"
    }
    for more in (["--steps", "00"], ["--emergency"]):
        words = ["permissions", *PLACE, "--scorecard", *more]
        assert CliRunner().invoke(runbook, words).exit_code == 2


def test_the_account_of_the_role_is_enough() -> None:
    role = f"arn:aws:iam::{HERE.account}:role/Role"
    words = ["permissions", "--region", HERE.region, "-p", "execution_role", role]
    result = CliRunner().invoke(runbook, words)
    assert json.loads(result.stdout) == policy(execution_role=role)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (PLACE[:2], "No AWS Region is set"),
        (PLACE[2:], "No account number is given"),
        ((*PLACE[2:], "--account", "12"), "--account '12' is none"),
        ((*PLACE, "--steps", "07"), "there is no step '07'"),
        ((*PLACE, "-p", "colour", "red"), "there is no parameter 'colour'"),
        ((*PLACE, "-p", "key_arn", "alias/x"), "key_arn = 'alias/x'"),
        ((*PLACE, "-p", "run_build", "true"), "run_build = True"),
        ((*PLACE, "--partition", "aws-cn"), "aws-cn has no Region us-west-2"),
        (
            (*PLACE, "-p", "execution_role", "arn:aws:iam::999999999999:role/Role"),
            "is not of the account 111122223333",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_is_said(words: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(runbook, ["permissions", *words])
    assert isinstance(result.exception, ParameterError)
    assert result.exception.exit_status == 2
    assert said in result.exception.what
    assert result.stdout == ""
