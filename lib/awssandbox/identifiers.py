"""Identifiers that derive from a seed, so that two sandboxes given the same calls agree.

An identifier is a digest of the seed, its kind, the content it is made for (the caller, the
operation and its parameters without random fields) and its ordinal among identical ones. No
counter is shared between contents: calls that only read or poll move nothing.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import UUID

BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


class Identifiers:
    """Makes identifiers from `seed`; None for a seed that nobody knows."""

    def __init__(self, seed: int | None = None) -> None:
        self._seed = secrets.token_hex(32) if seed is None else str(seed)
        self._made: Counter[str] = Counter()
        self._lock = threading.Lock()

    def make(self, kind: str, *content: object) -> str:
        """The next identifier of `kind` for `content`: 64 hexadecimal digits.

        `content` is strings, numbers, mappings and sequences of these; a mapping's order does not
        matter. The same content again gives another identifier, by its ordinal.
        """
        about = json.dumps([kind, *content], sort_keys=True, default=_plain)
        with self._lock:
            ordinal = self._made[about]
            self._made[about] += 1
        return hashlib.sha256(f"{self._seed}\n{ordinal}\n{about}".encode()).hexdigest()

    def uuid(self, kind: str, *content: object) -> str:
        """The next identifier in a UUID's form (version 4), as of KMS keys."""
        return str(UUID(hex=self.make(kind, *content)[:32], version=4))

    def unique_id(self, prefix: str, kind: str, *content: object) -> str:
        """The next identifier in the form of IAM's unique ids: `prefix` and 17 of ``A-Z2-7``.

        Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
        """
        value = int(self.make(kind, *content), 16)
        return prefix + "".join(BASE32[(value >> (5 * place)) & 31] for place in range(17))


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
