"""The ledger: append-only, whole lines, safe between processes, and honest about damage."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyrunbook.errors import OutputsNotWritable, ParameterError
from keyrunbook.ledger import NAME, Ledger, find_run, new_run_id, run_folder
from keyrunbook.parameters import Parameters

TIME = "2026-01-31T09:00:00.000+00:00"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / NAME)


def append(ledger: Ledger, kind: str = "facts", step: str = "01_create_key", **fields: Any) -> None:
    ledger.append(kind, step=step, time=TIME, **fields)


def test_a_line_is_numbered_timed_and_named(ledger: Ledger) -> None:
    append(ledger, facts={"key_arn": "arn:é"})
    append(ledger, "done")
    assert ledger.path.read_text("utf-8").splitlines() == [
        f'{{"n": 1, "time": "{TIME}", "step": "01_create_key", "kind": "facts", '
        '"facts": {"key_arn": "arn:é"}}',
        f'{{"n": 2, "time": "{TIME}", "step": "01_create_key", "kind": "done"}}',
    ]


def test_there_is_nothing_before_the_first_line(ledger: Ledger) -> None:
    assert (ledger.entries(), ledger.opened(), ledger.facts(), ledger.done()) == (
        [],
        None,
        {},
        set(),
    )
    assert list(ledger.path.parent.iterdir()) == []


def test_what_was_written_stays_byte_for_byte(ledger: Ledger) -> None:
    before = b""
    for number in range(5):
        append(ledger, number=number)
        now = ledger.path.read_bytes()
        assert now.startswith(before)
        assert now.count(b"\n") == number + 1
        before = now


@given(value=st.recursive(st.text() | st.integers() | st.booleans() | st.none(), st.lists))
def test_whatever_text_a_line_holds_it_is_one_line_and_reads_back(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("run") / NAME)
    append(ledger, value=value)
    append(ledger, "done")
    assert [entry.get("value") for entry in ledger.entries()] == [value, None]


def test_what_json_does_not_know_is_kept_as_text(ledger: Ledger) -> None:
    append(ledger, at=datetime(2026, 1, 31, tzinfo=UTC))
    assert ledger.entries()[0]["at"] == "2026-01-31 00:00:00+00:00"


def test_a_later_fact_overrides_an_earlier_one(ledger: Ledger) -> None:
    append(ledger, facts={"a": 1, "b": 1})
    append(ledger, "findings", facts={"a": 9})
    append(ledger, step="02_grant_access", facts={"b": 2, "c": 2})
    assert ledger.facts() == {"a": 1, "b": 2, "c": 2}


def test_lines_are_found_by_kind_and_step(ledger: Ledger) -> None:
    append(ledger, "opened", run_id="x")
    append(ledger, "opened", run_id="later")
    append(ledger, "done")
    append(ledger, "done", "02_grant_access")
    opened = ledger.opened()
    assert opened is not None
    assert opened["run_id"] == "x"
    assert ledger.done() == {"01_create_key", "02_grant_access"}
    assert [entry["n"] for entry in ledger.of_kind("done")] == [3, 4]
    assert [entry["n"] for entry in ledger.of_kind("done", "02_grant_access")] == [4]


WRITER = """
import sys
from pathlib import Path
from keyrunbook.ledger import Ledger
path, name, lines = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for k in range(lines):
    Ledger(path).append("facts", step=name, time="t", facts={"k": k}, filler="é" * 9000)
