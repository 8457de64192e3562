"""Bucket policies: what S3 takes and refuses, and the policy as it decides now.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import iamaccess

from awssandbox.errors import not_imitated
from awssandbox.kms.principals import (
    PrincipalError,
    identify,
    principal_values,
    renamed,
    shown_as,
    statements,
)
from awssandbox.s3 import errors

if TYPE_CHECKING:
    from awssandbox.world import World

LARGEST: Final = 20 * 1024
"""Bytes.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html
"""

KNOWN_KEYS: Final = frozenset(
    {
        *("s3:authtype", "s3:signatureversion", "s3:resourceaccount", "s3:locationconstraint"),
        *("s3:prefix", "s3:delimiter", "s3:max-keys", "s3:x-amz-acl"),
    }
)
"""The condition keys of S3's own that requests have here, in lower case."""

_NARROWS: Final = frozenset(
    {
        *("aws:principalarn", "aws:principalaccount", "aws:principalorgid", "aws:userid"),
        *("aws:sourcearn", "aws:sourceaccount", "aws:sourceorgid", "aws:sourceowner"),
    }
)
"""Condition keys that make a statement for everybody one for some, with fixed values.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
"""


@dataclass(frozen=True, slots=True)
class BucketPolicy:
    """A bucket policy as it was sent, and the unique id of each principal in it."""

    text: str
    unique_ids: Mapping[str, str]

    def now(self, world: World) -> str:
        """The policy's text, where the ids of deleted principals stand for their ARNs.

        Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
        """
        shown = shown_as(self.unique_ids, world.iam)
        if all(shown(arn) == arn for arn in self.unique_ids):
            return self.text
        return json.dumps(renamed(json.loads(self.text), shown))

    def parsed(self, world: World) -> iamaccess.Policy:
        """The policy, compiled for decisions."""
        return iamaccess.parse_policy(self.now(world), kind="resource", name="bucket policy")


def accept(text: str, world: World, bucket_arn: str, caller: str) -> BucketPolicy:
    """The bucket policy that `text` is, its principals resolved.

    Raises AwsError: MalformedPolicy; AccessDenied for one that would make the bucket public;
    NotImplemented for condition keys of S3's that no request has here.
    """
    if len(text.encode()) > LARGEST:
        raise errors.malformed_policy("Policies must be no larger than 20480 bytes.")
    try:
        policy = iamaccess.parse_policy(text, kind="resource", name="bucket policy")
    except iamaccess.MalformedPolicy as error:
        raise errors.malformed_policy(error.reason) from error
    document = policy.document
    for statement in statements(document):
        _check_statement(statement, bucket_arn, caller)
    unique_ids = {}
    for principal in principal_values(document, "AWS"):
        if principal == "*":
            continue
        try:
            arn, unique_id = identify(principal, world.principals)
        except PrincipalError as error:
            raise errors.malformed_policy("Invalid principal in policy") from error
        if unique_id is not None and arn == principal:
            unique_ids[arn] = unique_id
    return BucketPolicy(text, unique_ids)


def _check_statement(statement: Mapping[str, Any], bucket_arn: str, caller: str) -> None:
    for element, missing in (("Action", "action"), ("Resource", "resource")):
        if element not in statement and f"Not{element}" not in statement:
            raise errors.malformed_policy(f"Missing required field {missing.title()}")
    for action in _listed(statement, "Action", "NotAction"):
        if action != "*" and not action.lower().startswith("s3:"):
            raise errors.malformed_policy("Policy has invalid action")
    for resource in _listed(statement, "Resource", "NotResource"):
        own = resource == bucket_arn or resource.startswith(f"{bucket_arn}/")
        if not own and resource not in (f"{bucket_arn}*", "*"):
            raise errors.malformed_policy("Policy has invalid resource")
    keys = {key.lower() for tests in _conditions(statement) for key in tests}
    unknown = sorted(key for key in keys if key.startswith("s3:") and key not in KNOWN_KEYS)
    if unknown:
        raise not_imitated(f"the condition key {unknown[0]} in a bucket policy")
    everybody = statement.get("Principal") in ("*", {"AWS": "*"}, {"AWS": ["*"]})
    if statement["Effect"] == "Allow" and everybody and not _narrowed(statement):
        raise errors.public_policy(caller, bucket_arn)


def _listed(statement: Mapping[str, Any], *elements: str) -> Iterator[str]:
    for element in elements:
        values = statement.get(element, [])
        yield from [values] if isinstance(values, str) else values


def _conditions(statement: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from statement.get("Condition", {}).values()


def _narrowed(statement: Mapping[str, Any]) -> bool:
    """Whether a condition with fixed values says who everybody is."""
    for operator, tests in statement.get("Condition", {}).items():
        if operator not in ("StringEquals", "StringLike", "ArnEquals", "ArnLike"):
            continue
        for key, values in tests.items():
            texts = [values] if isinstance(values, str) else values
            fixed = not any(sign in text for text in texts for sign in "*?$")
            if key.lower() in _NARROWS and fixed:
                return True
    return False
