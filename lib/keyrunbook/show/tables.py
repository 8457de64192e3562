"""Tables: one value that shows as HTML in JupyterLab and as text anywhere else.

No colour carries meaning: each outcome has a sign and a word. The HTML takes its colours from the
page, so it reads well in light and dark themes. Nothing is cut off in a narrow window: long words,
such as ARNs, break; outcomes, times and short words do not; what is wider still scrolls. (Of an
untrusted notebook JupyterLab drops `overflow-wrap:anywhere`: there such tables scroll sooner.)
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from keyrunbook.plan import POLICIES, shown
from keyrunbook.prices import together

if TYPE_CHECKING:
    from keyrunbook.access import Matrix, Printed
    from keyrunbook.findings import Findings
    from keyrunbook.plan import Applied, Change, Plan, RunPlan
    from keyrunbook.proof import Verdict
    from keyrunbook.records import Record
    from keyrunbook.session import Run
    from keyrunbook.steps.builds import Build

SIGNS = {
    "pass": "✓ pass",
    "fail": "✗ fail",
    "not checked": "? not checked",
    "not checkable": "– not checkable",
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
_ALIGN = "text-align:left;vertical-align:top"
_BREAK = "overflow-wrap:anywhere"
_PRE = "margin:0;background:none;color:inherit;font-family:monospace;white-space:pre-wrap"
WHOLE = re.compile(r"[✓✗?–○→] [\w ]{1,16}|\d{4}-\d\d-\d\dT[\d:.]+Z")
"""What stays on one line: an outcome, a time."""
LONGEST, _LINE = 28, 40
"""Characters up to which a word, and a line of a document, is not broken."""


def scrolling(label: str, html: str) -> str:
    """HTML that scrolls where the window is narrow, by keyboard too: Tab gets there.

    Source: https://dequeuniversity.com/rules/axe/4.10/scrollable-region-focusable
    """
    how = f'tabindex="0" role="group" aria-label="{escape(label)}"'
    return f'<div style="overflow-x:auto" {how}>{html}</div>'


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
        """The table as HTML, with its caption and column headers named as such.

        A column that is empty in all rows is left out.
        """
        shown = [
            at for at in range(len(self.columns)) if not self.rows or any(r[at] for r in self.rows)
        ]
        rows = [[row[at] for at in shown] for row in self.rows]
        names = [self.columns[at] for at in shown]
        head = "".join(_html_head(*column) for column in zip(names, *rows, strict=True))
        body = "\n".join(f"<tr>{''.join(map(_html_cell, row))}</tr>" for row in rows)
        caption = f'<caption style="{_ALIGN};font-weight:bold">{escape(self.caption)}</caption>'
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        table = (
            f'<table style="margin-left:0">\n{caption}\n'
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
        )
        return scrolling(self.caption, table) + note

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


def _html_head(name: str, *column: str) -> str:
    """A column's header, which keeps the column as wide as what is not to be broken."""
    widths = [_whole_characters(text) for text in (name, *column)]
    style = f"{_ALIGN};min-width:{0.6 * max(widths) + 1:.1f}em"  # 1em: both paddings
    if not name:  # a header without a word says nothing to who hears it
        return f'<td style="{style}"></td>'
    return f'<th scope="col" style="{style}">{escape(name)}</th>'


def _whole_characters(text: str) -> int:
    if "\n" in text:
        return min(max(map(len, text.splitlines())), _LINE)
    return max((len(word) for word in text.split() if len(word) <= LONGEST), default=0)


def _html_cell(text: str) -> str:
    inner = f'<pre style="{_PRE};{_BREAK}">{escape(text)}</pre>' if "\n" in text else escape(text)
    wrap = "white-space:nowrap" if WHOLE.fullmatch(text) else _BREAK
    return f'<td style="{_ALIGN};{wrap}">{inner}</td>'


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
        *(("from the form", f"{name} = {value!r}") for name, value in run.from_form.items()),
    ]
    return Table("This run", ("what", "value"), rows, banner_note(run))


def plan_table(plan: Plan) -> Table:
    """The changes that a plan would make."""
    rows = [
        (str(number), change.call, change.why, change.undo, change.cost)
        for number, change in enumerate(plan, 1)
    ]
    note = _noted("" if rows else "Nothing to change: it is already so.", plan.notes)
    return Table(f"Plan of {plan.step}", ("", "call", "why", "undo", "cost"), rows, note)


def _noted(note: str, notes: Iterable[str]) -> str:
    return " ".join(filter(None, (note, *notes)))


