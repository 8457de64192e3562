"""Athena on the log files that trails deliver.

Source: https://docs.aws.amazon.com/athena/latest/APIReference/API_StartQueryExecution.html, the
other operations' pages, and
https://docs.aws.amazon.com/athena/latest/ug/create-cloudtrail-table-partition-projection.html
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from awssandbox.athena import tables
from awssandbox.call import Caller
from botocore.exceptions import ClientError
from in_process import Sandbox, Still, allow, refusal
from served import ACCOUNT, REGION, Served, document

CLOUDTRAIL = {"Service": "cloudtrail.amazonaws.com"}
ACL = {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}}
PLACE = f"s3://trails/AWSLogs/{ACCOUNT}/CloudTrail/{REGION}"
RESULTS = {"OutputLocation": "s3://results/queries/"}
START = datetime(2026, 1, 31, 9, 1, 30, tzinfo=UTC)
GROUP = f"arn:aws:athena:{REGION}:{ACCOUNT}:workgroup/primary"

COLUMNS = """
    eventversion STRING,
    useridentity STRUCT<
        type: STRING,
        arn: STRING,
        invokedby: STRING,
        sessioncontext: STRUCT<
            attributes: STRUCT<mfaauthenticated: STRING, creationdate: STRING>,
            sessionissuer: STRUCT<type: STRING, arn: STRING, username: STRING>,
            webidfederationdata: STRUCT<
                federatedprovider: STRING, attributes: map<string,string>>>>,
    eventtime STRING,
    eventsource STRING,
    eventname STRING,
    awsregion STRING,
    errorcode STRING,
    errormessage STRING,
    requestparameters STRING,
    responseelements STRING,
    eventid STRING,
    readonly STRING,
    resources ARRAY<STRUCT<arn: STRING, accountid: STRING, type: STRING>>,
    recipientaccountid STRING,
    tlsdetails STRUCT<tlsversion: STRING>
"""
FORMAT = """
ROW FORMAT SERDE 'org.apache.hive.hcatalog.data.JsonSerDe'
STORED AS INPUTFORMAT 'com.amazon.emr.cloudtrail.CloudTrailInputFormat'
OUTPUTFORMAT 'org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat'
"""
PROPERTIES = {
    "projection.enabled": "true",
    "projection.timestamp.format": "yyyy/MM/dd",
    "projection.timestamp.interval": "1",
    "projection.timestamp.interval.unit": "DAYS",
    "projection.timestamp.range": "2020/01/01,NOW",
    "projection.timestamp.type": "date",
    "storage.location.template": f"{PLACE}/${{timestamp}}",
}


def ddl(name: str = "logs", location: str = PLACE, **changed: str | None) -> str:
    """The documented statement, with fewer columns; `changed` are properties, None for none."""
    given = {**PROPERTIES, **{key.replace("__", "."): value for key, value in changed.items()}}
    told = ", ".join(f"'{key}'='{value}'" for key, value in given.items() if value is not None)
    return (
        f"CREATE EXTERNAL TABLE {name}({COLUMNS}) PARTITIONED BY (`timestamp` string)"
        f"{FORMAT} LOCATION '{location}' TBLPROPERTIES ({told})"
    )


def log_bucket(s3: Any) -> None:
    """A bucket that trails may write to, and one for results."""
    for name in ("trails", "results"):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    arn = "arn:aws:s3:::trails"
    writes = allow("s3:PutObject", f"{arn}/AWSLogs/*", Principal=CLOUDTRAIL, Condition=ACL)
    checks = allow("s3:GetBucketAcl", arn, Principal=CLOUDTRAIL)
    s3.put_bucket_policy(Bucket="trails", Policy=document(checks, writes))


@pytest.fixture
def sandbox() -> Sandbox:
    """Two days of log files, and a table on them."""
    made = Sandbox(clock=Still(START))
    log_bucket(made.client("s3"))
    trails, kms = made.client("cloudtrail"), made.client("kms")
    trails.create_trail(Name="main", S3BucketName="trails")
    trails.start_logging(Name="main")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    made.world.clock.advance(timedelta(days=1))
    context = {"aws:imagebuilder:arn": "arn:a", "b": "c"}
    kms.generate_data_key(KeyId=key, NumberOfBytes=32, EncryptionContext=context)
    kms.list_keys()
    made.world.clock.advance(timedelta(minutes=5))
    ended(made, ddl())
    return made


def started(sandbox: Sandbox, text: str, caller: Caller | None = None, **more: Any) -> str:
    asked = {"QueryString": text, "ResultConfiguration": RESULTS, **more}
    found: str = sandbox.client("athena", caller).start_query_execution(**asked)["QueryExecutionId"]
    return found


def waited(athena: Any, query_id: str) -> dict[str, Any]:
    """A query that has ended."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        query = athena.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]
        if query["Status"]["State"] not in ("QUEUED", "RUNNING"):
            return dict(query)
        time.sleep(0.01)
    raise AssertionError(f"the query did not end: {query}")


