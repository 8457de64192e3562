"""How long decisions take, against a bare floor: the least Python that gives these answers.

    python benchmarks/decide.py [--seconds S]

The floor knows compiled patterns and dictionaries, Allow and Deny, StringLike and one context key;
it has no layers but key policy and identity policy, no reasons, no operators beside. Both are asked
the same, in turn; whether they agree is printed beside the times, and where they do not it exits
with status 1. Times are microseconds a decision, the best of nine rounds, and this machine's; the
ratios are what counts. Aimed at are at most five times the floor for a decision, and at most twice
that for one that is UNKNOWN because of layers that were not read.
"""

from __future__ import annotations

import argparse
import fnmatch
import itertools
import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from iamaccess import Outcome, Policies, Principal, Request, decide, parse_policy
from iamaccess.explain import explain

ROUNDS = 9
ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/YourImageBuilderExecutionRole"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
CONTEXT = "kms:EncryptionContext:aws:imagebuilder:arn"
WORKFLOW = f"arn:aws:imagebuilder:us-west-2:{ACCOUNT}:workflow/build/sample/1.0.0/*"
COMPONENT = WORKFLOW.replace("workflow/", "component/")
CONDITION = {"StringLike": {CONTEXT: f"arn:aws:imagebuilder:*:{ACCOUNT}:workflow/*"}}
USE = {"Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Condition": CONDITION}
PAGE = [
    {
        "Sid": "Allow access to build images with encrypted workflow",
        "Principal": {"AWS": ROLE},
        "Resource": "*",
        **USE,
    },
    {
        "Sid": "Allow access for key administrators",
        "Effect": "Allow",
        "Principal": {"AWS": ROOT},
        "Action": ["kms:*"],
        "Resource": "*",
    },
]
OWN = [{"Sid": "AllowAccessToTheWorkflowKey", "Resource": KEY, **USE}]
"""The page's second step: the role's own policy."""


def _team(number: int) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/Team{number}"


def _many(count: int) -> list[Any]:
    """The page's statements behind those of other roles."""
    others = [
        {
            "Effect": "Deny" if number % 7 == 0 else "Allow",
            "Principal": {"AWS": _team(number)},
            "Action": ["kms:Decrypt", f"kms:Gen*{number}"],
            "Resource": "*",
            "Condition": CONDITION,
        }
        for number in range(count - len(PAGE))
    ]
    return [*others, *PAGE]


class Floor:
    """Compiled once; `allowed` is asked again and again."""

    def __init__(self, key_policy: list[Any], identity: list[Any]) -> None:
        self.key_policy = [_statement(each) for each in key_policy]
        self.identity = [_statement(each) for each in identity]

    def allowed(self, names: frozenset[str], action: str, context: Mapping[str, str]) -> bool:
        """Whether a statement of either allows, and none denies: the key policy delegates."""
        action = action.lower()
        folded = {key.lower(): value for key, value in context.items()}
        found = False
        for statements in (self.key_policy, self.identity):
            for allow, principal, actions, resource, tests in statements:
                if principal is not None and principal not in names:
                    continue
                if not resource(KEY) or not actions(action):
                    continue
                if all(key in folded and test(folded[key]) for key, test in tests):
                    if not allow:
                        return False
                    found = True
        return found


def _statement(written: Mapping[str, Any]) -> Any:
    return (
        written["Effect"] == "Allow",
        written.get("Principal", {}).get("AWS"),
        _compiled([action.lower() for action in written["Action"]]),
        _compiled([written["Resource"]]),
        [
            (key.lower(), _compiled([pattern]))
            for key, pattern in written.get("Condition", {}).get("StringLike", {}).items()
        ],
    )


def _compiled(patterns: list[str]) -> Callable[[str], Any]:
    return re.compile("|".join(map(fnmatch.translate, patterns))).match


class Line(NamedTuple):
    """One measurement: microseconds of the floor and of what is measured, and who agrees."""

    title: str
    floor: float
    full: float
    agree: bool
    aim: float | None = None

    def __str__(self) -> str:
        aim = f"at most {self.aim:g}" if self.aim else ""
        agree = "agree" if self.agree else "DISAGREE"
        ratio = self.full / self.floor
        return f"{self.title:38}{self.floor:8.2f}{self.full:10.2f}{ratio:8.1f}  {aim:12}{agree}"


def _session(role: str) -> Principal:
    name = role.rsplit("/", 1)[-1]
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/build"
    return Principal("session", arn, ACCOUNT, role, f"AROA{name.upper()}")


def _policies(key_policy: list[Any], identity: list[Any]) -> Policies:
    def parsed(statements: list[Any], kind: Any) -> list[Any]:
        document = {"Version": "2012-10-17", "Statement": statements}
        return [parse_policy(document, kind=kind, name=kind)] if statements else []

    key = parsed(key_policy, "resource")
    return Policies(parsed(identity, "identity"), key, (), (), (), (), ())


