"""Cases over a small alphabet, so that what is written and what is asked often meet.

One generator for two drivers: `choose(options)` picks one; a seeded random generator makes ten
thousand quickly, hypothesis shrinks what it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reference_evaluator import Case

Choose = Callable[[Sequence[Any]], Any]

ACCOUNT, OTHER = "111122223333", "444455556666"
KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/R"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/R/s"
USER = f"arn:aws:iam::{ACCOUNT}:user/U"
THEIR_ROLE = f"arn:aws:iam::{OTHER}:role/R"
THEIR_USER = f"arn:aws:iam::{OTHER}:user/V"
SERVICE = "imagebuilder.amazonaws.com"
LINKED = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{SERVICE}/L"

CALLERS = (
    *[("session", SESSION, ACCOUNT, ROLE, "AROA1")] * 4,
    ("session", f"arn:aws:sts::{ACCOUNT}:assumed-role/R/other", ACCOUNT, ROLE, "AROA1"),
    *[("user", USER, ACCOUNT, None, "AIDA1")] * 3,
    ("role", ROLE, ACCOUNT, None, "AROA1"),
    ("root", f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT, None, None),
    ("session", f"arn:aws:sts::{OTHER}:assumed-role/R/s", OTHER, THEIR_ROLE, "AROA2"),
    ("user", THEIR_USER, OTHER, None, "AIDA2"),
    ("root", f"arn:aws:iam::{OTHER}:root", OTHER, None, None),
    ("service", SERVICE, None, None, None),
    ("anonymous", "anonymous", None, None, None),
    ("session", f"arn:aws:sts::{ACCOUNT}:assumed-role/L/s", ACCOUNT, LINKED, "AROA3"),
)
ROOT, THEIR_ROOT = f"arn:aws:iam::{ACCOUNT}:root", f"arn:aws:iam::{OTHER}:root"
NAMES: tuple[Any, ...] = (
    "*",
    *[{"AWS": ROOT}] * 3,
    *[{"AWS": ROLE}] * 2,
    {"AWS": SESSION},
    {"AWS": [USER, "AROA1"]},
    {"AWS": ["AIDA1", THEIR_ROOT]},
    {"AWS": [ACCOUNT, THEIR_USER]},
    {"AWS": [THEIR_ROLE], "Service": SERVICE},
    {"AWS": LINKED},
    {"AWS": "*"},
)
SPARED: tuple[Any, ...] = (
    {"AWS": [ROOT, ROLE, SESSION]},
    {"AWS": [ROLE, SESSION]},
    {"AWS": ROOT},
    {"AWS": [USER, ACCOUNT]},
    {"AWS": USER, "Service": SERVICE},
)
ACTIONS = (*["kms:Decrypt"] * 5, "kms:DescribeKey", "kms:CreateGrant", "kms:CreateKey")
ACTION_PATTERNS: tuple[Any, ...] = (
    *("kms:*", "kms:*", "kms:*", "*", "*", "kms:Decrypt", "KMS:decrypt", "kms:De*", "kms:?ecrypt"),
    *(["kms:Encrypt", "kms:Decrypt"], ["kms:Create*", "s3:*"], "s3:*"),
)
RESOURCE_PATTERNS: tuple[Any, ...] = (
    *(
        "*",
        "*",
        "*",
        "*",
        "*",
        "*",
        KEY,
        f"arn:aws:kms:*:{ACCOUNT}:key/*",
        f"arn:aws:kms:*:{ACCOUNT}:key/",
    ),
    *(
        [KEY, f"{KEY}2"],
        f"arn:aws:kms:us-west-2:{OTHER}:key/1",
        "arn:aws:kms:*:key/${aws:RequestTag/team}",
    ),
    "arn:aws:kms:us-west-2:*:key/${aws:MultiFactorAuthAge, '1'}",
)
TEXT, TAGS, PAIR = "aws:RequestTag/team", "aws:TagKeys", "kms:EncryptionContext:a"
IP, NUMBER, DATE = "aws:SourceIp", "aws:MultiFactorAuthAge", "aws:CurrentTime"
BOOL, ARN = "aws:SecureTransport", "aws:SourceArn"
WORDS = ("v", "w", "V", "vw", "*", "x", "v*", "?", "*w", "1")
"""Of each pattern that a condition may have, some match and some do not."""
DOMAINS: Mapping[str, Sequence[Any]] = {
    TEXT: WORDS,
    TAGS: (["v"], ["v", "w"], ["w", "x"], ["v", "x"], *([word] for word in WORDS[1:])),
    PAIR: WORDS,
    "kms:EncryptionContext:b": ("v", "w"),
    IP: ("10.0.0.1", "192.0.2.7", "2001:db8::1"),
    NUMBER: ("1", "2", "3"),
    DATE: ("2024-05-01T00:00:00Z", "2025-05-01T00:00:00Z", "2026-05-01T00:00:00Z"),
    BOOL: (True, False),
    ARN: (f"arn:aws:s3:us-east-1:{ACCOUNT}:a", f"arn:aws:s3:us-east-1:{OTHER}:a:b"),
}
STRINGS = (
    *("StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase"),
    *("StringLike", "StringNotLike"),
)
COMPARED = ("Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals")
STRING_VALUES: tuple[Any, ...] = (
    *("v", "w", "v*", "?", "${*}", ["v", "x"], ["*w", "V"], f"${{{TEXT}}}"),
    *(f"${{{PAIR}}}*", f"${{{PAIR}, 'v'}}", "*"),
)
TESTS: Mapping[str, tuple[Sequence[str], Sequence[Any]]] = {
    TEXT: (STRINGS, STRING_VALUES),
    PAIR: (STRINGS, STRING_VALUES),
    TAGS: (
        [f"{each}:{name}" for each in ("ForAllValues", "ForAnyValue") for name in STRINGS],
        STRING_VALUES,
    ),
    IP: (
        ("IpAddress", "NotIpAddress"),
        ("10.0.0.0/8", "192.0.2.7", ["2001:db8::/32", "10.0.0.1"], "0.0.0.0/0"),
    ),
    NUMBER: ([f"Numeric{each}" for each in COMPARED], ("1", 2, ["3", "1"], "2.0")),
    DATE: (
        [f"Date{each}" for each in COMPARED],
        ("2025-05-01T00:00:00Z", "1746057600", "2025-05-01", ["2026-05-01T02:00:00+02:00"]),
    ),
    BOOL: (("Bool",), ("true", "false", True, ["true", "false"])),
    ARN: (
        ("ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"),
        (f"arn:aws:s3:*:{ACCOUNT}:a", "arn:aws:s3:*:*:a*", f"arn:*:{OTHER}:a:b", "arn:*:*:*:*:?"),
    ),
}


def spelled(key: str, choose: Choose) -> str:
    return str(choose([key, key, key, key.lower(), key.upper()]))


def condition(choose: Choose) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for _ in range(choose([0, 0, 0, 0, 0, 1, 1, 2])):
        key = choose(list(TESTS))
        operators, values = TESTS[key]
        operator, value = choose(operators), choose(values)
        if choose([True, False, False, False, False]):
            operator, value = "Null", choose(["true", "false", True])
        elif choose([True, False, False, False]):
            operator += "IfExists"
        found.setdefault(operator, {})[spelled(key, choose)] = value
    return found


def statement(
    choose: Choose, *, names: Sequence[Any] = (), effect: str | None = None, plain: bool = False
) -> dict[str, Any]:
    """One statement; with `names` it is of a key policy; `plain`: without Not elements."""
    effect = effect or choose(["Allow"] * 9 + ["Deny"])

    def either(element: str, values: Sequence[Any]) -> tuple[str, Any]:
        negated = not plain and choose([False] * 7 + [True])
        return f"Not{element}" if negated else element, choose(values)

    found: dict[str, Any] = {"Effect": effect}
    found.update([either("Action", ACTION_PATTERNS), either("Resource", RESOURCE_PATTERNS)])
    if names:
        spare = effect == "Deny" and not plain and choose([False, True])
        found["NotPrincipal" if spare else "Principal"] = choose(SPARED if spare else names)
    if tests := condition(choose):
        found["Condition"] = tests
    return found


def document(choose: Choose, *, names: Sequence[Any] = (), plain: bool = False) -> dict[str, Any]:
    statements = [statement(choose, names=names, plain=plain) for _ in range(choose([1, 2, 3, 4]))]
    return {"Version": choose(["2012-10-17"] * 4 + ["2008-10-17"]), "Statement": statements}


def policy(*statements: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def scps(choose: Choose) -> list[Any]:
    """The policies of one level."""
    full = policy({"Effect": "Allow", "Action": "*", "Resource": "*"})
    other = policy(*(statement(choose) for _ in range(choose([1, 2]))))
    return list(choose([[full], [full], [full, other], [other]]))


def rcps(choose: Choose) -> list[Any]:
    """RCPFullAWSAccess, which cannot be detached, and what denies."""
    full = policy({"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"})
    deny = policy(statement(choose, names=["*"], effect="Deny", plain=True))
    return list(choose([[full], [full, deny]]))


def near(arn: str, account: str | None) -> Sequence[Any]:
    """Names that often are the caller's."""
    if account is None:
        return [{"Service": SERVICE}] * 10
    return [{"AWS": arn}, {"AWS": account}, {"AWS": ROLE}] * 4