def ended(sandbox: Sandbox, text: str, caller: Caller | None = None, **more: Any) -> dict[str, Any]:
    return waited(sandbox.client("athena"), started(sandbox, text, caller, **more))


def answered(sandbox: Sandbox, text: str, **more: Any) -> list[list[str | None]]:
    """A query's rows, without the names."""
    query = ended(sandbox, text, **more)
    assert query["Status"]["State"] == "SUCCEEDED", query["Status"]
    found = sandbox.client("athena").get_query_results(QueryExecutionId=query["QueryExecutionId"])
    return [[one.get("VarCharValue") for one in row["Data"]] for row in found["ResultSet"]["Rows"]][
        1:
    ]


def failed(sandbox: Sandbox, text: str, caller: Caller | None = None, **more: Any) -> str:
    """Why a query failed."""
    query = ended(sandbox, text, caller, **more)
    assert query["Status"]["State"] == "FAILED", query["Status"]
    reason: str = query["Status"]["StateChangeReason"]
    return reason


def logs(sandbox: Sandbox) -> dict[str, tuple[int, list[dict[str, Any]]]]:
    """The size and the records of each log file."""
    s3 = sandbox.client("s3")
    found = {}
    for one in s3.list_objects_v2(Bucket="trails")["Contents"]:
        body = s3.get_object(Bucket="trails", Key=one["Key"])["Body"].read()
        found[one["Key"]] = (one["Size"], json.loads(gzip.decompress(body))["Records"])
    return found


# --- the answers ----------------------------------------------------------------------------------


def test_a_query_gives_what_the_log_files_hold(sandbox: Sandbox) -> None:
    files = logs(sandbox)
    records = [record for _, found in files.values() for record in found]
    assert answered(
        sandbox,
        "SELECT eventid, eventname, eventtime, readonly, requestparameters, useridentity.arn, "
        "element_at(resources, 1).arn, errorcode FROM logs",
    ) == [
        [
            record["eventID"],
            record["eventName"],
            record["eventTime"],
            str(record["readOnly"]).lower(),
            None
            if record["requestParameters"] is None
            else json.dumps(record["requestParameters"], separators=(",", ":")),
            record["userIdentity"]["arn"],
            record["resources"][0]["ARN"] if "resources" in record else None,
            None,
        ]
        for record in records
    ]


def test_the_query_that_proves_needs_this(sandbox: Sandbox) -> None:
    """Nested JSON with a name in colons, partitions, grouping, parameters in order."""
    found = answered(
        sandbox,
        "SELECT json_extract_scalar(requestparameters, "
        "'$.encryptionContext[\"aws:imagebuilder:arn\"]') AS workflow, count(*) AS calls "
        'FROM logs AS l WHERE l."timestamp" BETWEEN ? AND ? AND eventsource = ? '
        "AND eventname IN (?, ?) GROUP BY 1 ORDER BY 1 LIMIT ?",
        ExecutionParameters=[
            *("'2026/02/01'", "'2026/02/28'", "'kms.amazonaws.com'"),
            *("'GenerateDataKey'", "'Decrypt'", "10"),
        ],
    )
    assert found == [["arn:a", "1"]]


