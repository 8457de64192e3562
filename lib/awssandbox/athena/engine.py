"""Queries: from Athena's SQL to DuckDB's, over rows that are given, and its answer as Athena's.

DuckDB sees the rows and nothing else of this machine: no files, no network, no extensions.
"""

from __future__ import annotations

import json
import logging
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from awssandbox.athena import errors
from awssandbox.athena.errors import Failed
from awssandbox.errors import not_imitated

if TYPE_CHECKING:
    import duckdb
    from sqlglot import exp

LONGEST_TEXT: Final = 2147483647
"""The length that Athena tells of texts."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an answer, its type as Athena names it."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Result:
    """A query's answer; None for NULL, all else as text."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str | None]]


@dataclass(frozen=True, slots=True)
class Source:
    """Rows that a query reads under a name, and the types of their columns in DuckDB."""

    name: str
    types: Mapping[str, str]
    rows: Iterable[Mapping[str, Any]]


@cache
def _sqlglot() -> Any:
    import sqlglot

    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it tells of what it cannot parse
    return sqlglot


def parse(text: str) -> exp.Expr:
    """The statement that a query's text is.

    Raises AwsError: InvalidRequestException for a text that is no statement.
    """
    try:
        statements = [one for one in _sqlglot().parse(text, read="athena") if one is not None]
    except _sqlglot().errors.SqlglotError as error:
        raise errors.invalid(_where(error), "MALFORMED_QUERY") from error
    if len(statements) != 1:
        raise errors.invalid("Only one sql statement is allowed.", "MALFORMED_QUERY")
    found: exp.Expr = statements[0]
    return found


def _where(error: Any) -> str:
    told = (getattr(error, "errors", None) or [{}])[0]
    place = f"line {told['line']}:{told['col']}: " if told.get("line") else ""
    return f"{place}mismatched input. {told.get('description') or error}"


def with_parameters(text: str, parameters: Sequence[str]) -> str:
    """A statement's text with literals in the place of its question marks, in their order.

    Raises AwsError: InvalidRequestException for what is no literal, or not as many.
    Source: https://docs.aws.amazon.com/athena/latest/ug/querying-with-prepared-statements-querying-using-execution-parameters.html
    """
    from sqlglot import exp

    if not parameters:
        return text
    try:
        tokens = _sqlglot().tokenize(text, read="athena")
    except _sqlglot().errors.SqlglotError as error:
        raise errors.invalid(_where(error), "MALFORMED_QUERY") from error
    marks = [token.start for token in tokens if token.token_type.name == "PLACEHOLDER"]
    if len(marks) != len(parameters):
        raise errors.invalid(
            f"Incorrect number of parameters: expected {len(marks)} but found {len(parameters)}"
        )
    for place, literal in sorted(zip(marks, parameters, strict=True), reverse=True):
        read = parse(f"SELECT {literal}")
        value = read.selects[0] if isinstance(read, exp.Query) else read
        inner = value.this if isinstance(value, exp.Neg) else value
        if not isinstance(inner, exp.Literal | exp.Boolean | exp.Null) or read != exp.select(value):
            raise errors.invalid(f"An execution parameter is a literal, and {literal} is none")
        text = text[:place] + value.sql(dialect="athena") + text[place + 1 :]
    return text


def select(statement: exp.Expr, sources: Sequence[Source], watch: Any = None) -> Result:
    """A query's answer, its tables read from `sources`. `watch` is given DuckDB's connection.

    Raises Failed with Athena's reason, or that DuckDB cannot do what Athena perhaps can.
    """
    import duckdb

    sql = _named(statement).sql(dialect="duckdb", identify=True)
    with tempfile.TemporaryDirectory(prefix="awssandbox-") as folder, duckdb.connect() as base:
        base.execute("SET autoinstall_known_extensions = false")
        base.execute(f"SET temp_directory = {_text(folder)}")
        base.execute("SET memory_limit = '1GB'")
        base.execute("SET threads = 2")
        for source in sources:
            _load(base, source, Path(folder))
        base.execute("SET enable_external_access = false")
        base.execute("SET lock_configuration = true")
        if watch is not None:
            watch(base)
        try:
            answer = base.execute(sql)
            columns = [
                Column(one[0], _athena_type(str(one[1]))) for one in answer.description or ()
            ]
            rows = [[_shown(value) for value in row] for row in answer.fetchall()]
        except duckdb.Error as error:
            raise Failed(_reason(error, statement)) from error
    return Result(columns, rows)


