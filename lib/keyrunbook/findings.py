"""A finding is one statement: pass, fail, not checked or not checkable, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["pass", "fail", "not checked", "not checkable"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was checked (`statement`), how it came out, the `evidence`, and how to `mend` it.

    ``not checked`` is never a pass: the evidence says why nobody looked. ``not checkable`` is what
    no reading of AWS could tell, and why.
    """

    statement: str
    status: Status
    evidence: str
    mend: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The finding as the ledger holds it."""
        return asdict(self)


class Findings(list[Finding]):
    """The findings of a step, which show as a table in a notebook."""

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from keyrunbook.show.tables import findings_table

        return findings_table(self).mimebundle()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # IPython prints a kind of list as a list, whatever its MIME bundle says.
        printer.text(self._repr_mimebundle_()["text/plain"])

    def failed(self) -> Findings:
        """Those that failed."""
        return Findings(finding for finding in self if finding.status == "fail")
