"""Where each value of a JSON text stands: its line, by JSON pointer (RFC 6901)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from json import JSONDecoder

_SPACE = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r"[^,\]}\s]+")
_read = JSONDecoder().raw_decode


def lines(text: str) -> Mapping[str, int]:
    """The line, from 1, on which each value begins; `""` is the whole.

    `text` is JSON that `json.loads` takes. Raises RecursionError where that would.
    """
    starts: dict[str, int] = {}
    _value(text, 0, "", starts)
    ends = [at for at, letter in enumerate(text) if letter == "\n"]
    found, line = {}, 0
    for pointer, start in sorted(starts.items(), key=lambda pair: pair[1]):
        while line < len(ends) and ends[line] < start:
            line += 1
        found[pointer] = line + 1
    return found


def line_of(places: Mapping[str, int], pointer: str) -> int:
    """The line of a pointer, or of the nearest value around it that is there."""
    while pointer not in places and pointer:
        pointer = pointer.rpartition("/")[0]
    return places.get(pointer, 1)


def escape(token: str) -> str:
    """A reference token of a JSON pointer."""
    return token.replace("~", "~0").replace("/", "~1")


def _value(text: str, at: int, pointer: str, starts: dict[str, int]) -> int:
    """Note where the value at `at` begins, and those in it; return where it ends."""
    at = _skip(text, at)
    starts[pointer] = at
    letter = text[at : at + 1]
    if letter == '"':
        return _read(text, at)[1]
    if letter not in ("{", "["):
        scalar = _SCALAR.match(text, at)
        return scalar.end() if scalar else at
    closing, at, index = {"{": "}", "[": "]"}[letter], _skip(text, at + 1), 0
    while text[at : at + 1] not in (closing, ""):
        name = str(index)
        if letter == "{":
            name, at = _read(text, at)
            at = _skip(text, at) + 1  # the colon
        at = _skip(text, _value(text, at, f"{pointer}/{escape(name)}", starts))
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        index += 1
    return at + 1


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at
