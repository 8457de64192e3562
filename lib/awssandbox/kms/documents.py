"""Key policy documents: what KMS accepts, what it refuses, and the lock-out check.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import iamaccess

from awssandbox.kms import errors
from awssandbox.kms.conditions import key_access
from awssandbox.kms.lookup import Found
from awssandbox.kms.principals import (
    POLICY_NAME,
    PrincipalError,
    StoredPolicy,
    identify,
    principal_values,
    renamed,
)

if TYPE_CHECKING:
    from awssandbox.call import Call
    from awssandbox.world import World

MAX_POLICY_BYTES: Final = 32_768
ONLY_POLICY_NAME: Final = "default"
_ALLOWED: Final = re.compile(r"[\t\n\r\x20-\xff]+")
_SERVICE: Final = re.compile(r"[a-z0-9][a-z0-9.-]*\.(?:amazonaws\.com(?:\.cn)?|amazon\.com)")


def default_document(world: World, account: str) -> dict[str, Any]:
    """The key policy of a key that was created without one: it delegates to the account's IAM.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
    """
    return {
        "Version": "2012-10-17",
        "Id": "key-default-1",
        "Statement": [
            {
                "Sid": "Enable IAM User Permissions",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:{world.partition}:iam::{account}:root"},
                "Action": "kms:*",
                "Resource": "*",
            }
        ],
    }


def delegation(world: World, account: str) -> iamaccess.Policy:
    """A key policy under which identity policies alone decide."""
    return iamaccess.parse_policy(
        default_document(world, account), kind="resource", name=POLICY_NAME
    )


def accept(text: str, world: World) -> StoredPolicy:
    """The key policy that `text` is, its principals resolved, ready to be kept.

    A statement without Action or Resource is accepted, and has no effect; Sids may have spaces.
    Raises AwsError: ValidationException (characters), LimitExceededException (over 32,768 bytes),
    MalformedPolicyDocumentException (JSON, elements, principals that do not exist, set operators
    on a condition key of one value: AWS documents that refusal's text, not its code).
    Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html
    """
    if not _ALLOWED.fullmatch(text):
        raise errors.constraint(
            text,
            "policy",
            "satisfy regular expression pattern: [\\u0009\\u000A\\u000D\\u0020-\\u00FF]+",
        )
    if len(text.encode()) > MAX_POLICY_BYTES:
        raise errors.policy_too_long()
    try:
        iamaccess.parse_policy(text, kind="resource", name=POLICY_NAME)
    except iamaccess.MalformedPolicy as error:
        raise errors.malformed(error.reason) from error
    return store(json.loads(text), world)


def store(document: Mapping[str, Any], world: World) -> StoredPolicy:
    """A key policy with each of its principals identified.

    A unique id of a principal that exists becomes its ARN again.
    Raises AwsError: MalformedPolicyDocumentException when a principal does not exist.
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html
    """
    arns: dict[str, str] = {}
    unique_ids: dict[str, str] = {}
    for principal in principal_values(document, "AWS"):
        if principal == "*":
            continue
        try:
            arn, unique_id = identify(principal, world.principals)
        except PrincipalError as error:
            raise errors.malformed(errors.INVALID_PRINCIPALS) from error
        arns[principal] = arn
        if unique_id is not None:
            unique_ids[arn] = unique_id
    if not all(_SERVICE.fullmatch(service) for service in principal_values(document, "Service")):
        raise errors.malformed(errors.INVALID_PRINCIPALS)
    return StoredPolicy(renamed(document, lambda p: arns.get(p, p)), unique_ids, world.iam)


def refuse_lock_out(call: Call, found: Found, policy: iamaccess.Policy) -> None:
    """Refuse a key policy under which the caller could not call PutKeyPolicy again.

    The key policy and the IAM policies that it lets count decide together, for this caller.
    Raises AwsError: MalformedPolicyDocumentException.
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html, and for IAM's
    part https://github.com/aws-samples/rds-snapshot-export-to-s3-pipeline/issues/8
    """
    later = key_access(call, found, policy=policy, grants=(), action="kms:PutKeyPolicy")
    decision = call.world.authoriser.decide(call, later)
    if decision.outcome is not iamaccess.Outcome.ALLOWED:
        raise errors.malformed(errors.LOCKED_OUT)
