"""Every way out of a run: exit status, result.json and ledger agree with what AWS holds.

Real `runbook run` processes on a sandbox that outlives them, each in an account of its own. A call
is caught in flight by a fault: AWS has served it, and its answer is late (docs/faults.md).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from keyrunbook import sandboxes
from keyrunbook.aws.clients import Clients, sandbox_clients
from keyrunbook.ledger import DONE, NAME, Ledger
from keyrunbook.sandboxes import HANDED_OVER, Handoff, Sandbox
from test_command import BIN, aws_like, environment

pytestmark = pytest.mark.e2e

LIMIT_S = 120.0
IN_FLIGHT_S = 15
"""How late an answer is whose call is to be caught."""


class Place:
    """A fresh account of a sandbox, a folder for one run, and the `runbook` command there."""

    def __init__(self, there: Handoff, folder: Path) -> None:
        new = sandboxes.command(there, "new-account")
        names = ("account", "access_key_id", "secret_access_key")
        self.handoff = replace(there, **{name: new[name] for name in names})
        self.folder = folder
        self.hand_over(self.handoff)
        (folder / "tmp").mkdir()

    def hand_over(self, handoff: Handoff) -> None:
        """Have the command use these credentials."""
        path = self.folder / "sandbox.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({name: getattr(handoff, name) for name in handoff.__slots__}))

    @property
    def aws(self) -> Clients:
        """The account's administrator."""
        return sandbox_clients(self.handoff)

    @property
    def run_folder(self) -> Path:
        return self.folder / "outputs" / "x"

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.run_folder / NAME)

    @property
    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run_folder / "result.json").read_text())
        return found

    def faults(self, *rules: Mapping[str, Any]) -> None:
        sandboxes.command(self.handoff, "faults", rules=rules)

    def begin(self, *words: str, **more: str) -> subprocess.Popen[str]:
        """Start a command; whatever it starts inherits its environment, and is found by it."""
        ours = {HANDED_OVER: str(self.folder / "sandbox.json"), "TMPDIR": str(self.folder / "tmp")}
        return subprocess.Popen(
            [str(BIN / "runbook"), *words, "--outputs", str(self.folder / "outputs")],
            env=environment(**{**ours, **more}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def do(self, *words: str, **more: str) -> tuple[int, str]:
        """The exit status of a command, and what it said."""
        return end(self.begin(*words, **more))

    def run(self, *words: str, **more: str) -> tuple[int, str]:
        return self.do("run", "--run-id", "x", *words, **more)

    def caught(self, call: str, *words: str) -> subprocess.Popen[str]:
        """A run whose `call` AWS has served, and that waits for the answer."""
        service, _, operation = call.partition(":")
        late = {"service": service, "operation": operation, "fault": "timeout"}
        self.faults({**late, "seconds": IN_FLIGHT_S})
        process = self.begin("run", "--run-id", "x", *words)
        deadline = time.monotonic() + LIMIT_S
        while not (self._sent(call) and self._served(service, operation)):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05 if not self._sent(call) else 0.6)  # LookupEvents: two calls a second
        self.faults()
        return process

    def _sent(self, call: str) -> bool:
        """Whether the ledger has the intent of the call."""
        there = self.ledger.path
        return there.exists() and f'"call": "{call}"' in there.read_text()

    def _served(self, service: str, operation: str) -> bool:
        """Whether CloudTrail has a record of the operation."""
        region = "us-east-1" if service == "iam" else None
        by_name = {"AttributeKey": "EventName", "AttributeValue": operation}
        found = self.aws("cloudtrail", region).lookup_events(LookupAttributes=[by_name])
        return bool(found["Events"])

    def left(self) -> list[str]:
        """Command lines of processes that the command has left, and folders of sandboxes."""
        mark = f"TMPDIR={self.folder / 'tmp'}".encode()
        shared = f"keyrunbook-{os.getuid()}"  # what LookupEvents' pace is kept in, by all runs
        folders = (self.folder / "tmp").glob("keyrunbook-*")
        found = [str(path) for path in folders if path.name != shared]
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (path / "environ").read_bytes():
                    found.append((path / "cmdline").read_bytes().decode())
            except OSError:
                continue
        return found


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=LIMIT_S)
    return process.returncode, said


