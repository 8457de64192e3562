"""What AWS is asked for a summary of a key's use: KMS's own last use, and records of all uses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from keyrunbook.aws.refusals import explain
from keyrunbook.errors import AwsRefused, Unreachable
from keyrunbook.proof import Span
from keyrunbook.records import KMS
from keyrunbook.usage import OPERATIONS, LastUsage
from keyrunbook.usage import last_usage as parse

if TYPE_CHECKING:
    from keyrunbook.aws.clients import Clients

_SHORT: Final = timedelta(minutes=10)
"""In a time as short as this, all of KMS's records are fewer pages than those of seven names."""


def last_usage(clients: Clients, key_arn: str) -> LastUsage | str:
    """GetKeyLastUsage's answer, or why AWS does not give it.

    It needs kms:GetKeyLastUsage, and answers only in the key's own account.
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyLastUsage.html

    Raises CredentialsMissing.
    """
    try:
        answer = clients("kms").get_key_last_usage(KeyId=key_arn)
    except (ClientError, BotoCoreError) as error:
        told = explain(error)
        if not isinstance(told, AwsRefused | Unreachable):
            raise told from error
        return told.what
    return parse(answer, clients.now())


def spans(since: datetime, until: datetime) -> Sequence[Span]:
    """What LookupEvents is asked for, so that it shows all uses of a key in that time."""
    if until - since <= _SHORT:
        return (Span("EventSource", KMS, since, until),)
    return tuple(Span("EventName", name, since, until) for name in OPERATIONS)
