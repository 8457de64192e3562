"""The one place that changes AWS: the intent before the call, the outcome after it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from keyrunbook.aws import mutate
from keyrunbook.errors import AwsRefused, LockOut, RunBusy
from keyrunbook.parameters import Parameters
from keyrunbook.plan import Change, Plan
from keyrunbook.policies import administrators_policy, printed_administrators_statement, to_text
from keyrunbook.sandboxes import Sandbox
from keyrunbook.session import Run, open_step

STEP = "01_create_key"
ACCOUNT = "111122223333"
PARAMETERS = {"Description": "x", "Policy": to_text(administrators_policy("aws", ACCOUNT))}
MAKE = Change(
    "kms",
    "create_key",
    PARAMETERS,
    why="because",
    undo="ScheduleKeyDeletion",
    gives={"key_arn": "KeyMetadata.Arn"},
    keep={"before": "nothing"},
)


@pytest.fixture
def run(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)
    return open_step(STEP, Parameters(run_id="r", outputs_dir=str(tmp_path), target="sandbox"))


def lines(run: Run) -> list[dict[str, Any]]:
    """What the ledger holds after the line that opened the run."""
    return run.ledger.entries()[1:]


@pytest.mark.e2e
def test_a_change_leaves_its_intent_its_outcome_and_what_it_gave(run: Run) -> None:
    mutate.apply(run, Plan(STEP, (MAKE,)))
    intent, outcome = lines(run)
    assert intent["kind"] == "intent"
    assert intent["call"] == "kms:CreateKey"
    assert intent["operator"] == run.identity.arn
    assert intent["parameters"] == PARAMETERS
    assert (intent["why"], intent["undo"]) == ("because", "ScheduleKeyDeletion")
    assert intent["before"] == {"before": "nothing"}
    assert (outcome["kind"], outcome["call"], outcome["status"]) == (
        "outcome",
        "kms:CreateKey",
        "done",
    )
    assert outcome["request_id"]
    key_arn = run.facts()["key_arn"]
    assert outcome["gives"] == {"key_arn": key_arn}
    assert run.clients("kms").describe_key(KeyId=key_arn)["KeyMetadata"]["Description"] == "x"


@pytest.mark.e2e
def test_while_another_applies_the_same_run_nothing_is_changed(run: Run) -> None:
    with run.ledger.applying(), pytest.raises(RunBusy, match="nothing was changed here"):
        mutate.apply(run, Plan(STEP, (MAKE,)))
    assert lines(run) == []
    mutate.apply(run, Plan(STEP, (MAKE,)))
    assert [line["kind"] for line in lines(run)] == ["intent", "outcome"]


@pytest.mark.e2e
def test_a_later_change_uses_what_an_earlier_one_gave(run: Run) -> None:
    name = Change(
        "kms",
        "create_alias",
        {"AliasName": f"alias/{run.folder.parent.name}", "TargetKeyId": "${create_key.key_arn}"},
        why="a name",
        undo="DeleteAlias",
    )
    mutate.apply(run, Plan(STEP, (MAKE, name)))
    key_arn = run.facts()["key_arn"]
    found = run.clients("kms").describe_key(KeyId=name.parameters["AliasName"])
    assert found["KeyMetadata"]["Arn"] == key_arn
    intents = run.ledger.of_kind("intent")
    assert intents[1]["parameters"]["TargetKeyId"] == key_arn


@pytest.mark.e2e
def test_at_a_refusal_it_stops_and_the_ledger_holds_what_was_done(run: Run) -> None:
    refused = Change("kms", "enable_key", {"KeyId": "alias/no"}, why="x", undo="x")
    with pytest.raises(AwsRefused, match="AWS refused EnableKey") as caught:
        mutate.apply(run, Plan(STEP, (MAKE, refused, MAKE)))
    kinds = [(line["kind"], line.get("status")) for line in lines(run)]
    assert kinds == [
        ("intent", None),
        ("outcome", "done"),
        ("intent", None),
        ("outcome", "refused"),
    ]
    assert lines(run)[-1]["code"] == caught.value.code != ""


@pytest.mark.e2e
def test_a_policy_that_locks_its_operator_out_is_not_sent(run: Run) -> None:
    """The page's own: its Resource ends in key/ and matches no key."""
    printed = {"Version": "2012-10-17", "Statement": [printed_administrators_statement(ACCOUNT)]}
    before = len(run.clients("kms").list_keys()["Keys"])
    locked = Change("kms", "create_key", {"Policy": to_text(printed)}, why="x", undo="x")
    with pytest.raises(LockOut) as refused:
        mutate.apply(run, Plan(STEP, (MAKE, locked)))
    assert "no statement of the key policy allows kms:PutKeyPolicy to this" in refused.value.what
    assert refused.value.fix == (
        "It could with this: in the key policy, statement 'Allow access for key administrators': "
        f'Resource "*" in place of "arn:aws:kms:*:{ACCOUNT}:key/".'
    )
    assert run.ledger.of_kind("intent") == []
    assert len(run.clients("kms").list_keys()["Keys"]) == before


@pytest.mark.e2e
def test_a_document_is_named_by_its_digest_and_length_only(run: Run) -> None:
    create = Change(
        "imagebuilder",
        "create_workflow",
        {"name": "bad", "semanticVersion": "1.0.0", "type": "BUILD", "data": "name: private"},
        why="x",
        undo="DeleteWorkflow",
    )
    with pytest.raises(AwsRefused):
        mutate.apply(run, Plan(STEP, (create,)))
    digest = hashlib.sha256(b"name: private").hexdigest()
    assert lines(run)[0]["parameters"]["data"] == {"sha256": digest, "characters": 13}
    assert "name: private" not in run.ledger.path.read_text()


@pytest.mark.e2e
def test_a_symbol_that_is_not_known_stops_before_anything_is_written(run: Run) -> None:
    enable = Change("kms", "enable_key", {"KeyId": "${create_key.nothing}"}, why="x", undo="x")
    with pytest.raises(KeyError, match=r"create_key\.nothing"):
        mutate.apply(run, Plan(STEP, (enable,)))
    assert lines(run) == []


@pytest.mark.e2e
def test_an_empty_plan_writes_nothing(run: Run) -> None:
    before = run.ledger.entries()
    assert mutate.apply(run, Plan(STEP)).made == ()
    assert run.ledger.entries() == before
