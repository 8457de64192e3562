"""What the runbook's calls cost on AWS: a dated table. AWS's own pages are what counts.

List prices in USD, without tax; those of a Region may differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

AS_OF: Final = "2026-11"
"""The month in which the table was made."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a call costs: `month_usd` from then on, `request_usd` for each use; `note` adds to it.

    None where it depends on what nobody here knows. `source` is AWS's page.
    """

    month_usd: Decimal | None
    request_usd: Decimal | None
    source: str
    note: str = ""

    def __str__(self) -> str:
        return ", ".join(filter(None, (_usd(self.month_usd, "a month"), self.note)))


NOTHING: Final = Price(Decimal(0), Decimal(0), "", "none")

_KMS: Final = "https://aws.amazon.com/kms/pricing/"

PRICES: Final = {
    "kms:CreateKey": Price(
        Decimal(1),
        Decimal("0.000003"),
        _KMS,
        "0.000003 USD a request after 20,000 in a month",
    ),
    "kms:ReplicateKey": Price(Decimal(1), Decimal("0.000003"), _KMS),
    "kms:EnableKeyRotation": Price(
        Decimal(0), Decimal(0), _KMS, "1 USD a month more after each of the first two rotations"
    ),
    "imagebuilder:CreateImage": Price(
        None,
        None,
        "https://aws.amazon.com/image-builder/faqs/",
        "EC2's prices for instance, volumes and snapshots while it builds",
    ),
}
"""By call. A call that is not here costs nothing: neither IAM nor Image Builder charges for it."""


def price_of(call: str) -> Price:
    """The price of a call, such as ``kms:CreateKey``."""
    return PRICES.get(call, NOTHING)


def together(calls: Iterable[str]) -> str:
    """The sum of some calls, in words, with its date and sources."""
    prices = [PRICES[call] for call in calls if call in PRICES]
    if not prices:
        return f"Costs nothing (prices of {AS_OF})."
    month = sum((price.month_usd or Decimal(0) for price in prices), Decimal(0))
    sources = ", ".join(dict.fromkeys(price.source for price in prices))
    more = "".join(f"; {price.note}" for price in dict.fromkeys(prices) if price.note)
    return f"In all {month} USD a month{more} (list prices of {AS_OF}: {sources})."


def _usd(amount: Decimal | None, per: str) -> str:
    return f"{amount} USD {per}" if amount else ""
