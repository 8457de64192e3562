"""The ledger: append-only, whole lines in a chain, safe between processes, honest about damage."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyrunbook.errors import LedgerDamaged, OutputsNotWritable, RunBusy
from keyrunbook.ledger import NAME, Ledger, find_run, new_run_id, read_chain, run_folder
from keyrunbook.parameters import Parameters

TIME = "2026-01-31T09:00:00.000+00:00"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / NAME)


def append(ledger: Ledger, kind: str = "facts", step: str = "01_create_key", **fields: Any) -> None:
    ledger.append(kind, step=step, time=TIME, **fields)


def test_a_line_is_numbered_timed_named_and_chained_to_the_one_before(ledger: Ledger) -> None:
    append(ledger, facts={"key_arn": "arn:é"})
    append(ledger, "done")
    bodies = [
        f'{{"n": 1, "time": "{TIME}", "step": "01_create_key", "kind": "facts", '
        '"facts": {"key_arn": "arn:é"}',
        f'{{"n": 2, "time": "{TIME}", "step": "01_create_key", "kind": "done"',
    ]
    expected, before = "", "0" * 64
    for body in bodies:
        before = hashlib.sha256((before + body).encode()).hexdigest()
        expected += f'{body}, "hash": "{before}"}}\n'
    assert ledger.path.read_text("utf-8") == expected
    assert ledger.chain().head == before


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


# Damage

Lines = list[bytes]


def changed(number: int, change: Callable[[bytes], bytes]) -> Callable[[Lines], Lines]:
    """Change one line, counted from 0, of a ledger's three."""
    return lambda lines: [change(line) if number == at else line for at, line in enumerate(lines)]


def kept(*numbers: int) -> Callable[[Lines], Lines]:
    """Keep these lines, in this order."""
    return lambda lines: [lines[number] for number in numbers]


DAMAGED = [
    (changed(1, lambda _: b"{"), 2, "Expecting property name"),
    (changed(1, lambda _: b""), 2, "Expecting value"),
    (changed(2, lambda line: line[:-9]), 3, "Unterminated string"),
    (lambda lines: [lines[0], lines[1] + lines[2]], 2, "Extra data"),
    (changed(1, lambda _: b"[]"), 2, "not an entry"),
    (changed(1, lambda _: b'{"n": 2}'), 2, "not an entry"),
    (changed(1, lambda _: b"\xff"), 2, "can't decode"),
    (changed(1, lambda line: line.replace(b"{}", b"{ }")), 2, "not as it was written"),
    (changed(2, lambda line: line.replace(b'"k": 2', b'"k": 3')), 3, "not as it was written"),
    (changed(2, lambda line: line[:-1] + b" }"), 3, "does not end in its hash"),
    (changed(2, lambda line: line[:-66] + b"0" * 64 + line[-2:]), 3, "not as it was written"),
    (changed(0, lambda line: line.split(b', "hash"')[0] + b"}"), 1, "does not end in its hash"),
    (kept(0, 2), 2, "it is entry 3, so lines are missing, doubled or moved"),
    (kept(0, 0, 1, 2), 2, "it is entry 1"),
    (kept(0, 2, 1), 2, "it is entry 3"),
    (kept(1, 2), 1, "it is entry 2"),
]


def three(ledger: Ledger) -> Lines:
    """The lines of a ledger of three, without their ends."""
    for k in range(3):
        append(ledger, k=k, facts={})
    return ledger.path.read_bytes().splitlines()


@pytest.mark.parametrize(("change", "number", "reason"), DAMAGED)
def test_damage_is_named_by_its_line_and_left_as_it_is(
    ledger: Ledger, change: Callable[[Lines], Lines], number: int, reason: str
) -> None:
    content = b"".join(line + b"\n" for line in change(three(ledger)))
    ledger.path.write_bytes(content)
    for use in (ledger.entries, ledger.facts, ledger.done, lambda: append(ledger)):
        with pytest.raises(LedgerDamaged, match=f"line {number}, is damaged") as caught:
            use()
        assert reason in caught.value.what
        assert str(ledger.path) in caught.value.what
        assert "start a new run" in caught.value.fix
        assert caught.value.exit_status == 1
    assert ledger.path.read_bytes() == content


