"""The sandbox as a process: its options, what it prints and leaves, and how it ends.

Also what only shows with several clients or several sandboxes: concurrency and determinism.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from awssandbox.clock import Clock
from awssandbox.control import write_hand_off
from botocore.config import Config
from botocore.exceptions import ClientError, SSLError
from served import ACCOUNT, AWS, DOCUMENT, REGION, START, Served

FIELDS = ["endpoint_url", "region", "account", "access_key_id", "secret_access_key", "ca_bundle"]
LIMIT_S = 30


class Process:
    """A sandbox in a process of its own; `ready` is the line that it printed."""

    def __init__(self, *words: str, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "awssandbox", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | (environment or {}),
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()

    @property
    def ready(self) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self.line)
        return fields

    def client(self, service: str, **more: Any) -> Any:
        return client(self.ready, service, **more)

    def ended(self) -> tuple[int, str, str]:
        """Wait for its end; exit status, the rest of stdout, stderr."""
        out, err = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, out, err

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def client(ready: dict[str, Any], service: str, **more: Any) -> Any:
    """A boto3 client by nothing but what a ready line says."""
    return boto3.Session(
        ready["access_key_id"], ready["secret_access_key"], region_name=ready["region"]
    ).client(
        service,
        endpoint_url=ready["endpoint_url"],
        config=Config(retries={"total_max_attempts": 1}),
        **{"verify": ready["ca_bundle"], **more},
    )


def tell(hand_off: Path, *lines: str) -> list[dict[str, Any]]:
    """Send lines to the control socket that a hand-off names; the answers."""
    path = json.loads(hand_off.read_text(encoding="utf-8"))["control"]
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(LIMIT_S)
        channel.connect(path)
        channel.sendall("".join(f"{line}\n" for line in lines).encode())
        with channel.makefile() as answers:
            return [json.loads(answers.readline()) for _ in lines]


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def begin(*words: str, **more: Any) -> Process:
        started.append(Process(*words, **more))
        return started[-1]

    yield begin
    for process in started:
        process.close()


# Options -----------------------------------------------------------------------------------------

WRONG = [
    (["--port", "many"], "--port"),
    (["--port", "65536"], "--port"),
    (["--host", "0.0.0.0"], "--host"),
    (["--host", "192.168.1.1"], "--host"),
    (["--host", "example.com"], "--host"),
    (["--seed", "x"], "--seed"),
    (["--clock", "yesterday"], "--clock"),
    (["--clock", "0001-01-01"], "--clock"),
    (["--event-delay", "-1"], "--event-delay"),
    (["--event-delay", "nan"], "--event-delay"),
    (["--event-delay", "inf"], "--event-delay"),
    (["--account", "12345"], "--account"),
    (["--region", "nowhere"], "--region"),
    (["--region", "xx-nowhere-1"], "--region"),
    (["--region", "us-gov-nowhere-1"], "--region"),
    (["--idle-timeout", "0"], "--idle-timeout"),
    (["--colour", "red"], "--colour"),
]


@pytest.mark.parametrize(("words", "named"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_wrong_options_are_refused_in_one_line(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from awssandbox.__main__ import main

    with pytest.raises(SystemExit) as ended:
        main(words)
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert out == ""
    assert named in err
    assert err.count("\n") == 1


@pytest.mark.e2e
def test_a_port_in_use_cannot_be_had(start: Callable[..., Process]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, out, err = start("--port", port).ended()
    assert (status, out) == (5, "")
    assert port in err
    assert "Give another --port." in err
    assert err.count("\n") == 1


@pytest.mark.e2e
def test_a_hand_off_that_cannot_be_written(start: Callable[..., Process], tmp_path: Path) -> None:
    status, out, err = start("--handoff", str(tmp_path / "none" / "file")).ended()
    assert (status, out) == (5, "")
    assert "--handoff" in err
    assert err.count("\n") == 1


BROKEN = {
    "a profile that does not exist": {"AWS_PROFILE": "nowhere"},
    "a mode that does not exist": {"AWS_DEFAULTS_MODE": "none", "AWS_RETRY_MODE": "none"},
    "a configuration file that is broken": {"AWS_CONFIG_FILE": "config"},
    "a credentials file that is broken": {"AWS_SHARED_CREDENTIALS_FILE": "config"},
}


@pytest.mark.e2e
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_no_configuration_of_this_machine_counts(
    start: Callable[..., Process],
    broken: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Image Builder's own clients, moto's IAM and the start: botocore reads it in all three."""
    (tmp_path / "config").write_text("[default\nnot a setting")
    monkeypatch.chdir(tmp_path)
    served = start(environment=broken)
    assert served.line, served.ended()
    key = served.client("kms").create_key()["KeyMetadata"]["Arn"]
    served.client("imagebuilder").create_workflow(
        name="made-anyway", semanticVersion="1.0.0", type="BUILD", data=DOCUMENT, kmsKeyId=key
    )
    with pytest.raises(ClientError, match="NoSuchEntity"):
        served.client("iam").get_role(RoleName="nobody")


