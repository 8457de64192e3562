"""Principals in key policies and grants: they must exist, and are kept by their unique id.

KMS keeps a user or role by its unique id, so that one of the same name made later is another
principal; while it exists, its ARN is shown, and afterwards its id.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Protocol

import iamaccess

POLICY_NAME: Final = "key policy"
UNIQUE_ID: Final = re.compile(r"(?:AIDA|AROA)[A-Z0-9]{12,124}")
_ACCOUNT: Final = re.compile(r"(?:arn:[a-z0-9-]+:iam::)?(\d{12})(?::root)?")
_IAM_ARN: Final = re.compile(r"arn:[a-z0-9-]+:iam::\d{12}:(?:user|role)/[\x21-\x7e]+")
_SESSION_ARN: Final = re.compile(
    r"(arn:[a-z0-9-]+):sts::(\d{12}):assumed-role/([\w+=,.@-]+)/([\w+=,.@-]+)"
)
_FEDERATED_USER_ARN: Final = re.compile(r"arn:[a-z0-9-]+:sts::\d{12}:federated-user/[\w+=,.@-]+")


class Directory(Protocol):
    """What KMS asks IAM about principals, of any account."""

    def unique_id(self, arn: str) -> str | None:
        """The unique id of the user or role with this ARN (path included); None if there is none.

        For a session's ARN, that of its role, a colon and the session's name.
        """

    def arn(self, unique_id: str) -> str | None:
        """The ARN of the user or role with this unique id; None if there is none (any more)."""


class PrincipalError(ValueError):
    """A principal that does not exist, or that no key policy may name."""


def is_account(principal: str) -> bool:
    """Whether `principal` is an account: twelve digits, or the ARN of its root."""
    return _ACCOUNT.fullmatch(principal) is not None


def identify(principal: str, directory: Directory) -> tuple[str, str | None]:
    """A principal's ARN and unique id; the id is None for accounts and federated users.

    Raises PrincipalError when there is no such principal: never made, deleted, a group, or a
    pattern.
    Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html
    """
    if is_account(principal) or _FEDERATED_USER_ARN.fullmatch(principal):
        return principal, None
    if UNIQUE_ID.fullmatch(principal):
        arn = directory.arn(principal)
        if arn is None:
            raise PrincipalError(principal)
        return arn, principal
    if _IAM_ARN.fullmatch(principal) or _SESSION_ARN.fullmatch(principal):
        unique_id = directory.unique_id(principal)
        if unique_id is not None:
            return principal, unique_id
    raise PrincipalError(principal)


def shown_as(unique_ids: Mapping[str, str], directory: Directory) -> Callable[[str], str]:
    """Maps each ARN of `unique_ids` to itself while it is the same principal's, else to the id."""
    return partial(_shown, unique_ids, directory)


def _shown(unique_ids: Mapping[str, str], directory: Directory, principal: str) -> str:
    unique_id = unique_ids.get(principal)
    if unique_id is None or directory.unique_id(principal) == unique_id:
        return principal
    return unique_id


def statements(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The statements of a policy document; one alone may stand without a list."""
    found = document.get("Statement", [])
    return found if isinstance(found, list) else [found]


def principal_values(document: Mapping[str, Any], kind: str) -> Iterator[str]:
    """The principals of one kind (``AWS``, ``Service``) that a document's statements name."""
    for statement in statements(document):
        for element in ("Principal", "NotPrincipal"):
            named = statement.get(element)
            values = named.get(kind, []) if isinstance(named, Mapping) else []
            yield from [values] if isinstance(values, str) else values


def renamed(document: Mapping[str, Any], name: Callable[[str], str]) -> dict[str, Any]:
    """The document with each AWS principal replaced by `name` of it; nothing else changes."""

    def rename(statement: Mapping[str, Any]) -> dict[str, Any]:
        out = dict(statement)
        for element in ("Principal", "NotPrincipal"):
            named = out.get(element)
            if isinstance(named, Mapping) and "AWS" in named:
                old = named["AWS"]
                new = name(old) if isinstance(old, str) else [name(value) for value in old]
                out[element] = {**named, "AWS": new}
        return out

    found = document.get("Statement", [])
    after: Any = [rename(s) for s in found] if isinstance(found, list) else rename(found)
    return {**document, "Statement": after}


class StoredPolicy:
    """A key policy as KMS keeps it: the document, and the unique id of each principal in it.

    `text` and `parsed` are of now: they show a deleted principal's unique id.
    """

    def __init__(
        self, document: Mapping[str, Any], unique_ids: Mapping[str, str], directory: Directory
    ) -> None:
        self._document = document
        self._unique_ids = dict(unique_ids)
        self._shown = shown_as(unique_ids, directory)
        self._of: dict[str, str] | None = None
        self._text = ""
        self._parsed: iamaccess.Policy | None = None

    def _refresh(self) -> iamaccess.Policy:
        now = {arn: self._shown(arn) for arn in self._unique_ids}
        if self._parsed is None or now != self._of:
            document = renamed(self._document, lambda p: now.get(p, p))
            self._parsed = iamaccess.parse_policy(document, kind="resource", name=POLICY_NAME)
            self._text = as_shown(document)
            self._of = now
        return self._parsed

    @property
    def parsed(self) -> iamaccess.Policy:
        """The policy, compiled for decisions."""
        return self._refresh()

    @property
    def text(self) -> str:
        """The policy as GetKeyPolicy shows it."""
        self._refresh()
        return self._text


def as_shown(document: Mapping[str, Any]) -> str:
    """A policy document in the layout in which GetKeyPolicy answers it, whatever it was sent in.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyPolicy.html (example)
    """

    def show(value: Any, indent: str) -> str:
        if isinstance(value, Mapping) and value:
            inner = indent + "  "
            pairs = (f"{inner}{json.dumps(k)} : {show(v, inner)}" for k, v in value.items())
            return "{\n" + ",\n".join(pairs) + f"\n{indent}}}"
        if isinstance(value, list) and value:
            return "[ " + ", ".join(show(item, indent) for item in value) + " ]"
        return json.dumps(value, ensure_ascii=False)

    return show(document, "")