def sample() -> Lines:
    """A ledger as bytes, in lines with their ends."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / NAME)
        for k in range(6):
            append(ledger, k=k, text="é → x", facts={"key_arn": f"arn:{k}"})
        return ledger.path.read_bytes().splitlines(keepends=True)


SAMPLE = sample()
WHOLE = b"".join(SAMPLE)
HERE = Path(NAME)


def is_found(content: bytes) -> bool:
    """Whether a reader is told that this is not the ledger that was written."""
    try:
        return read_chain(content, HERE).torn_bytes > 0
    except LedgerDamaged:
        return True


@given(at=st.integers(0, len(WHOLE) - 1), byte=st.integers(0, 255))
def test_any_changed_byte_is_found(at: int, byte: int) -> None:
    assert is_found(WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :]) == (byte != WHOLE[at])


@given(at=st.integers(0, len(WHOLE) - 1), more=st.binary(min_size=1, max_size=3))
def test_any_added_bytes_are_found(at: int, more: bytes) -> None:
    assert is_found(changed_bytes := WHOLE[:at] + more + WHOLE[at:]) == (changed_bytes != WHOLE)


@given(order=st.lists(st.integers(0, len(SAMPLE) - 1), max_size=len(SAMPLE) + 2))
def test_any_other_order_of_the_lines_is_found_but_for_a_shorter_end(order: list[int]) -> None:
    """Dropped, doubled, swapped: all but lines missing from the end, which the head hash shows."""
    content = b"".join(SAMPLE[k] for k in order)
    assert is_found(content) == (order != list(range(len(order))))


@given(forged=st.integers(0, len(SAMPLE) - 2))
def test_a_line_made_anew_with_a_hash_of_its_own_breaks_the_line_after_it(forged: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / NAME)
        ledger.path.write_bytes(b"".join(SAMPLE[:forged]))
        append(ledger, k="forged")
        made = ledger.path.read_bytes()
    with pytest.raises(LedgerDamaged, match=f"line {forged + 2}, is damaged: its hash"):
        read_chain(made + b"".join(SAMPLE[forged + 1 :]), HERE)


@given(at=st.integers(0, len(WHOLE)))
def test_a_crash_at_any_byte_leaves_the_whole_lines_and_the_next_append_says_so(at: int) -> None:
    whole = WHOLE[: WHOLE[:at].rfind(b"\n") + 1]
    before, torn = whole.count(b"\n"), at - len(whole)
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / NAME)
        ledger.path.write_bytes(WHOLE[:at])
        assert [entry["n"] for entry in ledger.entries()] == list(range(1, before + 1))
        assert ledger.path.read_bytes() == WHOLE[:at]  # reading repairs nothing
        append(ledger, "done")
        assert ledger.path.read_bytes().startswith(whole)
        new = ledger.entries()[before:]
    assert [one["kind"] for one in new] == ["repaired"] * bool(torn) + ["done"]
    assert [one["dropped_bytes"] for one in new[:-1]] == [torn] * bool(torn)


def test_blocks_of_the_last_line_that_never_reached_the_disk_are_a_torn_end(
    ledger: Ledger,
) -> None:
    lines = three(ledger)
    lost = lines[2][:20] + b"\0" * 9 + lines[2][29:] + b"\n"
    ledger.path.write_bytes(lines[0] + b"\n" + lines[1] + b"\n" + lost)
    assert ledger.chain().torn_bytes == len(lost)
    append(ledger, "done")
    assert [entry["kind"] for entry in ledger.entries()[2:]] == ["repaired", "done"]


def test_zeros_in_an_earlier_line_are_damage(ledger: Ledger) -> None:
    lines = three(ledger)
    ledger.path.write_bytes(b"\0" * 9 + b"\n" + b"\n".join(lines[1:]) + b"\n")
    with pytest.raises(LedgerDamaged, match="line 1, is damaged"):
        ledger.entries()


def test_time_never_goes_backwards(ledger: Ledger) -> None:
    """The clocks of two steps' processes may differ by a second."""
    for second in (5, 3, 6, 5):
        ledger.append("done", step="x", time=f"2026-01-31T09:00:0{second}.000+00:00")
    assert [entry["time"][18] for entry in ledger.entries()] == ["5", "5", "6", "6"]


# One process applies at a time

HOLDER = """
import sys
from pathlib import Path
from keyrunbook.ledger import Ledger
with Ledger(Path(sys.argv[1])).applying():
    print("holds", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.e2e
@pytest.mark.parametrize("ending", ["well", "killed"])
def test_while_one_process_applies_another_is_refused_and_told_whose_turn_it_is(
    ledger: Ledger, ending: str
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(ledger.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "holds\n"
    since = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    told = f"Process {holder.pid} has been applying a step of the run '.+' since {since};"
    with pytest.raises(RunBusy, match=told) as caught, ledger.applying():
        pass
    assert "plan and apply again" in caught.value.fix
    append(ledger)  # who only reads and notes is not in the way
    if ending == "killed":
        holder.kill()
    holder.communicate()
    with ledger.applying():
        pass
    with ledger.applying():
        pass


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


# What became of calls


INTENT, LOOKED_UP = {"kind": "intent", "call": "c"}, {"intent": 1, "found": "by looking"}
OUTCOMES: list[tuple[list[dict[str, Any]], list[int], dict[str, Any]]] = [
    ([], [], {}),
    ([INTENT], [1], {}),
    ([INTENT, {"status": "done", "gives": {"a": 1}}], [], {"a": 1}),
    ([INTENT, {"status": "refused"}], [], {}),
    ([INTENT, {"status": "not made"}], [], {}),
    ([INTENT, {"status": "unknown"}], [1], {}),
    ([INTENT, {"status": "unknown"}, {"status": "done", "gives": {"a": 1}}], [], {"a": 1}),
    ([INTENT, INTENT, {"status": "done", "gives": {}}], [1], {}),
    ([INTENT, INTENT, {"status": "done", "gives": {"a": 1}, **LOOKED_UP}], [2], {"a": 1}),
    ([INTENT, {"kind": "facts", "facts": {"a": 2}}], [1], {"a": 2}),
]


@pytest.mark.parametrize(("lines", "unsettled", "facts"), OUTCOMES)
def test_an_intent_is_settled_by_an_outcome_that_is_known_and_an_answer_is_a_fact(
    ledger: Ledger, lines: list[dict[str, Any]], unsettled: list[int], facts: dict[str, Any]
) -> None:
    for line in lines:
        append(ledger, **{"kind": "outcome", **line})
    assert [intent["n"] for intent in ledger.unsettled()] == unsettled
    assert ledger.facts() == facts
    assert ledger.last_intent() == sum(line.get("kind") == "intent" for line in lines)
