"""Whether a trail keeps the events of KMS, as a finding. Trails are read, and never changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from keyrunbook.aws.trails import Trail, lacks, read_trails, refusal
from keyrunbook.findings import Finding
from keyrunbook.records import KMS

if TYPE_CHECKING:
    from keyrunbook.session import Run

STATEMENT: Final = "A trail keeps the events of KMS"
REMAINS: Final = "Event history has KMS's events of the last 90 days, and then they are gone"


def finding(run: Run) -> Finding:
    """Read the trails that cover the run's Region, and judge them."""
    try:
        trails = read_trails(run.clients)
    except ClientError as error:
        return Finding(STATEMENT, "not checked", refusal("DescribeTrails", error))
    return judge(trails)


def judge(trails: Sequence[Trail]) -> Finding:
    """The finding on the trails that cover a Region."""
    if not trails:
        return Finding(STATEMENT, "not checked", f"there is no trail; {REMAINS}")
    lacking = {trail.name: lacks(trail, KMS) for trail in trails if trail.refused is None}
    keeping = [name for name, lack in lacking.items() if lack is None]
    if keeping:
        return Finding(STATEMENT, "pass", ", ".join(keeping))
    refused = next((trail for trail in trails if trail.refused is not None), None)
    if refused is not None:
        return Finding(STATEMENT, "not checked", f"{refused.name}: {refused.refused}")
    return Finding(
        STATEMENT,
        "fail",
        "; ".join(f"{name} {lack}" for name, lack in lacking.items()),
        f"{REMAINS}. To keep them, have a trail log, and select, KMS's management events.",
    )
