"""The options that say where records come from, and how much may be asked of it."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable

_ATHENA: Final = {
    "athena_workgroup": "workgroup",
    "athena_output": "output",
    "athena_gigabytes": "most_gigabytes",
    "athena_seconds": "limit_s",
}
_OPTIONS: Final = (
    click.option(
        "--source",
        default="lookup",
        metavar="SOURCE",
        help="lookup (the Event history, the default); trail or trail:NAME (the log files of a "
        "trail that is found); s3://bucket/prefix that a trail delivers to; athena:TABLE or "
        "athena:DATABASE.TABLE over them (runbook athena-ddl prints how to make it); or a file, "
        "folder or glob of log files (a folder named trail: ./trail).",
    ),
    click.option(
        "--lookup-calls",
        type=click.IntRange(1, 100_000),
        metavar="CALLS",
        help="Most calls of one search of the Event history, two a second. Over it, not known. "
        "240.",
    ),
    click.option(
        "--athena-workgroup",
        metavar="NAME",
        help="The workgroup that Athena's query runs in. primary.",
    ),
    click.option(
        "--athena-output",
        metavar="S3_URL",
        help="Where Athena leaves the query's answer, an object in S3. The workgroup's own place.",
    ),
    click.option(
        "--athena-gigabytes",
        type=click.FloatRange(0, min_open=True),
        metavar="GB",
        help="The most that Athena may read, which AWS charges for: by the log files' sizes, an "
        "estimate. Over it nothing is run: not known. 100.",
    ),
    click.option(
        "--athena-seconds",
        type=click.IntRange(1, 7200),
        metavar="SECONDS",
        help="The longest that Athena's query may take; then it is stopped: not known. 900.",
    ),
)


def source_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options; those for Athena come to it as `how`, a `How`."""

    @wraps(command)
    def with_how(**given: Any) -> None:
        from keyrunbook.aws.athena import How

        athena = {name: given.pop(option) for option, name in _ATHENA.items()}
        command(how=How(**{n: one for n, one in athena.items() if one is not None}), **given)

    for option in reversed(_OPTIONS):
        with_how = option(with_how)
    return with_how


def limits(**given: int | None) -> dict[str, int]:
    """The limits that were given, as parameters."""
    return {name: value for name, value in given.items() if value is not None}
