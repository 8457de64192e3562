"""Which steps a run executes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keyrunbook.errors import ParameterError

CONFIRM = "04_confirm_events"


@dataclass(frozen=True, slots=True)
class Selection:
    """Step names in the runbook's order.

    `by_name`: somebody asked for exactly these. Otherwise those after the proof wait for PROVED.
    """

    steps: tuple[str, ...]
    by_name: bool

    def after_proof(self, name: str) -> bool:
        """True for the steps that undo what the run was for."""
        return name > CONFIRM


def united(earlier: Selection | None, now: Selection) -> Selection:
    """What a run is gone on with: the steps that it was begun with, and those that came to it.

    Doing one of them again, by its name, gives up none of the others.
    """
    if earlier is None:
        return now
    more = set(now.steps) - set(earlier.steps)
    steps = tuple(sorted({*earlier.steps, *now.steps}))
    return Selection(steps, now.by_name if more else earlier.by_name)


def default_selection(target: str, steps: Sequence[str]) -> Selection:
    """All of `steps` on the sandbox; on AWS up to the proof, because the rest undoes it."""
    chosen = steps if target == "sandbox" else [name for name in steps if name <= CONFIRM]
    return Selection(tuple(chosen), by_name=False)


def parse_selection(text: str, steps: Sequence[str]) -> Selection:
    """Reads `00..04`, `00,02`, `03`, `01_create_key` or a mixture such as `00,02..04`.

    Raises:
        ParameterError: a step that is not there, a range or list that runs backwards, a step twice.
    """
    chosen: list[str] = []
    for part in text.split(","):
        first, dots, last = part.strip().partition("..")
        low = _index(first.strip(), steps, text)
        high = _index(last.strip(), steps, text) if dots else low
        if high < low:
            raise _wrong(text, f"the range {part.strip()!r} runs backwards", steps)
        for name in steps[low : high + 1]:
            if name in chosen:
                raise _wrong(text, f"step {name[:2]} is named twice", steps)
            if chosen and name < chosen[-1]:
                raise _wrong(text, f"{name[:2]} comes after {chosen[-1][:2]}", steps)
            chosen.append(name)
    return Selection(tuple(chosen), by_name=True)


def _index(word: str, steps: Sequence[str], text: str) -> int:
    matches = [i for i, name in enumerate(steps) if word in (name, name.partition("_")[0])]
    if len(matches) != 1:
        what = f"there is no step {word!r}" if word else "a step's number is missing"
        raise _wrong(text, what, steps)
    return matches[0]


def _wrong(text: str, what: str, steps: Sequence[str]) -> ParameterError:
    first, last = steps[0][:2], steps[-1][:2]
    return ParameterError(
        f"--steps {text}: {what}.",
        f"Steps are {first} to {last} and run in that order: "
        f"write one ({first}), a range ({first}..{last}) or a list ({first},{last}).",
    )
