"""`runbook runs`, `show` and `report`, on a real run, as a person and a program use them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from keyrunbook.cli import _main
from keyrunbook.ledger import NAME, Ledger
from keyrunbook.records import parse_record
from keyrunbook.steps import STEPS
from keyrunbook.steps.timeline import timeline

pytestmark = pytest.mark.e2e

BIN = Path(sys.executable).parent


def runbook(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [str(BIN / "runbook"), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs folder of one whole run."""
    outputs = tmp_path_factory.mktemp("outputs")
    done = runbook("run", "--outputs", outputs, "--run-id", "whole")
    assert done.returncode == 0, done.stderr
    return outputs


@pytest.fixture
def outputs(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "outputs"))


def lines(outputs: Path) -> list[dict[str, Any]]:
    return Ledger(outputs / "whole" / NAME).entries()


def test_the_list_names_the_run_on_one_line(whole: Path) -> None:
    done = runbook("runs", "--outputs", whole)
    assert done.returncode == 0, done.stderr
    header, line = done.stdout.splitlines()
    assert header.split()[0] == "run"
    pattern = r"whole +\d{4}-\d\d-\d\dT[\d:.]+Z +sandbox +111122223333 +us-west-2 +7 +PROVED +done"
    assert re.match(pattern, line)


def test_the_list_as_json(whole: Path) -> None:
    (run,) = json.loads(runbook("runs", "--outputs", whole, "--json").stdout)
    assert run["run_id"] == "whole"
    assert run["steps_done"] == list(STEPS)
    assert (run["verdict"], run["damage"]) == ("PROVED", None)


def test_no_runs(tmp_path: Path) -> None:
    done = runbook("runs", "--outputs", tmp_path)
    assert (done.returncode, done.stdout) == (0, f"There are no runs in {tmp_path}.\n")
    assert json.loads(runbook("runs", "--outputs", tmp_path, "--json").stdout) == []


def test_the_story_has_every_change_with_its_request_and_the_verdict_with_its_events(
    whole: Path,
) -> None:
    done = runbook("show", "whole", "--outputs", whole)
    assert done.returncode == 0, done.stderr
    entries = lines(whole)
    places = [done.stdout.index(f"\n{step}\n") for step in STEPS]
    assert places == sorted(places)
    for entry in entries:
        if entry["kind"] == "outcome":
            assert f"✓ done, request {entry['request_id']}" in done.stdout
        if entry["kind"] == "intent":
            assert entry["call"] in done.stdout
    (verdict,) = (entry for entry in entries if entry["kind"] == "verdict")
    assert f"event ids: {', '.join(verdict['events'])}" in done.stdout
    assert "the embedded sandbox" in done.stdout
    assert "not AWS" in done.stdout
    assert f"head hash {entries[-1]['hash']}" in done.stdout
    assert "not a forger" in done.stdout


def test_the_story_as_json_says_that_only_the_scheduled_key_is_left(whole: Path) -> None:
    told = json.loads(runbook("show", "whole", "--outputs", whole, "--json").stdout)
    changes = [one for one in told["story"] if one["kind"] == "change"]
    assert {one["status"] for one in changes} == {"done"}
    assert all(one["request_id"] and one["undo"] and one["operator"] for one in changes)
    (left,) = told["left"]
    assert left["what"].startswith("KMS key arn:aws:kms:us-west-2:111122223333:key/")
    assert left["state"].startswith("scheduled for deletion: ")
    assert told["head"] == lines(whole)[-1]["hash"]


def test_an_altered_ledger_is_status_1_with_its_line_and_still_listed(outputs: Path) -> None:
    path = outputs / "whole" / NAME
    path.write_bytes(path.read_bytes().replace(b'"PROVED"', b'"proved"', 1))
    (number,) = (n for n, line in enumerate(path.read_text().splitlines(), 1) if '"proved"' in line)
    done = runbook("show", "whole", "--outputs", outputs)
    assert done.returncode == 1, done.stdout
    assert f"{path}, line {number}, is damaged: its hash is another" in done.stderr
    listed = runbook("runs", "--outputs", outputs)
    assert listed.returncode == 0
    assert f"DAMAGED: {path}, line {number}" in listed.stdout


def test_lines_missing_from_the_end_show_against_a_head_that_was_kept(outputs: Path) -> None:
    path, entries = outputs / "whole" / NAME, lines(outputs)
    for entry in (entries[3], entries[-1]):
        words = ("show", "whole", "--outputs", outputs, "--head", entry["hash"])
        assert runbook(*words).returncode == 0
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert runbook("show", "whole", "--outputs", outputs).returncode == 0
    done = runbook("show", "whole", "--outputs", outputs, "--head", entries[-1]["hash"])
    assert done.returncode == 1
    assert "not the whole of the ledger" in done.stderr


def test_a_torn_end_is_told_and_left_as_it_is(outputs: Path) -> None:
    path = outputs / "whole" / NAME
    torn = path.read_bytes() + b'{"n": 7'
    path.write_bytes(torn)
    done = runbook("show", "whole", "--outputs", outputs)
    assert done.returncode == 0, done.stderr
    assert "7 bytes of a torn line" in done.stdout
    assert path.read_bytes() == torn


