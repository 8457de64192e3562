"""The usage of a key: what is counted, for whom and what; what KMS says, set beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyrunbook.proof import Searched, Span
from keyrunbook.records import IMAGE_BUILDER, KMS, MalformedRecord, Record, parse_record
from keyrunbook.usage import (
    OPERATIONS,
    Agreement,
    Became,
    LastUsage,
    Usage,
    compare,
    last_usage,
    none_seen,
    summarise,
)

T0 = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
KEY = f"arn:aws:kms:us-west-2:111122223333:key/{KEY_ID}"
OTHER = "arn:aws:kms:us-west-2:111122223333:key/0987dcba-09fe-87dc-65ba-ab0987654321"
ROLE = "arn:aws:iam::111122223333:role/Builder"
SESSION = "arn:aws:sts::111122223333:assumed-role/Builder/"
WORKFLOW = "arn:aws:imagebuilder:us-west-2:111122223333:workflow/build/mine/1.0.0/*"
COMPONENT = "arn:aws:imagebuilder:us-west-2:111122223333:component/mine/1.0.0/*"
DENIED = {
    "errorCode": "AccessDenied",
    "errorMessage": f"User: x is not authorized to perform: kms:Decrypt on resource: {KEY} because",
    "requestParameters": None,
}


def at(second: float) -> datetime:
    return T0 + timedelta(seconds=second)


def raw(event_id: str = "1", second: int = 0, **changes: Any) -> dict[str, Any]:
    """A use of the key by a session of the role, for a workflow, with changes."""
    return {
        "eventVersion": "1.11",
        "eventID": event_id,
        "eventTime": f"{at(second):%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": KMS,
        "eventName": "Decrypt",
        "awsRegion": "us-west-2",
        "recipientAccountId": "111122223333",
        "requestID": f"request-{event_id}",
        "userIdentity": {
            "arn": f"{SESSION}{event_id}",
            "invokedBy": IMAGE_BUILDER,
            "sessionContext": {"sessionIssuer": {"arn": ROLE}},
        },
        "requestParameters": {"encryptionContext": {"aws:imagebuilder:arn": WORKFLOW}},
        "resources": [{"type": "AWS::KMS::Key", "ARN": KEY}],
        **changes,
    }


def record(*given: Any, **changes: Any) -> Record:
    return parse_record(json.dumps(raw(*given, **changes)))


def context(**pairs: str) -> dict[str, Any]:
    return {"encryptionContext": pairs}


SEARCHED = Searched("the test's log", (Span("EventName", None, T0, at(100)),), at(2000))


def used(*records: Record, searched: Searched = SEARCHED) -> Usage:
    return summarise(records, KEY, searched)


# What is counted


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        pytest.param({}, "calls", id="its ARN among the resources"),
        pytest.param({"resources": None, "requestParameters": {"keyId": KEY}}, "calls", id="asked"),
        pytest.param(
            {"resources": None, "requestParameters": {"keyId": KEY_ID}}, "calls", id="by its id"
        ),
        pytest.param({**DENIED, "resources": None}, "calls", id="in the words of a refusal alone"),
        pytest.param(
            {**DENIED, "resources": None, "errorMessage": "not authorized"},
            "unnamed",
            id="a refusal that names no key may be of any",
        ),
        pytest.param(
            {
                "errorCode": "AccessDenied",
                "resources": None,
                "requestParameters": {"keyId": "alias/mine"},
            },
            "unnamed",
            id="a refusal by an alias too",
        ),
        pytest.param(
            {"resources": [{"type": "AWS::KMS::Key", "ARN": OTHER}]}, "neither", id="another key"
        ),
        pytest.param(
            {**DENIED, "resources": None, "errorMessage": f"on resource: {OTHER}"},
            "neither",
            id="a refusal of another key",
        ),
        pytest.param(
            {"resources": None, "requestParameters": {"keyId": OTHER}}, "neither", id="asked for it"
        ),
        pytest.param(
            {
                "eventName": "ReEncrypt",
                "resources": [{"type": "AWS::KMS::Key", "ARN": arn} for arn in (OTHER, KEY)],
            },
            "calls",
            id="one of two keys",
        ),
        pytest.param({"eventName": "DescribeKey"}, "neither", id="no use of key material"),
        pytest.param({"eventSource": "s3.amazonaws.com"}, "neither", id="not KMS's record"),
        pytest.param(
            {"recipientAccountId": "444455556666"}, "neither", id="another account's copy of a use"
        ),
        pytest.param({"awsRegion": "us-east-1"}, "neither", id="another Region's"),
    ],
)
def test_which_records_are_about_the_key(changes: dict[str, Any], counted: str) -> None:
    usage = used(record(**changes))
    assert (len(usage.calls), len(usage.unnamed)) == {
        "calls": (1, 0),
        "unnamed": (0, 1),
        "neither": (0, 0),
    }[counted]


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_of_a_symmetric_key_is_a_use(name: str) -> None:
    assert [one.name for one in used(record(eventName=name)).uses] == [name]


@pytest.mark.parametrize(
    ("changes", "became", "outcome"),
    [
        ({}, Became.USED, "used"),
        (DENIED, Became.REFUSED, "refused: AccessDenied"),
        ({"errorCode": "DisabledException"}, Became.FAILED, "failed: DisabledException"),
        ({"errorCode": "DryRunOperationException"}, Became.DRY_RUN, "dry run"),
        (
            {"errorCode": "AccessDenied", "requestParameters": {"dryRun": True}},
            Became.DRY_RUN,
            "dry run",
        ),
    ],
)
def test_what_became_of_a_call(changes: dict[str, Any], became: Became, outcome: str) -> None:
    usage = used(record(**changes))
    assert [call.became for call in usage.calls] == [became]
    assert [line.outcome for line in usage.lines] == [outcome]
    assert len(usage.uses) == (became is Became.USED)


@pytest.mark.parametrize(
    ("changes", "purpose"),
    [
        ({}, "workflow/build/mine/1.0.0/*"),
        (
            {"requestParameters": context(**{"aws:imagebuilder:arn": COMPONENT})},
            "component/mine/1.0.0/*",
        ),
        (
            {"requestParameters": context(**{"aws:s3:arn": "secret", "app": "secret"})},
            "another encryption context: app, aws:s3:arn",
        ),
        (
            {"requestParameters": context(**{"AWS:imagebuilder:arn": WORKFLOW})},
            "another encryption context: AWS:imagebuilder:arn",
        ),
        (
            {"requestParameters": context(**{"aws:imagebuilder:arn": "arn:aws:s3:::x"})},
            "arn:aws:s3:::x",
        ),
        ({"requestParameters": {}}, "no encryption context"),
        (DENIED, "not told by the record"),
    ],
)
def test_what_it_was_for_is_told_by_the_context(changes: dict[str, Any], purpose: str) -> None:
    [call] = used(record(**changes)).calls
    assert call.purpose == purpose


def test_sessions_of_a_role_are_one_caller_and_calls_alike_are_one_line() -> None:
    user = {"arn": "arn:aws:iam::111122223333:user/jo"}
    usage = used(
        record("b", 7), record("a", 3), record("c", 9, userIdentity=user), record("d", 8, **DENIED)
    )
    first, second, third = usage.lines
    assert (first.who, first.count, first.first, first.last) == (ROLE, 2, at(3), at(7))
    assert (second.who, second.became) == (ROLE, Became.REFUSED)
    assert (third.who, third.via) == ("arn:aws:iam::111122223333:user/jo", None)
    assert used(record("c", userIdentity=None)).lines[0].who == "unknown"
    assert [one.event_id for one in usage.of(ROLE).uses] == ["a", "b"]


@given(st.permutations([0, 1, 2, 3]), st.lists(st.integers(0, 3), max_size=4))
def test_neither_order_nor_repetition_matters(order: list[int], doubled: list[int]) -> None:
    records = [record(str(n), n) for n in range(4)]
    again = [records[n] for n in (*order, *doubled)]
    assert used(*again) == used(*records)


def test_records_of_one_id_that_say_different_things_are_each_counted() -> None:
    assert [line.count for line in used(record("1", 0), record("1", 5)).lines] == [2]


# What was not searched


def asked(*spans: Span, **more: Any) -> Searched:
    return Searched("the test's log", spans, at(2000), **more)


DAY = "2026-03-02T09:"


@pytest.mark.parametrize(
    ("searched", "told"),
    [
        (SEARCHED, [f"Looked for from {DAY}00:00Z to {DAY}01:40Z; not before, between or after."]),
        (
            asked(
                Span("EventSource", KMS, T0, at(10)), Span("EventName", "Decrypt", at(60), at(90))
            ),
            [
                f"Decrypt: looked for from {DAY}00:00Z to {DAY}00:10Z, and from {DAY}01:00Z to "
                f"{DAY}01:30Z; not before, between or after.",
                ", ".join(OPERATIONS[1:])
                + f": looked for from {DAY}00:00Z to {DAY}00:10Z; not before, between or after.",
            ],
        ),
        (
            asked(Span("EventName", "Decrypt", T0, at(10)), Span("EventSource", "x", T0, at(10))),
            [
                f"Decrypt: looked for from {DAY}00:00Z to {DAY}00:10Z; not before, between or "
                "after.",
                f"Not looked for: {', '.join(OPERATIONS[1:])}.",
            ],
        ),
        (
            asked(
                Span("EventName", None, T0, at(10)),
                incomplete=(Span("EventName", None, T0, at(10)),),
                why_incomplete="The search stopped.",
                malformed=(MalformedRecord("a.json, record 3", "bad"),),
            ),
            [
                f"Not looked for: {', '.join(OPERATIONS)}.",
                "The search stopped.",
                "Malformed: a.json, record 3: bad",
            ],
        ),
        (
            asked(Span("EventName", None, T0, at(9000))),  # nothing after the asking was seen
            [f"Looked for from {DAY}00:00Z to {DAY}33:20Z; not before, between or after."],
        ),
    ],
)
def test_what_was_not_searched_is_said(searched: Searched, told: list[str]) -> None:
    assert list(used(searched=searched).not_searched()) == told


def test_no_use_seen_is_worded_as_what_it_is() -> None:
    usage = used(record("1", 3, **DENIED), record("2", 8, **DENIED)).of(ROLE)
    assert none_seen(usage, "the role", at(0), at(60)) == (
        f"no use by the role seen in the test's log from {DAY}00:00Z to {DAY}01:00Z; 2 refused, "
        f"the last at {DAY}00:08Z. Records may come late or never: absence proves nothing."
    )


# KMS's own word


TOLD = LastUsage(at(50), T0, T0, "Decrypt", at(7.25), "b", "request-b")
NEVER = LastUsage(at(50), T0, T0)
TWO = (record("a", 3), record("b", 7))


@pytest.mark.parametrize(
    ("usage", "told", "agreement", "why"),
    [
        pytest.param(used(*TWO), TOLD, "agrees", "and so is the records'", id="the same event"),
        pytest.param(
            used(*TWO), replace(TOLD, event_id="x"), "agrees", "so is", id="the same request"
        ),
        pytest.param(
            used(*TWO, record("c", 7)), TOLD, "agrees", "so is", id="of one second: no order"
        ),
        pytest.param(
            used(*TWO, record("c", 50)), TOLD, "agrees", "so is", id="later than the question"
        ),
        pytest.param(
            used(*TWO, record("c", 9, **DENIED)), TOLD, "agrees", "so is", id="a later refusal"
        ),
        pytest.param(
            used(*TWO),
            replace(TOLD, event_id=None, request_id=None),
            *("agrees", "so is"),
            id="no ids: by operation and second",
        ),
        pytest.param(
            used(*TWO, record("c", 9)), TOLD, "disagrees", "a later one", id="a record is later"
        ),
        pytest.param(
            used(TWO[0]), TOLD, "disagrees", "is missing, or was altered", id="no such record"
        ),
        pytest.param(
            used(TWO[0], record("b", 7, **DENIED)),
            TOLD,
            *("disagrees", "not among the uses"),
            id="the record says that it was refused",
        ),
        pytest.param(
            used(TWO[0], searched=replace(SEARCHED, at=at(60))),
            TOLD,
            *("not known", f"may well come until {DAY}15:07Z"),
            id="a record may still come",
        ),
        pytest.param(
            used(TWO[0], searched=asked(Span("EventName", "Decrypt", T0, at(5)))),
            TOLD,
            *("not known", "was not searched for"),
            id="outside of what was searched",
        ),
        pytest.param(
            used(TWO[0], searched=asked(Span("EventName", "Encrypt", T0, at(50)))),
            TOLD,
            *("not known", "was not searched for"),
            id="its operation was not searched",
        ),
        pytest.param(
            used(*TWO), replace(TOLD, operation="Sign"), "agrees", "so is", id="whatever the name"
        ),
        pytest.param(used(), NEVER, "agrees", "the records show none", id="neither knows of a use"),
        pytest.param(
            used(*TWO), NEVER, "disagrees", "a record shows Decrypt", id="only the records do"
        ),
        pytest.param(
            used(TWO[0]),
            replace(NEVER, tracking_since=at(5)),
            *("agrees", "only earlier ones. Earlier uses KMS does not know."),
            id="from before KMS's tracking",
        ),
        pytest.param(
            used(*TWO), "You may not.", "not known", "could not be read: You may not.", id="refused"
        ),
    ],
)
def test_the_records_beside_kms(
    usage: Usage, told: LastUsage | str, agreement: str, why: str
) -> None:
    compared = compare(usage, told)
    assert compared.agreement is Agreement(agreement), compared.reason
    assert why in compared.reason
    statuses = {"agrees": "pass", "disagrees": "fail", "not known": "not checked"}
    assert compared.finding.status == statuses[agreement]
    assert compared.reason.endswith(".")


def test_the_answer_of_kms_as_boto3_gives_it() -> None:
    dates = {"KeyCreationDate": T0, "TrackingStartDate": at(1)}
    use = {
        "Operation": "Decrypt",
        "Timestamp": at(7.25),
        "CloudTrailEventId": "b",
        "KmsRequestId": "request-b",
    }
    told = replace(TOLD, tracking_since=at(1))
    assert last_usage({**dates, "KeyLastUsage": use}, at(50)) == told
    assert last_usage({**dates, "KeyLastUsage": {}}, at(50)) == replace(NEVER, tracking_since=at(1))
    assert last_usage(dates, at(50)).time is None


@given(st.sets(st.integers(0, 5)))
def test_a_lost_record_never_makes_an_agreement_out_of_nothing(kept: set[int]) -> None:
    """KMS's last use is the sixth: they agree if and only if its record is there."""
    told = LastUsage(at(50), T0, T0, "Decrypt", at(5.5), "5", "request-5")
    usage = used(*(record(str(n), n) for n in kept))
    expected = Agreement.AGREES if 5 in kept else Agreement.DISAGREES
    assert compare(usage, told).agreement is expected
