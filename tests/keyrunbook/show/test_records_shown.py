"""Records to filter and to open: what matters is marked, what is random is kept out of files."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import pytest
from keyrunbook.proof import MESSAGE_KEY
from keyrunbook.records import parse_record
from keyrunbook.show.records import MATTERS, Records, Shown, marked
from true_logs import true_log

LOG = true_log()
GENERATE, DECRYPT = LOG["generate"], LOG["decrypt"]
OTHER = {
    **json.loads(json.dumps(DECRYPT)),
    "eventID": "third",
    "errorCode": "AccessDenied",
    "errorMessage": "no <b>",
    "tlsDetails": {},
}
OTHER["requestParameters"]["encryptionContext"][MESSAGE_KEY] = "another message's key"


def shown(counts: str, document: dict[str, Any], reason: str) -> Shown:
    return Shown(counts, parse_record(document), reason)


RECORDS = Records(
    "What CloudTrail shows",
    [
        shown("✓ counts", GENERATE, "shows: encrypted"),
        shown("✓ counts", DECRYPT, "shows: encrypted, readable"),
        shown("– set aside", OTHER, "the call <failed>"),
    ],
)


@pytest.fixture(autouse=True)
def no_front_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)


def plain(html: str) -> str:
    """The text of HTML, without the words behind the marks."""
    return unescape(re.sub(r"<[^>]*>", "", re.sub(r"  ← [^<]*</b>", "</b>", html)))


# A record's JSON


@pytest.mark.parametrize("document", [*LOG.values(), OTHER], ids=[*LOG, "other"])
def test_a_record_is_shown_as_the_json_that_it_is(document: dict[str, Any]) -> None:
    assert json.loads(plain(marked(document))) == document


def test_what_the_claim_is_judged_by_is_marked_and_says_what_it_says() -> None:
    lines = re.findall(r"<b>(.*)</b>", marked(OTHER))
    assert {unescape(line.rpartition("  ← ")[2]) for line in lines} == set(MATTERS.values()) - {
        MATTERS["requestParameters", "dryRun"]
    }
    assert '"eventName": "Decrypt",  ← a data key is made, or opened' in lines


def test_what_is_not_the_claim_s_is_not_marked() -> None:
    assert '"requestID": "' in marked(OTHER)
    assert not re.search(r'<b>"(requestID|eventID|userAgent|type)"', marked(OTHER))


def test_a_record_cannot_write_html() -> None:
    assert "<b>&quot;" not in marked(OTHER)
    assert "no &lt;b&gt;" in marked(OTHER)
    assert "the call &lt;failed&gt;" in RECORDS.html()


# What is kept in files


def test_what_is_random_or_names_a_machine_is_left_out_of_outputs() -> None:
    static = "".join(RECORDS._repr_mimebundle_().values())
    for document in (GENERATE, DECRYPT, OTHER):
        context = document["requestParameters"]["encryptionContext"]
        for secret in (
            document["eventID"],
            document["requestID"],
            context[MESSAGE_KEY],
            document["userIdentity"]["principalId"],
            document["userIdentity"]["accessKeyId"],
        ):
            assert secret not in static


def test_only_names_that_are_known_to_be_harmless_are_kept() -> None:
    told = plain(marked({"newField": {"inner": ["secret", 7]}, "eventName": "Decrypt"}, {}))
    assert json.loads(told) == {"newField": {"inner": ["…", "…"]}, "eventName": "Decrypt"}


def test_records_of_one_message_are_seen_to_be_by_its_letter() -> None:
    letters = re.findall(r"\(message .\)", RECORDS.html())
    assert letters == ["(message A)", "(message A)", "(message B)"]


def test_without_a_front_end_each_record_is_there_closed_and_no_widget() -> None:
    bundle = RECORDS._repr_mimebundle_()
    assert bundle.keys() == {"text/plain", "text/html"}
    assert bundle["text/plain"] == RECORDS.table.text()
    assert bundle["text/html"].count("<details><summary>") == 3


# What a front end shows


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        ({}, [0, 1, 2]),
        ({"event": "Decrypt"}, [1, 2]),
        ({"counts": "✓ counts"}, [0, 1]),
        ({"event": "Decrypt", "counts": "✓ counts"}, [1]),
        ({"words": "ACCESSDENIED"}, [2]),
        ({"words": "<failed>"}, [2]),  # the reason too
        ({"words": "sample-encrypted-workflow"}, [0, 1, 2]),
        ({"words": "nothing has this"}, []),
    ],
)
def test_the_table_is_filtered(chosen: dict[str, str], kept: list[int]) -> None:
    assert RECORDS.filtered(**chosen).shown == [RECORDS.shown[n] for n in kept]


def test_a_live_front_end_gets_fields_and_what_stands_without_them_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    static = RECORDS._repr_mimebundle_()
    monkeypatch.setenv("JPY_SESSION_NAME", "04_confirm_events.ipynb")
    bundle, _ = RECORDS._repr_mimebundle_()
    assert bundle.keys() - static.keys() == {"application/vnd.jupyter.widget-view+json"}
    assert {name: bundle[name] for name in static} == static


def test_without_records_there_is_nothing_to_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "04_confirm_events.ipynb")
    assert "Absence proves nothing" in Records("x", [])._repr_mimebundle_()["text/plain"]


def test_the_fields_filter_and_open_a_record_whole() -> None:
    fields, table, opened, record = RECORDS.form().children
    event, counts, words = fields.children
    assert counts.options == ("all", "✓ counts", "– set aside")
    event.value = "Decrypt"
    assert table.value.count("<tr><td") == 2
    assert [label for label, _ in opened.options] == [
        "no record",
        "1. Decrypt at 20:34:25 (✓ counts)",
        "2. Decrypt at 20:34:25 (– set aside)",
    ]
    opened.value = RECORDS.shown[1]
    assert DECRYPT["eventID"] in record.value
    assert "← who called for it: must be Image Builder" in record.value
    words.value = "AccessDenied"
    assert (table.value.count("<tr><td"), record.value) == (1, "")
