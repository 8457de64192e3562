"""CloudTrail records by Athena: for logs that outgrow one machine, and at a price for each byte.

A table is asked that its owner has made: this module makes none, since a table is a change of the
account. `keyrunbook.logs.athena.ddl` is the statement for it. What runs is one SELECT, on the days
and kinds of records that the proof needs. How much that reads is estimated first, from the sizes
of those days' log files, and over a limit nothing is run. A query leaves its answer as an object
in S3, where its workgroup or the caller says; nothing else of the account is touched.

Who asks needs athena:GetTableMetadata, GetWorkGroup, StartQueryExecution, GetQueryExecution,
GetQueryResults and StopQueryExecution; glue:GetTable; s3:ListBucket and GetObject for the log files
(kms:Decrypt too where they are encrypted); and to write and read the place of the answer.

Source: https://docs.aws.amazon.com/athena/latest/ug/cloudtrail-logs.html
Source: https://docs.aws.amazon.com/athena/latest/ug/querying-finding-output-files.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from keyrunbook.aws.clients import Clients
from keyrunbook.aws.refusals import code_of, explain
from keyrunbook.aws.trail_logs import days, lack_of, pages, unknown_of
from keyrunbook.aws.trails import Trail, read_trails
from keyrunbook.aws.wait import NotYet, Pending, Waited, wait_until
from keyrunbook.errors import AwsRefused, ParameterError
from keyrunbook.logs import LATE, Found, Scanned, Wanted, found
from keyrunbook.logs.athena import (
    FOR_THE_PROOF,
    LACKS,
    Kinds,
    Row,
    Table,
    named,
    narrowed,
    record_of,
    statement,
    table_of,
)
from keyrunbook.logs.names import log_name
from keyrunbook.records import MalformedRecord, Record

WORKGROUP: Final = "primary"
"""The workgroup that every account has."""
GIGABYTE: Final = 10**9
CATALOG: Final = "AwsDataCatalog"
PAGE: Final = 1000
"""The most rows that GetQueryResults gives at a time."""

_DAMAGED: Final = ("HIVE_BAD_DATA", "HIVE_CURSOR_ERROR")
"""Reasons of a failed query that are a file's.

Source: https://docs.aws.amazon.com/athena/latest/ug/troubleshooting-athena.html
"""


@dataclass(frozen=True, slots=True)
class How:
    """How Athena is asked: by which workgroup, where the answer goes, how much may be read.

    `output` is ``s3://…``, None for the workgroup's own place. `most_gigabytes` (10⁹ bytes) is the
    most that a query may read, by the estimate; `limit_s` how long it may run, asked every
    `interval_s` seconds. Raises ParameterError for a limit that is none, and another place.
    """

    workgroup: str = WORKGROUP
    output: str | None = None
    most_gigabytes: float = 100
    limit_s: float = 900
    interval_s: float = 1

    def __post_init__(self) -> None:
        if not 0 < self.most_gigabytes < math.inf:  # of what is no number both are false
            raise ParameterError(
                f"most_gigabytes = {self.most_gigabytes} is no limit.",
                "Give a number of gigabytes above 0 (--athena-gigabytes).",
            )
        if self.output is not None and not re.match(r"s3://[a-z0-9]", self.output):
            raise ParameterError(
                f"The place of Athena's answers, {self.output!r}, is not of the form "
                "s3://bucket/prefix.",
                "Give a bucket that you may write to (--athena-output).",
            )


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a query will read: the log files of its days, and their bytes as they are in S3.

    An estimate, since files may come meanwhile, and Athena counts at least ten megabytes.
    `delivered` is when the first of the files was.
    Source: https://aws.amazon.com/athena/pricing/
    """

    files: int
    size: int
    delivered: datetime | None

    def __str__(self) -> str:
        return f"about {sized(self.size)} in {self.files} log files"


def _bare(url: str | None) -> str | None:
    return None if url is None else url.rstrip("/")


def sized(size: int) -> str:
    """A number of bytes, in words."""
    return f"{size / GIGABYTE:.2f} GB" if size >= GIGABYTE / 100 else f"{size:,} bytes"


