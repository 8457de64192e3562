"""Policy documents as IAM accepts them: identity policies, trust policies, and their sizes.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from iamaccess import MalformedPolicy, Policy, parse_policy

from awssandbox.iam import errors
from awssandbox.kms.principals import (
    Directory,
    PrincipalError,
    identify,
    principal_values,
)

MANAGED_POLICY_SIZE: Final = 6_144
TRUST_POLICY_SIZE: Final = 2_048
INLINE_POLICIES_SIZE: Final = {"user": 2_048, "group": 5_120, "role": 10_240}
"""Characters, white space not counted; of inline policies all of a user, group or role together."""

_SERVICE: Final = re.compile(r"[a-z0-9][a-z0-9.-]*\.(?:amazonaws\.com|aws\.internal)(?:\.cn)?")
_NAMED: Final = re.compile(r"/(?:Not)?Principal/(AWS|Service)(?:/|$)")


def size(text: str) -> int:
    """A document's size as IAM's quotas count it."""
    return len(re.sub(r"\s", "", text))


def identity_policy(text: str, name: str = "") -> Policy:
    """A document for a user, group, role or session.

    Raises AwsError: MalformedPolicyDocument, with the first thing that is wrong.
    """
    try:
        return parse_policy(text, kind="identity", name=name)
    except MalformedPolicy as error:
        raise errors.malformed(error.reason) from error


def trust_policy(text: str, directory: Directory) -> Policy:
    """A role's trust policy, whose principals exist.

    Users, roles and sessions are looked up; accounts are not, and of services only the form of the
    name is judged.

    Raises AwsError: MalformedPolicyDocument; LimitExceeded when it is too long.
    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
    """
    try:
        policy = parse_policy(text, kind="trust", name="trust policy")
    except MalformedPolicy as error:
        named = _NAMED.search(error.pointer)
        value = _at(json.loads(text), error.pointer) if named else None
        if named and isinstance(value, str):
            raise _invalid(named[1], value) from error
        raise errors.malformed(error.reason) from error
    for service in principal_values(policy.document, "Service"):
        if not _SERVICE.fullmatch(service):
            raise _invalid("Service", service)
    for principal in principal_values(policy.document, "AWS"):
        if principal == "*":
            continue
        try:
            identify(principal, directory)
        except PrincipalError as error:
            raise _invalid("AWS", principal) from error
    if size(text) > TRUST_POLICY_SIZE:
        raise errors.limit_exceeded(f"Cannot exceed quota for ACLSizePerRole: {TRUST_POLICY_SIZE}")
    return policy


def _invalid(kind: str, principal: str) -> Exception:
    return errors.invalid_principal("SERVICE" if kind == "Service" else kind, principal)


def _at(value: Any, pointer: str) -> Any:
    """What a JSON pointer (RFC 6901) points to."""
    for token in pointer.split("/")[1:]:
        token = token.replace("~1", "/").replace("~0", "~")
        value = value[int(token)] if isinstance(value, list) else value[token]
    return value
