"""Which of AWS's operations only read: all that a run with `read_only` can call.

By the first word of an operation's name, service by service; of STS by the whole name, because
most of its answers are credentials. What is not here is taken for an operation that changes
something: a service, a word or an operation that a later SDK brings is refused until it is decided.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

WORDS: Final[Mapping[str, frozenset[str]]] = {
    "cloudtrail": frozenset({"Describe", "Get", "List", "Lookup"}),
    "iam": frozenset({"Get", "List", "Simulate"}),
    "imagebuilder": frozenset({"Get", "List"}),
    "kms": frozenset({"Describe", "Get", "List"}),
    "s3": frozenset({"Get", "Head", "List"}),
    "sts": frozenset(),
}
"""The first words of the operations that change nothing, by the name of the service's client."""

BY_NAME: Final[Mapping[tuple[str, str], bool]] = {
    ("sts", "GetCallerIdentity"): True,
    ("sts", "GetAccessKeyInfo"): True,
    ("sts", "DecodeAuthorizationMessage"): True,
    ("kms", "GetParametersForImport"): False,  # it makes a wrapping key and an import token
}
"""The operations whose first word does not say whether they only read."""


def reads(service: str, operation: str) -> bool:
    """Whether the operation of that service, by its name in AWS (``DescribeKey``), only reads."""
    known = BY_NAME.get((service, operation))
    return first_word(operation) in WORDS.get(service, ()) if known is None else known


def first_word(operation: str) -> str:
    """``Describe`` of ``DescribeKey``."""
    found = re.match(r"[A-Z][a-z]*", operation)
    return found[0] if found else operation
