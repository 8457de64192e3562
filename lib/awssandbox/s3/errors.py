"""S3's refusals, with AWS's codes, texts and statuses.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

from awssandbox.errors import AwsError


def no_such_bucket(name: str) -> AwsError:
    """A bucket that is not there."""
    text = "The specified bucket does not exist"
    return AwsError("NoSuchBucket", text, 404, {"BucketName": name})


def no_such_key(key: str) -> AwsError:
    """An object that is not there, told to who may list the bucket."""
    return AwsError("NoSuchKey", "The specified key does not exist.", 404, {"Key": key})


def no_such_policy(name: str) -> AwsError:
    """A bucket without a policy."""
    text = "The bucket policy does not exist"
    return AwsError("NoSuchBucketPolicy", text, 404, {"BucketName": name})


def already_exists(name: str) -> AwsError:
    """A bucket name that another account has."""
    text = (
        "The requested bucket name is not available. The bucket namespace is shared by all users "
        "of the system. Please select a different name and try again."
    )
    return AwsError("BucketAlreadyExists", text, 409, {"BucketName": name})


def already_owned(name: str) -> AwsError:
    """A bucket name that the account itself has."""
    text = "Your previous request to create the named bucket succeeded and you already own it."
    return AwsError("BucketAlreadyOwnedByYou", text, 409, {"BucketName": name})


def invalid_bucket_name(name: str) -> AwsError:
    """A name that no bucket can have."""
    text = "The specified bucket is not valid."
    return AwsError("InvalidBucketName", text, 400, {"BucketName": name})


def not_empty(name: str) -> AwsError:
    """A bucket with objects, which is not deleted."""
    text = "The bucket you tried to delete is not empty"
    return AwsError("BucketNotEmpty", text, 409, {"BucketName": name})


def illegal_location(constraint: str | None) -> AwsError:
    """A bucket that is to be in another Region than the endpoint that was asked."""
    text = (
        f"The {constraint or 'unspecified'} location constraint is incompatible for the region "
        "specific endpoint this request was sent to."
    )
    return AwsError("IllegalLocationConstraintException", text)


def wrong_region(asked: str, actual: str) -> AwsError:
    """A request that is signed for another Region than its bucket's."""
    text = (
        f"The authorization header is malformed; the region '{asked}' is wrong; "
        f"expecting '{actual}'"
    )
    return AwsError("AuthorizationHeaderMalformed", text, 400, {"Region": actual})


def wrong_owner() -> AwsError:
    """A bucket that another account has than the request expects."""
    return AwsError("AccessDenied", "Access Denied", 403)


def not_the_owner() -> AwsError:
    """A bucket policy that another account asks for, though it would be allowed to.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketPolicy.html
    """
    text = "The specified method is not allowed against this resource."
    return AwsError("MethodNotAllowed", text, 405)


def malformed_policy(why: str) -> AwsError:
    """A bucket policy that S3 does not take."""
    return AwsError("MalformedPolicy", why)


def public_policy(caller: str, resource: str) -> AwsError:
    """A policy that would make a bucket public, which new buckets block.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
    """
    text = (
        f"User: {caller} is not authorized to perform: s3:PutBucketPolicy on resource: "
        f'"{resource}" because public policies are blocked by the BlockPublicPolicy block public '
        "access setting."
    )
    return AwsError("AccessDenied", text, 403)


def key_too_long() -> AwsError:
    """A key of more than 1,024 bytes."""
    return AwsError("KeyTooLongError", "Your key is too long")


def invalid_range() -> AwsError:
    """A part of an object that begins behind its end."""
    return AwsError("InvalidRange", "The requested range is not satisfiable", 416)


def precondition_failed(condition: str) -> AwsError:
    """An object that is not the one that a request is about."""
    text = "At least one of the pre-conditions you specified did not hold"
    return AwsError("PreconditionFailed", text, 412, {"Condition": condition})


def not_modified() -> AwsError:
    """An object that the caller has already."""
    return AwsError("NotModified", "Not Modified", 304)


def no_acls() -> AwsError:
    """An object with an ACL of its own, in a bucket that has none."""
    return AwsError("AccessControlListNotSupported", "The bucket does not allow ACLs")