class AthenaLogs:
    """Searches a trail's log files of one account and Region by a table of Athena's.

    `source` is ``athena:database.table``. `remark` is added to the source's name: whose endpoint
    it is, where it is not AWS's.

    Raises:
        ParameterError: there is no such table, or not of that account and Region, or not made as
            AWS documents it; or the answer has no place.
        AwsRefused, Unreachable: Athena did not describe table or workgroup.
    """

    def __init__(
        self,
        clients: Clients,
        source: str,
        account: str,
        region: str,
        how: How = How(),
        *,
        clock: Callable[[], datetime] | None = None,
        remark: str = "",
    ) -> None:
        self._how = how
        self._clients = clients
        self._athena = clients("athena", region)
        self._clock = clock or clients.now
        self._account, self._region = account, region
        self.table = self._described(*named(source))
        self.name = (
            f"Athena's table {self.table} of {account} in {region} "
            f"on s3://{self.table.bucket}{remark}"
        )
        self._check_output()

    def _described(self, database: str, name: str) -> Table:
        try:
            answer = self._athena.get_table_metadata(
                CatalogName=CATALOG, DatabaseName=database, TableName=name
            )
        except ClientError as error:
            if code_of(error) == "MetadataException":
                said = error.response["Error"].get("Message", "")
                raise ParameterError(
                    f"Athena tells of no table {database}.{name} in {self._region}: {said}.",
                    "Make it: runbook athena-ddl prints the statement. Or name another.",
                ) from error
            raise explain(error) from error
        except BotoCoreError as error:
            raise explain(error) from error
        return table_of(answer["TableMetadata"], database, self._account, self._region)

    def _check_output(self) -> None:
        """Raise ParameterError unless the answer has a place to go to."""
        with _explained():
            group = self._athena.get_work_group(WorkGroup=self._how.workgroup)["WorkGroup"]
        configured = group.get("Configuration", {})
        own = configured.get("ResultConfiguration", {}).get("OutputLocation")
        managed = configured.get("ManagedQueryResultsConfiguration", {}).get("Enabled", False)
        own, given = _bare(own), _bare(self._how.output)
        if given is None and not own and not managed:
            raise ParameterError(
                f"Athena's workgroup {self._how.workgroup} names no place for answers.",
                "Give one by --athena-output s3://bucket/prefix, or another --athena-workgroup.",
            )
        if given is not None and configured.get("EnforceWorkGroupConfiguration") and given != own:
            raise ParameterError(
                f"Athena's workgroup {self._how.workgroup} does not let its callers say where "
                f"answers go: to {own or 'storage of its own'}.",
                "Leave --athena-output out, or give another --athena-workgroup.",
            )

    def estimate(self, since: datetime, until: datetime) -> Estimate:
        """What a search of that time would read: all that was delivered on its days.

        Raises AwsRefused or Unreachable.
        """
        first, last = self.table.reach(self._clock())
        listed = [
            one
            for day in days(max(since, first), min(until, last))
            for page in pages(
                self._clients("s3"), Bucket=self.table.bucket, Prefix=self.table.folder(day)
            )
            for one in page.get("Contents", ())
        ]
        names = [log_name(one["Key"].rpartition("/")[2]) for one in listed]
        delivered = [name.delivered for name in names if name is not None]
        size = sum(one["Size"] for one in listed)
        return Estimate(len(listed), size, min(delivered, default=None))

    def search(
        self,
        since: datetime,
        until: datetime | None = None,
        *,
        kinds: Kinds = FOR_THE_PROOF,
        progress: Callable[[Waited], None] | None = None,
    ) -> Found:
        """The records from `since` to `until`, delivered at most a day later, or up to now.

        Where Athena would read more than it may, takes longer than it may, is stopped, or meets a
        file that it cannot read, nothing is covered, and it is said why.

        Raises:
            AwsRefused: AWS refused a call, or the query failed.
            Unreachable: the endpoint did not answer.
        """
        at = self._clock()
        wanted = Wanted(since, until or at, self._account, self._region)
        end = min((until or at) + LATE, at)
        estimate = self.estimate(since, end)
        trail, notes = self._trail()
        most = self._how.most_gigabytes
        if estimate.size > most * GIGABYTE:
            return self._nothing(
                wanted,
                kinds,
                notes,
                f"Athena would read {estimate}, an estimate by their sizes, and the limit is "
                f"{most:g} GB (--athena-gigabytes): nothing was run. With --since and --until it "
                "needs fewer days.",
            )
        first, last = (one.astimezone(UTC).date() for one in (since, end))
        text = statement(self.table, first, last, kinds)
        query = _Query(self._athena, self._how, text, self.table.database)
        why = query.run(progress)
        scanned = f"Athena read {sized(query.scanned)} (estimated: {estimate}), query {query.id}"
        notes = [*notes, f"{scanned}; its answer is {query.output or 'with Athena'}.", f"{LACKS}."]
        if why:
            return self._nothing(wanted, kinds, notes, why)
        files = list(_files(query.rows(), wanted))
        begin, stop = self._held(estimate, files, trail, at)
        answer = found(
            self.name,
            wanted,
            files,
            notes=notes,
            since=begin,
            until=stop,
            lack=lack_of(trail),
        )
        return replace(answer, searched=narrowed(replace(answer.searched, calls=1), kinds))

    def _nothing(self, wanted: Wanted, kinds: Kinds, notes: Sequence[str], why: str) -> Found:
        answer = found(self.name, wanted, (), notes=notes, until=self._clock(), lack=why)
        return replace(answer, searched=narrowed(answer.searched, kinds))

    def _held(
        self, estimate: Estimate, files: Sequence[Scanned], trail: Trail | None, at: datetime
    ) -> tuple[datetime | None, datetime]:
        """From when to when the table's files are known to be.

        From the oldest record that they are seen to hold, or a delivery before it: whoever has a
        file of a time had the trail then.
        """
        first, last = self.table.reach(at)
        started = trail.started if trail is not None else None
        known = [one for one in (started, estimate.delivered) if one is not None]
        known += [time for file in files for time in file.times]
        stopped = trail.stopped if trail is not None and not trail.logging else None
        ends = [one for one in (at, last, stopped) if one is not None]
        return max(first, min(known)) if known else None, min(ends)

    def _trail(self) -> tuple[Trail | None, list[str]]:
        """The trail that delivers to the table's place, where it can be known; and what to say."""
        try:
            trails = read_trails(self._clients, self._region)
        except ClientError as error:
            return None, [f"{unknown_of(None)} {explain(error).what}"]
        except BotoCoreError as error:
            raise explain(error) from error
        here = [
            trail
            for trail in trails
            if (trail.bucket, trail.prefix.strip("/")) == (self.table.bucket, self.table.prefix)
        ]
        if not here:
            return None, [unknown_of(None)]
        best = min(here, key=lambda trail: (trail.refused is not None, bool(lack_of(trail))))
        return best, [said] if (said := lack_of(best) or unknown_of(best)) else []