def test_reading_writes_nothing(outputs: Path) -> None:
    def state() -> dict[str, bytes]:
        return {
            str(path.relative_to(outputs)): path.read_bytes()
            for path in outputs.rglob("*")
            if path.is_file()
        }

    before = state()
    for words in (("runs",), ("show", "whole"), ("show", "whole", "--json")):
        assert runbook(*words, "--outputs", outputs).returncode == 0
    assert state() == before


def test_a_run_that_does_not_exist_is_status_2_and_names_those_that_do(whole: Path) -> None:
    done = runbook("show", "no-such", "--outputs", whole)
    assert done.returncode == 2
    assert "There is no run 'no-such'" in done.stderr
    assert "whole" in done.stderr
    assert runbook("show", "../whole", "--outputs", whole).returncode == 2


@pytest.mark.parametrize("command", ["report", "runs", "show"])
def test_the_commands_explain_themselves(command: str) -> None:
    done = runbook(command, "--help")
    assert done.returncode == 0
    assert "Exit status" in done.stdout


def test_the_timeline_is_drawn_from_the_ledger(whole: Path, tmp_path: Path) -> None:
    """Calls, changes of policy, records, a refusal, and when each record was seen."""
    picture = tmp_path / "timeline.png"
    done = runbook("show", "whole", "--outputs", whole, "--timeline", picture)
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    words = timeline(lines(whole), "x").text()
    assert words.count("(change of policy)") >= 4
    assert (
        len(re.findall(r"CreateWorkflow at \S+ → CloudTrail: GenerateDataKey \(counts\)", words))
        == 1
    )
    refused = r"CreateImage at \S+ → CloudTrail: Decrypt \(refused\) at \S+, seen by \S+"
    assert len(re.findall(refused, words)) == 1
    elsewhere = tmp_path / "absent" / "timeline.png"
    done = runbook("show", "whole", "--outputs", whole, "--timeline", elsewhere)
    assert (done.returncode, "another file by --timeline" in done.stderr) == (5, True)


def test_the_report_of_a_run_is_one_file_from_what_is_on_disk(outputs: Path) -> None:
    """The same bytes each time, with what the ledger holds, and what each judged record says."""
    done = runbook("report", "whole", "--outputs", outputs)
    assert done.returncode == 0, done.stderr
    path = outputs / "whole" / "report.html"
    assert done.stdout == f"{path}\n"
    page, entries = path.read_text(), lines(outputs)
    (verdict,) = (entry for entry in entries if entry["kind"] == "verdict")
    for wanted in (*verdict["events"], entries[-1]["hash"], "✓ PROVED", "embedded sandbox"):
        assert wanted in page
    records = [one for entry in entries if entry["kind"] == "records" for one in entry["records"]]
    assert len(records) > len(verdict["events"])
    for one in records:
        assert parse_record(one["record"]).event_id == one["event_id"]
    assert page.count("← must be KMS</b>") == len(records)
    assert next(one["when"] for one in entries if one["kind"] == "access") == "granted"
    assert "[left out]" not in page  # nothing of a run looks confidential
    assert str(outputs) not in page
    again = runbook("report", "whole", "--outputs", outputs, "--output", outputs / "r.html")
    assert again.returncode == 0, again.stderr
    assert (outputs / "r.html").read_bytes() == path.read_bytes()


def test_a_report_replaces_a_report_and_nothing_else(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, gone = outputs / "mine.html", outputs / "absent" / "r.html"
    mine.write_text("mine")
    words = ["report", "whole", "--outputs", str(outputs), "--output"]
    assert _main([*words, str(mine)]) == 2
    assert mine.read_text() == "mine"
    assert "is there, and is no report" in capsys.readouterr().err
    assert _main([*words, str(gone)]) == 5
    assert _main(["report", "no-such", "--outputs", str(outputs)]) == 2
    words = [*words, str(outputs / "r.html")]
    assert _main([*words, "--head", "0" * 8]) == 1
    assert _main(words) == 0
    assert _main(words) == 0
    path = outputs / "whole" / NAME
    path.write_bytes(path.read_bytes().replace(b'"PROVED"', b'"proved"', 1))
    before = (outputs / "r.html").read_bytes()
    assert _main(words) == 1
    assert (outputs / "r.html").read_bytes() == before


@pytest.mark.parametrize("count", [0, 5, 15, 40])
def test_the_report_of_a_run_that_was_killed(outputs: Path, count: int) -> None:
    """After any line: it was opened or not, an intent has no outcome, a revocation stands."""
    path = outputs / "whole" / NAME
    kept = path.read_bytes().splitlines(keepends=True)[:count]
    path.write_bytes(b"".join(kept))
    (outputs / "whole" / "result.json").unlink()
    assert _main(["report", "whole", "--outputs", str(outputs)]) == 0
    page = (outputs / "whole" / "report.html").read_text()
    assert "no result.json: its notebooks were opened by hand" in page
    assert ("✓ PROVED" in page) is any(b'"kind": "verdict"' in one for one in kept)
