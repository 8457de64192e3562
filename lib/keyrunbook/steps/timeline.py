"""The run's timeline, from its ledger: its calls, and the KMS records that it saw of them.

Each step that looks at CloudTrail notes the records that it saw. So the timeline is the same in
`04`, in `05` and in `runbook show`, and nothing is asked of AWS for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from keyrunbook.ledger import facts_of
from keyrunbook.proof import ARN_KEY, GENERATE
from keyrunbook.records import IMAGE_BUILDER
from keyrunbook.show.records import lasting
from keyrunbook.show.timeline import Became, Mark, Row, Timeline
from keyrunbook.steps.encrypt_workflow import CREATE_WORKFLOW, GET_WORKFLOW
from keyrunbook.steps.events import CLOCK_SKEW, moment
from keyrunbook.usage import Became as Fate
from keyrunbook.usage import became

if TYPE_CHECKING:
    from keyrunbook.records import Record
    from keyrunbook.session import Run

CREATE_IMAGE: Final = "imagebuilder:CreateImage"
_SECOND: Final = timedelta(seconds=1)

Entry = Mapping[str, Any]


def note(run: Run, records: Iterable[tuple[Record, bool, datetime]]) -> None:
    """Write down the records that a step saw, whether each counts, and when it was first seen."""
    seen = [
        {
            "event_id": record.event_id,
            "name": record.name,
            "time": record.time.isoformat(),
            "caller": record.caller,
            "invoked_by": record.invoked_by,
            "for": (record.encryption_context or {}).get(ARN_KEY),
            "became": _became(record, counts),
            "seen": at.isoformat(timespec="milliseconds"),
            "record": lasting(record.raw),
        }
        for record, counts, at in records
    ]
    run.record("records", records=seen)


def _became(record: Record, counts: bool) -> Became:
    if counts:
        return "counts"
    return "refused" if became(record) is Fate.REFUSED else "set aside"


def timeline(entries: Sequence[Entry], title: str) -> Timeline:
    """What the run did, in order, and what CloudTrail showed it of that."""
    opened = next((one for one in entries if one["kind"] == "opened"), None)
    skew = CLOCK_SKEW["aws" if opened is None else opened["target"]]
    facts = {name: value for one in entries for name, value in facts_of(one).items()}
    ours = {None, str(facts.get("workflow_arn")).rpartition("/")[0] + "/*"}
    calls = _calls(entries)
    marks: dict[int, list[Mark]] = {}
    strangers = []
    for one in _noted(entries):
        mark = Mark(one["name"], one["became"], moment(one["time"]), moment(one["seen"]))
        at = None
        if one["invoked_by"] == IMAGE_BUILDER and one["for"] in ours:
            by_role = one["caller"] == facts.get("role_arn")
            at = _call_of(one, calls, marks, skew, by_role=by_role)
        if at is None:  # such as a rehearsal's dry run, or another workflow's
            strangers.append(Row("", mark.time, (mark,)))
        else:
            marks.setdefault(at, []).append(mark)
    rows = [Row(call.name, call.since, tuple(marks.get(n, ()))) for n, call in enumerate(calls)]
    return Timeline(title, (*rows, *strangers))


def _noted(entries: Iterable[Entry]) -> list[Entry]:
    """Each record once: as it was judged last, and first seen; those that count come first."""
    noted: dict[str, dict[str, Any]] = {}
    for one in (one for entry in entries if entry["kind"] == "records" for one in entry["records"]):
        first = noted.get(one["event_id"], one)["seen"]
        noted[one["event_id"]] = {**one, "seen": min(first, one["seen"], key=moment)}
    return sorted(noted.values(), key=lambda one: (moment(one["time"]), one["became"] != "counts"))


class _Call(NamedTuple):
    """A call of this run that AWS served, by the ledger.

    `decrypted` is how a build came out, None where that is not known.
    """

    name: str
    since: datetime
    until: datetime
    decrypted: bool | None = None


def _calls(entries: Iterable[Entry]) -> list[_Call]:
    calls: list[_Call] = []
    since: datetime | None = None
    for entry in entries:
        if entry["kind"] == "intent":
            since = moment(entry["time"])
        elif entry["kind"] == "outcome" and entry["status"] == "done":
            time = moment(entry["time"])
            calls.append(_Call(entry["call"], since or time, time))
        elif entry["kind"] == "read":
            calls.append(_Call(entry["call"], moment(entry["since"]), moment(entry["until"])))
        elif entry["kind"] == "build":
            made = [n for n, call in enumerate(calls) if call.name == CREATE_IMAGE]
            for last in made[-1:]:
                calls[last] = calls[last]._replace(decrypted=entry["decrypted"])
    return calls


def _call_of(
    record: Entry,
    calls: Sequence[_Call],
    taken: Mapping[int, Any],
    skew: timedelta,
    *,
    by_role: bool,
) -> int | None:
    """The call that Image Builder made this record's call for: the first that can be, or None.

    What it does as the execution role is of the last build that had begun by then, and that came
    out so.
    """
    time = moment(record["time"])
    if by_role:
        otherwise = record["became"] == "refused"
        # Our times are at most a second behind, and records have whole seconds.
        builds = [
            n
            for n, one in enumerate(calls)
            if one.name == CREATE_IMAGE and one.since <= time + _SECOND and n not in taken
        ]
        fitting = [n for n in builds if calls[n].decrypted is not otherwise]
        return fitting[-1] if fitting else None
    name = CREATE_WORKFLOW if record["name"] == GENERATE else GET_WORKFLOW
    return next(
        (
            number
            for number, call in enumerate(calls)
            if call.name == name
            and number not in taken
            and call.since - skew <= time <= call.until + skew
        ),
        None,
    )
