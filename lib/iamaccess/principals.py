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

ACCOUNT = re.compile(r"[0-9]{12}")
_ROOT = re.compile(r"arn:[a-z-]+:iam::([0-9]{12}):root")
_UNIQUE_ID = re.compile(r"A(?:ROA|IDA)[A-Z0-9]+")
_ARN = re.compile(
    r"arn:[a-z-]+:(?:iam::[0-9]{12}:(?:user|role)/[^*?]+"
    r"|sts::[0-9]{12}:(?:assumed-role/[^/*?]+/[^/*?]+|federated-user/[^*?]+))"
)


class Naming(enum.Enum):
    """How a statement names the principal of a request."""

    DIRECT = "the user, the session, the service, the root user, or everyone"
    ROLE = "the role of the session"
    ACCOUNT = "the account of the principal"


class Principals:
    """The compiled principals of one statement.

    `unknown` is the kind of further principals, of whom a `Principal` does not tell whether they
    are who makes the request: canonical users, and federated ones where a session may be one of
    theirs; None without any. Whom `names` has no name of is not named.
    """

    __slots__ = (
        *("_accounts", "_arns", "_everyone", "_others", "_unique_ids"),
        *("names", "only_names", "unknown"),
    )

    def __init__(
        self,
        aws: Iterable[str],
        services: Iterable[str],
        federated: Iterable[str] = (),
        *,
        unknown: str | None = None,
    ) -> None:
        names = frozenset(aws)
        roots = {found[1] for found in map(_ROOT.fullmatch, names) if found}
        self._everyone = "*" in names
        self._accounts = frozenset(roots | {name for name in names if ACCOUNT.fullmatch(name)})
        self._unique_ids = frozenset(name for name in names if _UNIQUE_ID.fullmatch(name))
        self._arns = frozenset(name for name in names if _ARN.fullmatch(name))
        self._others = {"service": frozenset(services), "federated": frozenset(federated)}
        self.unknown = unknown
        self.only_names = unknown is None
        self.names = names.union(self._accounts, *self._others.values())

    @property
    def empty(self) -> bool:
        """Whether nobody is listed."""
        return not self.names and self.unknown is None

    def naming(self, principal: Principal) -> Naming | None:
        """The strongest way in which the principal is named, None when it is not.

        A unique id names the user or the role that has it; one that nobody has any more names
        nobody. The account names each principal of the account, and its root user directly.
        """
        kind = principal.kind
        if self._everyone:
            return Naming.DIRECT
        if kind in self._others:
            return Naming.DIRECT if principal.arn in self._others[kind] else None
        if principal.arn in self._arns:
            return Naming.ROLE if kind == "role" else Naming.DIRECT
        if principal.role_arn in self._arns:
            return Naming.ROLE
        if principal.unique_id in self._unique_ids:
            return Naming.DIRECT if kind == "user" else Naming.ROLE
        if principal.account in self._accounts:
            return Naming.DIRECT if kind == "root" else Naming.ACCOUNT
        return None

    def may_name(self, principal: Principal) -> bool:
        """Whether the principal may be one of those of the kind `unknown`."""
        if self.unknown == "Federated":
            return principal.kind == "session"
        return self.unknown is not None and principal.account is not None

    def spares(self, principal: Principal) -> bool | None:
        """Whether NotPrincipal with Deny spares a principal; None where AWS does not say.

        It surely does when each name is listed under which AWS may look: the account, the role of
        a session, and the user, role or session itself. AWS "might" deny where one is missing.
        Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
        """
        if self.naming(principal) is None:
            return False
        if self._everyone or principal.kind in self._others:
            return True
        names = {principal.arn, principal.role_arn} - {None}
        itself = principal.kind == "root" or names <= self._arns
        return True if itself and principal.account in self._accounts else None


def is_principal(name: str) -> bool:
    """Whether a value under `AWS` has the form of a principal.

    A wildcard inside a name is refused, and so is a group: groups are not principals.
    """
    forms = (ACCOUNT, _ROOT, _UNIQUE_ID, _ARN)
    return name == "*" or any(form.fullmatch(name) for form in forms)
