"""Where things are in a JSON text: what `json` does not keep.

The text is known to be JSON: it was read before. Only errors ask for places.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][{},:]|[^][{},:\s"]+')


@dataclass(slots=True)
class _Open:
    """An object or array that is not closed yet; `at` is its current key, or the index."""

    pointer: str
    is_object: bool
    at: str | int = 0
    awaits_key: bool = True

    @property
    def child(self) -> str:
        """The pointer of what comes next."""
        return f"{self.pointer}/{escape(str(self.at))}"


def escape(token: str) -> str:
    """A reference token of a JSON pointer (RFC 6901)."""
    return token.replace("~", "~0").replace("/", "~1")


def line_of(text: str, pointer: str) -> int:
    """The line, from 1, of what a JSON pointer points to: of its key in an object."""
    return next(line(text, start) for found, start in _places(text) if found == pointer)


def lines(text: str) -> Mapping[str, int]:
    """The line of each JSON pointer of the text."""
    found, line, read = {}, 1, 0
    for pointer, start in _places(text):  # in the order of the text
        line += text.count("\n", read, start)
        found[pointer], read = line, start
    return found


def nearest_line(places: Mapping[str, int], pointer: str) -> int:
    """The line of a pointer, or of the nearest value around it that is there; else the first."""
    while pointer not in places and pointer:
        pointer = pointer.rpartition("/")[0]
    return places.get(pointer, 1)


def line(text: str, start: int) -> int:
    """The line, from 1, of an index into the text."""
    return text.count("\n", 0, start) + 1


def doubled(text: str) -> tuple[str, int]:
    """The pointer and the line of the first key that its object has already had: there is one."""
    seen: set[str] = set()
    for pointer, start in _places(text):
        if pointer in seen:
            return pointer, line(text, start)
        seen.add(pointer)
    raise AssertionError("no key is doubled")


def line_of_word(text: str, word: str) -> int:
    """The line of the first bare word (`NaN`) of the text."""
    return next(line(text, found.start()) for found in _TOKEN.finditer(text) if found[0] == word)


def _places(text: str) -> Iterator[tuple[str, int]]:
    """Each pointer of the text with the index where its key, or in an array its value, starts."""
    opened: list[_Open] = []
    for token in _TOKEN.finditer(text):
        word = token[0]
        inner = opened[-1] if opened else None
        if word in "}]":
            opened.pop()
        elif word == ",":
            assert inner is not None
            inner.awaits_key = True
            inner.at = inner.at + 1 if isinstance(inner.at, int) else inner.at
        elif word == ":":
            assert inner is not None
            inner.awaits_key = False
        elif inner is not None and inner.is_object and inner.awaits_key:
            inner.at = str(json.loads(word))
            yield inner.child, token.start()
        else:
            pointer = "" if inner is None else inner.child
            if inner is None or not inner.is_object:
                yield pointer, token.start()
            if word in "{[":
                opened.append(_Open(pointer, is_object=word == "{"))
