"""Laws of the proof, over worlds of builds of one workflow version, each under a key of its own.

A world is what happened; its log is what CloudTrail would hold of it if it lost nothing. The judge
sees the log, or what is left of it, and must never say what did not happen.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyrunbook.proof import (
    DECRYPT,
    GENERATE,
    NOT_READ,
    Outcome,
    Read,
    Searched,
    Span,
    Verdict,
    prove,
    spans_for,
)
from keyrunbook.records import Record
from true_logs import (
    ASKED,
    CREATED,
    KEY,
    NAMES,
    REMOVED,
    Document,
    change,
    claim,
    parsed,
    true_log,
)

KEYS = (KEY, NAMES["OTHER_KEY"])
CALLERS = (NAMES["OPERATOR"], NAMES["SOMEBODY"])
WINDOW = (Span("EventName", None, CREATED - timedelta(hours=1), CREATED + timedelta(hours=1)),)


@dataclass(frozen=True)
class Build:
    """One build of the version: its key, when it was made, and its reads (when, by whom)."""

    number: int
    key: str
    made_at_s: int
    reads: tuple[tuple[int, str], ...]


def build(number: int) -> st.SearchStrategy[Build]:
    read = st.tuples(st.integers(0, 240), st.sampled_from(CALLERS))
    return st.builds(
        Build,
        st.just(number),
        st.sampled_from(KEYS),
        st.integers(0, 120) if number > 1 else st.just(0),
        st.lists(read, min_size=1, max_size=3).map(tuple),
    )


worlds = st.integers(1, 3).flatmap(lambda n: st.tuples(*(build(k + 1) for k in range(n))))


def log_of(world: tuple[Build, ...]) -> dict[str, Document]:
    """The full log of a world; records are up to two seconds from the call."""
    log: dict[str, Document] = {}
    for build in world:
        message = f"message of build {build.number}"
        _add(log, "generate", f"generate {build.number}", build, message, build.made_at_s)
        for k, (at_s, caller) in enumerate(build.reads):
            time = build.made_at_s + at_s
            who = {"userIdentity/arn": caller}
            _add(log, "get", f"get {build.number}.{k}", build, message, time, who)
            _add(log, "decrypt", f"decrypt {build.number}.{k}", build, message, time + k % 2, who)
    return log


def _add(
    log: dict[str, Document],
    like: str,
    name: str,
    build: Build,
    message: str,
    at_s: int,
    more: dict[str, Any] | None = None,
) -> None:
    document = copy.deepcopy(true_log()[like])
    document.update(eventID=name, requestID=f"request of {name}")
    changes = {"at_s": at_s, **(more or {})}
    if like == "get":
        changes["requestParameters/workflowBuildVersionArn"] = f"{NAMES['VERSION']}/{build.number}"
    else:
        changes["requestParameters/encryptionContext/aws-crypto-public-key"] = message
        changes["resources/0/ARN"] = build.key
        if like == "decrypt":
            changes["requestParameters/keyId"] = build.key
    change(document, changes)
    log[name] = document


def judged(
    world: tuple[Build, ...], records: list[Record], *, names_key: bool, prover: bool
) -> Verdict:
    """The verdict on build 1 under KEY; with `prover`, its first read is known as the prover's."""
    (at_s, caller), first = world[0].reads[0], world[0]
    time = CREATED + timedelta(seconds=first.made_at_s + at_s)
    reads = (Read(time, time, caller, "request of get 1.0"),) if prover else ()
    asked = claim(
        kms_key_id=world[0].key if names_key else NAMES["ALIAS"],
        prover_reads=reads,
        created=CREATED + timedelta(seconds=first.made_at_s),
    )
    return prove(records, asked, Searched("the world's log", WINDOW, ASKED))


def allowed(world: tuple[Build, ...]) -> set[Outcome]:
    """What may be said of build 1: the truth, or that it is not known yet."""
    truth = Outcome.PROVED if world[0].key == KEY else Outcome.REFUTED
    return {truth, Outcome.NOT_YET}


how = st.fixed_dictionaries({"names_key": st.booleans(), "prover": st.booleans()})


