"""What each Image Builder resource is encrypted with, as an inventory. Pure.

Image Builder encrypts with a key that the service owns, unless a resource names another; custom
components without one are under the account's default key or a service-owned one: AWS's page
leaves open which. Volumes without one follow EC2's default.
Sources: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html and
https://docs.aws.amazon.com/ebs/latest/userguide/encryption-by-default.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from keyrunbook.scorecard.facts import Facts, NotRead, Part, Resource
from keyrunbook.scorecard.resources import (
    COMPONENT,
    DISTRIBUTION,
    IMAGE_BUILDER,
    INFRASTRUCTURE,
)

CUSTOMER = "customer managed key"
SERVICE_OWNED = "service-owned key"
AWS_MANAGED = "AWS managed key"
DEFAULT_OR_SERVICE = "default key or service-owned key"
DEFAULT = "default key"
OF_THE_VOLUME = "as the image's volumes"
NOTHING = "not encrypted"
UNKNOWN = "not known"

_AWS_ALIAS: Final = ":alias/aws/"


@dataclass(frozen=True, slots=True)
class Entry:
    """One part of one resource: what it is encrypted with, and by which words that is known."""

    kind: str
    arn: str
    part: str
    encrypted_with: str
    because: str

    def to_dict(self) -> dict[str, Any]:
        """As ``--json`` has it."""
        return {
            "kind": self.kind,
            "arn": self.arn,
            "part": self.part,
            "encrypted_with": self.encrypted_with,
            "because": self.because,
        }


def inventory(facts: Facts) -> tuple[Entry, ...]:
    """Every part of every Image Builder resource that was read, and what was not read."""
    entries = [
        Entry(one.kind, one.arn, part.name, *_judged(facts, one, part))
        for one in facts.resources.of(*IMAGE_BUILDER)
        for part in one.parts
    ]
    entries += [
        Entry("not read", one.what, "", UNKNOWN, str(one.why))
        for one in facts.resources.missing(*IMAGE_BUILDER)
    ]
    return tuple(entries)


def counted(entries: tuple[Entry, ...]) -> str:
    """How many parts are under which kind of key, in words."""
    found = Counter(one.encrypted_with for one in entries)
    return ", ".join(f"{number} {what}" for what, number in sorted(found.items())) or "none"


def _judged(facts: Facts, resource: Resource, part: Part) -> tuple[str, str]:
    if part.key is not None:
        return _named(facts.key_managers, part.key)
    if part.name.startswith("volume "):
        return _volume(facts, part)
    if resource.kind == DISTRIBUTION and part.name.startswith("AMIs in "):
        return OF_THE_VOLUME, "the distribution names no key"
    if resource.kind == COMPONENT:
        return DEFAULT_OR_SERVICE, "it names no key; AWS's page leaves open which of the two"
    if resource.kind == INFRASTRUCTURE:
        return SERVICE_OWNED, "Image Builder's default; it takes no key of yours"
    return SERVICE_OWNED, "Image Builder's default; it names no key"


def _named(managers: Mapping[str, str], key: str) -> tuple[str, str]:
    if _AWS_ALIAS in key or managers.get(key) == "AWS":
        return AWS_MANAGED, f"it names {key}"
    if managers.get(key) == "CUSTOMER":
        return CUSTOMER, f"it names {key}"
    return UNKNOWN, f"it names {key}, a key that was not read: another account's, or deleted"


def _volume(facts: Facts, part: Part) -> tuple[str, str]:
    if part.encrypted:
        return DEFAULT, f"encrypted, without a key: EC2's default key{_which(facts.ebs_key)}"
    if isinstance(facts.ebs_by_default, NotRead):
        return UNKNOWN, f"EC2's default holds, and was not read: {facts.ebs_by_default}"
    if facts.ebs_by_default:
        return DEFAULT, f"EC2 encrypts new volumes by default{_which(facts.ebs_key)}"
    said = "it says nothing" if part.encrypted is None else "it says so"
    return NOTHING, f"{said}, and EC2 does not encrypt by default; a parent snapshot may be"


def _which(key: str | NotRead) -> str:
    return "" if isinstance(key, NotRead) else f", {key}"


def unencrypted_volumes(entries: tuple[Entry, ...]) -> Iterator[Entry]:
    """The volumes of recipes that nothing encrypts."""
    return (one for one in entries if one.encrypted_with == NOTHING)