# One process, many questions ---------------------------------------------------------------------


@pytest.mark.e2e
def test_a_sandbox_from_its_ready_line_to_its_end(
    start: Callable[..., Process], tmp_path: Path
) -> None:
    hand_off = tmp_path / "sandbox.json"
    words = ["--account", "222233334444", "--region", "eu-central-1", "--handoff", str(hand_off)]
    served = start(*words, "--clock", "2026-01-31T09:00:00Z", "--event-delay", "300")

    assert list(served.ready) == FIELDS
    assert served.ready["account"] == "222233334444"
    assert served.ready["region"] == "eu-central-1"
    assert served.ready["ca_bundle"] is None
    assert served.ready["endpoint_url"].startswith("http://127.0.0.1:")

    who = served.client("sts").get_caller_identity()
    assert who["Arn"] == "arn:aws:iam::222233334444:user/administrator"
    date = who["ResponseMetadata"]["HTTPHeaders"]["date"]
    assert date.startswith("Sat, 31 Jan 2026 09:00:")

    assert stat.S_IMODE(hand_off.stat().st_mode) == 0o600
    handed = json.loads(hand_off.read_text(encoding="utf-8"))
    assert list(handed) == [*FIELDS, "instance_id", "pid", "control"]
    assert {name: handed[name] for name in FIELDS} == served.ready
    assert handed["pid"] == served.process.pid
    control = Path(handed["control"])
    assert stat.S_IMODE(control.stat().st_mode) == 0o600
    assert stat.S_IMODE(control.parent.stat().st_mode) == 0o700

    (status,) = tell(hand_off, '{"command": "status"}')
    assert status.pop("time").startswith("2026-01-31T09:00:")
    assert "secret_access_key" not in status
    assert status["instance_id"] == handed["instance_id"]

    trail = served.client("cloudtrail")
    assert trail.lookup_events()["Events"] == []
    (advanced,) = tell(hand_off, '{"command": "advance", "seconds": 600}')
    assert advanced["time"].startswith("2026-01-31T09:10:")
    assert [each["EventName"] for each in trail.lookup_events()["Events"]] == [
        "LookupEvents",
        "GetCallerIdentity",
    ]

    nonsense = [
        '{"command": "advance", "seconds": -1}',
        '{"command": "advance", "seconds": "1h"}',
        '{"command": "advance", "seconds": true}',
        '{"command": "advance", "seconds": NaN}',
        '{"command": "advance", "seconds": 1e300}',
        '{"command": "advance", "seconds": 1e12}',
        '{"command": "advance"}',
        '{"command": "faults"}',
        '{"command": "faults", "rules": [{"service": "kms"}]}',
        '{"command": "reset"}',
        '{"command": []}',
        "[]",
        "nonsense",
    ]
    assert all(list(answer) == ["error"] for answer in tell(hand_off, *nonsense))
    (status,) = tell(hand_off, '{"command": "status"}')
    assert status["time"].startswith("2026-01-31T09:10:"), "nonsense moves no clock"

    fresh = tell(hand_off, *['{"command": "new-account"}'] * 2)
    assert [list(one) for one in fresh] == [FIELDS, FIELDS]
    assert len({served.ready["account"], *(one["account"] for one in fresh)}) == 3
    for one in fresh:
        who = client(one, "sts").get_caller_identity()
        assert who["Arn"] == f"arn:aws:iam::{one['account']}:user/administrator"
        assert client(one, "kms").create_key()["KeyMetadata"]["AWSAccountId"] == one["account"]
        assert len(client(one, "kms").list_keys()["Keys"]) == 1

    rule = {"service": "kms", "operation": "ListKeys", "fault": "server_error", "times": "always"}
    kms = client(fresh[0], "kms")
    (taken,) = tell(hand_off, json.dumps({"command": "faults", "rules": [rule]}))
    assert taken == {"rules": 1, "matched_before": []}
    with pytest.raises(ClientError, match="InternalFailure"):
        kms.list_keys()
    (taken,) = tell(hand_off, '{"command": "faults", "rules": []}')
    assert taken["rules"] == 0
    assert taken["matched_before"][0] >= 1
    assert len(kms.list_keys()["Keys"]) == 1

    (stopped,) = tell(hand_off, '{"command": "stop"}')
    assert stopped == {"stopped": handed["instance_id"], "pid": served.process.pid}
    assert served.ended() == (0, "", "")
    assert not hand_off.exists()
    assert not control.parent.exists()


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_its_files(
    start: Callable[..., Process], tmp_path: Path, number: signal.Signals
) -> None:
    hand_off = tmp_path / "sandbox.json"
    served = start("--handoff", str(hand_off))
    folder = Path(json.loads(hand_off.read_text(encoding="utf-8"))["control"]).parent
    served.client("sts").get_caller_identity()
    served.process.send_signal(number)
    assert served.ended() == (130, "", "")
    assert not hand_off.exists()
    assert not folder.exists()


