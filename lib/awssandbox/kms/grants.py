"""Grants: created, listed, revoked, retired.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/grants.html
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import iamaccess
from iamaccess import ContextValue

from awssandbox.call import Access, Answer, Operation
from awssandbox.errors import not_imitated
from awssandbox.kms import checks, errors, trail
from awssandbox.kms.conditions import (
    caller_conditions,
    encryption_context,
    key_access,
    standing,
    via_service,
)
from awssandbox.kms.lookup import Found, find_for, kms_state
from awssandbox.kms.operation import key_operation
from awssandbox.kms.principals import PrincipalError, identify, is_account, shown_as
from awssandbox.kms.state import KeyGrant, KmsState

if TYPE_CHECKING:
    from awssandbox.call import Call

SYMMETRIC_OPERATIONS: Final = frozenset(
    {
        *("Decrypt", "Encrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext"),
        *("GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"),
        *("ReEncryptFrom", "ReEncryptTo", "CreateGrant", "RetireGrant", "DescribeKey"),
    }
)
"""Source: https://docs.aws.amazon.com/kms/latest/developerguide/grants.html#terms-grant-operations"""
MAX_PAIRS: Final = 8
MAX_VALUE_CHARACTERS: Final = 384
_NOT_IMITATED: Final = ("GranteeServicePrincipal", "RetiringServicePrincipal")


def _constraints(call: Call) -> tuple[dict[str, str] | None, dict[str, str] | None]:
    """The encryption contexts of a new grant's constraints: subset and equals.

    Raises AwsError: ValidationException over 8 pairs or a value over 384 characters.
    Source: https://docs.aws.amazon.com/kms/latest/developerguide/create-grant-overview.html
    """
    constraints: Mapping[str, Any] = call.parameters.get("Constraints") or {}
    if "SourceArn" in constraints:
        raise not_imitated("the grant constraint SourceArn")
    found: list[dict[str, str] | None] = []
    for name in ("EncryptionContextSubset", "EncryptionContextEquals"):
        pairs = constraints.get(name)
        if pairs is not None and len(pairs) > MAX_PAIRS:
            raise errors.invalid(f"{name} can include at most {MAX_PAIRS} pairs.")
        if any(len(value) > MAX_VALUE_CHARACTERS for value in (pairs or {}).values()):
            raise errors.invalid(
                f"A value in {name} cannot exceed {MAX_VALUE_CHARACTERS} characters."
            )
        found.append(None if pairs is None else dict(pairs))
    if None not in found:
        raise errors.invalid(
            "A grant can have EncryptionContextSubset or EncryptionContextEquals, not both."
        )
    return found[0], found[1]


def _check_create(call: Call) -> None:
    asked = call.parameters
    for parameter in _NOT_IMITATED:
        if parameter in asked:
            raise not_imitated(f"the parameter {parameter} of {call.operation}")
    if "GranteePrincipal" not in asked:
        raise errors.required("granteePrincipal")
    operations = asked["Operations"]
    if not operations:
        raise errors.constraint("[]", "operations", "have length greater than or equal to 1")
    unusable = [name for name in operations if name not in SYMMETRIC_OPERATIONS]
    if unusable:
        raise errors.unusable_operations(unusable)
    _constraints(call)


def _covers(parent: KeyGrant, operations: frozenset[str], call: Call) -> bool:
    """Whether a grant that allows CreateGrant lets the child grant that `call` asks for be made.

    The child has some of its operations, and constraints at least as strict.
    Source: https://docs.aws.amazon.com/kms/latest/developerguide/create-grant-overview.html
    """
    subset, equals = (None if pairs is None else _folded(pairs) for pairs in _constraints(call))
    if not operations <= set(parent.operations):
        return False
    if parent.equals is not None:
        return equals == _folded(parent.equals)
    if parent.subset is not None:
        child = equals if equals is not None else subset
        return child is not None and _folded(parent.subset).items() <= child.items()
    return True