def grant(choose: Choose) -> dict[str, Any]:
    found: dict[str, Any] = {
        "grantee": choose([ROLE, SESSION, USER, THEIR_USER, THEIR_ROLE, SERVICE, ROOT]),
        "operations": choose([["Decrypt"], ["Decrypt", "CreateGrant", "DescribeKey"], ["Encrypt"]]),
        "key": choose([KEY, KEY, KEY, f"{KEY}2"]),
    }
    if kind := choose([None, None, "subset", "equals"]):
        found[kind] = choose([{"a": "v"}, {"A": "w"}, {"a": "v", "b": "v"}])
    return found


def case(choose: Choose, *, given: bool = False, told: bool = False, plain: bool = False) -> Case:
    """A case; `given`: each layer; `told`: each condition key; `plain`: without Not elements."""

    def layer(made: Callable[[], Any], *, usual: Sequence[Any]) -> Any:
        number = choose([*usual, *([] if given else [None])])
        return None if number is None else [made() for _ in range(number)]

    kind, arn, account, role_arn, unique_id = choose(CALLERS)
    action = choose(ACTIONS)

    def policies(usual: Sequence[int], names: Sequence[Any] = ()) -> Any:
        return layer(lambda: document(choose, names=names, plain=plain), usual=usual)

    def levels(level: Callable[[Choose], list[Any]]) -> Any:
        return layer(lambda: level(choose), usual=[0, 0, 0, 0, 1, 2])

    context = {
        spelled(key, choose): choose(values[:4])
        for key, values in DOMAINS.items()
        if choose([0, 1])
    }
    missing = [key for key in DOMAINS if key.lower() not in {each.lower() for each in context}]
    absent = (
        None
        if told or choose([True, False])
        else [spelled(key, choose) for key in missing if choose([True, True, False])]
    )
    return Case(
        *(kind, arn, account, role_arn, unique_id),
        *(action, "*" if action == "kms:CreateKey" else KEY, context),
        identity=policies([0, 1, 1, 1, 1, 2]),
        key_policy=policies([0, 1, 1, 1, 1, 2], names=[*NAMES, *near(arn, account)]),
        grants=layer(lambda: grant(choose), usual=[0, 0, 0, 1, 2]),
        boundary=policies([0, 0, 0, 0, 1]),
        session=policies([0, 0, 0, 0, 1]),
        scps=levels(scps),
        rcps=levels(rcps),
        absent=absent,
        domains=DOMAINS,
    )