@pytest.mark.e2e
def test_it_ends_with_its_stdin_only_where_asked(start: Callable[..., Process]) -> None:
    bound, free = start("--until-stdin-closes"), start()
    for served in (bound, free):
        assert served.process.stdin is not None
        served.process.stdin.close()
        served.process.stdin = None
    assert bound.ended() == (0, "", "")
    assert free.client("sts").get_caller_identity()["Account"] == ACCOUNT


@pytest.mark.e2e
def test_it_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    """SIGKILL leaves the starter no time to tell: the pipe's end does."""
    hand_off = tmp_path / "sandbox.json"
    code = (
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-m', 'awssandbox', '--until-stdin-closes', "
        f"'--handoff', {str(hand_off)!r}], stdin=subprocess.PIPE, start_new_session=True)\n"
        "time.sleep(600)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert starter.stdout is not None
        assert json.loads(starter.stdout.readline())["endpoint_url"]
        starter.kill()
        assert until(lambda: not hand_off.exists())
    finally:
        starter.kill()
        starter.communicate()


def until(true: Callable[[], bool]) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.e2e
def test_it_ends_when_nobody_uses_it(start: Callable[..., Process]) -> None:
    begun = time.monotonic()
    assert start("--idle-timeout", "1.5").ended() == (0, "", "")
    assert time.monotonic() - begun > 1.5


@pytest.mark.e2e
def test_a_second_start_takes_the_hand_off_and_keeps_it(
    start: Callable[..., Process], tmp_path: Path
) -> None:
    hand_off = tmp_path / "sandbox.json"
    first, second = (start("--handoff", str(hand_off)) for _ in range(2))
    assert json.loads(hand_off.read_text(encoding="utf-8"))["pid"] == second.process.pid
    first.process.terminate()
    assert first.ended()[0] == 130
    assert json.loads(hand_off.read_text(encoding="utf-8"))["pid"] == second.process.pid
    second.process.terminate()
    assert second.ended()[0] == 130
    assert not hand_off.exists()


@pytest.mark.e2e
def test_folders_of_killed_sandboxes_are_removed_at_the_next_start(
    start: Callable[..., Process], tmp_path: Path
) -> None:
    """Not those of running ones, of ones that just start, nor what only looks like one."""
    here = {"TMPDIR": str(tmp_path)}
    killed = start(environment=here)
    killed.process.kill()
    killed.ended()
    (left,) = tmp_path.iterdir()
    running = start(environment=here)
    assert not left.exists()
    (there,) = tmp_path.iterdir()
    starting, failed = tmp_path / "awssandbox-starting", tmp_path / "awssandbox-failed"
    for folder in (starting, failed):
        folder.mkdir()
    os.utime(failed, (0, 0))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.utime(elsewhere, (0, 0))
    (tmp_path / "awssandbox-link").symlink_to(elsewhere)
    (tmp_path / "awssandbox-file").write_text("")
    last = start(environment=here)
    last.process.terminate()
    last.ended()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [there.name, starting.name, "elsewhere", "awssandbox-link", "awssandbox-file"]
    )
    assert running.client("sts").get_caller_identity()["Account"] == ACCOUNT


