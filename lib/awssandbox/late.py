"""What has been changed already and is not seen yet, as a schedule of faults has it.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
and https://docs.aws.amazon.com/kms/latest/developerguide/programming-eventual-consistency.html
"""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from awssandbox.call import Call

T = TypeVar("T")


class Late:
    """What things were before changes that are late, and until when they are seen so."""

    def __init__(self) -> None:
        self._before: dict[Hashable, list[tuple[datetime, object]]] = {}

    def keep(self, thing: Hashable, before: object, until: datetime) -> None:
        """Let `thing` be seen as it was `before` a change; None: as if it were not there."""
        self._before.setdefault(thing, []).append((until, before))

    def seen(self, thing: Hashable, current: T, now: datetime) -> T:
        """A thing as it is seen at `now`. Its changes are seen in their order."""
        for until, before in self._before.get(thing, ()):
            if now < until:
                return cast(T, before)
        return current


def standings(call: Call) -> dict[Hashable, object]:
    """What decisions rest on: of every key by ARN, or of the account's users and roles by id."""
    from awssandbox.kms import KmsState

    world = call.world
    if call.service == "kms":
        return {
            key.arn: state.standing(key)
            for state in world.states(KmsState).values()
            for key in state.keys.values()
        }
    found: dict[Hashable, object] = {}
    for kind, one in (("user", world.iam.user), ("role", world.iam.role)):
        for name in world.iam.names(call.account, kind):
            principal = one(call.account, name)
            if principal is not None:
                found[principal.unique_id] = principal
    return found


def made(call: Call) -> tuple[Hashable, object]:
    """The thing that a call makes or replaces, and what is there before it; None for nothing.

    Of keys and aliases this is the ARN, of IAM's things what `iam_thing` gives.
    """
    from awssandbox.kms.lookup import alias_arn

    asked, world = call.parameters, call.world
    if call.operation == "CreateAlias":
        return alias_arn(world, call.account, call.region, asked["AliasName"]), None
    if call.operation in ("PutRolePolicy", "AttachRolePolicy"):
        name = asked.get("PolicyName") or asked["PolicyArn"]
        role = world.iam.role(call.account, asked["RoleName"])
        before = None if role is None else dict(role.policies).get(name)
        return iam_thing(call, "role policy", asked["RoleName"], name), before
    kind = call.operation.removeprefix("Create").lower()
    name = asked[f"{kind.title()}Name"]
    if kind == "policy":
        name = f"arn:{world.partition}:iam::{call.account}:policy{asked.get('Path', '/')}{name}"
    return iam_thing(call, kind, name), None


def build_thing(image: str) -> Hashable:
    """The build of an image, by its ARN."""
    return ("build", image)


def iam_thing(call: Call, kind: str, *names: Any) -> Hashable:
    """A user or role by name, a managed policy by ARN, a role's policy by role and name or ARN."""
    return ("iam", call.account, kind, *names)
