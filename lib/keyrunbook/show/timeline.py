"""The timeline: the run's calls in order, and beside each the KMS records that CloudTrail shows.

It is drawn by order, not to scale: calls of one second would lie on each other. Shape and words say
what colour says: a square is a change of policy, a diamond a record, a cross a refusal. The bar at
the right is the delivery delay, as far as it is known: a record came no later than it was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from keyrunbook.show.card import BLUE, GREEN, GREY, INK, RED, bundle, card, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CALLED: Final = "called by this run"
RECORDED: Final = "KMS records in CloudTrail"
DELAYED: Final = "seen within"

POLICY_CALLS: Final = {
    "kms:PutKeyPolicy",
    "iam:PutRolePolicy",
    "iam:DeleteRolePolicy",
    "kms:CreateGrant",
    "kms:RevokeGrant",
}
"""The calls that change who may use the key."""

Became = Literal["counts", "set aside", "refused"]
_MARKERS: Final[tuple[tuple[Became, str, str, str], ...]] = (
    ("counts", "D", GREEN, GREEN),
    ("set aside", "D", "white", GREY),
    ("refused", "X", RED, RED),
)
"""Of each kind of record: its marker, its colour, and its edge's."""
_LEGEND: Final = "● call   ■ change of policy   ◆ record that counts   ◇ set aside   ✖ refused"
_ROW_INCHES: Final = 0.3
_DELAYS, _LONGEST = 2.35, 0.3  # where the bars begin, and how long the longest is


@dataclass(frozen=True, slots=True)
class Mark:
    """A record: the event's name and time, what became of it, and when this run first saw it.

    ``counts``: the verdict rests on it. ``refused``: KMS denied the call. ``set aside``: all else.
    """

    name: str
    became: Became
    time: datetime
    seen: datetime | None = None

    @property
    def delay_s(self) -> float | None:
        """Within how many seconds after the event its record was there; None: not known."""
        return None if self.seen is None else max((self.seen - self.time).total_seconds(), 0.0)

    @property
    def label(self) -> str:
        """The record in words."""
        return f"{self.name} ({self.became})"

    @property
    def words(self) -> str:
        """The record in words, with its times."""
        seen = "" if self.seen is None else f", seen by {_iso(self.seen)}"
        return f"{self.label} at {_iso(self.time)}{seen}"


@dataclass(frozen=True, slots=True)
class Row:
    """A call, when it was made, and the records of it.

    `call` is empty for a record that no call of this run explains.
    """

    call: str
    at: datetime
    marks: tuple[Mark, ...] = ()

    @property
    def changes_policy(self) -> bool:
        """Whether the call changes who may use the key."""
        return self.call in POLICY_CALLS

    @property
    def words(self) -> str:
        """The row in words."""
        call = self.call or "no call of this run"
        kind = " (change of policy)" if self.changes_policy else ""
        when = f" at {_iso(self.at)}" if self.call else ""
        marks = "; ".join(mark.words for mark in self.marks)
        return f"- {call}{kind}{when}" + (f" → CloudTrail: {marks}" if marks else "")


@dataclass(frozen=True, slots=True)
class Timeline:
    """The rows in order, and a title that names the endpoint where it is not AWS's."""

    title: str
    rows: Sequence[Row]

    def text(self) -> str:
        """What the picture shows, in words; it is the alternative text too."""
        return "\n".join([self.title, *(row.words for row in self.rows)])

    def figure(self) -> Figure:
        """The picture: a circle or square for each call, a diamond or cross for each record."""
        figure, axes = card(9.5, (len(self.rows) + 3.2) * _ROW_INCHES, self.title)
        axes.set_xlim(-0.25, 3.2)
        axes.set_ylim(len(self.rows) - 0.5, -1.4)
        axes.set_yticks(
            range(len(self.rows)), [_label(row) for row in self.rows], color=INK, fontsize=9
        )
        axes.set_xlabel(_LEGEND, color=INK, fontsize=9, loc="left")
        for x, words in ((0.0, CALLED), (1.0, RECORDED), (_DELAYS, DELAYED)):
            axes.text(x - 0.04, -0.9, words, color=INK, fontsize=9, fontstyle="italic")
        axes.text(-0.3, -0.9, "UTC", color=INK, fontsize=9, ha="right", fontstyle="italic")
        self._calls(axes)
        self._records(axes)
        self._delays(axes)
        return figure

    def _calls(self, axes: Axes) -> None:
        for changes, marker, label in ((False, "o", CALLED), (True, "s", "change of policy")):
            at = [
                y for y, row in enumerate(self.rows) if row.call and row.changes_policy is changes
            ]
            axes.plot([0] * len(at), at, marker, color=BLUE, markersize=7, label=label)

    def _records(self, axes: Axes) -> None:
        seen = [(y, mark) for y, row in enumerate(self.rows) for mark in row.marks]
        for became, marker, face, edge in _MARKERS:
            at = [y for y, mark in seen if mark.became == became]
            axes.plot(
                [1] * len(at), at, marker,
                color=face, markeredgecolor=edge, markersize=7, label=became,
            )  # fmt: skip
        joined = [y for y, row in enumerate(self.rows) if row.call and row.marks]
        axes.hlines(joined, 0.05, 0.95, color=GREY, linewidth=0.8, zorder=0)
        for y, row in enumerate(self.rows):
            if row.marks:
                words = ", ".join(mark.label for mark in row.marks)
                axes.text(1.07, y, words, color=INK, fontsize=9, verticalalignment="center")

    def _delays(self, axes: Axes) -> None:
        delays = [
            (y, max(known))
            for y, row in enumerate(self.rows)
            if (known := [one.delay_s for one in row.marks if one.delay_s is not None])
        ]
        unit = _LONGEST / max([1.0, *(delay for _, delay in delays)])
        ends = [_DELAYS + delay * unit for _, delay in delays]
        rows = [y for y, _ in delays]
        axes.hlines(rows, _DELAYS, ends, color=GREY, linewidth=3)
        axes.plot([_DELAYS] * len(ends) + ends, rows * 2, "|", color=GREY, markersize=7)
        for (y, delay), end in zip(delays, ends, strict=True):
            axes.text(end + 0.05, y, _span(delay), color=INK, fontsize=9, va="center")

    def png(self) -> bytes:
        """The picture as PNG, the same bytes for the same rows."""
        return png(self.figure())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return bundle(self.figure(), self.text())


def _label(row: Row) -> str:
    return f"{row.call or '(no call of this run)'}   {row.at.astimezone(UTC):%H:%M:%S}"


def _iso(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _span(seconds: float) -> str:
    """A length of time, rounded up: the record came no later."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{-(-seconds // length):.0f} {unit}"
    return f"{max(-(-seconds // 1), 1):.0f} s"
