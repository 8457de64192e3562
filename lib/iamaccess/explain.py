"""Why a decision came out as it did, in words, and which statements nearly allowed it.

    explain(request, policies, decide(request, policies))

Made only when somebody asks: `decide` never imports this module. What was not read is said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from iamaccess.decide import decide, facts_of
from iamaccess.model import (
    Decision,
    Grant,
    Layer,
    Outcome,
    Policies,
    Policy,
    Request,
    StatementRef,
)
from iamaccess.nearness import nearness
from iamaccess.principals import Naming
from iamaccess.statements import Examined, ExaminedCondition, Maybe, Statement

SHOWN: Final = 3
"""How many of the nearest misses an explanation has at most."""
_COMPARED: Final = 12
"""How many are compared letter by letter before the nearest are chosen."""
_FAR: Final = 2
"""How many elements may fail of a near miss; its conditions are one."""
_LISTED: Final = 5
"""How many of several values are told."""

_NOT_TOLD: Final = "which the request does not tell"
_UNDOCUMENTED: Final = "AWS does not document it"

LAYERS: Final[Mapping[str, str]] = {
    "identity": "identity policies",
    "resource": "key policy",
    "grants": "grants",
    "boundary": "permissions boundary",
    "session": "session policy",
    "service_control": "SCP",
    "resource_control": "RCP",
}
"""The layers, by the names of the fields of `Policies`, as a person knows them."""
_SETTLES: Final[Mapping[str, str]] = {
    "identity": "reading the identity policies of the principal, its groups' included",
    "resource": "reading the {resource}",
    "grants": "reading the key's grants",
    "boundary": "reading the permissions boundary",
    "session": "reading the session policy, if there is one",
    "service_control": "reading the SCPs of the account and of each level above it",
    "resource_control": "reading the RCPs of the account and of each level above it",
}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One element of a statement that does not match.

    `element` is as written (`condition StringLike aws:SourceIp`), `needs` its values, none where
    the statement lacks it; `has` is the request's value, None where it has none. `hint` says what
    little the two differ in, or what keeps them from being compared.
    """

    element: str
    needs: tuple[str, ...]
    has: tuple[str, ...] | None
    hint: str = ""

    def __str__(self) -> str:
        if not self.needs:
            return f"{self.element}: {self.hint}"
        needs = f"{self.element} needs {_either(self.needs)}"
        if self.hint == _NOT_TOLD:
            return f"{needs}, {_NOT_TOLD}"
        has = "none" if self.has is None else _either(self.has, "and")
        return f"{needs}, the request has {has}{f' ({self.hint})' if self.hint else ''}"


