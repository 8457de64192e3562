"""What `runbook prove` must be allowed, as a document; what it does with it: test_prove_command."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from iamaccess import parse_policy
from keyrunbook.cli import runbook
from keyrunbook.errors import ParameterError
from keyrunbook.permissions import SIZE_LIMIT, Where, size
from keyrunbook.prove_permissions import Asked, prove_policy

HERE = Where("aws", "us-west-2", "111122223333")
PLACE = ("--account", HERE.account, "--region", HERE.region)
KEY = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
BUILD = "arn:aws:imagebuilder:us-west-2:111122223333:workflow/build/images/1.0.0/1"
SOURCES = [
    Asked("lookup"),
    Asked("trail", "s3://trails"),
    Asked("trail:main", "s3://trails/a/b/"),
    Asked("s3://trails/a/AWSLogs/111122223333"),
    Asked("athena:audit.logs", "s3://trails", "s3://answers/queries", "audit"),
    Asked("AWSLogs"),
]


def resources(policy: dict[str, Any], action: str) -> list[str]:
    """All that an action is allowed on."""
    found: list[str] = []
    for one in policy["Statement"]:
        actions = [one["Action"]] if isinstance(one["Action"], str) else one["Action"]
        if action in actions:
            found += [one["Resource"]] if isinstance(one["Resource"], str) else one["Resource"]
    return found


@pytest.mark.parametrize("asked", SOURCES, ids=lambda asked: asked.source)
def test_iam_accepts_it_and_nothing_in_it_changes_anything(asked: Asked) -> None:
    policy = prove_policy(asked, HERE)
    parse_policy(json.dumps(policy), kind="identity")
    assert size(policy) < SIZE_LIMIT
    sids = [one["Sid"] for one in policy["Statement"]]
    assert len(set(sids)) == len(sids)
    text = json.dumps(policy)
    for word in ("Create", "Delete", "Update", "Grant", "PutKey", "GenerateDataKey"):
        assert word not in text
    written = resources(policy, "s3:PutObject")
    assert written == ([] if asked.answers is None else ["arn:aws:s3:::answers/queries/*"])


def test_key_and_workflow_narrow_it() -> None:
    policy = prove_policy(Asked("lookup", key_arn=KEY, workflow=BUILD), HERE)
    assert resources(policy, "kms:Decrypt") == [KEY]
    assert resources(policy, "imagebuilder:GetWorkflow") == [BUILD]
    assert f"{BUILD[:-1]}*" in json.dumps(policy), "the context's ARN ends in a star"


@pytest.mark.parametrize(
    ("source", "logs", "above"),
    [
        ("s3://trails", None, "arn:aws:s3:::trails/AWSLogs"),
        ("s3://trails/a/", None, "arn:aws:s3:::trails/a/AWSLogs"),
        ("s3://trails/a/AWSLogs/x", None, "arn:aws:s3:::trails/a/AWSLogs"),
        ("trail", "s3://trails/AWSLogs", "arn:aws:s3:::trails/AWSLogs"),
    ],
)
def test_files_are_those_of_the_account(source: str, logs: str | None, above: str) -> None:
    policy = prove_policy(Asked(source, logs), HERE)
    account = HERE.account
    assert resources(policy, "s3:GetObject") == [f"{above}/{account}/*", f"{above}/o-*/{account}/*"]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (Asked("trail"), "the trail's files are in is not said"),
        (Asked("athena:logs"), "the trail's files are in is not said"),
        (Asked("athena:logs", "s3://trails"), "where Athena leaves its answers is not said"),
        (Asked("athena:a.b.c", "s3://trails", "s3://a"), "is not of the form athena:TABLE"),
        (Asked("trail", "trails"), "'trails' is not of the form s3://bucket"),
    ],
)
def test_what_is_not_said_is_asked_for(asked: Asked, reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        prove_policy(asked, HERE)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--prove", "lookup"], 0, "# What runbook prove --source lookup needs."),
        (["--prove", "lookup", "--steps", "00"], 2, "--prove is for no step"),
        (["--logs", "s3://trails"], 2, "--logs has no meaning without --prove"),
    ],
)
def test_the_command(words: list[str], status: int, says: str) -> None:
    result = CliRunner().invoke(runbook, ["permissions", *PLACE, *words])
    assert result.exit_code == status
    assert says in result.output


def test_the_command_s_json_is_the_policy() -> None:
    words = ["--prove", "trail", "--logs", "s3://trails", "-p", "key_arn", KEY, "--json"]
    result = CliRunner().invoke(runbook, ["permissions", *PLACE, *words])
    expected = prove_policy(Asked("trail", "s3://trails", key_arn=KEY), HERE)
    assert json.loads(result.output) == expected
