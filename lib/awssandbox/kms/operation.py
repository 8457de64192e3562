"""The common course of an operation on one key: check, find, decide, key state, serve, record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from awssandbox.call import DERIVED, Access, Answer, Operation, Resource
from awssandbox.errors import AwsError
from awssandbox.kms import checks, errors, keystates, trail
from awssandbox.kms.conditions import key_access
from awssandbox.kms.lookup import Found, find_for
from awssandbox.kms.state import KmsState, Use

if TYPE_CHECKING:
    from awssandbox.call import Call


def check_grant_tokens(call: Call) -> None:
    """Refuse grant tokens that KMS did not give out.

    A token only lets a grant be used before it is everywhere known; here it is so at once.
    Source: https://docs.aws.amazon.com/kms/latest/developerguide/grants.html#grant_token
    """
    known = {
        token for state in call.world.states(KmsState).values() for token in state.grant_tokens
    }
    if any(token not in known for token in call.parameters.get("GrantTokens") or ()):
        raise errors.invalid_grant_token()


def key_operation(
    serve: Callable[[Call, Found], Answer],
    *,
    parameters: Sequence[str],
    read_only: bool = False,
    aliases: bool = False,
    cross_account: bool = False,
    access: Callable[[Call], Sequence[Access]] | None = None,
    find: Callable[[Call], Found] | None = None,
    recorded: Callable[[Call], Mapping[str, Any]] = trail.request,
) -> Operation:
    """An operation on the key that its ``KeyId`` names.

    `parameters` are those imitated; any other is refused. `aliases` and `cross_account` are as in
    `lookup.find`; `find` and `access` replace the usual look-up and need. A parameter that is not
    valid is refused before anything is decided, a key's state only to those who may use the key.
    """

    def found_for(call: Call) -> Found:
        if find is not None:
            return find(call)
        return find_for(call, aliases=aliases, cross_account=cross_account)

    def needed(call: Call) -> Sequence[Access]:
        checks.only(call, *parameters)
        check_grant_tokens(call)
        return [key_access(call, found_for(call))] if access is None else access(call)

    def served(call: Call) -> Answer:
        found = found_for(call)
        keystates.check(call.operation, found.key)
        found.key.material(call.time)  # a rotation that is due comes before any change
        answer = serve(call, found)
        if call.operation in keystates.CRYPTOGRAPHIC:
            found.key.last_use = Use(call.operation, call.time, call.request_id)
        request = recorded(call) if answer.record_request is DERIVED else answer.record_request
        resources = answer.resources or (trail.key_resource(found.key),)
        return replace(answer, record_request=request, resources=resources)

    def named(call: Call) -> tuple[Resource, ...]:
        try:
            return (trail.key_resource(found_for(call).key),)
        except AwsError:
            return ()

    return Operation(
        served, needed, read_only=read_only, refused_request=recorded, refused_resources=named
    )