def holding(condition: exp.Expr, values: Sequence[Mapping[str, str]]) -> Sequence[int]:
    """The places of those of `values` for which a condition on their names holds.

    Raises Failed as `select` does.
    """
    from sqlglot import exp

    names = dict.fromkeys(values[0], "VARCHAR") | {"row number": "BIGINT"}
    rows = [{**value, "row number": str(place)} for place, value in enumerate(values)]
    query = exp.select(exp.column("row number", quoted=True)).from_("parts").where(condition.copy())
    return [int(row[0] or 0) for row in select(query, [Source("parts", names, rows)]).rows]


def _load(base: duckdb.DuckDBPyConnection, source: Source, folder: Path) -> None:
    import duckdb

    file = folder / source.name
    with file.open("w", encoding="utf-8") as out:
        for row in source.rows:
            out.write(json.dumps(row) + "\n")
    types = ", ".join(f"{_text(name)}: {_text(kind)}" for name, kind in source.types.items())
    try:
        base.execute(
            f'CREATE TABLE "{source.name}" AS SELECT * FROM read_json({_text(str(file))}, '
            f"format = 'newline_delimited', columns = {{{types}}})"
        )
    except duckdb.Error as error:
        raise Failed(f"HIVE_BAD_DATA: {error}") from error


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _named(statement: exp.Expr) -> exp.Expr:
    """A statement whose columns without a name have the names that Athena gives them."""
    from sqlglot import exp

    if not isinstance(statement, exp.Query):
        raise not_imitated("statements other than SELECT, CREATE EXTERNAL TABLE and DROP TABLE")
    for place, one in enumerate(statement.selects):
        if not isinstance(one, exp.Alias | exp.Column | exp.Star):
            name = one.name if isinstance(one, exp.Dot) else f"_col{place}"
            one.replace(exp.alias_(one.copy(), name))
    return statement


_TYPES: Final[Mapping[str, str]] = {
    '"NULL"': "unknown",
    "HUGEINT": "bigint",
    "FLOAT": "real",
    "BLOB": "varbinary",
}


def _athena_type(name: str) -> str:
    if name.endswith("[]"):
        return "array"
    kind = name.split("(")[0].strip()
    return {"STRUCT": "row", **_TYPES}.get(kind, kind.lower())


def _shown(value: Any) -> str | None:
    """A value as Athena writes it. UNCONFIRMED for rows and maps."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        zone = "" if value.tzinfo is None else " UTC"
        return f"{value:%Y-%m-%d %H:%M:%S}.{value.microsecond // 1000:03}{zone}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}={_inner(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_inner(one) for one in value) + "]"
    return str(value)


def _inner(value: Any) -> str:
    shown = _shown(value)
    return "null" if shown is None else shown


def _reason(error: duckdb.Error, statement: exp.Expr) -> str:
    """Why a query failed, as Athena says it where DuckDB's text tells."""
    import duckdb

    text = str(error).splitlines()[0]
    missing = re.search(r'Referenced column "([^"]+)" not found', str(error))
    if missing is not None:
        return (
            f"COLUMN_NOT_FOUND: {place_of(statement, missing[1])}Column '{missing[1]}' cannot be "
            "resolved or requester is not authorized to access requested resources"
        )
    if isinstance(error, duckdb.InterruptException):
        return "Query was cancelled"
    if isinstance(error, duckdb.ConversionException | duckdb.InvalidInputException):
        return f"INVALID_CAST_ARGUMENT: {text}"
    return f"NOT_SUPPORTED: the sandbox, which runs queries in DuckDB, cannot run this one: {text}"


def place_of(statement: exp.Expr, name: str) -> str:
    """Where a name stands in a statement's text: ``line 1:8: ``; nothing where that is unknown."""
    from sqlglot import exp

    for one in statement.find_all(exp.Identifier):
        if one.name.lower() == name.lower() and "line" in one.meta:
            begin = one.meta["col"] - (one.meta["end"] - one.meta["start"])
            return f"line {one.meta['line']}:{begin}: "
    return ""
