"""Log files here: found in any layout, read to their ends or told of, and what they cover."""

from __future__ import annotations

import gzip
import json
import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from keyrunbook.errors import ParameterError
from keyrunbook.logs import LATE, Found, Wanted, search
from keyrunbook.proof import Outcome, Span, prove
from log_files import name_of, text_of, write, write_log
from true_logs import CREATED, READ, claim, true_log

RECORDS = list(true_log().values())
DELIVERED = READ + timedelta(minutes=5)
PACKED = gzip.compress(text_of(RECORDS), mtime=0)
HALF = (
    gzip.compress(text_of(RECORDS)[:700], mtime=0),
    gzip.compress(text_of(RECORDS)[700:], mtime=0),
)


def outcome(found: Found) -> Outcome:
    asked = claim(prover_reads=())
    return prove(found.records, asked, found.searched).outcome


@pytest.mark.parametrize(
    "place",
    [
        f"AWSLogs/111122223333/CloudTrail/us-west-2/2023/11/21/{name_of(DELIVERED)}",
        f"prefix/AWSLogs/o-exampleorgid/111122223333/CloudTrail/us-west-2/{name_of(DELIVERED)}",
        name_of(DELIVERED),
        "renamed.json.gz",
        "a folder with spaces/X.JSON.GZ",
    ],
)
def test_the_true_log_proves_wherever_it_lies(tmp_path: Path, place: str) -> None:
    write(tmp_path / place, text_of(RECORDS))
    for path in (tmp_path, tmp_path / place, f"{tmp_path}/**/*"):
        found = search([str(path)])
        assert outcome(found) is Outcome.PROVED
        assert (found.files, found.size) == (1, len(text_of(RECORDS)))
        assert found.searched.complete
        assert str(path) in found.searched.source


