"""KMS's refusals, with AWS's codes and texts. All are HTTP 400, as KMS's JSON protocol has them.

Source: https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html and, for key states,
https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from awssandbox.errors import AwsError

INVALID_PRINCIPALS: Final = "Policy contains a statement with one or more invalid principals."
LOCKED_OUT: Final = "The new key policy will not allow you to update the key policy in the future."
DRY_RUN: Final = "The request would have succeeded, but the DryRun option is set."
INCORRECT_KEY: Final = (
    "The key ID in the request does not identify a CMK that can perform this operation."
)
UNKNOWN_CIPHERTEXT: Final = (
    "The ciphertext refers to a customer master key that does not exist, does not exist in this "
    "region, or you are not allowed to access."
)


def invalid(message: str) -> AwsError:
    """A parameter that is not valid, or a combination of parameters that is not."""
    return AwsError("ValidationException", message)


def constraint(value: object, member: str, needed: str) -> AwsError:
    """A parameter outside its limits: `member` in lowerCamelCase, `needed` as in "have value …".

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html (the sentence's
    form is that of AWS's services in general)
    """
    return invalid(
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy "
        f"constraint: Member must {needed}"
    )


def required(member: str) -> AwsError:
    """A parameter that is missing: `member` in lowerCamelCase."""
    return invalid(
        f"1 validation error detected: Value null at '{member}' failed to satisfy constraint: "
        "Member must not be null"
    )


def no_key(arn: str) -> AwsError:
    """A key of this account and Region that does not exist, or no longer."""
    return AwsError("NotFoundException", f"Key '{arn}' does not exist")


def no_alias(arn: str) -> AwsError:
    """An alias that does not exist.

    Source: https://github.com/waleed0402/ec2-image-builder/issues/4
    """
    return AwsError("NotFoundException", f"Alias {arn} is not found.")


def bad_key_id(key_id: str) -> AwsError:
    """Something in no form of a key identifier."""
    return AwsError("NotFoundException", f"Invalid keyId '{key_id}'")


def other_region(region: str) -> AwsError:
    """An ARN of another Region than the endpoint's.

    Source: https://github.com/kubernetes-retired/kube-aws/issues/1041
    """
    return AwsError("NotFoundException", f"Invalid arn {region}")


def bad_arn(arn: str) -> AwsError:
    """An ARN that names neither a key nor an alias."""
    return AwsError("InvalidArnException", f"Invalid arn {arn}")


def alias_not_accepted() -> AwsError:
    """An alias where only a key id or key ARN is accepted.

    Source: https://github.com/hashicorp/terraform/issues/20813
    """
    return AwsError("InvalidArnException", "Key Aliases are not supported for this operation.")


def hidden(principal: str, action: str) -> AwsError:
    """Another account's key that does not exist or may not be used so: KMS does not say which.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/policy-evaluation.html
    """
    return AwsError(
        "AccessDeniedException",
        f"User: {principal} is not authorized to perform: {action} on this resource because the "
        "resource does not exist in this Region, no resource-based policies allow access, or a "
        "resource-based policy explicitly denies access",
        record_code="AccessDenied",
    )


def disabled(arn: str) -> AwsError:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html [1]"""
    return AwsError("DisabledException", f"{arn} is disabled.")


def pending_deletion(arn: str) -> AwsError:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html [3]"""
    return AwsError("KMSInvalidStateException", f"{arn} is pending deletion.")


def not_pending_deletion(arn: str) -> AwsError:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html [4]"""
    return AwsError("KMSInvalidStateException", f"{arn} is not pending deletion.")


def unsupported(what: str) -> AwsError:
    """A kind of key that AWS has and the sandbox does not."""
    return AwsError("UnsupportedOperationException", f"The sandbox does not imitate {what}.")


def of_primary(arn: str) -> AwsError:
    """What only a multi-Region primary key can do, asked of another. AWS's text is not documented.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ReplicateKey.html (the code)
    """
    return AwsError("UnsupportedOperationException", f"{arn} is not a multi-Region primary key.")


def key_exists(arn: str) -> AwsError:
    """A key's second replica in one Region. AWS's text is not documented.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_ReplicateKey.html (the code)
    """
    return AwsError("AlreadyExistsException", f"Key '{arn}' already exists")


def malformed(reason: str) -> AwsError:
    """A key policy that KMS does not accept."""
    return AwsError("MalformedPolicyDocumentException", reason)


def policy_too_long() -> AwsError:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html"""
    return AwsError(
        "LimitExceededException", "The key policy is longer than the maximum of 32768 bytes."
    )


def invalid_principal(principal: str) -> AwsError:
    """A grantee or retiring principal that does not exist.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html
    """
    return AwsError("InvalidArnException", f"ARN does not refer to a valid principal: {principal}")


def dry_run() -> AwsError:
    """Source: https://docs.aws.amazon.com/kms/latest/developerguide/testing-permissions.html"""
    return AwsError("DryRunOperationException", DRY_RUN)


def invalid_ciphertext() -> AwsError:
    """Garbage, or another encryption context than at encryption. AWS gives no text with it.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/encrypt_context.html
    """
    return AwsError("InvalidCiphertextException", "")


def incorrect_key() -> AwsError:
    """A `KeyId` that is not the ciphertext's.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/ct-decrypt.html
    """
    return AwsError("IncorrectKeyException", INCORRECT_KEY)


def unknown_ciphertext() -> AwsError:
    """A ciphertext of a key that the caller cannot see: gone, of another Region or account.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html
    """
    return AwsError("AccessDeniedException", UNKNOWN_CIPHERTEXT, record_code="AccessDenied")


def invalid_marker() -> AwsError:
    """A marker that no earlier answer to the same operation gave."""
    return AwsError(
        "InvalidMarkerException",
        "The marker that specifies where pagination should next begin is not valid.",
    )


def invalid_algorithm(algorithm: str) -> AwsError:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html"""
    return AwsError(
        "InvalidKeyUsageException",
        f"Algorithm {algorithm} is incompatible with key spec SYMMETRIC_DEFAULT.",
    )


def invalid_grant_token() -> AwsError:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html"""
    return AwsError("InvalidGrantTokenException", "A grant token in the request is not valid.")


def no_grant(grant_id: str) -> AwsError:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_RevokeGrant.html"""
    return AwsError("NotFoundException", f"Grant ID {grant_id} not found")


def unusable_operations(operations: Sequence[str]) -> AwsError:
    """Grant operations that a symmetric encryption key does not have.

    Source: https://docs.aws.amazon.com/kms/latest/developerguide/grants.html
    """
    return invalid(
        f"Grant operations [{', '.join(operations)}] are not supported for a KMS key with key "
        "spec SYMMETRIC_DEFAULT."
    )


def alias_exists(arn: str) -> AwsError:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html"""
    return AwsError("AlreadyExistsException", f"An alias with the name {arn} already exists")


def reserved_alias() -> AwsError:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html"""
    return AwsError(
        "NotAuthorizedException", "The alias/aws/ prefix is reserved for AWS managed keys."
    )


def bad_tag(reason: str) -> AwsError:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_TagResource.html"""
    return AwsError("TagException", reason)


def no_policy() -> AwsError:
    """A policy name other than ``default``.

    Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyPolicy.html
    """
    return AwsError("NotFoundException", "No such policy exists")


def invalid_alias_name(name: str) -> AwsError:
    """Source: https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html"""
    return AwsError("InvalidAliasNameException", f"{name} contains invalid characters for an alias")
