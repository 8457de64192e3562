"""The decision: what each layer says, and how AWS combines what they say.

An explicit Deny in any layer wins. Then each level of service control policies must allow. Then,
in one account, each of these is enough:

- the key policy (or any resource-based policy) names the user, the session or everyone: no
  implicit deny of another layer limits that;
- it names the session's role, or a grant or an identity policy allows: permissions boundary and
  session policy must allow too.

For keys and for assuming roles the resource's policy rules: identity policies count only when it
names the account. Between accounts both sides must allow. A grant only allows.

What is not known is taken at its worst and at its best: a layer not given, a statement of which it
cannot be said whether it applies because the request does not tell a condition key or because AWS
does not document it. Where both come to the same, that is the answer; else it is UNKNOWN.

Sources:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html
https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeGuard

from iamaccess.facts import ENCRYPTION_CONTEXT, ENCRYPTION_CONTEXT_KEYS, NOT_KNOWN, Facts
from iamaccess.model import (
    Decision,
    Doubt,
    Grant,
    Layer,
    Outcome,
    Policies,
    Policy,
    Reason,
    Request,
    StatementRef,
)
from iamaccess.principals import Naming, Principals
from iamaccess.statements import Maybe

Rule = Literal["resource", "either", "identity"]
"""Which side rules in one account: the resource's policy, either side, or identity policies."""

_DIRECT, _ROLE, _ACCOUNT = Naming.DIRECT, Naming.ROLE, Naming.ACCOUNT
_ALLOWED, _DENIED = Outcome.ALLOWED, Outcome.DENIED
_TRUSTED = frozenset(
    {
        *("sts:assumerole", "sts:tagsession", "sts:setsourceidentity"),
        *("sts:assumerolewithsaml", "sts:assumerolewithwebidentity"),
    }
)
_UNCONSTRAINED = frozenset({"describekey", "retiregrant"})


class Reading:
    """What one layer says: the first statement that denies, and the first that allows, by naming.

    `allow` is a plain or direct Allow, `by_role` one to the session's role, `delegated` one to the
    account; `outright` is a grant taken as limited by nothing. `level` is the level of a control
    policy that denies or does not allow.
    """

    __slots__ = ("allow", "by_role", "delegated", "deny", "level", "outright")

    def __init__(
        self,
        deny: StatementRef | None = None,
        allow: StatementRef | None = None,
        by_role: StatementRef | None = None,
        delegated: StatementRef | None = None,
        outright: StatementRef | None = None,
        level: int | None = None,
    ) -> None:
        self.deny = deny
        self.allow = allow
        self.by_role = by_role
        self.delegated = delegated
        self.outright = outright
        self.level = level

    def add(self, ref: StatementRef, *, allow: bool, naming: Naming) -> None:
        """Count a statement that applies."""
        if not allow:
            self.deny = self.deny or ref
        elif naming is _DIRECT:
            self.allow = self.allow or ref
        elif naming is _ROLE:
            self.by_role = self.by_role or ref
        else:
            self.delegated = self.delegated or ref

    def copy(self) -> Reading:
        """Another one that says the same."""
        return Reading(
            self.deny, self.allow, self.by_role, self.delegated, self.outright, self.level
        )


class Unsure(NamedTuple):
    """A statement or grant of which it cannot be said whether it applies."""

    ref: StatementRef
    allow: bool
    why: Maybe
    outright: bool = False

    def apply_to(self, reading: Reading) -> None:
        """Take it as applying."""
        if self.outright:
            reading.outright = reading.outright or self.ref
        else:
            reading.add(self.ref, allow=self.allow, naming=self.why.naming)


class Bounds(NamedTuple):
    """A layer that is not settled: at its worst and at its best.

    `read` is the worst of what was read of it; `quiet` the same without a Deny that is not sure.
    """

    worst: Reading
    best: Reading
    read: Reading
    quiet: Reading
    unsure: tuple[Unsure, ...] = ()


class Verdict(NamedTuple):
    """What a full set of readings comes to."""

    allowed: bool
    reason: Reason
    layer: Layer
    statement: StatementRef | None = None
    level: int | None = None


