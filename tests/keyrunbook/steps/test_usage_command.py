"""`runbook usage`: who used a key, from files without AWS and from the Event history."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jobs import Job
from keyrunbook.aws.clients import Clients
from keyrunbook.cli import _main
from keyrunbook.sandboxes import HANDED_OVER

KEY = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
USER = "arn:aws:iam::111122223333:user/jo"

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HANDED_OVER, "/no/sandbox/is/here")  # it is said before anybody is asked


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "not said, or said twice"),
        (["--run-id", "r", "--key", KEY], "not said, or said twice"),
        (["--run-id", "absent"], "There is no run 'absent'"),
        (["--key", "alias/mine"], "'alias/mine' is not the ARN of a KMS key"),
        (["--key", "arn:aws:kms:us-west-2:111122223333:alias/x"], "is not the ARN of a KMS key"),
        (["--key", "arn:aws:kms:us-west-2:111122223333:key/"], "is not the ARN of a KMS key"),
        (["--key", KEY, "--source", "no-such-folder"], "no-such-folder"),
        (["--key", KEY, "--source", ".", "--principal", "jo"], "'jo' is not the ARN of an IAM"),
        (["--key", KEY, "--since", "2026-03-02"], "is no time with a time zone"),
        (
            ["--key", KEY, "--since", "2026-03-02T09:00:00Z", "--until", "2026-03-02T08:00:00Z"],
            "before it begins",
        ),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(
    words: list[str], says: str, tmp_path: Path, capsys: Printed, no_sandbox: None
) -> None:
    assert _main(["usage", "--outputs", str(tmp_path), *words]) == 2
    assert says in capsys.readouterr().err


def record(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.11",
        "eventID": str(number),
        "eventTime": f"2026-03-02T09:00:{number:02}Z",
        "eventSource": "kms.amazonaws.com",
        "eventName": "Decrypt",
        "awsRegion": "us-west-2",
        "recipientAccountId": "111122223333",
        "userIdentity": {"arn": USER},
        "resources": [{"type": "AWS::KMS::Key", "ARN": KEY}],
        **changes,
    }


def write(folder: Path, *records: dict[str, Any]) -> None:
    text = json.dumps({"Records": records})
    (folder / "a.json.gz").write_bytes(gzip.compress(text.encode()))


def test_a_folder_of_log_files_is_told_without_aws(
    tmp_path: Path, capsys: Printed, no_sandbox: None
) -> None:
    other = [{"type": "AWS::KMS::Key", "ARN": KEY[:-1] + "c"}]
    write(
        tmp_path,
        record(1),
        record(2),
        record(3, errorCode="AccessDenied"),
        record(4, resources=other),
    )
    picture = tmp_path / "usage.png"
    words = ["usage", "--key", KEY, "--source", str(tmp_path), "--picture", str(picture)]
    assert _main(words) == 0
    told = capsys.readouterr().out
    assert "times: 2" in told
    assert "✗ refused: AccessDenied" in told
    assert "a refusal that names neither" in told
    assert "AWS was not asked for GetKeyLastUsage" in told
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_damaged_file_ends_with_3_and_is_named(
    tmp_path: Path, capsys: Printed, no_sandbox: None
) -> None:
    write(tmp_path, record(1))
    (tmp_path / "b.json.gz").write_bytes((tmp_path / "a.json.gz").read_bytes()[:-9])
    assert _main(["usage", "--key", KEY, "--source", str(tmp_path)]) == 3
    assert "b.json.gz is cut short" in " ".join(capsys.readouterr().out.split())


def test_a_picture_that_cannot_be_written_is_told(
    tmp_path: Path, capsys: Printed, no_sandbox: None
) -> None:
    write(tmp_path, record(1))
    where = str(tmp_path / "absent" / "usage.png")
    assert _main(["usage", "--key", KEY, "--source", str(tmp_path), "--picture", where]) == 5
    told = capsys.readouterr()
    assert "Give another file by --picture." in told.err
    assert f"Use of {KEY}" in told.out


@pytest.mark.e2e
def test_a_run_s_key_by_the_event_history_and_kms_agrees(
    job: Job, aws: Clients, capsys: Printed
) -> None:
    facts = job.through("03").facts()

    def ask(*words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        asked = ["usage", "--outputs", job.given["outputs_dir"], "--json"]
        status = _main([*asked, "--run-id", job.given["run_id"], *words])
        return status, json.loads(capsys.readouterr().out)

    status, told = ask()
    assert (status, told["last_use"]["agreement"], told["complete"]) == (0, "agrees", True), told
    used = {line["operation"]: line["count"] for line in told["lines"] if line["became"] == "used"}
    assert used == {"GenerateDataKey": 1, "Decrypt": 1}

    aws("kms").encrypt(KeyId=facts["key_arn"], Plaintext=b"x", EncryptionContext={"app": "mine"})
    status, told = ask()
    assert (status, told["last_use"]["agreement"]) == (0, "agrees"), told
    assert "another encryption context: app" in [line["for"] for line in told["lines"]]

    ago = [f"{aws.now() - timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}" for hours in (2, 1)]
    status, told = ask("--since", ago[0], "--until", ago[1], "--principal", USER)
    assert (status, told["last_use"]["agreement"], told["lines"]) == (3, "not known", [])


@pytest.mark.e2e
def test_the_key_of_another_account_is_asked_for_there(
    job: Job, capsys: Printed, tmp_path: Path
) -> None:
    foreign = KEY.replace("111122223333", "444455556666")
    assert _main(["usage", "--outputs", str(tmp_path), "--key", foreign]) == 2
    assert "all uses are in its own account's records" in capsys.readouterr().err