@pytest.mark.parametrize(
    ("where", "days"),
    [
        ("", {31, 1}),
        ("WHERE \"timestamp\" = '2026/01/31'", {31}),
        ("WHERE timestamp >= '2026/02/01' AND eventname = 'ListKeys'", {1}),
        ("WHERE logs.\"timestamp\" > '2026/02/01'", set()),
        ("WHERE \"timestamp\" = '2026/01/31' OR eventname = 'ListKeys'", {31, 1}),
        ("WHERE substr(\"timestamp\", 9, 2) IN ('01', '15')", {1}),
    ],
)
def test_what_is_scanned_are_the_partitions_that_a_query_needs(
    sandbox: Sandbox, where: str, days: set[int]
) -> None:
    query = ended(sandbox, f"SELECT count(*) FROM logs {where}")
    sizes = {int(key.split("/")[6]): size for key, (size, _) in logs(sandbox).items()}
    assert query["Statistics"]["DataScannedInBytes"] == sum(sizes[day] for day in days)


def test_files_out_of_the_projection_are_not_the_table_s(sandbox: Sandbox) -> None:
    def counted(**changed: str) -> str | None:
        ended(sandbox, ddl("other", **changed))
        (row,) = answered(sandbox, "SELECT count(DISTINCT timestamp) FROM other")
        ended(sandbox, "DROP TABLE other")
        return row[0]

    assert counted() == "2"
    assert counted(projection__timestamp__range="2026/02/01,NOW") == "1"
    assert counted(projection__timestamp__range="2020/01/01,NOW-1DAYS") == "1"
    assert counted(projection__timestamp__range="2027/01/01,2028/01/01") == "0"