def run_plan_table(run_plan: RunPlan) -> Table:
    """The changes of several steps, with what each costs; a symbol is what AWS is still to give."""
    rows = [
        (
            f"{plan.step[:2]}.{number}",
            change.call,
            _parameters(change),
            change.why,
            change.undo,
            change.cost,
        )
        for plan in run_plan.plans
        for number, change in enumerate(plan, 1)
    ]
    calls = [change.call for plan in run_plan.plans for change in plan]
    notes = [f"{plan.step[:2]}: {one}" for plan in run_plan.plans for one in plan.notes]
    note = _noted(together(calls) if rows else "Nothing to change: it is already so.", notes)
    columns = ("", "call", "parameters", "why", "undo", "cost")
    return Table(f"Plan of the run {run_plan.run_id}", columns, rows, note)


def _parameters(change: Change) -> str:
    """The parameters of a call, indented; policies as the documents that they are."""
    given = {
        name: json.loads(value) if name in POLICIES else value
        for name, value in shown(change.parameters).items()
    }
    return json.dumps(given, indent=2, ensure_ascii=False)


def applied_table(applied: Applied) -> Table:
    """The changes that AWS has made."""
    rows = [
        (str(number), change.call, "✓ done", "\n".join(str(value) for value in given.values()))
        for number, (change, given) in enumerate(applied.made, 1)
    ]
    note = _noted("" if rows else "Nothing was changed: it was already so.", applied.notes)
    return Table(f"Applied by {applied.step}", ("", "call", "outcome", "AWS gave"), rows, note)


def findings_table(findings: Findings) -> Table:
    """What was checked, and how it came out."""
    rows = [
        (finding.statement, SIGNS[finding.status], finding.evidence, finding.mend)
        for finding in findings
    ]
    return Table("Findings", ("statement", "outcome", "evidence", "mend"), rows)


def matrix_table(matrix: Matrix) -> Table:
    """Who may do what, and why: which statement says so, or what nearly does.

    Actions that have the same answer for the same reason share a row.
    """
    rows: dict[tuple[str, ...], list[str]] = {}
    for cell in matrix.cells:
        answer = (
            cell.principal,
            cell.what,
            SIGNS[cell.outcome.value],
            SIGNS[cell.was.value] if cell.was not in (None, cell.outcome) else "",
            cell.why.replace(cell.action, "it"),
            "; then ".join(cell.near),
            cell.mend,
            cell.settles,
        )
        rows.setdefault(answer, []).append(cell.action)
    columns = (
        *("principal", "action", "for", "decision", "was"),
        *("because", "nearest miss", "mended by", "settled by"),
    )
    body = [(one[0], ", ".join(actions), *one[1:]) for one, actions in rows.items()]
    return Table("Who may use the key", columns, body, matrix_note(matrix))


def matrix_note(matrix: Matrix) -> str:
    """What to know of all answers: what they rest on, and what was not read."""
    from keyrunbook.access import ROLE

    if all(cell.principal != ROLE for cell in matrix.cells):
        note = "There is no execution role yet."
    elif matrix.not_read:
        note = f"Decided by what was read; not read: {matrix.unread()}."
    else:
        note = "Decided from the policies; only a build would be an observation."
    if matrix.malformed:
        note += f" Malformed by the judge, so not known: {'; '.join(matrix.malformed)}."
    return note


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
        for name in POLICIES
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
            f"{_last(record.principal_arn)} {through(record.invoked_by)}",
            record.error_code or "none",
            reason,
        )
        for counts, record, reason in rows
    ]
    columns = ("counts", "event", "time (UTC)", "called by", "error", "reason")
    note = "" if shown else "No record was seen so far. Absence proves nothing."
    return Table(caption, columns, shown, note)


def through(service: str | None) -> str:
    """By which AWS service a principal called, or that it did so itself."""
    return "directly" if service is None else f"through {service}"


def _clock(record: Record) -> str:
    return f"{record.time:%Y-%m-%dT%H:%M:%SZ}"


def _last(arn: str | None) -> str:
    return (arn or "unknown").split(":", 5)[-1]


def verdict_table(verdict: Verdict) -> Table:
    """The verdict and its clauses."""
    rows = [(clause.name, SIGNS[clause.outcome.value], clause.reason) for clause in verdict.clauses]
    return Table(f"Verdict: {SIGNS[verdict.outcome.value]}", ("clause", "outcome", "because"), rows)
