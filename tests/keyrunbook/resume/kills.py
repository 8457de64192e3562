"""Runs that are killed at a point and gone on with, each in an AWS account of its own."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from keyrunbook import sandboxes
from keyrunbook.ledger import Ledger
from keyrunbook.parameters import Parameters
from keyrunbook.policies import sid
from keyrunbook.sandboxes import Handoff, Sandbox

DRIVER = Path(__file__).with_name("driver.py")
KILLED = -9
NAMES = Parameters()


@dataclass(frozen=True)
class Points:
    """The points of a run, in order, and for each the number of the state that it leaves."""

    names: Sequence[str]
    states: Sequence[int]

    def of_states(self) -> list[list[int]]:
        """The numbers (from 1) of the points of each state."""
        found: dict[int, list[int]] = {}
        for number, state in enumerate(self.states, 1):
            found.setdefault(state, []).append(number)
        return list(found.values())


@dataclass(frozen=True)
class Kills:
    """One run: the points at which its processes are killed, one after the other."""

    points: tuple[int, ...]


@dataclass(frozen=True)
class Came:
    """How that came out: how many of the kills were reached, and what is wrong in the end."""

    kills: Kills
    reached: int
    wrong: tuple[str, ...]


class Driver:
    """A process that forks one for each order: see `driver`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(DRIVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, **order: Any) -> dict[str, Any]:
        """Have one process do steps, until it ends or is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=20)
        self._process.stdout.close()


class Account:
    """A fresh account of a sandbox, its hand-off file, and one run in it."""

    _numbers = count(1)

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        there = sandbox.ready()
        new = sandboxes.command(there, "new-account")
        names = ("account", "access_key_id", "secret_access_key")
        self.handoff = replace(there, **{name: new[name] for name in names})
        self.run_id = f"run-{next(self._numbers)}"
        self._outputs = folder
        self.path = folder / f"{self.run_id}.json"
        _hand_over(self.handoff, self.path)

    def order(self, last: str, fatal: int | None = None) -> dict[str, Any]:
        """What is left to do of the run, up to the step `last`."""
        return {
            "sandbox": str(self.path),
            "report": str(self._outputs / f"{self.run_id}.report"),
            "last": last,
            "fatal": fatal,
            "parameters": {
                "run_id": self.run_id,
                "outputs_dir": str(self._outputs),
                "settle_seconds": 0,
            },
        }

    @property
    def ledger(self) -> Ledger:
        return Ledger(self._outputs / self.run_id / "ledger.jsonl")

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name=self.handoff.region,
            endpoint_url=self.handoff.endpoint_url,
            aws_access_key_id=self.handoff.access_key_id,
            aws_secret_access_key=self.handoff.secret_access_key,
            config=Config(ignore_configured_endpoint_urls=True),
        )


def _hand_over(handoff: Handoff, path: Path) -> None:
    path.touch(mode=0o600)
    path.write_text(json.dumps({name: getattr(handoff, name) for name in handoff.__slots__}))


# What AWS and the ledger hold


def wrong_when_made(account: Account) -> Iterator[str]:
    """What is not as it must be once everything is made: one of each, and no more."""
    kms, iam, builder = map(account.client, ("kms", "iam", "imagebuilder"))
    keys = [kms.describe_key(KeyId=one["KeyId"])["KeyMetadata"] for one in _keys(kms)]
    if [key["KeyState"] for key in keys] != ["Enabled"]:
        yield f"keys: {[(key['Arn'], key['KeyState']) for key in keys]}"
        return
    (key,) = keys
    aliases = [one["AliasName"] for one in kms.list_aliases(KeyId=key["KeyId"])["Aliases"]]
    if aliases != [NAMES.key_alias]:
        yield f"aliases: {aliases}"
    if not kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"]:
        yield "the key does not rotate"
    policy = json.loads(kms.get_key_policy(KeyId=key["KeyId"], PolicyName="default")["Policy"])
    sids = [one["Sid"] for one in policy["Statement"]]
    ours = sid("WorkflowKeyUse", account.run_id)
    if len(sids) != 2 or sids.count(ours) != 1:
        yield f"statements of the key policy: {sids}"
    role = NAMES.execution_role
    if _roles(iam) != [role]:
        yield f"roles: {_roles(iam)}"
    else:
        names = iam.list_role_policies(RoleName=role)["PolicyNames"]
        if len(names) != 1:
            yield f"policies of the role: {names}"
    if len(builds := _builds(builder)) != 1:
        yield f"builds: {builds}"


def wrong_when_gone(account: Account) -> Iterator[str]:
    """What is left over once everything is removed."""
    kms, iam, builder = map(account.client, ("kms", "iam", "imagebuilder"))
    states = [kms.describe_key(KeyId=one["KeyId"])["KeyMetadata"]["KeyState"] for one in _keys(kms)]
    if states != ["PendingDeletion"]:
        yield f"keys: {states}"
    if aliases := kms.list_aliases()["Aliases"]:
        yield f"aliases: {aliases}"
    if roles := _roles(iam):
        yield f"roles: {roles}"
    if builds := _builds(builder):
        yield f"builds: {builds}"


def wrong_in_the_ledger(account: Account) -> Iterator[str]:
    """What the ledger has other than AWS. Raises LedgerDamaged where its chain is broken."""
    ledger = account.ledger
    verdicts = [entry["verdict"] for entry in ledger.of_kind("verdict")]
    if verdicts[-1:] != ["PROVED"]:
        yield f"verdicts: {verdicts}"
    if left := ledger.unsettled():
        yield f"outcomes that nobody knows: {left}"
    made = [
        entry["call"]
        for entry in ledger.of_kind("outcome")
        if entry["status"] == "done" and ":Create" in entry["call"]
    ]
    once = ("kms:CreateKey", "kms:CreateAlias", "iam:CreateRole", "imagebuilder:CreateWorkflow")
    if any(made.count(call) != 1 for call in once):
        yield f"made, by the ledger: {made}"


def _keys(kms: Any) -> list[dict[str, Any]]:
    return list(kms.list_keys()["Keys"])


def _roles(iam: Any) -> list[str]:
    return [one["RoleName"] for one in iam.list_roles()["Roles"]]


def _builds(builder: Any) -> list[str]:
    versions = [one["arn"] for one in builder.list_workflows(owner="Self")["workflowVersionList"]]
    return [
        build["arn"]
        for arn in versions
        for build in builder.list_workflow_build_versions(workflowVersionArn=arn)[
            "workflowSummaryList"
        ]
    ]


# Killing


def killed(driver: Driver, account: Account, kills: Kills) -> Came:
    """Kill the run's processes where it is asked for, then go on with it to its end; look."""
    reached = 0
    for point in kills.points:
        answer = driver.do(**account.order("06_clean_up", point))
        if answer["status"] == KILLED:
            reached += 1
        elif answer["error"] is not None:
            return Came(kills, reached, (answer["error"],))
    wrong: list[str] = []
    try:
        if "06_clean_up" not in _steps_begun(account):
            wrong += _go_on(driver, account, "05_revoke_access")
            wrong += [] if wrong else wrong_when_made(account)
        wrong += [] if wrong else _go_on(driver, account, "06_clean_up")
        wrong += [] if wrong else [*wrong_when_gone(account), *wrong_in_the_ledger(account)]
    except ClientError as error:
        wrong.append(str(error))
    return Came(kills, reached, tuple(wrong))


