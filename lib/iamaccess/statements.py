"""A compiled statement, and whether it applies to a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from iamaccess.conditions import Test
from iamaccess.facts import NOT_KNOWN, Facts
from iamaccess.model import Doubt, StatementRef
from iamaccess.patterns import Patterns
from iamaccess.principals import Naming, Principals

_DIRECT = Naming.DIRECT


class Maybe(NamedTuple):
    """Why it cannot be said whether a statement applies, and how it then names the principal.

    `keys` are the condition keys that the request does not tell, as written.
    """

    naming: Naming
    keys: tuple[str, ...]
    doubts: tuple[Doubt, ...]


class ExaminedCondition(NamedTuple):
    """One key under one operator, as written, beside the request.

    `had` is the request's value, None where it has none. `met` is None where it cannot be said:
    AWS does not document it, or, where `known` is false, the request does not tell the key's value.
    """

    operator: str
    key: str
    wanted: tuple[str, ...]
    had: str | tuple[str, ...] | None
    met: bool | None
    known: bool
    pointer: str


class Examined(NamedTuple):
    """Each element of a statement by itself: whether it matches the request.

    None where it cannot be said. An element that the kind of policy has not (a Principal in an
    identity policy, a Resource in a trust policy) matches. Not elements are already turned round.
    """

    principal: bool | None
    action: bool
    resource: bool | None
    conditions: tuple[ExaminedCondition, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One statement. `principals` is None in identity policies, `resources` in trust policies.

    `undocumented` are elements that AWS does not document, each with its JSON pointer.
    """

    ref: StatementRef
    pointer: str
    allow: bool
    principals: Principals | None
    not_principal: bool
    actions: Patterns
    not_action: bool
    resources: Patterns | None
    not_resource: bool
    tests: tuple[Test, ...]
    undocumented: tuple[tuple[str, str], ...]

    @property
    def void(self) -> bool:
        """Whether it has no effect: no actions, no resources or no principals are listed."""
        parts = (self.actions, self.resources, self.principals)
        return any(part is not None and part.empty for part in parts)

    def applies(self, facts: Facts) -> Naming | Maybe | None:
        """How the statement applies to the request: None when it does not."""
        principals, resources = self.principals, self.resources
        if (
            principals is not None
            and principals.only_names
            and not self.not_principal
            and principals.names.isdisjoint(facts.names)
        ):
            return None
        if self.actions.fixed(facts.action) is self.not_action:
            return None
        certain = not self.undocumented
        if resources is None or resources.anything:
            if self.not_resource:
                return None
        else:
            found = resources.match(facts.resource, facts.variable)
            if found is self.not_resource:
                return None
            certain = certain and found is not None
        for test in self.tests:
            holds = test.holds(facts)
            if holds is not True:
                if holds is False:
                    return None
                certain = False
        if principals is None:
            named: Naming | None = _DIRECT
        elif principals.only_names and not self.not_principal:
            named = principals.naming(facts.principal)
        else:
            named, doubt = self._named(principals, facts)
            certain = certain and doubt is None
        return named if certain or named is None else self._maybe(named, facts)

    def examine(self, facts: Facts) -> Examined:
        """Each element by itself, for an explanation. `applies` is what decides."""
        principal: bool | None = True
        if self.principals is not None:
            named, doubt = self._named(self.principals, facts)
            principal = None if doubt is not None else named is not None
        return Examined(
            principal=principal,
            action=self.actions.fixed(facts.action) is not self.not_action,
            resource=self._resource(facts),
            conditions=tuple(_examined(test, facts) for test in self.tests),
        )

    def _resource(self, facts: Facts) -> bool | None:
        if self.resources is None:
            return True
        found = self.resources.match(facts.resource, facts.variable)
        return None if found is None else found is not self.not_resource

    def _named(self, principals: Principals, facts: Facts) -> tuple[Naming | None, str | None]:
        """How the principal is named, and what of that AWS does not document."""
        principal = facts.principal
        naming = principals.naming(principal)
        if not self.not_principal:
            if naming is None and principals.may_name(principal):
                return Naming.DIRECT, f"principal {principals.unknown}"
            return naming, None
        # A principal with a permissions boundary is always denied.
        spared = False if facts.bounded else principals.spares(principal)
        if self.allow and not spared:
            return Naming.DIRECT, "NotPrincipal with Allow"
        if spared is None:
            return Naming.DIRECT, "NotPrincipal that lists the principal or its account"
        if spared is False and not facts.bounded and principals.may_name(principal):
            return Naming.DIRECT, f"principal {principals.unknown}"
        return None if spared else Naming.DIRECT, None

    def _maybe(self, naming: Naming, facts: Facts) -> Maybe:
        """All that keeps the statement from being settled."""
        keys: dict[str, None] = {}
        elements = [*self.undocumented]
        if self.principals is not None:
            _, doubt = self._named(self.principals, facts)
            if doubt is not None:
                elements.append((doubt, self.pointer))
        if self._resource(facts) is None:
            keys |= _unknown_variables(self.resources, facts)
        for test in self.tests:
            if test.holds(facts) is None:
                unknown = test.unknown_keys(facts)
                keys |= dict.fromkeys(unknown)
                if not unknown:
                    elements.append((test.doubt(facts), test.pointer))
        policy = self.ref.policy
        doubts = tuple(Doubt(element, policy, pointer) for element, pointer in elements)
        return Maybe(naming, tuple(keys), doubts)


def _unknown_variables(patterns: Patterns | None, facts: Facts) -> dict[str, None]:
    keys = () if patterns is None else patterns.variables
    return {key: None for key in keys if facts.value(key.lower()) is NOT_KNOWN}


def _examined(test: Test, facts: Facts) -> ExaminedCondition:
    operator, key, wanted = test.written
    had = facts.value(key.lower())
    known = had is not NOT_KNOWN
    return ExaminedCondition(
        operator=operator,
        key=key,
        wanted=wanted,
        had=had if isinstance(had, str | tuple) else None,
        met=test.holds(facts),
        known=known and not test.unknown_keys(facts),
        pointer=test.pointer,
    )
