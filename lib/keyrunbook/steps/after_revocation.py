"""What CloudTrail shows of the execution role once its access was taken: its refusals, and no use.

Absence is never evidence, so what is said is that no use was seen, in which source, from when to
when. Only uses for workflows are meant: that is what a revocation takes.

Records have whole seconds, and this run's own times are at most a second behind AWS's. So a use
counts only where it is after the beginning and before the end for certain.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from keyrunbook.errors import AwsRefused
from keyrunbook.findings import Finding
from keyrunbook.parameters import outputs_option
from keyrunbook.proof import Searched
from keyrunbook.records import Record
from keyrunbook.steps.events import CLOCK_SKEW, history, moment
from keyrunbook.steps.key_usage import spans
from keyrunbook.steps.timeline import CREATE_IMAGE, note
from keyrunbook.usage import Became, Usage, none_seen, summarise

if TYPE_CHECKING:
    from keyrunbook.session import Run

STATEMENT: Final = "No use by the execution role was seen after the revocation"

_KIND: Final = "after_revocation"
_SECOND: Final = timedelta(seconds=1)
_TOO_EARLY: Final = timedelta(minutes=1)
_LOOK_LATER: Final = "A path may be open, or the change took effect late: look at the open paths."


def note_refusals(run: Run, records: Sequence[Record], searched: Searched) -> None:
    """Write down what the look-up for refusals showed: from the first one on, until access is back.

    With no refusal seen there is nothing to begin from, and nothing is written.
    """
    usage = _of_the_role(run, records, searched)
    begun, ended = _newest_build(run)
    refused = [
        one.record
        for one in (*usage.calls, *usage.unnamed)
        if one.became is Became.REFUSED and one.record.time + _SECOND > begun
    ]
    now = run.now()
    note(run, ((record, False, now) for record in refused))
    if refused:
        until = min([searched.until, *([] if ended is None else [ended - _SECOND])])
        _note(run, usage, refused[0].time, until, certain=_SECOND)


def look(run: Run, closed: datetime) -> Finding:
    """Ask CloudTrail for the role's uses since its access was `closed`, and say what it shows."""
    since, now = closed + _SECOND, run.now()
    try:
        found = history(run).search(spans(closed, now + CLOCK_SKEW[run.target]))
    except AwsRefused as error:
        return Finding(STATEMENT, "not checked", error.what)
    usage = _of_the_role(run, found.records, found.searched)
    _note(run, usage, since, found.searched.at, certain=timedelta(0))
    return finding(run)


def finding(run: Run) -> Finding:
    """What was written down last."""
    lines = run.ledger.of_kind(_KIND)
    if not lines:
        why = "no refusal was seen so far, so there is nothing to begin from"
        return Finding(STATEMENT, "not checked", why)
    last = lines[-1]
    mend = _LOOK_LATER if last["status"] == "fail" else ""
    return Finding(STATEMENT, last["status"], last["evidence"], mend)


def is_too_early(run: Run, closed: datetime) -> bool:
    """Whether access was closed so short a time ago that no record can be expected."""
    return run.now() - closed < _TOO_EARLY


def later(run: Run, closed: datetime) -> str:
    """How to look once records are there."""
    facts = run.facts()
    words = (
        f"runbook usage{outputs_option(run.parameters)} --run-id {run.run_id} "
        f"--principal {facts['role_arn']} --since {closed + _SECOND:%Y-%m-%dT%H:%M:%SZ}"
    )
    return f"Records of what the role does from now on come minutes late: see them by\n  {words}"


def _of_the_role(run: Run, records: Sequence[Record], searched: Searched) -> Usage:
    facts = run.facts()
    return summarise(records, facts["key_arn"], searched).of(facts["role_arn"])


def _newest_build(run: Run) -> tuple[datetime, datetime | None]:
    """When the newest build that did not decrypt began, and when the next policy was changed."""
    entries = run.ledger.entries()
    refused = [
        one["n"] for one in entries if one["kind"] == "build" and one["decrypted"] is not True
    ]
    at = refused[-1] if refused else 0
    intents = [one for one in entries if one["kind"] == "intent"]
    begun = [one for one in intents if one["call"] == CREATE_IMAGE and one["n"] < at]
    after = [
        one for one in intents if one["n"] > at and not one["call"].startswith("imagebuilder:")
    ]
    return (
        moment(begun[-1]["time"]) if begun else moment(entries[0]["time"]),
        moment(after[0]["time"]) if after else None,
    )


def _note(run: Run, usage: Usage, since: datetime, until: datetime, *, certain: timedelta) -> None:
    """Write down whether a use was seen, from `certain` after `since` on, up to `until`."""
    uses = [
        one
        for one in usage.calls
        if one.became is Became.USED
        and one.purpose.startswith("workflow/")
        and since + certain <= one.record.time <= until
    ]
    status, evidence = "pass", none_seen(usage, "the role", since, until)
    if uses:
        last = uses[-1].record
        status = "fail"
        evidence = (
            f"{len(uses)} uses seen in {usage.searched.source}, the last at "
            f"{last.time:%Y-%m-%dT%H:%M:%SZ}: {last.name} for {uses[-1].purpose}"
        )
    elif not usage.searched.complete:
        status = "not checked"
        why = usage.searched.why_incomplete or "a record could not be read"
        evidence = f"{evidence} And not all was searched: {why}"
    run.record(_KIND, status=status, evidence=evidence)