def test_every_file_is_read_however_many_there_are(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("awssandbox.s3.operations.LARGEST_PAGE", 1)
    assert answered(sandbox, "SELECT count(*) FROM logs") == [["4"]]


def test_a_table_of_several_regions(sandbox: Sandbox) -> None:
    base = f"s3://trails/AWSLogs/{ACCOUNT}/CloudTrail"
    text = ddl(
        "regions",
        base,
        projection__region__type="enum",
        projection__region__values=f"{REGION},eu-west-1",
        storage__location__template=f"{base}/${{region}}/${{timestamp}}",
    ).replace("(`timestamp` string)", "(`region` string, `timestamp` string)")
    assert ended(sandbox, text)["Status"]["State"] == "SUCCEEDED"
    assert answered(sandbox, "SELECT DISTINCT region FROM regions") == [[REGION]]
    assert answered(sandbox, "SELECT 1 FROM regions WHERE region = 'eu-west-1'") == []


def test_columns_have_names_and_types(sandbox: Sandbox) -> None:
    query_id = ended(
        sandbox,
        "SELECT eventname, useridentity.type, resources[1].arn, count(*), 1.5, true AS yes, null, "
        "from_iso8601_timestamp(eventtime) AS at, resources, useridentity.sessioncontext "
        "FROM logs WHERE eventname = 'ListKeys' GROUP BY 1, 2, 3, 8, 9, 10",
    )["QueryExecutionId"]
    found = sandbox.client("athena").get_query_results(QueryExecutionId=query_id)["ResultSet"]
    told = [(one["Name"], one["Type"]) for one in found["ResultSetMetadata"]["ColumnInfo"]]
    assert told == [
        *(("eventname", "varchar"), ("type", "varchar"), ("arn", "varchar"), ("_col3", "bigint")),
        *(("_col4", "decimal"), ("yes", "boolean"), ("_col6", "unknown")),
        *(("at", "timestamp with time zone"), ("resources", "array"), ("sessioncontext", "row")),
    ]
    names, row = ([one.get("VarCharValue") for one in line["Data"]] for line in found["Rows"])
    assert names == [name for name, _ in told]
    assert row[:8] == [
        *("ListKeys", "Root", None, "1", "1.5", "true", None),
        "2026-02-01 09:01:30.000 UTC",
    ]


def test_results_have_pages(sandbox: Sandbox) -> None:
    query_id = ended(sandbox, "SELECT eventname FROM logs ORDER BY 1")["QueryExecutionId"]
    athena = sandbox.client("athena")
    pages = athena.get_paginator("get_query_results").paginate(
        QueryExecutionId=query_id, PaginationConfig={"PageSize": 2}
    )
    rows = [[one["Data"][0]["VarCharValue"] for one in page["ResultSet"]["Rows"]] for page in pages]
    assert rows == [["eventname", "CreateKey"], ["GenerateDataKey", "ListKeys"], ["StartLogging"]]
    wrong = lambda: athena.get_query_results(QueryExecutionId=query_id, NextToken="eA==")  # noqa: E731
    assert refusal(wrong)[0] == "InvalidRequestException"


def test_results_are_in_s3_too(sandbox: Sandbox) -> None:
    query = ended(
        sandbox,
        "SELECT eventname, errorcode, 'a \"b\", c' AS quoted FROM logs "
        "WHERE eventname = 'ListKeys'",
    )
    place = query["ResultConfiguration"]["OutputLocation"]
    assert place == f"s3://results/queries/{query['QueryExecutionId']}.csv"
    found = sandbox.client("s3").get_object(
        Bucket="results", Key=place.removeprefix("s3://results/")
    )
    text = found["Body"].read().decode()
    assert text == '"eventname","errorcode","quoted"\n"ListKeys",,"a ""b"", c"\n'


# --- how a query stands ---------------------------------------------------------------------------


def test_a_query_is_described(sandbox: Sandbox) -> None:
    query = ended(sandbox, "SELECT 1", QueryExecutionContext={"Database": "default"})
    assert query["Query"] == "SELECT 1"
    assert (query["StatementType"], query["WorkGroup"]) == ("DML", "primary")
    assert query["QueryExecutionContext"] == {"Database": "default"}
    assert query["Status"]["SubmissionDateTime"] == sandbox.world.clock.now()
    assert query["Status"]["CompletionDateTime"] == sandbox.world.clock.now()
    assert ended(sandbox, "DROP TABLE IF EXISTS nothing")["StatementType"] == "DDL"


def test_a_query_that_is_stopped(sandbox: Sandbox) -> None:
    athena = sandbox.client("athena")
    with sandbox.world.lock:  # so that it cannot go on
        query_id = started(sandbox, "SELECT * FROM logs")
        results = lambda: athena.get_query_results(QueryExecutionId=query_id)  # noqa: E731
        assert refusal(results)[1].startswith("Query has not yet finished. Current state: ")
        athena.stop_query_execution(QueryExecutionId=query_id)
        status = athena.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]["Status"]
        assert status["State"] == "CANCELLED"
    assert refusal(results)[1].endswith("Final query state: CANCELLED")
    time.sleep(0.3)
    assert waited(athena, query_id)["Status"]["State"] == "CANCELLED"
    done = ended(sandbox, "SELECT 1")["QueryExecutionId"]
    athena.stop_query_execution(QueryExecutionId=done)
    assert waited(athena, done)["Status"]["State"] == "SUCCEEDED"


def test_the_same_token_starts_a_query_once(sandbox: Sandbox) -> None:
    token = "t" * 32
    one = started(sandbox, "SELECT 1", ClientRequestToken=token)
    assert started(sandbox, "SELECT 1", ClientRequestToken=token) == one
    other = lambda: started(sandbox, "SELECT 2", ClientRequestToken=token)  # noqa: E731
    assert refusal(other)[0] == "InvalidRequestException"
    assert started(sandbox, "SELECT 1", ClientRequestToken="u" * 32) != one


def test_the_workgroup_that_every_account_has(sandbox: Sandbox) -> None:
    athena = sandbox.client("athena")
    (listed,) = athena.list_work_groups()["WorkGroups"]
    group = athena.get_work_group(WorkGroup=listed["Name"])["WorkGroup"]
    assert (group["Name"], group["State"]) == ("primary", "ENABLED")
    assert refusal(lambda: athena.get_work_group(WorkGroup="x"))[0] == "InvalidRequestException"


