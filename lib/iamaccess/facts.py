"""The request as statements see it: names folded where IAM ignores letter case."""

from __future__ import annotations

from collections.abc import Mapping

from iamaccess.model import ContextValue, Request
from iamaccess.principals import ACCOUNT

ENCRYPTION_CONTEXT = "kms:encryptioncontext:"


class Facts:
    """One request, prepared once for all statements.

    `action` is in lower case; `bounded` says that the principal has a permissions boundary;
    `names` are all by which a statement can name the principal; `relative` is the resource without
    an ARN's first five fields, `owner` the account that has it: the caller's where the ARN names
    none (`*`, AWS's own, buckets).
    """

    __slots__ = (
        *("_context", "action", "bounded", "names", "owner"),
        *("principal", "relative", "request", "resource"),
    )

    def __init__(self, request: Request, *, bounded: bool) -> None:
        self.request = request
        self.principal = who = request.principal
        self.names = frozenset(("*", who.arn, who.role_arn, who.unique_id, who.account))
        self.action = request.action.lower()
        self.resource = request.resource
        self.bounded = bounded
        fields = request.resource.split(":", 5)
        self.relative = fields[-1]
        self.owner = request.resource_account
        if self.owner is None:
            named = len(fields) == 6 and ACCOUNT.fullmatch(fields[4])
            self.owner = fields[4] if named else who.account
        self._context: dict[str, str | tuple[str, ...]] | None = None

    def value(self, key: str) -> str | tuple[str, ...] | None:
        """The value of a condition key (in lower case): a string, several (a tuple), or None.

        Condition keys do not depend on letter case. Two keys of a request that differ only in it
        (two encryption context pairs `A` and `a`) are several values of one key. A key without
        values is absent.
        Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition.html
        """
        if self._context is None:
            self._context = _fold(self.request.context)
        return self._context.get(key)

    def variable(self, key: str) -> str | None:
        """The value of a policy variable: that of a single-valued condition key, else None."""
        value = self.value(key)
        return value if isinstance(value, str) else None

    def folded_variable(self, key: str) -> str | None:
        """The value of a policy variable in lower case."""
        value = self.variable(key)
        return None if value is None else value.lower()

    def encryption_context(self) -> dict[str, str]:
        """The encryption context of a KMS request, names and values as sent."""
        return {
            key[len(ENCRYPTION_CONTEXT) :]: value
            for key, value in self.request.context.items()
            if isinstance(value, str) and key.lower().startswith(ENCRYPTION_CONTEXT)
        }


def _fold(context: Mapping[str, ContextValue]) -> dict[str, str | tuple[str, ...]]:
    folded: dict[str, str | tuple[str, ...]] = {}
    for key, value in context.items():
        name = key.lower()
        text = _text(value)
        if text == ():
            continue
        folded[name] = text if name not in folded else _several(folded[name]) + _several(text)
    return folded


def _text(value: ContextValue) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return tuple(value)


def _several(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value
