"""`runbook permissions`: the operator's least privilege."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyrunbook.cli.common import load
from keyrunbook.errors import ParameterError

if TYPE_CHECKING:
    from keyrunbook.parameters import Parameters
    from keyrunbook.permissions import Where
    from keyrunbook.prove_permissions import Asked


@click.command(
    epilog="""\b
Exit status:
  0    printed
  2    wrong usage, parameters or input file"""
)
@click.option("--steps", metavar="STEPS", help="For which steps, as `runbook run` has it. All.")
@click.option(
    "-p",
    "pairs",
    type=(str, str),
    multiple=True,
    metavar="NAME VALUE",
    help="Set a parameter, such as `-p key_arn ARN`: what is known narrows the policy.",
)
@click.option(
    "--parameters",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.yaml",
    help="Read parameters from a file, as `runbook run` does.",
)
@click.option("--account", metavar="ID", help="Account number. Default: that of execution_role.")
@click.option("--region", metavar="REGION", help="AWS Region. Default: AWS_DEFAULT_REGION.")
@click.option(
    "--partition",
    type=click.Choice(["aws", "aws-us-gov", "aws-cn"]),
    help="AWS partition. Default: the Region's.",
)
@click.option("--emergency", is_flag=True, help="Also what `runbook emergency-stop` needs.")
@click.option(
    "--scorecard",
    is_flag=True,
    help="Instead, what `runbook preflight` and the scorecard of 00 read. A run needs none of it.",
)
@click.option(
    "--prove",
    "source",
    metavar="SOURCE",
    help="What `runbook prove --source SOURCE` needs instead, and no step: lookup, trail, "
    "s3://bucket/prefix, athena:TABLE, or a path.",
)
@click.option(
    "--workflow", metavar="BUILD_ARN", help="With --prove: for this workflow build alone."
)
@click.option(
    "--logs",
    metavar="S3_URL",
    help="With --prove trail or athena:TABLE: the bucket that the trail delivers to, with its "
    "prefix.",
)
@click.option(
    "--answers",
    metavar="S3_URL",
    help="With --prove athena:TABLE: where Athena leaves its answers, the workgroup's own place or "
    "--athena-output.",
)
@click.option(
    "--workgroup", metavar="NAME", help="With --prove athena:TABLE: the workgroup. primary."
)
@click.option("--json", "as_json", is_flag=True, help="Print the policy, and nothing on stderr.")
def permissions(
    steps: str | None,
    pairs: tuple[tuple[str, str], ...],
    file: Path | None,
    account: str | None,
    region: str | None,
    partition: str | None,
    emergency: bool,
    scorecard: bool,
    source: str | None,
    workflow: str | None,
    logs: str | None,
    answers: str | None,
    workgroup: str | None,
    as_json: bool,
) -> None:
    """Print the IAM policy that lets an operator do the steps on AWS, and no more.

    Asks nothing of AWS. Each statement's Sid names the step and what for. A key that the run makes
    is known by its tag: give run_id to narrow the policy to one run. What it allows beyond the run
    is said on stderr. With `-p target sandbox` it has what only runs there do, too: they make the
    execution role, and build.

    \b
    Examples:
      runbook permissions --account 111122223333 --region us-west-2 --steps 00..04
      runbook permissions --account 111122223333 --region us-west-2 --json > operator.json
      runbook permissions --account 111122223333 --region us-west-2 --prove trail --logs s3://trails
    """
    from keyrunbook.execution.selection import parse_selection
    from keyrunbook.permissions import EMERGENCY, SCORECARD, operator_policy, warnings
    from keyrunbook.prove_permissions import Asked
    from keyrunbook.steps import STEPS

    parameters, _ = load(pairs, file, {} if region is None else {"region": region})
    narrowed = {"workflow": workflow, "logs": logs, "answers": answers, "workgroup": workgroup}
    proving = {name: value for name, value in narrowed.items() if value is not None}
    if source is not None:
        if steps is not None or emergency or scorecard:
            raise click.UsageError("--prove is for no step: give it without --steps and the like.")
        where = place_of(parameters, account, partition)
        _print_prove(Asked(source, key_arn=parameters.key_arn, **proving), where, as_json)
        return
    if proving:
        raise click.UsageError(f"--{next(iter(proving))} has no meaning without --prove.")
    if scorecard and (steps is not None or emergency):
        raise click.UsageError("--scorecard is for no step: give it without --steps and the like.")
    chosen = STEPS if steps is None else parse_selection(steps, STEPS).steps
    names = (*chosen, EMERGENCY) if emergency else chosen
    what = ", ".join(name[:2] for name in chosen)
    if scorecard:
        names, what = (SCORECARD,), "the scorecard (runbook preflight)"
    policy = operator_policy(names, parameters, place_of(parameters, account, partition))
    if not as_json:
        click.echo(
            f"# The operator's permissions for {what}: make it a managed policy of whoever runs "
            "them.",
            err=True,
        )
        for warning in () if scorecard else warnings(chosen, parameters):
            click.echo(f"# {warning}", err=True)
    click.echo(json.dumps(policy, indent=2))


def _print_prove(asked: Asked, where: Where, as_json: bool) -> None:
    from keyrunbook.prove_permissions import prove_policy

    policy = prove_policy(asked, where)
    if not as_json:
        click.echo(f"# What runbook prove --source {asked.source} needs.", err=True)
    click.echo(json.dumps(policy, indent=2))


def place_of(parameters: Parameters, account: str | None, partition: str | None) -> Where:
    """The place that a policy is for.

    Raises:
        ParameterError: account or Region is not known, or not one.
    """
    from keyrunbook.permissions import Where, partition_of

    region = parameters.region or os.environ.get("AWS_DEFAULT_REGION")
    if region is None:
        raise ParameterError("No AWS Region is set.", "Give one by --region (region).")
    if account is None and parameters.execution_role.startswith("arn:"):
        account = parameters.execution_role.split(":")[4]
    if account is None or not re.fullmatch(r"[0-9]{12}", account):
        raise ParameterError(
            "No account number is given." if account is None else f"--account {account!r} is none.",
            "Give 12 digits by --account; aws sts get-caller-identity shows yours.",
        )
    if partition not in (None, partition_of(region)):
        raise ParameterError(
            f"--partition {partition} has no Region {region}.",
            f"Leave --partition out: {region} is of {partition_of(region)}.",
        )
    return Where(partition_of(region), region, account)
