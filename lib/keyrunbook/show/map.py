"""The map of the seven steps: a picture of the way the data goes, and a table with links.

The picture is a white card, as all are, so that it reads in light and dark themes; a sign, a word
and the line of its frame say how a place stands, not colour alone. The table says the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from html import escape
from typing import Any, Final
from urllib.parse import quote

from keyrunbook.show.card import BLUE, GREEN, GREY, INK
from keyrunbook.show.tables import Table, scrolling


class State(Enum):
    """How a step stands: its sign, and its word."""

    DONE = "✓ done"
    NEXT = "→ next"
    OPEN = "○ can be done"
    BLOCKED = "– blocked"


@dataclass(frozen=True, slots=True)
class StepState:
    """A step, how it stands, and why: "" where the state says it all; the verdict, where it has."""

    step: str
    state: State
    why: str = ""
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class _Place:
    """A place on the way of the data, and the number of the step that sees to it."""

    name: str
    what: str
    step: str


_WAY: Final = (
    _Place("operator", "you, or your pipeline", "00"),
    _Place("key", "your own, in KMS", "01"),
    _Place("policies", "who may use the key", "02"),
    _Place("workflow", "encrypted under it", "03"),
    _Place("KMS", "called by Image Builder", "04"),
    _Place("CloudTrail", "records each call", "04"),
    _Place("verdict", "PROVED, or why not", "04"),
)
_ASKS: Final[Mapping[str, str]] = {
    "00": "Who am I, and is the account ready?",
    "01": "A key of your own",
    "02": "Builds may use it, for workflows only",
    "03": "A workflow that is encrypted under it",
    "04": "The proof, from CloudTrail",
    "05": "Access taken away, and given back",
    "06": "What the run made is removed",
}
_FRAMES: Final[Mapping[State, str]] = {
    State.DONE: f'stroke="{GREEN}" stroke-width="2"',
    State.NEXT: f'stroke="{BLUE}" stroke-width="4"',
    State.OPEN: f'stroke="{INK}" stroke-width="1.5"',
    State.BLOCKED: f'stroke="{GREY}" stroke-width="1.5" stroke-dasharray="5 4"',
}
_WIDTH, _HEIGHT, _GAP, _TOP, _IN_A_ROW = 150, 74, 30, 34, 4
_NOTEBOOK = re.compile(r"(?<=>)(\d\d_\w+)(?=</td>)")


@dataclass(frozen=True, slots=True)
class Map:
    """The steps of a run as they stand; `about` says which run, and on what, in sentences."""

    title: str
    steps: Sequence[StepState]
    about: Sequence[str] = ()

    def table(self) -> Table:
        """Each step, with its notebook, how it stands, and why."""
        rows = [(one.step, one.state.value, _ASKS[one.step[:2]], one.why) for one in self.steps]
        return Table(self.title, ("notebook", "state", "question", "because"), rows)

    def words(self) -> str:
        """The picture, for who does not see it."""
        places = " → ".join(f"{one.name} ({self._said(one)})" for one in _WAY)
        return f"The way of the data: {places}."

    def svg(self) -> str:
        """The picture: the places in their order, in two rows, each with how its step stands."""
        width = _IN_A_ROW * (_WIDTH + _GAP) + _GAP
        parts = [_label(_GAP, 22, self.title, 14, bold=True)]
        for at, place in enumerate(_WAY):
            x, y = _corner(at)
            what = self._verdict(place) or place.what
            parts += [_box(x, y, place, what, self._of(place).state), _arrow(at)]
        below = _corner(len(_WAY) - 1)[1] + _HEIGHT + 24
        parts.append(
            _label(_GAP, below, self._after("05", "takes access away, and gives it back"), 12)
        )
        parts.append(_label(width * 4 // 7, below, self._after("06", "removes all of it"), 12))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {below + 14}" '
            'font-family="system-ui, sans-serif">'
            f'<rect width="100%" height="100%" rx="6" fill="white"/>{"".join(parts)}</svg>'
        )

    def _of(self, place: _Place) -> StepState:
        return next(one for one in self.steps if one.step.startswith(place.step))

    def _verdict(self, place: _Place) -> str:
        """What the proof came to, at the end of the way: done is not yet proved."""
        return self._of(place).verdict if place is _WAY[-1] else ""

    def _said(self, place: _Place) -> str:
        return ": ".join(filter(None, (self._of(place).state.value, self._verdict(place))))

    def _after(self, number: str, does: str) -> str:
        """A step beside the way, in words."""
        state = next(one.state for one in self.steps if one.step.startswith(number))
        return f"{number} {state.value}: {does}"

    def mimebundle(self) -> dict[str, str]:
        """The map for IPython's display."""
        table = self.table()
        html = _NOTEBOOK.sub(r'<a href="\1.ipynb">\1</a>', table.html())
        about = "".join(f"<p>{escape(one)}</p>" for one in self.about)
        image = (
            f'<img alt="{escape(self.words())}" src="data:image/svg+xml,{quote(self.svg())}" '
            'style="width:100%;min-width:30em;max-width:46em;border-radius:6px">'
        )
        text = "\n\n".join([self.words(), table.text(), *self.about])
        return {"text/plain": text, "text/html": f"{scrolling('The map', image)}{html}{about}"}

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return self.mimebundle()


def _corner(at: int) -> tuple[int, int]:
    """The upper left corner of a place: the second row comes back from the right."""
    row, column = divmod(at, _IN_A_ROW)
    if row:
        column = _IN_A_ROW - 1 - column
    return _GAP + column * (_WIDTH + _GAP), _TOP + row * (_HEIGHT + _GAP)


def _box(x: int, y: int, place: _Place, what: str, state: State) -> str:
    middle = x + _WIDTH // 2
    frame = f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="white"'
    return (
        f"{frame} {_FRAMES[state]}/>"
        + _label(middle, y + 22, place.name, 15, bold=True, middle=True)
        + _label(middle, y + 41, what, 11.5, middle=True)
        + _label(middle, y + 61, f"{place.step} {state.value}", 13, middle=True)
    )


def _arrow(at: int) -> str:
    """The arrow from a place to the next."""
    if at + 1 == len(_WAY):
        return ""
    (x, y), (to_x, to_y) = _corner(at), _corner(at + 1)
    if y != to_y:
        x = to_x = x + _WIDTH // 2
        y += _HEIGHT + 4
        head = f"{x - 5},{to_y - 9} {x + 5},{to_y - 9} {x},{to_y - 3}"
        return _line(x, y, to_x, to_y - 8, head)
    y += _HEIGHT // 2
    sign = 1 if to_x > x else -1
    start = x + _WIDTH + 3 if sign > 0 else x - 3
    end = to_x - 3 if sign > 0 else to_x + _WIDTH + 3
    head = f"{end - 6 * sign},{y - 5} {end - 6 * sign},{y + 5} {end},{y}"
    return _line(start, y, end - 5 * sign, y, head)


def _line(x: int, y: int, to_x: int, to_y: int, head: str) -> str:
    stroke = f'stroke="{INK}" stroke-width="1.5"'
    line = f'<line x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}" {stroke}/>'
    return f'{line}<polygon points="{head}" fill="{INK}"/>'


def _label(
    x: int, y: int, text: str, size: float, *, bold: bool = False, middle: bool = False
) -> str:
    more = ' font-weight="bold"' * bold + ' text-anchor="middle"' * middle
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{INK}"{more}>{escape(text)}</text>'
