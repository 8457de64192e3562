"""Somebody else's script made a data key with our context: what does that prove?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from keyrunbook.exercises import seen, stage
from keyrunbook.exercises.account import Account
from keyrunbook.exercises.exercise import Exercise, Lesson
from keyrunbook.findings import Finding
from keyrunbook.proof import ARN_KEY
from keyrunbook.records import IMAGE_BUILDER, Record

SCRIPT: Final = "NightlyScript"
CHOICES: Final = {
    "a": "the workflow is encrypted under the script's key",
    "b": "the workflow is not encrypted under a key of ours",
    "c": "the script has read the workflow",
    "d": "only that the script may use that key, with that context",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the learner is told."""

    claimed_key: str
    workflow_arn: str
    script: str


def situation(account: Account) -> Facts:
    """A workflow under one key; a script that uses another one with the workflow's context."""
    clients = account.administrator
    true_key, claimed = stage.a_key(account), stage.a_key(account)
    workflow = stage.a_workflow(clients, true_key)
    stage.a_workflow(clients, claimed, name="another")
    actions = ["kms:GenerateDataKey", "kms:Decrypt"]
    account.add_user(SCRIPT, {"Effect": "Allow", "Action": actions, "Resource": claimed})
    kms = account.of(SCRIPT)("kms")
    context = {ARN_KEY: stage.context_arn(workflow)}
    made = kms.generate_data_key(KeyId=claimed, NumberOfBytes=32, EncryptionContext=context)
    kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=context)
    clients("imagebuilder").get_workflow(workflowBuildVersionArn=workflow)
    return Facts(claimed, workflow, SCRIPT)


def check(exercise: Exercise[Facts]) -> list[Finding]:
    """The answers, against the records that CloudTrail has."""
    records = seen.records(exercise.account.administrator, "GenerateDataKey")
    given = exercise.answers
    return [
        _event(given.get("event"), records, exercise.facts),
        _key(given.get("key"), records, exercise.facts),
        _proves(given.get("proves")),
    ]


def _is_true(record: Record, facts: Facts) -> bool:
    context = record.encryption_context or {}
    ours = context.get(ARN_KEY) == stage.context_arn(facts.workflow_arn)
    return ours and record.invoked_by == IMAGE_BUILDER and not record.failed


def _event(given: str | None, records: Sequence[Record], facts: Facts) -> Finding:
    statement = "The event is that of the workflow's encryption"
    if given is None:
        return Finding(statement, "fail", "no event is named so far")
    record = next((one for one in records if one.event_id == given), None)
    if record is None:
        return Finding(statement, "fail", "no GenerateDataKey record of the account has that id")
    if _is_true(record, facts):
        return Finding(statement, "pass", "through Image Builder, with this workflow's context")
    if record.invoked_by is None:
        who = seen.short(record.principal_arn)
        why = f"{who} called KMS itself: whoever may use a key can give it any context"
    else:
        why = "it is Image Builder's, and its context is another workflow's"
    return Finding(statement, "fail", why)


def _key(given: str | None, records: Sequence[Record], facts: Facts) -> Finding:
    statement = "The key is the one that protects the workflow"
    if given is None:
        return Finding(statement, "fail", "no key is named so far")
    true = next(one for one in records if _is_true(one, facts)).key_arns
    if given in true:
        return Finding(statement, "pass", "resources[].ARN of that event")
    if given == facts.claimed_key:
        why = "that is the key the script used, for a data key of its own"
    else:
        why = "no record of this workflow's encryption names it; give a key's ARN"
    return Finding(statement, "fail", why)


def _proves(given: str | None) -> Finding:
    statement = "What the script's two records prove"
    why = {
        "a": "a context is what its caller says it is; Image Builder did not make that call",
        "b": "records of a script say nothing of the workflow, neither for it nor against it",
        "c": "its Decrypt opened its own data key; to read the workflow is GetWorkflow's",
    }
    if given is None:
        return Finding(statement, "fail", "not answered so far")
    given = given.lower()
    if given == "d":
        return Finding(statement, "pass", CHOICES["d"])
    return Finding(statement, "fail", why.get(given, f"answer {', '.join(CHOICES)}"))


def solution(exercise: Exercise[Facts]) -> None:
    """The record that counts is invoked by Image Builder, with this workflow's context."""
    import json

    version = exercise.facts.workflow_arn.rpartition("/")[0]
    events = exercise.client("cloudtrail").lookup_events(
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "GenerateDataKey"}]
    )["Events"]
    for record in (json.loads(one["CloudTrailEvent"]) for one in events):
        context = record["requestParameters"]["encryptionContext"]
        ours = context["aws:imagebuilder:arn"] == f"{version}/*"
        if ours and record["userIdentity"].get("invokedBy") == "imagebuilder.amazonaws.com":
            key = record["resources"][0]["ARN"]
            exercise.answer(event=record["eventID"], key=key, proves="d")


LESSON = Lesson(
    title="A data key with our context, made by a script",
    minutes=8,
    learn="which records prove that a key protects a workflow, and which prove nothing",
    task="a colleague shows a GenerateDataKey and a Decrypt record with the workflow's context, "
    "and says that facts.claimed_key protects it. Find out, and answer.",
    situation=situation,
    check=check,
    moral="A context is only what the caller gave. What counts is who called: invokedBy Image "
    "Builder, this workflow's context in full, and the key in resources[].ARN. Records of a "
    "script prove and refute nothing.",
    hints=(
        "Look up the events GenerateDataKey in CloudTrail, and compare userIdentity, "
        "requestParameters and resources of each.",
        "Two of the records have this workflow's ARN in their context. One has userIdentity."
        "invokedBy, the other has not.",
        "invokedBy imagebuilder.amazonaws.com and the context of this workflow, not of another: "
        "its eventID and resources[0].ARN are the first two answers. As to the third: could you "
        "make such records yourself?",
    ),
    solution=solution,
    questions={
        "event": "eventID of the GenerateDataKey record that belongs to the workflow's encryption",
        "key": "ARN of the key that protects the workflow",
        "proves": "what the script's records prove: "
        + "; ".join(f"{letter}: {text}" for letter, text in CHOICES.items()),
    },
)