# Stands for a statement that nobody wrote: of a layer not given, or of the root user's full access.
_UNWRITTEN = StatementRef("", None, -1)
_SILENT = Reading()
_ALLOWS = Reading(allow=_UNWRITTEN)
_DENIES = Reading(deny=_UNWRITTEN)
_NO_LIMIT = Bounds(_DENIES, _ALLOWS, read=_ALLOWS, quiet=_SILENT)
_NO_POLICY = Bounds(_DENIES, _ALLOWS, read=_SILENT, quiet=_SILENT)
_NO_GRANTS = Bounds(_SILENT, _ALLOWS, read=_SILENT, quiet=_SILENT)
_NO_GRANTS_ACROSS = _NO_GRANTS._replace(best=Reading(allow=_UNWRITTEN, outright=_UNWRITTEN))

# In the order in which AWS evaluates them.
_LAYERS: tuple[Layer, ...] = (
    "resource_control",
    "service_control",
    "resource",
    "grant",
    "identity",
    "boundary",
    "session",
)
_FIELDS: Mapping[Layer, str] = {layer: layer for layer in _LAYERS} | {"grant": "grants"}
_BINDS: Mapping[str, frozenset[Layer]] = {
    "root": frozenset({"resource_control", "service_control", "resource", "grant"}),
    "user": frozenset(_LAYERS) - {"session"},
    "role": frozenset(_LAYERS) - {"session"},
    "session": frozenset(_LAYERS),
    "service": frozenset({"resource_control", "resource", "grant"}),
    "federated": frozenset({"resource_control", "resource"}),
    "anonymous": frozenset({"resource_control", "resource"}),
}
"""The layers that can bear on a kind of principal; what is given of others does not count.

The root user has full access, which resource-based policies and the organization may limit.
"""
_UNDER_RESOURCE_CONTROL = frozenset({"kms", "s3", "sts", "secretsmanager", "sqs"})
"""Services whose resources resource control policies reach. AWS adds to them.

Source: https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_rcps.html
"""

Readings = Sequence[Reading]
"""One for each of _LAYERS."""
Layers = Sequence[Reading | Bounds]
"""The same, where some are not settled."""


def decide(request: Request, policies: Policies) -> Decision:
    """Decide a request by what is written. Never raises: what cannot be said is UNKNOWN."""
    case = _Case(request, policies)
    layers = case.read()
    not_given = () if None not in _given(policies) else _not_given(policies)
    if _settled(layers):
        return _decision(case.judge(layers), not_given)
    worst = case.judge([one.worst if isinstance(one, Bounds) else one for one in layers])
    if worst.allowed:
        return _decision(worst, not_given)
    best = case.judge([one.best if isinstance(one, Bounds) else one for one in layers])
    if not best.allowed:
        return _decision(best, not_given)
    return case.unknown(layers, not_given)


def facts_of(request: Request, policies: Policies) -> Facts:
    """The request as statements see it: for `Statement.examine`."""
    if not policies.boundary:
        return Facts(request, bounded=False)
    return Facts(request, bounded="boundary" in _BINDS[request.principal.kind])


