"""`runbook usage`: who used a key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from keyrunbook.cli.common import (
    OUTPUTS,
    PARAMETER_OPTIONS,
    given_options,
    load,
    time_with_zone,
    write_picture,
)
from keyrunbook.cli.sources import limits, source_options
from keyrunbook.cli.watching import watching


@click.command(
    epilog="""\b
Exit status:
  0    told, and KMS's own last use agrees
  1    KMS's own last use and the records disagree
  2    wrong usage, or no such run, file or key
  3    not all could be searched, or KMS's own last use is not known
  5    AWS refused or could not be reached
  130  interrupted"""
)
@click.option("--run-id", metavar="ID", help="The key of this run.")
@click.option("--key", metavar="ARN", help="The key.")
@click.option(
    "--since",
    callback=time_with_zone,
    metavar="TIME",
    help="Look from this time on, with its zone (2026-03-02T09:00:00Z). Default: the key's "
    "creation, for a look-up at most 90 days back.",
)
@click.option("--until", callback=time_with_zone, metavar="TIME", help="Look until this time.")
@click.option(
    "--principal",
    "principals",
    multiple=True,
    metavar="ARN",
    help="Show only calls by this IAM role or user. May be repeated.",
)
@source_options
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a picture too, by principal and day: a PNG.",
)
@OUTPUTS
@PARAMETER_OPTIONS[5]
@PARAMETER_OPTIONS[6]
@PARAMETER_OPTIONS[7]
def usage(
    run_id: str | None,
    key: str | None,
    principals: tuple[str, ...],
    lookup_calls: int | None,
    as_json: bool,
    picture: Path | None,
    outputs: Path | None,
    target: str | None,
    profile: str | None,
    region: str | None,
    **asked: Any,
) -> None:
    """Tell who used a key: for which workflows and components, how often, when, who was refused.

    By CloudTrail's records: a role, not its sessions; what for, by the encryption context. Beside
    it KMS's own word on the last use (GetKeyLastUsage), where it can be read: they agree, they
    disagree, or that is not known. It says what was not searched: absence proves nothing.

    Needs no run, and changes nothing. Files of this machine are read without AWS unless --target
    or --profile is given.

    \b
    Examples:
      runbook usage --run-id RUN_ID
      runbook usage --target aws --key KEY_ARN --since 2026-03-01T00:00:00Z
      runbook usage --target aws --key KEY_ARN --principal ROLE_ARN --source s3://trails
      runbook usage --key KEY_ARN --source AWSLogs --picture usage.png
    """
    from keyrunbook.execution import using
    from keyrunbook.execution.proving import Question

    given = given_options(
        run_id=run_id, outputs_dir=outputs, target=target, profile=profile, region=region
    )
    numbers = limits(lookup_calls=lookup_calls)
    parameters, _ = load((), None, {**given, **numbers, "read_only": True})
    question = Question(key, principals=principals or None, **asked)
    with watching() as watch:
        answer = using.carry_out(question, parameters, watch)
    if as_json:
        click.echo(json.dumps(answer.to_dict(), indent=2, ensure_ascii=False))
    else:
        click.echo(answer.text())
    if picture is not None:  # last: a file that cannot be written must not cost the answer
        write_picture(picture, answer.picture().png(), "--picture")
    raise click.exceptions.Exit(answer.exit_status)