@pytest.fixture(scope="module")
def host() -> Iterator[Sandbox]:
    with sandboxes.start_private("--event-delay", "0") as started:
        started.ready()
        yield started


@pytest.fixture
def place(host: Sandbox, tmp_path: Path) -> Iterator[Place]:
    there = host.ready()
    yield Place(there, tmp_path)
    sandboxes.command(there, "faults", rules=[])


# What AWS holds, and what the ledger says that it holds

KINDS: Mapping[str, tuple[str, str, bool]] = {
    "kms:CreateKey": ("keys", "key_arn", True),
    "kms:ScheduleKeyDeletion": ("keys", "KeyId", False),
    "kms:CreateAlias": ("aliases", "AliasName", True),
    "kms:DeleteAlias": ("aliases", "AliasName", False),
    "iam:CreateRole": ("roles", "RoleName", True),
    "iam:DeleteRole": ("roles", "RoleName", False),
    "iam:PutRolePolicy": ("role policies", "PolicyName", True),
    "iam:DeleteRolePolicy": ("role policies", "PolicyName", False),
    "imagebuilder:CreateWorkflow": ("workflows", "workflow_arn", True),
    "imagebuilder:DeleteWorkflow": ("workflows", "workflowBuildVersionArn", False),
}
"""What a call makes or removes, by the name in the call or its answer that tells which."""


def by_the_ledger(ledger: Ledger) -> dict[str, set[str]]:
    """What the run has made and not removed. A key that is scheduled to be deleted counts as so."""
    held: dict[str, set[str]] = {kind: set() for kind, _, _ in KINDS.values()}
    for intent, outcome in ledger.served():
        if intent["call"] in KINDS:
            kind, name, made = KINDS[intent["call"]]
            which = {**intent["parameters"], **outcome["gives"]}[name]
            (held[kind].add if made else held[kind].discard)(which)
    return held


def by_aws(aws: Clients) -> dict[str, set[str]]:
    """What the account holds."""
    kms, iam, builder = aws("kms"), aws("iam"), aws("imagebuilder")
    keys = [kms.describe_key(KeyId=one["KeyId"])["KeyMetadata"] for one in kms.list_keys()["Keys"]]
    roles = {one["RoleName"] for one in iam.list_roles()["Roles"]}
    versions = builder.list_workflows(owner="Self")["workflowVersionList"]
    return {
        "keys": {key["Arn"] for key in keys if key["KeyState"] == "Enabled"},
        "aliases": {one["AliasName"] for one in kms.list_aliases()["Aliases"]},
        "roles": roles,
        "role policies": {
            name for role in roles for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
        },
        "workflows": {
            one["arn"]
            for version in versions
            for one in builder.list_workflow_build_versions(workflowVersionArn=version["arn"])[
                "workflowSummaryList"
            ]
        },
    }


def disagreements(
    place: Place, status: int | None, others: Mapping[str, set[str]]
) -> Iterator[str]:
    """Where exit status, result.json, the ledger and AWS say different things.

    `others` is what the account holds of somebody else's.
    """
    result, ledger = place.result, place.ledger
    if result["exit_status"] != status:
        yield f"exit status {status}, result.json {result['exit_status']}"
    known, verdicts = ledger.facts(), ledger.of_kind("verdict")
    verdict = verdicts[-1]["verdict"] if verdicts else None
    for name, value in {
        "key_arn": known.get("key_arn"),
        "workflow_arn": known.get("workflow_arn"),
        "verdict": verdict,
    }.items():
        behind = result["status"] == "running" and result[name] is None  # nobody wrote it any more
        if result[name] != value and not behind:
            yield f"{name}: result.json {result[name]}, ledger {value}"
    done = {one["name"] for one in result["steps"] if one["status"] == "done"}
    if done != ledger.done():
        yield f"done: result.json {done}, ledger {ledger.done()}"
    unknown = {KINDS[one["call"]][0] for one in ledger.unsettled() if one["call"] in KINDS}
    said, held = by_the_ledger(ledger), by_aws(place.aws)
    for kind in said:
        difference = said[kind] ^ (held[kind] - others.get(kind, set()))
        if len(difference) > (kind in unknown):  # what one call may have made, or removed
            yield f"{kind}: by the ledger {said[kind]}, in AWS {held[kind]}"
    policies = [i for i, _ in ledger.served() if i["call"] == "kms:PutKeyPolicy"]
    if policies and said["keys"] and not place.ledger.unsettled():
        (key,) = said["keys"]
        now = json.loads(place.aws("kms").get_key_policy(KeyId=key)["Policy"])
        if now != json.loads(policies[-1]["parameters"]["Policy"]):
            yield f"the key's policy is another than the last that was sent: {now}"


