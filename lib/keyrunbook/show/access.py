"""Who may use the key, how a plan changes the policies, and why something was refused.

Each answer has a sign and a word beside its colour. Its reason is shown on hover, and, for the
keyboard, for screen readers and where nothing hovers, in a table that opens below.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

from iamaccess import Outcome

from keyrunbook import wording
from keyrunbook.access import told
from keyrunbook.plan import POLICIES
from keyrunbook.show.tables import SIGNS, Table, matrix_note, matrix_table, scrolling

if TYPE_CHECKING:
    from keyrunbook.access import Cell, Matrix
    from keyrunbook.plan import Change

_COLOURS: Final = {
    Outcome.ALLOWED: "#2e8540",
    Outcome.DENIED: "#cf3a3a",
    Outcome.UNKNOWN: "#b07503",
}
"""Of the bar beside an answer: each is seen on white and on black (contrast 3 to 1 and more)."""
_CELL = "text-align:left;vertical-align:top"
_KINDS: Final[Mapping[wording.Kind, str]] = {
    "added": "+ added",
    "removed": "− removed",
    "changed": "± changed",
    "kept": "= kept",
}


@dataclass(frozen=True, slots=True)
class MatrixView:
    """The access matrix: a row for each principal and context, a column for each action."""

    matrix: Matrix

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return self.mimebundle()

    def mimebundle(self) -> dict[str, str]:
        """The matrix for IPython's display."""
        return {"text/plain": matrix_table(self.matrix).text(), "text/html": self.html()}

    def html(self) -> str:
        """The answers as a grid, and below it the reasons as a table."""
        cells = self.matrix.cells
        actions = list(dict.fromkeys(cell.action for cell in cells))
        rows = list(dict.fromkeys((cell.principal, cell.what) for cell in cells))
        found = {(cell.principal, cell.what, cell.action): cell for cell in cells}
        head = "".join(_header(name, "col") for name in ("principal", "for", *actions))
        body = "\n".join(
            f"<tr>{_header(principal, 'row')}<td style='{_CELL}'>{escape(what)}</td>"
            + "".join(_answer(found.get((principal, what, action))) for action in actions)
            + "</tr>"
            for principal, what in rows
        )
        title = "Who may use the key"
        caption = f'<caption style="{_CELL};font-weight:bold">{title}</caption>'
        reasons = matrix_table(self.matrix).html()
        table = (
            f'<table style="margin-left:0">\n{caption}\n'
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
        )
        return (
            f"{scrolling(title, table)}"
            f"<p>{escape(matrix_note(self.matrix))}</p>"
            f"<details><summary>Why: the reason for each answer</summary>{reasons}</details>"
        )


def _header(name: str, scope: str) -> str:
    return f'<th scope="{scope}" style="{_CELL}">{escape(name)}</th>'


def _answer(cell: Cell | None) -> str:
    if cell is None:
        return f'<td style="{_CELL}">–</td>'
    reason = "\n".join(told(cell))
    was = ""
    if cell.was not in (None, cell.outcome):
        was = f"<br>was {escape(SIGNS[cell.was.value])}"
    return (
        f'<td style="{_CELL};white-space:nowrap;border-left:4px solid {_COLOURS[cell.outcome]};'
        f'padding-left:6px"><abbr title="{escape(reason)}">{escape(SIGNS[cell.outcome.value])}'
        f"</abbr>{was}</td>"
    )


def policy_changes(plan: Iterable[Change]) -> Table:
    """What a plan would change in policies, statement by statement, in words and as lines.

    A statement that stays as it is says so: it is somebody's, and nothing happens to it.
    """
    rows = []
    for change in plan:
        before = change.keep.get("policy")
        after = next((change.parameters[n] for n in POLICIES if n in change.parameters), None)
        for one in wording.changes(_document(before), _document(after)):
            said = one.after or one.before or {}
            lines = "\n".join(one.lines())
            rows.append((change.call, one.name, _KINDS[one.kind], wording.in_words(said), lines))
    note = "" if rows else "No policy changes."
    columns = ("call", "statement", "change", "it says", "-: goes, +: comes")
    return Table("What changes in the policies", columns, rows, note)


def _document(policy: Any) -> Mapping[str, Any] | None:
    """A policy as a document; a plan has it as text or as one, or has none."""
    found: Mapping[str, Any] | None = json.loads(policy) if isinstance(policy, str) else policy
    return found
