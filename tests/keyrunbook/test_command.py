"""The `runbook` command as a person or a scheduler runs it: real processes, notebooks, sandbox."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from keyrunbook import sandboxes
from keyrunbook.aws.clients import sandbox_clients
from keyrunbook.cli.running import _run
from keyrunbook.execution.result import RunResult
from keyrunbook.parameters import Parameters, project_dir
from keyrunbook.steps import STEPS

pytestmark = pytest.mark.e2e

BIN = Path(sys.executable).parent
NOTHING_OF_AWS = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def environment(**more: str) -> dict[str, str]:
    """This process's environment without anything of AWS or of a run, and `more`."""
    plain = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "KEYRUNBOOK_"))
    }
    return {**plain, **NOTHING_OF_AWS, **more}


def runbook(*words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [str(BIN / "runbook"), *map(str, words)],
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def the_result(outputs: Path) -> dict[str, Any]:
    """The result.json of the only run in a folder."""
    (path,) = outputs.glob("*/result.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def ledger(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's ledger."""
    return [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]


def statuses(result: dict[str, Any]) -> list[str]:
    return [step["status"] for step in result["steps"]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """One whole run: its outputs folder, the result on stdout, and what stderr said."""
    outputs = tmp_path_factory.mktemp("whole run") / "with a space"
    done = runbook("run", "--json", "--outputs", outputs, "--run-id", "whole")
    assert done.returncode == 0, done.stderr
    return outputs, json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def sandbox() -> Iterator[sandboxes.Sandbox]:
    """A sandbox that the tests of this module share, handed over by the environment."""
    with sandboxes.start_private() as started:
        started.ready()
        yield started


def aws_like(handoff: sandboxes.Handoff) -> dict[str, str]:
    """What points the target aws at a sandbox: credentials and endpoint variables."""
    return {
        "AWS_ACCESS_KEY_ID": handoff.access_key_id,
        "AWS_SECRET_ACCESS_KEY": handoff.secret_access_key,
        "AWS_DEFAULT_REGION": handoff.region,
        "AWS_ENDPOINT_URL": handoff.endpoint_url,
    }


# A run that goes well -----------------------------------------------------------------------------


def test_a_whole_run_ends_proved(whole: tuple[Path, dict[str, Any], str]) -> None:
    outputs, result, told = whole
    assert result == the_result(outputs)
    assert result["verdict"] == "PROVED"
    assert result["status"] == "done"
    assert result["exit_status"] == 0
    assert result["error"] is None
    assert statuses(result) == ["done"] * 7
    assert result["account"] == "111122223333"
    assert result["region"] == "us-west-2"
    assert re.fullmatch(r"arn:aws:kms:us-west-2:111122223333:key/[0-9a-f-]{36}", result["key_arn"])
    assert result["workflow_arn"].endswith(":workflow/build/encrypted-build/1.0.0/1")
    assert len(result["events"]) == 2
    assert "PROVED" in told
    assert "not AWS" in told


def test_the_run_s_folder_holds_the_executed_notebooks(
    whole: tuple[Path, dict[str, Any], str],
) -> None:
    outputs, result, _ = whole
    for step in result["steps"]:
        notebook = nbformat.read(outputs / "whole" / step["notebook"], as_version=4)  # type: ignore[no-untyped-call]
        assert notebook.metadata.papermill.exception is None
        assert all(cell.metadata.papermill.status == "completed" for cell in notebook.cells)


def test_the_ledger_tells_each_change_before_and_after(
    whole: tuple[Path, dict[str, Any], str],
) -> None:
    outputs, _, _ = whole
    lines = ledger(outputs / "whole")
    assert [line["n"] for line in lines] == list(range(1, len(lines) + 1))
    pairs = [line for line in lines if line["kind"] in ("intent", "outcome")]
    assert [line["kind"] for line in pairs] == ["intent", "outcome"] * (len(pairs) // 2)
    for intent, outcome in zip(pairs[::2], pairs[1::2], strict=True):
        assert intent["call"] == outcome["call"]
        assert outcome["status"] == "done"
    assert {line["step"] for line in lines if line["kind"] == "done"} == set(STEPS)


def test_nothing_that_a_run_leaves_holds_a_secret(whole: tuple[Path, dict[str, Any], str]) -> None:
    """The sandbox's secret is worth nothing elsewhere; the rule is for AWS's."""
    outputs, _, told = whole
    text = told + "".join(
        path.read_text() for path in (outputs / "whole").iterdir() if path.is_file()
    )
    assert "aws_secret" not in text.lower()
    assert not re.search(r"secret_access_key\W+\w", text)


def test_a_second_run_on_the_same_sandbox_changes_nothing_that_is_so(
    tmp_path: Path, sandbox: sandboxes.Sandbox
) -> None:
    words = ("run", "--json", "--steps", "00..04", "--outputs", tmp_path, "--run-id", "same")
    for _ in range(2):
        done = runbook(*words, **sandbox.environment())
        assert done.returncode == 0, done.stderr
    lines = ledger(tmp_path / "same")
    calls = [line["call"] for line in lines if line["kind"] == "intent"]
    assert len(calls) == len(set(calls))
    assert json.loads(done.stdout)["verdict"] == "PROVED"


def test_one_notebook_by_plain_papermill_from_another_folder(
    tmp_path: Path, sandbox: sandboxes.Sandbox
) -> None:
    for name in STEPS[1:3]:
        words = [str(BIN / "papermill"), str(project_dir() / "notebooks" / f"{name}.ipynb")]
        words += ["out.ipynb", "-p", "run_id", "x", "-p", "key_alias", "alias/y"]
        words += ["-p", "outputs_dir", str(tmp_path / "outputs"), "--no-progress-bar"]
        done = subprocess.run(
            words,
            cwd=tmp_path,
            env=environment(**sandbox.environment()),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "outputs" / "x" / "ledger.jsonl").is_file()


# Verdicts and their exit statuses -----------------------------------------------------------------


def test_records_that_come_late_are_not_yet(tmp_path: Path) -> None:
    """Without the pair there is no PROVED; 05 and 06 wait for it."""
    with sandboxes.start_private("--event-delay", "3600") as late:
        late.ready()
        words = ("run", "--json", "--outputs", tmp_path, "-p", "event_wait_seconds", "1")
        done = runbook(*words, **late.environment())
        assert done.returncode == 3, done.stderr
        result = json.loads(done.stdout)
        assert result["verdict"] == "NOT_YET"
        assert statuses(result) == ["done"] * 5 + ["not run"] * 2
        assert result["events"] == []
        assert result["status"] == "done"
        sandboxes.command(late.ready(), "advance", seconds=3700)
        words = ("run", "--json", "--outputs", tmp_path, "--steps", "04")
        done = runbook(*words, "--run-id", result["run_id"], **late.environment())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "PROVED"


# Errors: one message, what to do, the right status, a truthful result -----------------------------

REFUSED_PARAMETERS = [
    (["-p", "key_alias", "mine"], "key_alias"),
    (["-p", "no_such_parameter", "1"], "no_such_parameter"),
    (["-p", "pending_window_days", "5"], "pending_window_days"),
    (["-p", "pending_window_days", "many"], "pending_window_days"),
    (["-p", "tags", "{owner: somebody@example.com}"], "e-mail"),
    (["-p", "workflow_version", "1.0"], "workflow_version"),
    (["--steps", "00..02", "-p", "workflow_name", "mine"], "03_encrypt_workflow only"),
    (["--steps", "07"], "there is no step '07'"),
    (["--steps", "04..01"], "runs backwards"),
    (["--steps", "03"], "holds no unfinished one"),
    (["--run-id", "../../etc"], "run_id"),
    (["--profile", "images"], "profile"),
    (["--parameters", "/no/such/file.yaml"], "/no/such/file.yaml"),
]


@pytest.mark.parametrize(("words", "told"), REFUSED_PARAMETERS)
def test_wrong_usage_is_status_2_and_says_what_is_wrong(
    tmp_path: Path, words: list[str], told: str
) -> None:
    done = runbook("run", "--outputs", tmp_path / "o", *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert told in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


def test_outputs_that_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    done = runbook("run", "--outputs", blocked)
    assert done.returncode == 5
    assert "cannot be written" in done.stderr
    assert "--outputs" in done.stderr
    assert blocked.read_text() == "in the way"


def test_a_sandbox_that_is_gone(tmp_path: Path) -> None:
    done = runbook("run", "--outputs", tmp_path, KEYRUNBOOK_SANDBOX=str(tmp_path / "none.json"))
    assert done.returncode == 5
    assert "not running" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("handed_over", [False, True])
def test_a_run_whose_sandbox_is_gone_keeps_its_result(
    whole: tuple[Path, dict[str, Any], str], sandbox: sandboxes.Sandbox, handed_over: bool
) -> None:
    outputs, result, _ = whole
    before = {path.name: path.read_bytes() for path in (outputs / "whole").iterdir()}
    there = sandbox.environment() if handed_over else {}
    done = runbook("run", "--outputs", outputs, "--run-id", "whole", **there)
    assert done.returncode == 5
    assert "The sandbox of the run 'whole' is gone" in done.stderr
    assert before == {path.name: path.read_bytes() for path in (outputs / "whole").iterdir()}
    assert the_result(outputs) == result


def test_a_step_before_its_time_fails_with_one_sentence(
    tmp_path: Path, sandbox: sandboxes.Sandbox
) -> None:
    """The sentence names the step that is missing; the notebook shows it without a traceback."""
    words = ("run", "--outputs", tmp_path, "--run-id", "x", "--steps", "00,03", "--json")
    done = runbook(*words, **sandbox.environment())
    assert done.returncode == 2, done.stderr
    result = json.loads(done.stdout)
    assert statuses(result)[3] == "failed"
    assert "02_grant_access" in result["error"]["what"]
    assert "02_grant_access" in result["error"]["fix"]
    notebook = nbformat.read(tmp_path / "x" / "03_encrypt_workflow.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    (error,) = [o for c in notebook.cells for o in c.get("outputs", ()) if o.output_type == "error"]
    assert len(error.traceback) <= 2
    assert "02_grant_access" in "".join(error.traceback)


def test_missing_credentials(tmp_path: Path) -> None:
    words = ("run", "--target", "aws", "--region", "eu-central-1", "--steps", "00", "--json")
    done = runbook(*words, "--outputs", tmp_path)
    assert done.returncode == 5, done.stdout
    result = json.loads(done.stdout)
    assert result["error"]["type"] == "CredentialsMissing"
    assert statuses(result)[0] == "failed"
    assert "aws sso login" in result["error"]["fix"]


def test_a_missing_region(tmp_path: Path, sandbox: sandboxes.Sandbox) -> None:
    keys = aws_like(sandbox.ready())
    del keys["AWS_DEFAULT_REGION"]
    words = ("run", "--target", "aws", "--steps", "00", "--json", "--outputs", tmp_path)
    done = runbook(*words, **keys)
    assert done.returncode == 2
    assert "--region" in done.stderr
    assert done.stdout == ""


def test_an_endpoint_that_does_not_answer(tmp_path: Path, sandbox: sandboxes.Sandbox) -> None:
    keys = {**aws_like(sandbox.ready()), "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    keys["AWS_MAX_ATTEMPTS"] = "1"
    words = ("run", "--target", "aws", "--steps", "00", "--json", "--outputs", tmp_path)
    done = runbook(*words, **keys)
    assert done.returncode == 5
    error = json.loads(done.stdout)["error"]
    assert error["type"] == "Unreachable"
    assert "http://127.0.0.1:9" in error["what"]


def test_credentials_that_aws_does_not_know(tmp_path: Path, sandbox: sandboxes.Sandbox) -> None:
    keys = {**aws_like(sandbox.ready()), "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"}
    words = ("run", "--target", "aws", "--steps", "00", "--json", "--outputs", tmp_path)
    done = runbook(*words, **keys)
    assert done.returncode == 5
    assert json.loads(done.stdout)["error"]["type"] == "CredentialsMissing"


def test_on_aws_a_step_that_reads_works_and_one_that_changes_waits_for_approval(
    tmp_path: Path, sandbox: sandboxes.Sandbox
) -> None:
    """Here "AWS" is the sandbox behind endpoint variables, and the run says that it is not AWS."""
    keys = aws_like(sandbox.ready())
    words = ("run", "--target", "aws", "--outputs", tmp_path, "--run-id", "x", "--json")
    done = runbook(*words, "--steps", "00", **keys)
    assert done.returncode == 0, done.stdout
    assert f"{keys['AWS_ENDPOINT_URL']}, which is not AWS" in done.stderr
    assert json.loads(done.stdout)["endpoint_url"] == keys["AWS_ENDPOINT_URL"]
    done = runbook(*words, "--steps", "01", "-p", "key_alias", "alias/never", **keys)
    assert done.returncode == 4, done.stdout
    error = json.loads(done.stdout)["error"]
    assert error["type"] == "ApprovalRequired"
    assert "kms:CreateKey" in error["what"]
    assert "Nothing was changed" in error["what"]
    lines = ledger(tmp_path / "x")
    assert not [line for line in lines if line["kind"] == "intent"]


def limited(sandbox: sandboxes.Sandbox, *actions: str) -> dict[str, str]:
    """What points the target aws at a sandbox, as a user who may do `actions` only."""
    iam = sandbox_clients(sandbox.ready())("iam")
    iam.create_user(UserName="limited")
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    iam.put_user_policy(
        UserName="limited",
        PolicyName="limits",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    key = iam.create_access_key(UserName="limited")["AccessKey"]
    return {
        **aws_like(sandbox.ready()),
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }


def test_a_refused_permission_is_named(tmp_path: Path) -> None:
    """Preflight finds it and goes on; a step that needs it fails with AWS's own words."""
    with sandboxes.start_private() as own:
        keys = limited(own, "iam:List*", "imagebuilder:List*")
        words = ("run", "--target", "aws", "--outputs", tmp_path, "--run-id", "x", "--json")
        done = runbook(*words, "--steps", "00", **keys)
        assert done.returncode == 0, done.stdout
        (found,) = [line for line in ledger(tmp_path / "x") if line["kind"] == "findings"]
        failed = {one["statement"] for one in found["findings"] if one["status"] == "fail"}
        assert failed == {"AWS KMS answers the operator", "AWS CloudTrail answers the operator"}
        key = sandbox_clients(own.ready())("kms").create_key()["KeyMetadata"]["Arn"]
        done = runbook(*words, "--steps", "01", "-p", "key_arn", key, **keys)
    assert done.returncode == 5, done.stdout
    error = json.loads(done.stdout)["error"]
    assert error["type"] == "AwsRefused"
    assert "user/limited is not authorized to perform: kms:DescribeKey" in error["what"]
    assert "permission" in error["fix"]


@pytest.mark.parametrize("words", [["run", "--list-parameters"], ["runs"], ["--help"]])
def test_where_nobody_reads_on_it_was_not_done(tmp_path: Path, words: list[str]) -> None:
    """Not with 1, which would be an answer."""
    outputs = ["--outputs", str(tmp_path)] if words == ["runs"] else []
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [str(BIN / "runbook"), *words, *outputs],
            env=environment(),
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (5, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so_and_leaves_nothing_running(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(
        [str(BIN / "runbook"), "run", "--outputs", str(tmp_path), "--run-id", "x"],
        env=environment(OF_THIS_TEST=str(tmp_path)),  # its sandbox and kernel inherit it
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    path = tmp_path / "x" / "result.json"
    deadline = time.monotonic() + 60
    running: dict[str, Any] = {"steps": []}
    while "running" not in statuses(running):  # the first step: the six others are still to come
        assert time.monotonic() < deadline
        time.sleep(0.05)
        running = json.loads(path.read_text()) if path.exists() else running
    there = _processes_of(tmp_path)
    process.send_signal(number)
    assert running["pid"] == process.pid
    assert {name for name in ("awssandbox", "ipykernel") if name in "".join(there)} == {
        "awssandbox",
        "ipykernel",
    }
    out, told = process.communicate(timeout=30)
    assert process.returncode == 130, out + told
    result = json.loads(path.read_text())
    assert result["status"] == "interrupted"
    assert result["exit_status"] == 130
    assert result["verdict"] is None
    assert "failed" in statuses(result) or "not run" in statuses(result)
    assert "Traceback" not in out + told
    assert not _processes_of(tmp_path)


def _processes_of(folder: Path) -> list[str]:
    """Command lines of processes that name a folder, or have it in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            text = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in text and path.name != str(os.getpid()):
            found.append((path / "cmdline").read_bytes().decode())
    return found


def test_limits_are_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command hands to the runner; that the runner keeps to it has tests of its own."""
    handed: dict[str, Any] = {}

    def run(order: Any, progress: Any, *, sandbox: Any, journal: Any) -> RunResult:
        handed.update(cell=order.cell_limit_s, start=order.start_limit_s, own=sandbox.keywords)
        return RunResult("r", "sandbox", "", "done", 1, "", steps=(), exit_status=0)

    monkeypatch.setattr("keyrunbook.execution.runner.run", run)
    limits = {"cell_seconds": 70, "event_wait_seconds": 5, "start_seconds": 9}
    pairs = tuple((name, str(value)) for name, value in limits.items())
    assert _run(pairs, None, {"outputs_dir": str(tmp_path)}, None, as_json=False) == 0
    assert handed == {"cell": 75, "start": 9, "own": {"start_seconds": 9}}


# Help ---------------------------------------------------------------------------------------------


def test_every_command_explains_itself() -> None:
    for words in (["--help"], ["run", "--help"], ["sandbox", "--help"], ["lab", "--help"]):
        done = runbook(*words)
        assert done.returncode == 0
        assert "Exit status" in done.stdout


def test_every_parameter_is_listed() -> None:
    done = runbook("run", "--list-parameters")
    assert done.returncode == 0
    for name, field in Parameters.model_fields.items():
        assert name in done.stdout
        assert str(field.description) in done.stdout


def test_no_command_is_wrong_usage() -> None:
    assert runbook("no-such-command").returncode == 2