def check(
    place: Place,
    ended: tuple[int, str],
    status: int,
    how: str,
    error: str | None = None,
    **others: set[str],
) -> None:
    """The run ended with this status, so, by this error; all agree, and nothing is left running."""
    assert ended[0] == status, ended[1]
    assert "Traceback" not in ended[1]
    assert place.result["status"] == how
    assert (place.result["error"] or {"type": None})["type"] == error
    assert list(disagreements(place, status, others)) == []
    assert place.left() == []


# Ways out


def test_success(place: Place) -> None:
    check(place, place.run(), 0, "done")
    assert place.result["verdict"] == "PROVED"
    assert not any(by_aws(place.aws).values())


def test_a_verdict_that_is_not_yet_then_findings_that_fail_then_refuted(place: Place) -> None:
    """One run in three parts. The parameters' limits keep the first from waiting for nothing."""
    never = {"service": "kms", "operation": "*", "fault": "record_never", "times": "always"}
    place.faults(never)
    check(place, place.run("-p", "event_wait_seconds", "1"), 3, "done")
    assert place.result["verdict"] == "NOT_YET"
    assert all(len(held) == 1 for held in by_aws(place.aws).values()), "05 and 06 did not run"
    place.faults()

    builder, arn = place.aws("imagebuilder"), place.result["workflow_arn"]
    document = builder.get_workflow(workflowBuildVersionArn=arn)["workflow"]["data"]
    builder.delete_workflow(workflowBuildVersionArn=arn)
    other = place.aws("kms").create_key()["KeyMetadata"]["Arn"]
    again = builder.create_workflow(
        name="encrypted-build", semanticVersion="1.0.0", type="BUILD", data=document, kmsKeyId=other
    )
    assert again["workflowBuildVersionArn"] == arn, "the same name under another key"
    check(place, place.run("--steps", "04"), 1, "done", keys={other})
    assert place.result["verdict"] == "REFUTED"

    place.aws("kms").encrypt(KeyId=place.result["key_arn"], Plaintext=b"somebody else's")
    check(place, place.run("--steps", "06"), 1, "failed", "FindingsFailed", keys={other})
    (failed,) = [one for one in place.result["steps"] if one["status"] == "failed"]
    assert failed["name"] == "06_clean_up"


def test_a_step_that_aws_refuses(place: Place) -> None:
    iam = place.aws("iam")
    iam.create_user(UserName="limited")
    statements = [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "iam:PutRolePolicy", "Resource": "*"},
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName="limited", PolicyName="limits", PolicyDocument=document)
    key = iam.create_access_key(UserName="limited")["AccessKey"]
    place.hand_over(
        replace(
            place.handoff,
            access_key_id=key["AccessKeyId"],
            secret_access_key=key["SecretAccessKey"],
        )
    )
    ended = place.run()
    check(place, ended, 5, "failed", "AwsRefused")
    assert "iam:PutRolePolicy" in place.result["error"]["what"]
    assert place.result["error"]["step"] == "02_grant_access"
    place.hand_over(place.handoff)
    check(place, place.do("resume", "x"), 0, "done")


