"""`runbook report`: one run as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from keyrunbook.cli.common import OUTPUTS, given_options, load, outputs_folder


@click.command(
    epilog="""\b
Exit status:
  0    written, whatever the verdict
  1    the ledger is damaged, or does not hold the line of --head: nothing is written
  2    wrong usage, no such run, or FILE is there and no report
  5    FILE could not be written"""
)
@click.argument("run_id")
@OUTPUTS
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write it to this file. Default: report.html in the run's folder.",
)
@click.option("--head", metavar="HASH", help="A head hash kept from earlier: it must be there.")
def report(run_id: str, outputs: Path | None, output: Path | None, head: str | None) -> None:
    """Write the report of a run: one HTML file that opens from disk, for an auditor.

    What was done, by whom, and how each change is undone; the policies before and after; who may
    use the key; the verdict with CloudTrail's records; the timeline; findings; what stayed unknown;
    what is left in AWS; the ledger's head hash. What the run did not write down is said to be not
    known.

    Of a run that failed, was killed or waits for approval too. It is made from the run's folder
    alone: nothing is asked of AWS. The file asks for nothing of the network, and has no script.
    What looks confidential is left out. Two reports of one run have the same bytes.
    """
    from keyrunbook.execution.reporting import carry_out

    parameters, _ = load((), None, given_options(run_id=run_id, outputs_dir=outputs))
    click.echo(carry_out(outputs_folder(parameters), run_id, output, head))
