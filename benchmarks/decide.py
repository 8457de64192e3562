"""How long one decision takes, against a bare floor: the least Python that gives these answers.

    python benchmarks/decide.py [--seconds S]

The floor knows compiled patterns and dictionaries, Allow and Deny, StringLike and one context key;
it has no layers, no reasons and no operators beside. Both are asked the same, in turn, and must
agree. It prints microseconds of each, the best of nine rounds, and their ratio. The microseconds
are this machine's; aimed at is at most five times the floor.
"""

from __future__ import annotations

import argparse
import fnmatch
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from iamaccess import Outcome, Policies, Principal, Request, decide, parse_policy

ROUNDS = 9
ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/YourImageBuilderExecutionRole"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/YourImageBuilderExecutionRole/build"
KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
PRINCIPAL = Principal("session", SESSION, ACCOUNT, ROLE, "AROAEXECUTIONROLE0001")
CONTEXT = "kms:EncryptionContext:aws:imagebuilder:arn"
WORKFLOW = f"arn:aws:imagebuilder:us-west-2:{ACCOUNT}:workflow/build/sample/1.0.0/*"
CONDITION = {"StringLike": {CONTEXT: f"arn:aws:imagebuilder:*:{ACCOUNT}:workflow/*"}}
PAGE = [
    {
        "Sid": "Allow access to build images with encrypted workflow",
        "Effect": "Allow",
        "Principal": {"AWS": ROLE},
        "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
        "Resource": "*",
        "Condition": CONDITION,
    },
    {
        "Sid": "Allow access for key administrators",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": ["kms:*"],
        "Resource": "*",
    },
]
MANY = [
    {
        "Effect": "Deny" if number % 7 == 0 else "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/Team{number}"},
        "Action": ["kms:Decrypt", f"kms:Gen*{number}"],
        "Resource": "*",
        "Condition": CONDITION,
    }
    for number in range(58)
] + PAGE


class Floor:
    """Compiled once; `allowed` is asked again and again."""

    def __init__(self, statements: list[Any]) -> None:
        self.compiled = [
            (
                each["Effect"] == "Allow",
                each["Principal"]["AWS"],
                _compiled([action.lower() for action in each["Action"]]),
                each["Resource"] == "*",
                [
                    (key.lower(), _compiled([pattern]))
                    for key, pattern in each.get("Condition", {}).get("StringLike", {}).items()
                ],
            )
            for each in statements
        ]

    def allowed(self, names: frozenset[str], action: str, context: Mapping[str, str]) -> bool:
        action = action.lower()
        folded = {key.lower(): value for key, value in context.items()}
        found = False
        for allow, principal, actions, resource, tests in self.compiled:
            if principal not in names or not resource or not actions(action):
                continue
            if all(key in folded and test(folded[key]) for key, test in tests):
                if not allow:
                    return False
                found = True
        return found


def _compiled(patterns: list[str]) -> Callable[[str], Any]:
    return re.compile("|".join(map(fnmatch.translate, patterns))).match


def _microseconds(call: Callable[[], object], seconds: float) -> float:
    count = 0
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        for _ in range(100):
            call()
        count += 100
    return elapsed / count * 1e6


def _line(title: str, statements: list[Any], seconds: float) -> str:
    """Both asked in turn, after they agreed on an Allow and on a refusal."""
    document = {"Version": "2012-10-17", "Statement": statements}
    policy = parse_policy(document, kind="resource", name="key policy")
    policies = Policies((), [policy], (), (), (), (), ())
    floor = Floor(statements)
    names = frozenset({SESSION, ROLE})
    for value in (WORKFLOW.replace("workflow/", "component/"), WORKFLOW):
        context = {CONTEXT: value}
        request = Request(PRINCIPAL, "kms:Decrypt", KEY, context)
        outcome = decide(request, policies).outcome is Outcome.ALLOWED
        if floor.allowed(names, request.action, context) is not outcome:
            raise SystemExit(f"{title}: the two disagree, so there is nothing to compare")

    def bare() -> object:
        return floor.allowed(names, "kms:Decrypt", context)

    def full() -> object:
        return decide(request, policies)

    each = seconds / ROUNDS / 2
    times = [(_microseconds(bare, each), _microseconds(full, each)) for _ in range(ROUNDS)]
    low, high = (min(column) for column in zip(*times, strict=True))
    return f"{title:24}{low:8.2f}µs{high:8.2f}µs{high / low:8.1f}"


def main() -> None:
    """Measure both policies and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of measuring, a line")
    seconds = parser.parse_args().seconds
    print(f"{'':24}{'floor':>10}{'decide':>10}{'ratio':>8}")
    for title, statements in (("the page's key policy", PAGE), ("60 statements", MANY)):
        print(_line(title, statements, seconds))


if __name__ == "__main__":
    main()
