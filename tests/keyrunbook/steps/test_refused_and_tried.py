"""Why a call was refused, told afterwards; and what only KMS can tell, tried. On a real sandbox."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from iamaccess import Outcome
from jobs import Job
from keyrunbook import policies
from keyrunbook.access import OPERATOR, Matrix
from keyrunbook.aws.clients import Clients
from keyrunbook.records import Record
from keyrunbook.steps import grant_access, refused, revoke_access, tried

pytestmark = pytest.mark.e2e


def decided(why: refused.Why) -> tuple[str, str]:
    assert why.then is not None
    assert why.now is not None
    return why.then.outcome.value, why.now.outcome.value


def test_a_refusal_is_explained_by_the_policies_then_and_now(job: Job) -> None:
    job.through("03")
    run, step = job.open("05"), revoke_access
    step.apply(run, step.plan(step.observe(run), run.parameters))
    assert step.build(run, "both").decrypted is False
    found = step.refusals(run)

    [why] = refused.explained(run, found)
    assert decided(why) == ("DENIED", "DENIED")
    assert why.then is not None
    assert why.then.why.startswith(
        "neither the key policy nor an identity policy allows kms:Decrypt"
    )
    assert str(why.then.mend).startswith("put the statement 'WorkflowKeyUse")
    assert why.then == why.now

    step.give_back(run, step.restore(step.observe(run), step.saved(run)))
    [why] = refused.explained(run, found)
    assert decided(why) == ("DENIED", "ALLOWED")
    rows = refused.why_refused(run, found).rows
    assert [row[3:5] for row in rows] == [
        ("as the ledger says they were then", "✗ DENIED"),
        ("as they are now", "✓ ALLOWED"),
    ]


def test_a_record_without_parameters_and_one_that_no_policy_refused(job: Job) -> None:
    """The former is taken for a call on this run's workflow, which is said."""
    run = job.through("03")
    role = run.facts()["role_arn"]
    session = f"arn:aws:sts::{run.identity.account}:assumed-role/{role.rpartition('/')[2]}/b"
    told = record(principal_arn=session, issuer_arn=role, time=run.now() + timedelta(minutes=1))
    [why, other] = refused.explained(
        run, [told, replace(told, error_code="InvalidCiphertextException")]
    )
    assert decided(why) == ("ALLOWED", "ALLOWED")
    assert why.assumed == "the record has no encryption context: this run's workflow is taken"
    assert (other.then, other.now) == (None, None)
    assert other.assumed == (
        "the encryption context is not that of the encryption: no permission is missing"
    )
    served = replace(told, error_code=None)
    assert refused.why_refused(run, [served]).note == "No record of a refusal was seen."
    [stranger] = refused.explained(
        run, [replace(told, principal_arn="arn:aws:iam::1:user/x", issuer_arn=None)]
    )
    assert decided(stranger) == ("DENIED", "DENIED")


def record(**fields: Any) -> Record:
    nothing = dict.fromkeys(Record.__dataclass_fields__)
    usual = {"name": "Decrypt", "source": "kms.amazonaws.com", "error_code": "AccessDenied"}
    return Record(**{**nothing, **usual, "key_arns": (), "raw": {}, **fields})


def opened(matrix: Matrix) -> Matrix:
    """The matrix with the operator's answers not known, as where policies could not be read."""
    cells = [
        replace(one, outcome=Outcome.UNKNOWN, why="not read") if one.principal == OPERATOR else one
        for one in matrix.cells
    ]
    return replace(matrix, cells=tuple(cells))


def of_operator(matrix: Matrix) -> dict[str, tuple[str, str]]:
    return {
        one.action: (one.outcome.value, one.why)
        for one in matrix.cells
        if one.principal == OPERATOR
    }


def test_what_the_policies_leave_open_is_tried_with_the_operator_s_own_calls(
    job: Job, aws: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = job.through("02")
    key = run.facts()["key_arn"]
    known = grant_access.who_may(run)
    asked = "a dry run of {}, asked by the operator directly"
    served = tried.settled(run, opened(known), key)
    assert of_operator(served) == {
        action: ("ALLOWED", f"KMS would serve it: {asked.format(action)}")
        for action in policies.ACTIONS
    }
    deny(aws, key, "kms:Decrypt")
    after = of_operator(tried.settled(run, opened(known), key))
    assert {action: outcome for action, (outcome, _) in after.items()} == {
        "kms:Decrypt": "DENIED",
        "kms:GenerateDataKey": "ALLOWED",
    }
    assert "with an explicit deny in a resource-based policy" in after["kms:Decrypt"][1]
    aws("kms").disable_key(KeyId=key)
    outcome, why = of_operator(tried.settled(run, opened(known), key))["kms:GenerateDataKey"]
    assert outcome == "UNKNOWN"
    assert "told nothing (AWS refused GenerateDataKey: DisabledException" in why

    monkeypatch.setattr(tried.mutate, "rehearse", lambda *_: pytest.fail("nothing is open"))
    assert tried.settled(run, known, key) == known
    only_reads = job.open("02", read_only=True)
    assert tried.settled(only_reads, opened(known), key) == opened(known)


def deny(aws: Clients, key: str, action: str) -> None:
    policy = json.loads(aws("kms").get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    denied = {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": "*"}
    policy["Statement"].append(denied)
    aws("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))
