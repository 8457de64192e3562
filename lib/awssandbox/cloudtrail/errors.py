"""LookupEvents' refusals, with the codes of its model; AWS documents no texts but the model's.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
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


def invalid_category(category: str) -> AwsError:
    """A category that does not exist."""
    return AwsError("InvalidEventCategoryException", f"The event category {category} is not valid.")


def throttled() -> AwsError:
    """More than two calls a second in an account and Region."""
    return AwsError("ThrottlingException", "Rate exceeded")
