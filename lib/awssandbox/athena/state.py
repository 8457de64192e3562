"""What Athena remembers in an account and Region: tables and queries."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from awssandbox.athena.engine import Result
    from awssandbox.athena.tables import Table

DEFAULT_DATABASE: Final = "default"
WORKGROUP: Final = "primary"
"""The workgroup that every account has."""

DONE: Final = ("SUCCEEDED", "FAILED", "CANCELLED")


@dataclass(slots=True)
class Query:
    """A query that was started, and how it stands."""

    id: str
    text: str
    kind: str
    database: str
    output: str
    asked: Mapping[str, Any]
    submitted: datetime
    workgroup: str = WORKGROUP
    state: str = "QUEUED"
    reason: str | None = None
    completed: datetime | None = None
    scanned: int = 0
    result: Result | None = None
    running: Any = None

    def __reduce__(self) -> Any:
        """What is kept of a query: one that runs has failed when the sandbox goes on."""
        kept = replace(self, running=None)
        kept.end("FAILED", self.submitted, "The sandbox ended while the query ran.")
        return Query, tuple(getattr(kept, one.name) for one in fields(kept))

    def end(self, state: str, now: datetime, reason: str | None = None) -> None:
        """Let the query have ended, unless it has already."""
        if self.state not in DONE:
            self.state, self.reason, self.completed = state, reason, now


@dataclass(frozen=True, slots=True)
class WorkGroup:
    """A workgroup: where it has results written, and whether its callers cannot say otherwise."""

    name: str
    output: str = ""
    enforced: bool = False


@dataclass(slots=True)
class AthenaState:
    """The tables by database and name, and the queries by id and by client request token."""

    databases: dict[str, dict[str, Table]] = field(default_factory=lambda: {DEFAULT_DATABASE: {}})
    queries: dict[str, Query] = field(default_factory=dict)
    tokens: dict[str, Query] = field(default_factory=dict)
    workgroups: dict[str, WorkGroup] = field(
        default_factory=lambda: {WORKGROUP: WorkGroup(WORKGROUP)}
    )
