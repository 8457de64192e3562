"""Log files for the tests, as CloudTrail writes them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

ACCOUNT, REGION = "111122223333", "us-west-2"


def text_of(records: Iterable[Mapping[str, Any]]) -> bytes:
    """A log file's text."""
    return json.dumps({"Records": list(records)}, separators=(",", ":")).encode()


def name_of(
    delivered: datetime, mark: str = "A", *, account: str = ACCOUNT, region: str = REGION
) -> str:
    """A log file's name; `mark` is its random part."""
    return f"{account}_CloudTrail_{region}_{delivered:%Y%m%dT%H%MZ}_{mark:0>16}.json.gz"


def write(path: Path, text: bytes) -> Path:
    """Put a text, compressed, where `path` says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text, mtime=0))
    return path


def write_log(folder: Path, records: Iterable[Mapping[str, Any]], delivered: datetime) -> Path:
    """Put a log file where a trail puts it."""
    day = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/{delivered:%Y/%m/%d}"
    return write(folder / day / name_of(delivered), text_of(records))
