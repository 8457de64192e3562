"""Tables: one value that shows as HTML in JupyterLab and as text anywhere else.

No colour carries meaning: each outcome has a sign and a word. The HTML takes its colours from the
page, so it reads well in light and dark themes.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keyrunbook.access import Matrix, Printed
    from keyrunbook.findings import Findings
    from keyrunbook.plan import Applied, Plan
    from keyrunbook.proof import Verdict
    from keyrunbook.records import Record
    from keyrunbook.session import Run
    from keyrunbook.steps.revoke_access import Build

SIGNS = {
    "pass": "✓ pass",
    "fail": "✗ fail",
    "not checked": "? not checked",
    "ALLOWED": "✓ ALLOWED",
    "DENIED": "✗ DENIED",
    "UNKNOWN": "? UNKNOWN",
    "PROVED": "✓ PROVED",
    "REFUTED": "✗ REFUTED",
    "NOT_YET": "? NOT YET",
    "works": "✓ works",
    "refused": "✗ refused",
    "locks out": "✗ locks out",
    "fails": "✗ fails",
}
POLICY_PARAMETERS = ("Policy", "AssumeRolePolicyDocument", "PolicyDocument")
"""The parameters of a call that hold a policy as text."""
_CELL = "text-align:left;vertical-align:top"
_PRE = "margin:0;background:none;color:inherit;font-family:monospace;white-space:pre"


@dataclass(frozen=True, slots=True)
class Table:
    """A caption, column names, and rows of text."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def mimebundle(self) -> dict[str, str]:
        """The table for IPython's display."""
        return {"text/plain": self.text(), "text/html": self.html()}

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return self.mimebundle()

    def html(self) -> str:
        """The table as HTML, with its caption and column headers named as such."""
        head = "".join(
            f'<th scope="col" style="{_CELL}">{escape(name)}</th>' for name in self.columns
        )
        body = "\n".join(
            f"<tr>{''.join(_html_cell(text) for text in row)}</tr>" for row in self.rows
        )
        caption = f'<caption style="{_CELL};font-weight:bold">{escape(self.caption)}</caption>'
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        return (
            f"<table>\n{caption}\n<thead><tr>{head}</tr></thead>\n"
            f"<tbody>\n{body}\n</tbody>\n</table>{note}"
        )

    def text(self) -> str:
        """The table as text: a row a paragraph, its first column in front."""
        lines = [self.caption, "=" * len(self.caption)]
        for row in self.rows:
            first, *rest = row
            lines.append(first)
            for name, value in zip(self.columns[1:], rest, strict=True):
                lines += _indented(name, value) if value else []
        return "\n".join([*lines, *([self.note] if self.note else [])])


def _indented(name: str, value: str) -> list[str]:
    if "\n" in value:
        return [f"    {name}:", textwrap.indent(value, "      ")]
    return textwrap.wrap(
        f"{name}: {value}",
        96,
        initial_indent="    ",
        subsequent_indent="      ",
        break_long_words=False,
        break_on_hyphens=False,  # an ARN stays whole
    )


def _html_cell(text: str) -> str:
    inner = f'<pre style="{_PRE}">{escape(text)}</pre>' if "\n" in text else escape(text)
    return f'<td style="{_CELL}">{inner}</td>'


def banner_note(run: Run) -> str:
    """Whom the run talks to, wherever that is not AWS."""
    if run.target == "sandbox":
        return "This is the embedded sandbox on this machine, not AWS: nothing here costs anything."
    if not run.clients.is_aws:
        return f"NOT AWS: endpoint variables send the calls to {run.clients.endpoint}."
    return ""


def run_banner(run: Run) -> Table:
    """The run: where it works, and as whom."""
    rows = [
        ("step", run.step),
        ("run", run.run_id),
        ("target", run.target),
        ("account", run.identity.account),
        ("Region", run.region),
        ("operator", run.identity.arn),
    ]
    return Table("This run", ("what", "value"), rows, banner_note(run))