class _Case:
    """One request with its policies."""

    def __init__(self, request: Request, policies: Policies) -> None:
        self.facts = facts = facts_of(request, policies)
        self.policies = policies
        self.rule = _rule(facts)
        self.same_account = request.principal.account == facts.owner

    def judge(self, readings: Readings) -> Verdict:
        """Combine the layers' readings, all of them settled."""
        resource_control, service_control, resource, grant, identity, boundary, session = readings
        if (
            resource_control.deny
            or service_control.deny
            or resource.deny
            or identity.deny
            or boundary.deny
            or session.deny
        ):
            return _denied(readings)
        if service_control.allow is None:
            return Verdict(False, "implicit_deny", "service_control", level=service_control.level)
        if grant.outright is not None:
            return Verdict(True, "allowed", "grant", grant.outright)
        limit: Layer | None = (
            "boundary" if boundary.allow is None else "session" if session.allow is None else None
        )
        if self.facts.principal.account is None:
            return _direct(resource, grant) or Verdict(False, "implicit_deny", "resource")
        if not self.same_account:
            return _across(resource, grant, identity, limit)
        return _within(self.rule, resource, grant, identity, limit)

    def read(self) -> Layers:
        """What each layer says."""
        policies, facts = self.policies, self.facts
        kind = facts.principal.kind
        binds = _BINDS[kind]
        boundary = _limit(policies.boundary, facts) if "boundary" in binds else _ALLOWS
        session = self._session() if "session" in binds else _ALLOWS
        identity: Reading | Bounds = _ALLOWS if kind == "root" else _SILENT
        resource: Reading | Bounds = _SILENT
        grant: Reading | Bounds = _SILENT
        if "identity" in binds:
            identity = _statements(policies.identity, facts)
        if self.rule != "identity":
            resource = _statements(policies.resource, facts)
            if facts.action == "kms:retiregrant":
                resource = _retiring(resource, root=kind == "root")
            none = policies.grants is not None and not policies.grants
            if not none and "grant" in binds and facts.action.startswith("kms:"):
                limited = _may_be_silent(boundary) or _may_be_silent(session)
                foreign = not self.same_account and (limited or _may_be_silent(identity))
                grant = _grants(policies.grants, facts, limited=limited, foreign=foreign)
        return (
            _resource_control(policies.resource_control, facts),
            _service_control(policies.service_control, facts),
            resource,
            grant,
            identity,
            boundary,
            session,
        )

    def _session(self) -> Reading | Bounds:
        """The session policies. GetFederationToken gives nothing that none of them allows.

        Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetFederationToken.html
        """
        given = self.policies.session
        if given is not None and not given and ":federated-user/" in self.facts.principal.arn:
            return _SILENT
        return _limit(given, self.facts)

    def unknown(self, layers: Layers, not_given: tuple[str, ...]) -> Decision:
        """The decision where the worst and the best differ: because of what.

        At the best, with which the request is allowed, any Deny turns the outcome: so each layer
        not given that may deny matters, and each Deny that is not sure.
        """
        read = self.judge([one.read if isinstance(one, Bounds) else one for one in layers])
        unknown: list[str] = []
        keys: dict[str, str] = {}
        doubts: dict[Doubt, None] = {}
        for index, bounds in enumerate(layers):
            if not isinstance(bounds, Bounds):
                continue
            if bounds.worst is _DENIES or (
                not bounds.unsure and self._matters(layers, index, bounds.best)
            ):
                unknown.append(_FIELDS[_LAYERS[index]])
            for unsure in bounds.unsure:
                if unsure.allow:
                    with_it = bounds.quiet.copy()
                    unsure.apply_to(with_it)
                    if not self._matters(layers, index, with_it):
                        continue
                for key in unsure.why.keys:
                    keys.setdefault(key.lower(), key)
                doubts |= dict.fromkeys(unsure.why.doubts)
        return Decision(
            Outcome.UNKNOWN,
            "unknown",
            None,
            None,
            not_given,
            tuple(unknown),
            read.allowed,
            tuple(keys.values()),
            tuple(doubts),
        )

    def _matters(self, layers: Layers, index: int, reading: Reading) -> bool:
        """Whether a layer, read thus and not quietly, turns the outcome for something unsettled.

        The other layers that are not settled are each taken at their best and quietly.
        """
        choices = [(one,) if isinstance(one, Reading) else (one.best, one.quiet) for one in layers]
        bounds = layers[index]
        assert isinstance(bounds, Bounds)
        choices[index] = (reading,)
        for taken in itertools.product(*choices):
            other = [*taken]
            other[index] = bounds.quiet
            if self.judge(taken).allowed is not self.judge(other).allowed:
                return True
        return False


