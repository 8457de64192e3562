"""The smallest change that would allow what is refused, within the statements of this project.

Nothing is sent. Small edits of a policy are put to the judge, the smallest first, until one is
allowed: an element of a statement written as this project writes it, then two, then three; a Deny
of this run taken out; the statement written anew. What this project's statements do not allow, such
as another account's workflow, no such change allows: then there is none, and that is an answer too.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any, Final, Literal

from iamaccess import MalformedPolicy, Policies, Policy, Request, decide, parse_policy

from keyrunbook import policies, wording

MOST: Final = 3
"""How many elements of one statement a small edit changes at most."""
KEY_POLICY: Final = "key policy"

Do = Literal["change", "remove", "add"]


@dataclass(frozen=True, slots=True)
class Mend:
    """One edit of a policy: `do` it to the statement of that name.

    `elements` are those that change, each with what it says and what it would say (None: absent);
    `added` is the statement that is put in. `document` is the policy as the edit leaves it.
    """

    policy: str
    statement: str
    do: Do
    elements: tuple[tuple[str, Any, Any], ...]
    document: policies.Document
    added: policies.Document | None = None

    def __str__(self) -> str:
        if self.do == "remove":
            return f"take the statement {self.statement!r} out of the {self.policy}"
        if self.added is not None:
            said = wording.in_words(self.added)
            return f"put the statement {self.statement!r} into the {self.policy}: it {said}"
        edits = "; ".join(_edit(*one) for one in self.elements)
        return f"in the {self.policy}, statement {self.statement!r}: {edits}"


def _edit(name: str, was: Any, wanted: Any) -> str:
    if wanted is None:
        return f"take out {name} {_json(was)}"
    if was is None:
        return f"add {name} {_json(wanted)}"
    return f"{name} {_json(wanted)} in place of {_json(was)}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Ours:
    """What the two statements of this project name: the run, the role, the key.

    `role_policy` is the name of the role's inline policy of this run.
    """

    run_id: str
    role_arn: str
    key_arn: str
    role_policy: str

    @property
    def place(self) -> tuple[str, str]:
        """The partition and account of the workflows: the role's."""
        fields = self.role_arn.split(":")
        return fields[1], fields[4]


def mend(request: Request, layers: Policies, ours: Ours) -> Mend | None:
    """The smallest change of the two statements under which `request` would be allowed.

    By all that was read: a layer that was not read is taken for one that leaves the answer alone.
    None where no such change allows it, or where neither policy was read.
    """
    found = [
        *_of_key_policy(request, layers, ours),
        *_of_role_policy(request, layers, ours),
    ]
    return min(found, key=_size, default=None)


def _of_key_policy(request: Request, layers: Policies, ours: Ours) -> Iterator[Mend]:
    if not layers.resource:
        return
    (key_policy,) = layers.resource

    def allows(document: policies.Document) -> bool:
        parsed = _parsed(document, key_policy)
        return parsed is not None and _allowed(request, replace(layers, resource=[parsed]))

    target = policies.execution_role_statement(ours.run_id, ours.role_arn, *ours.place)
    denied = policies.sid("WorkflowKeyRevoked", ours.run_id)
    yield from _smallest(
        key_policy.document,
        target,
        allows,
        lambda one: _is_ours(one, target) or policies.allows_only(one, ours.role_arn),
        KEY_POLICY,
        removable=denied,
    )


def _of_role_policy(request: Request, layers: Policies, ours: Ours) -> Iterator[Mend]:
    identity = layers.identity
    if identity is None:
        return
    own = next((one for one in identity if one.name == ours.role_policy), None)
    others = [one for one in identity if one is not own]

    def allows(document: policies.Document) -> bool:
        parsed = _parsed(document, own or _named(ours.role_policy))
        return parsed is not None and _allowed(request, replace(layers, identity=[*others, parsed]))

    wanted = policies.role_policy(ours.run_id, ours.key_arn, *ours.place)
    (target,) = wanted["Statement"]
    there = {"Version": policies.VERSION, "Statement": []} if own is None else own.document
    name = f"role's policy {ours.role_policy}"
    yield from _smallest(there, target, allows, lambda one: True, name)


