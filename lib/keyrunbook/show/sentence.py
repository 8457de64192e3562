"""One sentence, shown without quotation marks."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass(frozen=True, slots=True)
class Sentence:
    """A text that shows as such in a notebook."""

    text: str

    def __str__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {
            "text/plain": self.text,
            "text/html": f"<p><strong>{escape(self.text)}</strong></p>",
        }
