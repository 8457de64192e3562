"""Opening a run: which one, on what, as whom; and that a sandbox run reaches nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from jobs import Job, module_of
from keyrunbook.errors import (
    ApprovalRequired,
    LedgerDamaged,
    ParameterError,
    SandboxGone,
    StepMissing,
)
from keyrunbook.parameters import Parameters
from keyrunbook.proof import Span
from keyrunbook.sandboxes import HANDED_OVER, Handoff, Sandbox, start_private
from keyrunbook.session import Run, open_step
from keyrunbook.show.tables import run_banner
from keyrunbook.steps import STEPS
from keyrunbook.steps.events import history

pytestmark = pytest.mark.e2e


def opened(step: str, outputs: Path, **given: Any) -> Run:
    return open_step(step, Parameters(outputs_dir=str(outputs), **given))


def test_notebooks_opened_one_after_another_share_a_run(
    on_sandbox: Sandbox, tmp_path: Path
) -> None:
    first = opened("00_preflight", tmp_path)
    assert opened("01_create_key", tmp_path).run_id == first.run_id


@pytest.mark.parametrize("step", ["00_preflight", "02_grant_access", "04_confirm_events"])
def test_a_finished_run_is_opened_for_its_last_step_only(
    on_sandbox: Sandbox, tmp_path: Path, step: str
) -> None:
    """Else 02 would change the policy of a key that is pending deletion."""
    first = opened("01_create_key", tmp_path, run_id="r")
    for name in STEPS:
        first.ledger.append("done", step=name, time="")
    with pytest.raises(StepMissing, match=f"'r' is finished: 06_clean_up .* so {step} has nothing"):
        opened(step, tmp_path, run_id="r")
    assert opened("06_clean_up", tmp_path, run_id="r").run_id == "r"


def test_a_damaged_ledger_is_in_the_way_only_of_those_who_go_on(
    on_sandbox: Sandbox, tmp_path: Path
) -> None:
    first = opened("01_create_key", tmp_path)
    first.ledger.path.write_text("{}\n")
    with pytest.raises(LedgerDamaged, match="line 1, is damaged"):
        opened("02_grant_access", tmp_path)
    with pytest.raises(LedgerDamaged):
        opened("01_create_key", tmp_path, run_id=first.run_id)
    with pytest.warns(UserWarning, match=r"line 1, is damaged.* A new run begins\."):
        assert opened("01_create_key", tmp_path).run_id != first.run_id


def test_a_run_that_came_to_its_end_is_not_the_current_one(
    on_sandbox: Sandbox, tmp_path: Path
) -> None:
    first = opened("00_preflight", tmp_path)
    first.ledger.append("done", step="06_clean_up", time="")
    assert opened("00_preflight", tmp_path).run_id != first.run_id


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "There is no unfinished run in"),
        ({"run_id": "other"}, "The run 'other' has not begun"),
    ],
)
def test_a_step_before_its_turn(
    on_sandbox: Sandbox, tmp_path: Path, given: dict[str, str], told: str
) -> None:
    with pytest.raises(StepMissing, match=told) as caught:
        opened("02_grant_access", tmp_path, **given)
    assert "01_create_key" in caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_a_step_whose_prerequisite_was_not_run(on_sandbox: Sandbox, tmp_path: Path) -> None:
    opened("00_preflight", tmp_path, run_id="r")
    with pytest.raises(StepMissing, match="needs 02_grant_access, which has not come to its end"):
        opened("03_encrypt_workflow", tmp_path, run_id="r")


def test_a_run_whose_sandbox_is_gone(
    on_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so where it is asked for, and where a new run can begin it is left alone."""
    first = opened("01_create_key", tmp_path)
    with start_private() as other:
        other.ready()
        monkeypatch.setenv(HANDED_OVER, str(other.path))
        with pytest.raises(SandboxGone, match=f"of the run '{first.run_id}' is gone"):
            opened("01_create_key", tmp_path, run_id=first.run_id)
        with pytest.raises(SandboxGone):
            opened("02_grant_access", tmp_path)
        assert opened("01_create_key", tmp_path).run_id != first.run_id


def test_a_run_keeps_to_its_region(on_sandbox: Sandbox, tmp_path: Path) -> None:
    first = opened("00_preflight", tmp_path, run_id="r", region="eu-west-1")
    assert first.region == opened("01_create_key", tmp_path, run_id="r").region == "eu-west-1"
    with pytest.raises(ParameterError, match="began with region eu-west-1; this is us-east-1"):
        opened("01_create_key", tmp_path, run_id="r", region="us-east-1")


def test_a_profile_means_nothing_on_the_sandbox(on_sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="has no meaning on the sandbox"):
        opened("00_preflight", tmp_path, profile="p")
    assert list(tmp_path.iterdir()) == []


