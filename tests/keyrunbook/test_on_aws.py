"""The target aws from plan to proof, in real processes, as an operator with the printed policy.

Endpoint variables point to a sandbox: no code here knows it, and what runs is what runs on AWS.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from keyrunbook import policies, sandboxes
from keyrunbook.aws.clients import Clients, sandbox_clients
from keyrunbook.parameters import project_dir
from test_command import environment, runbook, the_result

pytestmark = pytest.mark.e2e

ROLE = "ImageBuilderExecutionRole"


@dataclass(frozen=True)
class Aws:
    """What stands for AWS: its administrator's clients, and who the operator is for it."""

    administrator: Clients
    operator: dict[str, str]


@pytest.fixture(scope="module")
def administrator() -> Iterator[Clients]:
    with sandboxes.start_private() as own:
        clients = sandbox_clients(own.ready())
        trust = policies.to_text(policies.trust_policy(clients.identity.account))
        clients("iam").create_role(RoleName=ROLE, AssumeRolePolicyDocument=trust)
        yield clients


@pytest.fixture
def word(request: pytest.FixtureRequest) -> str:
    """A name that no other test has."""
    return f"w{zlib.crc32(request.node.nodeid.encode()):x}"


@pytest.fixture
def aws(administrator: Clients, word: str) -> Aws:
    """An operator that holds just what `runbook permissions` prints for the test's names."""
    account, region, iam = (
        administrator.identity.account,
        administrator.region,
        administrator("iam"),
    )
    where = ("--account", account, "--region", region)
    printed = runbook("permissions", *where, *names(word), "--json")
    assert printed.returncode == 0, printed.stderr
    arn = iam.create_policy(PolicyName=word, PolicyDocument=printed.stdout)["Policy"]["Arn"]
    iam.create_user(UserName=word)
    iam.attach_user_policy(UserName=word, PolicyArn=arn)
    key = iam.create_access_key(UserName=word)["AccessKey"]
    operator = {
        "AWS_ENDPOINT_URL": administrator.endpoint,
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "AWS_DEFAULT_REGION": region,
    }
    return Aws(administrator, operator)


def planned(aws: Aws, outputs: Path, *words: str) -> dict[str, Any]:
    done = runbook("plan", "--outputs", outputs, *words, "--json", **aws.operator)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def names(word: str) -> tuple[str, ...]:
    return ("-p", "key_alias", f"alias/{word}", "-p", "workflow_name", f"on-aws-{word}")


def test_plan_approval_and_proof_by_the_command(aws: Aws, word: str, tmp_path: Path) -> None:
    plan = planned(aws, tmp_path, "--target", "aws", *names(word))
    assert [step["step"][:2] for step in plan["steps"]] == ["01", "02", "03"]
    assert plan["chosen"][-1] == "04_confirm_events"
    given = ("--outputs", tmp_path, "--run-id", plan["run_id"], "--approve", plan["digest"])
    done = runbook("run", *given, **aws.operator)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PROVED" in done.stdout
    assert "which is not AWS" in done.stdout
    result = the_result(tmp_path)
    assert (result["verdict"], result["exit_status"]) == ("PROVED", 0)
    again = planned(aws, tmp_path, "--run-id", plan["run_id"], "--steps", "05,06")
    calls = [change["call"] for step in again["steps"] for change in step["changes"]]
    assert calls[-1] == "kms:ScheduleKeyDeletion"
    done = runbook("run", *given[:-1], again["digest"], **aws.operator)
    assert done.returncode == 0, done.stdout + done.stderr
    key = aws.administrator("kms").describe_key(KeyId=result["key_arn"])["KeyMetadata"]
    assert key["KeyState"] == "PendingDeletion"


def test_without_approval_the_run_waits_with_status_4(aws: Aws, tmp_path: Path) -> None:
    before = len(aws.administrator("kms").list_keys()["Keys"])
    done = runbook("run", "--target", "aws", "--outputs", tmp_path, **aws.operator)
    assert done.returncode == 4
    assert "Nothing was changed" in done.stdout
    result = the_result(tmp_path)
    assert (result["exit_status"], result["error"]["type"]) == (4, "ApprovalRequired")
    assert len(aws.administrator("kms").list_keys()["Keys"]) == before


def papermill(
    aws: Aws, name: str, folder: Path, **parameters: Any
) -> subprocess.CompletedProcess[str]:
    pairs = [word for key, value in parameters.items() for word in ("-r", key, str(value))]
    return subprocess.run(
        [
            *(sys.executable, "-m", "papermill", "--no-progress-bar", "--log-level", "ERROR"),
            *(str(project_dir() / "notebooks" / f"{name}.ipynb"), str(folder / f"{name}.ipynb")),
            *pairs,
        ],
        env=environment(**aws.operator),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_plain_papermill_with_the_digest_does_the_same(aws: Aws, word: str, tmp_path: Path) -> None:
    plan = planned(aws, tmp_path, "--target", "aws", *names(word))
    given = {"run_id": plan["run_id"], "outputs_dir": tmp_path, "target": "aws"}
    refused = papermill(aws, "01_create_key", tmp_path, **given, key_alias=f"alias/{word}")
    assert refused.returncode != 0
    assert "ApprovalRequired" in refused.stderr
    given |= {"approve": plan["digest"]}
    own = {
        "01_create_key": {"key_alias": f"alias/{word}"},
        "03_encrypt_workflow": {"workflow_name": f"on-aws-{word}"},
    }
    for name in plan["chosen"][1:]:
        done = papermill(aws, name, tmp_path, **given, **own.get(name, {}))
        assert done.returncode == 0, done.stderr
    lines = (tmp_path / plan["run_id"] / "ledger.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["verdict"] for entry in entries if entry["kind"] == "verdict"] == ["PROVED"]
    assert [entry["digest"] for entry in entries if entry["kind"] == "approved"] == [plan["digest"]]


def test_a_run_is_gone_on_with_as_it_was_planned(aws: Aws, word: str, tmp_path: Path) -> None:
    plan = planned(aws, tmp_path, "--target", "aws", "--steps", "01,02", *names(word)[:3])
    again = planned(aws, tmp_path, "--run-id", plan["run_id"], "--steps", "01..03")
    assert again["parameters"]["key_alias"] == f"alias/{word}"
    made = again["steps"][0]["changes"][-1]["parameters"]
    assert made["AliasName"] == f"alias/{word}"
    given = ("--outputs", tmp_path, "--run-id", plan["run_id"], "--approve", plan["digest"])
    other = runbook("run", *given, "-p", "key_alias", "alias/other", **aws.operator)
    assert other.returncode == 2
    assert f"the plan was made with 'alias/{word}'" in other.stderr
    told = runbook("runs", "--outputs", tmp_path)
    assert "planned, nothing changed yet" in told.stdout


def test_a_plan_that_cannot_be_made_leaves_no_run(aws: Aws, word: str, tmp_path: Path) -> None:
    missing = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    words = ("--target", "aws", "-p", "key_arn", missing, *names(word))
    done = runbook("plan", "--outputs", tmp_path, *words, **aws.operator)
    assert done.returncode in (2, 5), done.stderr
    assert list(tmp_path.iterdir()) == []
