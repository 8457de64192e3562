"""CloudTrail's refusals, with the codes of its model; AWS documents no texts but the model's.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html and the
pages of the operations on trails
"""

from __future__ import annotations

from awssandbox.errors import AwsError


def invalid_attributes(why: str) -> AwsError:
    """More than one attribute, an unknown key, or a value that is too long."""
    return AwsError("InvalidLookupAttributesException", f"Invalid lookup attribute: {why}.")


def invalid_time_range() -> AwsError:
    """An end before the start."""
    return AwsError(
        "InvalidTimeRangeException", "The start time must be before or equal to the end time."
    )


def invalid_max_results() -> AwsError:
    """A page size outside 1 to 50."""
    return AwsError("InvalidMaxResultsException", "The maxResults value must be between 1 and 50.")


def invalid_token() -> AwsError:
    """A token that came from other parameters, or from nowhere."""
    return AwsError(
        "InvalidNextTokenException",
        "The token is not valid, or it was given out for a request with other parameters.",
    )


def invalid_page_token() -> AwsError:
    """A token of ListPublicKeys, which gives out none."""
    return AwsError("InvalidTokenException", "Reserved for future use.")


def invalid_category(category: str) -> AwsError:
    """A category that does not exist."""
    return AwsError("InvalidEventCategoryException", f"The event category {category} is not valid.")


def throttled() -> AwsError:
    """More than two calls a second in an account and Region."""
    return AwsError("ThrottlingException", "Rate exceeded")


# Trails


def trail_not_found(name: str, account: str) -> AwsError:
    """A trail that is not there."""
    text = f"Unknown trail: {name} for the user: {account}"
    return AwsError("TrailNotFoundException", text)


def trail_exists(name: str, account: str) -> AwsError:
    """A name that a trail of the account has in this Region."""
    text = f"Trail {name} already exists for customer: {account}"
    return AwsError("TrailAlreadyExistsException", text)


def too_many_trails(account: str) -> AwsError:
    """More trails than the quota of a Region."""
    text = f"User: {account} already has 5 trails in the current region."
    return AwsError("MaximumNumberOfTrailsExceededException", text)


def invalid_home_region(name: str, home: str) -> AwsError:
    """A change of a trail from another Region than its home."""
    text = f"The trail {name} can only be changed in its home Region, {home}."
    return AwsError("InvalidHomeRegionException", text)


def no_bucket(name: str) -> AwsError:
    """A bucket that is not there."""
    return AwsError("S3BucketDoesNotExistException", f"S3 bucket {name} does not exist!")


def bucket_policy(name: str) -> AwsError:
    """A bucket whose policy does not let CloudTrail write. Users of AWS quote the text.

    Source: https://github.com/hashicorp/terraform-provider-aws/issues/6388
    """
    text = f"Incorrect S3 bucket policy is detected for bucket: {name}"
    return AwsError("InsufficientS3BucketPolicyException", text)


def combination(text: str) -> AwsError:
    """Parameters that exclude each other."""
    return AwsError("InvalidParameterCombinationException", text)


def invalid_selectors(why: str) -> AwsError:
    """Event selectors that a trail cannot have."""
    return AwsError("InvalidEventSelectorsException", f"The event selectors are not valid: {why}.")
