"""From JSON text to a compiled `Policy`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iamaccess.model import Policy, PolicyKind


def parse_policy(document: str | Mapping[str, Any], *, kind: PolicyKind, name: str = "") -> Policy:
    """Parse and compile a policy document. Raises: MalformedPolicy."""
    raise NotImplementedError