def test_parameters_that_a_step_finds_wrong(place: Place) -> None:
    kms = place.aws("kms")
    other = kms.create_key()["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName="alias/taken", TargetKeyId=other)
    ended = place.run("-p", "key_alias", "alias/taken")
    check(place, ended, 2, "failed", "ParameterError", keys={other}, aliases={"alias/taken"})
    assert place.ledger.of_kind("intent") == []


def test_a_plan_that_nobody_approved(place: Place) -> None:
    ended = place.run("--target", "aws", **aws_like(place.handoff))
    check(place, ended, 4, "failed", "ApprovalRequired")
    assert place.ledger.of_kind("intent") == []


def stop(process: subprocess.Popen[str], by: str) -> tuple[int, str]:
    """End the run by a signal to it, or to its kernel; its status and what it said."""
    children = psutil.Process(process.pid).children(recursive=True)
    kernels = [one.pid for one in children if "ipykernel" in " ".join(one.cmdline())]
    victim = kernels[0] if by == "kernel" else process.pid
    os.kill(victim, signal.SIGKILL if by in ("kernel", "runner") else signal.Signals[by])
    ended = end(process)
    psutil.wait_procs([psutil.Process(pid) for pid in kernels if psutil.pid_exists(pid)], 20)
    return ended


STOPPED = [
    ("SIGINT", "iam:PutRolePolicy", 130, "interrupted", "Interrupted"),
    ("SIGTERM", "kms:CreateKey", 130, "interrupted", "Interrupted"),
    ("SIGHUP", "iam:CreateRole", 130, "interrupted", "Interrupted"),
    ("kernel", "kms:PutKeyPolicy", 5, "failed", "DeadKernelError"),
    ("runner", "kms:CreateAlias", -signal.SIGKILL, "running", None),
]


WHOLE = ("SIGTERM", "runner")
"""Those whose run has all seven steps; the others end, when they are gone on with, after 02."""


@pytest.mark.parametrize(("by", "call", "status", "how", "error"), STOPPED)
def test_a_run_that_is_stopped_while_a_call_is_in_flight(
    by: str, call: str, status: int, how: str, error: str | None, place: Place
) -> None:
    process = place.caught(call, *(() if by in WHOLE else ("--steps", "00..02")))
    ended = stop(process, by)
    last = place.ledger.of_kind("intent")[-1]
    assert (last["call"], place.ledger.unsettled()) == (call, [last]), "the ledger leaves it open"
    if by == "runner":
        assert ended[0] == status
        assert (place.result["status"], place.result["exit_status"]) == (how, None)
        assert list(disagreements(place, None, {})) == []
        stood = f"its process is gone (process {process.pid}) in {last['step']}"
        assert stood in place.do("show", "x")[1]
        assert "its process is gone" in place.do("runs")[1]
    else:
        check(place, ended, status, how, error)
        stood = f"{how} in {last['step']}"
        assert place.result["error"]["step"] == last["step"]
    ended = place.do("resume", "x")
    check(place, ended, 0, "done")
    assert f"It stood here: {stood}" in ended[1]
    settled = place.ledger.of_kind("outcome")
    (found,) = [one for one in settled if one.get("intent") == last["n"]]
    assert (found["call"], found["status"]) == (call, DONE), "AWS had served it"
    left = {kind for kind, held in by_aws(place.aws).items() if held}
    assert left == (set() if by in WHOLE else {"keys", "aliases", "roles", "role policies"})


def test_a_sandbox_that_is_gone_while_a_call_is_in_flight(tmp_path: Path) -> None:
    with sandboxes.start_private() as own:
        place = Place(own.ready(), tmp_path)
        process = place.caught("kms:CreateAlias", "-p", "settle_seconds", "1")
        os.kill(place.handoff.pid, signal.SIGKILL)
        status, said = end(process)
    assert status == 5, said
    assert "Traceback" not in said
    assert (place.result["status"], place.result["exit_status"]) == ("failed", 5)
    assert place.result["error"]["step"] == "01_create_key"
    assert [one["call"] for one in place.ledger.unsettled()] == ["kms:CreateAlias"]
    assert place.result["key_arn"] == place.ledger.facts()["key_arn"]
    assert [path for path in place.left() if not path.startswith(str(tmp_path))] == []


def test_a_folder_that_cannot_be_written_any_more_while_a_call_is_in_flight(place: Place) -> None:
    """The folder is gone, and a file is in its place: what a full disk or a lost mount does."""
    process = place.caught("kms:CreateAlias", "-p", "answer_seconds", "2")
    moved = place.folder / "moved"
    place.run_folder.rename(moved)
    place.run_folder.write_text("in the way")
    status, said = end(process)
    assert status == 5, said
    assert "Traceback" not in said
    assert "cannot be written" in said
    assert [one["call"] for one in Ledger(moved / NAME).unsettled()] == ["kms:CreateAlias"]
    place.run_folder.unlink()
    moved.rename(place.run_folder)
    assert place.result["status"] == "running"
    assert "its process is gone" in place.do("runs")[1]
    check(place, place.do("resume", "x"), 0, "done")