def test_the_service_s_time_is_the_run_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with start_private("--clock", "2031-05-04T03:02:01Z") as sandbox:
        sandbox.ready()
        monkeypatch.setenv(HANDED_OVER, str(sandbox.path))
        run = opened("00_preflight", tmp_path)
        assert run.ledger.entries()[0]["time"].startswith("2031-05-04T03:02:")
        times = [run.now() for _ in range(20) if run.clients("kms").list_keys(Limit=1)]
        assert times == sorted(times)


def test_how_often_a_search_asks_is_a_parameter(on_sandbox: Sandbox, tmp_path: Path) -> None:
    run = opened("00_preflight", tmp_path, lookup_calls=1)
    spans = [Span("EventName", name, run.now(), run.now()) for name in ("Decrypt", "Encrypt")]
    found = history(run).search(spans)
    assert found.searched.incomplete == tuple(spans)
    assert "its cap of 1 calls" in found.searched.why_incomplete


# AWS


@pytest.fixture
def on_aws(on_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Handoff:
    """The target aws, which endpoint variables send to a sandbox."""
    handoff = on_sandbox.ready()
    monkeypatch.setenv("AWS_ENDPOINT_URL", handoff.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", handoff.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", handoff.secret_access_key)
    return handoff


def test_on_aws_nothing_is_changed_without_approval(
    on_aws: Handoff, new_job: Callable[..., Job]
) -> None:
    job = new_job(target="aws", region="us-west-2")
    job.do("00")
    run, step = job.open("01"), module_of("01")
    plan = step.plan(step.observe(run), run.parameters)
    with pytest.raises(ApprovalRequired, match="kms:CreateKey") as caught:
        step.apply(run, plan)
    assert caught.value.exit_status == 4
    assert run.ledger.of_kind("intent") == []
    assert step.observe(run).key is None


def test_an_endpoint_that_is_not_aws_s_is_named(
    on_aws: Handoff, new_job: Callable[..., Job]
) -> None:
    run = new_job(target="aws", region="us-west-2").open("00")
    assert run_banner(run).note.startswith("NOT AWS")
    assert run.ledger.entries()[0]["is_aws"] is False


def test_another_target_than_the_run_s(on_aws: Handoff, new_job: Callable[..., Job]) -> None:
    job = new_job()
    job.open("00")
    with pytest.raises(ParameterError, match="began with target sandbox; this is aws"):
        job.open("01", target="aws", region="us-west-2")


# Nothing leaves the machine

CHILD = """
import json, sys
connected = []
def hook(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        connected.append(arguments[1])
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        connected.append(arguments[0])
sys.addaudithook(hook)
from jobs import DOCUMENT, Job
from pathlib import Path
job = Job(Path(sys.argv[1]), "net", workflow_uri="s3://net-documents/folder/build.yaml")
job.do("00")
clients = job.open("00").clients
where = {"LocationConstraint": clients.region}
clients("s3").create_bucket(Bucket="net-documents", CreateBucketConfiguration=where)
clients("s3").put_object(Bucket="net-documents", Key="folder/build.yaml", Body=DOCUMENT.encode())
run = job.through("04")
job.do("06")
print(json.dumps({
    "connected": connected,
    "verdict": run.ledger.of_kind("verdict")[-1]["verdict"],
}))
"""

HOSTILE = {
    "AWS_PROFILE": "production",
    "AWS_ENDPOINT_URL": "http://203.0.113.1:1",
    "AWS_ENDPOINT_URL_KMS": "http://203.0.113.2:1",
    "AWS_ENDPOINT_URL_CLOUDTRAIL": "http://203.0.113.3:1",
    "AWS_ENDPOINT_URL_S3": "http://203.0.113.6:1",
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "not a secret",
    "AWS_SESSION_TOKEN": "token",
    "AWS_REGION": "ap-southeast-2",
    "AWS_DEFAULT_REGION": "ap-southeast-2",
    "AWS_CA_BUNDLE": "/nonexistent",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "HTTP_PROXY": "http://203.0.113.4:1",
    "HTTPS_PROXY": "http://203.0.113.4:1",
    "http_proxy": "http://203.0.113.4:1",
    "https_proxy": "http://203.0.113.4:1",
    "NO_PROXY": "",
    "no_proxy": "",
}


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_nothing_leaves_the_machine_whatever_the_environment_holds(
    tmp_path: Path, tls: bool
) -> None:
    """Every connection of a whole run, look-ups of names included, is to the sandbox's address."""
    config = tmp_path / "config"
    config.write_text(
        "[profile production]\nregion = eu-west-3\nendpoint_url = http://203.0.113.5:1\n"
    )
    with start_private(*(["--tls"] if tls else [])) as sandbox:
        handoff = sandbox.ready()
        where = urlsplit(handoff.endpoint_url)
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(tmp_path)],
            env={
                **os.environ,
                **HOSTILE,
                **sandbox.environment(),
                "AWS_CONFIG_FILE": str(config),
                "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        told = json.loads(done.stdout)
    assert told["verdict"] == "PROVED"
    places = {tuple(one) if isinstance(one, list) else one for one in told["connected"]}
    assert places == {(where.hostname, where.port), where.hostname, handoff.control}
