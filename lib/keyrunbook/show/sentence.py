"""One sentence, shown without quotation marks."""

from __future__ import annotations

from html import escape
from typing import Any


class Sentence(str):
    """A text that shows as such in a notebook."""

    __slots__ = ()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": f"<p><strong>{escape(self)}</strong></p>"}
