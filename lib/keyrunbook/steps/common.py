"""What the steps share: where a run is, and how findings are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from keyrunbook.aws.refusals import code_of
from keyrunbook.findings import Finding, Findings
from keyrunbook.plan import Plan

if TYPE_CHECKING:
    from keyrunbook.session import Run


@dataclass(frozen=True, slots=True)
class Forecast:
    """All that a step would change from now to its end, and the facts that it would leave."""

    plan: Plan
    leaves: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run works, as plans need it: values only."""

    run_id: str
    account: str
    partition: str
    region: str
    target: str
    tags: dict[str, str]


def place(run: Run) -> Place:
    """The run's place."""
    who = run.identity
    return Place(run.run_id, who.account, who.partition, run.region, run.target, run.tags)


def is_central(key_arn: str, where: Place) -> bool:
    """Whether the key is of another account than the one that the run works in."""
    account = key_arn.split(":")[4:5]
    return account not in ([], [where.account])  # a symbol stands for a key of the run's own


def keep(run: Run, findings: list[Finding]) -> Findings:
    """Write the findings into the ledger; with no failure among them the step is done."""
    kept = Findings(findings)
    run.record("findings", findings=[finding.to_dict() for finding in kept])
    if not kept.failed():
        run.done()
    return kept


def or_none(call: Callable[[], Any], *codes: str) -> Any:
    """What `call` answers, or None when AWS refuses it with one of these error `codes`."""
    try:
        return call()
    except ClientError as error:
        if code_of(error) in codes:
            return None
        raise


def passed(statement: str, holds: bool, evidence: str, mend: str = "") -> Finding:
    """A finding of a statement that was looked at."""
    return Finding(statement, "pass" if holds else "fail", evidence, "" if holds else mend)
