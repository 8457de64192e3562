"""Athena's operations on queries, workgroups and the metadata of tables.

Source: https://docs.aws.amazon.com/athena/latest/APIReference/API_StartQueryExecution.html, the
pages of the other operations, and
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonathena.html
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from botocore.exceptions import ClientError

from awssandbox.athena import engine, errors, running
from awssandbox.athena.state import (
    DEFAULT_DATABASE,
    DONE,
    WORKGROUP,
    AthenaState,
    Query,
    WorkGroup,
)
from awssandbox.call import Access, Answer, Call, Operation
from awssandbox.errors import not_imitated
from awssandbox.records import derived

LARGEST_PAGE: Final = 1000
LONGEST_QUERY: Final = 262144
"""Bytes. Source: https://docs.aws.amazon.com/athena/latest/ug/service-limits.html"""
ENGINE: Final = {
    "SelectedEngineVersion": "AUTO",
    "EffectiveEngineVersion": "Athena engine version 3",
}
_IMITATED: Final = frozenset(
    {
        *("QueryString", "ClientRequestToken", "QueryExecutionContext", "ResultConfiguration"),
        *("WorkGroup", "ExecutionParameters"),
    }
)


def _state(call: Call) -> AthenaState:
    return call.world.state(AthenaState, call.account, call.region)


def _on_workgroup(call: Call) -> Sequence[Access]:
    for name in sorted(call.parameters.keys() - _IMITATED):
        if call.operation == "StartQueryExecution":
            raise not_imitated(f"StartQueryExecution with {name}")
    named = "Name" if call.operation == "CreateWorkGroup" else "WorkGroup"
    name = call.parameters.get(named, WORKGROUP)
    if "QueryExecutionId" in call.parameters:
        query = _state(call).queries.get(call.parameters["QueryExecutionId"])
        name = WORKGROUP if query is None else query.workgroup
    return [Access(f"athena:{call.operation}", f"{_base(call, 'athena')}:workgroup/{name}")]


def _on_catalog(call: Call) -> Sequence[Access]:
    catalog = call.parameters["CatalogName"]
    return [Access(f"athena:{call.operation}", f"{_base(call, 'athena')}:datacatalog/{catalog}")]


def _base(call: Call, service: str) -> str:
    return f"arn:{call.world.partition}:{service}:{call.region}:{call.account}"


def _on_all(call: Call) -> Sequence[Access]:
    return [Access(f"athena:{call.operation}")]


# --- queries --------------------------------------------------------------------------------------


def _start(call: Call) -> Answer:
    """Start a query; it runs in a thread of its own."""
    asked = call.parameters
    group = _workgroup(call)
    text, state = asked["QueryString"], _state(call)
    if len(text.encode()) > LONGEST_QUERY:
        raise errors.invalid(f"QueryString is longer than {LONGEST_QUERY} bytes")
    token = asked.get("ClientRequestToken")
    if token is not None and token in state.tokens:
        if state.tokens[token].asked != asked:
            raise errors.other_parameters()
        return _started(call, state.tokens[token])
    configured = asked.get("ResultConfiguration", {})
    for name in configured.keys() - {"OutputLocation"}:
        raise not_imitated(f"ResultConfiguration with {name}")
    place = configured.get("OutputLocation", "")
    if group.output and (group.enforced or not place):
        place = group.output
    if not place:
        raise errors.no_output()
    if not place.startswith("s3://"):
        raise errors.invalid("outputLocation is not a valid S3 path.")
    statement = engine.parse(engine.with_parameters(text, asked.get("ExecutionParameters", ())))
    kind = _kind(statement)
    query_id = call.world.ids.uuid("athena query", call.account, call.region, text)
    extension = "csv" if kind == "DML" else "txt"
    query = Query(
        query_id,
        text,
        kind,
        asked.get("QueryExecutionContext", {}).get("Database", DEFAULT_DATABASE).lower(),
        f"{place.rstrip('/')}/{query_id}.{extension}",
        asked,
        call.time,
        group.name,
    )
    state.queries[query_id] = query
    if token is not None:
        state.tokens[token] = query
    threading.Thread(
        target=running.run, args=(call, query, statement), name="athena", daemon=True
    ).start()
    return _started(call, query)


def _started(call: Call, query: Query) -> Answer:
    return Answer(
        {"QueryExecutionId": query.id},
        record_request=derived(call),
        record_response={"queryExecutionId": query.id},
    )


