"""Who the operator is, and what of its policies is known."""

from __future__ import annotations

import pytest
from iamaccess import Outcome
from keyrunbook.access import keeps_control
from keyrunbook.aws import who
from keyrunbook.aws.clients import Clients, Identity
from keyrunbook.policies import administrators_policy

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
    operator = who.operator(clients, KEY, planned=True)
    assert operator.principal.kind == kind
    decided, _ = keeps_control(operator, administrators_policy("aws", ACCOUNT))
    assert decided is outcome