@given(worlds, how)
def test_of_a_full_log_only_the_truth_is_said(world: tuple[Build, ...], how: Any) -> None:
    assert judged(world, parsed(log_of(world)), **how).outcome in allowed(world)


@given(worlds, how, st.data())
def test_of_a_log_that_lost_two_records_only_the_truth_is_said(
    world: tuple[Build, ...], how: Any, data: st.DataObject
) -> None:
    log = log_of(world)
    lost = data.draw(st.sets(st.sampled_from(sorted(log)), max_size=2))
    kept = parsed({name: document for name, document in log.items() if name not in lost})
    assert judged(world, kept, **how).outcome in allowed(world)


TWO_BUILDS = [
    (Build(1, keys[0], 0, ((read, CALLERS[0]),)), Build(2, keys[1], made, ((0, CALLERS[0]),)))
    for keys in (KEYS, KEYS[::-1])
    for made in (0, 29, 31)
    for read in (0, 29, 60)
]


@pytest.mark.parametrize("names_key", [True, False])
@pytest.mark.parametrize("world", TWO_BUILDS)
def test_whichever_two_records_of_two_builds_are_lost_only_the_truth_is_said(
    world: tuple[Build, ...], names_key: bool
) -> None:
    log = dict(zip(names := list(log_of(world)), parsed(log_of(world)), strict=True))
    for lost in combinations(names, 2):
        kept = [record for name, record in log.items() if name not in lost]
        for prover in (True, False):
            verdict = judged(world, kept, names_key=names_key, prover=prover)
            assert {clause.outcome for clause in verdict.clauses} <= allowed(world), lost


@given(worlds, how, st.data())
def test_neither_order_nor_doubling_matters(
    world: tuple[Build, ...], how: Any, data: st.DataObject
) -> None:
    records = parsed(log_of(world))
    doubled = data.draw(st.lists(st.sampled_from(records)).flatmap(
        lambda more: st.permutations([*records, *more])
    ))  # fmt: skip
    assert judged(world, doubled, **how) == judged(world, records, **how)


@given(worlds, how, st.sets(st.integers(0, 30)))
def test_proved_needs_the_pair(world: tuple[Build, ...], how: Any, lost: set[int]) -> None:
    kept = [one for index, one in enumerate(parsed(log_of(world))) if index not in lost]
    verdict = judged(world, kept, **how)
    if verdict.outcome is Outcome.PROVED:
        made, opened = verdict.encrypted.records
        assert (made.name, opened.name) == (GENERATE, DECRYPT)
        assert made.encryption_context == opened.encryption_context
        assert made.key_arns == opened.key_arns == (KEY,)
        assert made.time <= opened.time
        assert {made, opened} <= set(kept)


@given(worlds, how)
def test_without_what_it_rests_on_a_verdict_rests_on_another_pair_or_falls(
    world: tuple[Build, ...], how: Any
) -> None:
    records = parsed(log_of(world))
    verdict = judged(world, records, **how)
    for event_id in verdict.events:
        kept = [record for record in records if record.event_id != event_id]
        without = judged(world, kept, **how)
        assert event_id not in without.events
        assert without.outcome in {verdict.outcome, Outcome.NOT_YET}


CONTRADICTIONS: list[dict[str, Any]] = [
    {"resources/0/ARN": KEYS[1]},
    {"errorCode": "AccessDenied"},
    {"requestParameters/encryptionContext/aws-crypto-public-key": "forged"},
    {"userIdentity/arn": CALLERS[1]},
    {"at_s": 7},
]


@given(worlds, how, st.data())
def test_records_that_contradict_each_other_never_bring_another_answer(
    world: tuple[Build, ...], how: Any, data: st.DataObject
) -> None:
    """Somebody doubles records under their own event ids, with something else in them."""
    log = log_of(world)
    of_kms = sorted(name for name in log if not name.startswith("get"))
    for name in data.draw(st.sets(st.sampled_from(of_kms), min_size=1)):
        forged = copy.deepcopy(log[name])
        change(forged, data.draw(st.sampled_from(CONTRADICTIONS)))
        if forged != log[name]:
            log[f"{name} forged"] = forged
    assert judged(world, parsed(log), **how).outcome in allowed(world)