def _folded(pairs: Mapping[str, str]) -> dict[str, str]:
    """A constraint's pairs: the key of each is not case sensitive, its value is.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GrantConstraints.html
    """
    return {key.lower(): value for key, value in pairs.items()}


def _for_service(call: Call) -> bool:
    """``kms:GrantIsForAWSResource``: a service integrated with KMS asks for its caller.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-grant-is-for-aws-resource
    """
    return via_service(call) is not None


def _create_access(call: Call) -> Sequence[Access]:
    _check_create(call)
    asked, found = call.parameters, find_for(call, cross_account=True)
    subset, equals = _constraints(call)
    constraint = equals if equals is not None else subset
    context: dict[str, ContextValue] = {
        "kms:GrantOperations": tuple(asked["Operations"]),
        "kms:GranteePrincipal": asked["GranteePrincipal"],
        "kms:GrantIsForAWSResource": _for_service(call),
        **encryption_context(constraint or {}),
    }
    if "RetiringPrincipal" in asked:
        context["kms:RetiringPrincipal"] = asked["RetiringPrincipal"]
    if constraint is not None:
        context["kms:GrantConstraintType"] = (
            "EncryptionContextSubset" if equals is None else "EncryptionContextEquals"
        )
    operations = frozenset(asked["Operations"])
    parents: tuple[iamaccess.Grant, ...] = tuple(
        # A grant's constraint limits the child grant (see `_covers`), not the request for it.
        iamaccess.Grant(
            grant_id=grant.grant_id,
            grantee=grant.shown(grant.grantee),
            operations=frozenset({"CreateGrant"}),
            encryption_context_subset=None,
            encryption_context_equals=None,
            key_arn=grant.key_arn,
        )
        for grant in standing(call, found.key).grants.values()
        if "CreateGrant" in grant.operations and _covers(grant, operations, call)
    )
    return [key_access(call, found, context, grants=parents)]


def _unique_ids(call: Call, *principals: str | None) -> dict[str, str]:
    unique_ids: dict[str, str] = {}
    for principal in principals:
        if principal is None:
            continue
        try:
            arn, unique_id = identify(principal, call.world.principals)
        except PrincipalError as error:
            raise errors.invalid_principal(principal) from error
        if not principal.startswith("arn:") or arn != principal:
            raise errors.invalid_principal(principal)
        if unique_id is not None:
            unique_ids[principal] = unique_id
    return unique_ids


def _create(call: Call, found: Found) -> Answer:
    """Make a grant. Undo: RevokeGrant.

    The same name and properties again give the same grant, with another token.
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html
    """
    asked, key, world = call.parameters, found.key, call.world
    grantee, retiring = asked["GranteePrincipal"], asked.get("RetiringPrincipal")
    unique_ids = _unique_ids(call, grantee, retiring)
    subset, equals = _constraints(call)
    if asked.get("DryRun"):
        raise errors.dry_run()
    grant = KeyGrant(
        grant_id="",
        key_arn=key.arn,
        name=asked.get("Name", ""),
        grantee=grantee,
        retiring=retiring,
        issuing_account=f"arn:{world.partition}:iam::{call.account}:root",
        operations=tuple(asked["Operations"]),
        subset=subset,
        equals=equals,
        created=call.time,
        shown=shown_as(unique_ids, world.iam),
    )
    same = (g for g in key.grants.values() if g.name and g.same_properties(grant))
    kept = next(same, None)
    if kept is None:
        content = {k: v for k, v in asked.items() if k != "GrantTokens"}
        grant_id = world.ids.make("kms-grant", call.caller.principal.arn, key.arn, content)
        kept = replace(grant, grant_id=grant_id)
        key.grants[grant_id] = kept
    token = secrets.token_urlsafe(64)
    kms_state(world, key.account, key.region).grant_tokens[token] = kept.grant_id
    return Answer(
        {"GrantId": kept.grant_id, "GrantToken": token},
        record_response={"grantId": kept.grant_id, "keyId": key.arn},
    )