def test_a_workgroup_says_where_results_go_and_whether_its_callers_may(sandbox: Sandbox) -> None:
    athena = sandbox.client("athena")
    for name, enforced in (("own", False), ("enforced", True)):
        place = {"OutputLocation": f"s3://results/{name}/"}
        configured = {"ResultConfiguration": place, "EnforceWorkGroupConfiguration": enforced}
        athena.create_work_group(Name=name, Configuration=configured)
        group = athena.get_work_group(WorkGroup=name)["WorkGroup"]["Configuration"]
        assert group["ResultConfiguration"] == place
        assert group["EnforceWorkGroupConfiguration"] is enforced

    def written(name: str, given: dict[str, str]) -> str:
        query = ended(sandbox, "SELECT 1", WorkGroup=name, ResultConfiguration=given)
        assert query["WorkGroup"] == name
        place: str = query["ResultConfiguration"]["OutputLocation"]
        return place.rpartition("/")[0]

    assert written("own", {}) == "s3://results/own"
    assert written("own", RESULTS) == "s3://results/queries"
    assert written("enforced", RESULTS) == "s3://results/enforced"
    assert [one["Name"] for one in athena.list_work_groups()["WorkGroups"]] == [
        *("enforced", "own", "primary")
    ]
    again = lambda: athena.create_work_group(  # noqa: E731
        Name="own", Configuration={"EnforceWorkGroupConfiguration": True}
    )
    assert refusal(again)[0] == "InvalidRequestException"
    other = lambda: athena.create_work_group(  # noqa: E731
        Name="x", Configuration={"BytesScannedCutoffPerQuery": 10**8}
    )
    assert refusal(other)[0] == "NotImplemented"


def test_what_a_query_in_a_workgroup_may_is_by_that_workgroup(sandbox: Sandbox) -> None:
    configured = {"ResultConfiguration": RESULTS, "EnforceWorkGroupConfiguration": True}
    sandbox.client("athena").create_work_group(Name="own", Configuration=configured)
    query_id = ended(sandbox, "SELECT 1", WorkGroup="own")["QueryExecutionId"]
    who = sandbox.client("athena", sandbox.user("who", allow("athena:*", GROUP), WRITES))
    ask = lambda: who.get_query_execution(QueryExecutionId=query_id)  # noqa: E731
    assert refusal(ask)[0] == "AccessDeniedException"


def test_a_table_s_metadata(sandbox: Sandbox) -> None:
    athena = sandbox.client("athena")
    table = {"CatalogName": "AwsDataCatalog", "DatabaseName": "default", "TableName": "LOGS"}
    found = athena.get_table_metadata(**table)["TableMetadata"]
    types = {one["Name"]: one["Type"] for one in found["Columns"]}
    assert (found["Name"], found["TableType"]) == ("logs", "EXTERNAL_TABLE")
    assert types["requestparameters"] == "string"
    assert types["resources"] == "array<struct<arn:string,accountid:string,type:string>>"
    assert types["useridentity"].startswith("struct<type:string,arn:string,invokedby:string,")
    assert found["PartitionKeys"] == [{"Name": "timestamp", "Type": "string"}]
    told = found["Parameters"]
    assert told["location"] == PLACE
    assert told["inputformat"] == tables.INPUT_FORMAT
    assert {name: told[name] for name in PROPERTIES} == PROPERTIES
    absent = lambda: athena.get_table_metadata(**{**table, "TableName": "x"})  # noqa: E731
    assert refusal(absent)[0] == "MetadataException"
    other = lambda: athena.get_table_metadata(**{**table, "CatalogName": "x"})  # noqa: E731
    assert refusal(other)[0] == "NotImplemented"