@pytest.mark.parametrize(
    ("packed", "why"),
    [
        pytest.param(PACKED, None, id="as CloudTrail writes it"),
        pytest.param(text_of(RECORDS), None, id="not compressed"),
        pytest.param(b"".join(HALF), None, id="two gzip members"),
        pytest.param(HALF[0] + gzip.compress(b"") + HALF[1] + bytes(512), None, id="zero-padded"),
        pytest.param(json.dumps({"Records": RECORDS}, indent=2).encode(), None, id="spaced"),
        pytest.param(PACKED[:-1], "cut short", id="a byte too short"),
        pytest.param(PACKED[: len(PACKED) // 2], "cut short", id="half a file"),
        pytest.param(PACKED[:7], "cut short", id="half a header"),
        pytest.param(HALF[0], "does not end with", id="the second member is missing"),
        pytest.param(PACKED + b"garbage that is long enough", "not gzip's", id="garbage behind it"),
        pytest.param(PACKED + b"x", "not gzip's", id="one byte behind it"),
        pytest.param(PACKED + PACKED, "is not JSON", id="two logs in one file"),
        pytest.param(PACKED[:-8] + bytes(4) + PACKED[-4:], "is damaged", id="another checksum"),
        pytest.param(PACKED[:-4] + bytes(4), "is damaged", id="another length"),
        pytest.param(
            PACKED[:300] + bytes([PACKED[300] ^ 1]) + PACKED[301:], "is", id="a changed byte"
        ),
        pytest.param(b"", "is empty", id="an empty file"),
        pytest.param(gzip.compress(b""), "is empty", id="an empty text"),
        pytest.param(bytes(64), "does not begin with", id="zero bytes"),
        pytest.param(b"<html>not found</html>", "does not begin with", id="not JSON"),
        pytest.param(b"\xef\xbb\xbf" + text_of(RECORDS), "does not begin", id="a byte order mark"),
        pytest.param(text_of(RECORDS).decode().encode("utf-16"), "does not begin", id="UTF-16"),
        pytest.param(json.dumps(RECORDS).encode(), "does not begin", id="a bare list"),
        pytest.param(json.dumps(RECORDS[1]).encode(), "does not begin", id="a record by itself"),
        pytest.param(
            b"\n".join(json.dumps(one).encode() for one in RECORDS), "does not begin", id="lines"
        ),
        pytest.param(
            text_of(RECORDS)[:-1] + b',"Records":[]}', "is not JSON", id="two lists of records"
        ),
        pytest.param(text_of(RECORDS)[:-2], "does not end with", id="the list is not closed"),
        pytest.param(text_of(RECORDS)[:-2] + b",]}", "is not JSON", id="a comma too many"),
        pytest.param(
            text_of([*RECORDS, {"deep": None}]).replace(b"null}", b"[" * 9999 + b"]" * 9999 + b"}"),
            None,
            id="nested deeply behind the last that matters",
        ),
        pytest.param(
            text_of([{"deep": 0}, *RECORDS]).replace(b"0}", b"[" * 9999 + b"]" * 9999 + b"}"),
            "nested too deeply",
            id="nested deeply",
        ),
    ],
)
def test_a_file_is_read_to_its_end_or_told_of(
    tmp_path: Path, packed: bytes, why: str | None
) -> None:
    path = tmp_path / name_of(DELIVERED)
    path.write_bytes(packed)
    found = search([tmp_path])
    told = [str(one) for one in found.searched.malformed]
    if why is None:
        assert told == []
        assert outcome(found) is Outcome.PROVED
        return
    assert len(told) == 1
    assert told[0].startswith(f"{path}: ")
    assert why in told[0]
    assert not found.searched.complete
    assert (found.records, outcome(found)) == ((), Outcome.NOT_YET)


@pytest.mark.parametrize(
    ("record", "where", "why"),
    [
        ("imagebuilder", "record 2", "a record is an object, not a string"),
        (["imagebuilder"], "record 2", "not a list"),
        ({"eventSource": "imagebuilder.amazonaws.com"}, "record 2: eventVersion", "is missing"),
        ({**RECORDS[0], "eventTime": "yesterday"}, "eventTime", "not a time"),
        ({**RECORDS[0], "eventVersion": "2.0"}, "eventVersion", "unknown major version"),
        ({**RECORDS[0], "userIdentity": "root"}, "userIdentity", "not an object"),
    ],
)
def test_a_malformed_record_is_told_with_its_place(
    tmp_path: Path, record: object, where: str, why: str
) -> None:
    text = json.dumps({"Records": [RECORDS[1], record, RECORDS[3]]}).encode()
    path = write(tmp_path / name_of(DELIVERED), text)
    found = search([tmp_path])
    (told,) = found.searched.malformed
    assert told.place.startswith(f"{path}, record 2")
    assert where in told.place
    assert why in told.reason
    assert len(found.records) == 2
    assert found.searched.incomplete


def test_letters_that_are_no_utf_8_are_told(tmp_path: Path) -> None:
    text = text_of(RECORDS).replace(b"event-CreateWorkflow", b"event-\xff")
    write(tmp_path / name_of(DELIVERED), text)
    (told,) = search([tmp_path]).searched.malformed
    assert "record 1" in told.place
    assert "not UTF-8" in told.reason


def test_what_matters_to_nobody_is_told_where_every_record_is_parsed(tmp_path: Path) -> None:
    text = text_of([{"eventSource": "s3.amazonaws.com"}])
    write(tmp_path / name_of(DELIVERED), text)
    assert search([tmp_path]).searched.malformed == ()
    (told,) = search([tmp_path], every=True).searched.malformed
    assert told.reason == "is missing"


def test_records_of_another_word_are_found_by_it(tmp_path: Path) -> None:
    other = {**RECORDS[3], "eventID": "other", "requestParameters": {"keyId": "0987dcba-09fe"}}
    del other["userIdentity"], other["sourceIPAddress"], other["userAgent"]
    write(tmp_path / name_of(DELIVERED), text_of([other, *RECORDS]))
    assert len(search([tmp_path]).records) == 4
    (record,) = search([tmp_path], words=("0987dcba-09fe",)).records
    assert record.event_id == "other"
    assert len(search([tmp_path], words=("0987dcba-09fe", "imagebuilder")).records) == 5


def test_doubles_are_told_and_count_once(tmp_path: Path) -> None:
    first = write(tmp_path / "a" / name_of(DELIVERED), text_of(RECORDS))
    second = write(tmp_path / "b" / name_of(DELIVERED), text_of(RECORDS))
    third = write(tmp_path / "c" / name_of(DELIVERED), text_of(RECORDS[:1]))
    os.link(first, tmp_path / "d.json.gz")
    found = search([tmp_path])
    assert (found.files, len(found.records)) == (3, 4)
    assert outcome(found) is Outcome.PROVED
    linked, texts, names = found.notes
    assert linked == f"{first} is {tmp_path}/d.json.gz again: it was read once"
    assert f"{second}, {tmp_path}/d.json.gz hold the same text" in texts
    assert f"{second}, {third} have one name and hold different texts" in names


def test_of_many_doubles_the_first_are_named(tmp_path: Path) -> None:
    for number in range(9):
        write(tmp_path / f"{number}" / name_of(DELIVERED, f"{number}"), text_of(RECORDS))
    (note,) = search([tmp_path]).notes
    assert note.count(str(tmp_path)) == 4
    assert "and 5 more hold the same text" in note


def test_one_event_told_in_two_ways_is_kept_in_both(tmp_path: Path) -> None:
    forged = {**RECORDS[3], "errorCode": "AccessDenied"}
    write(tmp_path / name_of(DELIVERED, "A"), text_of(RECORDS))
    write(tmp_path / name_of(DELIVERED, "B"), text_of([forged]))
    found = search([tmp_path])
    assert len(found.records) == 5
    assert outcome(found) is Outcome.NOT_YET


def test_links_that_loop_end_and_what_leads_nowhere_is_told(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    write(logs / name_of(DELIVERED), text_of(RECORDS))
    (logs / "loop").symlink_to(tmp_path)
    (logs / "self").symlink_to(logs / "self")
    (logs / "gone.json.gz").symlink_to(tmp_path / "nowhere")
    os.mkfifo(logs / "pipe.json.gz")
    (logs / "notes.txt").write_text("imagebuilder")
    found = search([tmp_path])
    assert found.files == 1
    told = {one.place.rpartition("/")[2]: one.reason for one in found.searched.malformed}
    assert "leads nowhere" in told["gone.json.gz"]
    assert told["pipe.json.gz"] == "is not a regular file"
    assert any("entered once" in note for note in found.notes)
    assert any("notes.txt among them" in note for note in found.notes)
    assert outcome(found) is Outcome.NOT_YET  # what could not be read may hold another read


def test_what_may_not_be_read_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "x" / name_of(DELIVERED), text_of(RECORDS))
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything
        pytest.skip("this user may read everything")
    assert "Permission denied" in search([tmp_path]).searched.malformed[0].reason
    assert outcome(search([tmp_path])) is Outcome.NOT_YET
    (tmp_path / "x").chmod(0)
    assert "could not be looked into" in search([tmp_path]).searched.malformed[0].reason
    (tmp_path / "x").chmod(0o700)


@pytest.mark.skipif(sys.platform != "linux", reason="a file that is there and cannot be read")
def test_what_breaks_on_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.json.gz").symlink_to("/proc/self/mem")
    (told,) = search([tmp_path]).searched.malformed
    assert told.place == str(tmp_path / "x.json.gz")
    assert told.reason == "could not be read: Input/output error"


@pytest.mark.parametrize("path", ["nowhere", "nowhere/*.json.gz", "empty"])
def test_no_log_file_is_an_error_in_words(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParameterError, match=r"There is no .* in|There is no file or folder"):
        search([f"{tmp_path}/{path}"])


def test_files_cover_the_time_from_their_oldest_record_to_their_delivery(tmp_path: Path) -> None:
    write_log(tmp_path, RECORDS, DELIVERED)
    minute = DELIVERED.replace(second=0)
    found = search([tmp_path])
    assert found.searched.spans == (Span("EventName", None, CREATED, minute),)
    assert found.searched.at == minute
    since, until = CREATED - timedelta(days=1), minute + timedelta(days=1)
    wide = search([tmp_path], Wanted(since, until)).searched
    assert [(s.since, s.until, s in wide.incomplete) for s in wide.spans] == [
        (since, CREATED, True),
        (CREATED, minute, False),
        (minute, until, True),
    ]
    assert "hold nothing from before 2023-11-21T20:31:03+00:00." in wide.why_incomplete
    assert "hold nothing from after" in wide.why_incomplete
    narrow = search([tmp_path], Wanted(READ, READ))
    assert [record.time for record in narrow.records] == [READ, READ]


def test_a_file_that_cannot_be_read_leaves_a_hole_before_its_delivery(tmp_path: Path) -> None:
    write_log(tmp_path, RECORDS, DELIVERED)
    write_log(tmp_path, RECORDS, DELIVERED + timedelta(days=9))
    later = DELIVERED + timedelta(days=5)
    broken = tmp_path / name_of(later)
    broken.write_bytes(PACKED[:-3])
    found = search([tmp_path])
    (hole,) = found.searched.incomplete
    assert hole.until - hole.since == LATE + timedelta(minutes=1)
    assert hole.since < later - timedelta(hours=23) < later < hole.until + timedelta(minutes=1)
    assert "cut short" in found.searched.why_incomplete
    assert outcome(found) is Outcome.PROVED  # the hole is not where the proof lies


def test_files_that_cannot_hold_what_is_wanted_are_left_out_and_told(tmp_path: Path) -> None:
    write(tmp_path / name_of(DELIVERED), text_of(RECORDS))
    write(tmp_path / name_of(DELIVERED, region="us-east-1"), b"not looked at")
    write(tmp_path / name_of(DELIVERED, account="444455556666"), b"not looked at")
    write(tmp_path / name_of(CREATED - timedelta(days=2)), b"not looked at")
    write(tmp_path / name_of(DELIVERED + timedelta(days=3)), b"not looked at")
    write(tmp_path / "111122223333_CloudTrail-Insight_us-west-2_x.json.gz", b"not looked at")
    wanted = Wanted(CREATED, READ, "111122223333", "us-west-2")
    found = search([tmp_path], wanted)
    assert (found.files, found.searched.malformed) == (1, ())
    assert any("4 log files were not read" in note for note in found.notes)
    assert any("1 other file was not read" in note for note in found.notes)
    assert outcome(found) is Outcome.PROVED


def test_a_claim_says_what_to_look_for() -> None:
    skew = claim().clock_skew
    wanted = Wanted.by(claim())
    assert (wanted.since, wanted.until) == (CREATED - 2 * skew, READ + skew)
    assert (wanted.account, wanted.region) == ("111122223333", "us-west-2")
    assert Wanted.by(claim(prover_reads=())).until is None


def test_a_search_has_an_order_and_a_zone() -> None:
    with pytest.raises(ParameterError, match=r"ends .* before it begins"):
        Wanted(READ, CREATED)
    with pytest.raises(ValueError, match="no time zone"):
        Wanted(READ.replace(tzinfo=None))


@pytest.mark.e2e
def test_all_cores_find_what_one_finds(tmp_path: Path) -> None:
    """Above a size the files are read by fresh processes; the answer is the same."""
    filler = os.urandom(3 << 20).hex()
    for day in range(6):
        records = [
            {"filler": filler},
            *({**one, "eventID": f"{day}-{n}"} for n, one in enumerate(RECORDS)),
        ]
        write_log(tmp_path, records, DELIVERED + timedelta(days=day))
    (tmp_path / name_of(DELIVERED, "BROKEN")).write_bytes(PACKED[:-1])
    told: list[tuple[int, int]] = []
    one, all_ = (
        search([tmp_path], workers=1),
        search([tmp_path], workers=2, progress=lambda *p: told.append(p)),
    )
    assert (one.scanned, one.records, one.notes) == (all_.scanned, all_.records, all_.notes)
    assert one.searched.spans == all_.searched.spans
    assert len(all_.records) == 24
    assert "cut short" in str(all_.searched.malformed[0])
    assert told[-1] == (7, 7)