@dataclass(frozen=True, slots=True)
class Miss:
    """A statement (or a grant) that would have allowed, but for the elements in `failed`."""

    layer: Layer
    place: str
    statement: StatementRef
    matched: tuple[str, ...]
    failed: tuple[Mismatch, ...]

    def __str__(self) -> str:
        verb = "matches" if len(self.matched) == 1 else "match"
        matched = [f"{_either(self.matched, 'and')} {verb}"] if self.matched else []
        return f"{self.place}: {'; '.join([*matched, *map(str, self.failed)])}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why: the `sentence`; of what is not allowed also the nearest misses, nearest first.

    Of UNKNOWN the first of them are the statements of which it cannot be said whether they apply.

    `unread` are the layers that were not given and make no difference, as a person knows them;
    `settles` says what would turn UNKNOWN into an answer.
    """

    outcome: Outcome
    sentence: str
    misses: tuple[Miss, ...]
    unread: tuple[str, ...]
    settles: tuple[str, ...]

    def __str__(self) -> str:
        """The whole of it, a line each: the sentence, the misses, what was not read."""
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """The sentence under its outcome, each miss, and what is not known."""
        yield f"{self.outcome.value}: {self.sentence}"
        for number, miss in enumerate(self.misses):
            first = "rests on: " if self.outcome is Outcome.UNKNOWN else "nearest: "
            yield f"{first if number == 0 else 'then: '}{miss}"
        if self.unread:
            yield f"not read, which makes no difference: {', '.join(self.unread)}"
        if self.settles:
            yield f"what would settle it: {'; '.join(self.settles)}"


def explain(request: Request, policies: Policies, decision: Decision) -> Explanation:
    """Why `decide(request, policies)` gave `decision`.

    Of UNKNOWN it says what the layers that were read come to, and what would settle it.
    """
    case = _Case(request, policies)
    known = decision.outcome is not Outcome.UNKNOWN
    read = decision if known else decide(request, _as_if_none(policies))
    return Explanation(
        decision.outcome,
        case.sentence(decision) if known else case.of_unknown(decision, read),
        (
            *(case.unsure() if not known else ()),
            *(case.misses(read) if read.reason == "implicit_deny" else ()),
        ),
        tuple(_layers(decision.not_given, request.action)) if known else (),
        tuple(_settling(decision, request.action)),
    )


def _settling(decision: Decision, action: str) -> Iterator[str]:
    """What would turn UNKNOWN into an answer."""
    resource = _noun("resource", action)
    yield from (_SETTLES[name].format(resource=resource) for name in _in_order(decision.unknown))
    if decision.unknown_keys:
        they = "they are" if len(decision.unknown_keys) > 1 else "it is"
        yield f"telling {_keys(decision)}, or that {they} absent"
    for doubt in decision.undocumented:
        place = f"policy {doubt.policy!r} at {doubt.pointer or 'the top'}"
        yield f"a call, as AWS does not document {doubt.element} ({place})"


def _keys(decision: Decision) -> str:
    keys = decision.unknown_keys
    return f"the condition key{'s' if len(keys) > 1 else ''} {_either(keys, 'and')}"


def not_read(names: Collection[str], action: str = "kms:*") -> str:
    """Layers that were not given, by their names in `Policies`, as a person knows them.

    What the resource's policy is called is told by the action.
    """
    return ", ".join(_layers(names, action))


def _layers(names: Collection[str], action: str) -> Iterator[str]:
    called = {**LAYERS, "resource": _noun("resource", action)}
    yield from (called.get(name, name) for name in _in_order(names))


def _in_order(names: Collection[str]) -> list[str]:
    return [*(name for name in LAYERS if name in names), *(n for n in names if n not in LAYERS)]


def _as_if_none(policies: Policies) -> Policies:
    """The policies with each layer that was not given known to be none."""
    missing = [name for name in LAYERS if getattr(policies, name) is None]
    return replace(policies, **dict.fromkeys(missing, ()))


class _Case:
    """One request with its policies, to be told of."""

    def __init__(self, request: Request, policies: Policies) -> None:
        self.request = request
        self.policies = policies
        self.facts = facts_of(request, policies)

    def sentence(self, decision: Decision) -> str:
        """One sentence for ALLOWED or DENIED."""
        action, layer, statement = self.request.action, decision.layer, decision.statement
        if layer is None:
            return f"{action} is {decision.outcome.value.lower()}"
        if decision.outcome is Outcome.ALLOWED:
            return self._allowed(layer, statement)
        if decision.reason == "explicit_deny":
            where = _place(layer, statement, action) if statement else _noun(layer, action)
            return f"{where} denies {action} explicitly, and nothing outweighs that"
        return self._nothing(layer, decision.level)

    def _allowed(self, layer: Layer, statement: StatementRef | None) -> str:
        action = self.request.action
        if statement is None:
            return f"the root user may {action}: nothing that was read limits it"
        told = f"{_place(layer, statement, action)} allows {action}"
        if layer == "identity" and (by := self._delegation()) is not None:
            told += self._counts(by)
        return told

    def _nothing(self, layer: Layer, level: int | None) -> str:
        """Of an implicit deny: which layer allows it nowhere, and what that means."""
        action, account = self.request.action, self.request.principal.account
        if layer == "resource":
            noun = _noun("resource", action)
            told = f"no statement of the {noun} allows {action} to this principal"
            if account is None:
                return told
            if account != self.facts.owner:
                return f"{told}, which is not of the account {self.facts.owner}"
            return f"{told}, and none lets the account's identity policies count"
        if layer == "identity":
            if account != self.facts.owner:
                told = f"no identity policy of the account {account} allows {action}"
                return f"{told}, and between accounts both sides must"
            if (by := self._delegation()) is None:
                return f"no identity policy allows {action}"
            told = f"neither the {_noun('resource', action)} nor an identity policy allows {action}"
            return f"{told}{self._counts(by)}"
        noun = _noun(layer, action)
        if level is not None:
            return f"no {noun} of level {level + 1}, counted from the root, allows {action}"
        return f"the {noun} limits this principal, and does not allow {action}"

    def _counts(self, by: StatementRef) -> str:
        noun = _noun("resource", self.request.action)
        return f"; the {noun} lets identity policies count (statement {_name(by)})"

    def of_unknown(self, decision: Decision, read: Decision) -> str:
        """One sentence for UNKNOWN: what was read, and what could still turn it."""
        told = (
            "allowed by all that was read" if decision.allowed_by_what_was_read else "not settled"
        )
        if (so_far := self._so_far(read)) is not None:
            told += f" ({so_far})"
        if decision.unknown:
            told += f"; not read: {not_read(decision.unknown, self.request.action)}"
        if decision.unknown_keys:
            told += f"; the request does not tell {_keys(decision)}"
        if decision.undocumented:
            elements = dict.fromkeys(doubt.element for doubt in decision.undocumented)
            told += f"; AWS does not document {_either([*elements], 'and')}"
        return told

    def _so_far(self, read: Decision) -> str | None:
        """What was read comes to, in a sentence; None where what it would name was not read."""
        if read.outcome is Outcome.UNKNOWN or read.layer is None:
            return None
        if read.reason != "implicit_deny":
            return self.sentence(read)
        if self.policies.resource is None and read.layer in ("resource", "identity"):
            return None
        if self.policies.identity is None and read.layer == "identity":
            by = self._delegation()
            return None if by is None else self._counts(by).removeprefix("; ")
        return self.sentence(read)

    def _delegation(self) -> StatementRef | None:
        """The statement of the resource's policy that lets identity policies count."""
        for policy in self.policies.resource or ():
            for statement in policy.statements:
                if statement.allow and statement.applies(self.facts) is Naming.ACCOUNT:
                    return statement.ref
        return None

    # Near misses

    def unsure(self) -> tuple[Miss, ...]:
        """The statements of which it cannot be said whether they apply, and because of what."""
        found = []
        for layer, policy in self._all_policies():
            for written, statement in _effective(policy):
                if not isinstance(statement.applies(self.facts), Maybe):
                    continue
                matched, failed = self._elements(written, statement.examine(self.facts))
                place = _place(layer, statement.ref, self.request.action)
                place += "" if statement.allow else " (a Deny)"
                found.append(Miss(layer, place, statement.ref, matched, failed))
        return tuple(found[:SHOWN])

    def _all_policies(self) -> Iterator[tuple[Layer, Policy]]:
        policies = self.policies
        layers: Mapping[Layer, Sequence[Policy] | None] = {
            "resource": policies.resource,
            "identity": policies.identity,
            "boundary": policies.boundary,
            "session": policies.session,
        }
        for layer, given in layers.items():
            yield from ((layer, policy) for policy in given or ())
        for level in policies.service_control or ():
            yield from (("service_control", policy) for policy in level)
        for level in policies.resource_control or ():
            yield from (("resource_control", policy) for policy in level)

    def misses(self, decision: Decision) -> tuple[Miss, ...]:
        """The statements that nearly allowed what is denied, the nearest first."""
        layer, level = decision.layer, decision.level
        found = self._candidates(layer, level) if layer is not None else ()
        near = [miss for miss in found if _elements_of(miss) <= _FAR]
        near.sort(key=lambda miss: (_elements_of(miss), len(miss.failed), -len(miss.matched)))
        compared = [self._compared(miss) for miss in near[:_COMPARED]]
        compared.sort(key=_distance)
        return tuple(compared[:SHOWN])

    def _candidates(self, layer: Layer, level: int | None) -> Iterator[Miss]:
        """The statements of the layers of which one could have allowed it.

        In one account that is each path; identity policies only where they count.
        """
        policies = self.policies
        given: Mapping[Layer, Sequence[Policy]] = {
            "resource": policies.resource or (),
            "identity": policies.identity or (),
            "boundary": policies.boundary or (),
            "session": policies.session or (),
            "service_control": _level(policies.service_control, level),
            "resource_control": _level(policies.resource_control, level),
        }
        same_account = self.request.principal.account == self.facts.owner
        layers: tuple[Layer, ...] = (layer,)
        if layer == "identity" and same_account:
            layers = ("identity", "resource")
        for name in layers:
            for policy in given.get(name, ()):
                yield from self._of_policy(name, policy)
        if "resource" in layers:
            for grant in policies.grants or ():
                yield from self._of_grant(grant)

    def _of_policy(self, layer: Layer, policy: Policy) -> Iterator[Miss]:
        effective = {statement.ref.index: statement for statement in policy.statements}
        for index, written in enumerate(_statements(policy)):
            if written.get("Effect") != "Allow":
                continue
            statement = effective.get(index)
            if statement is None:
                if (miss := self._void(layer, policy, index, written)) is not None:
                    yield miss
                continue
            matched, failed = self._elements(written, statement.examine(self.facts))
            if failed:
                place = _place(layer, statement.ref, self.request.action)
                yield Miss(layer, place, statement.ref, matched, failed)

    def _void(
        self, layer: Layer, policy: Policy, index: int, written: Mapping[str, Any]
    ) -> Miss | None:
        """A statement without effect, if it says something of the principal."""
        names = _listed(written, "Principal")
        if names and self.facts.names.isdisjoint(names):
            return None
        lacks = [
            element
            for element in ("Action", "Resource")
            if not _listed(written, element) and not _listed(written, f"Not{element}")
        ]
        if not lacks:
            return None
        ref = StatementRef(policy.name, written.get("Sid"), index)
        failed = tuple(
            Mismatch(element.lower(), (), None, "it has none, and so no effect")
            for element in lacks
        )
        return Miss(layer, _place(layer, ref, self.request.action), ref, (), failed)

    def _elements(
        self, written: Mapping[str, Any], examined: Examined
    ) -> tuple[tuple[str, ...], tuple[Mismatch, ...]]:
        matched, failed = [], []
        for name, holds in (
            ("Principal", examined.principal),
            ("Action", examined.action),
            ("Resource", examined.resource),
        ):
            element = f"Not{name}" if f"Not{name}" in written else name
            if element not in written:
                continue
            if holds:
                matched.append(element.lower() if element == name else element)
            else:
                failed.append(self._element(element, _listed(written, element), holds))
        for condition in examined.conditions:
            if condition.met:
                matched.append(f"condition {condition.operator} {condition.key}")
            else:
                failed.append(self._condition(condition))
        return tuple(matched), tuple(failed)

    def _element(self, element: str, listed: Sequence[str], holds: bool | None) -> Mismatch:
        asked = self._asked(element.removeprefix("Not"))
        hint = "" if holds is False else _UNDOCUMENTED if "rincipal" in element else _NOT_TOLD
        needs = (f"other than {_either(listed)}",) if element.startswith("Not") else tuple(listed)
        return Mismatch(
            element.lower() if needs == tuple(listed) else element, needs, (asked,), hint
        )

    def _asked(self, element: str) -> str:
        who = self.request.principal
        asked = {
            "Principal": who.role_arn or who.arn,
            "Action": self.request.action,
            "Resource": self.request.resource,
        }
        return asked[element]

    def _condition(self, condition: ExaminedCondition) -> Mismatch:
        element = f"condition {condition.operator} {condition.key}"
        had = condition.had
        has = (had,) if isinstance(had, str) else had
        hint = ""
        if not condition.known:
            hint = _NOT_TOLD
        elif condition.met is None:
            hint = _UNDOCUMENTED
        wanted = condition.wanted
        if condition.operator.endswith("Null"):
            return Mismatch(element, (_PRESENCE.get(" ".join(wanted).lower(), "?"),), has, hint)
        if "Not" in condition.operator:
            wanted = (f"other than {_either(wanted)}",)
        return Mismatch(element, wanted, has, hint)

    def _compared(self, miss: Miss) -> Miss:
        """The miss with what little its values differ in."""
        return replace(miss, failed=tuple(map(self._hinted, miss.failed)))

    def _hinted(self, failed: Mismatch) -> Mismatch:
        if failed.hint or not failed.needs or failed.needs[0].startswith("other than "):
            return failed
        words = failed.element.split(" ", 2)  # a condition key may hold spaces
        if failed.has is None:
            hint = self._alike_key(words[-1]) if words[0] == "condition" else ""
        elif len(failed.has) == 1:
            hint = _nearness(failed, words)
        else:
            hint = ""
        return replace(failed, hint=hint)

    def _alike_key(self, key: str) -> str:
        """A condition key of the request that is nearly `key`, which the request has not."""
        for present in self.request.context:
            if near := nearness([key.lower()], present.lower(), wildcards=False):
                return f"it has {present}: {near}"
        return ""

    def _of_grant(self, grant: Grant) -> Iterator[Miss]:
        """A grant to the principal for the operation, but for its constraints."""
        who, action = self.request.principal, self.request.action
        operation = action.partition(":")[2]
        if grant.grantee not in (who.arn, who.role_arn) or grant.key_arn != self.request.resource:
            return
        ref = StatementRef(grant.grant_id, None, 0)
        place = _place("grant", ref, action)
        if operation.lower() not in {one.lower() for one in grant.operations}:
            needs = tuple(sorted(grant.operations))
            yield Miss(
                "grant", place, ref, ("grantee",), (Mismatch("operation", needs, (operation,)),)
            )
            return
        sent = self.facts.encryption_context()
        for name, wanted in (
            ("encryptionContextEquals", grant.encryption_context_equals),
            ("encryptionContextSubset", grant.encryption_context_subset),
        ):
            if wanted is None:
                continue
            asked, has = _folded(wanted), _folded(sent)
            fits = asked == has if name.endswith("Equals") else asked <= has
            if not fits:
                failed = Mismatch(f"constraint {name}", _pairs(wanted), _pairs(sent) or None)
                yield Miss("grant", place, ref, ("grantee", "operation"), (failed,))