def _for_resource_access(call: Call) -> Sequence[Access]:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-grant-is-for-aws-resource"""
    for parameter in _NOT_IMITATED:
        if parameter in call.parameters:
            raise not_imitated(f"the parameter {parameter} of {call.operation}")
    if call.operation == "ListGrants":
        checks.within(call, "Limit", 1, 100)
    found = find_for(call, cross_account=True)
    return [key_access(call, found, {"kms:GrantIsForAWSResource": _for_service(call)})]


def _shown(grant: KeyGrant) -> dict[str, Any]:
    """A grant as ListGrants answers it.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GrantListEntry.html
    """
    entry: dict[str, Any] = {
        "KeyId": grant.key_arn,
        "GrantId": grant.grant_id,
        "CreationDate": grant.created,
        "GranteePrincipal": grant.shown(grant.grantee),
        "IssuingAccount": grant.issuing_account,
        "Operations": list(grant.operations),
    }
    if grant.name:
        entry["Name"] = grant.name
    if grant.retiring is not None:
        entry["RetiringPrincipal"] = grant.shown(grant.retiring)
    if grant.subset is not None:
        entry["Constraints"] = {"EncryptionContextSubset": dict(grant.subset)}
    if grant.equals is not None:
        entry["Constraints"] = {"EncryptionContextEquals": dict(grant.equals)}
    return entry


def _list(call: Call, found: Found) -> Answer:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ListGrants.html"""
    asked = call.parameters
    grants = [
        grant
        for grant in found.key.grants.values()
        if asked.get("GrantId", grant.grant_id) == grant.grant_id
        and asked.get("GranteePrincipal", grant.grantee) == grant.grantee
    ]
    shown, more = checks.page(call, grants, lambda grant: grant.grant_id, default=50, most=100)
    return Answer({"Grants": [_shown(grant) for grant in shown], **more})


def _retirable_access(call: Call) -> Sequence[Access]:
    """ListRetirableGrants is authorised on the retiring principal that it names.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ListRetirableGrants.html
    """
    checks.only(call, "RetiringPrincipal", "Limit", "Marker")
    checks.within(call, "Limit", 1, 100)
    if "RetiringPrincipal" not in call.parameters:
        raise errors.required("retiringPrincipal")
    principal = call.parameters["RetiringPrincipal"]
    _unique_ids(call, principal)
    account = principal.split(":")[4]
    return [Access(f"kms:{call.operation}", principal, caller_conditions(call), (), (), account)]


def _list_retirable(call: Call) -> Answer:
    """The grants of all keys in the Region, of any account, with this retiring principal.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ListRetirableGrants.html
    """
    found: list[KeyGrant] = []
    for (_, region), state in call.world.states(KmsState).items():
        if region == call.region:
            state.forget_deleted(call.time)
            found += [grant for key in state.keys.values() for grant in key.grants.values()]
    principal = call.parameters["RetiringPrincipal"]
    mine = [one for one in found if one.retiring and one.shown(one.retiring) == principal]
    shown, more = checks.page(call, mine, lambda grant: grant.grant_id, default=50, most=100)
    return Answer(
        {"Grants": [_shown(grant) for grant in shown], **more}, record_request=trail.request(call)
    )


def _revoke(call: Call, found: Found) -> Answer:
    """Delete a grant.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_RevokeGrant.html
    """
    grant_id = call.parameters["GrantId"]
    if grant_id not in found.key.grants:
        raise errors.no_grant(grant_id)
    if call.parameters.get("DryRun"):
        raise errors.dry_run()
    del found.key.grants[grant_id]
    return Answer(record_response={"keyId": found.key.arn})


