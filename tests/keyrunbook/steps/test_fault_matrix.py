"""Every fault that a client can meet, in every call that the runbook rests on.

Each test is a whole run in an account of its own, in which every change, or every read, meets a
fault. In the end there is one of everything, then nothing is left over, and the ledger says what
CloudTrail says: nothing is lost, nothing is doubled.

In `make test` each change meets one of the faults, in `make test-full` (ALL_FAULTS=1) all of them.
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
from faulty import CHANGES, READS, Faulty, Rules, Stop, rules
from keyrunbook import sandboxes
from keyrunbook.aws.clients import sandbox_clients
from keyrunbook.aws.reading import reads
from keyrunbook.sandboxes import HANDED_OVER, Sandbox

pytestmark = pytest.mark.e2e

WHOLE = os.environ.get("ALL_FAULTS") == "1"
EXPIRED = "expired_credentials"
ANSWER_S, LATE_ANSWER_S = 1.0, 1.3

Make = Callable[..., Faulty]
Tell = Callable[[str], None]


FAULTS = ("throttle", "reset_before", "unavailable", "server_error", "reset_after", "timeout")
"""Faults of which a run says nothing: what was not done is done again, and what was is found."""
SHOWS_NOTHING = ("reset_before", "unavailable", "server_error")
MAKES_ANOTHER = ("kms:CreateKey", "kms:CreateGrant")
"""The calls without a token and without a name. After a fault that shows nothing these stop, and
are not sent again before somebody says so: what they made could show later still."""
TURNS = range(len(FAULTS)) if WHOLE else (4,)
"""In turn n call i meets fault i + n: in all six turns each call meets each fault."""
IN_A_ROW = ("throttle", "server_error", "reset_before", "reset_after")
"""What every read meets, one after the other, before it is answered: the SDK tries five times."""


def one_each(turn: int) -> list[tuple[str, str, str]]:
    """Each part's changes, and for each one of the faults."""
    faults = cycle((*FAULTS[turn:], *FAULTS[:turn]))
    return [(part, call, next(faults)) for part, calls in CHANGES.items() for call in calls]


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


def whole(one: Faulty, schedules: Mapping[str, Rules], *, met: bool = True) -> list[str]:
    """Do all of it; what is wrong. With `met` each rule must have been met."""
    one.through(schedules, "01", "02", "03", "04")
    one.lend()
    one.through(schedules, "05")
    wrong = list(one.wrong_when_made())
    one.take_back()
    one.through(schedules, "06")
    wrong += one.wrong_when_gone()
    wrong += one.wrong_in_the_ledger()
    return [*wrong, *(f"not met: {rule}" for rule in one.unmet if met)]


def say(tell: Tell, what: str, cases: int, stops: int) -> None:
    tell(f"faults in {what}: {cases} cases, {cases - stops} survived, {stops} stopped and went on")


@pytest.mark.parametrize("turn", TURNS)
def test_a_fault_in_every_change_is_survived_or_looked_up(
    turn: int, faulty: Make, tell: Tell
) -> None:
    one, cases = faulty(), one_each(turn)
    schedules: dict[str, list[Mapping[str, Any]]] = {part: [] for part in CHANGES}
    for part, call, fault in cases:
        schedules[part] += in_each([call], fault)
    assert whole(one, schedules) == []
    assert one.stops == [
        Stop(part, call.partition(":")[2], "OutcomeUnknown")
        for part, call, fault in cases
        if call in MAKES_ANOTHER and fault in SHOWS_NOTHING
    ]
    say(tell, f"changes, turn {turn + 1} of {len(FAULTS)}", len(cases), len(one.stops))


def test_faults_in_every_read_are_survived(faulty: Make, tell: Tell) -> None:
    one = faulty()
    row = {
        part: [rule for n, fault in enumerate(IN_A_ROW) for rule in in_each(calls, fault, after=n)]
        for part, calls in READS.items()
    }
    assert whole(one, row) == []
    assert one.stops == []
    say(tell, "reads", len(all_of(READS)) * len(IN_A_ROW), 0)


@pytest.mark.skipif(not WHOLE, reason="with ALL_FAULTS=1: waits for each read once")
def test_a_late_answer_of_every_read_is_survived(faulty: Make, tell: Tell) -> None:
    one = faulty()
    assert whole(one, {part: in_each(calls, "timeout") for part, calls in READS.items()}) == []
    assert one.stops == []
    say(tell, "reads, late answers", len(all_of(READS)), 0)


