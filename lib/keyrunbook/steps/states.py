"""How each step of a run stands, by the lines of its ledger: done, next, open or blocked, and why.

Nothing is asked of AWS, and nothing is read: the entries are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from keyrunbook.show.map import State, StepState
from keyrunbook.steps import NEEDS, STEPS

Entry = Mapping[str, Any]

_PROOF: Final = "04_confirm_events"
_FINISHED: Final = f"The run is finished: {STEPS[-1]} has removed what it made."


def states(entries: Sequence[Entry], elsewhere: str = "") -> tuple[StepState, ...]:
    """The seven steps of a run. `elsewhere`: why it cannot go on here; "" where it can.

    The next step is the first that can be done after the last that is done. A proof that is not
    there yet can be done again.
    """
    done = {one["step"] for one in entries if one["kind"] == "done"}
    verdicts = [one["verdict"] for one in entries if one["kind"] == "verdict"]
    if verdicts[-1:] == ["NOT_YET"]:
        done.discard(_PROOF)
    found = [_state(step, done, verdicts, entries, elsewhere) for step in STEPS]
    last = max((at for at, one in enumerate(found) if one.state is State.DONE), default=-1)
    ready = [at for at, one in enumerate(found) if one.state is State.OPEN]
    if ready:
        at = next((one for one in ready if one > last), ready[0])
        found[at] = StepState(found[at].step, State.NEXT, found[at].why)
    return tuple(found)


def _state(
    step: str, done: set[str], verdicts: Sequence[str], entries: Sequence[Entry], elsewhere: str
) -> StepState:
    needed = NEEDS[step]
    if step in done:
        if step == _PROOF and verdicts:
            return StepState(step, State.DONE, f"The verdict is {verdicts[-1]}.", verdicts[-1])
        return StepState(step, State.DONE)
    if STEPS[-1] in done:
        return StepState(step, State.BLOCKED, _FINISHED)
    if elsewhere:
        return StepState(step, State.BLOCKED, elsewhere)
    if needed is not None and needed not in done:
        return StepState(step, State.BLOCKED, f"{needed} has to be done first.")
    return StepState(step, State.OPEN, _last_attempt(step, verdicts, entries))


def _last_attempt(step: str, verdicts: Sequence[str], entries: Sequence[Entry]) -> str:
    """Why the step is not done although somebody began it; "" where nobody did."""
    if step == _PROOF and verdicts:
        return "The verdict was NOT YET: look again."
    for one in reversed([one for one in entries if one["step"] == step]):
        if one["kind"] == "error":
            return f"The last attempt ended early: {one['what']}"
        if one["kind"] == "findings":
            failed = [finding for finding in one["findings"] if finding["status"] == "fail"]
            return " ".join(f"Failed: {finding['statement']}." for finding in failed)
    return ""
