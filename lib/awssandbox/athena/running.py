"""One query from its start to its end: in a thread of its own, as the caller.

Athena reads and writes S3, and asks Glue's Data Catalog, by a forward access session of who started
the query, so it can do what that principal can.
Source: https://docs.aws.amazon.com/athena/latest/ug/security-iam-athena-calledvia.html and
https://docs.aws.amazon.com/athena/latest/ug/fine-grained-access-to-glue-resources.html
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from botocore.exceptions import ClientError
from iamaccess import Outcome, denied_message

from awssandbox.athena import engine, tables
from awssandbox.athena.errors import Failed
from awssandbox.athena.rows import records, row
from awssandbox.athena.state import AthenaState, Query
from awssandbox.call import Access, Call
from awssandbox.errors import AwsError, not_imitated

if TYPE_CHECKING:
    from sqlglot import exp

    from awssandbox.athena.tables import Table

SERVICE: Final = "athena.amazonaws.com"

File = tuple[str, int, Mapping[str, str]]
"""A file's key, its size in bytes, and its partition."""


PATH: Final = "$path"
"""The column with the file that a row is of.

Source: https://docs.aws.amazon.com/athena/latest/ug/select.html
"""


def in_catalog(call: Call, database: str, *table: str) -> Sequence[str]:
    """The ARNs that a call on a table or database of the Data Catalog must be allowed on."""
    base = f"arn:{call.world.partition}:glue:{call.region}:{call.account}"
    names = [f"{base}:catalog", f"{base}:database/{database}"]
    return names + [f"{base}:table/{database}/{name}" for name in table]


def run(call: Call, query: Query, statement: exp.Expr) -> None:
    """Carry out a query that was started by `call`; how it ends is in `query`."""
    world = call.world
    query.state = "RUNNING"
    try:
        _Run(call, query).carry_out(statement)
    except Failed as failed:
        query.end("FAILED", world.clock.now(), str(failed))
    except AwsError as refusal:
        query.end("FAILED", world.clock.now(), f"{refusal.code}: {refusal.message}")
    except Exception as fault:  # noqa: BLE001 - a thread has nobody else to tell
        traceback.print_exc(file=sys.stderr)
        told = f"This is a fault of the sandbox, not of the query: {type(fault).__name__}: {fault}"
        query.end("FAILED", world.clock.now(), f"INTERNAL_ERROR: {told}")
    else:
        query.end("SUCCEEDED", world.clock.now())