def mend_control(
    operator: Request, layers: Policies, key_policy: Mapping[str, Any], account: str
) -> Mend | None:
    """The smallest change of `key_policy` under which `operator` could change it again.

    `operator` asks for kms:PutKeyPolicy. First the statement by which the account's administrators
    keep the key; where that is not enough, one that names the operator.
    """
    partition = operator.resource.split(":")[1]
    (administrators,) = policies.administrators_policy(partition, account)["Statement"]
    who = operator.principal
    itself = {
        "Sid": "Allow the operator to administer the key",
        "Effect": "Allow",
        "Principal": {"AWS": who.role_arn or who.arn},
        "Action": "kms:*",
        "Resource": "*",
    }

    def allows(document: policies.Document) -> bool:
        try:
            parsed = parse_policy(document, kind="resource", name=KEY_POLICY)
        except MalformedPolicy:
            return False
        return _allowed(operator, replace(layers, resource=[parsed]))

    for target in (administrators, itself):
        meant = partial(_is_administrator, target=target)
        found = _smallest(key_policy, target, allows, meant, KEY_POLICY)
        if (smallest := min(found, key=_size, default=None)) is not None:
            return smallest
    return None


def _is_administrator(statement: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
    """Whether a statement is meant as `target` is: of its Sid, or an Allow to its principal."""
    same = policies.same(statement.get("Principal"), target["Principal"])
    return statement.get("Sid") == target["Sid"] or (same and statement.get("Effect") == "Allow")


def _is_ours(statement: Mapping[str, Any], target: Mapping[str, Any]) -> bool:
    """Whether a statement is meant as `target` is: of its Sid, or an Allow with its condition key.

    Never a Deny of others: made an Allow, it might let in more than the role.
    """
    keys = {key.lower() for keys in statement.get("Condition", {}).values() for key in keys}
    alike = policies.CONTEXT_KEY.lower() in keys and statement.get("Effect") == "Allow"
    return statement.get("Sid") == target["Sid"] or alike


def _smallest(
    document: Mapping[str, Any],
    target: policies.Document,
    allows: Callable[[policies.Document], bool],
    meant: Callable[[Mapping[str, Any]], bool],
    policy: str,
    removable: str = "",
) -> Iterator[Mend]:
    """The first edits of each size that allow it: of the statements that are `meant`, or whole."""
    written = document.get("Statement", [])
    statements = [written] if isinstance(written, Mapping) else list(written)

    def becoming(statements: Sequence[Mapping[str, Any]]) -> policies.Document:
        return {**document, "Statement": copy.deepcopy([*statements])}

    for at, one in enumerate(statements):
        if one.get("Sid") == removable and removable:
            after = becoming([*statements[:at], *statements[at + 1 :]])
            if allows(after):
                yield Mend(policy, removable, "remove", (), after)
    meanings = [(at, one) for at, one in enumerate(statements) if meant(one)]
    for size in range(1, MOST + 1):
        for at, one in meanings:
            name = str(one.get("Sid") or f"number {at + 1}")
            for elements in combinations(_differing(one, target), size):
                edited = _edited(one, elements)
                after = becoming([*statements[:at], edited, *statements[at + 1 :]])
                if allows(after):
                    yield Mend(policy, name, "change", elements, after)
                    return
    after = becoming([*(one for one in statements if one.get("Sid") != target["Sid"]), target])
    if allows(after):
        yield Mend(policy, str(target["Sid"]), "add", (), after, target)


Element = tuple[str, Any, Any]


def _differing(statement: Mapping[str, Any], target: Mapping[str, Any]) -> list[Element]:
    """The elements in which a statement differs from `target`; each condition key is one."""
    one, other = _flat(statement), _flat(target)
    return [
        (name, one.get(name), other.get(name))
        for name in [*other, *(name for name in one if name not in other)]
        if name != "Sid" and not policies.same(one.get(name), other.get(name))
    ]


def _flat(statement: Mapping[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in statement.items() if name != "Condition"}
    for operator, keys in statement.get("Condition", {}).items():
        flat |= {f"{operator} {key}": value for key, value in keys.items()}
    return flat


def _edited(statement: Mapping[str, Any], elements: Sequence[Element]) -> policies.Document:
    flat = _flat(statement)
    for name, _, wanted in elements:
        if wanted is None:
            flat.pop(name, None)
        else:
            flat[name] = wanted
    edited: policies.Document = {}
    for name, value in flat.items():
        operator, space, key = name.partition(" ")
        if space:
            edited.setdefault("Condition", {}).setdefault(operator, {})[key] = value
        else:
            edited[name] = value
    return edited


def _size(mend: Mend) -> tuple[int, int]:
    """Fewer elements are smaller; taking a statement out is one, writing one anew is all."""
    elements = {"change": len(mend.elements), "remove": 1, "add": MOST + 1}[mend.do]
    return elements, len(str(mend))


def _allowed(request: Request, layers: Policies) -> bool:
    return decide(request, layers).allowed_by_what_was_read


def _parsed(document: Mapping[str, Any], like: Policy) -> Policy | None:
    try:
        return parse_policy(dict(document), kind=like.kind, name=like.name)
    except MalformedPolicy:
        return None


def _named(name: str) -> Policy:
    return Policy(name, "identity", {}, ())