@pytest.mark.e2e
def test_it_starts_without_docstrings(start: Callable[..., Process]) -> None:
    assert start(environment={"PYTHONOPTIMIZE": "2"}).ready["account"] == ACCOUNT


def test_a_hand_off_is_never_half_written_nor_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.json"
    path.write_text("what was there before")
    path.chmod(0o644)
    write_hand_off(path, {"secret": "x"})
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ('{"secret": "x"}', 0o600)
    with pytest.raises(TypeError):
        write_hand_off(path, {"secret": object()})
    assert path.read_text() == '{"secret": "x"}'
    assert os.listdir(tmp_path) == ["sandbox.json"]


@pytest.mark.e2e
def test_where_no_control_socket_can_be_had(start: Callable[..., Process], tmp_path: Path) -> None:
    """A Unix socket's path has at most about 100 characters."""
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    status, out, err = start(environment={"TMPDIR": str(deep)}).ended()
    assert (status, out) == (5, "")
    assert "TMPDIR" in err
    assert err.count("\n") == 1


# TLS ---------------------------------------------------------------------------------------------


def handshake(ready: dict[str, Any], version: ssl.TLSVersion) -> str | None:
    """The TLS version agreed on with a client that speaks this one alone."""
    context = ssl.create_default_context(cafile=ready["ca_bundle"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    host, port = ready["endpoint_url"].removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port)), timeout=LIMIT_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        return secure.version()


