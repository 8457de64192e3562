"""`runbook preflight`: the data-protection scorecard of an account."""

from __future__ import annotations

import json
from pathlib import Path

import click

from keyrunbook.cli.common import PARAMETER_OPTIONS, given_options, load


@click.command(
    epilog="""\b
Exit status:
  0    no finding of level error failed, and each was checked, or cannot be
  1    a finding of level error failed
  2    wrong usage, or parameters
  3    none failed, and one of level error was not checked, for want of a permission or a subject
  5    AWS could not be reached, or the credentials are no longer good"""
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write it as JUnit XML too: a failed error is a failure, all else but a pass is skipped.",
)
@click.option("--use-fips", is_flag=True, help="FIPS is required: use, and check, FIPS endpoints.")
@PARAMETER_OPTIONS[5]
@PARAMETER_OPTIONS[6]
@PARAMETER_OPTIONS[7]
def preflight(
    as_json: bool,
    junit: Path | None,
    use_fips: bool,
    target: str | None,
    profile: str | None,
    region: str | None,
) -> None:
    """Judge the account by AWS's recommendations on data protection in EC2 Image Builder.

    Users and MFA, permissions, TLS as it is negotiated with each endpoint, CloudTrail, encryption
    by default, Macie, FIPS, confidential text in names and tags, URLs with credentials; and what
    each Image Builder resource is encrypted with. Needs no run, and only reads. A read that is
    refused is a finding that was not checked, with the permission: `runbook permissions
    --scorecard` prints them all. Documents under a key of yours take kms:Decrypt.

    \b
    Examples:
      runbook preflight
      runbook preflight --target aws --profile audit --region eu-central-1 --junit preflight.xml
      runbook preflight --json | jq '.findings[] | select(.status == "fail")'
    """
    from keyrunbook import junit as xml
    from keyrunbook.session import reach
    from keyrunbook.steps.preflight import scorecard_of

    options = {**given_options(target=target, profile=profile, region=region), "read_only": True}
    parameters, _ = load((), None, {**options, **({"use_fips": True} if use_fips else {})})
    card = scorecard_of(reach(parameters)[1], parameters)
    if junit is not None:
        xml.write(card.junit(), junit)
    if as_json:
        click.echo(json.dumps(card.to_dict(), indent=2, ensure_ascii=False))
    else:
        click.echo(f"{card.table().text()}\n\n{card.encrypted_with().text()}")
    raise click.exceptions.Exit(card.exit_status)