def _kind(statement: Any) -> str:
    """DML or DDL. Raises NotImplemented for statements that are not imitated."""
    from sqlglot import exp

    if isinstance(statement, exp.Query):
        return "DML"
    if isinstance(statement, exp.Create) and statement.kind in ("TABLE", "DATABASE", "SCHEMA"):
        return "DDL"
    if isinstance(statement, exp.Drop):
        return "DDL"
    raise not_imitated("statements other than SELECT, CREATE EXTERNAL TABLE and DROP TABLE")


def _query(call: Call) -> Query:
    query_id = call.parameters["QueryExecutionId"]
    found = _state(call).queries.get(query_id)
    if found is None:
        raise errors.no_query(query_id)
    return found


def _get(call: Call) -> Answer:
    return Answer({"QueryExecution": _described(_query(call))}, record_request=derived(call))


def _described(query: Query) -> dict[str, Any]:
    status: dict[str, Any] = {"State": query.state, "SubmissionDateTime": query.submitted}
    statistics: dict[str, Any] = {"DataScannedInBytes": query.scanned}
    if query.completed is not None:
        status["CompletionDateTime"] = query.completed
        took = query.completed - query.submitted
        statistics["TotalExecutionTimeInMillis"] = took.total_seconds() * 1000 // 1
        statistics["EngineExecutionTimeInMillis"] = statistics["TotalExecutionTimeInMillis"]
    if query.reason is not None:
        status["StateChangeReason"] = query.reason
    described = {
        "QueryExecutionId": query.id,
        "Query": query.text,
        "StatementType": query.kind,
        "ResultConfiguration": {"OutputLocation": query.output},
        "QueryExecutionContext": {"Database": query.database},
        "Status": status,
        "Statistics": {name: int(value) for name, value in statistics.items()},
        "WorkGroup": query.workgroup,
        "EngineVersion": ENGINE,
    }
    if query.asked.get("ExecutionParameters"):
        described["ExecutionParameters"] = query.asked["ExecutionParameters"]
    return described


def _stop(call: Call) -> Answer:
    """Stop a query that runs; of one that has ended nothing is changed."""
    query = _query(call)
    if query.state not in DONE:
        query.end("CANCELLED", call.time, "Query was cancelled by user")
        if query.running is not None:
            query.running.interrupt()
    return Answer({}, record_request=derived(call))


def _results(call: Call) -> Answer:
    """One page of a query's result; the first row of the first page holds the names.

    The caller must be allowed to read the results in S3, and not only to ask Athena.
    Source: https://docs.aws.amazon.com/athena/latest/APIReference/API_GetQueryResults.html
    """
    query, asked = _query(call), call.parameters
    if asked.get("QueryResultType", "DATA_ROWS") != "DATA_ROWS":
        raise not_imitated("GetQueryResults with QueryResultType")
    if query.state != "SUCCEEDED":
        raise errors.not_finished(query.state)
    _check_readable(call, query)
    if query.result is None:
        return Answer({"UpdateCount": 0, "ResultSet": {"Rows": [], "ResultSetMetadata": {}}})
    columns = query.result.columns
    rows = [[column.name for column in columns], *query.result.rows]
    begin, size = _read_token(query, asked.get("NextToken")), asked.get("MaxResults", LARGEST_PAGE)
    if not 1 <= size <= LARGEST_PAGE:
        raise errors.invalid(f"MaxResults is not within 1 and {LARGEST_PAGE}")
    page = rows[begin : begin + size]
    output: dict[str, Any] = {
        "UpdateCount": 0,
        "ResultSet": {
            "Rows": [{"Data": [_datum(value) for value in row]} for row in page],
            "ResultSetMetadata": {"ColumnInfo": [_column(column) for column in columns]},
        },
    }
    if begin + size < len(rows):
        output["NextToken"] = _token(query, begin + size)
    return Answer(output, record_request=derived(call))


def _check_readable(call: Call, query: Query) -> None:
    bucket, _, key = query.output.removeprefix("s3://").partition("/")
    try:
        call.forward(running.SERVICE).client("s3").head_object(Bucket=bucket, Key=key)
    except ClientError as refusal:
        raise errors.no_access_to_results() from refusal


def _datum(value: str | None) -> dict[str, str]:
    return {} if value is None else {"VarCharValue": value}


def _column(column: engine.Column) -> dict[str, Any]:
    text = column.type == "varchar"
    return {
        "CatalogName": "hive",
        "SchemaName": "",
        "TableName": "",
        "Name": column.name,
        "Label": column.name,
        "Type": column.type,
        "Precision": engine.LONGEST_TEXT if text else 0,
        "Scale": 0,
        "Nullable": "UNKNOWN",
        "CaseSensitive": text,
    }


def _token(query: Query, begin: int) -> str:
    return base64.urlsafe_b64encode(f"{query.id}:{begin}".encode()).decode()


