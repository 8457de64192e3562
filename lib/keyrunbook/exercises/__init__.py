"""Nine exercises: each a real situation in an account of its own on the sandbox.

One notebook of ``notebooks/exercises/`` = one module here = one row of `LESSONS`, under one name.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

from keyrunbook.errors import ParameterError
from keyrunbook.exercises import (
    context_letter_case,
    disabled_key,
    half_revoked,
    lock_out,
    moved_alias,
    one_sided_grant,
    operator_cannot_create,
    trail_without_kms,
    whose_data_key,
)
from keyrunbook.exercises.account import fresh_account
from keyrunbook.exercises.exercise import Exercise, Lesson
from keyrunbook.show.errors import show_what_aws_said

LESSONS: Final[MappingProxyType[str, Lesson[Any]]] = MappingProxyType(
    {
        "01_one_sided_grant": one_sided_grant.LESSON,
        "02_context_letter_case": context_letter_case.LESSON,
        "03_lock_out": lock_out.LESSON,
        "04_half_revoked": half_revoked.LESSON,
        "05_operator_cannot_create": operator_cannot_create.LESSON,
        "06_whose_data_key": whose_data_key.LESSON,
        "07_disabled_key": disabled_key.LESSON,
        "08_trail_without_kms": trail_without_kms.LESSON,
        "09_moved_alias": moved_alias.LESSON,
    }
)


def open_exercise(name: str) -> Exercise[Any]:
    """Begin an exercise, by its notebook's name or number, in a fresh account of the sandbox.

    From here on the notebook shows what AWS refuses in AWS's words. Raises ParameterError for an
    unknown name, SandboxGone, Unreachable.
    """
    found = [one for one in LESSONS if name in (one, one[:2])]
    if not found:
        raise ParameterError(f"There is no exercise {name!r}.", f"There are {', '.join(LESSONS)}.")
    show_what_aws_said()
    return Exercise(found[0], LESSONS[found[0]], fresh_account())
