"""Where JSON text may mention a word: a search of its bytes that never misses.

JSON has two spellings of a letter, a digit, a colon, a hyphen or a full stop: itself and
``\\u00XX``. So a text mentions a word only if it holds the word's own bytes, or an escape that
stands for one of its characters; every place of either is a hit. Hits may be false, and what they
are in is parsed; but where there is no hit there is no mention.

Source: https://www.rfc-editor.org/rfc/rfc8259#section-7
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import stringzilla

_PLAIN = re.compile(r"[A-Za-z0-9:.-]{4,}", re.ASCII)
_ESCAPE: Final = b"\\u00"
_ESCAPE_LENGTH: Final = 6


class Mention:
    """Finds where one of `words` may be mentioned. Letter case counts.

    Raises ValueError for no word, and for one that has other spellings in JSON than this module
    knows of, or is shorter than four characters.
    """

    def __init__(self, words: tuple[str, ...]) -> None:
        for word in words:
            if _PLAIN.fullmatch(word) is None:
                raise ValueError(
                    f"{word!r} cannot be searched for: four or more of A-Z a-z 0-9 : . - are needed"
                )
        if not words:
            raise ValueError("no word to search for")
        self.words = words
        self._words = tuple(word.encode() for word in words)
        self._codes = frozenset(f"{ord(c):02x}".encode() for word in words for c in word)
        self.overlap = max(_ESCAPE_LENGTH, *map(len, words)) - 1
        """How many bytes of a text must be searched again with those that follow."""

    def hits(self, text: memoryview, base: int = 0) -> list[int]:
        """Where a mention may begin, as offsets into `text` plus `base`, in no order."""
        found = [base + at for word in self._words for at in _places(text, word)]
        return found + [
            base + at
            for at in _places(text, _ESCAPE)
            if bytes(text[at + 4 : at + _ESCAPE_LENGTH]).lower() in self._codes
        ]

    def within(self, document: Mapping[str, Any]) -> bool:
        """Whether a parsed record does mention a word."""
        text = json.dumps(document, ensure_ascii=False)
        return any(word in text for word in self.words)


def _places(text: memoryview, what: bytes) -> list[int]:
    found = []
    at = stringzilla.find(text, what)
    while at >= 0:
        found.append(at)
        after = at + len(what)
        following = stringzilla.find(text[after:], what)
        at = after + following if following >= 0 else -1
    return found
