"""The runs of an outputs folder, and how each ended, also when nobody was left to say so."""

from __future__ import annotations

import fcntl
import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from keyrunbook.errors import ParameterError, RunBusy
from keyrunbook.execution.progress import print_runs
from keyrunbook.execution.result import earlier_steps, stored_result
from keyrunbook.execution.runs import (
    check_not_running,
    existing,
    left_to_do,
    run_ids,
    summary,
)
from keyrunbook.execution.selection import Selection
from keyrunbook.ledger import NAME, Ledger
from keyrunbook.steps import STEPS as RUNBOOK

STEPS = ("00_preflight", "01_create_key")


def make(outputs: Path, run_id: str, *, age_s: int = 0, **result: Any) -> Path:
    """A run with two steps done and, where `result` is given, a result.json."""
    folder = outputs / run_id
    folder.mkdir(parents=True)
    ledger = Ledger(folder / NAME)
    opened = {"target": "aws", "account": "111122223333", "region": "eu-central-1"}
    ledger.append("opened", step=STEPS[0], time="2026-01-31T09:00:00.000+00:00", **opened)
    for step in STEPS:
        ledger.append("done", step=step, time="t")
    if result:
        write(folder, **result)
    for path in folder.iterdir():
        os.utime(path, (1e9 - age_s, 1e9 - age_s))
    return folder


def write(folder: Path, **result: Any) -> None:
    whole = {"pid": os.getpid(), "exit_status": 0, "steps": [], "error": None, **result}
    (folder / "result.json").write_text(json.dumps(whole))


def a_gone_process() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def in_step(status: str) -> list[dict[str, str]]:
    return [{"name": STEPS[0], "status": "done"}, {"name": STEPS[1], "status": status}]


ENDS: list[tuple[dict[str, Any], str]] = [
    ({"status": "done", "exit_status": 3}, "done, exit status 3"),
    (
        {"status": "failed", "steps": in_step("failed"), "error": {"type": "AwsRefused"}},
        "failed in 01_create_key: AwsRefused",
    ),
    (
        {
            "status": "failed",
            "steps": in_step("failed"),
            "error": {"type": "ApprovalRequired", "exit_status": 4},
        },
        "waits for approval in 01_create_key",
    ),
    (
        {"status": "interrupted", "steps": in_step("failed"), "error": {"type": "Interrupted"}},
        "interrupted in 01_create_key",
    ),
    ({}, "no result.json: its notebooks were opened by hand"),
]


@pytest.mark.parametrize(("result", "words"), ENDS)
def test_how_a_run_ended(tmp_path: Path, result: dict[str, Any], words: str) -> None:
    make(tmp_path, "x", **result)
    assert summary(tmp_path, "x").ended == words


def test_a_run_whose_process_is_gone_says_where_it_stood(tmp_path: Path) -> None:
    pid = a_gone_process()
    make(tmp_path, "x", status="running", pid=pid, steps=in_step("running"))
    assert summary(tmp_path, "x").ended == f"its process is gone (process {pid}) in 01_create_key"


def test_a_process_id_that_another_process_was_given_is_not_the_run_s(tmp_path: Path) -> None:
    folder = make(tmp_path, "x", status="running")
    with (folder / ".lock").open("w") as lock:
        assert "is gone" in summary(tmp_path, "x").ended
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert summary(tmp_path, "x").ended == f"running (process {os.getpid()})"


def test_a_summary_says_when_where_and_how_far(tmp_path: Path) -> None:
    folder = make(tmp_path, "x", status="done")
    Ledger(folder / NAME).append("verdict", step="04_confirm_events", time="t", verdict="PROVED")
    found = summary(tmp_path, "x")
    assert found.began == "2026-01-31T09:00:00.000Z"
    assert (found.target, found.account, found.region) == ("aws", "111122223333", "eu-central-1")
    assert found.steps_done == STEPS
    assert (found.verdict, found.damage) == ("PROVED", None)


