"""`runbook athena-ddl`: the statement that makes the table of `runbook prove --source athena:…`."""

from __future__ import annotations

from datetime import datetime

import click

from keyrunbook.cli.common import load
from keyrunbook.cli.permissions import place_of


@click.command(
    "athena-ddl",
    epilog="""\b
Exit status:
  0    printed
  2    wrong usage""",
)
@click.argument("table")
@click.option(
    "--bucket",
    required=True,
    metavar="S3_URL",
    help="The bucket that the trail delivers to, with the trail's prefix: s3://bucket/prefix.",
)
@click.option("--account", required=True, metavar="ID", help="The account whose files they are.")
@click.option("--region", metavar="REGION", help="Their Region. Default: AWS_DEFAULT_REGION.")
@click.option(
    "--organization", metavar="ID", help="The organization's id (o-…), where the trail is its."
)
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    default="2020-01-01",
    metavar="DAY",
    help="The first day that the table has. 2020-01-01.",
)
def athena_ddl(
    table: str,
    bucket: str,
    account: str,
    region: str | None,
    organization: str | None,
    since: datetime,
) -> None:
    """Print the statement that makes an Athena table on a trail's log files, as AWS documents it.

    TABLE or DATABASE.TABLE is then the source athena:TABLE of `runbook prove`. The runbook does not
    make it: a table is a change of the account. Run the statement in Athena's query editor, or by
    aws athena start-query-execution; it needs glue:CreateTable. DROP TABLE takes it away, and no
    log file with it.

    The table is for one account and Region. Its partitions are projected by day: nothing has to be
    added to it as time goes by, and a query reads the files of its days alone.

    \b
    Example:
      runbook athena-ddl audit.cloudtrail --bucket s3://trails --account 111122223333 \\
        --region us-west-2
    """
    from keyrunbook.aws.trail_logs import place_of_url
    from keyrunbook.logs.athena import ddl, named

    parameters, _ = load((), None, {} if region is None else {"region": region})
    where = place_of(parameters, account, None)
    database, name = named(f"athena:{table.removeprefix('athena:')}")
    place = place_of_url(bucket).url
    click.echo(
        ddl(database, name, place, where.account, where.region, since.date(), organization),
        nl=False,
    )
