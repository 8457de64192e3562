"""The condition keys that KMS puts into a request's context, and the accesses that carry them.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import iamaccess
from iamaccess import ContextValue

from awssandbox.call import Access
from awssandbox.kms.lookup import Found, kms_state
from awssandbox.kms.state import KEY_ORIGIN, KEY_SPEC, KEY_USAGE, Key, Standing

if TYPE_CHECKING:
    from awssandbox.call import Call

_VIA: Final = """
    aiops airflow aoss appfabric appflow apprunner apptest ards athena auditmanager backup
    backup-gateway bedrock
    cassandra chimevoiceconnector cleanrooms-ml codeartifact codeguru-reviewer comprehend connect
    custom-packages dax deepracer directoryservice dms docdb-elastic dynamodb ec2 ecr elasticache
    elasticfilesystem entityresolution es events finspace firehose forecast fsx geo glue
    groundstation healthlake importexport iotsitewise kafka kendra kinesis kinesisvideo lambda lex
    license-manager lookoutequipment lookoutmetrics lookoutvision m2 macie malware-protection
    managedblockchain mediatailor memorydb mgn monitron mq nimble omics profile proton qldb rds
    redshift redshift-serverless rekognition s3 s3tables sagemaker secretsmanager securitylake ses
    sns sqlworkbench sqs ssm ssm-contacts ssm-incidents states storagegateway thinclient timestream
    translate verified-access wisdom workmail workspaces workspaces-web xray
"""
VIA_SERVICES: Final = frozenset(_VIA.split())
"""Services that ``kms:ViaService`` knows. EC2 Image Builder is not among AWS's.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
"""


def via_service(call: Call) -> str | None:
    """The value of ``kms:ViaService``: of a forward access session of a service that is listed.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
    """
    if call.caller.invoked_by is None or not call.caller.called_via:
        return None
    service = call.caller.invoked_by.split(".")[0]
    return f"{service}.{call.region}.amazonaws.com" if service in VIA_SERVICES else None


def encryption_context(context: Mapping[str, str]) -> dict[str, ContextValue]:
    """``kms:EncryptionContext:<name>`` for each pair, and ``kms:EncryptionContextKeys``.

    A request without a context has none of these keys.
    Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-encryption-context
    """
    if not context:
        return {}
    values: dict[str, ContextValue] = {f"kms:EncryptionContext:{k}": v for k, v in context.items()}
    return {**values, "kms:EncryptionContextKeys": tuple(context)}


def key_kind(multi_region_type: str | None = None) -> dict[str, ContextValue]:
    """The condition keys of the kind of key: ``PRIMARY``, ``REPLICA``, or None for one Region.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-key-spec
    and https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-multiregion
    """
    of_many: dict[str, ContextValue] = {"kms:MultiRegion": multi_region_type is not None}
    if multi_region_type is not None:
        of_many["kms:MultiRegionKeyType"] = multi_region_type
    return {
        **of_many,
        "kms:KeySpec": KEY_SPEC,
        "kms:CustomerMasterKeySpec": KEY_SPEC,
        "kms:KeyUsage": KEY_USAGE,
        "kms:CustomerMasterKeyUsage": KEY_USAGE,
        "kms:KeyOrigin": KEY_ORIGIN,
    }


def request_tags(tags: Iterable[Mapping[str, str]]) -> dict[str, ContextValue]:
    """``aws:RequestTag/<key>`` and ``aws:TagKeys`` of a request's `tags` (empty without tags).

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/tag-authorization.html
    """
    pairs = {tag["TagKey"]: tag["TagValue"] for tag in tags}
    if not pairs:
        return {}
    values: dict[str, ContextValue] = {f"aws:RequestTag/{k}": v for k, v in pairs.items()}
    return {**values, "aws:TagKeys": tuple(pairs)}


def bypass(call: Call) -> dict[str, ContextValue]:
    """``kms:BypassPolicyLockoutSafetyCheck``, only when the request has the parameter.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-bypass-policy-lockout-safety-check
    (its example tells absent from false)
    """
    name = "BypassPolicyLockoutSafetyCheck"
    return {f"kms:{name}": bool(call.parameters[name])} if name in call.parameters else {}


def caller_conditions(call: Call) -> dict[str, ContextValue]:
    """The condition keys about who calls: ``kms:CallerAccount``, ``kms:ViaService``.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-caller-account
    """
    service = via_service(call)
    values: dict[str, ContextValue] = {"kms:CallerAccount": call.account}
    return values if service is None else {**values, "kms:ViaService": service}


def standing(call: Call, key: Key) -> Standing:
    """What decisions see of a key: what there is, or what there was before a late change.

    A grant whose token the call has counts at once.
    Source: https://docs.aws.amazon.com/kms/latest/developerguide/using-grant-token.html
    """
    state = kms_state(call.world, key.account, key.region)
    current = state.standing(key)
    seen = call.world.seen(("standing", key.arn), current)
    named = {state.grant_tokens.get(token) for token in call.parameters.get("GrantTokens") or ()}
    told = {name: grant for name, grant in current.grants.items() if name in named}
    return replace(seen, grants={**seen.grants, **told}) if told else seen


def _key_conditions(call: Call, found: Found, seen: Standing) -> dict[str, ContextValue]:
    """The condition keys of a request on a key, whatever the operation.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html and, for
    tags and aliases, https://docs.aws.amazon.com/kms/latest/developerguide/abac.html
    """
    values: dict[str, ContextValue] = {
        **caller_conditions(call),
        **key_kind(found.key.multi_region_type),
    }
    values |= {f"aws:ResourceTag/{k}": v for k, v in seen.tags.items()}
    if seen.aliases:
        values["kms:ResourceAliases"] = seen.aliases
    if found.alias:
        values["kms:RequestAlias"] = found.alias
    return values


def key_access(
    call: Call,
    found: Found,
    extra: Mapping[str, ContextValue] | None = None,
    *,
    policy: iamaccess.Policy | None = None,
    grants: tuple[iamaccess.Grant, ...] | None = None,
    action: str | None = None,
) -> Access:
    """What a call on a key needs: its own action on that key, judged by the key's own policy.

    `policy` and `grants` stand in for the key's; `action` ("kms:X") for the call's own.
    """
    key = found.key
    seen = standing(call, key)
    if grants is None:
        grants = tuple(grant.for_decision() for grant in seen.grants.values())
    return Access(
        action=action or f"kms:{call.operation}",
        resource=key.arn,
        context={**_key_conditions(call, found, seen), **(extra or {})},
        resource_policies=(policy or seen.policy.parsed,),
        grants=grants,
        resource_account=key.account,
    )


def alias_access(call: Call, arn: str) -> Access:
    """The call's action on an alias: identity policies alone can allow it.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/alias-access.html
    """
    return Access(action=f"kms:{call.operation}", resource=arn, context=caller_conditions(call))


def tag_list(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    """Tags as KMS's shapes have them, in order of their keys."""
    return [{"TagKey": k, "TagValue": v} for k, v in sorted(tags.items())]
