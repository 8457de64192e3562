"""The answer to a claim: three-valued, in two clauses, with all that it rests on."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from keyrunbook.proof.claim import Claim
from keyrunbook.proof.searched import Searched
from keyrunbook.proof.sound import GENERATE
from keyrunbook.records import Record


class Outcome(enum.Enum):
    """The three values of a verdict and of each of its clauses."""

    PROVED = "PROVED"
    REFUTED = "REFUTED"
    NOT_YET = "NOT_YET"


class Need(enum.Enum):
    """What a clause that is NOT_YET waits for, so that a caller knows what to do next."""

    WAIT = "wait"
    """A record may still be delivered."""
    READ_AGAIN = "read again"
    """Call GetWorkflow of the build again, two clock skews or more after any other call of it."""
    SEARCH = "search"
    """The source was not asked for all that is needed: ask it, or another one."""
    NOTHING = "nothing"
    """Neither waiting nor asking again will help."""


class Rejected(NamedTuple):
    """A GenerateDataKey or Decrypt record that does not count, and why not."""

    record: Record
    reason: str


class Caller(NamedTuple):
    """Who made the call behind a record that the verdict rests on.

    `issuer_arn` is the role of a session. Who called neither proves nor refutes: an
    administrator's GetWorkflow is legitimate.
    """

    event_name: str
    event_id: str
    principal_arn: str | None
    issuer_arn: str | None


@dataclass(frozen=True, slots=True)
class Clause:
    """One half of the claim: its outcome, the records it rests on, and why, in a sentence.

    A clause that is NOT_YET says in `reason` what is missing, and in `need` what would help.
    """

    name: Literal["encrypted", "readable"]
    outcome: Outcome
    reason: str
    records: tuple[Record, ...] = ()
    need: Need | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a claim, with all that it rests on and all that was set aside.

    `rejected` holds every GenerateDataKey and Decrypt record that was given and does not count,
    oldest first.
    """

    outcome: Outcome
    encrypted: Clause
    readable: Clause
    rejected: tuple[Rejected, ...]
    claim: Claim = field(repr=False)
    searched: Searched = field(repr=False)

    @property
    def clauses(self) -> tuple[Clause, Clause]:
        """Both clauses, *encrypted* first."""
        return self.encrypted, self.readable

    @property
    def records(self) -> tuple[Record, ...]:
        """The records that the verdict rests on, oldest first; the data key before its Decrypt."""
        found = {record.event_id: record for clause in self.clauses for record in clause.records}
        return tuple(
            sorted(found.values(), key=lambda one: (one.time, one.name != GENERATE, one.event_id))
        )

    @property
    def events(self) -> tuple[str, ...]:
        """The event ids of `records`."""
        return tuple(record.event_id for record in self.records)

    @property
    def callers(self) -> tuple[Caller, ...]:
        """Who made the calls behind `records`."""
        return tuple(
            Caller(record.name, record.event_id, record.principal_arn, record.issuer_arn)
            for record in self.records
        )

    @property
    def missing(self) -> tuple[str, ...]:
        """What each clause that is NOT_YET lacks."""
        return tuple(
            f"{clause.name}: {clause.reason}"
            for clause in self.clauses
            if clause.outcome is Outcome.NOT_YET
        )

    def to_dict(self) -> dict[str, Any]:
        """The verdict as ledger and evidence hold it; records by their event ids."""
        return {
            "outcome": self.outcome.value,
            "events": list(self.events),
            "clauses": [
                {
                    "name": clause.name,
                    "outcome": clause.outcome.value,
                    "reason": clause.reason,
                    "need": clause.need.value if clause.need is not None else None,
                    "events": [record.event_id for record in clause.records],
                }
                for clause in self.clauses
            ],
            "callers": [caller._asdict() for caller in self.callers],
            "rejected": [
                {"event_id": item.record.event_id, "reason": item.reason} for item in self.rejected
            ],
            "source": self.searched.source,
            "searched_from": self.searched.since.isoformat(),
            "searched_until": self.searched.until.isoformat(),
            "complete": self.searched.complete,
        }

    @property
    def needs(self) -> frozenset[Need]:
        """What would help the clauses that are NOT_YET."""
        return frozenset(clause.need for clause in self.clauses if clause.need is not None)
