"""Image Builder's refusals, with AWS's codes and texts.

The HTTP statuses are those of the service's model. Where AWS documents no text, the code's own
documentation in the model is used; each such place says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from awssandbox.errors import AwsError

DRY_RUN_MESSAGE: Final = "Request would have succeeded, but dryRun flag is set."


def invalid_value(parameter: str, why: str) -> AwsError:
    """A parameter's value that Image Builder does not take.

    Source: the texts of real refusals, such as
    https://github.com/hashicorp/terraform-provider-aws/issues/39785 and
    https://github.com/boto/boto3/issues/2224
    """
    return AwsError(
        "InvalidParameterValueException",
        f"The value supplied for parameter '{parameter}' is not valid. {why}",
    )


def invalid_parameter(parameter: str, why: str) -> AwsError:
    """What the operations on tags answer to a value that they do not take.

    Their model has this code, and not the one of `invalid_value`; the text is not documented.
    Source: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_TagResource.html
    """
    return AwsError(
        "InvalidParameterException",
        f"The value supplied for parameter '{parameter}' is not valid. {why}",
    )


def invalid_combination(why: str) -> AwsError:
    """Parameters that exclude each other, or one that lacks its companion."""
    return AwsError("InvalidParameterCombinationException", why)


def version_out_of_bounds() -> AwsError:
    """A version with a node above 2^30-1. The text is the model's; AWS's own is not documented."""
    return AwsError(
        "InvalidVersionNumberException",
        "Your version number is out of bounds or does not follow the required syntax.",
    )


def already_exists(kind: str, arn: str) -> AwsError:
    """A version whose latest build has the same configuration.

    Source: https://github.com/ministryofjustice/modernisation-platform-ami-builds/pull/549
    (the text, for an image recipe).
    """
    return AwsError(
        "ResourceAlreadyExistsException",
        f"The following resource '{kind}' already exists: '{arn}'.",
    )


def not_found(arn: str) -> AwsError:
    """A resource that does not exist. Code and status are modelled; the text is not documented."""
    return AwsError(
        "ResourceNotFoundException", f"The resource with ARN '{arn}' does not exist.", 404
    )


def not_running(arn: str) -> AwsError:
    """A build that has ended. UNCONFIRMED: code and text; the model says when it is refused.

    Source: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CancelImageCreation.html
    """
    return AwsError("InvalidRequestException", f"The image '{arn}' is not being built.")


def still_running(arn: str) -> AwsError:
    """A build that has not ended. The text is not documented.

    Source: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_DeleteImage.html
    """
    return AwsError("ResourceDependencyException", f"The image '{arn}' is being built.")


def token_mismatch() -> AwsError:
    """A client token that came before with other parameters. The text is the model's."""
    return AwsError(
        "IdempotentParameterMismatchException",
        "You have specified a client token for an operation using parameter values that differ "
        "from a previous request that used the same client token.",
    )


def quota_exceeded(what: str, limit: int) -> AwsError:
    """A quota that is reached. The text is not documented."""
    return AwsError(
        "ServiceQuotaExceededException",
        f"You have exceeded the number of permitted resources or operations for this service. "
        f"The quota of {what} is {limit:,}.",
        402,
    )


def dry_run_succeeded() -> AwsError:
    """What a valid request with ``dryRun`` answers.

    Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/dry-run-resources.html
    """
    return AwsError("DryRunOperationException", DRY_RUN_MESSAGE, 412)


def invalid_pagination_token() -> AwsError:
    """A ``nextToken`` that this list did not give out. The text is the model's."""
    return AwsError(
        "InvalidPaginationTokenException",
        "You have provided an invalid pagination token in your request.",
    )


def in_use(arn: str, users: Sequence[str]) -> AwsError:
    """A component that recipes name. The text is not documented.

    Source: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_DeleteComponent.html
    """
    return AwsError(
        "ResourceDependencyException",
        f"Resource dependency error: The resource ARN '{arn}' has other resources depended on it: "
        f"{', '.join(users)}",
    )


def kms_refused(verb: str, key: str, cause: AwsError, what: str = "workflow") -> AwsError:
    """What CreateWorkflow or GetWorkflow answers when KMS refuses its call, and their kin.

    UNCONFIRMED: AWS documents neither code nor text, and models no KMS error for these operations.
    Of the modelled codes, ForbiddenException ("You are not authorized to perform the requested
    operation") stands for a refused permission, and ClientException ("such as when a downstream
    service rejects a configured value") for every other answer of KMS. Nothing should branch on
    them: the text holds KMS's own code and message.
    Source: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CreateWorkflow.html
    """
    why = f"Image Builder could not {verb} the {what} with the KMS key '{key}'. "
    text = f"{why}KMS answered {cause.code}: {cause.message}"
    if cause.code in ("AccessDeniedException", "AccessDenied"):
        return AwsError("ForbiddenException", text, 403)
    return AwsError("ClientException", text)


def s3_refused(uri: str, cause: AwsError) -> AwsError:
    """What CreateWorkflow answers when S3 refuses to give the document at `uri`.

    UNCONFIRMED, as for `kms_refused`.
    Source: https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CreateWorkflow.html
    """
    text = f"Image Builder could not read '{uri}'. S3 answered {cause.code}: {cause.message}"
    if cause.code == "AccessDenied":
        return AwsError("ForbiddenException", text, 403)
    return AwsError("ClientException", text)
