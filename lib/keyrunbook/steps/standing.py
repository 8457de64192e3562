"""What of a run stands until somebody ends it: a revocation, an emergency stop. By its ledger.

Nothing is asked of AWS: what somebody did there by other means since does not show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from keyrunbook.ledger import DONE, UNKNOWN
from keyrunbook.parameters import outputs_words
from keyrunbook.steps import STEPS

Entry = Mapping[str, Any]

CLOSES: Final = {"kms:PutKeyPolicy", "iam:DeleteRolePolicy", "kms:RevokeGrant"}
"""The calls by which a revocation closes paths."""
REVOKES: Final = "05"
"""The number that the steps have which revoke: the notebook's, and the commands'."""


def closing(entries: Iterable[Entry]) -> list[int]:
    """The lines that hold the intent of a call by which paths are closed."""
    return [
        one["n"]
        for one in entries
        if one["kind"] == "intent" and one["call"] in CLOSES and one["step"].startswith(REVOKES)
    ]


def revocations(entries: Sequence[Entry]) -> list[Entry]:
    """The lines of the newest revocations that changed something, or tried to.

    One that nothing followed took nothing.
    """
    closed = closing(entries)
    lines = [one for one in entries if one["kind"] in ("revocation", "restored")]
    rounds: list[Entry] = []
    ended = False
    for one, following in zip_longest(lines, lines[1:]):
        if one["kind"] == "restored":
            ended = True
        elif any(one["n"] < n and (not following or n < following["n"]) for n in closed):
            rounds = [*([] if ended else rounds), one]
            ended = False
    return rounds


def open_revocation(entries: Sequence[Entry]) -> Entry | None:
    """The newest revocation that has changed something and is not given back, or None."""
    begun = revocations(entries)
    ended = [one["n"] for one in entries if one["kind"] == "restored"]
    return None if not begun or any(n > begun[-1]["n"] for n in ended) else begun[-1]


def told(entries: Sequence[Entry], run_id: str, outputs: Path | None) -> list[str]:
    """What stands, and the command that ends it: sentences without a full stop.

    `outputs` is the folder of the runs, which the command may have to be told of; None for a
    reader on another machine.
    """
    which = f"{run_id}{outputs_words(outputs)}"
    said = []
    revoked = open_revocation(entries)
    gone = max((one["n"] for one in entries if _ends_with(one, STEPS[-1])), default=0)
    if revoked is not None and revoked["n"] > gone:
        since = _clock(revoked)
        said.append(f"a revocation of {since} stands (runbook restore {which} gives back)")
    if (stop := _stop(entries)) is not None:
        intent, sure = stop
        how, undo = "is" if sure else "may be", f"runbook emergency-stop {which} --undo"
        said.append(f"the key {how} disabled since {_clock(intent)} ({undo} enables it)")
    return said


def _ends_with(entry: Entry, step: str) -> bool:
    return bool(entry["kind"] == "done" and entry["step"] == step)


def _stop(entries: Iterable[Entry]) -> tuple[Entry, bool] | None:
    """The intent of the DisableKey that no EnableKey followed, and whether it was carried out."""
    intents: dict[int, Entry] = {}
    newest = 0
    stop: tuple[Entry, bool] | None = None
    before: tuple[Entry, bool] | None = None
    for one in entries:
        if one["kind"] == "intent":
            newest = one["n"]
            intents[newest] = one
            if one["call"] == "kms:DisableKey":
                before, stop = stop, (one, False)
        elif one["kind"] == "outcome" and one["status"] != UNKNOWN:
            intent = intents[one.get("intent", newest)]
            if intent["call"] == "kms:EnableKey" and one["status"] == DONE:
                stop = None
            elif stop is not None and intent["n"] == stop[0]["n"]:
                stop = (intent, True) if one["status"] == DONE else before
    return stop


def _clock(entry: Entry) -> str:
    return str(entry["time"])[:19] + "Z"
