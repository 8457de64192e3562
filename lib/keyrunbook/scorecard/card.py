"""The scorecard: every recommendation with its finding, and the inventory of encryption."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from keyrunbook import junit
from keyrunbook.findings import Finding, Findings
from keyrunbook.scorecard.encryption import Entry, inventory
from keyrunbook.scorecard.facts import Facts
from keyrunbook.scorecard.rules import RECOMMENDATIONS, Recommendation

NO, UNKNOWN = 1, 3
"""Exit statuses, as every command has them."""


@dataclass(frozen=True, slots=True)
class Row:
    """A recommendation, and how it came out."""

    recommendation: Recommendation
    finding: Finding

    @property
    def name(self) -> str:
        """The recommendation's name: ``tls.required``."""
        return self.recommendation.name

    def to_dict(self) -> dict[str, Any]:
        """As ``--json`` and the ledger have it."""
        one = self.recommendation
        return {
            "name": one.name,
            "level": one.level,
            "page": one.says,
            **self.finding.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class Scorecard:
    """All rows in the page's order, the inventory, and whom was asked: "" for AWS itself."""

    rows: Sequence[Row]
    inventory: Sequence[Entry]
    place: str
    not_aws: str = ""

    @property
    def findings(self) -> Findings:
        """The findings alone."""
        return Findings(row.finding for row in self.rows)

    def count(self, status: str, level: str | None = None) -> int:
        """How many came out so."""
        return sum(
            row.finding.status == status and level in (None, row.recommendation.level)
            for row in self.rows
        )

    @property
    def exit_status(self) -> int:
        """1 where a finding of level error failed, else 3 where one was not checked, else 0.

        What nobody can check does not count; nor does a warning, but that it was not checked.
        """
        if self.count("fail", "error"):
            return NO
        return UNKNOWN if self.count("not checked", "error") else 0

    @property
    def summary(self) -> str:
        """How many came out how, in words."""
        found = Counter(row.finding.status for row in self.rows)
        failed = self.count("fail", "error"), self.count("fail", "warning")
        words = [f"{found['pass']} pass"]
        words.append(f"{found['fail']} fail ({failed[0]} of level error, {failed[1]} warnings)")
        words += [f"{found[one]} {one}" for one in ("not checked", "not checkable")]
        return ", ".join(words)

    @property
    def title(self) -> str:
        """What it is of, and whom was asked where that is not AWS."""
        return f"Data protection: {self.place}" + (f" ({self.not_aws})" if self.not_aws else "")

    def to_dict(self) -> dict[str, Any]:
        """The scorecard, for a program."""
        return {
            "place": self.place,
            "not_aws": self.not_aws or None,
            "findings": [row.to_dict() for row in self.rows],
            "inventory": [entry.to_dict() for entry in self.inventory],
            "summary": self.summary,
            "exit_status": self.exit_status,
        }

    def junit(self) -> str:
        """As JUnit XML: a failed error is a failure; a failed warning, and the rest, is skipped."""
        return junit.suite("runbook preflight", map(_case, self.rows))

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from keyrunbook.show.scorecard import picture

        return picture(self).mimebundle()

    def table(self) -> Any:
        """The recommendations as a table (`keyrunbook.show.tables.Table`)."""
        from keyrunbook.show.scorecard import table

        return table(self)

    def encrypted_with(self) -> Any:
        """The inventory as a table."""
        from keyrunbook.show.scorecard import inventory_table

        return inventory_table(self)


_NOT_A_PASS: Final = ("fail", "not checked", "not checkable")


def _case(row: Row) -> junit.Case:
    found = row.finding
    if found.status not in _NOT_A_PASS:
        return junit.Case("data-protection", row.name)
    message = f"{found.status}: {found.statement}: {found.evidence}"
    if found.status == "fail" and row.recommendation.level == "error":
        return junit.Case("data-protection", row.name, "failure", message)
    level = row.recommendation.level
    return junit.Case("data-protection", row.name, "skipped", f"{level}, {message}")


def judge(facts: Facts, place: str, not_aws: str = "") -> Scorecard:
    """The scorecard of facts; `place` names account and Region, `not_aws` another endpoint."""
    rows = [Row(one, one.finding(facts)) for one in RECOMMENDATIONS]
    return Scorecard(rows, inventory(facts), place, not_aws)
