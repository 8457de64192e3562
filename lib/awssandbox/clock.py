"""The sandbox's time: it starts where it is told, runs at the real rate, and can be moved forward.

Signatures and the expiry of credentials are judged on real time (`real_now`), so that a client's
own clock is right whatever the sandbox's says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

EARLIEST: Final = datetime(1971, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(3000, 1, 1, tzinfo=UTC)
"""Between them every calculation with the sandbox's time has a result."""


def real_now() -> datetime:
    """The machine's time, in UTC."""
    return datetime.now(UTC)


class Clock:
    """A clock that starts at `start` (an aware datetime; None for the machine's time).

    Raises ValueError for a start without a time zone, or before 1971 or after 2999.
    """

    def __init__(self, start: datetime | None = None) -> None:
        if start is not None and start.tzinfo is None:
            raise ValueError("the clock's start needs a time zone")
        self._start = _within(real_now() if start is None else start.astimezone(UTC))
        self._origin_s = time.monotonic()
        self._advanced = timedelta()
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """The sandbox's time, in UTC."""
        elapsed = timedelta(seconds=time.monotonic() - self._origin_s)
        with self._lock:
            return self._start + elapsed + self._advanced

    def __getstate__(self) -> dict[str, datetime]:
        return {"now": self.now(), "real": real_now()}

    def __setstate__(self, kept: Mapping[str, datetime]) -> None:
        """A clock that was kept goes on as if it had run meanwhile."""
        meanwhile = max(real_now() - kept["real"], timedelta())
        self.__init__(min(kept["now"] + meanwhile, LATEST - timedelta(microseconds=1)))  # type: ignore[misc]

    def advance(self, by: timedelta) -> datetime:
        """Move the clock forward and return the new time.

        Raises ValueError for a negative `by`, because records are in the order of time, and for
        one that leads beyond the year 2999.
        """
        if by < timedelta():
            raise ValueError("the clock only moves forward")
        with self._lock:
            advanced = self._advanced + by
            if advanced > LATEST - self._start:
                raise ValueError("the clock goes no further than the year 2999")
            self._advanced = advanced
        return self.now()


def _within(moment: datetime) -> datetime:
    if not EARLIEST <= moment < LATEST:
        raise ValueError("the clock goes from the year 1971 to 2999")
    return moment