@pytest.mark.parametrize("missing", ["athena:GetTableMetadata", "glue:GetTable", None])
def test_a_table_s_metadata_needs_athena_s_action_and_glue_s(
    sandbox: Sandbox, missing: str | None
) -> None:
    catalog = f"arn:aws:athena:{REGION}:{ACCOUNT}:datacatalog/AwsDataCatalog"
    glue = f"arn:aws:glue:{REGION}:{ACCOUNT}"
    through = {"ForAnyValue:StringEquals": {"aws:CalledVia": "athena.amazonaws.com"}}
    on = [f"{glue}:catalog", f"{glue}:database/default", f"{glue}:table/default/logs"]
    needed = {
        "athena:GetTableMetadata": allow("athena:GetTableMetadata", catalog),
        "glue:GetTable": allow("glue:GetTable", on, Condition=through),
    }
    who = sandbox.user("who", *(one for action, one in needed.items() if action != missing))
    ask = lambda: sandbox.client("athena", who).get_table_metadata(  # noqa: E731
        CatalogName="AwsDataCatalog", DatabaseName="default", TableName="logs"
    )
    if missing is None:
        assert ask()["TableMetadata"]["Name"] == "logs"
    else:
        code, text, _ = refusal(ask)
        assert (code, missing in text) == ("AccessDeniedException", True)


def test_a_row_tells_its_file_where_it_is_asked_for(sandbox: Sandbox) -> None:
    paths = {path for (path,) in answered(sandbox, 'SELECT DISTINCT "$path" FROM logs')}
    assert paths == {f"s3://trails/{key}" for key in logs(sandbox)}
    query_id = ended(sandbox, "SELECT * FROM logs")["QueryExecutionId"]
    found = sandbox.client("athena").get_query_results(QueryExecutionId=query_id)["ResultSet"]
    names = [one["Name"] for one in found["ResultSetMetadata"]["ColumnInfo"]]
    assert "$path" not in names
    assert names[-1] == "timestamp"
    assert failed(sandbox, 'SELECT *, "$path" FROM logs').startswith("NotImplemented: ")


# --- what fails, and what is refused --------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "SELECT eventname,\n  nope FROM logs",
            "COLUMN_NOT_FOUND: line 2:3: Column 'nope' cannot be resolved",
        ),
        ("SELECT 1 FROM x.nope", "TABLE_NOT_FOUND: line 1:17: Table 'awsdatacatalog.x.nope' does"),
        ("SELECT cast(eventname AS bigint) FROM logs", "INVALID_CAST_ARGUMENT: "),
        ("SELECT nope(eventname) FROM logs", "NOT_SUPPORTED: the sandbox, which runs queries in"),
        ("SELECT * FROM read_csv('/etc/passwd')", "NotImplemented: "),
        ("SELECT read_text('/etc/passwd')", "NOT_SUPPORTED: "),
        ("SELECT 1 FROM logs CROSS JOIN UNNEST(resources) AS t(r)", "NotImplemented: "),
        (ddl(), "FAILED: AlreadyExistsException: Table logs already exists"),
        (ddl("nowhere.logs"), "FAILED: Database nowhere not found"),
        ("DROP TABLE nope", "FAILED: SemanticException: Table not found nope"),
    ],
)
def test_queries_that_fail(sandbox: Sandbox, text: str, reason: str) -> None:
    assert failed(sandbox, text).startswith(reason)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SELEC 1", "InvalidRequestException"),
        ("SELECT 1 FROM", "InvalidRequestException"),
        ("SELECT 1; SELECT 2", "InvalidRequestException"),
        (" ", "InvalidRequestException"),
        ("SELECT '", "InvalidRequestException"),
        ("SHOW TABLES", "NotImplemented"),
        ("MSCK REPAIR TABLE logs", "NotImplemented"),
        ("INSERT INTO logs VALUES (1)", "NotImplemented"),
        ("COPY logs TO '/tmp/x'", "NotImplemented"),
        ("ATTACH '/tmp/x'", "InvalidRequestException"),
    ],
)
def test_statements_that_are_not_started(text: str, code: str) -> None:
    assert refusal(lambda: started(Sandbox(), text))[0] == code


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"ResultConfiguration": {}}, "No output location provided."),
        ({"ResultConfiguration": {"OutputLocation": "x"}}, "outputLocation is not a valid S3 path"),
        ({"WorkGroup": "other"}, "WorkGroup other is not found."),
        ({"ExecutionParameters": ["1"]}, "Incorrect number of parameters"),
        ({"QueryString": "SELECT ?", "ExecutionParameters": ["1 FROM x"]}, "An execution paramet"),
        ({"QueryString": "SELECT ?", "ExecutionParameters": ["a"]}, "An execution parameter is a"),
    ],
)
def test_requests_that_are_refused(more: dict[str, Any], text: str) -> None:
    code, told, status = refusal(lambda: started(Sandbox(), **{"text": "SELECT 1", **_text(more)}))
    assert (code, status) == ("InvalidRequestException", 400)
    assert told.startswith(text)


