"""Every fault that a client can meet, in every call that the runbook rests on.

Each test is a whole run in an account of its own, in which every change, or every read, meets a
fault. In the end there is one of everything, then nothing is left over, and the ledger says what
CloudTrail says: nothing is lost, nothing is doubled.

In `make test` each change meets half of the faults, in `make test-full` (ALL_FAULTS=1) all of them.
The faults: docs/faults.md.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from botocore.retries import standard
from faulty import CHANGES, READS, Faulty, Rules, rules
from keyrunbook.aws.clients import sandbox_clients
from keyrunbook.aws.reading import reads
from keyrunbook.sandboxes import HANDED_OVER, Sandbox

pytestmark = pytest.mark.e2e

WHOLE = os.environ.get("ALL_FAULTS") == "1"
EXPIRED = "expired_credentials"
ANSWER_S, LATE_ANSWER_S = 1.0, 1.3

Make = Callable[..., Faulty]


SURVIVED = ("throttle", "reset_before", "unavailable", "server_error", "reset_after", "timeout")
"""The faults of which a run says nothing: what was not done is done again, what was is found."""
TURNS = range(len(SURVIVED)) if WHOLE else (0, 2, 4)
"""In turn n call i meets fault i + n: in all six turns each call meets each fault."""
IN_A_ROW = ("throttle", "server_error", "reset_before", "reset_after")
"""What every read meets, one after the other, before it is answered: the SDK tries five times."""


def one_each(table: Mapping[str, Sequence[str]], turn: int) -> dict[str, Rules]:
    """For each call one of the faults that a run survives."""
    faults = cycle((*SURVIVED[turn:], *SURVIVED[:turn]))
    return {
        part: [rule for call in calls for rule in in_each([call], next(faults))]
        for part, calls in table.items()
    }


def in_each(calls: Sequence[str], fault: str, **more: Any) -> Rules:
    late = {"seconds": LATE_ANSWER_S} if fault == "timeout" else {}
    return rules(calls, fault, **late, **more)


def all_of(table: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Each part's calls, by the name that AWS refuses them with."""
    return [(part, call.partition(":")[2]) for part, calls in table.items() for call in calls]


@pytest.fixture
def faulty(
    shared_sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Make]:
    """Makes runs with short limits; the SDK waits as short before it tries again."""
    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", lambda *_: 0.01)

    def make(**more: Any) -> Faulty:
        word = f"f{zlib.crc32(request.node.nodeid.encode()):x}"
        limits = {"settle_seconds": 0.4, "answer_seconds": ANSWER_S, **more}
        one = Faulty(shared_sandbox.ready(), tmp_path, word, limits)
        monkeypatch.setenv(HANDED_OVER, str(one.path))
        one.job.open("01")  # the ledger's first line has no place for parts of a second
        return one

    yield make
    sandbox_clients.cache_clear()


def whole(one: Faulty, schedules: Mapping[str, Rules]) -> list[str]:
    """Do all of it; what is wrong."""
    one.through(schedules, "01", "02", "03", "04")
    one.lend()
    one.through(schedules, "05")
    wrong = list(one.wrong_when_made())
    one.through(schedules, "06")
    wrong += one.wrong_when_gone()
    wrong += one.wrong_in_the_ledger()
    return [*wrong, *(f"not met: {rule}" for rule in one.unmet)]


def say(capsys: pytest.CaptureFixture[str], what: str, cases: int, stops: int) -> None:
    with capsys.disabled():
        print(
            f"\nfaults in {what}: {cases} cases, {cases - stops} survived, {stops} stopped and "
            "went on"
        )


@pytest.mark.parametrize("turn", TURNS)
def test_a_fault_in_every_change_is_survived(
    turn: int, faulty: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    one = faulty()
    assert whole(one, one_each(CHANGES, turn)) == []
    assert one.stops == []
    say(capsys, f"changes, turn {turn + 1} of {len(SURVIVED)}", len(all_of(CHANGES)), 0)


def test_faults_in_every_read_are_survived(
    faulty: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    one = faulty()
    row = {
        part: [rule for n, fault in enumerate(IN_A_ROW) for rule in in_each(calls, fault, after=n)]
        for part, calls in READS.items()
    }
    assert whole(one, row) == []
    assert one.stops == []
    say(capsys, "reads", len(all_of(READS)) * len(IN_A_ROW), 0)


@pytest.mark.skipif(not WHOLE, reason="with ALL_FAULTS=1: waits for each read once")
def test_a_late_answer_of_every_read_is_survived(
    faulty: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    one = faulty()
    assert whole(one, {part: in_each(calls, "timeout") for part, calls in READS.items()}) == []
    assert one.stops == []
    say(capsys, "reads, late answers", len(all_of(READS)), 0)


@pytest.mark.parametrize("table", [CHANGES, READS], ids=["changes", "reads"])
def test_credentials_that_expire_stop_the_step_and_with_new_ones_it_goes_on(
    table: Mapping[str, Sequence[str]], faulty: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    one = faulty()
    assert whole(one, {part: rules(calls, EXPIRED) for part, calls in table.items()}) == []
    assert {stop.error for stop in one.stops} == {"CredentialsMissing"}
    assert sorted((stop.part, stop.call) for stop in one.stops) == sorted(all_of(table))
    name = "changes" if table is CHANGES else "reads"
    say(capsys, f"{name}, expired credentials", len(all_of(table)), len(one.stops))


def test_the_table_has_every_change(faulty: Make) -> None:
    """What a run without faults changes is what the columns say."""
    one = faulty()
    assert whole(one, {}) == []
    made = {
        (entry["step"][:2], entry["call"]) for entry in one.job.open("06").ledger.of_kind("intent")
    }
    assert made == {(part[:2], call) for part, calls in CHANGES.items() for call in calls}
    assert not [call for calls in READS.values() for call in calls if not reads(*call.split(":"))]