def _statements(
    policies: Sequence[Policy] | None, facts: Facts, *, otherwise: Reading = _SILENT
) -> Reading | Bounds:
    """What the statements of a layer say; `otherwise`: what it says where none applies."""
    if not policies:
        return _NO_POLICY if policies is None else otherwise
    deny, allow, by_role, delegated = otherwise.deny, otherwise.allow, None, None
    unsure: list[Unsure] = []
    for policy in policies:
        for statement in policy.statements:
            naming = statement.applies(facts)
            if naming is None:
                continue
            if isinstance(naming, Maybe):
                unsure.append(Unsure(statement.ref, statement.allow, naming))
            elif not statement.allow:
                deny = deny or statement.ref
            elif naming is _DIRECT:
                allow = allow or statement.ref
            elif naming is _ROLE:
                by_role = by_role or statement.ref
            else:
                delegated = delegated or statement.ref
    reading = Reading(deny, allow, by_role, delegated)
    return reading if not unsure else _bounds(reading, unsure)


def _retiring(resource: Reading | Bounds, *, root: bool) -> Reading | Bounds:
    """What is left of a key policy for kms:RetireGrant, of which it neither allows nor denies any.

    The grant does, to the principals that it names; the account may let its own by their policies.
    Source: https://docs.aws.amazon.com/kms/latest/developerguide/grant-delete.html
    """

    def of_account(reading: Reading) -> Reading:
        return Reading(allow=reading.allow if root else None, delegated=reading.delegated)

    if isinstance(resource, Reading):
        return of_account(resource)
    if resource is _NO_POLICY:
        best = of_account(Reading(allow=_UNWRITTEN, delegated=_UNWRITTEN))
        return Bounds(_SILENT, best, read=_SILENT, quiet=_SILENT)
    kept = [
        each for each in resource.unsure if each.allow and (root or each.why.naming is _ACCOUNT)
    ]
    sure = of_account(resource.quiet)
    return _bounds(sure, kept) if kept else sure


def _bounds(sure: Reading, unsure: Sequence[Unsure]) -> Bounds:
    """A layer with statements that may apply."""
    worst, best = sure.copy(), sure.copy()
    for each in unsure:
        each.apply_to(best if each.allow else worst)
    return Bounds(worst, best, read=worst, quiet=sure, unsure=tuple(unsure))


def _limit(policies: Sequence[Policy] | None, facts: Facts) -> Reading | Bounds:
    """A layer that limits only when there is one."""
    if policies:
        return _statements(policies, facts)
    return _NO_LIMIT if policies is None else _ALLOWS


def _service_control(levels: Sequence[Sequence[Policy]] | None, facts: Facts) -> Reading | Bounds:
    """Service control policies: each level must allow. They do not bind service-linked roles.

    Source: https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps_evaluation.html
    """
    if levels is not None and not levels:
        return _ALLOWS
    if "service_control" not in _BINDS[facts.principal.kind] or _linked(facts):
        return _ALLOWS
    if levels is None:
        return _NO_LIMIT
    return _every([_statements(level, facts) for level in levels])


def _resource_control(levels: Sequence[Sequence[Policy]] | None, facts: Facts) -> Reading | Bounds:
    """Resource control policies, which only deny.

    RCPFullAWSAccess is attached to each level and cannot be taken away, whether it was read or
    not. They bind neither service-linked roles nor kms:RetireGrant.
    Sources: https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_rcps.html
    https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_rcps_evaluation.html
    https://docs.aws.amazon.com/kms/latest/developerguide/resource-control-policies.html
    """
    if levels is not None and not levels:
        return _ALLOWS
    if facts.action == "kms:retiregrant" or _linked(facts):
        return _ALLOWS
    if levels is None:
        return _NO_LIMIT
    found = _every([_statements(level, facts, otherwise=_ALLOWS) for level in levels])
    deny = found.worst.deny if isinstance(found, Bounds) else found.deny
    service = facts.action.partition(":")[0]
    of_resource = facts.resource != "*"
    if deny is None or (of_resource and service in _UNDER_RESOURCE_CONTROL):
        return found
    what = service if of_resource else "an action without a resource"
    doubt = Doubt(f"resource control policies on {what}", deny.policy)
    return _bounds(_ALLOWS, [Unsure(deny, False, Maybe(Naming.DIRECT, (), (doubt,)))])


