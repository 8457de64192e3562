"""The refusals of IAM, with its codes, statuses and texts.

Sources: https://docs.aws.amazon.com/IAM/latest/APIReference/ (codes and statuses, of each action);
the texts are those that users of AWS quote, as in the issues named below.
"""

from __future__ import annotations

from awssandbox.errors import AwsError


def malformed(reason: str) -> AwsError:
    """A policy document that IAM does not accept."""
    return AwsError("MalformedPolicyDocument", reason)


def invalid_principal(kind: str, principal: str) -> AwsError:
    """A principal in a trust policy that does not exist, or that nobody can be.

    Source: https://github.com/aws-cloudformation/cfn-lint/issues/4287
    """
    return malformed(f'Invalid principal in policy: "{kind}":"{principal}"')


def exists(text: str) -> AwsError:
    """A name that is taken."""
    return AwsError("EntityAlreadyExists", text, 409)


def conflict(text: str) -> AwsError:
    """A deletion of what is still in use.

    Source: https://github.com/hashicorp/terraform/issues/29147
    """
    return AwsError("DeleteConflict", text, 409)


def limit_exceeded(text: str) -> AwsError:
    """More than IAM's quota."""
    return AwsError("LimitExceeded", text, 409)


def no_boundary(arn: str) -> AwsError:
    """A permissions boundary that is no managed policy of the account or of AWS."""
    return AwsError("NoSuchEntity", f"Scope ARN: {arn} does not exist or is not attachable.", 404)


def not_found(text: str) -> AwsError:
    """What there is not, or not yet to be seen."""
    return AwsError("NoSuchEntity", text, 404)


def validation(text: str) -> AwsError:
    """A request that is not valid in itself."""
    return AwsError("ValidationError", text)


def duplicate_tags() -> AwsError:
    """Two tags whose keys differ in letter case at most.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html
    """
    return AwsError(
        "InvalidInput", "Duplicate tag keys found. Please note that Tag keys are case insensitive."
    )
