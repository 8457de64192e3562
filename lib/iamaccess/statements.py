"""A compiled statement, and whether it applies to a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from iamaccess.conditions import Test
from iamaccess.facts import Facts
from iamaccess.model import StatementRef
from iamaccess.patterns import Patterns
from iamaccess.principals import Naming, Principals


@dataclass(frozen=True, slots=True)
class Doubt:
    """A statement that applies if an element of it, which cannot be judged here, does.

    `naming` is how it then names the principal.
    """

    element: str
    policy: str
    pointer: str
    allow: bool
    naming: Naming


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
    """One statement. `principals` is None in identity policies, `resources` in trust policies."""

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
    unsupported: tuple[tuple[str, str], ...]

    @property
    def void(self) -> bool:
        """Whether it has no effect: no actions, no resources or no principals are listed."""
        parts = (self.actions, self.resources, self.principals)
        return any(part is not None and part.empty for part in parts)

    def applies(self, facts: Facts) -> Naming | Doubt | None:
        """How the statement applies to the request: None when it does not."""
        principals, resources = self.principals, self.resources
        if (
            principals is not None
            and not self.not_principal
            and principals.unknown is None
            and principals.names.isdisjoint(facts.names)
        ):
            return None
        if self.actions.match(facts.action, facts.variable) is self.not_action:
            return None
        if (
            resources is not None
            and resources.match(facts.resource, facts.variable) is self.not_resource
        ):
            return None
        doubts = [*self.unsupported]
        named = Naming.DIRECT if principals is None else self._named(principals, facts, doubts)
        if named is None:
            return None
        for test in self.tests:
            holds = test.holds(facts)
            if holds is False:
                return None
            if holds is None:
                doubts.append((test.element, test.pointer))
        if not doubts:
            return named
        element, pointer = doubts[0]
        return Doubt(element, self.ref.policy, pointer, self.allow, named)

    def examine(self, facts: Facts) -> Examined:
        """Each element by itself, for an explanation. `applies` is what decides."""
        doubts: list[tuple[str, str]] = []
        named = self.principals is None or self._named(self.principals, facts, doubts) is not None
        resource = (
            self.resources is None
            or self.resources.match(facts.resource, facts.variable) is not self.not_resource
        )
        return Examined(
            principal=None if doubts else named,
            action=self.actions.match(facts.action, facts.variable) is not self.not_action,
            resource=resource,
            conditions=tuple(
                ExaminedCondition(
                    *test.written,
                    had=facts.value(test.written.key.lower()),
                    met=test.holds(facts),
                    known=True,
                    pointer=test.pointer,
                )
                for test in self.tests
            ),
        )

    def _named(
        self, principals: Principals, facts: Facts, doubts: list[tuple[str, str]]
    ) -> Naming | None:
        principal = facts.principal
        naming = principals.naming(principal)
        if naming is None and principals.unknown is not None and principal.account is not None:
            doubts.append((f"principal {principals.unknown}", self.pointer))
            return Naming.DIRECT
        if not self.not_principal:
            return naming
        # A principal with a permissions boundary is always denied.
        spared = False if facts.bounded else principals.spares(principal)
        if spared is None:
            doubts.append(("NotPrincipal that lists the principal or its account", self.pointer))
        return None if spared else Naming.DIRECT