def _linked(facts: Facts) -> bool:
    """Whether the principal is a service-linked role, or a session of one."""
    principal = facts.principal
    return ":role/aws-service-role/" in (principal.role_arn or principal.arn)


def _every(levels: Sequence[Reading | Bounds]) -> Reading | Bounds:
    """Levels of which each may deny and each must allow."""
    if all(isinstance(level, Reading) for level in levels):
        return _each([level for level in levels if isinstance(level, Reading)])
    bounds = [
        level if isinstance(level, Bounds) else Bounds(level, level, read=level, quiet=level)
        for level in levels
    ]
    # An Allow that is not sure matters only where no sure one is beside it.
    unsure = [
        each
        for level in bounds
        for each in level.unsure
        if not each.allow or level.quiet.allow is None
    ]
    return Bounds(
        worst=_each([level.worst for level in bounds]),
        best=_each([level.best for level in bounds]),
        read=_each([level.read for level in bounds]),
        quiet=_each([level.quiet for level in bounds]),
        unsure=tuple(unsure),
    )


def _each(levels: Sequence[Reading]) -> Reading:
    for level, reading in enumerate(levels):
        if reading.deny is not None:
            return Reading(deny=reading.deny, level=level)
    for level, reading in enumerate(levels):
        if reading.allow is None:
            return Reading(level=level)
    return _ALLOWS


def _grants(
    grants: Sequence[Grant] | None, facts: Facts, *, limited: bool, foreign: bool
) -> Reading | Bounds:
    """The grants.

    `limited`: the boundary or the session policy may not allow; `foreign`: what is in the
    principal's account, which is not the key's, may not.
    """
    if grants is None:  # across accounts, what a grant alone would do is not documented
        return _NO_GRANTS_ACROSS if foreign else _NO_GRANTS
    if not grants:
        return _SILENT
    reading = Reading()
    unsure: list[Unsure] = []
    for grant in grants:
        naming = _grant_naming(grant, facts)
        if naming is None:
            continue
        keys = _unmatched(grant, facts)
        if keys is None:
            continue
        ref = StatementRef(grant.grant_id, None, 0)
        element, instead = _undocumented(naming, facts, limited=limited, foreign=foreign)
        if not instead and not keys:
            reading.add(ref, allow=True, naming=naming)
        elif not instead:
            unsure.append(Unsure(ref, True, Maybe(naming, keys, ())))
        if element is not None:
            why = Maybe(naming, keys, (Doubt(element, grant.grant_id),))
            unsure.append(Unsure(ref, True, why, outright=True))
    return reading if not unsure else _bounds(reading, unsure)


def _grant_naming(grant: Grant, facts: Facts) -> Naming | None:
    """How a grant names the principal of the request, None when it does not cover it.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html
    """
    operation = facts.action.removeprefix("kms:")
    if grant.key_arn != facts.resource:
        return None
    if operation not in {each.lower() for each in grant.operations}:
        return None
    return Principals([grant.grantee], [grant.grantee]).naming(facts.principal)


def _unmatched(grant: Grant, facts: Facts) -> tuple[str, ...] | None:
    """Whether the encryption context is what a grant asks for: names in any letter case.

    None when it is not, () when it is, and else the condition keys on which that rests.
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GrantConstraints.html
    """
    equals, subset = grant.encryption_context_equals, grant.encryption_context_subset
    if (equals is None and subset is None) or facts.action[4:] in _UNCONSTRAINED:
        return ()
    context = _pairs(facts.encryption_context())
    keys: dict[str, None] = {}
    for name, value in (*(equals or {}).items(), *(subset or {}).items()):
        if (name.lower(), value) in context:
            continue
        if facts.value(ENCRYPTION_CONTEXT + name.lower()) is not NOT_KNOWN:
            return None
        keys[f"kms:EncryptionContext:{name}"] = None
    if equals is not None:
        if not context <= _pairs(equals):
            return None
        if facts.value(ENCRYPTION_CONTEXT_KEYS) is NOT_KNOWN:
            keys["kms:EncryptionContextKeys"] = None
    return tuple(keys)


