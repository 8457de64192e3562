"""The proof, as the table in ``cases/proof.json``, and what a claim and a search must be."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from keyrunbook.proof import (
    DECRYPT,
    GENERATE,
    NOT_READ,
    Claim,
    Clause,
    InvalidClaim,
    Need,
    Outcome,
    Read,
    Searched,
    Span,
    Verdict,
    prove,
    spans_for,
)
from keyrunbook.records import IMAGE_BUILDER, KMS, Record
from true_logs import (
    ASKED,
    CREATED,
    KEY,
    NAMES,
    READ,
    change,
    claim,
    named,
    parsed,
    searched_all,
    true_log,
)

TABLE = json.loads((Path(__file__).parent / "cases" / "proof.json").read_text())["cases"]
ROW = {
    "title", "rule", "change", "remove", "add", "claim", "searched", "keep_event_ids", "expect",
}  # fmt: skip


def log_of(case: dict[str, Any]) -> dict[str, Record]:
    """The records of a case, by the names that the case gives them."""
    log = true_log()
    for name, changes in case.get("change", {}).items():
        change(log[name], changes)
    for number, item in enumerate(case.get("add", ())):
        assert item.keys() == {"like", "as", "set"}
        added = copy.deepcopy(log[item["like"]])
        if not case.get("keep_event_ids"):
            added["eventID"] = f"added-{number}"
        change(added, item["set"])
        log[item["as"]] = added
    for name in case.get("remove", ()):
        del log[name]
    return dict(zip(log, parsed(log), strict=True))


def claim_of(changes: dict[str, Any]) -> Claim:
    """The claim of a case; a read is given by its time and, where it matters, its principal."""
    changes = named(changes)
    if changes.get("kms_key_id") == "(not read)":
        changes["kms_key_id"] = NOT_READ
    if "prover_reads" in changes:
        changes["prover_reads"] = tuple(
            Read(time, time, read.get("principal", NAMES["OPERATOR"]))
            for read in changes["prover_reads"]
            for time in [CREATED + timedelta(seconds=read["at_s"])]
        )
    return claim(**changes)


def searched_of(changes: dict[str, Any], claim: Claim) -> Searched:
    """The search of a case: `without` some spans, or some of them `incomplete`."""
    assert changes.keys() <= {"spans", "without", "incomplete", "at_s"}
    searched = searched_all(claim)
    if changes.get("spans") == "every record":
        searched = replace(searched, spans=(Span("EventName", None, CREATED - SKEW, ASKED),))
    if "at_s" in changes:
        searched = replace(searched, at=CREATED + timedelta(seconds=changes["at_s"]))
    kept = tuple(s for s in searched.spans if s.value not in changes.get("without", ()))
    cut = tuple(s for s in kept if s.value in changes.get("incomplete", ()))
    return replace(searched, spans=kept, incomplete=cut, why_incomplete="The search stopped.")


SKEW = timedelta(seconds=30)


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case["title"])
def test_the_table(case: dict[str, Any]) -> None:
    assert case.keys() <= ROW
    expect = case["expect"]
    assert expect.keys() <= {"verdict", "encrypted", "readable", "rests_on", "rejected"}
    records = log_of(case)
    asked = claim_of(case.get("claim", {}))
    verdict = prove(records.values(), asked, searched_of(case.get("searched", {}), asked))

    assert verdict.outcome.value == expect["verdict"]
    for clause in verdict.clauses:
        _check(clause, **expect[clause.name])
    if "rests_on" in expect:
        assert set(verdict.events) == {records[name].event_id for name in expect["rests_on"]}
    rejected = {item.record.event_id: item.reason for item in verdict.rejected}
    for name, reason in expect.get("rejected", {}).items():
        assert reason in rejected[records[name].event_id]
    _check_what_holds_for_every(verdict, list(records.values()))


def _check(clause: Clause, outcome: str, reason: str, need: str | None = None) -> None:
    assert clause.outcome.value == outcome
    assert reason in clause.reason
    assert (clause.need.value if clause.need else None) == need


def _check_what_holds_for_every(verdict: Verdict, records: list[Record]) -> None:
    for clause in verdict.clauses:
        assert clause.reason.endswith((".", ".)"))
        assert (clause.need is not None) == (clause.outcome is Outcome.NOT_YET)
        assert bool(clause.records) or clause.outcome is not Outcome.PROVED
    if verdict.outcome is Outcome.PROVED and not verdict.claim.only_readable:
        assert [record.name for record in verdict.encrypted.records] == [GENERATE, DECRYPT]
    candidates = [r for r in records if r.source == KMS and r.name in (GENERATE, DECRYPT)]
    accounted = {*verdict.events, *(item.record.event_id for item in verdict.rejected)}
    assert accounted == {record.event_id for record in candidates}
    assert not set(verdict.events) & {item.record.event_id for item in verdict.rejected}
    assert json.loads(json.dumps(verdict.to_dict())) == verdict.to_dict()


def test_titles_are_unique() -> None:
    titles = [case["title"] for case in TABLE]
    assert len(titles) == len(set(titles))


def test_the_true_logs_verdict_as_the_ledger_holds_it() -> None:
    log = {name: document for name, document in true_log().items() if name != "get"}
    verdict = prove(parsed(log), claim(), searched_all(claim()))
    generate, decrypt = log["generate"]["eventID"], log["decrypt"]["eventID"]
    assert verdict.to_dict() == {
        "outcome": "PROVED",
        "events": [generate, decrypt],
        "clauses": [
            {
                "name": "encrypted",
                "outcome": "PROVED",
                "reason": "Image Builder made this build's data key under this key, and opened it "
                "with it.",
                "need": None,
                "events": [generate, decrypt],
            },
            {
                "name": "readable",
                "outcome": "PROVED",
                "reason": "Image Builder opened this build's data key with this key.",
                "need": None,
                "events": [decrypt],
            },
        ],
        "callers": [
            {
                "event_name": name,
                "event_id": event_id,
                "principal_arn": NAMES["OPERATOR"],
                "issuer_arn": NAMES["OPERATORS_ROLE"],
            }
            for name, event_id in ((GENERATE, generate), (DECRYPT, decrypt))
        ],
        "rejected": [],
        "source": "the test's log",
        "searched_from": "2023-11-21T20:30:33+00:00",
        "searched_until": "2023-11-21T20:34:55+00:00",
        "complete": True,
    }
    assert verdict.missing == ()
    assert verdict.needs == frozenset()


def test_the_data_key_stands_before_the_decrypt_of_its_second() -> None:
    log = true_log()
    log["generate"]["eventID"] = "z"
    for name in ("decrypt", "get"):
        change(log[name], {"at_s": 0})
    asked = claim(prover_reads=(Read(CREATED, CREATED, NAMES["OPERATOR"]),))
    verdict = prove(parsed(log), asked, searched_all(asked))
    assert [record.name for record in verdict.records] == [GENERATE, DECRYPT]


def test_what_is_missing_is_said_clause_by_clause() -> None:
    verdict = prove([], claim(), searched_all(claim()))
    assert [text.split(":")[0] for text in verdict.missing] == ["encrypted", "readable"]
    assert verdict.needs == {Need.WAIT}


BAD_CLAIMS = [
    ({"workflow_build_arn": NAMES["VERSION"]}, "workflow_build_arn", "one workflow build version"),
    ({"workflow_build_arn": NAMES["VERSION"] + "/*"}, "workflow_build_arn", "one workflow build"),
    ({"workflow_build_arn": NAMES["VERSION"][:-1] + "x/1"}, "workflow_build_arn", "one workflow"),
    ({"workflow_build_arn": NAMES["BUILD"] + "\n"}, "workflow_build_arn", "one workflow build"),
    ({"workflow_build_arn": NAMES["BUILD"][:-1] + "١"}, "workflow_build_arn", "one workflow"),
    ({"region": "us-east-1"}, "region", "is not the workflow's"),
    ({"key_arn": NAMES["ALIAS"]}, "key_arn", "is not the ARN of a KMS key"),
    ({"key_arn": KEY.rsplit("/")[-1]}, "key_arn", "is not the ARN of a KMS key"),
    ({"kms_key_id": ""}, "kms_key_id", "is empty"),
    ({"created": CREATED.replace(tzinfo=None)}, "created", "has no time zone"),
    ({"clock_skew": timedelta(milliseconds=999)}, "clock_skew", "under a second"),
    ({"prover_reads": (Read(READ.replace(tzinfo=None), READ, "a"),)}, "prover_reads", "time zone"),
    ({"prover_reads": (Read(READ, READ - SKEW, "a"),)}, "prover_reads", "ends before it begins"),
]


@pytest.mark.parametrize(("changes", "field", "reason"), BAD_CLAIMS)
def test_a_claim_says_something_definite(changes: Any, field: str, reason: str) -> None:
    with pytest.raises(InvalidClaim, match=reason) as caught:
        claim(**changes)
    assert caught.value.field == field


def test_the_context_arn_ends_in_a_star_where_the_build_stands() -> None:
    assert claim().context_arn == NAMES["VERSION"] + "/*"


def test_waiting_is_worth_while_until_fifteen_minutes_after_the_last_call() -> None:
    assert claim().worth_waiting_until == READ + timedelta(minutes=15)
    assert claim(prover_reads=()).worth_waiting_until == CREATED + timedelta(minutes=15)


def test_spans_are_narrow_and_around_known_times() -> None:
    second = timedelta(seconds=1)
    assert spans_for(claim()) == (
        Span("EventName", GENERATE, CREATED - SKEW, CREATED + SKEW),
        Span("EventName", DECRYPT, READ - second - SKEW, READ + SKEW),
        Span("EventSource", IMAGE_BUILDER, READ - second - 2 * SKEW, READ + SKEW),
    )


def test_spans_of_reads_close_to_each_other_are_one() -> None:
    reads = tuple(Read(READ + k * SKEW, READ + k * SKEW, "a") for k in (3, 0, 1, 60))
    spans = [s for s in spans_for(claim(prover_reads=reads)) if s.value == DECRYPT]
    assert [(s.since, s.until) for s in spans] == [
        (READ - SKEW, READ + 4 * SKEW),
        (READ + 59 * SKEW, READ + 61 * SKEW),
    ]


@pytest.mark.parametrize("named", [KEY, None, NOT_READ])
def test_no_data_key_is_searched_where_only_readable_is_claimed(named: Any) -> None:
    spans = spans_for(claim(only_readable=True, kms_key_id=named))
    assert GENERATE not in {span.value for span in spans}


def test_by_an_alias_data_keys_of_other_builds_are_searched_where_only_readable_is_claimed() -> (
    None
):
    spans = spans_for(claim(only_readable=True, kms_key_id=NAMES["ALIAS"]))
    assert Span("EventName", GENERATE, CREATED - SKEW, CREATED + SKEW) in spans


def test_a_search_covers_what_it_asked_for_without_a_gap() -> None:
    at = [CREATED + timedelta(minutes=m) for m in range(6)]
    spans = [
        Span("EventName", DECRYPT, at[0], at[2]),
        Span("EventSource", KMS, at[1], at[3]),
        Span("EventName", DECRYPT, at[4], at[5]),
    ]
    searched = Searched("x", tuple(spans), ASKED)
    assert searched.covers(KMS, DECRYPT, at[0], at[3])
    assert not searched.covers(KMS, DECRYPT, at[0], at[5])
    assert not searched.covers(KMS, GENERATE, at[0], at[3])
    assert searched.covers(KMS, GENERATE, at[1], at[3])
    assert not searched.covers(IMAGE_BUILDER, "GetWorkflow", at[1], at[2])
    assert not replace(searched, incomplete=(spans[1],)).covers(KMS, DECRYPT, at[0], at[3])
    assert not Searched("x", (), ASKED).covers(KMS, DECRYPT, at[0], at[0])


def test_nothing_later_than_the_asking_can_have_been_seen() -> None:
    early = replace(searched_all(claim()), at=READ)
    assert early.until == READ
    assert early.since == CREATED - SKEW
    assert early.event_names == (GENERATE, DECRYPT)


def test_a_search_with_a_malformed_record_is_not_complete() -> None:
    from keyrunbook.records import MalformedRecord

    searched = searched_all(claim(), malformed=(MalformedRecord("x.json, record 3", "bad"),))
    assert not searched.complete
    assert prove(parsed(true_log()), claim(), searched).to_dict()["complete"] is False


def test_a_datetime_of_another_zone_is_the_same_time() -> None:
    zoned = datetime.fromisoformat("2023-11-21T21:31:03+01:00")
    asked = claim(created=zoned)
    assert prove(parsed(true_log()), asked, searched_all(asked)).outcome is Outcome.PROVED
