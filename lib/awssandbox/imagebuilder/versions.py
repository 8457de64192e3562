"""Semantic versions of Image Builder resources: assignment, wildcards, version references.

Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/ibhow-semantic-versioning.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

MAXIMUM_NODE: Final = 2**30 - 1
WILDCARD: Final = "x"

_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
_PATTERN = re.compile(r"(?:[0-9]+|x)\.(?:[0-9]+|x)\.(?:[0-9]+|x)")

T = TypeVar("T")


class VersionSyntaxError(ValueError):
    """A text that is not a version (or version pattern) at all."""


class VersionBoundsError(ValueError):
    """A version of the right form with a node above 2^30-1."""


class WildcardOrderError(ValueError):
    """A wildcard with a number to its right (``x.2.x``, ``1.x.8``)."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version as it was assigned; `text` keeps leading zeros (``2021.01.01``).

    AWS names dates as an example of a version; whether it drops their leading zeros is not
    documented, so the text stays as given. Versions are ordered as numbers.
    """

    text: str

    @property
    def nodes(self) -> tuple[int, int, int]:
        """Major, minor and patch as numbers; versions are ordered by them."""
        major, minor, patch = self.text.split(".")
        return int(major), int(minor), int(patch)

    def __str__(self) -> str:
        return self.text


def parse_version(text: str) -> Version:
    """The version that `text` assigns.

    Raises VersionSyntaxError when it is not three numbers joined by dots, VersionBoundsError when a
    node is above 2^30-1.
    """
    if not _VERSION.fullmatch(text):
        raise VersionSyntaxError(text)
    if any(len(node.lstrip("0")) > 10 or int(node) > MAXIMUM_NODE for node in text.split(".")):
        raise VersionBoundsError(text)
    return Version(text)


@dataclass(frozen=True, slots=True)
class VersionPattern:
    """A version whose last nodes may be wildcards: ``1.2.3``, ``1.2.x``, ``1.x.x``, ``x.x.x``."""

    text: str

    @property
    def has_wildcard(self) -> bool:
        """Whether this pattern may match more than one version."""
        return WILDCARD in self.text

    def matches(self, version: Version) -> bool:
        """Whether each node is the version's or a wildcard."""
        if not self.has_wildcard:
            return self.text == version.text
        return all(
            wanted in (WILDCARD, given)
            for wanted, given in zip(self.text.split("."), version.text.split("."), strict=True)
        )


def parse_pattern(text: str) -> VersionPattern:
    """The version pattern that `text` spells.

    Raises VersionSyntaxError, VersionBoundsError, or WildcardOrderError when a number follows a
    wildcard.
    """
    if not _PATTERN.fullmatch(text):
        raise VersionSyntaxError(text)
    nodes = text.split(".")
    first = nodes.index(WILDCARD) if WILDCARD in nodes else len(nodes)
    if any(node != WILDCARD for node in nodes[first:]):
        raise WildcardOrderError(text)
    parse_version(".".join(node if node != WILDCARD else "0" for node in nodes))
    return VersionPattern(text)


def latest(versions: Iterable[tuple[Version, int, T]], pattern: VersionPattern) -> T | None:
    """The item with the highest version, then build number, among those that `pattern` matches."""
    matching = [item for item in versions if pattern.matches(item[0])]
    if not matching:
        return None
    return max(matching, key=lambda item: (item[0].nodes, item[1]))[2]


def version_references(unversioned_arn: str, version: Version) -> dict[str, str]:
    """``latestVersionReferences`` of a resource: its ARN with ever fewer wildcards.

    `unversioned_arn` ends before the version (``arn:…:workflow/build/name``).
    Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/ibhow-semantic-versioning.html
    (section "Using version references").
    """
    major, minor, _ = version.text.split(".")
    return {
        "latestVersionArn": f"{unversioned_arn}/x.x.x",
        "latestMajorVersionArn": f"{unversioned_arn}/{major}.x.x",
        "latestMinorVersionArn": f"{unversioned_arn}/{major}.{minor}.x",
        "latestPatchVersionArn": f"{unversioned_arn}/{version.text}",
    }