def plan_table(plan: Plan) -> Table:
    """The changes that a plan would make."""
    rows = [
        (str(number), change.call, change.why, change.undo, change.cost)
        for number, change in enumerate(plan, 1)
    ]
    note = "" if rows else "Nothing to change: it is already so."
    return Table(f"Plan of {plan.step}", ("", "call", "why", "undo", "cost"), rows, note)


def applied_table(applied: Applied) -> Table:
    """The changes that AWS has made."""
    rows = [
        (str(number), change.call, "✓ done", "\n".join(str(value) for value in given.values()))
        for number, (change, given) in enumerate(applied.made, 1)
    ]
    note = "" if rows else "Nothing was changed: it was already so."
    return Table(f"Applied by {applied.step}", ("", "call", "outcome", "AWS gave"), rows, note)


def findings_table(findings: Findings) -> Table:
    """What was checked, and how it came out."""
    rows = [
        (finding.statement, SIGNS[finding.status], finding.evidence, finding.mend)
        for finding in findings
    ]
    return Table("Findings", ("statement", "outcome", "evidence", "mend"), rows)


def matrix_table(matrix: Matrix) -> Table:
    """Who may do what, and which statement says so."""
    from keyrunbook.access import ROLE

    rows = [
        (cell.principal, cell.action, cell.what, SIGNS[cell.outcome.value], cell.why)
        for cell in matrix.cells
    ]
    if all(cell.principal != ROLE for cell in matrix.cells):
        note = "There is no execution role yet."
    elif matrix.not_read:
        note = f"Decided by what was read; not read: {', '.join(matrix.not_read)}."
    else:
        note = "Decided from the policies; only a build would be an observation."
    columns = ("principal", "action", "for", "decision", "because of")
    return Table("Who may use the key", columns, rows, note)


def printed_table(printed: Printed) -> Table:
    """The page's statements, and what AWS makes of them."""
    rows = [
        (one.what, SIGNS[one.outcome], one.why, json.dumps(one.statement, indent=2))
        for one in printed.rows
    ]
    columns = ("step", "outcome", "because", "statement")
    return Table("As printed, and as sent", columns, rows)


def policies_of(plan: Plan) -> Table:
    """The policy documents that a plan would send, indented, in the order of its calls."""
    rows = [
        (change.call, name, json.dumps(json.loads(change.parameters[name]), indent=2))
        for change in plan
        for name in POLICY_PARAMETERS
        if name in change.parameters
    ]
    note = "" if rows else "No policy is sent: they are so already."
    return Table("Documents", ("call", "parameter", "document"), rows, note)


def build_table(build: Build) -> Table:
    """How a build came out."""
    outcome = {True: "✓ decrypted", False: "✗ refused", None: "? not observed"}[build.decrypted]
    return Table(
        f"Build: {build.when}",
        ("workflow", "image state", "reason"),
        [(outcome, build.status, build.reason)],
    )


def records_table(caption: str, rows: Iterable[tuple[str, Record, str]]) -> Table:
    """Records with what they count for: (counts, record, reason) of each."""
    shown = [
        (
            counts,
            record.name,
            _clock(record),
            _last(record.principal_arn),
            record.invoked_by or "directly",
            record.error_code or "none",
            reason,
        )
        for counts, record, reason in rows
    ]
    columns = ("counts", "event", "time (UTC)", "principal", "invoked by", "error", "reason")
    note = "" if shown else "No record was seen so far. Absence proves nothing."
    return Table(caption, columns, shown, note)


def _clock(record: Record) -> str:
    return f"{record.time:%Y-%m-%dT%H:%M:%SZ}"


def _last(arn: str | None) -> str:
    return (arn or "unknown").split(":", 5)[-1]


def verdict_table(verdict: Verdict) -> Table:
    """The verdict and its clauses."""
    rows = [(clause.name, SIGNS[clause.outcome.value], clause.reason) for clause in verdict.clauses]
    return Table(f"Verdict: {SIGNS[verdict.outcome.value]}", ("clause", "outcome", "because"), rows)
