"""The values of a decision: who asks for what, what is written, the answer.

Nothing here decides anything; every value is immutable and compares by content, except `Policy`,
which compares by identity because it carries compiled matchers.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from iamaccess.statements import Statement

PolicyKind = Literal["identity", "resource", "trust", "service_control", "resource_control"]
ContextValue = str | bool | Sequence[str]
Layer = Literal[
    "identity", "resource", "grant", "boundary", "session", "service_control", "resource_control"
]
Reason = Literal["allowed", "explicit_deny", "implicit_deny", "unknown"]


class Outcome(enum.Enum):
    """The three answers. UNKNOWN is an answer too: what was read does not settle the request."""

    ALLOWED = "ALLOWED"
    DENIED = "DENIED"
    UNKNOWN = "UNKNOWN"


class MalformedPolicy(ValueError):
    """A document that AWS would refuse, and where.

    `pointer` is the JSON pointer (RFC 6901) to the place, `line` its line in the document's text,
    from 1; None where the document was not given as text.
    """

    def __init__(self, reason: str, pointer: str = "", line: int | None = None) -> None:
        place = f"at {pointer or 'the top'}" + ("" if line is None else f", line {line}")
        super().__init__(f"{reason} ({place})")
        self.reason = reason
        self.pointer = pointer
        self.line = line


@dataclass(frozen=True, slots=True)
class Doubt:
    """An element of which AWS's documents do not say what it does for the request.

    `policy` is the policy's name, or a grant's id, `pointer` the JSON pointer to the element in
    that policy's document.
    """

    element: str
    policy: str
    pointer: str = ""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request, as authenticated.

    `arn` is what AWS names in messages: the IAM ARN of a root user, user or role, the STS ARN of a
    session (`arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`, or `…:federated-user/NAME` of
    GetFederationToken), the name of a service (`imagebuilder.amazonaws.com`), the identity provider
    (`arn:aws:iam::ACCOUNT:saml-provider/NAME`, `accounts.google.com`) of "federated": somebody
    whom only the provider knows, and who may assume a role that trusts it.
    `account` is 12 digits, None for a service, a federated identity or nobody.
    `role_arn` is a session's role, path included, or the user whose session a federated user has;
    `unique_id` is `AIDA…` of a user, `AROA…` of a role or of a session's role.
    """

    kind: Literal["root", "user", "role", "session", "service", "federated", "anonymous"]
    arn: str
    account: str | None
    role_arn: str | None = None
    unique_id: str | None = None
    names: frozenset[str | None] = field(init=False, repr=False, compare=False)
    """All by which a statement can name the principal."""

    def __post_init__(self) -> None:
        names = frozenset(("*", self.arn, self.role_arn, self.unique_id, self.account))
        object.__setattr__(self, "names", names)


@dataclass(frozen=True, slots=True)
class Request:
    """One action on one resource.

    `action` is `service:Action`, `resource` an ARN or `*` for actions without a resource.
    `context` holds the condition keys of the request, in any letter case; a sequence is a
    multi-valued key, a bool stands for "true" or "false". `resource_account` owns the resource;
    when None it is read from the ARN, and where the ARN has none it is the caller's.
    `absent` names the condition keys that the request is known not to have, in any letter case:
    of those neither there nor in `context` nothing is known. None: what is not in `context` is
    absent.
    """

    principal: Principal
    action: str
    resource: str
    context: Mapping[str, ContextValue] = field(default_factory=dict)
    resource_account: str | None = None
    absent: Collection[str] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A parsed and compiled policy document; made by `parse_policy`.

    `statements` are those that have an effect.
    """

    name: str
    kind: PolicyKind
    document: Mapping[str, Any]
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """A KMS grant: `operations` without the `kms:` prefix; it allows, and never denies.

    `encryption_context_subset` must be contained in the request's encryption context,
    `encryption_context_equals` must be that context: values by exact letter case, names by any.
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GrantConstraints.html
    """

    grant_id: str
    grantee: str
    operations: frozenset[str]
    encryption_context_subset: Mapping[str, str] | None
    encryption_context_equals: Mapping[str, str] | None
    key_arn: str


@dataclass(frozen=True, slots=True)
class Policies:
    """What was read, layer by layer: None is "not known", an empty sequence "known to be none".

    `identity`: inline, managed and group policies of the user or of the session's role.
    `resource`: the key policy, or the role's trust policy. `boundary` and `session` limit when
    they are not empty.
    `service_control` are the policies of the principal's organization, `resource_control` those of
    the resource's, by level from the root to the account. Only the caller can know that there is no
    organization, that the account is its management account, or that the key is an AWS managed one:
    these policies then do not bind, and the layer is empty.
    Sources: https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps.html
    https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_rcps.html
    https://docs.aws.amazon.com/kms/latest/developerguide/resource-control-policies.html
    """

    identity: Sequence[Policy] | None = None
    resource: Sequence[Policy] | None = None
    grants: Sequence[Grant] | None = None
    boundary: Sequence[Policy] | None = None
    session: Sequence[Policy] | None = None
    service_control: Sequence[Sequence[Policy]] | None = None
    resource_control: Sequence[Sequence[Policy]] | None = None


@dataclass(frozen=True, slots=True)
class StatementRef:
    """The statement that decided: `index` from 0 in its policy. For a grant, `policy` is its id."""

    policy: str
    sid: str | None
    index: int


class Decision(NamedTuple):
    """The answer, and what it rests on.

    `layer` is the layer that decided: of the statement that allowed or denied, or the one that is
    missing or limits (implicit deny); `level` is the level of a control policy, from 0 at the root.
    `not_given` names the layers that were None. The outcome is UNKNOWN because of all of these:
    `unknown` names layers not given, `unknown_keys` condition keys of which the request says
    nothing, `undocumented` what AWS does not document.
    `allowed_by_what_was_read` says whether the request is allowed for certain where the layers not
    given neither grant, limit nor deny.
    """

    outcome: Outcome
    reason: Reason
    layer: Layer | None
    statement: StatementRef | None
    not_given: tuple[str, ...]
    unknown: tuple[str, ...]
    allowed_by_what_was_read: bool
    unknown_keys: tuple[str, ...] = ()
    undocumented: tuple[Doubt, ...] = ()
    level: int | None = None