_PRESENCE: Final = {"true": "no value", "false": "a value"}
"""What `Null` asks for."""


def _nearness(failed: Mismatch, words: Sequence[str]) -> str:
    (has,) = failed.has or ("",)
    operator = words[1] if words[0] == "condition" else ""
    exact = failed.element == "principal" or operator.rpartition(":")[2].startswith("StringEquals")
    if operator.rpartition(":")[2] not in ("", *_LETTERS) and not exact:
        return ""
    return nearness(failed.needs, has, wildcards=not exact)


_LETTERS: Final = frozenset(
    f"{name}{suffix}"
    for name in ("StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike")
    for suffix in ("", "IfExists")
)
"""The operators whose values are compared letter by letter, and that are not negated."""


def _elements_of(miss: Miss) -> int:
    """How many elements of a statement fail, its conditions together as one."""
    return len({one.element.partition(" ")[0] for one in miss.failed})


def _distance(miss: Miss) -> tuple[int, int]:
    """How far a statement is from allowing: elements that fail, the less telling ones more."""
    weights = {"condition": 2, "resource": 3, "principal": 4, "action": 5}
    return _elements_of(miss), sum(
        1 if one.hint else weights.get(one.element.split(" ")[0].lower(), 3) for one in miss.failed
    )


def _effective(policy: Policy) -> Iterator[tuple[Mapping[str, Any], Statement]]:
    """The statements that have an effect, as written and as compiled."""
    written = _statements(policy)
    yield from ((written[statement.ref.index], statement) for statement in policy.statements)


