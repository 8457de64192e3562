"""Who the operator is, and what of its policies is known."""

from __future__ import annotations

import json
from typing import Any

import pytest
from iamaccess import Outcome
from keyrunbook.access import decided, findings, keeps_control
from keyrunbook.aws import who
from keyrunbook.aws.clients import Clients, Identity
from keyrunbook.policies import administrators_policy
from keyrunbook.show.tables import matrix_table

ACCOUNT = "111122223333"
KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"

OPERATORS = [
    (f"arn:aws:iam::{ACCOUNT}:root", "root", Outcome.ALLOWED),
    (f"arn:aws:iam::{ACCOUNT}:user/administrator", "user", Outcome.ALLOWED),
    # Its policies, and its session's, can be read by nobody.
    (f"arn:aws:sts::{ACCOUNT}:federated-user/bob", "session", Outcome.UNKNOWN),
]


@pytest.mark.e2e
@pytest.mark.parametrize(("arn", "kind", "outcome"), OPERATORS)
def test_an_operator_is_taken_for_what_it_is(
    clients: Clients, monkeypatch: pytest.MonkeyPatch, arn: str, kind: str, outcome: Outcome
) -> None:
    monkeypatch.setitem(clients.__dict__, "identity", Identity(arn, ACCOUNT))
    operator = who.operator(clients, who.planned(KEY))
    assert operator.principal.kind == kind
    decided = keeps_control(operator, administrators_policy("aws", ACCOUNT)).outcome
    assert decided is outcome


MALFORMED = {"Version": "2012-10-17", "Statement": [{"Effect": "Perhaps"}]}
MALFORMED_TEXT = json.dumps(MALFORMED)


def answers_with(client: Any, operation: str, **fields: Any) -> None:
    """From here on the service's answers to `operation` hold these fields."""
    client.meta.events.register(
        f"after-call.*.{operation}", lambda parsed, **_: parsed.update(fields)
    )


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("service", "operation", "field", "document", "name"),
    [
        ("kms", "GetKeyPolicy", "Policy", MALFORMED_TEXT, "key policy"),
        ("iam", "GetRolePolicy", "PolicyDocument", MALFORMED_TEXT, "Own"),
    ],
)
def test_a_policy_that_the_judge_takes_for_malformed_is_not_known_and_named(
    clients: Clients, service: str, operation: str, field: str, document: Any, name: str
) -> None:
    """AWS holds it, so AWS takes it for well-formed: nothing is decided from it, nothing breaks."""
    trust = {**MALFORMED, "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole"}]}
    trust["Statement"][0]["Principal"] = {"Service": "imagebuilder.amazonaws.com"}  # type: ignore[index]
    iam = clients("iam")
    role = f"Role{operation}"
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))
    use = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*"}
    own = json.dumps({**MALFORMED, "Statement": [use]})
    iam.put_role_policy(RoleName=role, PolicyName="Own", PolicyDocument=own)
    key = clients("kms").create_key()["KeyMetadata"]["Arn"]
    answers_with(clients(service), operation, **{field: document})

    read = who.read(clients, who.key_side(clients, key), role)
    assert read is not None
    [why] = read.malformed
    assert why.startswith(f"{name}: ")
    assert "/Statement/0/Effect" in why
    layer = {"kms": "resource", "iam": "identity"}[service]
    assert getattr(read.policies, layer) is None

    matrix = decided(read, who.operator(clients, who.key_side(clients, key)))
    assert matrix.malformed == (why,)
    assert why in matrix_table(matrix).text().replace("\n", " ")
    assert all(why in finding.evidence for finding in findings(matrix))


@pytest.mark.e2e
def test_an_operator_whose_own_policy_is_not_known_is_told_why(clients: Clients) -> None:
    answers_with(
        clients("iam"),
        "GetPolicyVersion",
        PolicyVersion={"Document": MALFORMED_TEXT, "VersionId": "v1"},
    )
    operator = who.operator(clients, who.planned(KEY))
    control = keeps_control(operator, administrators_policy("aws", ACCOUNT))
    assert control.outcome is Outcome.UNKNOWN
    assert "malformed by the judge: arn:aws:iam::aws:policy/AdministratorAccess: " in control.why
