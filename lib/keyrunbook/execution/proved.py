"""The answer of `runbook prove`, for a person, a program and CI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from keyrunbook import junit
from keyrunbook.execution.result import EXIT_STATUS_OF_VERDICT
from keyrunbook.logs import Checked, Integrity
from keyrunbook.proof import NOT_READ, Outcome, Verdict
from keyrunbook.show.tables import findings_table, verdict_table
from keyrunbook.steps.confirm_events import conclusion, findings, records

NO, UNKNOWN = 1, 3
"""Exit statuses, as every command has them."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The verdict; what digests say of its files, None of a look-up; and what belongs beside it."""

    verdict: Verdict
    integrity: Checked | None
    notes: tuple[str, ...]
    require_integrity: bool

    @property
    def exit_status(self) -> int:
        """0 PROVED, 1 REFUTED or altered files, 3 NOT_YET or integrity required and not proven."""
        checked = None if self.integrity is None else self.integrity.integrity
        if self.verdict.outcome is Outcome.REFUTED or checked is Integrity.REFUTED:
            return NO
        if self.require_integrity and checked is not Integrity.PROVEN:
            return UNKNOWN
        return EXIT_STATUS_OF_VERDICT[self.verdict.outcome.value]

    def text(self) -> str:
        """The proof, for a person."""
        verdict = self.verdict
        parts = [
            verdict_table(verdict).text(),
            records(verdict).text(),
            conclusion(verdict, "ask again").text,
            findings_table(findings(verdict)).text(),
            *([] if self.integrity is None else [self.integrity.sentence]),
            *([f"Not searched in full: {why}"] if (why := self._why_incomplete()) else []),
            *(f"Malformed: {one}" for one in verdict.searched.malformed),
            *(f"Note: {note}" for note in self.notes),
        ]
        return "\n\n".join(parts)

    def _why_incomplete(self) -> str:
        # What is proved needs no more; that files do not reach to this moment is as usual then.
        proved = self.verdict.outcome is Outcome.PROVED
        return "" if proved else self.verdict.searched.why_incomplete

    def to_dict(self) -> dict[str, Any]:
        """The proof, for a program."""
        claim, searched = self.verdict.claim, self.verdict.searched
        allowed = claim.permitted_principals
        return {
            "claim": {
                "workflow_arn": claim.workflow_build_arn,
                "key_arn": claim.key_arn,
                "created": claim.created.isoformat(),
                "account": claim.account,
                "region": claim.region,
                "get_workflow": "not read" if claim.kms_key_id is NOT_READ else "read",
                "kms_key_id": claim.kms_key_id if isinstance(claim.kms_key_id, str) else None,
                "permitted_principals": None if allowed is None else list(allowed),
                "claimed": "readable" if claim.only_readable else "both",
            },
            "verdict": self.verdict.to_dict(),
            "integrity": None if self.integrity is None else self.integrity.to_dict(),
            "why_incomplete": searched.why_incomplete,
            "malformed": [str(one) for one in searched.malformed],
            "notes": list(self.notes),
            "exit_status": self.exit_status,
        }

    def junit(self) -> str:
        """The proof as JUnit XML: a case for each clause that is claimed, and for the integrity.

        A refuted one is a failure, one that is not known yet is skipped.
        """
        claim = self.verdict.claim
        said: list[tuple[str, str, str]] = [
            (clause.name, clause.outcome.value, clause.reason)
            for clause in self.verdict.clauses
            if clause.name == "readable" or not claim.only_readable
        ]
        if self.integrity is not None:
            said.append(("integrity", self.integrity.integrity.value, self.integrity.sentence))
        cases = [
            junit.Case(claim.workflow_build_arn, name, _JUNIT.get(outcome), f"{outcome}: {reason}")
            for name, outcome, reason in said
        ]
        return junit.suite("runbook prove", cases)


_JUNIT: Final[Mapping[str, Literal["failure", "skipped"]]] = {
    Outcome.REFUTED.value: "failure",
    Outcome.NOT_YET.value: "skipped",
    Integrity.REFUTED.value: "failure",
    Integrity.NOT_PROVEN.value: "skipped",
}