Way = Callable[[Driver, Account, Kills], Came]


def _steps_begun(account: Account) -> set[str]:
    return {entry["step"] for entry in account.ledger.of_kind("intent")}


def _go_on(driver: Driver, account: Account, last: str, **more: str) -> list[str]:
    answer = driver.do(**account.order(last), **more)
    if answer["status"] != 0:
        return [f"status {answer['status']}"]
    return [] if answer["error"] is None else [answer["error"]]


def given_up(driver: Driver, account: Account, kills: Kills) -> Came:
    """Kill the run's process, then only clean up; look."""
    (point,) = kills.points
    answer = driver.do(**account.order("06_clean_up", point))
    wrong = _go_on(driver, account, "06_clean_up", first="06_clean_up")
    reached = int(answer["status"] == KILLED)
    return Came(kills, reached, (*wrong, *wrong_when_gone(account)))


class Killers:
    """Drivers and sandboxes, which kill several runs at a time."""

    def __init__(self, hosts: Sequence[Sandbox], drivers: Sequence[Driver], folder: Path) -> None:
        self._hosts, self._drivers, self._folder = hosts, drivers, folder
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(len(drivers)):
            self._free.put(number)

    def points(self) -> Points:
        """The points of a run that nobody kills."""
        account = Account(self._hosts[0], self._folder)
        answer = self._drivers[0].do(**account.order("06_clean_up"))
        assert (answer["status"], answer["error"]) == (0, None), answer
        assert [*wrong_when_gone(account), *wrong_in_the_ledger(account)] == []
        return Points(answer["points"], answer["states"])

    def all_of(self, orders: Iterable[Kills], way: Way = killed) -> list[Came]:
        """How each came out."""
        with ThreadPoolExecutor(len(self._drivers)) as pool:
            return list(pool.map(lambda kills: self._one(kills, way), orders))

    def _one(self, kills: Kills, way: Way) -> Came:
        number = self._free.get()
        try:
            account = Account(self._hosts[number % len(self._hosts)], self._folder)
            return way(self._drivers[number], account, kills)
        finally:
            self._free.put(number)


@contextmanager
def killers(folder: Path, drivers: int, hosts: int) -> Iterator[Killers]:
    """That many drivers, and sandboxes that they share; all end with it."""
    sandboxes_ = [sandboxes.start_private("--event-delay", "0") for _ in range(hosts)]
    running = [Driver() for _ in range(drivers)]
    try:
        for host in sandboxes_:
            host.ready()
        yield Killers(sandboxes_, running, folder)
    finally:
        for driver in running:
            driver.close()
        for host in sandboxes_:
            host.close()