def _pairs(context: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset((name.lower(), value) for name, value in context.items())


def _undocumented(
    naming: Naming, facts: Facts, *, limited: bool, foreign: bool
) -> tuple[str | None, bool]:
    """What AWS does not say of a grant that covers the request; whether it then says nothing at
    all, and not only what the grant does where the limits do not allow.
    """
    if facts.action == "kms:creategrant":
        return "CreateGrant by a grant", True
    if naming is Naming.ACCOUNT:
        return "a grant to an account", True
    if facts.principal.account is None:
        return None, False
    if foreign:
        return "a grant to another account's principal whose own policies do not allow", False
    if naming is Naming.ROLE and limited:
        return "a grant to a role whose boundary or session policy does not allow", False
    return None, False


def _settled(layers: Layers) -> TypeGuard[Readings]:
    return Bounds not in map(type, layers)


def _may_be_silent(layer: Reading | Bounds) -> bool:
    """Whether a layer that was given may not allow."""
    if isinstance(layer, Bounds):
        return layer.worst is not _DENIES and layer.quiet.allow is None
    return layer.allow is None


def _denied(readings: Readings) -> Verdict:
    """By the first layer, in the order in which AWS evaluates them, that denies."""
    layer, reading = next(pair for pair in zip(_LAYERS, readings, strict=True) if pair[1].deny)
    return Verdict(False, "explicit_deny", layer, reading.deny, reading.level)


def _direct(resource: Reading, grant: Reading) -> Verdict | None:
    if resource.allow is not None:
        return Verdict(True, "allowed", "resource", resource.allow)
    if grant.allow is not None:
        return Verdict(True, "allowed", "grant", grant.allow)
    return None


def _within(
    rule: Rule, resource: Reading, grant: Reading, identity: Reading, limit: Layer | None
) -> Verdict:
    """Principal and resource are of one account."""
    direct = _direct(resource, grant)
    if direct is not None:
        return direct
    delegated = rule != "resource" or resource.delegated is not None
    path: Verdict | None = None
    if resource.by_role is not None:
        path = Verdict(True, "allowed", "resource", resource.by_role)
    elif grant.by_role is not None:
        path = Verdict(True, "allowed", "grant", grant.by_role)
    elif delegated and identity.allow is not None:
        path = Verdict(True, "allowed", "identity", identity.allow)
    if path is None:
        return Verdict(False, "implicit_deny", "identity" if delegated else "resource")
    return path if limit is None else Verdict(False, "implicit_deny", limit)


def _across(resource: Reading, grant: Reading, identity: Reading, limit: Layer | None) -> Verdict:
    """Principal and resource are of two accounts: both must allow."""
    named = (resource.allow, resource.by_role, resource.delegated)
    granted = (grant.allow, grant.by_role)
    if not any(named) and not any(granted):
        return Verdict(False, "implicit_deny", "resource")
    if identity.allow is None:
        return Verdict(False, "implicit_deny", "identity")
    if limit is not None:
        return Verdict(False, "implicit_deny", limit)
    return Verdict(True, "allowed", "identity", identity.allow)


def _rule(facts: Facts) -> Rule:
    """Keys and roles are governed by their own policy.

    Calls without a key, and aliases as such, are governed by identity policies alone.
    """
    if facts.action.startswith("kms:"):
        return "resource" if facts.relative.startswith("key/") else "identity"
    return "resource" if facts.action in _TRUSTED else "either"


def _given(policies: Policies) -> tuple[object, ...]:
    return (
        policies.identity,
        policies.resource,
        policies.grants,
        policies.boundary,
        policies.session,
        policies.service_control,
        policies.resource_control,
    )


def _not_given(policies: Policies) -> tuple[str, ...]:
    names = Policies.__dataclass_fields__
    return tuple(name for name, value in zip(names, _given(policies), strict=True) if value is None)


def _decision(verdict: Verdict, not_given: tuple[str, ...]) -> Decision:
    allowed, reason, layer, statement, level = verdict
    outcome = _ALLOWED if allowed else _DENIED
    statement = None if statement is _UNWRITTEN else statement
    return Decision(outcome, reason, layer, statement, not_given, (), allowed, (), (), level)