def _together(
    bare: Callable[[], object], full: Callable[[], object], seconds: float
) -> tuple[float, float]:
    """Microseconds of both, measured in turn."""
    each = seconds / ROUNDS / 2
    times = [(_microseconds(bare, each), _microseconds(full, each)) for _ in range(ROUNDS)]
    low, high = (min(column) for column in zip(*times, strict=True))
    return low, high


def _microseconds(call: Callable[[], object], seconds: float) -> float:
    count = 0
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        for _ in range(100):
            call()
        count += 100
    return elapsed / count * 1e6


def _decision(
    title: str, key_policy: list[Any], identity: list[Any], seconds: float, aim: float | None
) -> Line:
    """An Allow, after both agreed on it and on a refusal."""
    policies, floor = _policies(key_policy, identity), Floor(key_policy, identity)
    who = _session(ROLE)
    names = frozenset({who.arn, ROLE})
    agree = all(
        (decide(Request(who, "kms:Decrypt", KEY, {CONTEXT: value}), policies).outcome.value)
        == ("ALLOWED" if floor.allowed(names, "kms:Decrypt", {CONTEXT: value}) else "DENIED")
        for value in (WORKFLOW, COMPONENT)
    )
    context = {CONTEXT: WORKFLOW}
    request = Request(who, "kms:Decrypt", KEY, context)
    low, high = _together(
        lambda: floor.allowed(names, "kms:Decrypt", context),
        lambda: decide(request, policies),
        seconds,
    )
    return Line(title, low, high, agree, aim)


def _unknown(seconds: float) -> Line:
    """The organization's policies were not read: both bounds, and their names."""
    policies = _policies(PAGE, OWN)
    unread = Policies(policies.identity, policies.resource, (), (), (), None, None)
    floor, who, context = Floor(PAGE, OWN), _session(ROLE), {CONTEXT: WORKFLOW}
    names = frozenset({who.arn, ROLE})
    request = Request(who, "kms:Decrypt", KEY, context)
    decision = decide(request, unread)
    agree = decision.outcome is Outcome.UNKNOWN and (
        decision.allowed_by_what_was_read is floor.allowed(names, "kms:Decrypt", context)
    )
    low, high = _together(
        lambda: floor.allowed(names, "kms:Decrypt", context),
        lambda: decide(request, unread),
        seconds,
    )
    return Line("the same, SCPs and RCPs not read", low, high, agree, 10)


def _refusal(seconds: float) -> Line:
    """A denial, and its nearest miss in words."""
    policies, floor, who = _policies(PAGE, OWN), Floor(PAGE, OWN), _session(ROLE)
    names, context = frozenset({who.arn, ROLE}), {CONTEXT: COMPONENT}
    request = Request(who, "kms:Decrypt", KEY, context)
    told = explain(request, policies, decide(request, policies))
    agree = not floor.allowed(names, "kms:Decrypt", context) and CONTEXT in str(told.misses[0])
    low, high = _together(
        lambda: floor.allowed(names, "kms:Decrypt", context),
        lambda: str(explain(request, policies, decide(request, policies)).misses[0]),
        seconds,
    )
    return Line("a denial with its nearest miss", low, high, agree)


def _matrix() -> Line:
    """10,000 requests once: principals by actions by contexts, each a decision of its own."""
    key_policy = _many(60)
    policies, floor = _policies(key_policy, OWN), Floor(key_policy, OWN)
    roles = [ROLE, *(_team(number) for number in range(99))]
    actions = ["kms:Decrypt", "kms:GenerateDataKey", "kms:Encrypt", "kms:PutKeyPolicy", "kms:Gen7"]
    values = [f"{stem[:-1]}{n}" for stem in (WORKFLOW, COMPONENT) for n in range(10)]
    asked = [
        (_session(role), action, {CONTEXT: value})
        for role, action, value in itertools.product(roles, actions, values)
    ]
    started = time.perf_counter()
    bare = [
        floor.allowed(frozenset({who.arn, who.role_arn or ""}), action, context)
        for who, action, context in asked
    ]
    between = time.perf_counter()
    full = [
        decide(Request(who, action, KEY, context), policies).outcome is Outcome.ALLOWED
        for who, action, context in asked
    ]
    ended = time.perf_counter()
    count = len(asked) / 1e6
    title = f"a matrix of {len(asked):,} requests"
    return Line(title, (between - started) / count, (ended - between) / count, bare == full)


def main() -> int:
    """Measure, print a line for each, and say whether all agreed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of measuring, a line")
    seconds = parser.parse_args().seconds
    print(
        f"{'microseconds a decision':38}{'floor':>8}{'decide':>10}{'ratio':>8}  {'aim':12}answers"
    )
    lines = [
        _decision("the page's key policy", PAGE, [], seconds, 5),
        _decision("the same with the role's own policy", PAGE, OWN, seconds, 5),
        _unknown(seconds),
        _decision("60 statements", _many(60), [], seconds, None),
        _decision("200 statements", _many(200), [], seconds, None),
        _refusal(seconds),
        _matrix(),
    ]
    for line in lines:
        print(line)
    return 0 if all(line.agree for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
