"""Why a call was refused, told afterwards; and what only KMS can tell, tried. On a real sandbox."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from iamaccess import Grant, Outcome, Policies, Policy, parse_policy
from jobs import Job
from keyrunbook import policies
from keyrunbook.access import OPERATOR, Matrix
from keyrunbook.aws import who
from keyrunbook.aws.clients import Clients
from keyrunbook.records import Record
from keyrunbook.steps import grant_access, refused, revoke_access, tried

if TYPE_CHECKING:
    from keyrunbook.proof import Verdict

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
    verdict = SimpleNamespace(rejected=[SimpleNamespace(record=one) for one in (served, told)])
    assert len(refused.why_refused_in(run, cast("Verdict", verdict)).rows) == 1
    [stranger] = refused.explained(
        run, [replace(told, principal_arn="arn:aws:iam::1:user/x", issuer_arn=None)]
    )
    assert decided(stranger) == ("DENIED", "DENIED")
    federated = session.replace("assumed-role", "federated-user").rpartition("/")[0]
    [who_federates, nobody, spelled] = refused.explained(
        run,
        [
            replace(told, principal_arn=federated, issuer_arn=None),
            replace(told, principal_arn=None, issuer_arn=None),
            replace(told, error_code="AccessDeniedException"),
        ],
    )
    assert decided(who_federates) == ("UNKNOWN", "UNKNOWN"), "not taken for the root user"
    assert (nobody.then, nobody.assumed) == (None, "the record does not tell who called")
    assert decided(spelled) == ("ALLOWED", "ALLOWED")


KEY = "arn:aws:kms:us-west-2:111122223333:key/1"
OWN = "WorkflowKeyAccess-r1"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def document(sid: str, **principal: Any) -> dict[str, Any]:
    statement = {"Sid": sid, "Effect": "Allow", "Action": "kms:*", "Resource": "*", **principal}
    return {"Version": "2012-10-17", "Statement": [statement]}


@pytest.mark.parametrize(
    ("minutes", "key_policy", "role_policies", "grants"),
    [
        pytest.param(-1, "K0", {"Theirs", "R0"}, {"old"}, id="before the run changed anything"),
        pytest.param(1, "K1", {"Theirs", "R0"}, {"old"}, id="after the key policy's first change"),
        pytest.param(2, "K1", {"Theirs"}, {"old"}, id="at the moment of a change it is made"),
        pytest.param(3, "K1", {"Theirs"}, set(), id="after the grant was taken"),
        pytest.param(9, "K2", {"Theirs"}, {"new"}, id="after all of it"),
    ],
)
def test_the_policies_at_a_time_are_what_the_ledger_says(
    minutes: int, key_policy: str, role_policies: set[str], grants: set[str]
) -> None:
    everyone = {"Principal": "*"}
    k0, k1, k2 = (json.dumps(document(sid, **everyone)) for sid in ("K0", "K1", "K2"))

    def at(minute: int) -> datetime:
        return NOON + timedelta(minutes=minute)

    old = {"GrantId": "old", "GranteePrincipal": "x", "Operations": ["Decrypt"]}
    changes = [
        refused.Change("key policy", at(0), k0, k1),
        refused.Change("role policy", at(2), document("R0"), None),
        refused.Change("grant", at(3), old, None),
        refused.Change("grant id", at(4), None, "new"),
        refused.Change("key policy", at(5), k1, k2),
    ]
    now = Policies(
        identity=[parse_policy(document("Theirs"), kind="identity", name="Theirs")],
        resource=[parse_policy(k2, kind="resource", name="key policy")],
        grants=[Grant("new", "x", frozenset({"Decrypt"}), None, None, KEY)],
    )
    then = refused.policies_at(now, changes, at(minutes), KEY, OWN)
    assert sids(then.resource) == {key_policy}
    assert sids(then.identity) == role_policies
    assert {one.grant_id for one in then.grants or ()} == grants
    assert refused.policies_at(now, (), at(minutes), KEY, OWN) == now
    assert refused.policies_at(now, changes, at(minutes), KEY, None).identity == now.identity


def sids(found: Sequence[Policy] | None) -> set[str | None]:
    return {one.ref.sid for policy in found or () for one in policy.statements}


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
    operator = who.operator(run.clients, who.key_side(run.clients, key))
    asked = "a dry run of {}, asked by the operator directly"
    served = tried.settled(run, opened(known), operator)
    assert of_operator(served) == {
        action: ("ALLOWED", f"KMS would serve it: {asked.format(action)}")
        for action in policies.ACTIONS
    }
    deny(aws, key, "kms:Decrypt")
    after = of_operator(tried.settled(run, opened(known), operator))
    assert {action: outcome for action, (outcome, _) in after.items()} == {
        "kms:Decrypt": "DENIED",
        "kms:GenerateDataKey": "ALLOWED",
    }
    assert "with an explicit deny in a resource-based policy" in after["kms:Decrypt"][1]
    aws("kms").disable_key(KeyId=key)
    outcome, why = of_operator(tried.settled(run, opened(known), operator))["kms:GenerateDataKey"]
    assert outcome == "UNKNOWN"
    assert "told nothing (AWS refused GenerateDataKey: DisabledException" in why

    by_service = {**BY_SERVICE, "Condition": {"Bool": {"aws:ViaAWSService": "true"}}}
    limited = Policies(
        identity=[parse_policy({**document("x"), "Statement": [by_service]}, kind="identity")],
        resource=operator.policies.resource,
    )
    monkeypatch.setattr(tried.mutate, "rehearse", lambda *_: pytest.fail("nothing is open"))
    assert tried.settled(run, known, operator) == known
    apart = replace(operator, policies=limited)
    why = "not read; a dry run would tell nothing, as the policies tell a call by Image Builder"
    answers = of_operator(tried.settled(run, opened(known), apart)).values()
    assert set(answers) == {("UNKNOWN", f"{why} from a direct one")}
    only_reads = job.open("02", read_only=True)
    assert tried.settled(only_reads, opened(known), operator) == opened(known)


BY_SERVICE = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}


def deny(aws: Clients, key: str, action: str) -> None:
    policy = json.loads(aws("kms").get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    denied = {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": "*"}
    policy["Statement"].append(denied)
    aws("kms").put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))
