"""Who used a key: as a table, and as a picture by principal and day.

In the picture each principal has a row of days: uses are bars upwards, refused calls hatched bars
downwards, and where there is room for them each bar has its number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from typing import TYPE_CHECKING, Any, Final

from keyrunbook.show.card import BLUE, GREY, INK, RED, bundle, card, png
from keyrunbook.show.tables import Table, through
from keyrunbook.usage import Became, Call, Line, Usage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIGNS: Final = {Became.USED: "✓", Became.REFUSED: "✗", Became.FAILED: "✗", Became.DRY_RUN: "–"}
_COLUMNS: Final = ("outcome", "operation", "for", "by", "times", "first", "last")
_MOST_ROWS: Final = 12
_MOST_NUMBERED: Final = 31
_ROW_INCHES: Final = 0.62
_BAR: Final = 0.36


def usage_table(usage: Usage, *, note: str | None = None) -> Table:
    """The calls that asked for the key, those alike in a row; `note` says what was not searched.

    By default that is all that the summary knows of.
    """
    rows = [_row(one) for one in usage.lines]
    rows += [_row(one, "; names no key") for one in usage.unnamed_lines]
    if note is None:
        note = " ".join([f"Source: {usage.searched.source}.", *usage.not_searched()])
    none = "" if rows else "No use was seen. "
    return Table(f"Use of {usage.key_arn}", _COLUMNS, rows, f"{none}{note} Absence proves nothing.")


def _row(line: Line, more: str = "") -> tuple[str, ...]:
    return (
        f"{_SIGNS[line.became]} {line.outcome}{more}",
        line.operation,
        line.purpose.replace("/", " ", 1),  # a table breaks lines at spaces
        f"{_short(line.who)} {through(line.via)}",
        str(line.count),
        f"{line.first:%Y-%m-%dT%H:%M:%SZ}",
        f"{line.last:%Y-%m-%dT%H:%M:%SZ}",
    )


def _short(arn: str) -> str:
    return arn.split(":", 5)[-1]


@dataclass(frozen=True, slots=True)
class Days:
    """A principal's calls by day, in UTC: those that used the key, and those that KMS refused."""

    who: str
    used: Counter[date]
    refused: Counter[date]

    @property
    def days(self) -> list[date]:
        """The days on which there was a call."""
        return sorted({*self.used, *self.refused})

    @property
    def words(self) -> str:
        """The row in words, day by day."""
        told = [
            f"{day:%Y-%m-%d} {self.used[day]} used"
            + (f" and {self.refused[day]} refused" if self.refused[day] else "")
            for day in self.days
        ]
        return f"- {self.who}: {', '.join(told)}"


def by_day(usage: Usage, where: str = "") -> UsagePicture:
    """The usage by principal and day; `where` names the endpoint where it is not AWS's.

    The principals with most calls have a row each, the others one together. Dry runs are no use;
    a call that failed otherwise counts as refused.
    """
    counts: dict[str, list[Call]] = {}
    for call in usage.calls:
        if call.became is not Became.DRY_RUN:
            counts.setdefault(_short(call.who), []).append(call)
    ranked = sorted(counts.items(), key=lambda item: (-len(item[1]), item[0]))
    rows = [_days(who, calls) for who, calls in ranked[:_MOST_ROWS]]
    if rest := ranked[_MOST_ROWS:]:
        rows.append(_days(f"{len(rest)} others", (call for _, calls in rest for call in calls)))
    return UsagePicture(f"Key usage by day (UTC){f' ({where})' if where else ''}", rows)


def _days(who: str, calls: Iterable[Call]) -> Days:
    row = Days(who, Counter(), Counter())
    for call in calls:
        counter = row.used if call.became is Became.USED else row.refused
        counter[call.record.time.astimezone(UTC).date()] += 1
    return row


@dataclass(frozen=True, slots=True)
class UsagePicture:
    """Key usage by principal and day, under a title."""

    title: str
    rows: Sequence[Days]

    def text(self) -> str:
        """What the picture shows, in words; it is the alternative text too."""
        told = [row.words for row in self.rows] or ["No use was seen. Absence proves nothing."]
        return "\n".join([self.title, *told])

    def figure(self) -> Figure:
        """The picture: a row for each principal, a place for each day."""
        figure, axes = card(8.5, (len(self.rows) + 1.4) * _ROW_INCHES, self.title)
        days = self._all_days()
        axes.set_xlim(-1, max(len(days), 4))
        axes.set_ylim(max(len(self.rows), 1) - 0.4, -0.7)
        axes.set_yticks(
            range(len(self.rows)), [one.who for one in self.rows], color=INK, fontsize=9
        )
        shown = range(0, len(days), -(-len(days) // 10) or 1)
        axes.set_xticks(shown, [f"{days[x]:%m-%d}" for x in shown], color=INK, fontsize=9)
        axes.set_xlabel(self._legend(days), color=INK, fontsize=9, fontstyle="italic", loc="left")
        for y, row in enumerate(self.rows):
            axes.axhline(y, color=GREY, linewidth=0.6, zorder=0)
            self._bars(axes, days, y, row.used, refused=False)
            self._bars(axes, days, y, row.refused, refused=True)
        return figure

    def _legend(self, days: Sequence[date]) -> str:
        if not days:
            return "No use was seen. Absence proves nothing."
        years = " and ".join(dict.fromkeys(f"{day:%Y}" for day in days))
        return f"days of {years}, UTC · bar up: used · hatched bar down, ✗: refused"

    def _all_days(self) -> list[date]:
        given = [day for row in self.rows for day in row.days]
        first, last = min(given, default=date.max), max(given, default=date.min)
        return [first + timedelta(days=n) for n in range((last - first).days + 1)]

    def _bars(
        self, axes: Axes, days: Sequence[date], y: int, counts: Counter[date], *, refused: bool
    ) -> None:
        most = max(n for row in self.rows for n in (*row.used.values(), *row.refused.values()))
        unit = _BAR / most if refused else -_BAR / most
        at = [(x, counts[day]) for x, day in enumerate(days) if counts[day]]
        axes.bar(
            [x for x, _ in at], [n * unit for _, n in at], bottom=y, width=0.6,
            color="white" if refused else BLUE, edgecolor=RED if refused else BLUE,
            hatch="////" if refused else None, linewidth=1,
            label=f"{self.rows[y].who}: {'refused' if refused else 'used'}",
        )  # fmt: skip
        for x, n in at if len(days) <= _MOST_NUMBERED else ():
            axes.annotate(
                f"✗{n}" if refused else str(n), (x, y + n * unit), (0, -2 if refused else 2),
                textcoords="offset points", ha="center", va="top" if refused else "bottom",
                color=INK, fontsize=8,
            )  # fmt: skip

    def png(self) -> bytes:
        """The picture as PNG, the same bytes for the same rows."""
        return png(self.figure())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return bundle(self.figure(), self.text())
