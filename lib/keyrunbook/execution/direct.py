"""What `runbook revoke`, `restore` and `emergency-stop` do: a step's verbs in this process.

Each shows what it found, plans, applies what is approved, verifies by a read, and says each of it.
In the ledger and in approvals such a command is a step of its own (``05_revoke``, …), so that the
notebooks' plans and ends are not taken for its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keyrunbook.aws import approval, mutate
from keyrunbook.errors import ApprovalRequired
from keyrunbook.findings import Finding, Findings
from keyrunbook.parameters import Parameters, outputs_option
from keyrunbook.plan import Applied, Plan
from keyrunbook.session import Run, open_step
from keyrunbook.show.access import policy_changes
from keyrunbook.show.tables import (
    Table,
    applied_table,
    findings_table,
    matrix_table,
    run_plan_table,
)
from keyrunbook.steps import after_revocation, emergency, inventory, revoke_access
from keyrunbook.steps.common import keep

DONE, NO, UNKNOWN, WAITS = 0, 1, 3, 4
"""Exit statuses, as every command has them."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its words, its name in the ledger, and its verbs."""

    words: str
    step: str
    look: Callable[[Run], Sequence[Table]]
    plan: Callable[[Run], Plan]
    apply: Callable[[Run, Plan], Applied]
    verify: Callable[[Run], Sequence[Finding]]
    finished: bool = False
    """Whether it is of use to a run that was cleaned up."""
    later: Callable[[Run], str] = lambda run: ""
    """What is still to be looked at, and how."""


def _look_before_revoking(run: Run) -> Sequence[Table]:
    matrix = revoke_access.who_may(run, "before")
    return (
        inventory.workflows(run).table(),
        inventory.ways(run),
        revoke_access.open_paths(run),
        matrix_table(matrix),
    )


def _plan_to_revoke(run: Run) -> Plan:
    return revoke_access.plan(revoke_access.observe(run), run.parameters)


def _after_revoking(run: Run) -> Sequence[Finding]:
    revoke_access.who_may(run, "revoked")
    return [*revoke_access.revoked(run), *revoke_access.seen_since(run)]


def _later_than_revoking(run: Run) -> str:
    closed = revoke_access.closed_at(run)
    return "" if closed is None else after_revocation.later(run, closed)


def _plan_to_restore(run: Run) -> Plan:
    return revoke_access.unfinished(run)


def _what_stops(run: Run) -> Sequence[Table]:
    return (inventory.workflows(run).table(),)


REVOKE: Final = Command(
    "revoke",
    "05_revoke",
    _look_before_revoking,
    _plan_to_revoke,
    revoke_access.apply,
    _after_revoking,
    later=_later_than_revoking,
)
RESTORE: Final = Command(
    "restore",
    "05_restore",
    lambda run: (revoke_access.changed_meanwhile(run),),
    _plan_to_restore,
    revoke_access.give_back,
    lambda run: (revoke_access.given_back(run),),
    finished=True,
)
STOP: Final = Command(
    "emergency-stop",
    "05_emergency_stop",
    _what_stops,
    lambda run: emergency.plan(run, run.step, stop=True),
    mutate.apply,
    lambda run: (emergency.finding(run, stop=True),),
    finished=True,
)
GO_ON: Final = Command(
    "emergency-stop --undo",
    "05_emergency_over",
    lambda run: (),
    lambda run: emergency.plan(run, run.step, stop=False),
    mutate.apply,
    lambda run: (emergency.finding(run, stop=False),),
    finished=True,
)


def carry_out(
    command: Command, parameters: Parameters, say: Callable[[str], None]
) -> tuple[int, dict[str, Any]]:
    """Do it, saying what is found, planned, made and verified; gives exit status and all of it.

    Without an approval where one is needed nothing is changed: the plan is stored in the run, and
    its digest said.

    Raises what opening a run, planning and applying raise.
    """
    run = open_step(command.step, parameters, finished=command.finished)
    shown = list(command.look(run))
    plan = dataclasses.replace(command.plan(run), step=command.step)
    report: dict[str, Any] = {
        "command": command.words,
        "run_id": run.run_id,
        "found": [_rows(table) for table in shown],
        "plan": plan.to_dict(),
        "digest": None,
        "applied": False,
        "findings": [],
    }
    for table in (*shown, run_plan_table(approval.plan_of(run, plan)), policy_changes(plan)):
        say(table.text() + "\n")
    if plan.changes and _waits(run, plan):
        report["digest"] = approval.store(run, approval.plan_of(run, plan))
        say(f"run id:  {run.run_id}\ndigest:  {report['digest']}\n{_way_on(run, command, report)}")
        return WAITS, report
    applied = _apply(run, command, plan)
    findings = keep(run, list(command.verify(run)))
    report["applied"], report["findings"] = True, [one.to_dict() for one in findings]
    say(applied_table(applied).text() + "\n")
    say(findings_table(findings).text())
    if later := command.later(run):
        say(f"\n{later}")
    return _status(findings), report


def _waits(run: Run, plan: Plan) -> bool:
    """Whether somebody has to approve it now: an earlier approval was of an earlier command."""
    return approval.is_needed(run) and run.parameters.approve is None


def _apply(run: Run, command: Command, plan: Plan) -> Applied:
    try:
        return command.apply(run, plan)
    except ApprovalRequired as error:
        name = approval.store(run, approval.plan_of(run, plan))
        raise ApprovalRequired(error.what, _way_on(run, command, {"digest": name})) from error


def _way_on(run: Run, command: Command, report: dict[str, Any]) -> str:
    name, _, more = command.words.partition(" ")
    words = " ".join(filter(None, (name, run.run_id, more)))
    elsewhere = outputs_option(run.parameters)
    return f"apply:   runbook {words}{elsewhere} --approve {report['digest']}"


def _rows(table: Table) -> dict[str, Any]:
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    return {"what": table.caption, "rows": rows, "note": table.note}


def _status(findings: Findings) -> int:
    if findings.failed():
        return NO
    return UNKNOWN if any(one.status != "pass" for one in findings) else DONE
