"""Which of AWS's operations only read: all that a run with `read_only` can call.

By the first word of an operation's name, service by service; of STS by the whole name, because
most of its answers are credentials. What is not here is taken for an operation that changes
something: a service, a word or an operation that a later SDK brings is refused until it is decided.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

WORDS: Final[Mapping[str, frozenset[str]]] = {
    "athena": frozenset({"Batch", "Get", "List"}),
    "cloudtrail": frozenset({"Describe", "Get", "List", "Lookup"}),
    "iam": frozenset({"Get", "List", "Simulate"}),
    "imagebuilder": frozenset({"Get", "List"}),
    "kms": frozenset({"Describe", "Get", "List"}),
    "s3": frozenset({"Get", "Head", "List"}),
    "sts": frozenset(),
}
"""The first words of the operations that change nothing, by the name of the service's client."""

BY_NAME: Final[Mapping[tuple[str, str], bool]] = {
    ("athena", "GetSessionEndpoint"): False,  # it gives out a token
    ("athena", "StopQueryExecution"): True,  # nothing but a query ends
    ("sts", "GetCallerIdentity"): True,
    ("sts", "GetAccessKeyInfo"): True,
    ("sts", "DecodeAuthorizationMessage"): True,
    ("kms", "GetParametersForImport"): False,  # it makes a wrapping key and an import token
}
"""The operations whose first word does not say whether they only read."""

OF_OTHERS: Final[frozenset[tuple[str, str]]] = frozenset(
    {
        ("ec2", "GetEbsDefaultKmsKeyId"),
        ("ec2", "GetEbsEncryptionByDefault"),
        ("macie2", "GetMacieSession"),
        ("sso-admin", "ListInstances"),
    }
)
"""The reads of services of which nothing else is called: the rest of them is not decided."""


def reads(service: str, operation: str, parameters: Mapping[str, Any] | None = None) -> bool:
    """Whether the operation of that service, by its name in AWS (``DescribeKey``), only reads.

    A query of Athena's does if its text is a SELECT: Athena takes one statement at a time. It
    leaves its answer in S3, at the place that its workgroup or its caller names, and nothing else.
    Without `parameters` it is not known to.
    Source: https://docs.aws.amazon.com/athena/latest/APIReference/API_StartQueryExecution.html
    """
    if (service, operation) == QUERY:
        return _SELECT.match((parameters or {}).get("QueryString", "")) is not None
    if (service, operation) in OF_OTHERS:
        return True
    known = BY_NAME.get((service, operation))
    return first_word(operation) in WORDS.get(service, ()) if known is None else known


QUERY: Final = ("athena", "StartQueryExecution")
_SELECT = re.compile(r"\s*SELECT\s", re.IGNORECASE)


def first_word(operation: str) -> str:
    """``Describe`` of ``DescribeKey``."""
    found = re.match(r"[A-Z][a-z]*", operation)
    return found[0] if found else operation