def _text(more: dict[str, Any]) -> dict[str, Any]:
    return {"text" if name == "QueryString" else name: value for name, value in more.items()}


@pytest.mark.parametrize(
    "text",
    [
        ddl("other", projection__enabled="false"),
        ddl("other", projection__timestamp__type="injected"),
        ddl("other", projection__timestamp__format="yyyy"),
        ddl("other", projection__timestamp__interval="2"),
        ddl("other", projection__timestamp__range="NOW-3YEARS,NOW"),
        ddl("other").replace("CloudTrailInputFormat", "OtherFormat"),
        ddl("other").replace("EXTERNAL", ""),
        "CREATE TABLE other AS SELECT 1 AS x",
    ],
)
def test_tables_that_are_not_imitated(text: str) -> None:
    assert failed(Sandbox(), text).startswith("NotImplemented: ")


def test_a_query_sees_no_file_of_this_machine(sandbox: Sandbox, tmp_path: Path) -> None:
    """DuckDB would read a table whose name is a file's, where that is a CTE's name elsewhere."""
    file = tmp_path / "secret.csv"
    file.write_text("a\nb\n")
    text = f'SELECT * FROM "{file}" CROSS JOIN (WITH "{file}" AS (SELECT 1) SELECT 2) AS x'
    assert failed(sandbox, text).startswith("NOT_SUPPORTED: ")


def test_a_file_that_is_no_log_file(sandbox: Sandbox) -> None:
    key = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/01/31/other.json.gz"
    sandbox.client("s3").put_object(Bucket="trails", Key=key, Body=b"no gzip")
    assert failed(sandbox, "SELECT 1 FROM logs").startswith(f"HIVE_BAD_DATA: {key} is no log file")


# --- who may --------------------------------------------------------------------------------------

TABLES = allow(["glue:GetTable", "glue:CreateTable"])
READS = allow(["s3:ListBucket", "s3:GetObject"], ["arn:aws:s3:::trails", "arn:aws:s3:::trails/*"])
WRITES = allow(["s3:PutObject", "s3:GetObject"], "arn:aws:s3:::results/*")
ATHENA = allow("athena:*", GROUP)


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        (None, None),
        (READS, "PERMISSION_DENIED: Permission denied on S3 path: s3://trails/AWSLogs/"),
        (WRITES, "Access denied when writing output to url: s3://results/queries/"),
        (TABLES, "AccessDeniedException: User: arn:aws:iam::111122223333:user/who is not authori"),
    ],
)
def test_a_query_does_what_its_caller_may(
    sandbox: Sandbox, missing: dict[str, Any] | None, reason: str | None
) -> None:
    statements = [one for one in (ATHENA, TABLES, READS, WRITES) if one is not missing]
    who = sandbox.user("who", *statements)
    if reason is None:
        assert ended(sandbox, "SELECT 1 FROM logs", who)["Status"]["State"] == "SUCCEEDED"
    else:
        assert failed(sandbox, "SELECT 1 FROM logs", who).startswith(reason)


def test_athena_calls_s3_for_its_caller(sandbox: Sandbox) -> None:
    only = {"ForAnyValue:StringEquals": {"aws:CalledVia": "athena.amazonaws.com"}}
    through = [{**statement, "Condition": only} for statement in (TABLES, READS)]
    who = sandbox.user("who", ATHENA, *through, WRITES)
    assert ended(sandbox, "SELECT 1 FROM logs", who)["Status"]["State"] == "SUCCEEDED"
    s3 = sandbox.client("s3", who)
    assert refusal(lambda: s3.list_objects_v2(Bucket="trails"))[0] == "AccessDenied"


