"""The Principal element: whom a statement of a resource-based policy names, and how.

How matters: naming the account lets the account's identity policies count; naming a role is
limited by its boundary and by session policies; naming a user, a session or everyone is not.
Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable

from iamaccess.model import Principal

ACCOUNT = re.compile(r"\d{12}")
_ROOT = re.compile(r"arn:[a-z-]+:iam::(\d{12}):root")
_UNIQUE_ID = re.compile(r"A(?:ROA|IDA)[A-Z0-9]+")
_ARN = re.compile(
    r"arn:[a-z-]+:(?:iam::\d{12}:(?:user|role)/[^*?]+"
    r"|sts::\d{12}:(?:assumed-role/[^/*?]+/[^/*?]+|federated-user/[^*?]+))"
)


class Naming(enum.Enum):
    """How a statement names the principal of a request."""

    DIRECT = "the user, the session, the service, the root user, or everyone"
    ROLE = "the role of the session"
    ACCOUNT = "the account of the principal"


class Principals:
    """The compiled principals of one statement."""

    __slots__ = ("_accounts", "_arns", "_everyone", "_services", "_unique_ids")

    def __init__(self, aws: Iterable[str], services: Iterable[str]) -> None:
        names = frozenset(aws)
        roots = {found[1] for found in map(_ROOT.fullmatch, names) if found}
        self._everyone = "*" in names
        self._accounts = frozenset(roots | {name for name in names if ACCOUNT.fullmatch(name)})
        self._unique_ids = frozenset(name for name in names if _UNIQUE_ID.fullmatch(name))
        self._arns = frozenset(name for name in names if _ARN.fullmatch(name))
        self._services = frozenset(services)

    def naming(self, principal: Principal) -> Naming | None:
        """The strongest way in which the principal is named, None when it is not.

        A unique id names the user or the role that has it; one that nobody has any more names
        nobody. The account names each principal of the account, and its root user directly.
        """
        kind = principal.kind
        if self._everyone:
            return Naming.DIRECT
        if kind == "service":
            return Naming.DIRECT if principal.arn in self._services else None
        if principal.arn in self._arns:
            return Naming.ROLE if kind == "role" else Naming.DIRECT
        if principal.role_arn in self._arns:
            return Naming.ROLE
        if principal.unique_id in self._unique_ids:
            return Naming.DIRECT if kind == "user" else Naming.ROLE
        if principal.account in self._accounts:
            return Naming.DIRECT if kind == "root" else Naming.ACCOUNT
        return None


def is_principal(name: str) -> bool:
    """Whether a value under `AWS` has the form of a principal.

    A wildcard inside a name is refused, and so is a group: groups are not principals.
    """
    forms = (ACCOUNT, _ROOT, _UNIQUE_ID, _ARN)
    return name == "*" or any(form.fullmatch(name) for form in forms)
