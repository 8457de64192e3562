"""Errors: what happened, what to do, and with which status the command ends."""

from __future__ import annotations

import pytest
from keyrunbook import errors
from keyrunbook.errors import AwsRefused, RunbookError

STATUS: dict[type[RunbookError], int] = {
    errors.RunbookError: 5,
    errors.ParameterError: 2,
    errors.LedgerDamaged: 1,
    errors.RunBusy: 5,
    errors.StepMissing: 2,
    errors.ApprovalRequired: 4,
    errors.ReadOnly: 4,
    errors.LockOut: 5,
    errors.AwsRefused: 5,
    errors.Unreachable: 5,
    errors.CredentialsMissing: 5,
    errors.PlanStale: 5,
    errors.OutcomeUnknown: 5,
    errors.OutputsNotWritable: 5,
    errors.SandboxGone: 5,
    errors.StepFailed: 5,
}


def test_every_error_has_its_status_in_the_table() -> None:
    defined = {
        one
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, RunbookError)
    }
    assert {one: one.exit_status for one in defined} == STATUS


@pytest.mark.parametrize("kind", list(STATUS))
def test_an_error_says_what_and_what_to_do(kind: type[RunbookError]) -> None:
    error = kind("It broke.", "Mend it.")
    assert str(error).split() == ["It", "broke.", "Mend", "it."]
    assert error.to_dict() == {
        "type": kind.__name__,
        "what": "It broke.",
        "fix": "Mend it.",
        "exit_status": STATUS[kind],
    }
    assert error._render_traceback_() == [f"{kind.__name__}: It broke.", "  → Mend it."]


def test_a_refusal_keeps_aws_s_code() -> None:
    error = AwsRefused("x", "y", code="AccessDeniedException", operation="CreateKey")
    assert (error.code, error.operation) == ("AccessDeniedException", "CreateKey")