def _level(levels: Sequence[Sequence[Policy]] | None, level: int | None) -> Sequence[Policy]:
    """The control policies of the level that does not allow."""
    return levels[level] if levels and level is not None and level < len(levels) else ()


def _statements(policy: Policy) -> Sequence[Mapping[str, Any]]:
    written = policy.document["Statement"]
    return [written] if isinstance(written, Mapping) else written


def _listed(written: Mapping[str, Any], element: str) -> tuple[str, ...]:
    """The strings under an element, those of every kind of principal together."""
    value = written.get(element, ())
    values = list(value.values()) if isinstance(value, Mapping) else [value]
    flat = [one for each in values for one in ([each] if isinstance(each, str) else each)]
    return tuple(flat)


def _noun(layer: Layer, action: str) -> str:
    """A layer as a person knows it; the resource's policy by what the resource is."""
    if layer == "resource":
        service = action.partition(":")[0].lower()
        return {"kms": "key policy", "sts": "trust policy"}.get(service, "resource policy")
    nouns: Mapping[Layer, str] = {
        "identity": "identity policy",
        "grant": "grant",
        "boundary": "permissions boundary",
        "session": "session policy",
        "service_control": "SCP",
        "resource_control": "RCP",
    }
    return nouns[layer]


def _place(layer: Layer, statement: StatementRef, action: str) -> str:
    """Where a statement is: `key policy, statement 'Sid'`."""
    noun = _noun(layer, action)
    if layer == "grant":
        return f"{noun} {statement.policy}"
    policy = statement.policy.rpartition("/")[2]  # of a managed policy this is its name
    named = policy if noun in policy else f"{noun} {policy!r}" if policy else noun
    return f"{named}, statement {_name(statement)}"


def _name(statement: StatementRef) -> str:
    return repr(statement.sid) if statement.sid else str(statement.index + 1)


def _pairs(context: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in sorted(context.items()))


def _folded(context: Mapping[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset((name.lower(), value) for name, value in context.items())


def _either(texts: Sequence[str], word: str = "or") -> str:
    """`a, b or c`; of many only the first, and how many more there are."""
    if len(texts) > _LISTED:
        texts = [*texts[:_LISTED], f"{len(texts) - _LISTED} more"]
    if len(texts) < 2:
        return "".join(texts)
    return f"{', '.join(texts[:-1])} {word} {texts[-1]}"
