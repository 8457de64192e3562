"""Plain text, as it is in help texts and docstrings, as Markdown."""

from __future__ import annotations

import re

_CODE = re.compile(r"(``[^`]+``|`[^`]+`)")
_SPECIAL = re.compile(r"([\\*_{}\[\]<>#|$~^])")
_BULLET = re.compile(r"^(\s*[-+])(?=\s)", re.MULTILINE)


def escaped(text: str) -> str:
    """Text that means only itself, but for what stands between backticks, which is code."""
    parts = _CODE.split(text)
    return "".join(
        part if _CODE.fullmatch(part) else _BULLET.sub(r"\\\1", _SPECIAL.sub(r"\\\1", part))
        for part in parts
    )


def cell(text: str) -> str:
    """One line of Markdown, for a cell of a table."""
    return " ".join(text.split())
