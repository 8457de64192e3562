"""The decision: what each layer says, and how AWS combines what they say.

An explicit Deny in any layer wins. Then, in one account, each of these is enough:

- the key policy (or any resource-based policy) names the user, the session or everyone: no
  implicit deny of another layer limits that;
- it names the session's role, or a grant or an identity policy allows: permissions boundary and
  session policy must allow too.

For keys and for assuming roles the resource's policy rules: identity policies count only when it
names the account. Between accounts both sides must allow. A grant only allows. What AWS does not
document is `Unsupported`: a grant to an account, one to a role whose boundary or session policy
does not allow, one to another account's principal whose own policies do not allow.

A layer that was not given is taken at its weakest and at its strongest; an element that is not
supported is taken as applying and as not applying. Where that makes no difference, it is the
answer; else it is UNKNOWN for the former and `Unsupported` for the latter.

Sources:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html
https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeGuard

from iamaccess.facts import Facts
from iamaccess.model import (
    Decision,
    Grant,
    Layer,
    Outcome,
    Policies,
    Policy,
    Reason,
    Request,
    StatementRef,
    Unsupported,
)
from iamaccess.principals import Naming, Principals
from iamaccess.statements import Doubt

Rule = Literal["resource", "either", "identity"]
"""Which side rules in one account: the resource's policy, either side, or identity policies."""

_TRUSTED = frozenset({"sts:assumerole", "sts:tagsession", "sts:setsourceidentity"})
_UNCONSTRAINED = frozenset({"describekey", "retiregrant"})


class Reading:
    """What one layer says: the first statement that denies, and the first that allows, by naming.

    `allow` is a plain or direct Allow, `by_role` one to the session's role, `delegated` one to the
    account; `outright` is a grant taken as limited by nothing.
    """

    __slots__ = ("allow", "by_role", "delegated", "deny", "outright")

    def __init__(
        self, *, deny: StatementRef | None = None, allow: StatementRef | None = None
    ) -> None:
        self.deny = deny
        self.allow = allow
        self.by_role: StatementRef | None = None
        self.delegated: StatementRef | None = None
        self.outright: StatementRef | None = None

    def add(self, ref: StatementRef, *, allow: bool, naming: Naming) -> None:
        """Count a statement that applies."""
        if not allow:
            self.deny = self.deny or ref
        elif naming is Naming.DIRECT:
            self.allow = self.allow or ref
        elif naming is Naming.ROLE:
            self.by_role = self.by_role or ref
        else:
            self.delegated = self.delegated or ref


class Verdict(NamedTuple):
    """What a full set of readings comes to."""

    allowed: bool
    reason: Reason
    layer: Layer
    statement: StatementRef | None = None


# Stands for a statement that nobody wrote: of a layer not given, or of the root user's full access.
_UNWRITTEN = StatementRef("", None, -1)
_SILENT = Reading()
_ALLOWS = Reading(allow=_UNWRITTEN)
_DENIES = Reading(deny=_UNWRITTEN)

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
_LIMITS = frozenset({"resource_control", "service_control", "boundary", "session"})
_BINDS: Mapping[str, frozenset[Layer]] = {
    "root": frozenset({"resource_control", "service_control", "resource", "grant"}),
    "user": frozenset(_LAYERS) - {"session"},
    "role": frozenset(_LAYERS) - {"session"},
    "session": frozenset(_LAYERS),
    "service": frozenset({"resource_control", "resource", "grant"}),
    "anonymous": frozenset({"resource_control", "resource"}),
}
"""The layers that can bear on a kind of principal; what is given of others does not count.

The root user has full access, which resource-based policies and the organization may limit.
"""

Complete = tuple[Reading, ...]
"""One reading for each of _LAYERS."""
Readings = Complete | tuple[Reading | None, ...]
"""The same, with None for a layer that was not given and may matter."""


def decide(request: Request, policies: Policies) -> Decision:
    """Decide a request by what is written. Never raises for "no".

    Raises: Unsupported, when an element that this engine cannot judge could have changed the
    outcome.
    """
    case = _Case(request, policies)
    doubts: list[Doubt] = []
    decision = case.settle(case.read((), doubts))
    if doubts:
        case.refuse_if_they_matter(doubts)
    return decision


def facts_of(request: Request, policies: Policies) -> Facts:
    """The request as statements see it: for `Statement.examine`."""
    bounded = bool(policies.boundary) and "boundary" in _BINDS[request.principal.kind]
    return Facts(request, bounded=bounded)


