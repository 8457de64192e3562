from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from keyrunbook.execution.progress import LiveLines, PlainLines, progress_to
from keyrunbook.execution.result import RunError, RunResult, StepResult
from rich.console import Console

RESULT = RunResult(
    run_id="r1",
    target="sandbox",
    outputs="/o [x]/r1",
    status="running",
    pid=1,
    started="2026-01-01T00:00:00.000+00:00",
    steps=(StepResult("00_preflight", "not run"), StepResult("05_revoke_access", "not run")),
)
DONE = RESULT.with_step("00_preflight", status="done", seconds=1.25)
PROVED = replace(
    DONE.with_step("05_revoke_access", status="done", seconds=2.0),
    status="done",
    verdict="PROVED",
    key_arn="arn:k",
    events=("e1", "e2"),
    exit_status=0,
)


def shown(result: RunResult, *, terminal: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=200, highlight=False)
    progress = LiveLines(console) if terminal else PlainLines(console)
    progress.started(RESULT)
    progress.step(RESULT.with_step("00_preflight", status="running"), "00_preflight")
    progress.cell(2, 9, "Plan")
    step = result.step("00_preflight")
    progress.step_ended(result, step)
    progress.ended(result)
    return (
        re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue()) if terminal else stream.getvalue()
    )


def test_a_proved_run_on_the_sandbox_in_plain_lines() -> None:
    assert shown(PROVED).splitlines() == [
        "run r1 on the embedded sandbox, not AWS: nothing leaves this machine",
        "✓ 00_preflight           1.2 s",
        "",
        "✓ PROVED  On the embedded sandbox, not AWS: CloudTrail shows that this key, and Image "
        "Builder, protected this workflow.",
        "  key       arn:k",
        "  records   e1, e2",
        "  outputs   /o [x]/r1",
    ]


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(
    ("ran", "told"),
    [
        ("bd", ["– a", "✓ b", "– c", "✓ d"]),
        ("ab", ["✓ a", "✓ b", "– c", "– d"]),
        ("d", ["– a", "– b", "– c", "✓ d"]),
        ("", ["– a", "– b", "– c", "– d"]),
    ],
)
def test_steps_are_told_in_their_order(ran: str, told: list[str], terminal: bool) -> None:
    result = replace(RESULT, steps=tuple(StepResult(name, "skipped") for name in "abcd"))
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=200, color_system=None)
    progress = LiveLines(console) if terminal else PlainLines(console)
    progress.started(result)
    for name in ran:
        result = result.with_step(name, status="done", seconds=0.1)
        progress.step_ended(result, result.step(name))
    progress.ended(result)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue()).split("nothing leaves")[1]
    last = text.rsplit("\n\n", 1)[0].splitlines()[-4:]
    assert [line.strip("\r")[:3] for line in last] == told


@pytest.mark.parametrize("terminal", [False, True])
def test_every_ending_says_it_in_words(terminal: bool) -> None:
    refuted = replace(DONE, status="done", verdict="REFUTED", exit_status=1)
    assert "✗ REFUTED" in shown(refuted, terminal=terminal)
    assert "--steps 05 --run-id r1" in shown(refuted, terminal=terminal)
    not_yet = replace(refuted, verdict="NOT_YET")
    assert "? NOT_YET" in shown(not_yet, terminal=terminal)
    error = RunError("AwsRefused", "No [you] may not.", "Ask.", 5, "00_preflight", 4)
    failed = replace(
        RESULT.with_step("00_preflight", status="failed", seconds=1.0),
        status="failed",
        error=error,
    )
    told = shown(failed, terminal=terminal)
    assert "✗ Failed in 00_preflight, cell 4: No [you] may not.\n  Ask.\n" in told
    assert "not run" in told
    assert "✗ 00_preflight           1.0 s  failed" in told
    waiting = replace(failed, error=replace(error, type="ApprovalRequired", exit_status=4))
    told = shown(waiting, terminal=terminal)
    assert "? Waits for approval in 00_preflight, cell 4: No" in told
    assert "? 00_preflight           1.0 s  waits for approval" in told
    assert "✗" not in told
    short = replace(DONE, status="done")
    assert "These steps end before a verdict." in shown(short, terminal=terminal)


def test_a_failure_after_the_verdict_is_what_the_run_ends_with() -> None:
    error = RunError("CellFailed", "The figure broke.", "See it.", 5, "04_confirm_events", 20)
    told = shown(replace(PROVED, status="failed", exit_status=5, error=error))
    assert "✗ Failed in 04_confirm_events, cell 20: The figure broke." in told
    assert "verdict   PROVED, before that" in told
    assert "✓ PROVED" not in told


def test_an_endpoint_that_is_not_aws_is_told_on_the_target_aws_too() -> None:
    elsewhere = replace(PROVED, target="aws", endpoint_url="http://127.0.0.1:9")
    assert "At http://127.0.0.1:9, which is not AWS: CloudTrail" in shown(elsewhere)
    assert "✓ PROVED  CloudTrail shows" in shown(replace(PROVED, target="aws"))
    short = replace(elsewhere, verdict=None)
    assert "endpoint  http://127.0.0.1:9, which is not AWS" in shown(short)
    assert "which is not AWS" not in shown(replace(short, endpoint_url=None))


def test_the_terminal_shows_the_current_cell() -> None:
    stream = io.StringIO()
    lines = LiveLines(Console(file=stream, force_terminal=True, width=100))
    lines.started(RESULT)
    lines.step(RESULT.with_step("00_preflight", status="running"), "00_preflight")
    lines.cell(2, 9, "Plan the key")
    assert lines._live is not None
    lines._live.refresh()
    lines.ended(PROVED)
    assert "3/9 Plan the key" in stream.getvalue()


def test_a_pipe_gets_plain_lines() -> None:
    assert isinstance(progress_to(io.StringIO()), PlainLines)
