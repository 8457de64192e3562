"""`runbook sandbox --state`: what a sandbox knew it knows again, however it ended."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from awssandbox import keeping

DOCUMENT = """\
name: build
schemaVersion: 1.0
steps:
- name: launch
  action: LaunchInstance
  onFailure: Abort
  inputs:
    waitFor: ssmAgent
"""
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "sts:AssumeRole"}
    ],
}


@contextmanager
def served(folder: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], Mapping[str, Any]]]:
    """A sandbox on the state in `folder`; whoever uses it ends it, or it ends with the block."""
    words = [sys.executable, "-m", "awssandbox", "--state", str(folder), *more]
    with subprocess.Popen(
        [*words, "--until-stdin-closes", "--handoff", str(folder.parent / "hand-off.json")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "it did not start"
        hand_off = json.loads((folder.parent / "hand-off.json").read_text())
        yield process, hand_off


def clients(given: Mapping[str, Any]) -> Any:
    session = boto3.Session(
        given["access_key_id"], given["secret_access_key"], region_name=given["region"]
    )
    return lambda name: session.client(name, endpoint_url=given["endpoint_url"])


@pytest.mark.e2e
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_answered_is_there_after_the_end(tmp_path: Path, how: signal.Signals) -> None:
    folder = tmp_path / "kept"
    with served(folder) as (process, before):
        of = clients(before)
        kms, builder = of("kms"), of("imagebuilder")
        key = kms.create_key()["KeyMetadata"]["Arn"]
        kms.create_alias(AliasName="alias/mine", TargetKeyId=key)
        of("iam").create_role(RoleName="Builder", AssumeRolePolicyDocument=json.dumps(TRUST))
        role = of("iam").get_role(RoleName="Builder")["Role"]["Arn"]
        grant = kms.create_grant(KeyId=key, GranteePrincipal=role, Operations=["Decrypt"])
        made = builder.create_workflow(
            name="mine", semanticVersion="1.0.0", type="BUILD", kmsKeyId=key, data=DOCUMENT
        )["workflowBuildVersionArn"]
        process.send_signal(how)
        process.wait()
    with served(folder) as (process, after):
        same = ("instance_id", "account", "region", "access_key_id", "secret_access_key")
        assert {name: after[name] for name in same} == {name: before[name] for name in same}
        of = clients(after)
        workflow = of("imagebuilder").get_workflow(workflowBuildVersionArn=made)["workflow"]
        assert workflow["kmsKeyId"] == key
        assert workflow["data"].startswith("name: build")
        assert of("kms").describe_key(KeyId="alias/mine")["KeyMetadata"]["Arn"] == key
        [kept] = of("kms").list_grants(KeyId=key)["Grants"]
        assert (kept["GrantId"], kept["GranteePrincipal"]) == (grant["GrantId"], role)
        seen = of("cloudtrail").lookup_events(
            LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "GenerateDataKey"}]
        )["Events"]
        assert len(seen) == 1
        process.stdin.close()  # type: ignore[union-attr]
        assert process.wait() == 0


def test_a_clock_that_was_kept_goes_on(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    from awssandbox.clock import Clock

    clock = Clock(datetime(2030, 1, 1, tzinfo=UTC))
    clock.advance(timedelta(days=3))
    again = pickle.loads(pickle.dumps(clock))
    assert timedelta() <= again.now() - datetime(2030, 1, 4, tzinfo=UTC) < timedelta(minutes=1)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a state in it."""
    folder = tmp_path_factory.mktemp("state") / "kept"
    with served(folder) as (process, _):
        process.kill()
    return folder


def _file(folder: Path) -> Path:
    return folder / keeping.NAME


def _other_versions(folder: Path) -> None:
    header, _, body = _file(folder).read_bytes().partition(b"\n")
    said = json.loads(header)
    said["versions"]["moto"] = "1.0"
    _file(folder).write_bytes(json.dumps(said).encode() + b"\n" + body)


def _one_bit(folder: Path) -> None:
    content = bytearray(_file(folder).read_bytes())
    content[-9] ^= 1
    _file(folder).write_bytes(content)


UNUSABLE: Mapping[str, tuple[Callable[[Path], object], tuple[str, ...], str]] = {
    "others may read the file": (lambda f: _file(f).chmod(0o644), (), "is not trusted"),
    "others may enter the folder": (lambda f: f.chmod(0o755), (), "is not trusted"),
    "other versions": (_other_versions, (), "was written by other versions: format 1, python"),
    "a bit is another": (_one_bit, (), "is damaged"),
    "half of it": (lambda f: os.truncate(_file(f), 900), (), "is damaged"),
    "something else": (lambda f: _file(f).write_text("hello"), (), "is no state of a sandbox"),
    "another account": (lambda f: None, ("--account", "444455556666"), "--account is for a new"),
    "a seed": (lambda f: None, ("--seed", "1"), "--seed is for a new one"),
}


@pytest.mark.e2e
@pytest.mark.parametrize("case", UNUSABLE)
def test_a_state_that_cannot_be_used_is_refused_and_left_alone(
    kept: Path, tmp_path: Path, case: str
) -> None:
    damage, more, said = UNUSABLE[case]
    folder = tmp_path / "kept"
    folder.mkdir(mode=0o700)
    _file(folder).write_bytes(_file(kept).read_bytes())
    _file(folder).chmod(0o600)
    damage(folder)
    before = _file(folder).read_bytes()
    words = [sys.executable, "-m", "awssandbox", "--state", str(folder), *more]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 5
    assert said in done.stderr
    assert done.stdout == ""
    assert _file(folder).read_bytes() == before


@pytest.mark.e2e
def test_two_sandboxes_do_not_share_a_state(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    with served(folder) as (process, _):
        words = [sys.executable, "-m", "awssandbox", "--state", str(folder)]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 5
        assert "Another sandbox goes on with the state" in done.stderr
        process.kill()


def test_a_write_that_fails_leaves_the_old_state(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = keeping.Folder(tmp_path / "kept")
    folder.write(b"one")
    before = _file(folder.path).read_bytes()

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        folder.write(b"two")
    assert _file(folder.path).read_bytes() == before
    assert sorted(path.name for path in folder.path.iterdir()) == ["lock", keeping.NAME]
