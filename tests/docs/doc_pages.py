"""The pages of the site as the tests see them, and what makes parts of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from keyrunbook.parameters import project_dir

DOCS = project_dir() / "docs"
if str(DOCS) not in sys.path:
    sys.path.insert(0, str(DOCS))  # where `generate` is, as for Sphinx

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code: `kind` is what stands behind the backticks, `line` where, from 1."""

    kind: str
    code: str
    page: str
    line: int

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """The pages that are written by hand and have code for readers to use."""
    folders = ("how-to", "explanation", "reference", "tutorial")
    found = [path for folder in folders for path in DOCS.glob(f"{folder}/*.md")]
    found += [*DOCS.glob("reference/python/*.md"), DOCS / "index.md", DOCS / "training.md"]
    return sorted(path.relative_to(DOCS).as_posix() for path in found)


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def blocks(text: str, page: str = "") -> Iterator[Block]:
    """The blocks of code of a page; directives, such as toctree, are none."""
    for match in _FENCE.finditer(text):
        if match[1].startswith("{"):
            continue
        line = text.count("\n", 0, match.start()) + 1
        yield Block(match[1].strip(), match[2], page, line)


def blocks_of(*kinds: str) -> list[Block]:
    """The blocks of these kinds, of all pages."""
    return [
        block for page in pages() for block in blocks(text_of(page), page) if block.kind in kinds
    ]
