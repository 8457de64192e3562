"""Athena's refusals. AWS documents their codes; the texts are those that its users quote.

Source: https://docs.aws.amazon.com/athena/latest/APIReference/API_InvalidRequestException.html
"""

from __future__ import annotations

from awssandbox.errors import AwsError


class Failed(Exception):
    """A query that was started and could not be carried out: its StateChangeReason."""


def invalid(text: str, code: str | None = None) -> AwsError:
    """A request that cannot be carried out; `code` is Athena's own."""
    fields = {} if code is None else {"AthenaErrorCode": code}
    return AwsError("InvalidRequestException", text, 400, fields)


def no_output() -> AwsError:
    """A query whose results have no place."""
    return invalid(
        "No output location provided. An output location is required either through the Workgroup "
        "result configuration setting or as an API input."
    )


def no_query(query_id: str) -> AwsError:
    """A query that is not there."""
    return invalid(f"QueryExecution {query_id} was not found")


def no_workgroup(name: str) -> AwsError:
    """A workgroup that is not there."""
    return invalid(f"WorkGroup {name} is not found.")


def workgroup_exists(name: str) -> AwsError:
    """A workgroup that cannot be made again."""
    return invalid(f"WorkGroup {name} is already created")


def no_table(database: str, name: str) -> AwsError:
    """Metadata of a table that is not there. Its text is UNCONFIRMED, its code is modelled."""
    return AwsError(
        "MetadataException",
        f"EntityNotFoundException: Entity Not Found: table {database}.{name}",
        400,
    )


def not_finished(state: str) -> AwsError:
    """Results of a query that has none: it runs, or it did not succeed."""
    if state in ("QUEUED", "RUNNING"):
        return invalid(f"Query has not yet finished. Current state: {state}")
    return invalid(f"Query did not finish successfully. Final query state: {state}")


def no_access_to_results() -> AwsError:
    """Results that the caller may not read where they are."""
    return invalid(
        "You do not seem to have access to the S3 location of your query results. Please confirm "
        "your account has access to the S3 location where your query results are saved and try "
        "again."
    )


def other_parameters() -> AwsError:
    """A client request token that was used for another query."""
    return invalid("Idempotent parameters do not match")
