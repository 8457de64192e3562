"""Whether a pattern with wildcards could match anything of a form at all."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

Form = Sequence[tuple[str | None, bool]]
"""Letters that may stand at each place (None: any), and whether they may be repeated, or none."""

_LOWER = string.ascii_lowercase + "-"
_WORDS = string.ascii_letters + string.digits + "-"


def exactly(text: str) -> Form:
    """The form of one text."""
    return [(letter, False) for letter in text]


def _some(letters: str) -> Form:
    return [(letters, False), (letters, True)]


def key_arn(account: str | None = None) -> Form:
    """The form of a KMS key's ARN, in any Region; of one account where it is given.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html
    """
    return [
        *exactly("arn:"),
        *_some(_LOWER),
        *exactly(":kms:"),
        *_some(_LOWER + string.digits),
        *exactly(":"),
        *(exactly(account) if account else [(string.digits, False)] * 12),
        *exactly(":key/"),
        *_some(_WORDS),
    ]


def could_match(pattern: str, form: Form) -> bool:
    """Whether `*` (any letters) and `?` (one) can be filled so that the form is met.

    A policy variable stands for anything.
    """
    pattern = re.sub(r"\$\{[*?$]\}", "\\\\", re.sub(r"\$\{[^}*?$]+[^}]*\}", "*", pattern))
    seen: set[tuple[int, int]] = set()
    states = [(0, 0)]
    while states:
        at, place = state = states.pop()
        if state in seen:
            continue
        seen.add(state)
        if state == (len(pattern), len(form)):
            return True
        letter = pattern[at : at + 1]
        if letter == "*":
            states.append((at + 1, place))
        if place == len(form):
            continue
        letters, repeated = form[place]
        if repeated or letter == "*":
            states.append((at, place + 1))
        if letter and letter != "*" and (letter == "?" or letters is None or letter in letters):
            states.append((at + 1, place if repeated else place + 1))
    return False
