"""The timeline: the run's calls in order, and beside each the KMS records that CloudTrail shows.

It is drawn by order, not to scale: calls of one second would lie on each other. A white card
carries it in light and dark themes; shape and words say what colour says. JupyterLab gives PNG
outputs no alternative text, so the picture is an HTML image that has one.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CALLED: Final = "called by this run"
RECORDED: Final = "KMS records in CloudTrail"
_INK, _RUN, _COUNTS, _ASIDE = "#1f2328", "#0550ae", "#1a7f37", "#6e7781"
_ROW_INCHES: Final = 0.3


@dataclass(frozen=True, slots=True)
class Mark:
    """A record: the event's name, and whether the verdict rests on it."""

    name: str
    counts: bool

    @property
    def words(self) -> str:
        """The record in words."""
        return f"{self.name} ({'counts' if self.counts else 'set aside'})"


@dataclass(frozen=True, slots=True)
class Row:
    """A call, its time of day in UTC (``09:00:08``), and the records of it.

    `call` is empty for a record that no call of this run explains.
    """

    call: str
    at: str
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Timeline:
    """The rows in order, and a title that names the endpoint where it is not AWS's."""

    title: str
    rows: Sequence[Row]

    def text(self) -> str:
        """What the picture shows, in words; it is the alternative text too."""
        return "\n".join([self.title, *(_words(row) for row in self.rows)])

    def figure(self) -> Figure:
        """The picture: a circle for each call, a diamond for each record, filled if it counts."""
        from keyrunbook.show.drawing import Figure

        height = (len(self.rows) + 2.5) * _ROW_INCHES
        figure = Figure(figsize=(8.5, height), facecolor="white", layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(self.title, loc="left", color=_INK, fontsize=11, fontweight="bold")
        axes.set_xlim(-0.25, 2.6)
        axes.set_ylim(len(self.rows) - 0.5, -1.4)
        axes.set_xticks([])
        axes.set_yticks(
            range(len(self.rows)), [_label(row) for row in self.rows], color=_INK, fontsize=9
        )
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for x, words in ((0, CALLED), (1, RECORDED)):
            axes.text(x - 0.04, -0.9, words, color=_INK, fontsize=9, fontstyle="italic")
        axes.text(-0.3, -0.9, "UTC", color=_INK, fontsize=9, ha="right", fontstyle="italic")
        ours = [y for y, row in enumerate(self.rows) if row.call]
        axes.plot([0] * len(ours), ours, "o", color=_RUN, markersize=7, label=CALLED)
        seen = [(y, mark) for y, row in enumerate(self.rows) for mark in row.marks]
        for counts, face, edge in ((True, _COUNTS, _COUNTS), (False, "white", _ASIDE)):
            at = [y for y, mark in seen if mark.counts is counts]
            axes.plot(
                [1] * len(at), at, "D",
                color=face, markeredgecolor=edge, markersize=7,
                label="counts" if counts else "set aside",
            )  # fmt: skip
        for y, row in enumerate(self.rows):
            if row.call and row.marks:
                axes.plot([0.05, 0.95], [y, y], "-", color=_ASIDE, linewidth=0.8, zorder=0)
            if row.marks:
                words = ", ".join(mark.words for mark in row.marks)
                axes.text(1.07, y, words, color=_INK, fontsize=9, verticalalignment="center")
        return figure

    def png(self) -> bytes:
        """The picture as PNG, the same bytes for the same rows."""
        file = io.BytesIO()
        self.figure().savefig(file, format="png", dpi=110, metadata={"Software": None})
        return file.getvalue()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        source = base64.b64encode(self.png()).decode()
        image = (
            f'<img alt="{escape(self.text())}" src="data:image/png;base64,{source}" '
            'style="max-width:100%;border-radius:6px">'
        )
        return {"text/plain": self.text(), "text/html": image}


def _label(row: Row) -> str:
    return f"{row.call or '(no call of this run)'}   {row.at}"


def _words(row: Row) -> str:
    marks = ", ".join(mark.words for mark in row.marks)
    call = row.call or "no call of this run"
    return f"- {call}" + (f" → CloudTrail: {marks}" if marks else "")
