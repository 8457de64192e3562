"""The scorecard as a picture, and as tables.

A white card carries the picture in light and dark themes; a sign and a word say what colour says.
JupyterLab gives PNG outputs no alternative text, so the picture is an HTML image that has one.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Final

from keyrunbook.show.tables import SIGNS, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
_ROW_INCHES: Final = 0.34


@dataclass(frozen=True, slots=True)
class Picture:
    """A card a recommendation, in rows of what belongs together."""

    card: Scorecard

    def text(self) -> str:
        """What the picture shows, in words; it is the alternative text too."""
        card = self.card
        lines = [f"- {row.name}: {SIGNS[row.finding.status]}" for row in card.rows]
        return "\n".join([card.title, card.summary, *lines])

    def figure(self) -> Figure:
        """The picture."""
        from keyrunbook.show.drawing import Figure

        lines = list(_lines(self.card.rows))
        figure = Figure(figsize=(9.0, (len(lines) + 3.0) * _ROW_INCHES), facecolor="white")
        axes = figure.add_axes((0.01, 0.0, 0.98, 1.0))
        axes.set_xlim(0, _ACROSS + 0.95)
        axes.set_ylim(len(lines) + 0.6, -2.4)
        axes.set_axis_off()
        axes.text(
            0, -1.75, self.card.title, color=_INK, fontsize=11, fontweight="bold", va="center"
        )
        axes.text(0, -0.9, self.card.summary, color=_INK, fontsize=9, va="center")
        for y, (group, rows) in enumerate(lines):
            axes.text(0, y, group, color=_INK, fontsize=9, fontweight="bold", va="center")
            for x, row in enumerate(rows):
                ink, ground = _COLOURS[row.finding.status]
                sign = SIGNS[row.finding.status].split()[0]
                axes.text(
                    x + 0.95, y, f"{sign} {row.name.partition('.')[2] or row.name}",
                    color=ink, fontsize=8.5, va="center",
                    bbox={"boxstyle": "round,pad=0.3", "facecolor": ground, "edgecolor": ink},
                )  # fmt: skip
        for x, (status, (ink, _)) in enumerate(_COLOURS.items()):
            axes.text(x * 1.1 + 0.95, len(lines) + 0.2, SIGNS[status], color=ink, fontsize=8)
        return figure

    def png(self) -> bytes:
        """The picture as PNG, the same bytes for the same scorecard."""
        file = io.BytesIO()
        self.figure().savefig(file, format="png", dpi=110, metadata={"Software": None})
        return file.getvalue()

    def mimebundle(self) -> dict[str, str]:
        """The picture for IPython's display, and in words."""
        source = base64.b64encode(self.png()).decode()
        image = (
            f'<img alt="{escape(self.text())}" src="data:image/png;base64,{source}" '
            'style="max-width:100%;border-radius:6px">'
        )
        return {"text/plain": self.text(), "text/html": image}


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