"""


@pytest.mark.e2e
def test_processes_that_append_at_once_keep_lines_whole_and_numbers_unique(ledger: Ledger) -> None:
    processes, lines = 4, 15
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(ledger.path), f"writer {k}", str(lines)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for k in range(processes)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    while any(writer.poll() is None for writer in writers):
        ledger.entries()  # a reader never meets half a line
    assert [writer.wait() for writer in writers] == [0] * processes
    for writer in writers:
        writer.communicate()

    entries = ledger.entries()
    assert [entry["n"] for entry in entries] == list(range(1, processes * lines + 1))
    for k in range(processes):
        mine = [entry["facts"]["k"] for entry in entries if entry["step"] == f"writer {k}"]
        assert mine == list(range(lines))


def entry(n: int) -> str:
    return json.dumps({"n": n, "time": TIME, "step": "s", "kind": "facts", "facts": {}})


DAMAGED = [
    ([entry(1), "{", entry(3)], 2, "Expecting property name"),
    ([entry(1), "", entry(2)], 2, "Expecting value"),
    ([entry(1), entry(2)[:-9]], 2, "Unterminated string"),
    ([entry(1), entry(2) + entry(3)], 2, "Extra data"),
    ([entry(1), "[]"], 2, "not an entry"),
    ([entry(1), '{"n": 2}'], 2, "not an entry"),
    ([entry(1), entry(3)], 2, "it is entry 3, so lines are missing"),
    ([entry(1), entry(1)], 2, "it is entry 1"),
    ([entry(2)], 1, "it is entry 2"),
    ([entry(1), "\udcff"], 2, "can't decode"),
]


@pytest.mark.parametrize(("lines", "number", "reason"), DAMAGED)
def test_damage_is_named_by_its_line(
    ledger: Ledger, lines: list[str], number: int, reason: str
) -> None:
    text = "".join(line + "\n" for line in lines)
    ledger.path.write_bytes(text.encode("utf-8", "surrogateescape"))
    for use in (ledger.entries, ledger.facts, ledger.done, lambda: append(ledger)):
        with pytest.raises(ParameterError, match=f"line {number}, is damaged") as caught:
            use()
        assert reason in caught.value.what
        assert str(ledger.path) in caught.value.what
        assert "start a new run" in caught.value.fix
    assert ledger.path.read_bytes() == text.encode("utf-8", "surrogateescape")


def test_a_last_line_without_its_end_is_damage_and_nothing_is_written_behind_it(
    ledger: Ledger,
) -> None:
    append(ledger)
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole + whole[:-1])
    for use in (ledger.entries, lambda: append(ledger)):
        with pytest.raises(ParameterError, match="line 2, is damaged: its end is missing"):
            use()
    assert ledger.path.read_bytes() == whole + whole[:-1]


# Runs and their folders


def run(outputs: Path, run_id: str, *done: str, age_s: int) -> None:
    ledger = Ledger(run_folder(outputs, run_id) / NAME)
    append(ledger, "opened", run_id=run_id)
    for step in done:
        append(ledger, "done", step)
    os.utime(ledger.path, (1e9 - age_s, 1e9 - age_s))


def test_the_current_run_is_the_newest_unfinished_one(tmp_path: Path) -> None:
    assert find_run(tmp_path, "06_clean_up") is None
    run(tmp_path, "finished", "00_preflight", "06_clean_up", age_s=1)
    assert find_run(tmp_path, "06_clean_up") is None
    run(tmp_path, "old", "00_preflight", age_s=30)
    run(tmp_path, "newer", "00_preflight", "05_revoke_access", age_s=20)
    (tmp_path / "no-run").mkdir()
    assert find_run(tmp_path, "06_clean_up") == "newer"


def test_a_new_run_s_id_is_a_valid_one_and_begins_with_the_day() -> None:
    before, run_id, after = datetime.now(UTC), new_run_id(), datetime.now(UTC)
    assert Parameters(run_id=run_id).run_id == run_id
    assert run_id[:8] in {f"{before:%Y%m%d}", f"{after:%Y%m%d}"}
    assert re.fullmatch(r"\d{8}-[0-9a-f]{6}", run_id)
    assert new_run_id() != run_id


def test_a_run_s_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a" / "b", "x")
    assert folder == tmp_path / "a" / "b" / "x"
    assert list(folder.iterdir()) == []
    assert run_folder(tmp_path / "a" / "b", "x") == folder


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputsNotWritable, match="cannot be written: Not a directory") as caught:
        run_folder(tmp_path / "file", "x")
    assert str(tmp_path / "file" / "x") in caught.value.what
    assert "--outputs" in caught.value.fix


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputsNotWritable, match="cannot be written: Permission denied"):
            run_folder(tmp_path, "x")
    finally:
        tmp_path.chmod(0o700)
