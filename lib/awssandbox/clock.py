"""The sandbox's time: it starts where it is told, runs at the real rate, and can be moved forward.

Signatures and the expiry of credentials are judged on real time (`real_now`), so that a client's
own clock is right whatever the sandbox's says.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta


def real_now() -> datetime:
    """The machine's time, in UTC."""
    return datetime.now(UTC)


class Clock:
    """A clock that starts at `start` (an aware datetime; None for the machine's time)."""

    def __init__(self, start: datetime | None = None) -> None:
        if start is not None and start.tzinfo is None:
            raise ValueError("the clock's start needs a time zone")
        self._start = real_now() if start is None else start.astimezone(UTC)
        self._origin_s = time.monotonic()
        self._advanced = timedelta()
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The sandbox's time, in UTC."""
        elapsed = timedelta(seconds=time.monotonic() - self._origin_s)
        with self._lock:
            return self._start + elapsed + self._advanced

    def advance(self, by: timedelta) -> datetime:
        """Move the clock forward and return the new time.

        Raises ValueError for a negative `by`: records are in the order of time.
        """
        if by < timedelta():
            raise ValueError("the clock only moves forward")
        with self._lock:
            self._advanced += by
        return self.now()
