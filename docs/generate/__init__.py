"""What the site says about the code, made from the code: Markdown, by pure functions.

A page asks for it by a comment of its own line, such as ``<!-- commands -->``; `PARTS` names them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from generate.commands import commands, statuses
from generate.model import parameters
from generate.notebooks import exercises, first_picture, notebooks
from generate.texts import ledger_lines

PARTS: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "exit statuses": statuses,
    "exercises": exercises,
    "first picture": first_picture,
    "ledger lines": ledger_lines,
    "notebooks": notebooks,
    "parameters": parameters,
}

_COMMENT = re.compile(r"^<!-- ([a-z ]+) -->$", re.MULTILINE)
_ADDRESS = re.compile(r"(?<=\| )https://(\S+)(?= \|)")


def filled(page: str) -> str:
    """The page, with each comment that names a part replaced by it.

    Raises KeyError for a comment that names none.
    """
    return _COMMENT.sub(lambda comment: PARTS[comment[1]](), page)


def linked(page: str) -> str:
    """The page, in which addresses that fill a cell of a table are links."""
    return _ADDRESS.sub(r"[\1](https://\1)", page)
