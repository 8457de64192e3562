"""Where AWS has FIPS endpoints of the services that a run calls.

Asked for a FIPS endpoint, the AWS SDK makes up a host name in every Region, also where no such host
is. What it would call therefore proves nothing. Its table of endpoints names those that there are,
but has no row for Image Builder: of that one, AWS's own page tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import botocore.session

NAMES: Final[Mapping[str, str]] = {
    "imagebuilder": "EC2 Image Builder",
    "kms": "AWS KMS",
    "sts": "AWS STS",
    "cloudtrail": "AWS CloudTrail",
    "iam": "AWS IAM",
}
"""The services that a run calls."""

IMAGE_BUILDER: Final = frozenset(
    {
        "ca-central-1", "ca-west-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
        "us-gov-east-1", "us-gov-west-1",
    }
)  # fmt: skip
"""The Regions in which Image Builder has FIPS endpoints, as its page had them in 2026.

In AWS GovCloud (US) its ordinary endpoints are those, by the SDK's rules of endpoints.
Source: https://docs.aws.amazon.com/general/latest/gr/imagebuilder.html
"""


@cache
def regions() -> Mapping[str, frozenset[str]]:
    """The Regions in which each service has a FIPS endpoint."""
    table = botocore.session.Session().get_data("endpoints")
    by_table = {
        service: _by_table(table, service) for service in NAMES if service != "imagebuilder"
    }
    return {"imagebuilder": IMAGE_BUILDER, **by_table}


def _by_table(table: Mapping[str, Any], service: str) -> frozenset[str]:
    found: set[str] = set()
    for partition in table["partitions"]:
        known = partition["services"].get(service, {"endpoints": {}})
        with_fips = {name for name, one in known["endpoints"].items() if _has_fips(one)}
        if known.get("partitionEndpoint") in with_fips and not known.get("isRegionalized", True):
            with_fips = set(partition["regions"])  # one endpoint for all Regions
        found |= with_fips & set(partition["regions"])
    return frozenset(found)


def _has_fips(endpoint: Mapping[str, Any]) -> bool:
    return any("fips" in variant["tags"] for variant in endpoint.get("variants", ()))


def missing(region: str) -> list[str]:
    """The names of the services that have no FIPS endpoint in that Region."""
    return [name for service, name in NAMES.items() if region not in regions()[service]]


def told() -> str:
    """In words, the Regions in which all have one, and those of Image Builder."""
    everywhere = sorted(frozenset.intersection(*regions().values()))
    alone = sorted(IMAGE_BUILDER)
    return (
        f"all of {', '.join(NAMES.values())} have one in {', '.join(everywhere)}; "
        f"EC2 Image Builder itself in {', '.join(alone)}"
    )