@pytest.mark.e2e
def test_tls(start: Callable[..., Process]) -> None:
    served = start("--tls")
    assert list(served.ready) == FIELDS
    assert served.ready["endpoint_url"].startswith("https://127.0.0.1:")
    assert Path(served.ready["ca_bundle"]).is_file()
    assert served.client("sts").get_caller_identity()["Account"] == ACCOUNT
    with pytest.raises(SSLError):
        served.client("sts", verify=None).get_caller_identity()
    assert handshake(served.ready, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert handshake(served.ready, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        handshake(served.ready, ssl.TLSVersion.TLSv1_1)
    if AWS is not None:
        who = cli(served.ready, "sts", "get-caller-identity")
        assert json.loads(who.stdout)["Account"] == ACCOUNT
        unknown = cli({**served.ready, "ca_bundle": None}, "sts", "get-caller-identity")
        assert unknown.returncode != 0
        assert "SSL validation failed" in unknown.stderr
    os.kill(served.process.pid, signal.SIGTERM)
    assert served.ended()[0] == 130
    assert not Path(served.ready["ca_bundle"]).exists()


# The aws command ---------------------------------------------------------------------------------


def cli(ready: dict[str, Any], *words: str) -> subprocess.CompletedProcess[str]:
    """`aws --endpoint-url … words`, with the credentials of a ready line."""
    environment = {
        "AWS_ACCESS_KEY_ID": ready["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": ready["secret_access_key"],
        "AWS_DEFAULT_REGION": ready["region"],
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_PAGER": "",
    }
    if ready["ca_bundle"] is not None:
        environment["AWS_CA_BUNDLE"] = ready["ca_bundle"]
    assert AWS is not None
    return subprocess.run(
        [*AWS, "--endpoint-url", ready["endpoint_url"], "--output", "json", *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S * 2,
        check=False,
    )


@pytest.mark.e2e
@pytest.mark.skipif(AWS is None, reason="there is no aws command on PATH")
def test_the_aws_command_walks_the_path(start: Callable[..., Process], tmp_path: Path) -> None:
    """Key, policy, workflow, look-up; then the policy's Deny, and the refusal."""
    ready = start().ready

    def aws(*words: str) -> Any:
        done = cli(ready, *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout else None

    key = aws("kms", "create-key", "--description", "workflows")["KeyMetadata"]["Arn"]
    aws("kms", "create-alias", "--alias-name", "alias/workflows", "--target-key-id", key)
    alias = f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/workflows"
    root = {
        "Sid": "Allow access for key administrators",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    policy = tmp_path / "policy.json"

    def put(*statements: Any) -> None:
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        policy.write_text(json.dumps(document))
        aws("kms", "put-key-policy", "--key-id", key, "--policy", f"file://{policy}")

    put(root)
    document = tmp_path / "workflow.yaml"
    document.write_text(DOCUMENT)
    made = aws(
        *("imagebuilder", "create-workflow", "--name", "by-cli", "--semantic-version", "1.0.0"),
        *("--type", "BUILD", "--kms-key-id", alias, "--data", f"file://{document}"),
    )["workflowBuildVersionArn"]
    get = ("imagebuilder", "get-workflow", "--workflow-build-version-arn", made)
    assert aws(*get)["workflow"]["kmsKeyId"] == alias
    attribute = "AttributeKey=EventName,AttributeValue=Decrypt"
    events = aws("cloudtrail", "lookup-events", "--lookup-attributes", attribute)["Events"]
    (record,) = [json.loads(event["CloudTrailEvent"]) for event in events]
    assert record["resources"][0]["ARN"] == key
    assert record["userIdentity"]["invokedBy"] == "imagebuilder.amazonaws.com"
    put(root, {**root, "Sid": "no", "Effect": "Deny", "Action": "kms:Decrypt"})
    refused = cli(ready, *get)
    assert refused.returncode in (254, 255), "of version 2, of version 1"
    assert "(ForbiddenException)" in refused.stderr
    assert "explicit deny in a resource-based policy" in refused.stderr


# The runbook command -----------------------------------------------------------------------------


@pytest.mark.e2e
def test_runbook_sandbox(tmp_path: Path) -> None:
    command = str(Path(sys.executable).with_name("runbook"))
    environment = os.environ | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def runbook(*words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [command, "sandbox", *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S * 2,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    for words in (("--status",), ("--stop",), ("--advance", "15m"), ("--new-account",)):
        status, out, err = runbook(*words)
        assert (status, out) == (5, "")
        assert "No sandbox is running." in err
    assert runbook("--advance", "soon")[0] == 2
    status, _, err = runbook("--host", "0.0.0.0")
    assert (status, err[:24]) == (2, "runbook sandbox: --host:"), "as its user typed it"

    words = [command, "sandbox", "--port", "0", "--seed", "1", "--clock", "2026-01-31T09:00:00Z"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    two = [subprocess.Popen(words, env=environment, **pipes) for _ in range(2)]
    try:
        lines = [one.stdout.readline() for one in two if one.stdout is not None]
        served, late = two if lines[0] else reversed(two)
        _, err = late.communicate(timeout=LIMIT_S)
        assert late.returncode == 5
        assert "running already" in err
        ready = json.loads("".join(lines))
        assert list(ready) == FIELDS
        status, out, _ = runbook("--status")
        assert (status, json.loads(out)["endpoint_url"]) == (0, ready["endpoint_url"])
        assert json.loads(out)["pid"] == served.pid
        status, out, _ = runbook("--advance", "1h30m")
        assert (status, json.loads(out)["time"][:13]) == (0, "2026-01-31T10")
        assert runbook("--advance", "999999d")[0] == 2
        status, out, _ = runbook("--new-account")
        assert (status, list(json.loads(out))) == (0, FIELDS)
        status, _, err = runbook()
        assert status == 5
        assert "running already" in err
        assert runbook("--stop")[0] == 0
        assert served.wait(timeout=LIMIT_S) == 0
        assert runbook("--status")[0] == 5
    finally:
        for one in two:
            one.kill()
            one.communicate()


# Concurrency and determinism ---------------------------------------------------------------------


@pytest.mark.e2e
def test_sixteen_clients_at_once_neither_block_nor_mix_up_callers(sandbox: Served) -> None:
    """More clients than the server has threads; each call makes another inside it."""
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    key = sandbox.client("kms").create_key()["KeyMetadata"]["Arn"]
    names = [f"user-{number:02}" for number in range(16)]
    clients = {
        name: sandbox.client("imagebuilder", sandbox.user(name, everything)) for name in names
    }

    def work(name: str) -> str:
        for version in ("1.0.0", "1.0.1"):
            text = f"{DOCUMENT}# {name} {version}\n"
            arn = clients[name].create_workflow(
                name=name, semanticVersion=version, type="BUILD", data=text, kmsKeyId=key
            )["workflowBuildVersionArn"]
            read = clients[name].get_workflow(workflowBuildVersionArn=arn)["workflow"]
            assert (read["arn"], read["data"]) == (arn, text)
        return name

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, names, timeout=60)) == names
    for event in ("GenerateDataKey", "Decrypt"):
        records = sandbox.records(event)
        assert len(records) == 32
        for record in records:
            context = record["requestParameters"]["encryptionContext"]["aws:imagebuilder:arn"]
            assert context.split("/")[2] == record["userIdentity"]["userName"]


def walk(sandbox: Served, polls: int) -> list[str]:
    """A walk over all services; every identifier that it was given."""

    account = {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    poller = sandbox.role("Poller", {"Effect": "Allow", **account})

    def poll() -> None:
        for _ in range(polls):
            sandbox.assume(poller)
            sandbox.client("kms").list_keys()
            sandbox.client("imagebuilder").list_workflows()
            with pytest.raises(ClientError):
                sandbox.client("iam").get_role(RoleName="Nobody")

    kms, builder = sandbox.client("kms"), sandbox.client("imagebuilder")
    poll()
    keys = [kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2)]
    poll()
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "imagebuilder.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    use = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}
    role = sandbox.role("Execution", trust, use)
    user = sandbox.user("learner", use)
    grant = kms.create_grant(KeyId=keys[0], GranteePrincipal=role, Operations=["Decrypt"])
    poll()
    workflow = builder.create_workflow(
        name="example", semanticVersion="1.0.0", type="BUILD", data=DOCUMENT, kmsKeyId=keys[0]
    )["workflowBuildVersionArn"]
    poll()
    kms.disable_key(KeyId=keys[0])
    arn = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}"
    image = builder.create_image(
        imageRecipeArn=f"{arn}:image-recipe/web/1.0.0",
        infrastructureConfigurationArn=f"{arn}:infrastructure-configuration/web",
        workflows=[{"workflowArn": workflow}],
        executionRole=role,
    )["imageBuildVersionArn"]
    state = builder.get_image(imageBuildVersionArn=image)["image"]["state"]
    role_id = sandbox.client("iam").get_role(RoleName="Execution")["Role"]["RoleId"]
    return [
        *sandbox.administrator[:2],
        *keys,
        role_id,
        *user[:2],
        grant["GrantId"],
        workflow,
        state["failureContext"]["workflowExecutionId"],
    ]


def test_the_same_seed_and_calls_give_the_same_ids_however_much_one_polls(
    sandboxes: Callable[..., Served],
) -> None:
    once, often, other = (sandboxes(seed=seed) for seed in (7, 7, 8))
    ids = walk(once, polls=0)
    assert walk(often, polls=2) == ids
    assert len(set(ids)) == len(ids)
    different = walk(other, polls=0)
    assert [a for a, b in zip(ids, different, strict=True) if a == b] == [
        f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:workflow/build/example/1.0.0/1"
    ]


@pytest.mark.e2e
def test_seed_and_clock_on_the_command_line(start: Callable[..., Process]) -> None:
    words = ("--seed", "7", "--clock", "2031-01-31T10:00:00+01:00")

    def ids(served: Process, year: int) -> tuple[str, str, str]:
        key = served.client("kms").create_key()["KeyMetadata"]
        assert key["CreationDate"].year == year
        ready = served.ready
        return ready["access_key_id"], ready["secret_access_key"], key["KeyId"]

    once, again = (ids(start(*words), 2031) for _ in range(2))
    assert once == again
    assert not set(once) & set(ids(start(), datetime.now(UTC).year))


# The clock ---------------------------------------------------------------------------------------


def test_the_clock_starts_where_told_runs_and_moves_forward_only() -> None:
    clock = Clock(START)
    first = clock.now()
    assert START <= first < START + timedelta(seconds=5)
    assert clock.advance(timedelta(days=90)) >= first + timedelta(days=90)
    assert clock.now() >= first + timedelta(days=90)
    for by in (timedelta(seconds=-1), timedelta(days=900_000_000)):
        with pytest.raises(ValueError, match="the clock"):
            clock.advance(by)
    assert clock.now() < START + timedelta(days=91)
    assert abs(Clock().now() - datetime.now(UTC)) < timedelta(seconds=5)
    for wrong in (datetime(2026, 1, 1), datetime(1970, 1, 1, tzinfo=UTC)):
        with pytest.raises(ValueError, match="the clock"):
            Clock(wrong)