def _to_retire(call: Call) -> tuple[Found, KeyGrant]:
    """The grant that a RetireGrant names, by its token or by key and grant id, and its key.

    Raises AwsError: ValidationException (AWS's text is not documented), InvalidGrantTokenException,
    NotFoundException.
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_RetireGrant.html
    """
    asked = call.parameters
    token, grant_id = asked.get("GrantToken"), asked.get("GrantId")
    by_id = grant_id is not None and "KeyId" in asked
    if (token is not None) == by_id:
        raise errors.invalid("Specify either a grant token, or both a key and a grant ID.")
    if token is None:
        found = find_for(call, cross_account=True)
        grant = found.key.grants.get(str(grant_id))
        if grant is None:
            raise errors.no_grant(str(grant_id))
        return found, grant
    for (_, region), state in call.world.states(KmsState).items():
        if region == call.region and token in state.grant_tokens:
            state.forget_deleted(call.time)
            for key in state.keys.values():
                if state.grant_tokens[token] in key.grants:
                    return Found(key), key.grants[state.grant_tokens[token]]
    raise errors.invalid_grant_token()


def _retire_access(call: Call) -> Sequence[Access]:
    """What RetireGrant needs: the grant decides in the key policy's place.

    The retiring principal, and the grantee where the grant lets it RetireGrant, need no more. The
    account that made the grant, and an account that is the retiring principal, may let their own
    principals by IAM policies; a key policy counts for nothing.
    Source: https://docs.aws.amazon.com/kms/latest/developerguide/grant-delete.html
    """
    found, grant = _to_retire(call)
    entitled = {grant.shown(grant.retiring)} if grant.retiring is not None else set()
    if "RetireGrant" in grant.operations:
        entitled.add(grant.shown(grant.grantee))
    accounts = {one for one in entitled if is_account(one)}
    document = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"AWS": sorted({grant.issuing_account, *accounts})},
            "Action": "kms:RetireGrant",
            "Resource": "*",
        },
    }
    named = tuple(
        iamaccess.Grant(
            grant_id=grant.grant_id,
            grantee=principal,
            operations=frozenset({"RetireGrant"}),
            encryption_context_subset=None,
            encryption_context_equals=None,
            key_arn=grant.key_arn,
        )
        for principal in sorted(entitled - accounts)
    )
    constraint = grant.equals if grant.equals is not None else grant.subset
    policy = iamaccess.parse_policy(document, kind="resource", name="the grant's accounts")
    context = encryption_context(constraint or {})
    return [key_access(call, found, context, policy=policy, grants=named)]


def _retire(call: Call, found: Found) -> Answer:
    """Delete a grant. The record has no request parameters: a token is not for reading.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-retire-grant.html
    """
    _, grant = _to_retire(call)
    if call.parameters.get("DryRun"):
        raise errors.dry_run()
    del found.key.grants[grant.grant_id]
    return Answer(
        record_request=None, record_extra={"additionalEventData": {"grantId": grant.grant_id}}
    )


def _without_token(call: Call) -> dict[str, Any]:
    """The parameters that the record of a refused RetireGrant has. No sample is published."""
    return {k: v for k, v in trail.request(call).items() if k != "grantToken"}


def _any_key(call: Call) -> Found:
    return find_for(call, cross_account=True)


OPERATIONS: Final[Mapping[str, Operation]] = {
    "CreateGrant": key_operation(
        _create,
        parameters=(
            *("KeyId", "GranteePrincipal", "RetiringPrincipal", "Operations", "Constraints"),
            *("GrantTokens", "Name", "DryRun", *_NOT_IMITATED),
        ),
        find=_any_key,
        access=_create_access,
    ),
    "ListGrants": key_operation(
        _list,
        parameters=("KeyId", "Limit", "Marker", "GrantId", "GranteePrincipal", *_NOT_IMITATED),
        read_only=True,
        find=_any_key,
        access=_for_resource_access,
    ),
    "ListRetirableGrants": Operation(
        _list_retirable, _retirable_access, read_only=True, refused_request=trail.request
    ),
    "RevokeGrant": key_operation(
        _revoke,
        parameters=("KeyId", "GrantId", "DryRun"),
        find=_any_key,
        access=_for_resource_access,
    ),
    "RetireGrant": key_operation(
        _retire,
        parameters=("GrantToken", "KeyId", "GrantId", "DryRun"),
        find=lambda call: _to_retire(call)[0],
        access=_retire_access,
        recorded=_without_token,
    ),
}