@pytest.mark.parametrize("table", [CHANGES, READS], ids=["changes", "reads"])
def test_credentials_that_expire_stop_the_step_and_with_new_ones_it_goes_on(
    table: Mapping[str, Sequence[str]], faulty: Make, tell: Tell
) -> None:
    one = faulty()
    assert whole(one, {part: rules(calls, EXPIRED) for part, calls in table.items()}) == []
    assert {stop.error for stop in one.stops} == {"CredentialsMissing"}
    assert sorted((stop.part, stop.call) for stop in one.stops) == sorted(all_of(table))
    name = "changes" if table is CHANGES else "reads"
    say(tell, f"{name}, expired credentials", len(all_of(table)), len(one.stops))


def test_the_table_has_every_change(faulty: Make) -> None:
    """What a run without faults changes is what the columns say."""
    one = faulty()
    assert whole(one, {}) == []
    made = {
        (entry["step"][:2], entry["call"]) for entry in one.job.open("06").ledger.of_kind("intent")
    }
    assert made == {(part[:2], call) for part, calls in CHANGES.items() for call in calls}
    assert not [call for calls in READS.values() for call in calls if not reads(*call.split(":"))]


# What takes effect late, or is shown late

LATE_S = 1.5
LATE: Mapping[str, tuple[Rules, str]] = {
    "a new role is no principal yet": (
        rules(["iam:CreateRole"], "unknown_to_kms", seconds=LATE_S),
        "kms:PutKeyPolicy",
    ),
    "what is new is not shown": (
        rules(
            ["kms:CreateKey", "kms:CreateAlias", "iam:CreateRole", "iam:PutRolePolicy"],
            "seen_late",
            seconds=LATE_S,
            times="always",
        ),
        "",
    ),
    "policies and grants take effect late": (
        rules(
            [
                *("kms:PutKeyPolicy", "kms:CreateGrant", "kms:RevokeGrant", "kms:CreateAlias"),
                *("iam:PutRolePolicy", "iam:DeleteRolePolicy"),
            ],
            "effect_late",
            seconds=LATE_S,
            times="always",
        ),
        "imagebuilder:CreateImage",
    ),
}
"""Each with the call that is made again for it."""


@pytest.mark.parametrize("what", LATE)
def test_what_is_late_is_waited_for(what: str, faulty: Make) -> None:
    one = faulty(settle_seconds=8)
    schedule, again = LATE[what]
    assert whole(one, dict.fromkeys(CHANGES, schedule), met=False) == []
    assert one.stops == []
    ledger = one.job.open("06").ledger
    kept = [one for line in ledger.of_kind("findings") for one in line["findings"]]
    assert "fail" not in {one["status"] for one in kept}
    calls = [entry["call"] for entry in ledger.of_kind("intent")]
    usual = {"": 0, "kms:PutKeyPolicy": 3, "imagebuilder:CreateImage": 4}
    assert again == "" or calls.count(again) > usual[again]


def test_what_is_later_than_the_limit_is_not_yet_and_never_a_wrong_finding(faulty: Make) -> None:
    one = faulty(settle_seconds=1)
    late = rules(["kms:PutKeyPolicy", "iam:DeleteRolePolicy"], "effect_late", seconds=3600)
    one.through({"05": late}, "01", "02", "03", "04", "05")
    found = one.job.open("06").ledger.of_kind("findings", "05_revoke_access")[-1]["findings"]
    (refused,) = [one for one in found if one["statement"].startswith("With every path closed")]
    assert refused["status"] == "not checked"
    assert refused["evidence"].startswith("not yet: the policies say otherwise, and the build dec")
    assert "fail" not in {one["status"] for one in found}


def test_a_role_that_kms_does_not_come_to_know_stops_the_step_in_words(faulty: Make) -> None:
    one = faulty()
    new = rules(["iam:CreateRole"], "unknown_to_kms", seconds=3600)
    with pytest.raises(AssertionError):
        one.through({"02": new}, "01", "02")
    assert {(stop.call, stop.error) for stop in one.stops} == {("PutKeyPolicy", "AwsRefused")}
    sandboxes.command(one.handoff, "advance", seconds=3700)
    one.through({}, "02", "03")
    assert one.job.open("04").ledger.unsettled() == []


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [("record_late", "PROVED"), ("record_twice", "PROVED"), ("record_never", "NOT_YET")],
)
def test_records_that_are_late_doubled_or_never_come(
    fault: str, verdict: str, faulty: Make
) -> None:
    late = {"seconds": 1} if fault == "record_late" else {}
    calls = ["kms:GenerateDataKey", "kms:Decrypt"]
    schedule = rules(calls, fault, times="always", **late)
    one = faulty(event_wait_seconds=4 if fault == "record_late" else 1)
    one.through(dict.fromkeys(("03", "04"), schedule), "01", "02", "03", "04")
    assert one.stops == []
    verdicts = [entry["verdict"] for entry in one.job.open("04").ledger.of_kind("verdict")]
    assert verdicts == [verdict]
