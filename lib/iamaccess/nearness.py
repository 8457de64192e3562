"""How near a value is to a pattern that it fails: letter case, one character, one ARN field.

Only explanations ask; a decision never does.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from iamaccess.patterns import Patterns

_FIELDS = ("prefix", "partition", "service", "Region", "account", "resource")


class Edit(NamedTuple):
    """One character that makes the difference, at place `at` (from 0) of the value.

    An empty `needs` is one too many, an empty `has` one that is missing.
    """

    at: int
    needs: str
    has: str

    def __str__(self) -> str:
        if not self.needs:
            return f"one character too many: {self.has!r} at place {self.at + 1}"
        if not self.has:
            return f"one character is missing: {self.needs!r} at place {self.at + 1}"
        return f"one character differs: {self.has!r}, not {self.needs!r}, at place {self.at + 1}"


def nearness(needs: Sequence[str], has: str, *, wildcards: bool) -> str:
    """In words what alone keeps `has` from one of `needs`; empty where it is more than that.

    `wildcards`: `*` and `?` are such in `needs`. Many requests miss the same pattern by the same
    value: what was found is kept.
    """
    return _nearness(tuple(needs), has, wildcards)


@functools.lru_cache(maxsize=1024)
def _nearness(needs: tuple[str, ...], has: str, wildcards: bool) -> str:
    for need in needs:
        if _matches(need.lower(), has.lower(), wildcards=wildcards):
            return "differs in letter case only"
    for need in needs:
        if not wildcards and _matches(need, has, wildcards=True):
            return "this operator has no wildcards"
    for need in needs:
        if (edit := one_edit(need, has, wildcards=wildcards)) is not None:
            return str(edit)
    for need in needs:
        pattern = _compiled(need, wildcards)
        if any(pattern.match(other, lambda _: None) for other in _swapped(has)):
            return "two neighbouring characters are swapped"
    for need in needs:
        if (name := _one_field(need, has, wildcards=wildcards)) is not None:
            return f"only the {name} differs"
    return ""


def one_edit(pattern: str, value: str, *, wildcards: bool) -> Edit | None:
    """The one character to be changed, added or taken away for a match; None for more.

    Follows all ways through the pattern that have needed no edit so far, or one.
    """
    many = {at for at, sign in enumerate(pattern) if wildcards and sign == "*"}
    one = {at for at, sign in enumerate(pattern) if wildcards and sign == "?"}
    ways: dict[int, Edit | None] = _further(pattern, {0: None}, many, 0)
    for at, sign in enumerate(value):
        after: dict[int, Edit | None] = {}

        def reach(place: int, edit: Edit | None, after: dict[int, Edit | None] = after) -> None:
            if place not in after or edit is None:
                after[place] = edit

        for place, edit in ways.items():
            if place in many:
                reach(place, edit)
            elif place < len(pattern) and (place in one or pattern[place] == sign):
                reach(place + 1, edit)
            elif edit is None and place < len(pattern):
                reach(place + 1, Edit(at, pattern[place], sign))
            if edit is None and place not in many:
                reach(place, Edit(at, "", sign))
        ways = _further(pattern, after, many, at + 1)
    return ways.get(len(pattern))


def _further(
    pattern: str, ways: dict[int, Edit | None], many: set[int], at: int
) -> dict[int, Edit | None]:
    """The places that can be reached without a further character of the value."""
    waiting = list(ways)
    while waiting:
        place = waiting.pop()
        if place >= len(pattern):
            continue
        edit = ways[place]
        if place in many:
            following = edit
        elif edit is None:
            following = Edit(at, pattern[place], "")
        else:
            continue
        if place + 1 not in ways or (following is None and ways[place + 1] is not None):
            ways[place + 1] = following
            waiting.append(place + 1)
    return ways


def _swapped(text: str) -> Iterator[str]:
    for at in range(len(text) - 1):
        if text[at] != text[at + 1]:
            yield text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _one_field(need: str, has: str, *, wildcards: bool) -> str | None:
    """The name of the one field in which two ARNs differ; None for more, and for the resource."""
    needed, given = need.split(":", 5), has.split(":", 5)
    if len(needed) != 6 or len(given) != 6:
        return None
    differing = [
        name
        for name, one, other in zip(_FIELDS, needed, given, strict=True)
        if not _matches(one, other, wildcards=wildcards)
    ]
    return differing[0] if len(differing) == 1 and differing != ["resource"] else None


def _matches(pattern: str, value: str, *, wildcards: bool) -> bool:
    return _compiled(pattern, wildcards).match(value, lambda _: None) is True


def _compiled(pattern: str, wildcards: bool) -> Patterns:
    return Patterns([pattern], style="glob" if wildcards else "exact", variables=False)
