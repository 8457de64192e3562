"""By which paths a principal can use the key for workflows, each judged by itself.

In one account each path is enough: a statement of the key policy that names the principal, a policy
of its own through the delegation to the account, a grant. An explicit Deny closes them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from iamaccess import MalformedPolicy, Policies, Policy, Request, decide, parse_policy

from keyrunbook.access import Operator, Read, operator_requests, role_requests

BY_KEY = "key policy"
BY_OWN = "own policy, by delegation to the account"
BY_GRANT = "grant"


@dataclass(frozen=True, slots=True)
class Path:
    """One path: of which kind, and the statement's Sid, the policy's name or the grant's id.

    `doubt` says what the judge could not decide of it; such a path may be open.
    """

    kind: str
    name: str
    doubt: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


def of_role(read: Read) -> tuple[Path, ...]:
    """The open paths of the execution role to the account's workflows."""
    return tuple(_open(role_requests(read), read.policies))


def of_operator(operator: Operator) -> tuple[Path, ...]:
    """The open paths of the operator, when Image Builder calls KMS for it."""
    return tuple(_open(operator_requests(operator), operator.policies))


def changed(
    read: Read,
    key_policy: Mapping[str, Any] | None,
    without_policy: str | None = None,
    without_grants: Iterable[str] = (),
) -> Read | None:
    """`read` as a revocation would leave it; None where the judge cannot read that key policy.

    `key_policy` None: it stays as it is.
    """
    gone, now = set(without_grants), read.policies
    resource = now.resource
    if key_policy is not None:
        try:
            resource = [parse_policy(dict(key_policy), kind="resource", name="key policy")]
        except MalformedPolicy:
            return None
    policies = replace(
        now,
        resource=resource,
        identity=None
        if now.identity is None
        else [one for one in now.identity if one.name != without_policy],
        grants=None
        if now.grants is None
        else [one for one in now.grants if one.grant_id not in gone],
    )
    return replace(read, policies=policies)


def _open(requests: Sequence[Request], policies: Policies) -> Iterator[Path]:
    """Each path that is open with all Denies in place and every other path away.

    Of a layer that was not read one path says that there may be some.
    """
    layers_read = (
        (BY_KEY, policies.resource), (BY_OWN, policies.identity), (BY_GRANT, policies.grants),
    )  # fmt: skip
    for kind, read in layers_read:
        if read is None:
            yield Path(kind, "not read", "it could not be read")
    key = tuple(policies.resource or ())
    denies = replace(
        policies,
        identity=None if policies.identity is None else [_denying(p) for p in policies.identity],
        resource=[_denying(p) for p in key],
        grants=[],
    )
    direct: set[int] = set()
    for policy in key:
        for statement in policy.statements:
            if not statement.allow:
                continue
            alone = replace(policy, statements=(*_denying(policy).statements, statement))
            is_open, doubt = _allowed(requests, replace(denies, resource=[alone]))
            if is_open or doubt:
                direct.add(id(statement))
                ref = statement.ref
                yield Path(BY_KEY, ref.sid or f"statement {ref.index + 1}", doubt)
    delegating = [
        replace(p, statements=tuple(one for one in p.statements if id(one) not in direct))
        for p in key
    ]
    for own in policies.identity or ():
        identity = [one if one is own else _denying(one) for one in policies.identity or ()]
        layers = replace(denies, identity=identity, resource=delegating)
        is_open, doubt = _allowed(requests, layers)
        if is_open or doubt:
            yield Path(BY_OWN, own.name.rsplit("/", 1)[-1], doubt)
    for grant in policies.grants or ():
        is_open, doubt = _allowed(requests, replace(denies, grants=[grant]))
        if is_open or doubt:
            yield Path(BY_GRANT, grant.grant_id, doubt)


def _denying(policy: Policy) -> Policy:
    return replace(policy, statements=tuple(one for one in policy.statements if not one.allow))


def _allowed(requests: Sequence[Request], policies: Policies) -> tuple[bool, str]:
    """Whether one of the requests is allowed by what was read, and what could not be judged."""
    doubts: list[str] = []
    for request in requests:
        decision = decide(request, policies)
        if decision.allowed_by_what_was_read:
            return True, ""
        doubts += [
            f"not documented: {doubt.element} ({doubt.policy}, {doubt.pointer or 'as a whole'})"
            for doubt in decision.undocumented
        ]
        doubts += [f"the request does not tell {key}" for key in decision.unknown_keys]
    return False, "; ".join(dict.fromkeys(doubts))