def test_results_are_for_who_may_read_them_in_s3(sandbox: Sandbox) -> None:
    query_id = ended(sandbox, "SELECT 1 FROM logs")["QueryExecutionId"]
    who = sandbox.client("athena", sandbox.user("who", ATHENA))
    code, text, _ = refusal(lambda: who.get_query_results(QueryExecutionId=query_id))
    assert code == "InvalidRequestException"
    assert text.startswith("You do not seem to have access to the S3 location of your")


@pytest.mark.parametrize(
    ("call", "given"),
    [
        ("start_query_execution", {"QueryString": "SELECT 1", "ResultConfiguration": RESULTS}),
        ("get_query_execution", {}),
        ("get_query_results", {}),
        ("stop_query_execution", {}),
        ("get_work_group", {"WorkGroup": "primary"}),
        ("list_work_groups", {}),
    ],
)
def test_a_call_needs_its_action_and_is_recorded(
    sandbox: Sandbox, call: str, given: dict[str, Any]
) -> None:
    query_id = ended(sandbox, "SELECT 1")["QueryExecutionId"]
    if call in ("get_query_execution", "get_query_results", "stop_query_execution"):
        given = {"QueryExecutionId": query_id}
    action = "".join(word.title() for word in call.split("_"))
    wrong = sandbox.user("wrong", allow("athena:*", f"{GROUP}x"))
    client = sandbox.client("athena", wrong)
    assert refusal(lambda: getattr(client, call)(**given))[0] == "AccessDeniedException"
    assert sandbox.record(action)["errorCode"] == "AccessDenied"
    resource = "*" if call == "list_work_groups" else GROUP
    right = sandbox.user("right", allow(f"athena:{action}", resource), WRITES)
    getattr(sandbox.client("athena", right), call)(**given)
    record = sandbox.record(action)
    assert ("errorCode" in record, record["userIdentity"]["userName"]) == (False, "right")
    assert record["readOnly"] is action.startswith(("Get", "List"))


# --- the process ----------------------------------------------------------------------------------


def test_duckdb_is_loaded_with_the_first_query() -> None:
    code = (
        "import sys\n"
        "from in_process import Sandbox\n"
        "Sandbox().client('athena').list_work_groups()\n"
        "assert not {'duckdb', 'sqlglot'} & sys.modules.keys()\n"
    )
    folder = str(Path(__file__).parents[1])
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)


def test_the_projection_of_a_table() -> None:
    days = tables.Projection("day", None, "%Y/%m/%d", "2026/01/10", "NOW-1DAYS")
    now = datetime(2026, 1, 20, 8, tzinfo=UTC)
    held = [day for day in range(1, 31) if days.has(f"2026/01/{day:02}", now)]
    assert held == list(range(10, 20))
    assert not days.has("2026/13/01", now)


@pytest.mark.e2e
def test_athena_over_http(sandboxes: Callable[..., Served]) -> None:
    served = sandboxes(clock=Still(START))
    log_bucket(served.client("s3"))
    trails, athena = served.client("cloudtrail"), served.client("athena")
    trails.create_trail(Name="main", S3BucketName="trails")
    trails.start_logging(Name="main")
    served.client("kms").create_key()
    served.world.clock.advance(timedelta(minutes=5))

    def run(text: str) -> str:
        query_id: str = athena.start_query_execution(QueryString=text, ResultConfiguration=RESULTS)[
            "QueryExecutionId"
        ]
        assert waited(athena, query_id)["Status"]["State"] == "SUCCEEDED"
        return query_id

    with pytest.raises(ClientError) as refused:
        run("SELEC 1")
    assert refused.value.response["AthenaErrorCode"] == "MALFORMED_QUERY"
    run(ddl())
    query_id = run("SELECT eventid FROM logs WHERE eventname = 'CreateKey'")
    rows = athena.get_query_results(QueryExecutionId=query_id)["ResultSet"]["Rows"]
    (record,) = served.records("CreateKey")
    assert rows[1] == {"Data": [{"VarCharValue": record["eventID"]}]}
