"""Edits the text of a policy one statement at a time; every other byte stays as it is.

Whoever reads a key policy again should find their own statements, their order and their layout as
they left them, as far as KMS keeps these: it may answer in a layout of its own.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from keyrunbook import policies

_SPACE = re.compile(r"[ \t\r\n]*")
_read = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands in the text: from `start` up to `end`."""

    start: int
    end: int
    value: Any


def put(text: str, statement: Mapping[str, Any]) -> str:
    """The policy with `statement` in the place of the one with its Sid, or at the end.

    It is laid out as its neighbours are. Raises ValueError for text that is no policy in JSON.
    """
    whole, places = _statements(text)
    for place in places:
        if place.value.get("Sid") == statement["Sid"]:
            return text[: place.start] + _laid_out(text, place, statement) + text[place.end :]
    if not places:
        return text[: whole.start] + f"[{json.dumps(statement)}]" + text[whole.end :]
    last = places[-1]
    added = "," + _before(text, last) + _laid_out(text, last, statement)
    if isinstance(whole.value, Mapping):  # one statement may stand without a list
        return f"{text[: last.start]}[{text[last.start : last.end]}{added}]{text[last.end :]}"
    return text[: last.end] + added + text[last.end :]


def drop(text: str, sid: str) -> str:
    """The policy without the statements of that Sid.

    What `put` added at the end goes as it came. Raises ValueError for text that is no policy in
    JSON.
    """
    return drop_where(text, lambda one: one.get("Sid") == sid)


def drop_where(text: str, goes: Callable[[Mapping[str, Any]], bool]) -> str:
    """The policy without the statements of which `goes` is true. Raises as `drop` does."""
    whole, places = _statements(text)
    if isinstance(whole.value, Mapping):  # one statement may stand without a list
        gone = goes(whole.value)
        return f"{text[: whole.start]}[]{text[whole.end :]}" if gone else text
    for at in reversed(range(len(places))):
        if not goes(places[at].value):
            continue
        if at > 0:
            text = text[: places[at - 1].end] + text[places[at].end :]
        elif len(places) > 1:
            text = text[: places[0].start] + text[places[1].start :]
        else:
            text = text[: places[0].start] + text[places[0].end :]
        _, places = _statements(text)
    return text


def undone(text: str, before: str, left: str) -> str:
    """The policy with what made `left` of `before` taken back; what others changed since stays.

    Where nobody changed anything it is `before`, byte for byte. Raises ValueError for text that is
    not JSON.
    """
    now, was, then = (json.loads(one) for one in (text, before, left))
    if policies.same(now, then):
        return before
    wanted = policies.merged(now, was, then)
    return text if policies.same(now, wanted) else policies.to_text(wanted)


def _laid_out(text: str, neighbour: _Place, statement: Mapping[str, Any]) -> str:
    """A statement as text: in lines where its neighbour has lines, indented as that is."""
    own = text[neighbour.start : neighbour.end]
    if "\n" not in own:
        close = '":"' in own.replace(" ", "") and '": ' not in own
        return json.dumps(statement, separators=(",", ":") if close else None)
    margin = re.search(r"[ \t]*$", text[: neighbour.start])
    step = re.search(r"\n([ \t]*)\S", own)
    outer = margin[0] if margin else ""
    inner = step[1].removeprefix(outer) if step else "  "
    lines = json.dumps(statement, indent=inner or 2)
    return textwrap.indent(lines, outer).removeprefix(outer)


def _before(text: str, place: _Place) -> str:
    """The white space in front of a value."""
    found = re.search(r"[ \t\r\n]*$", text[: place.start])
    return found[0] if found else ""


def _statements(text: str) -> tuple[_Place, list[_Place]]:
    """Where the value of Statement stands, and each statement in it."""
    for key, place in _members(text):
        if key == "Statement":
            if isinstance(place.value, Mapping):
                return place, [place]
            return place, list(_elements(text, place.start))
    raise ValueError("the policy has no Statement")


def _members(text: str) -> Iterator[tuple[str, _Place]]:
    """The members of the object that the text is."""
    at = _expect(text, 0, "{")
    while text[at] != "}":
        key, at = _read(text, at)
        place = _value(text, _expect(text, at, ":"))
        yield key, place
        at = _next(text, place.end)


def _elements(text: str, start: int) -> Iterator[_Place]:
    """The elements of the list that starts there."""
    at = _expect(text, start, "[")
    while text[at] != "]":
        place = _value(text, at)
        yield place
        at = _next(text, place.end)


def _value(text: str, at: int) -> _Place:
    value, end = _read(text, at)
    return _Place(at, end, value)


def _next(text: str, at: int) -> int:
    """Behind a comma and its white space, or at the closing bracket."""
    at = _skip(text, at)
    return _skip(text, at + 1) if text[at : at + 1] == "," else at


def _expect(text: str, at: int, sign: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] != sign:
        raise ValueError(f"the policy has {text[at : at + 1]!r} where {sign!r} should be")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
