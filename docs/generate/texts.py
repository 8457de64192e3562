"""Docstrings, as Markdown and as what autodoc reads."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from keyrunbook import ledger

_INLINE = re.compile(
    r"``(?P<double>[^`]+)``|`(?P<code>[^`]+)`"
    r"|(?P<as_it_is>https?://\S+[^\s.,;:)]|(?<![\w*])\*\w(?:[^*`]*\w)?\*(?![\w*]))"
)
_RST_SPECIAL = re.compile(r"([\\*_|`])")
_ITEM = re.compile(r"- ")
_OF_A_TUPLE = re.compile(r"Alias for field number \d+")
_ENTRY = re.compile(r" {4}(?=\S)")
_HEADING = re.compile(r"(?:Raises|Args|Returns|Yields|Undo):")


def ledger_lines() -> str:
    """What a ledger's lines are, by the docstring of the module that writes them."""
    return inspect.cleandoc(ledger.__doc__ or "").partition("\n\n")[2]


def restructured(lines: list[str]) -> list[str]:
    """A docstring as reStructuredText, whatever characters it holds.

    Docstrings here are plain text: paragraphs, lists with ``-``, code that is indented after an
    empty line or stands between backticks, and what is indented under ``Raises:`` and its like.
    """
    text = "\n".join(lines).strip("\n")
    if _OF_A_TUPLE.fullmatch(text):
        return []
    made: list[str] = []
    for block in re.split(r"\n{2,}", text):
        made += [*_block(block), ""]
    return made


def _block(block: str) -> Iterator[str]:
    if block.startswith("    "):
        yield from ("::", "", *(f"    {line}" for line in block.splitlines()))
        return
    paragraph: list[str] = []
    under_heading = False
    for line in block.splitlines():
        entry = under_heading and _ENTRY.match(line)
        if entry or _ITEM.match(line) or _HEADING.match(line) or line.startswith("Source:"):
            yield from _flushed(paragraph)
            paragraph = []
        paragraph.append(f"- {line.strip()}" if entry else line.strip())
        under_heading = bool(_HEADING.fullmatch(line)) or (under_heading and line.startswith(" "))
    yield from _flushed(paragraph)


def _flushed(paragraph: list[str]) -> Iterator[str]:
    if paragraph:
        yield from (_inline(" ".join(paragraph)), "")


def _inline(text: str) -> str:
    made, at = "", 0
    for match in _INLINE.finditer(text):
        made += _RST_SPECIAL.sub(r"\\\1", text[at : match.start()])
        at = match.end()
        code = match["double"] or match["code"]
        if code is None:
            made += match["as_it_is"]
            continue
        before = "\\ " if made and not made[-1].isspace() and made[-1] not in "-/'\"([{<" else ""
        after = "\\ " if text[at : at + 1].isalnum() else ""
        made += f"{before}``{code.strip()}``{after}"
    return made + _RST_SPECIAL.sub(r"\\\1", text[at:])
