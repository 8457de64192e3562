"""The one waiting loop of the runbook. At the deadline it says "not yet"; it never claims."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pending:
    """A probe's "not yet", with what is known so far."""

    state: object = None


@dataclass(frozen=True, slots=True)
class NotYet:
    """The limit was reached without a result. `last` is the state of the last `Pending`."""

    waited_s: float
    limit_s: float
    probes: int
    last: object = None


@dataclass(frozen=True, slots=True)
class Waited:
    """How a wait stands, for a progress bar; `over` is True the last time, whatever the end."""

    waited_s: float
    limit_s: float
    probes: int
    state: object = None
    over: bool = False


def wait_until(
    probe: Callable[[], T | Pending | None],
    limit_s: float,
    interval_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    progress: Callable[[Waited], None] | None = None,
) -> T | NotYet:
    """Ask `probe` until it answers something else than None or `Pending`, at most for `limit_s`.

    The probe is asked at once, then `interval_s` seconds after each answer, and a last time at the
    limit: at least once, even with a limit of 0. A probe under way is not interrupted. `clock`
    counts seconds and never goes back. What the probe or `progress` raise comes through.

    Raises:
        ValueError: a negative limit, or an interval that is not positive.
    """
    if limit_s < 0 or interval_s <= 0:
        raise ValueError(f"limit_s={limit_s} or interval_s={interval_s} is no time to wait")
    began = clock()
    probes = 0
    while True:
        at_limit = clock() - began >= limit_s
        answer = probe()
        probes += 1
        state = answer.state if isinstance(answer, Pending) else None
        waited = clock() - began
        found = answer is not None and not isinstance(answer, Pending)
        if progress is not None:
            progress(Waited(waited, limit_s, probes, state, over=found or at_limit))
        if answer is not None and not isinstance(answer, Pending):
            return answer
        if at_limit:
            return NotYet(waited, limit_s, probes, state)
        sleep(min(interval_s, max(limit_s - waited, 0.0)))
