"""What stands until somebody ends it: a revocation, an emergency stop; by the lines of a ledger."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from keyrunbook.execution.progress import print_runs
from keyrunbook.execution.runs import summary
from keyrunbook.ledger import NAME, Ledger
from keyrunbook.steps import standing

Line = tuple[str, str, dict[str, Any]]
REVOCATION: Line = ("05_revoke", "revocation", {"by": "remove"})
RESTORED: Line = ("05_restore", "restored", {})
CLEANED_UP: Line = ("06_clean_up", "done", {})


def intent(call: str, step: str = "05_revoke") -> Line:
    return step, "intent", {"call": call}


def outcome(status: str, **more: Any) -> Line:
    return "05_revoke", "outcome", {"status": status, "gives": {}, **more}


CLOSED = [REVOCATION, intent("kms:PutKeyPolicy"), outcome("done")]
STOPPED = [intent("kms:DisableKey", "05_emergency_stop"), outcome("done")]
ENABLED = [intent("kms:EnableKey", "05_emergency_over"), outcome("done")]
REVOKED, DISABLED, MAYBE = "a revocation of", "the key is disabled", "the key may be disabled"

TABLE: list[tuple[str, list[Line], list[str]]] = [
    ("nothing", [], []),
    ("a revocation", CLOSED, [REVOKED]),
    ("one that nothing followed took nothing", [REVOCATION], []),
    ("one that was not answered may have", CLOSED[:2], [REVOKED]),
    ("given back", [*CLOSED, RESTORED], []),
    ("and taken again", [*CLOSED, RESTORED, *CLOSED], [REVOKED]),
    ("cleaned up since", [*CLOSED, CLEANED_UP], []),
    ("another step's key policy is none", [intent("kms:PutKeyPolicy", "02_grant_access")], []),
    ("an emergency stop", STOPPED, [DISABLED]),
    ("undone", [*STOPPED, *ENABLED], []),
    ("and stopped again", [*STOPPED, *ENABLED, *STOPPED], [DISABLED]),
    ("refused", [STOPPED[0], outcome("refused")], []),
    ("a second one refused", [*STOPPED, STOPPED[0], outcome("refused")], [DISABLED]),
    ("without an answer", STOPPED[:1], [MAYBE]),
    ("without one, so far", [STOPPED[0], outcome("unknown")], [MAYBE]),
    ("looked up", [STOPPED[0], outcome("unknown"), outcome("done", intent=1)], [DISABLED]),
    ("looked up, not made", [STOPPED[0], outcome("unknown"), outcome("not made", intent=1)], []),
    ("enabling it was refused", [*STOPPED, ENABLED[0], outcome("refused")], [DISABLED]),
    ("both", [*CLOSED, *STOPPED], [REVOKED, DISABLED]),
]


@pytest.mark.parametrize(("lines", "told"), [one[1:] for one in TABLE], ids=[t[0] for t in TABLE])
def test_what_stands(lines: list[Line], told: list[str], tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    ledger = Ledger(tmp_path / "x" / NAME)
    for step, kind, fields in lines:
        ledger.append(kind, step=step, time="2026-01-31T09:00:00.000+00:00", **fields)
    said = standing.told(ledger.entries(), "x", tmp_path)
    assert len(said) == len(told)
    assert all(text.startswith(start) for text, start in zip(said, told, strict=True))
    assert all(
        "2026-01-31T09:00:00Z" in text and f" x --outputs {tmp_path}" in text for text in said
    )
    if lines:
        listed = summary(tmp_path, "x")
        assert listed.standing == tuple(said)
        stream = io.StringIO()
        print_runs([listed], stream)
        assert stream.getvalue().rstrip().endswith("; ".join([listed.ended, *said]))
