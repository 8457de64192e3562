"""Policies in words, and how two of them differ."""

from __future__ import annotations

from typing import Any

import pytest
from keyrunbook import policies as build
from keyrunbook.wording import changes, in_words

ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/Builder"
USE = build.execution_role_statement("r1", ROLE, "aws", ACCOUNT)
(ADMINISTRATORS,) = build.administrators_policy("aws", ACCOUNT)["Statement"]


def policy(*statements: Any) -> dict[str, Any]:
    return {"Version": build.VERSION, "Statement": list(statements)}


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            USE,
            f"allows {ROLE}: kms:Decrypt and kms:GenerateDataKey on this key, where "
            f"{build.CONTEXT_KEY} is like arn:aws:imagebuilder:*:{ACCOUNT}:workflow/*",
        ),
        ({"Effect": "Deny", "NotAction": "kms:*", "Resource": "*"}, "denies all but kms:* on *"),
        (
            {
                "Effect": "Allow",
                "NotPrincipal": {"AWS": ["a", "b"], "Service": "s"},
                "Action": "kms:*",
            },
            "allows all but a, b and s: kms:*",
        ),
        ({"Effect": "Allow", "Principal": "*"}, "allows *: nothing, as it has no Action"),
        (
            {
                "Effect": "Allow",
                "Action": "x",
                "Resource": ["r", "s"],
                "Condition": {"Bool": {"k": "true"}, "IpAddress": {"l": ["1", "2"]}},
            },
            "allows x on r and s, where k is true and l (IpAddress) 1 or 2",
        ),
    ],
)
def test_a_statement_in_words(statement: dict[str, Any], words: str) -> None:
    assert in_words(statement) == words


def test_each_statement_is_kept_changed_added_or_removed() -> None:
    wider = {**USE, "Resource": ["*"], "Action": "kms:*"}
    other = {"Effect": "Allow", "Action": "x", "Principal": "*"}
    before, after = policy(ADMINISTRATORS, USE), policy(other, wider)
    found = changes(before, after)
    assert [(one.name, one.kind) for one in found] == [
        ("statement 1", "added"),
        (USE["Sid"], "changed"),
        (ADMINISTRATORS["Sid"], "removed"),
    ]
    assert [line for line in found[1].lines() if line[0] in "+-"] == [
        '-  "Action": [',
        '-    "kms:Decrypt",',
        '-    "kms:GenerateDataKey"',
        "-  ],",
        '+  "Action": "kms:*",',
    ]
    assert {line[0] for line in found[0].lines()} == {"+"}
    assert {line[0] for line in found[2].lines()} == {"-"}


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        (None, policy(USE), ["added"]),
        (policy(USE), None, ["removed"]),
        (policy(USE), policy({**USE, "Action": USE["Action"][::-1]}), ["kept"]),
        ({"Statement": USE}, policy(USE, USE), ["kept", "added"]),
        (None, None, []),
    ],
)
def test_what_aws_writes_otherwise_is_kept_and_a_policy_may_not_be_there(
    before: Any, after: Any, kinds: list[str]
) -> None:
    found = changes(before, after)
    assert [one.kind for one in found] == kinds
    assert all(one.lines() == [] for one in found if one.kind == "kept")