def _read_token(query: Query, token: str | None) -> int:
    if token is None:
        return 0
    try:
        query_id, begin = base64.urlsafe_b64decode(token.encode()).decode().rsplit(":", 1)
        place = int(begin)
    except ValueError:
        raise errors.invalid("The token is not valid.") from None
    if query_id != query.id or place < 1:
        raise errors.invalid("The token is not valid.")
    return place


# --- workgroups -----------------------------------------------------------------------------------


def _workgroup(call: Call) -> WorkGroup:
    name = call.parameters.get("WorkGroup", WORKGROUP)
    found = _state(call).workgroups.get(name)
    if found is None:
        raise errors.no_workgroup(name)
    return found


def _create_workgroup(call: Call) -> Answer:
    """Make a workgroup that says where results go, and whether that overrides its callers.

    Source: https://docs.aws.amazon.com/athena/latest/ug/workgroups-settings-override.html
    """
    asked, state = call.parameters, _state(call)
    configured = asked.get("Configuration", {})
    results = configured.get("ResultConfiguration", {})
    unknown = [
        *(asked.keys() - {"Name", "Description", "Configuration"}),
        *(configured.keys() - {"ResultConfiguration", "EnforceWorkGroupConfiguration"}),
        *(results.keys() - {"OutputLocation"}),
    ]
    if unknown:
        raise not_imitated(f"CreateWorkGroup with {sorted(unknown)[0]}")
    if "EnforceWorkGroupConfiguration" not in configured:
        raise not_imitated("CreateWorkGroup without EnforceWorkGroupConfiguration")
    if asked["Name"] in state.workgroups:
        raise errors.workgroup_exists(asked["Name"])
    place = results.get("OutputLocation", "")
    if place and not place.startswith("s3://"):
        raise errors.invalid("outputLocation is not a valid S3 path.")
    state.workgroups[asked["Name"]] = WorkGroup(
        asked["Name"], place, configured["EnforceWorkGroupConfiguration"]
    )
    return Answer({}, record_request=derived(call))


def _get_workgroup(call: Call) -> Answer:
    found = _workgroup(call)
    configuration = {
        "ResultConfiguration": {"OutputLocation": found.output} if found.output else {},
        "EnforceWorkGroupConfiguration": found.enforced,
        "PublishCloudWatchMetricsEnabled": False,
        "RequesterPaysEnabled": False,
        "EngineVersion": ENGINE,
    }
    group = {"Name": found.name, "State": "ENABLED", "Configuration": configuration}
    return Answer({"WorkGroup": group}, record_request=derived(call))


def _list_workgroups(call: Call) -> Answer:
    groups = [
        {"Name": name, "State": "ENABLED", "EngineVersion": ENGINE}
        for name in sorted(_state(call).workgroups)
    ]
    return Answer({"WorkGroups": groups}, record_request=derived(call))


# --- the Data Catalog -----------------------------------------------------------------------------


def _get_table_metadata(call: Call) -> Answer:
    """Columns, partition keys and properties of a table, which Athena asks Glue for as its caller.

    Source: https://docs.aws.amazon.com/athena/latest/APIReference/API_GetTableMetadata.html and
    https://docs.aws.amazon.com/athena/latest/ug/fine-grained-access-to-glue-resources.html
    """
    asked = call.parameters
    if asked["CatalogName"].lower() != "awsdatacatalog":
        raise not_imitated("other data catalogs than AwsDataCatalog")
    if "WorkGroup" in asked:
        _workgroup(call)
    database, name = asked["DatabaseName"].lower(), asked["TableName"].lower()
    through = replace(call, caller=call.caller.forwarded(running.SERVICE))
    for arn in running.in_catalog(call, database, name):
        through.authorise(Access("glue:GetTable", arn))
    table = _state(call).databases.get(database, {}).get(name)
    if table is None:
        raise errors.no_table(database, name)
    return Answer({"TableMetadata": table.described()}, record_request=derived(call))


OPERATIONS: Final[Mapping[str, Operation]] = {
    "StartQueryExecution": Operation(_start, _on_workgroup, read_only=False),
    "GetQueryExecution": Operation(_get, _on_workgroup, read_only=True),
    "GetQueryResults": Operation(_results, _on_workgroup, read_only=True),
    "StopQueryExecution": Operation(_stop, _on_workgroup, read_only=False),
    "CreateWorkGroup": Operation(_create_workgroup, _on_workgroup, read_only=False),
    "GetTableMetadata": Operation(_get_table_metadata, _on_catalog, read_only=True),
    "GetWorkGroup": Operation(_get_workgroup, _on_workgroup, read_only=True),
    "ListWorkGroups": Operation(_list_workgroups, _on_all, read_only=True),
}
