"""The scorecard as a picture, and as tables.

A white card carries the picture in light and dark themes; a sign and a word say what colour says.
It is SVG, drawn here: the first notebook need not wait until matplotlib is loaded. JupyterLab gives
image outputs no alternative text, so the picture is an HTML image that has one.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Final

from keyrunbook.show.tables import SIGNS, Table

if TYPE_CHECKING:
    from keyrunbook.scorecard import Row, Scorecard

_INK: Final = "#1f2328"
_COLOURS: Final = {
    "pass": ("#1a7f37", "#dafbe1"),
    "fail": ("#a40e26", "#ffebe9"),
    "not checked": ("#7d4e00", "#fff8c5"),
    "not checkable": ("#59636e", "#eff2f5"),
}
"""Line and text, and ground; each pair has a contrast of at least 4.5."""
_ACROSS: Final = 5
_WIDTH, _TOP, _LINE, _EDGE, _FIRST, _CHIP = 980, 64, 31, 12, 130, 168
"""Sizes, in pixels."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A card a recommendation, in rows of what belongs together."""

    card: Scorecard

    def text(self) -> str:
        """What the picture shows, in words; it is the alternative text too."""
        card = self.card
        lines = [f"- {row.name}: {SIGNS[row.finding.status]}" for row in card.rows]
        return "\n".join([card.title, card.summary, *lines])

    def svg(self) -> str:
        """The picture as SVG, the same text for the same scorecard."""
        lines = list(_lines(self.card.rows))
        height = _TOP + (len(lines) + 1) * _LINE
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            f'font-family="system-ui, sans-serif" font-size="13" fill="{_INK}">',
            f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
            _text(_EDGE, 26, self.card.title, size=16, bold=True),
            _text(_EDGE, 48, self.card.summary),
        ]
        for number, (group, rows) in enumerate(lines):
            y = _TOP + number * _LINE
            parts.append(_text(_EDGE, y + 18, group, bold=True))
            for place, row in enumerate(rows):
                parts += _chip(_FIRST + place * _CHIP, y, row)
        for place, (status, (ink, _)) in enumerate(_COLOURS.items()):
            x, y = _FIRST + place * _CHIP, _TOP + len(lines) * _LINE + 18
            parts.append(_text(x, y, SIGNS[status], ink=ink))
        return "".join([*parts, "</svg>"])

    def mimebundle(self) -> dict[str, str]:
        """The picture for IPython's display, and in words."""
        source = base64.b64encode(self.svg().encode()).decode()
        image = (
            f'<img alt="{escape(self.text())}" src="data:image/svg+xml;base64,{source}" '
            f'style="width:{_WIDTH}px;max-width:100%;border-radius:6px">'
        )
        return {"text/plain": self.text(), "text/html": image}


def _text(x: int, y: int, said: str, *, ink: str = _INK, size: int = 13, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" fill="{ink}" font-size="{size}"{weight}>{escape(said)}</text>'


def _chip(x: int, y: int, row: Row) -> tuple[str, str]:
    """One recommendation: its frame, and its name with the sign of how it came out."""
    ink, ground = _COLOURS[row.finding.status]
    sign = SIGNS[row.finding.status].split()[0]
    name = row.name.partition(".")[2] or row.name
    frame = (
        f'<rect x="{x}" y="{y + 2}" width="{_CHIP - 10}" height="{_LINE - 6}" rx="6" '
        f'fill="{ground}" stroke="{ink}"/>'
    )
    return frame, _text(x + 9, y + 19, f"{sign} {name}", ink=ink)


def _lines(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Groups by the first word of the names, in lines of at most `_ACROSS`."""
    for group, found in groupby(rows, key=lambda row: row.name.partition(".")[0]):
        chips = list(found)
        for at in range(0, len(chips), _ACROSS):
            yield (group if at == 0 else ""), chips[at : at + _ACROSS]


def picture(card: Scorecard) -> Picture:
    """The scorecard as a picture."""
    return Picture(card)


def table(card: Scorecard) -> Table:
    """Every recommendation: what the page says, how it came out, why, and how it is mended."""
    rows = [
        (
            f"{row.name} ({row.recommendation.level})",
            row.recommendation.says,
            row.finding.statement,
            SIGNS[row.finding.status],
            row.finding.evidence,
            row.finding.mend,
        )
        for row in card.rows
    ]
    columns = ("name", "AWS's page, in our words", "checked", "outcome", "evidence", "mend")
    return Table(card.title, columns, rows, card.summary)


def inventory_table(card: Scorecard) -> Table:
    """What each part of each Image Builder resource is encrypted with."""
    rows = [(one.arn, one.kind, one.part, one.encrypted_with, one.because)
            for one in card.inventory]  # fmt: skip
    note = "" if rows else "There are no Image Builder resources of yours in this Region yet."
    columns = ("resource", "kind", "part", "encrypted with", "because")
    return Table("What each Image Builder resource is encrypted with", columns, rows, note)
