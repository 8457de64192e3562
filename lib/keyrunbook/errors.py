"""What can go wrong in a run, each with a sentence for a person and an exit status for a program.

Every error says what happened and what to do next. In a notebook it shows as one message without
a traceback, and still fails the cell, so that papermill exits non-zero.
"""

from __future__ import annotations

from typing import Any, ClassVar


class RunbookError(Exception):
    """A run cannot go on. `what` happened, and the `fix` that lets it go on: a line each as text.

    `exit_status` is the status that the `runbook` command ends with.
    """

    exit_status: ClassVar[int] = 5

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}\n{fix}")
        self.what = what
        self.fix = fix

    def to_dict(self) -> dict[str, Any]:
        """The error as the ledger and ``result.json`` hold it."""
        return {
            "type": type(self).__name__,
            "what": self.what,
            "fix": self.fix,
            "exit_status": self.exit_status,
        }

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback."""
        return [f"{type(self).__name__}: {self.what}", f"  → {self.fix}"]


class ParameterError(RunbookError):
    """A parameter or an input file is wrong; `what` names it, its value and what is valid."""

    exit_status = 2


class LedgerDamaged(ParameterError):
    """A ledger is not as it was written; `what` names the file and the line."""

    exit_status = 1


class RunBusy(RunbookError):
    """Another process is applying a step of the same run."""


class PlanStale(RunbookError):
    """A plan was made before something else was changed for the run; nothing of it was applied."""


class OutcomeUnknown(RunbookError):
    """Whether AWS carried out a call is not known, and looking it up does not tell."""


class StepMissing(RunbookError):
    """A step was opened before a step that it needs."""

    exit_status = 2


class ApprovalRequired(RunbookError):
    """A plan would change AWS and nobody has approved it."""

    exit_status = 4


class ReadOnly(RunbookError):
    """Something would have to change, and the run may only read; nothing was changed."""

    exit_status = 4


class LockOut(RunbookError):
    """A planned key policy would leave its operator unable to change it again; it was not sent."""


class AwsRefused(RunbookError):
    """AWS answered with an error. `code` is AWS's error code, `operation` the call."""

    def __init__(self, what: str, fix: str, *, code: str = "", operation: str = "") -> None:
        super().__init__(what, fix)
        self.code = code
        self.operation = operation


class Unreachable(RunbookError):
    """The endpoint did not answer."""


class CredentialsMissing(RunbookError):
    """The AWS SDK's credential chain found nothing, or what it found has expired."""


class OutputsNotWritable(RunbookError):
    """The folder of a run cannot be made or written."""


class SandboxGone(RunbookError):
    """The sandbox that a run was made on is not running any more."""


class StepFailed(RunbookError):
    """A step ended without what it is for."""
