"""What can be known without asking anybody is said before anything is made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from keyrunbook.cli import _main
from keyrunbook.cli.common import check
from keyrunbook.errors import ParameterError
from keyrunbook.parameters import Parameters
from keyrunbook.sandboxes import HANDED_OVER, start_private
from keyrunbook.steps import STEPS

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROLE = "arn:aws:iam::111122223333:role/R"
ON_AWS = ["--target", "aws", "--region", "us-west-2"]

WRONG: list[tuple[list[str], list[str]]] = [
    (["--profile", "p"], ["profile = 'p' has no meaning on the sandbox", "target = 'aws'"]),
    (["-p", "use_fips", "true"], ["use_fips = True has no meaning on the sandbox"]),
    (["--target", "aws"], ["No AWS Region is set", "--region"]),
    ([*ON_AWS, "--profile", "unknown"], ["profile (unknown) could not be found", "--profile"]),
    (
        ["--target", "aws", "--region", "eu-central-1", "-p", "use_fips", "true"],
        ["in eu-central-1 there is no FIPS endpoint of EC2 Image Builder", "us-gov-west-1"],
    ),
    ([*ON_AWS, "-p", "key_arn", KEY], [KEY, "is in eu-central-1", "us-west-2"]),
    (
        [*ON_AWS, "-p", "account", "444455556666", "-p", "execution_role", ROLE],
        ["of the account 111122223333", "for the account 444455556666"],
    ),
    (
        ["-p", "workflow_file", "workflows/test-image.yaml", "-p", "workflow_uri", "s3://abc/k"],
        ["workflow_uri = 's3://abc/k'", "name two documents"],
    ),
    (["-p", "workflow_file", "workflows/none.yaml"], ["could not be read", "build-image.yaml"]),
    (["-p", "account", "1111"], ["account = '1111': has not the right form, such as '111122"]),
]


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(("words", "told"), WRONG)
def test_wrong_usage_leaves_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    words: list[str],
    told: list[str],
) -> None:
    assert _main([command, "--outputs", str(tmp_path), *words]) == 2
    shown = capsys.readouterr()
    for word in told:
        assert word in shown.err
    assert shown.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_document_that_no_step_reads_is_not_looked_at() -> None:
    parameters = Parameters(workflow_file="workflows/none.yaml")
    check(parameters, "sandbox", {}, STEPS[:3])
    with pytest.raises(ParameterError):
        check(parameters, "sandbox", {}, STEPS[:4])


@pytest.mark.e2e
def test_a_plan_that_aws_refuses_says_what_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = {"service": "kms", "operation": "DescribeKey", "fault": "expired_credentials"}
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps([{**rule, "times": "always"}]))
    with start_private("--faults", str(faults)) as sandbox:
        sandbox.ready()
        monkeypatch.setenv(HANDED_OVER, str(sandbox.path))
        assert _main(["plan", "--outputs", str(tmp_path / "runs")]) == 5
    told = capsys.readouterr().err
    assert told.startswith("Error: AWS refused DescribeKey: ExpiredTokenException: ")
    assert "Renew the credentials" in told
    assert "Traceback" not in told