class _Case:
    """One request with its policies."""

    def __init__(self, request: Request, policies: Policies) -> None:
        self.facts = facts_of(request, policies)
        self.policies = policies
        self.rule = _rule(self.facts)
        self.same_account = request.principal.account == self.facts.owner

    def settle(self, readings: Readings) -> Decision:
        """The decision, with the layers not given at their weakest and strongest."""
        not_given = () if None not in _given(self.policies) else _not_given(self.policies)
        if _complete(readings):
            return _decision(self.judge(readings), not_given)
        missing = [index for index, reading in enumerate(readings) if reading is None]
        read = self.judge(_fill(readings, missing, map(_neutral, missing)))
        weakest = self.judge(_fill(readings, missing, map(_weakest, missing)))
        strongest = self.judge(_fill(readings, missing, itertools.repeat(_ALLOWS)))
        if weakest.allowed is strongest.allowed:
            return _decision(read, not_given)
        because = self._pivots(readings, missing, _weakest) | self._pivots(
            readings, missing, _neutral
        )
        unknown = tuple(_FIELDS[_LAYERS[index]] for index in missing if index in because)
        return Decision(Outcome.UNKNOWN, "unknown", None, None, not_given, unknown, read.allowed)

    def _pivots(
        self, readings: Readings, missing: Sequence[int], weak: Callable[[int], Reading]
    ) -> set[int]:
        """Those of the missing layers that alone turn the outcome, the others being as they may.

        Each is taken at its strongest or as `weak` has it.
        """
        allowed = {
            strong: self.judge(
                _fill(
                    readings,
                    missing,
                    [
                        _ALLOWS if best else weak(index)
                        for index, best in zip(missing, strong, strict=True)
                    ],
                )
            ).allowed
            for strong in itertools.product((False, True), repeat=len(missing))
        }
        return {
            index
            for place, index in enumerate(missing)
            for strong, outcome in allowed.items()
            if outcome != allowed[(*strong[:place], not strong[place], *strong[place + 1 :])]
        }

    def refuse_if_they_matter(self, doubts: Sequence[Doubt]) -> None:
        """Raise Unsupported when the doubtful statements, taken either way, change the outcome."""

        def outcome(counted: Collection[Doubt]) -> tuple[Outcome, bool]:
            decision = self.settle(self.read(counted, []))
            return decision.outcome, decision.allowed_by_what_was_read

        at_worst = outcome([doubt for doubt in doubts if not doubt.allow])
        at_best = outcome([doubt for doubt in doubts if doubt.allow])
        if at_worst == at_best:
            return
        without = outcome([])
        alone = (doubt for doubt in doubts if outcome([doubt]) != without)
        culprit = next(alone, doubts[0])
        raise Unsupported(culprit.element, culprit.policy, culprit.pointer)

    def judge(self, readings: Complete) -> Verdict:
        """Combine the layers' readings, all of them given."""
        for index, reading in enumerate(readings):
            if reading.deny is not None:
                return Verdict(False, "explicit_deny", _LAYERS[index], reading.deny)
        resource_control, service_control, resource, grant, identity, boundary, session = readings
        if resource_control.allow is None:
            return Verdict(False, "implicit_deny", "resource_control")
        if service_control.allow is None:
            return Verdict(False, "implicit_deny", "service_control")
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

    def read(self, counted: Collection[Doubt], doubts: list[Doubt]) -> Readings:
        """What each layer says. Statements in doubt are added to `doubts`.

        Those in `counted` are taken as applying.
        """
        policies, kind = self.policies, self.facts.principal.kind
        reader = _Reader(self.facts, counted, doubts)
        binds = _BINDS[kind]
        boundary = reader.limit(policies.boundary) if "boundary" in binds else _ALLOWS
        session = reader.limit(policies.session) if "session" in binds else _ALLOWS
        identity: Reading | None = _ALLOWS if kind == "root" else _SILENT
        resource: Reading | None = _SILENT
        grant: Reading | None = _SILENT
        if "identity" in binds:
            identity = reader.statements(policies.identity)
        if self.rule != "identity":
            resource = reader.statements(policies.resource)
            if "grant" in binds and self.facts.action.startswith("kms:"):
                limited = _silent(boundary) or _silent(session)
                foreign = not self.same_account and (limited or _silent(identity))
                grant = reader.grants(policies.grants, limited=limited, foreign=foreign)
        return (
            reader.organization("resource_control", policies.resource_control),
            reader.organization("service_control", policies.service_control),
            resource,
            grant,
            identity,
            boundary,
            session,
        )


