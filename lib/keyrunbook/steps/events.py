"""How the steps ask CloudTrail, and how they wait for records that are not delivered yet.

Each call of LookupEvents may cost half a second, so what is asked for is narrowed first: spans
around known calls, and one span in place of two where two meet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from keyrunbook.aws.lookup import LookupSource, limiter_for, recorded_in
from keyrunbook.aws.wait import NotYet, Pending, Waited, wait_until
from keyrunbook.parameters import event_wait_seconds
from keyrunbook.proof import DECRYPT, GENERATE, Span
from keyrunbook.records import KMS
from keyrunbook.show.waiting import WaitBar

if TYPE_CHECKING:
    from keyrunbook.aws.clients import Clients
    from keyrunbook.session import Run

T = TypeVar("T")

CLOCK_SKEW: Final = {"sandbox": timedelta(seconds=5), "aws": timedelta(seconds=10)}
"""How far a call's time here may be from its record's.

Our times come from the service's own Date headers, whole seconds, and so are at most one second
behind; records have whole seconds too. What needs more is that a workflow's creation has the time
at which the call came in, and its data key's record the time at which KMS was asked: seconds later
on a loaded machine, and on AWS by another service's clock.
"""

INTERVAL_S: Final = {"sandbox": 0.5, "aws": 15.0}
"""Seconds between two searches. AWS delivers after minutes: asking faster finds nothing sooner."""

_SHORT: Final = timedelta(minutes=1)


def history(run: Run, source: str = KMS) -> LookupSource:
    """The Event history of the run's account that has the events of a service."""
    return history_of(run.clients, run.parameters.lookup_calls, source)


def history_of(
    clients: Clients,
    max_calls: int,
    source: str = KMS,
    estimated: Callable[[int], None] = lambda calls: None,
) -> LookupSource:
    """The Event history of the clients' account that has the events of a service.

    That of IAM is in the partition's own Region, all others' in the clients'. `estimated` is told
    how many calls a search seems to take.
    """
    account, where = clients.identity.account, recorded_in(source, clients.region)
    foreign = not clients.is_aws
    client = clients("cloudtrail", where)
    return LookupSource(
        client,
        account,
        where,
        limiter_for(account, where, endpoint_url=client.meta.endpoint_url if foreign else None),
        clock=clients.now,
        max_calls=max_calls,
        remark=remark(clients),
        estimated=estimated,
    )


def remark(clients: Clients) -> str:
    """What a source's name ends in where its endpoint is not AWS's."""
    return f" ({whose(clients)})" if not clients.is_aws else ""


def not_aws(run: Run) -> str:
    """What to call an endpoint that is not AWS's; empty where it is."""
    return whose(run.clients)


def whose(clients: Clients) -> str:
    """What to call the clients' endpoint where it is not AWS's; empty where it is."""
    if clients.sandbox is not None:
        return "embedded sandbox, not AWS"
    return "" if clients.is_aws else "not AWS's endpoint"


def wait_for(
    run: Run,
    probe: Callable[[], T | Pending],
    what: str,
    progress: Callable[[Waited], None] | None = None,
) -> T | NotYet:
    """Ask `probe` until it answers, at most for `event_wait_seconds`; `what` is waited for.

    Without `progress` a notebook shows a bar, once there is something to wait for.
    """
    return wait_until(
        probe,
        limit_s=event_wait_seconds(run.parameters, run.target),
        interval_s=INTERVAL_S[run.target],
        progress=progress or WaitBar(what),
    )


def fewer(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The same spans in fewer calls: data keys and Decrypts of one short time as KMS's records.

    The records of a minute of KMS take about as many pages as its Decrypts, the commonest, alone.
    """
    made = [span for span in spans if span.value == GENERATE]
    opened = [span for span in spans if span.value == DECRYPT]
    for one in made:
        for other in opened:
            both = Span(
                "EventSource", KMS, min(one.since, other.since), max(one.until, other.until)
            )
            if _meet(one, other) and both.until - both.since <= _SHORT:
                rest = [span for span in spans if span not in (one, other)]
                return (both, *rest)
    return tuple(spans)


def _meet(one: Span, other: Span) -> bool:
    return one.since <= other.until and other.since <= one.until


def moment(text: Any) -> datetime:
    """The time that a line of the ledger or an answer of AWS holds as ISO 8601 text."""
    return text if isinstance(text, datetime) else datetime.fromisoformat(text)
