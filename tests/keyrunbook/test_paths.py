"""Which paths are open, each by itself: the key policy, own policies by delegation, grants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from iamaccess import Grant, Policies, Principal, parse_policy
from keyrunbook import paths, policies
from keyrunbook.access import Operator, Read
from keyrunbook.paths import BY_GRANT, BY_KEY, BY_OWN, Path

ACCOUNT = "111122223333"
KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/team/Builder"
WORKFLOW = f"arn:aws:imagebuilder:us-west-2:{ACCOUNT}:workflow/build/example/1.0.0/*"

(ROOT,) = policies.administrators_policy("aws", ACCOUNT)["Statement"]
OURS = policies.execution_role_statement("r1", ROLE, "aws", ACCOUNT)
DENIED = policies.revoked_statement("r1", ROLE, "aws", ACCOUNT)
OWN = policies.role_policy("r1", KEY, "aws", ACCOUNT)
OTHER_KEY = policies.role_policy("r1", f"{KEY}2", "aws", ACCOUNT)
NO_SID = {"Effect": "Allow", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*"}
FORBIDS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Deny", "Action": "kms:*", "Resource": "*"}],
}


def grant(context: dict[str, str] | None = None, operation: str = "Decrypt") -> Grant:
    return Grant("g1", ROLE, frozenset({operation}), context, None, KEY)


def read(
    statements: list[dict[str, Any]],
    own: dict[str, dict[str, Any]] | None = None,
    grants: tuple[Grant, ...] = (),
) -> Read:
    document = {"Version": "2012-10-17", "Statement": statements}
    return Read(
        ROLE,
        "AROA1",
        KEY,
        Policies(
            identity=[parse_policy(d, kind="identity", name=n) for n, d in (own or {}).items()],
            resource=[parse_policy(document, kind="resource", name="key policy")],
            grants=grants,
            boundary=(),
            session=(),
            service_control=None,
            resource_control=None,
        ),
    )


@pytest.mark.parametrize(
    ("situation", "found"),
    [
        pytest.param(read([ROOT]), [], id="delegation alone opens nothing"),
        pytest.param(read([ROOT, OURS]), [(BY_KEY, "WorkflowKeyUser1")], id="the key names it"),
        pytest.param(read([ROOT], {"own": OWN}), [(BY_OWN, "own")], id="by delegation"),
        pytest.param(read([OURS], {"own": OWN}), [(BY_KEY, "WorkflowKeyUser1")],
                     id="without delegation its own policy counts for nothing"),
        pytest.param(read([ROOT, OURS], {"own": OWN, "arn:aws:iam::aws:policy/Wide": OWN}),
                     [(BY_KEY, "WorkflowKeyUser1"), (BY_OWN, "own"), (BY_OWN, "Wide")],
                     id="each by itself"),
        pytest.param(read([ROOT], {"own": OTHER_KEY}), [], id="another key"),
        pytest.param(read([ROOT], grants=(grant(),)), [(BY_GRANT, "g1")], id="a grant"),
        pytest.param(read([ROOT], grants=(grant({"aws:imagebuilder:arn": WORKFLOW}),)),
                     [(BY_GRANT, "g1")], id="a grant for workflows"),
        pytest.param(read([ROOT], grants=(grant({"team": "images"}),)), [],
                     id="a grant for something else"),
        pytest.param(read([ROOT], grants=(grant(operation="DescribeKey"),)), [],
                     id="a grant of another operation"),
        pytest.param(read([ROOT, NO_SID]), [(BY_KEY, "statement 2")], id="everybody"),
        pytest.param(read([ROOT, OURS, DENIED], {"own": OWN}, (grant(),)), [],
                     id="a Deny in the key policy closes them all"),
        pytest.param(read([ROOT, OURS], {"own": OWN, "forbids": FORBIDS}, (grant(),)), [],
                     id="so does one of its own"),
    ],
)  # fmt: skip
def test_the_open_paths(situation: Read, found: list[tuple[str, str]]) -> None:
    assert [(one.kind, one.name) for one in paths.of_role(situation)] == found


def test_policies_of_one_name_are_told_apart() -> None:
    """A user's inline policy and one of its group's may have the same name."""
    user = Principal("user", f"arn:aws:iam::{ACCOUNT}:user/ann", ACCOUNT, unique_id="AIDA1")
    alone = read([ROOT], {"own": OWN}).policies
    (forbids,) = read([ROOT], {"own": FORBIDS}).policies.identity or ()
    assert paths.of_operator(Operator(user, KEY, alone)) == (Path(BY_OWN, "own"),)
    both = replace(alone, identity=[*(alone.identity or ()), forbids])
    assert paths.of_operator(Operator(user, KEY, both)) == ()


def test_what_cannot_be_judged_may_be_open() -> None:
    doubtful = {**OURS, "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}}
    (found,) = paths.of_role(read([ROOT, doubtful]))
    assert (found.kind, found.name) == (BY_KEY, "WorkflowKeyUser1")
    assert found.doubt == "the request does not tell aws:SourceIp"


def test_what_was_not_read_may_be_open() -> None:
    known = read([ROOT, OURS], {"own": OWN})
    unread = replace(known, policies=replace(known.policies, resource=None, grants=None))
    found = [(one.kind, one.name, bool(one.doubt)) for one in paths.of_role(unread)]
    assert found == [(BY_KEY, "not read", True), (BY_GRANT, "not read", True)]


def test_what_a_revocation_would_leave_open() -> None:
    now = read([ROOT, OURS], {"own": OWN, "theirs": OWN}, (grant(),))
    closed = {"Version": "2012-10-17", "Statement": [ROOT]}
    after = paths.changed(now, closed, "own", ["g1"])
    assert after is not None
    assert paths.of_role(after) == (Path(BY_OWN, "theirs"),)
    unchanged = paths.changed(now, None)
    assert unchanged is not None
    assert paths.of_role(unchanged) == paths.of_role(now)
    assert paths.changed(now, {"Version": "2012-10-17", "Statement": [{"Effect": "Maybe"}]}) is None


def test_the_operator_s_path_is_image_builder_s_call_for_it() -> None:
    user = Principal("user", f"arn:aws:iam::{ACCOUNT}:user/ann", ACCOUNT, unique_id="AIDA1")
    through = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow", "Action": "kms:*", "Resource": "*",
                "Condition": {
                    "ForAnyValue:StringEquals": {"aws:CalledVia": "imagebuilder.amazonaws.com"}
                },
            }
        ],
    }  # fmt: skip
    layers = read([ROOT, OURS], {"through": through}).policies
    assert paths.of_operator(Operator(user, KEY, layers)) == (Path(BY_OWN, "through"),)
