"""The verdict of a run, and CloudTrail's records of it, from the ledger alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from keyrunbook.proof import ARN_KEY, MESSAGE_KEY, Searched
from keyrunbook.records import Record, parse_record
from keyrunbook.show.records import marked
from keyrunbook.show.tables import SIGNS, Table
from keyrunbook.show.usage import usage_table
from keyrunbook.usage import summarise

Entry = Mapping[str, Any]

_COUNTS: Final = {"counts": "✓ counts", "refused": "✗ refused", "set aside": "– set aside"}
_MEANS: Final = {
    "PROVED": "Image Builder encrypted this workflow under this key, and it is readable through "
    "that key.",
    "REFUTED": "The evidence shows that this does not hold.",
    "NOT_YET": "Neither shown nor refuted so far. Absence of a record is never evidence.",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A record that the run saw: how it counts, why, and its text, marked HTML, where it is kept.

    `message` is a letter, the same for records of one ciphertext; empty where there is none.
    """

    counts: str
    name: str
    time: str
    caller: str
    via: str
    what_for: str
    message: str
    event_id: str
    seen: str
    reason: str
    html: str | None

    @property
    def is_aside(self) -> bool:
        """Whether nothing rests on it."""
        return self.counts == _COUNTS["set aside"]

    @property
    def title(self) -> str:
        """The record in one line."""
        return f"{self.name} at {self.time}: {self.counts}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The newest verdict, or why there is none; `earlier` are those before it, oldest first."""

    verdict: str
    sign: str
    means: str
    clauses: Table | None
    rests: tuple[tuple[str, str], ...]
    earlier: tuple[str, ...]
    records: tuple[Seen, ...]
    usage: Table | None


def evidence(entries: Sequence[Entry], key_arn: str | None) -> Evidence:
    """What the ledger holds of the proof.

    Raises:
        MalformedRecord: a record that the ledger keeps is not one.
    """
    verdicts = [one for one in entries if one["kind"] == "verdict"]
    newest = verdicts[-1] if verdicts else {}
    noted = _noted(entries)
    letters = _letters(noted)
    records = tuple(_seen(one, newest, letters) for one in noted)
    usage = _usage(noted, newest, key_arn)
    if not newest:
        means = "Not known: the run has not come to a verdict."
        return Evidence("none", "? no verdict", means, None, (), (), records, usage)
    outcome = newest["verdict"]
    return Evidence(
        outcome,
        SIGNS[outcome],
        _MEANS[outcome],
        Table(
            "The two clauses of the claim",
            ("clause", "outcome", "because", "what would help"),
            [
                (one["name"], SIGNS[one["outcome"]], one["reason"], one.get("need") or "")
                for one in newest.get("clauses", ())
            ],
        ),
        tuple(_rests(newest)),
        tuple(f"{SIGNS[one['verdict']]} at {clock(one['time'])}" for one in verdicts[:-1]),
        records,
        usage,
    )


def clock(text: str) -> str:
    """A time of the ledger as ISO 8601 has it in UTC, to the second."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _rests(verdict: Entry) -> Iterable[tuple[str, str]]:
    yield "judged at", clock(verdict["time"])
    yield "source", verdict.get("source") or "not known: the ledger does not say"
    if "searched_from" in verdict:
        since, until = clock(verdict["searched_from"]), clock(verdict["searched_until"])
        yield "searched", f"from {since} to {until}"
        complete = "yes; that is not to say that nothing is missing from it"
        yield "answered in full", complete if verdict["complete"] else "no"
    if verdict.get("waited_s") is not None:
        yield "waited", f"{verdict['waited_s']} s, the whole of the limit"
    yield "event ids", ", ".join(verdict.get("events") or ()) or "none"
    for one in verdict.get("callers", ()):
        who = one["issuer_arn"] or one["principal_arn"] or "not known: the record does not say"
        yield f"called ({one['event_name']})", who


def _noted(entries: Sequence[Entry]) -> list[Entry]:
    """Each record that was seen once, as it was judged last; those that count come first."""
    noted: dict[str, Entry] = {}
    for entry in entries:
        for one in entry["records"] if entry["kind"] == "records" else ():
            first = noted.get(one["event_id"], one)["seen"]
            noted[one["event_id"]] = {**one, "seen": min(first, one["seen"])}
    ranks = list(_COUNTS)
    return sorted(noted.values(), key=lambda one: (ranks.index(one["became"]), one["time"]))


def _letters(noted: Iterable[Entry]) -> dict[str, str]:
    keys = (_context(one).get(MESSAGE_KEY) for one in noted)
    distinct = dict.fromkeys(key for key in keys if key)
    return {key: chr(ord("A") + n) if n < 26 else str(n + 1) for n, key in enumerate(distinct)}


def _context(one: Entry) -> Mapping[str, str]:
    asked = (one.get("record") or {}).get("requestParameters") or {}
    return asked.get("encryptionContext") or {}


def _seen(one: Entry, verdict: Entry, letters: Mapping[str, str]) -> Seen:
    kept = one.get("record")
    return Seen(
        _COUNTS[one["became"]],
        one["name"],
        clock(one["time"]),
        one["caller"] or "not known: the record does not say",
        one["invoked_by"] or "directly",
        one["for"] or _context(one).get(ARN_KEY, ""),
        letters.get(_context(one).get(MESSAGE_KEY, ""), ""),
        one["event_id"],
        clock(one["seen"]),
        _reason(one, verdict),
        None if kept is None else marked(kept),
    )


def _reason(one: Entry, verdict: Entry) -> str:
    """Why a record counts so, as far as the ledger says."""
    shows = [
        clause["name"]
        for clause in verdict.get("clauses", ())
        if one["event_id"] in clause["events"]
    ]
    if shows:
        return f"shows: {', '.join(shows)}"
    aside = {each["event_id"]: each["reason"] for each in verdict.get("rejected", ())}
    if one["event_id"] in aside:
        return str(aside[one["event_id"]])
    if one["became"] == "refused":
        return str((one.get("record") or {}).get("errorMessage") or "KMS denied the call")
    return "not known: the verdict does not name it"


def _usage(noted: Iterable[Entry], verdict: Entry, key_arn: str | None) -> Table | None:
    """Who used the key, by the records that the ledger keeps; None where it keeps none."""
    records: list[Record] = [
        parse_record(one["record"], "ledger") for one in noted if one.get("record") is not None
    ]
    if not records or key_arn is None:
        return None
    source = verdict.get("source", "the source is not known")
    # When it was asked plays no part in a table that has its own note.
    searched = Searched(source, (), max(record.time for record in records))
    note = (
        f"Only the records close to this run's calls, by {source}. runbook usage looks for all of "
        "them."
    )
    return usage_table(summarise(records, key_arn, searched), note=note)