def test_the_last_written_is_first_and_other_folders_are_not_runs(tmp_path: Path) -> None:
    make(tmp_path, "old", age_s=30)
    make(tmp_path, "new", age_s=10, status="done")
    make(tmp_path, "middle", age_s=20)
    (tmp_path / "notes").mkdir()
    (tmp_path / "README.md").write_text("x")
    assert run_ids(tmp_path) == ["new", "middle", "old"]
    assert run_ids(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (NAME, b'{"n": 1}\n', "ledger.jsonl, line 1, is damaged"),
        ("result.json", b"{", "result.json is damaged"),
        ("result.json", b"[]", "result.json is damaged"),
        ("result.json", b'{"status": "done"}', "result.json is damaged"),
    ],
)
def test_damage_is_named_and_hides_no_other_run(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (make(tmp_path, "bad") / name).write_bytes(content)
    make(tmp_path, "good")
    assert told in str(summary(tmp_path, "bad").damage)
    assert summary(tmp_path, "good").damage is None
    printed = io.StringIO()
    print_runs([summary(tmp_path, run_id) for run_id in run_ids(tmp_path)], printed)
    header, *lines = printed.getvalue().splitlines()
    assert header.split()[:3] == ["run", "began", "target"]
    (bad,) = (line for line in lines if line.startswith("bad"))
    assert f"DAMAGED: {tmp_path}" in bad
    assert told in bad


def test_a_run_that_does_not_exist_names_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="There is no run 'x'") as caught:
        existing(tmp_path, "x")
    assert caught.value.fix == "Begin one with: runbook run"
    for number in range(12):
        make(tmp_path, f"r{number:02}", age_s=number)
    with pytest.raises(ParameterError) as caught:
        existing(tmp_path, "x")
    assert caught.value.fix.endswith("r08, r09 and 2 more.")
    assert existing(tmp_path, "r11") == tmp_path / "r11"


# What a resumed run does


ALL = Selection(RUNBOOK, by_name=False)
NUMBERS = {name: name[:2] for name in RUNBOOK}
LEFT: list[tuple[Selection, dict[str, str], list[str], str | None, str]] = [
    # selection, statuses in result.json, steps done by the ledger, verdict, what is left
    (ALL, {}, [], None, "00 01 02 03 04 05 06"),
    (ALL, {}, ["00", "01"], None, "02 03 04 05 06"),
    (ALL, {"00": "done", "01": "running"}, ["00", "01"], None, "01 02 03 04 05 06"),
    (ALL, {"00": "done", "01": "failed"}, ["00", "01"], None, "01 02 03 04 05 06"),
    (ALL, {"00": "done", "01": "not run"}, ["00"], None, "01 02 03 04 05 06"),
    (ALL, {"00": "skipped", "01": "skipped"}, ["00", "01"], None, "02 03 04 05 06"),
    (ALL, {}, ["00", "01", "02", "03", "04"], "PROVED", "05 06"),
    (ALL, {}, ["00", "01", "02", "03", "04"], "NOT_YET", "04 05 06"),
    (ALL, {}, ["00", "01", "02", "03", "04"], "REFUTED", ""),
    (Selection(RUNBOOK, by_name=True), {}, ["00", "01", "02", "03", "04"], "REFUTED", "05 06"),
    (Selection(RUNBOOK[:5], by_name=True), {}, ["00", "01", "02", "03", "04"], "PROVED", ""),
    (ALL, {"06": "done"}, ["00", "01", "02", "03", "04", "05", "06"], "PROVED", ""),
]


@pytest.mark.parametrize(("selection", "stood", "done", "verdict", "left"), LEFT)
def test_what_is_left_to_do(
    selection: Selection, stood: dict[str, str], done: list[str], verdict: str | None, left: str
) -> None:
    names = {number: name for name, number in NUMBERS.items()}
    steps = [{"name": names[number], "status": status} for number, status in stood.items()]
    entries: list[dict[str, Any]] = [{"kind": "done", "step": names[one]} for one in done]
    entries += [] if verdict is None else [{"kind": "verdict", "verdict": verdict}]
    found = left_to_do(selection, {"steps": steps}, entries)
    assert [NUMBERS[name] for name in found] == left.split()


def test_a_run_is_refused_by_its_process_while_that_lives_and_holds_it(tmp_path: Path) -> None:
    folder = make(tmp_path, "x", status="running")
    check_not_running(folder, stored_result(folder))
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunBusy, match=f"is being run by process {os.getpid()}"):
            check_not_running(folder, stored_result(folder))


@pytest.mark.parametrize(
    "damage",
    [
        {"selection": {"steps": [], "by_nam": True}},
        {"selection": []},
        {"steps": [{"name": "00_preflight"}]},
        {"parameters": 7},
    ],
)
def test_what_a_result_says_of_going_on_is_read_strictly(
    tmp_path: Path, damage: dict[str, Any]
) -> None:
    folder = make(tmp_path, "x", status="done", **damage)
    with pytest.raises(ParameterError, match=r"result\.json is damaged"):
        stored_result(folder)
    with pytest.raises(ParameterError, match=r"result\.json is damaged"):
        earlier_steps(folder)
