"""What the names of CloudTrail's files say: of which account and Region, and when delivered.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-examples.html
Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-validation-digest-file-structure.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

LOG_SUFFIXES: Final = (".json.gz", ".json")

_LOG = re.compile(
    r"(?P<account>\d{12})_CloudTrail_(?P<region>[a-z0-9-]+)_(?P<time>\d{8}T\d{4})Z_[^_/]+\.json(\.gz)?",
    re.ASCII,
)
_DIGEST = re.compile(
    r"(?P<account>\d{12})_CloudTrail-Digest_(?P<region>[a-z0-9-]+)_.+_\d{8}T\d{6}Z(_backfill)?"
    r"\.json(\.gz)?",
    re.ASCII,
)
_OTHER_KIND = re.compile(r"\d{12}_CloudTrail-[A-Za-z]+_.+\.json(\.gz)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class LogName:
    """What a log file's name says. `delivered` is in UTC, by the minute."""

    account: str
    region: str
    delivered: datetime


def log_name(name: str) -> LogName | None:
    """What a file's name says, without folders; None where it is not as CloudTrail names them."""
    match = _LOG.fullmatch(name)
    if match is None:
        return None
    try:
        delivered = datetime.strptime(match["time"], "%Y%m%dT%H%M").replace(tzinfo=UTC)
    except ValueError:
        return None
    return LogName(match["account"], match["region"], delivered)


def digest_of(name: str) -> tuple[str, str] | None:
    """Account and Region of a digest file, by its name; None where it is none."""
    match = _DIGEST.fullmatch(name)
    return (match["account"], match["region"]) if match is not None else None


def is_other_kind(name: str) -> bool:
    """Whether a name is that of CloudTrail's files of another kind: insights, and the like."""
    return _OTHER_KIND.fullmatch(name) is not None and digest_of(name) is None