class _Reader:
    """Reads layers for one request."""

    def __init__(self, facts: Facts, counted: Collection[Doubt], doubts: list[Doubt]) -> None:
        self.facts = facts
        self.counted = counted
        self.doubts = doubts

    def statements(self, policies: Sequence[Policy] | None) -> Reading | None:
        if not policies:
            return None if policies is None else _SILENT
        reading, facts = Reading(), self.facts
        for policy in policies:
            for statement in policy.statements:
                answer = statement.applies(facts)
                if answer is None:
                    continue
                if isinstance(answer, Doubt):
                    answer = self._taken(answer)
                if answer is not None:
                    reading.add(statement.ref, allow=statement.allow, naming=answer)
        return reading

    def limit(self, policies: Sequence[Policy] | None) -> Reading | None:
        """A layer that limits only when there is one."""
        return self.statements(policies) if policies or policies is None else _ALLOWS

    def grants(
        self, grants: Sequence[Grant] | None, *, limited: bool, foreign: bool
    ) -> Reading | None:
        """The grants.

        `limited`: the boundary or the session policy does not allow; `foreign`: nothing in the
        principal's account, which is not the key's, does.
        """
        if not grants:
            return None if grants is None else _SILENT
        reading = Reading()
        for grant in grants:
            naming = _grant_naming(grant, self.facts)
            if naming is None:
                continue
            ref = StatementRef(grant.grant_id, None, 0)
            doubt = _grant_doubt(grant, naming, limited, foreign, self.facts)
            if doubt is None:
                reading.add(ref, allow=True, naming=naming)
            elif self._taken(doubt):
                reading.outright = reading.outright or ref
        return reading

    def organization(
        self, layer: Layer, levels: Sequence[Sequence[Policy]] | None
    ) -> Reading | None:
        """Policies of the organization, which cannot be judged yet. They spare linked roles.

        Source: https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps.html
        """
        if levels is not None and not levels:
            return _ALLOWS
        principal = self.facts.principal
        linked = ":role/aws-service-role/" in (principal.role_arn or principal.arn)
        if linked or layer not in _BINDS[principal.kind]:
            return _ALLOWS
        if levels is None:
            return None
        name = next((policy.name for level in levels for policy in level), "")
        element = f"{layer.replace('_', ' ')} policies"
        doubt = Doubt(element, name, "", False, Naming.DIRECT)
        self._note(doubt)
        return _DENIES if doubt in self.counted else _ALLOWS

    def _taken(self, doubt: Doubt) -> Naming | None:
        self._note(doubt)
        return doubt.naming if doubt in self.counted else None

    def _note(self, doubt: Doubt) -> None:
        if doubt not in self.doubts:
            self.doubts.append(doubt)


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


def _grant_naming(grant: Grant, facts: Facts) -> Naming | None:
    """How a grant covers the request, None when it does not.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html
    """
    operation = facts.action.removeprefix("kms:")
    if grant.key_arn != facts.resource:
        return None
    if operation not in {each.lower() for each in grant.operations}:
        return None
    if operation not in _UNCONSTRAINED and not _context_fits(grant, facts):
        return None
    return Principals([grant.grantee], [grant.grantee]).naming(facts.principal)


def _context_fits(grant: Grant, facts: Facts) -> bool:
    """Whether a request has the context that a grant asks for: names in any letter case.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GrantConstraints.html
    """
    context = _pairs(facts.encryption_context())
    equals, subset = grant.encryption_context_equals, grant.encryption_context_subset
    if equals is not None and _pairs(equals) != context:
        return False
    return subset is None or _pairs(subset) <= context


def _pairs(context: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset((name.lower(), value) for name, value in context.items())


def _grant_doubt(
    grant: Grant, naming: Naming, limited: bool, foreign: bool, facts: Facts
) -> Doubt | None:
    """What AWS does not say of a grant that covers the request, None when it says all."""
    element = None
    if facts.action == "kms:creategrant":
        element = "CreateGrant by a grant"
    elif naming is Naming.ACCOUNT:
        element = "a grant to an account"
    elif facts.principal.account is not None and foreign:
        element = "a grant to another account's principal whose own policies do not allow"
    elif facts.principal.account is not None and naming is Naming.ROLE and limited:
        element = "a grant to a role whose boundary or session policy does not allow"
    return None if element is None else Doubt(element, grant.grant_id, "", True, naming)


def _silent(reading: Reading | None) -> bool:
    return reading is not None and reading.allow is None


def _neutral(index: int) -> Reading:
    """A layer that neither grants, limits nor denies."""
    return _ALLOWS if _LAYERS[index] in _LIMITS else _SILENT


def _weakest(index: int) -> Reading:
    return _SILENT if _LAYERS[index] == "grant" else _DENIES


def _complete(readings: Readings) -> TypeGuard[Complete]:
    return None not in readings


def _fill(readings: Readings, missing: Sequence[int], taken: Iterable[Reading]) -> Complete:
    filled = dict(zip(missing, taken, strict=False))
    return tuple(reading or filled[index] for index, reading in enumerate(readings))


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
    statement = None if verdict.statement is _UNWRITTEN else verdict.statement
    outcome = Outcome.ALLOWED if verdict.allowed else Outcome.DENIED
    return Decision(
        outcome, verdict.reason, verdict.layer, statement, not_given, (), verdict.allowed
    )