def _files(rows: Iterator[Row], wanted: Wanted) -> Iterator[Scanned]:
    """What each file was found to hold, as far as rows tell: none of it was read here."""
    kept = sorted(rows, key=lambda row: row["path"] or "")
    for path, same in groupby(kept, key=lambda row: row["path"] or ""):
        records: list[Record] = []
        troubles: list[tuple[str, str]] = []
        parsed = 0
        for row in same:
            parsed += 1
            try:
                record = record_of(row)
            except MalformedRecord as error:
                troubles.append((error.place, error.reason))
            else:
                records += [record] if wanted.holds(record) else []
        times = tuple(record.time for record in records)
        ends = (min(times), max(times)) if times else ()
        yield Scanned(path, 0, 0, None, False, parsed, tuple(records), tuple(troubles), ends)


@dataclass(slots=True)
class _Query:
    """One query, from its start to its rows."""

    athena: Any
    how: How
    text: str
    database: str
    id: str = ""
    output: str = ""
    scanned: int = 0
    _ended: bool = field(default=False, init=False)

    def run(self, progress: Callable[[Waited], None] | None) -> str:
        """Run it to its end; what stopped it, in a sentence, or nothing.

        A query that is not waited for to its end is stopped: what runs on costs.

        Raises AwsRefused or Unreachable.
        """
        where = {} if self.how.output is None else {"OutputLocation": self.how.output}
        with _explained():
            self.id = self.athena.start_query_execution(
                QueryString=self.text,
                QueryExecutionContext={"Database": self.database, "Catalog": CATALOG},
                WorkGroup=self.how.workgroup,
                **({"ResultConfiguration": where} if where else {}),
            )["QueryExecutionId"]
        try:
            answer = wait_until(
                self._probe, self.how.limit_s, self.how.interval_s, progress=progress
            )
        finally:
            if not self._ended:
                with _explained():
                    self.athena.stop_query_execution(QueryExecutionId=self.id)
        if isinstance(answer, NotYet):
            limit = f"{self.how.limit_s:g} seconds"
            return f"Athena had no answer after {limit}, the limit: the query was stopped."
        return answer

    def _probe(self) -> str | Pending:
        with _explained():
            query = self.athena.get_query_execution(QueryExecutionId=self.id)["QueryExecution"]
        self.scanned = query.get("Statistics", {}).get("DataScannedInBytes", 0)
        self.output = query.get("ResultConfiguration", {}).get("OutputLocation", "")
        status = query["Status"]
        state, reason = status["State"], status.get("StateChangeReason", "no reason given")
        if state in ("QUEUED", "RUNNING"):
            return Pending(f"{sized(self.scanned)} read")
        self._ended = True
        if state == "SUCCEEDED":
            return ""
        if state == "FAILED" and not reason.startswith(_DAMAGED):
            raise AwsRefused(
                f"Athena could not run the query {self.id}: {reason}.",
                "Ask with credentials that may read table and log files, and write the answer.",
                code=reason.partition(":")[0],
                operation="StartQueryExecution",
            )
        return f"Athena's query ended as {state}: {reason}."

    def rows(self) -> Iterator[Row]:
        """Its rows, by the columns' names. Raises AwsRefused or Unreachable."""
        request: dict[str, Any] = {"QueryExecutionId": self.id, "MaxResults": PAGE}
        names: list[str] = []
        while True:
            with _explained():
                page = self.athena.get_query_results(**request)
            for one in page["ResultSet"]["Rows"]:
                values = [datum.get("VarCharValue") for datum in one["Data"]]
                if names:
                    yield dict(zip(names, values, strict=True))
                else:
                    names = [str(value) for value in values]
            if not page.get("NextToken"):
                return
            request["NextToken"] = page["NextToken"]


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise explain(error) from error