BLURRED: list[dict[str, Any]] = [
    {"resources": [{"type": "AWS::KMS::Key", "ARN": key} for key in KEYS]},
    {"resources": []},
    {"resources/0/ARN": KEY.replace("us-west-2", "us-east-1")},
    {"requestParameters/encryptionContext/aws-crypto-public-key": REMOVED},
]


@given(worlds, how, st.data())
def test_records_that_do_not_tell_key_or_message_never_bring_another_answer(
    world: tuple[Build, ...], how: Any, data: st.DataObject
) -> None:
    log = log_of(world)
    lost = data.draw(st.sets(st.sampled_from(sorted(log)), max_size=2))
    kept = {name: document for name, document in log.items() if name not in lost}
    for name in kept:
        if not name.startswith("get") and data.draw(st.booleans()):
            change(kept[name], data.draw(st.sampled_from(BLURRED)))
    verdict = judged(world, parsed(kept), **how)
    assert {clause.outcome for clause in verdict.clauses} <= allowed(world)


UNRELATED: dict[str, dict[str, Any]] = {
    "another service's call": {"eventSource": "s3.amazonaws.com", "eventName": "GetObject"},
    "another call of KMS": {"eventName": "DescribeKey"},
    "another workflow": {
        "requestParameters/encryptionContext/aws:imagebuilder:arn": "$VERSION-2/*"
    },
    "another account": {"recipientAccountId": "444455556666"},
    "another Region": {"awsRegion": "us-east-1"},
    "somebody's own script": {"userIdentity/invokedBy": REMOVED},
    "a refused call": {"errorCode": "AccessDenied"},
    "a dry run": {"requestParameters/dryRun": True},
    "no context": {"requestParameters/encryptionContext": REMOVED},
}


@given(
    worlds,
    how,
    st.lists(
        st.tuples(
            st.sampled_from(sorted(UNRELATED)),
            st.sampled_from(["generate", "decrypt"]),
            st.sampled_from(KEYS),
            st.integers(0, 360),
        ),
        min_size=1,
    ),
)
def test_unrelated_records_never_change_a_verdict(
    world: tuple[Build, ...], how: Any, more: list[tuple[str, str, str, int]]
) -> None:
    log = log_of(world)
    before = judged(world, parsed(log), **how)
    for k, (what, like, key, at_s) in enumerate(more):
        document = true_log()[like]
        change(document, {"at_s": at_s, "resources/0/ARN": key, **UNRELATED[what]})
        log[f"unrelated {k}"] = document | {"eventID": f"unrelated {k}"}
    after = judged(world, parsed(log), **how)
    assert (after.encrypted, after.readable) == (before.encrypted, before.readable)


@given(worlds, st.booleans())
def test_where_getworkflow_was_not_asked_nothing_is_proved(
    world: tuple[Build, ...], only_readable: bool
) -> None:
    asked = claim(kms_key_id=NOT_READ, prover_reads=(), only_readable=only_readable)
    verdict = prove(parsed(log_of(world)), asked, Searched("the world's log", WINDOW, ASKED))
    assert verdict.outcome is not Outcome.PROVED


@given(worlds, how)
def test_what_spans_for_asks_for_is_enough(world: tuple[Build, ...], how: Any) -> None:
    """A source that answers `spans_for` alone serves as well as the whole log."""
    records = parsed(log_of(world))
    whole = judged(world, records, **{**how, "prover": True})
    spans = spans_for(whole.claim)
    found = [record for record in records if any(_answers(record, span) for span in spans)]
    narrow = prove(found, whole.claim, Searched("the world's log", spans, ASKED))
    assert narrow.outcome in allowed(world)
    if len(world) == 1:
        assert narrow.outcome is whole.outcome


def _answers(record: Record, span: Span) -> bool:
    value = record.name if span.attribute == "EventName" else record.source
    return value == span.value and span.since <= record.time <= span.until
