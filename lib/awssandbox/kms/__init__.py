"""AWS KMS, symmetric keys: what it serves, remembers and refuses.

`OPERATIONS` is the table of served operations; the rest of the sandbox needs only it, `KmsState`
and `resolve_key`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from awssandbox.call import Operation
from awssandbox.kms import (
    aliases,
    cryptography,
    grants,
    keys,
    policies,
    replicas,
    rotation,
    tagging,
)
from awssandbox.kms.lookup import resolve_key
from awssandbox.kms.state import Key, KmsState

OPERATIONS: Final[Mapping[str, Operation]] = {
    **keys.OPERATIONS,
    **replicas.OPERATIONS,
    **aliases.OPERATIONS,
    **policies.OPERATIONS,
    **tagging.OPERATIONS,
    **rotation.OPERATIONS,
    **grants.OPERATIONS,
    **cryptography.OPERATIONS,
}
"""Every KMS operation that the sandbox serves, by name."""

__all__ = ["OPERATIONS", "Key", "KmsState", "resolve_key"]