class _Run:
    def __init__(self, call: Call, query: Query) -> None:
        self._call = replace(call, caller=call.caller.forwarded(SERVICE))
        self._query = query
        self._s3 = call.forward(SERVICE).client("s3")
        self._state: AthenaState = call.world.state(AthenaState, call.account, call.region)

    def carry_out(self, statement: exp.Expr) -> None:
        from sqlglot import exp

        query = self._query
        if isinstance(statement, exp.Create):
            self._create(statement)
        elif isinstance(statement, exp.Drop):
            self._drop(statement)
        else:
            query.result = self._select(statement)
        self._write(query.output, query.result)

    # --- the catalog ---

    def _allow(self, action: str, database: str, *table: str) -> None:
        """The caller may do something to a table or database of the Data Catalog."""
        call = self._call
        for arn in in_catalog(call, database, *table):
            access = Access(f"glue:{action}", arn)
            with call.world.lock:
                decision = call.world.authoriser.decide(call, access)
            if decision.outcome is not Outcome.ALLOWED:
                asked = call.world.authoriser.request(call, access)
                raise Failed(f"AccessDeniedException: {denied_message(decision, asked)}")

    def _place(self, named: exp.Expr) -> tuple[str, str]:
        """Database and name of a table, in lower case."""
        if named.text("catalog").lower() not in ("", "awsdatacatalog"):
            raise not_imitated("other data catalogs than AwsDataCatalog")
        return (named.text("db") or self._query.database).lower(), named.name.lower()

    def _create(self, statement: exp.Create) -> None:
        if statement.kind in ("DATABASE", "SCHEMA"):
            name = statement.this.name.lower()
            self._allow("CreateDatabase", name)
            if name in self._state.databases and not statement.args.get("exists"):
                raise Failed(f"FAILED: Database {name} already exists")
            self._state.databases.setdefault(name, {})
            return
        table = tables.table_of(statement)
        database, name = self._place(statement.this.this)
        self._allow("CreateTable", database, name)
        if database not in self._state.databases:
            raise Failed(f"FAILED: Database {database} not found")
        if name not in self._state.databases[database]:
            self._state.databases[database][name] = table
        elif not statement.args.get("exists"):
            raise Failed(f"FAILED: AlreadyExistsException: Table {name} already exists")

    def _drop(self, statement: exp.Drop) -> None:
        named: Sequence[exp.Expr] = statement.args.get("tables") or []
        if statement.kind != "TABLE" or len(named) != 1:
            raise not_imitated("DROP of other than one table")
        database, name = self._place(named[0])
        self._allow("DeleteTable", database, name)
        gone = self._state.databases.get(database, {}).pop(name, None)
        if gone is None and not statement.args.get("exists"):
            raise Failed(f"FAILED: SemanticException: Table not found {name}")

    def _table(self, named: exp.Table, statement: exp.Expr) -> Table:
        database, name = self._place(named)
        self._allow("GetTable", database, name)
        found = self._state.databases.get(database, {}).get(name)
        if found is None:
            place = engine.place_of(statement, named.name)
            raise Failed(
                f"TABLE_NOT_FOUND: {place}Table 'awsdatacatalog.{database}.{name}' does not exist"
            )
        return found

    # --- reading ---

    def _select(self, statement: exp.Expr) -> engine.Result:
        from sqlglot import exp

        if any(statement.find_all(exp.Unnest)):
            raise not_imitated("UNNEST in a query")
        tree = statement.copy()
        within = {one.alias for one in tree.find_all(exp.CTE)}
        hidden = {} if not _asks_for_path(tree) else {PATH: "VARCHAR"}
        sources = []
        for number, named in enumerate(list(tree.find_all(exp.Table))):
            if not isinstance(named.this, exp.Identifier):
                raise not_imitated("functions that give tables")
            if named.name in within and not named.db:
                continue
            table = self._table(named, statement)
            rows = self._rows(table, self._needed(table, named))
            source = engine.Source(f"table {number}", _types(table) | hidden, rows)
            sources.append(source)
            alias = named.args.get("alias") or exp.TableAlias(this=exp.to_identifier(named.name))
            read = exp.Table(this=exp.to_identifier(source.name, quoted=True), alias=alias.copy())
            named.replace(read)
        return engine.select(tree, sources, self._watch)

    def _watch(self, connection: Any) -> None:
        self._query.running = connection
        if self._query.state == "CANCELLED":
            raise Failed("Query was cancelled")

    def _rows(self, table: Table, files: Sequence[File]) -> Iterator[Mapping[str, Any]]:
        """The rows of a table's files."""
        for key, size, partition in files:
            body = self._read(table, "GetObject", Key=key)["Body"].read()
            self._query.scanned += size
            for record in records(key, body):
                path = {PATH: f"s3://{table.bucket}/{key}"}
                yield {**row(record, table.columns), **partition, **path}

    def _needed(self, table: Table, named: exp.Table) -> Sequence[File]:
        """The files of the partitions that a query needs."""
        now = self._call.world.clock.now()
        files = []
        asked: dict[str, Any] = {"Prefix": table.prefix}
        while True:
            page = self._read(table, "ListObjectsV2", **asked)
            for one in page.get("Contents", ()):
                partition = table.partition(one["Key"], now)
                if partition is not None:
                    files.append((one["Key"], one["Size"], partition))
            if not page["IsTruncated"]:
                break
            asked["ContinuationToken"] = page["NextContinuationToken"]
        condition = _of_partitions(named, {one.column for one in table.projections})
        if condition is None or not files:
            return files
        kept = engine.holding(condition, [partition for *_, partition in files])
        return [files[place] for place in kept]

    def _read(self, table: Table, operation: str, **parameters: Any) -> dict[str, Any]:
        try:
            call = getattr(self._s3, _METHODS[operation])
            return dict(call(Bucket=table.bucket, **parameters))
        except ClientError as refusal:
            code = refusal.response["Error"]["Code"]
            if code == "AccessDenied":
                path = parameters.get("Key", table.prefix)
                raise Failed(
                    f"PERMISSION_DENIED: Permission denied on S3 path: s3://{table.bucket}/{path}"
                ) from refusal
            raise Failed(f"GENERIC_INTERNAL_ERROR: {refusal}") from refusal

    # --- results ---

    def _write(self, output: str, result: engine.Result | None) -> None:
        parts = urlsplit(output)
        body = b"" if result is None else as_csv(result).encode()
        kind = "text/plain" if result is None else "application/octet-stream"
        try:
            self._s3.put_object(
                Bucket=parts.netloc, Key=parts.path[1:], Body=body, ContentType=kind
            )
        except ClientError as refusal:
            code = refusal.response["Error"]["Code"]
            if code == "AccessDenied":
                raise Failed(f"Access denied when writing output to url: {output} .") from refusal
            raise Failed(f"Could not write output to url: {output} : {refusal}") from refusal


_METHODS: Final = {"GetObject": "get_object", "ListObjectsV2": "list_objects_v2"}


def _types(table: Table) -> dict[str, str]:
    own = {name: kind.sql(dialect="duckdb") for name, kind in table.columns.items()}
    return own | {one.column: "VARCHAR" for one in table.projections}


def _asks_for_path(tree: exp.Expr) -> bool:
    """Whether a query names the column with the file, which is not among those of a ``*``."""
    from sqlglot import exp

    asks = any(one.name == PATH for one in tree.find_all(exp.Column))
    if asks and any(True for _ in tree.find_all(exp.Star)):
        raise not_imitated(f'"{PATH}" and * in one query')
    return asks


def _of_partitions(named: exp.Table, columns: set[str]) -> exp.Expr | None:
    """What a SELECT on one table asks of its partition columns alone; None for nothing."""
    from sqlglot import exp

    select = named.find_ancestor(exp.Select)
    if select is None or not columns or select.args.get("joins") or not select.args.get("where"):
        return None
    whole = select.args["where"].this
    parts = []
    for part in whole.flatten() if isinstance(whole, exp.And) else [whole]:
        used = list(part.find_all(exp.Column))
        if used and all(one.name.lower() in columns for one in used) and not part.find(exp.Query):
            bare = part.copy()
            for one in bare.find_all(exp.Column):
                one.set("table", None)
            parts.append(bare)
    return exp.and_(*parts) if parts else None


def as_csv(result: engine.Result) -> str:
    """A result as Athena writes it to S3: all in quotation marks, NULL as nothing at all.

    Source: https://docs.aws.amazon.com/athena/latest/ug/querying-finding-output-files.html
    """
    lines = [[column.name for column in result.columns], *result.rows]
    written = (",".join("" if one is None else _quoted(one) for one in line) for line in lines)
    return "".join(f"{line}\n" for line in written)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
