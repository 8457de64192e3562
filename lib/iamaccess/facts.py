"""The request as statements see it: names folded where IAM ignores letter case."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Final

from iamaccess.context import derived
from iamaccess.model import ContextValue, Request

ENCRYPTION_CONTEXT: Final = "kms:encryptioncontext:"
ENCRYPTION_CONTEXT_KEYS: Final = "kms:encryptioncontextkeys"


class NotKnown(enum.Enum):
    """Stands for the value of a condition key of which the request says nothing."""

    NOT_KNOWN = enum.auto()


_WITH_CONTEXT: Final = frozenset(
    {
        *("kms:creategrant", "kms:decrypt", "kms:encrypt", "kms:generatedatakey"),
        *("kms:generatedatakeypair", "kms:generatedatakeypairwithoutplaintext"),
        *("kms:generatedatakeywithoutplaintext", "kms:reencryptfrom", "kms:reencryptto"),
        "kms:retiregrant",
    }
)
"""The actions whose requests may have an encryption context.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awskeymanagementservice.html
"""
NOT_KNOWN: Final = NotKnown.NOT_KNOWN
Value = str | tuple[str, ...] | None
"""A condition key's value: one, several, or none."""


class Facts:
    """One request, prepared once for all statements.

    `action` is in lower case; `bounded` says that the principal has a permissions boundary;
    `names` are all by which a statement can name the principal; `relative` is the resource without
    an ARN's first five fields, `owner` the account that has it: the caller's where the ARN names
    none (`*`, AWS's own, buckets).
    """

    __slots__ = (
        *("_absent", "_context", "_derived", "action", "bounded", "names", "owner"),
        *("principal", "relative", "request", "resource"),
    )

    def __init__(self, request: Request, *, bounded: bool) -> None:
        self.request = request
        self.principal = who = request.principal
        self.names = who.names
        self.action = request.action.lower()
        self.resource = resource = request.resource
        self.bounded = bounded
        fields = resource.split(":", 5)
        self.relative = fields[-1]
        owner = request.resource_account
        if owner is None:
            named = len(fields) == 6 and len(fields[4]) == 12 and fields[4].isdecimal()
            owner = fields[4] if named else who.account
        self.owner = owner
        self._context: dict[str, str | tuple[str, ...]] | None = None
        self._absent: frozenset[str] | None = None
        self._derived: dict[str, str | tuple[str, ...]] | None = None

    def value(self, key: str) -> Value | NotKnown:
        """The value of a condition key (in lower case): a string, several (a tuple), or None.

        NOT_KNOWN where neither the request's context, its absent keys nor its principal tell.
        Condition keys do not depend on letter case. Two keys of a request that differ only in it
        (two encryption context pairs `A` and `a`) are several values of one key. A key without
        values is absent.
        Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition.html
        """
        context = self._context
        if context is None:
            context = self._context = _fold(self.request.context)
        found = context.get(key)
        if found is not None or self.request.absent is None:
            return found
        return None if self._is_absent(key, context) else self._implied(key)

    def variable(self, key: str) -> str | NotKnown | None:
        """The value of a policy variable: that of a single-valued condition key, else None."""
        value = self.value(key)
        return None if isinstance(value, tuple) else value

    def folded_variable(self, key: str) -> str | NotKnown | None:
        """The value of a policy variable in lower case."""
        value = self.variable(key)
        return value.lower() if isinstance(value, str) else value

    def encryption_context(self) -> dict[str, str]:
        """The encryption context of a KMS request, names and values as sent."""
        return {
            key[len(ENCRYPTION_CONTEXT) :]: value
            for key, value in self.request.context.items()
            if isinstance(value, str) and key.lower().startswith(ENCRYPTION_CONTEXT)
        }

    def _implied(self, key: str) -> Value | NotKnown:
        """What a key that nobody told must be, by who asks for what."""
        if self._derived is None:
            self._derived = _fold(derived(self.request))
        return self._derived.get(key, NOT_KNOWN)

    def _is_foreign(self, key: str) -> bool:
        """Whether it is a key of KMS's that the request's action does not have."""
        if not key.startswith("kms:"):
            return False
        if not self.action.startswith("kms:"):
            return True
        of_context = key.startswith(ENCRYPTION_CONTEXT) or key == ENCRYPTION_CONTEXT_KEYS
        return of_context and self.action not in _WITH_CONTEXT

    def _is_absent(self, key: str, context: Mapping[str, str | tuple[str, ...]]) -> bool:
        """Whether a key that the context lacks is known to be absent: declared, or sent empty.

        A request that tells kms:EncryptionContextKeys, or that there are none, has no other pairs.
        """
        if self._absent is None:
            declared = self.request.absent or ()
            empty = (name for name in self.request.context if name.lower() not in context)
            self._absent = frozenset(name.lower() for name in (*declared, *empty))
        if key in self._absent or self._is_foreign(key):
            return True
        if not key.startswith(ENCRYPTION_CONTEXT):
            return False
        names = context.get(ENCRYPTION_CONTEXT_KEYS)
        if names is None:
            return ENCRYPTION_CONTEXT_KEYS in self._absent
        return key[len(ENCRYPTION_CONTEXT) :] not in {each.lower() for each in _several(names)}


def _fold(context: Mapping[str, ContextValue]) -> dict[str, str | tuple[str, ...]]:
    folded: dict[str, str | tuple[str, ...]] = {}
    for key, value in context.items():
        name = key.lower()
        text = value if isinstance(value, str) else _text(value)
        if text == ():
            continue
        folded[name] = text if name not in folded else _several(folded[name]) + _several(text)
    return folded


def _text(value: bool | Sequence[str]) -> str | tuple[str, ...]:
    if isinstance(value, bool):
        return "true" if value else "false"
    return tuple(value)


def _several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value
