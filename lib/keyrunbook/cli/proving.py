"""`runbook prove`: the proof for a workflow that is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from keyrunbook.cli.common import OUTPUTS, PARAMETER_OPTIONS, given_options, load, time_with_zone
from keyrunbook.cli.sources import limits, source_options
from keyrunbook.cli.watching import watching


@click.command(
    epilog="""\b
Exit status:
  0    PROVED
  1    REFUTED, or log files are not as they were delivered
  2    wrong usage, or no such run, file or trail
  3    NOT_YET; with --require-integrity, integrity not proven
  5    AWS refused or could not be reached
  130  interrupted"""
)
@click.option("--run-id", metavar="ID", help="Prove the workflow and the key of this run.")
@click.option("--key", metavar="ARN", help="The key that it should be under.")
@click.option("--workflow", metavar="BUILD_ARN", help="The workflow build version to prove.")
@click.option(
    "--since",
    callback=time_with_zone,
    metavar="TIME",
    help="Look from this time on, with its zone (2026-03-02T09:00:00Z); a look-up, besides the "
    "times of calls that are known. Where GetWorkflow is not read and no record tells when the "
    "build was made, this is that time.",
)
@click.option(
    "--until",
    callback=time_with_zone,
    metavar="TIME",
    help="Look until this time. Digests must vouch for all that was delivered up to then; without "
    "it, for the records of the verdict.",
)
@click.option(
    "--principal",
    "principals",
    multiple=True,
    metavar="ARN",
    help="Count only calls by this IAM role or user. May be repeated.",
)
@click.option(
    "--claim",
    "claimed",
    type=click.Choice(["both", "readable"]),
    default="both",
    help="readable: leave out that it was encrypted under the key, for workflows from before the "
    "source's reach.",
)
@source_options
@click.option(
    "--event-wait-seconds",
    type=click.IntRange(0, 7200),
    metavar="SECONDS",
    help="Longest wait for records that a look-up does not show yet. 30 or, on AWS, 900.",
)
@click.option(
    "--trail-keys",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Public keys for the log files' digests: what aws cloudtrail list-public-keys prints. "
    "Default: those that AWS lists, where it is asked.",
)
@click.option(
    "--require-integrity",
    is_flag=True,
    help="End with 3 unless digests prove that the log files are as delivered.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write it as JUnit XML too: refuted is a failure, not known yet is skipped.",
)
@OUTPUTS
@PARAMETER_OPTIONS[5]
@PARAMETER_OPTIONS[6]
@PARAMETER_OPTIONS[7]
def prove(
    run_id: str | None,
    key: str | None,
    workflow: str | None,
    principals: tuple[str, ...],
    claimed: str,
    as_json: bool,
    junit: Path | None,
    lookup_calls: int | None,
    event_wait_seconds: int | None,
    outputs: Path | None,
    target: str | None,
    profile: str | None,
    region: str | None,
    **asked: Any,
) -> None:
    """Prove from CloudTrail that a workflow was encrypted under a key, whoever made it.

    Needs no run, and changes nothing: only reads can be sent. Athena's SELECT is one, and leaves
    its answer in S3, where the workgroup or --athena-output says. GetWorkflow is asked which key
    the workflow names; where it is refused, the clauses stay open, and it says so. A folder of log
    files, with --key and --workflow, is judged without AWS unless --target or --profile is given.

    Log files are also judged by the digests beside them: proven, not proven or refuted. Integrity
    is not completeness: that a record is absent proves nothing.

    \b
    Examples:
      runbook prove --run-id RUN_ID
      runbook prove --target aws --key KEY_ARN --workflow BUILD_ARN
      runbook prove --target aws --key KEY_ARN --workflow BUILD_ARN --source trail
      runbook prove --target aws --key KEY_ARN --workflow BUILD_ARN --source s3://trails
      runbook prove --target aws --key KEY_ARN --workflow BUILD_ARN --source athena:cloudtrail
      runbook prove --key KEY_ARN --workflow BUILD_ARN --source AWSLogs --trail-keys keys.json
    """
    from keyrunbook import junit as xml
    from keyrunbook.execution import proving

    given = given_options(
        run_id=run_id, outputs_dir=outputs, target=target, profile=profile, region=region
    )
    numbers = limits(lookup_calls=lookup_calls, event_wait_seconds=event_wait_seconds)
    parameters, _ = load((), None, {**given, **numbers, "read_only": True})
    question = proving.Question(
        key,
        workflow,
        principals=principals or None,
        only_readable=claimed == "readable",
        **asked,
    )
    with watching() as watch:
        proof = proving.carry_out(question, parameters, watch)
    if as_json:
        click.echo(json.dumps(proof.to_dict(), indent=2, ensure_ascii=False))
    else:
        click.echo(proof.text())
    if junit is not None:  # last: a file that cannot be written must not cost the answer
        xml.write(proof.junit(), junit)
    raise click.exceptions.Exit(proof.exit_status)
