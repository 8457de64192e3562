"""Athena as a source: the records that a scan of the same files gives, and what it says otherwise.

Source: https://docs.aws.amazon.com/athena/latest/ug/create-cloudtrail-table-partition-projection.html
"""

from __future__ import annotations

import copy
import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest
from click.testing import CliRunner, Result
from keyrunbook.aws.athena import AthenaLogs, Estimate, How, sized
from keyrunbook.aws.clients import Clients, sandbox_clients
from keyrunbook.aws.trail_logs import Place, TrailLogs
from keyrunbook.aws.wait import Waited
from keyrunbook.cli import runbook
from keyrunbook.errors import AwsRefused, ParameterError, ReadOnly
from keyrunbook.logs import Found
from keyrunbook.logs.athena import Table, ddl, named, of_key, record_of, statement, table_of
from keyrunbook.proof import Outcome, prove
from keyrunbook.records import IMAGE_BUILDER, KMS, MalformedRecord, Record
from keyrunbook.sandboxes import Sandbox, start_private
from log_files import ACCOUNT, REGION, name_of, text_of
from test_proof import TABLE, log_of
from true_logs import CREATED, KEY, READ, Document, change, claim, true_log

ANSWERS = "s3://answers/queries"
HOW = How(output=ANSWERS, interval_s=0.05)
DELIVERED = READ + timedelta(minutes=5)
SINCE, UNTIL = CREATED - timedelta(hours=1), READ + timedelta(hours=1)
FOLDER = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}"

# --- the table and the query: pure ----------------------------------------------------------------

METADATA: dict[str, Any] = {
    "Name": "logs",
    "Columns": [
        *({"Name": name, "Type": "string"} for name in (
            *("eventversion", "eventid", "eventtime", "eventsource", "eventname", "awsregion"),
            *("recipientaccountid", "errorcode", "errormessage", "requestid", "readonly"),
            *("requestparameters", "responseelements", "additionaleventdata"),
        )),
        {
            "Name": "useridentity",
            "Type": "struct<type:string,arn:string,invokedby:string,"
            "sessioncontext:struct<sessionissuer:struct<arn:string>>>",
        },
        {"Name": "resources", "Type": "array<struct<arn:string,accountid:string,type:string>>"},
        {"Name": "addendum", "Type": "struct<reason:string,originaleventid:string>"},
    ],
    "PartitionKeys": [{"Name": "timestamp", "Type": "string"}],
    "Parameters": {
        "location": f"s3://trails/a/{FOLDER}",
        "projection.enabled": "true",
        "projection.timestamp.type": "date",
        "projection.timestamp.format": "yyyy/MM/dd",
        "projection.timestamp.range": "2023/01/01,NOW",
        "storage.location.template": f"s3://trails/a/{FOLDER}/${{timestamp}}",
    },
}  # fmt: skip


def table(**parameters: str | None) -> Table:
    """The table, with other parameters; None for none."""
    given = METADATA["Parameters"] | {key.replace("__", "."): v for key, v in parameters.items()}
    kept = {key: value for key, value in given.items() if value is not None}
    return table_of({**METADATA, "Parameters": kept}, "default", ACCOUNT, REGION)


def test_a_table_tells_where_the_files_of_a_day_are() -> None:
    found = table()
    assert (found.bucket, found.prefix, str(found)) == ("trails", "a", "default.logs")
    assert found.folder(date(2023, 11, 21)) == f"a/{FOLDER}/2023/11/21/"


def test_partitions_of_account_and_region_are_narrowed_too() -> None:
    place = "s3://trails/AWSLogs/o-exampleorgid/${acct}/CloudTrail/${region}/${timestamp}"
    keys = [{"Name": name, "Type": "string"} for name in ("acct", "region", "timestamp")]
    parameters = METADATA["Parameters"] | {
        "projection.acct.type": "enum",
        "projection.acct.values": f"444455556666, {ACCOUNT}",
        "projection.region.type": "enum",
        "projection.region.values": f"{REGION},eu-west-1",
        "storage.location.template": place,
    }
    metadata = {**METADATA, "PartitionKeys": keys, "Parameters": parameters}
    found = table_of(metadata, "default", ACCOUNT, REGION)
    assert found.fixed == {"acct": ACCOUNT, "region": REGION}
    assert found.folder(date(2023, 11, 21)).startswith(
        f"AWSLogs/o-exampleorgid/{ACCOUNT}/CloudTrail/{REGION}/2023"
    )
    text = statement(found, date(2023, 11, 21), date(2023, 11, 22))
    assert f"\"acct\" = '{ACCOUNT}' AND \"region\" = '{REGION}'" in text
    with pytest.raises(ParameterError, match="is partitioned by region, whose values"):
        table_of(metadata, "default", ACCOUNT, "us-east-2")


@pytest.mark.parametrize(
    ("text", "database", "name"),
    [
        ("athena:logs", "default", "logs"),
        ("athena:Audit.Logs", "audit", "logs"),
        ("athena:my-db.cloudtrail_logs_pp", "my-db", "cloudtrail_logs_pp"),
    ],
)
def test_a_source_names_a_table(text: str, database: str, name: str) -> None:
    assert named(text) == (database, name)


@pytest.mark.parametrize("text", ["athena:", "athena:a.b.c", 'athena:a"b', "athena:a b", "logs"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="not of the form athena:TABLE") as caught:
        named(text)
    assert "runbook athena-ddl" in caught.value.fix


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"projection__enabled": None}, "no partitions that are projected"),
        ({"projection__timestamp__type": "integer"}, "not partitioned by one date"),
        ({"projection__timestamp__format": "yyyy"}, "not partitioned by days"),
        ({"projection__timestamp__range": "NOW"}, "not partitioned by days"),
        ({"storage__location__template": "s3://trails/${timestamp}"}, "where no trail delivers"),
        (
            {"storage__location__template": f"s3://trails/{FOLDER[:-1]}1/${{timestamp}}"},
            f"in us-west-1, not on those of {ACCOUNT} in {REGION}",
        ),
    ],
)
def test_a_table_of_another_make_is_refused(parameters: dict[str, str], reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        table(**parameters)


@pytest.mark.parametrize("number", range(len(METADATA["Columns"])))
def test_a_table_that_lacks_a_column_is_refused(number: int) -> None:
    columns = copy.deepcopy(METADATA["Columns"])
    lacking = columns[number]["Name"]
    columns[number]["Type"] = "map<string,string>"
    with pytest.raises(ParameterError, match=f"has no columns {lacking} of the types"):
        table_of({**METADATA, "Columns": columns}, "default", ACCOUNT, REGION)


@pytest.mark.parametrize(
    ("days", "first", "end"),
    [
        ("2023/01/01,NOW", date(2023, 1, 1), date(2026, 3, 3)),
        ("2023/01/01,2024/12/31", date(2023, 1, 1), date(2025, 1, 1)),
        ("NOW-2DAYS,NOW", date(2026, 2, 28), date(2026, 3, 3)),
        ("NOW-1YEARS,NOW+1DAYS", date(2025, 3, 2), date(2026, 3, 4)),
        ("NOW-1MONTHS,NOW", date(2026, 2, 2), date(2026, 3, 3)),
    ],
)
def test_a_table_has_the_days_of_its_range(days: str, first: date, end: date) -> None:
    found = table(projection__timestamp__range=days)
    now = datetime(2026, 3, 2, 23, 59, tzinfo=UTC)
    assert [one.date() for one in found.reach(now)] == [first, end]


@pytest.mark.parametrize("days", ["x,NOW", "2023/01/01,NOW-1CENTURIES", "2023-01-01,NOW"])
def test_a_range_that_says_no_days_is_refused(days: str) -> None:
    with pytest.raises(ParameterError, match="which is no range of days"):
        table(projection__timestamp__range=days).reach(datetime(2026, 3, 2, tzinfo=UTC))


def test_the_query_asks_for_days_names_and_sources() -> None:
    text = statement(table(), date(2023, 11, 21), date(2023, 11, 22))
    assert 'FROM "default"."logs"' in text
    assert "\"timestamp\" BETWEEN '2023/11/21' AND '2023/11/22'" in text
    for part in ("'GenerateDataKey', 'Decrypt'", f"'{KMS}'", f"'{IMAGE_BUILDER}'", '"$path"'):
        assert part in text


def test_the_query_of_a_key_s_use_names_it() -> None:
    text = statement(table(), date(2023, 11, 21), date(2023, 11, 22), of_key("1234abcd-12ab"))
    assert text.count("LIKE '%1234abcd-12ab%'") == 3
    with pytest.raises(ValueError, match="is no key id"):
        of_key("' OR ''='")


@pytest.mark.parametrize("column", ["requestparameters", "responseelements", "arns"])
def test_a_row_whose_text_is_no_json_is_malformed(column: str) -> None:
    row = dict.fromkeys((*(one["Name"] for one in METADATA["Columns"]), *_MORE)) | {column: "{"}
    with pytest.raises(MalformedRecord, match="is not JSON"):
        record_of(row | {"path": "s3://b/f", "eventid": "1"})


def command(*words: str) -> Result:
    given = ("--bucket", "s3://trails/p/", "--account", ACCOUNT, "--region", REGION)
    return CliRunner().invoke(runbook, ["athena-ddl", *given, *words])


@pytest.mark.parametrize(
    ("words", "place", "since"),
    [
        (["audit.logs"], f"p/AWSLogs/{ACCOUNT}", "2020/01/01"),
        (["athena:audit.logs", "--since", "2026-03-02"], f"p/AWSLogs/{ACCOUNT}", "2026/03/02"),
        (
            ["audit.logs", "--organization", "o-exampleorgid"],
            f"p/AWSLogs/o-exampleorgid/{ACCOUNT}",
            "2020/01/01",
        ),
    ],
)
def test_the_command_prints_the_statement_of_the_table(
    words: list[str], place: str, since: str
) -> None:
    text = command(*words).output
    assert text.startswith("CREATE EXTERNAL TABLE `audit`.`logs` (")
    at = f"s3://trails/{place}/CloudTrail/{REGION}"
    assert f"LOCATION '{at}'\n" in text
    assert f"'storage.location.template'='{at}/${{timestamp}}'" in text
    assert f"'projection.timestamp.range'='{since},NOW'" in text


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["a.b.c"], "athena:a.b.c is not of the form"),
        (["logs", "--organization", "example"], "'example' is not an organization's id"),
        (["logs", "--bucket", "trails"], "'trails' is not of the form s3://bucket"),
        (["logs", "--account", "1"], "--account '1' is none"),
    ],
)
def test_what_the_command_is_given_wrongly_is_said(words: list[str], reason: str) -> None:
    result = command(*words)
    assert isinstance(result.exception, ParameterError)
    assert reason in result.exception.what


_MORE = ("invokedby", "principal", "issuer", "arns", "types", "path")


def test_bytes_in_words() -> None:
    assert [sized(n) for n in (0, 12345, 10**9, 2_340_000_000)] == [
        *("0 bytes", "12,345 bytes", "1.00 GB", "2.34 GB")
    ]
    assert str(Estimate(3, 12, None)) == "about 12 bytes in 3 log files"


# --- on the sandbox -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own() -> Iterator[Sandbox]:
    with start_private("--event-delay", "0") as started:
        yield started


@pytest.fixture(scope="module")
def aws(own: Sandbox) -> Clients:
    clients = sandbox_clients(own.ready())
    where = {"LocationConstraint": clients.region}
    for name in ("trails", "answers"):
        clients("s3").create_bucket(Bucket=name, CreateBucketConfiguration=where)
    return clients


def run(aws: Clients, text: str) -> None:
    athena = aws("athena")
    where = {"OutputLocation": ANSWERS}
    query = athena.start_query_execution(QueryString=text, ResultConfiguration=where)
    asked = partial(athena.get_query_execution, QueryExecutionId=query["QueryExecutionId"])
    until = time.monotonic() + 30
    while (status := asked()["QueryExecution"]["Status"])["State"] != "SUCCEEDED":
        assert time.monotonic() < until, status
        assert status["State"] != "FAILED", status
        time.sleep(0.02)


class Bucket:
    """Log files of one trail, in a prefix of their own, and a table on them."""

    numbers = count()

    def __init__(self, aws: Clients) -> None:
        self.aws = aws
        self.prefix = f"prefix{next(self.numbers)}"
        self.table = f"athena:{self.prefix}"
        where = f"s3://trails/{self.prefix}"
        run(aws, ddl("default", self.prefix, where, ACCOUNT, REGION, date(2023, 1, 1)))

    def put(self, text: bytes, delivered: datetime = DELIVERED, mark: str = "A") -> str:
        key = f"{self.prefix}/{FOLDER}/{delivered:%Y/%m/%d}/{name_of(delivered, mark)}"
        self.aws("s3").put_object(Bucket="trails", Key=key, Body=gzip.compress(text))
        return f"s3://trails/{key}"

    def by_athena(self, how: How = HOW, **more: Any) -> Found:
        source = AthenaLogs(self.aws, self.table, ACCOUNT, REGION, how)
        return source.search(SINCE, UNTIL, **more)

    def by_scan(self) -> Found:
        place = Place("trails", self.prefix)
        return TrailLogs(self.aws, place, ACCOUNT, REGION).search(SINCE, UNTIL)


@pytest.fixture
def bucket(aws: Clients) -> Bucket:
    return Bucket(aws)


def looked_for(record: Record) -> bool:
    """Whether the proof looks at it."""
    names = ("GenerateDataKey", "Decrypt")
    return record.source == IMAGE_BUILDER or (record.source == KMS and record.name in names)


def odd() -> Iterator[Document]:
    """Records that are as CloudTrail documents them, and unusual."""
    numbers = count()
    for changes in (
        {},
        {"requestParameters": None},
        {"requestParameters": {}},
        {"requestParameters/encryptionContext": None},
        {"requestParameters/encryptionContext/AWS:ImageBuilder:ARN": "x"},
        {"requestParameters/encryptionContext/é \"'\\\n\u2028": "ü''\ud83d\ude00\\"},
        {"requestParameters/dryRun": True},
        {"requestParameters/nested": {"a": [1, 2.5, None, {"b": "]}"}], "c": 10**20}},
        {"errorCode": "AccessDenied", "errorMessage": 'not "authorized"'},
        {"errorCode": ""},
        {"errorMessage": "alone"},
        {"readOnly": False},
        {"readOnly": None},
        {"resources": None},
        {"resources": []},
        {"resources/0/type": "AWS::S3::Object"},
        {"resources/0/type": None},
        {"resources": [{"ARN": KEY, "type": "AWS::KMS::Key"}, {"ARN": "b"}, {"type": "c"}]},
        {"userIdentity/invokedBy": None},
        {"userIdentity/invokedBy": "lambda.amazonaws.com"},
        {"userIdentity/sessionContext": None},
        {"userIdentity/sessionContext/sessionIssuer": {}},
        {"recipientAccountId": None},
        {"recipientAccountId": "444455556666"},
        {"awsRegion": "eu-west-1"},
        {"eventTime": "2023-11-21T21:31:03+01:00"},
        {"eventVersion": "1.99", "somethingNew": {"a": 1}},
        {"additionalEventData": {"keyMaterialId": "123"}},
        {"addendum": {"reason": "UPDATED_DATA", "originalEventID": "odd-0"}},
        {"addendum": {"reason": "DELIVERY_DELAY"}},
        {"eventName": "Encrypt"},
        {"eventSource": "s3.amazonaws.com"},
        {"eventTime": "2023-11-19T20:31:03Z"},
    ):
        for kind in ("generate", "get"):
            document = true_log()[kind]
            for path, value in changes.items():
                if kind == "generate" or "/" not in path:
                    change(document, {path: value})
            document["eventID"] = f"odd-{next(numbers)}"
            yield document


def cases() -> Iterator[Document]:
    """The records of every row of the proof's table: each way of fooling it."""
    for case in TABLE:
        yield from (copy.deepcopy(dict(record.raw)) for record in log_of(case).values())


@pytest.mark.e2e
def test_athena_gives_the_records_that_a_scan_of_the_same_files_gives(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    escaped = text_of([true_log()["generate"] | {"eventID": "escaped"}])
    escaped = escaped.replace(b"imagebuilder", b"\\u0069magebuilder")
    bucket.put(text_of(odd()), mark="1")
    bucket.put(text_of(cases()), mark="2")
    bucket.put(text_of(odd()), DELIVERED + timedelta(days=1), mark="3")  # each record again, late
    bucket.put(escaped, mark="4")
    scanned, asked = bucket.by_scan(), bucket.by_athena()
    assert not scanned.searched.malformed
    assert not asked.searched.malformed
    expected = [record for record in scanned.records if looked_for(record)]
    assert len(expected) > 100
    assert "escaped" in {record.event_id for record in expected}
    assert list(asked.records) == expected
    monkeypatch.setattr("keyrunbook.aws.athena.PAGE", 150)
    assert bucket.by_athena().records == asked.records


@pytest.mark.e2e
def test_the_true_log_is_proved_and_athena_says_what_it_read_and_what_it_lacks(
    bucket: Bucket,
) -> None:
    waits: list[Waited] = []
    place = bucket.put(text_of(true_log().values()))
    bucket.put(text_of([]), CREATED - timedelta(hours=2), mark="B")
    found = bucket.by_athena(progress=waits.append)
    verdict = prove(found.records, claim(), found.searched)
    assert verdict.outcome is Outcome.PROVED, verdict
    assert found.places(verdict.events) == (place,)
    assert found.searched.complete
    assert found.searched.calls == 1
    assert waits[-1].over
    size = sum(
        one["Size"]
        for one in bucket.aws("s3").list_objects_v2(Bucket="trails", Prefix=bucket.prefix)[
            "Contents"
        ]
    )
    (unknown, read, lacks) = found.notes
    assert "Which events the trail selects is not known" in unknown
    assert f"Athena read {size:,} bytes (estimated: about {size:,} bytes in 2 log files)" in read
    assert f"its answer is {ANSWERS}/" in read
    assert "cannot be told here" in lacks


@pytest.mark.e2e
def test_what_is_malformed_is_told_with_its_file(bucket: Bucket) -> None:
    bad = []
    for changes in (
        {"eventTime": "yesterday"},
        {"eventVersion": "2.0"},
        {"eventSource": None},
        {"eventName": None},
        {"awsRegion": None},
        {"requestParameters/encryptionContext": "text"},
        {"resources": [{"type": "AWS::KMS::Key"}]},
        {"requestParameters/encryptionContext": {"aws:imagebuilder:arn": 1}},
    ):
        document = true_log()["generate"]
        change(document, changes)
        bad.append({**document, "eventID": f"bad-{len(bad)}"})
    place = bucket.put(text_of([*bad, *true_log().values()]))
    scanned, asked = bucket.by_scan(), bucket.by_athena()
    assert len(asked.searched.malformed) == len(scanned.searched.malformed) == len(bad)
    assert [one.reason for one in asked.searched.malformed] == [
        one.reason for one in scanned.searched.malformed
    ]
    assert all(one.place.startswith(f"{place}, by Athena") for one in asked.searched.malformed)
    assert prove(asked.records, claim(), asked.searched).outcome is not Outcome.REFUTED
    assert asked.searched.incomplete


@pytest.mark.e2e
def test_what_athena_cannot_tell_is_what_it_says_that_it_cannot(bucket: Bucket) -> None:
    """Values of another type: malformed in a scan; Athena's table makes texts of them."""
    forged = []
    for changes in (
        {"readOnly": "true"},
        {"errorCode": 5},
        {"awsRegion": 1},
        {"requestParameters": json.dumps(true_log()["generate"]["requestParameters"])},
    ):
        document = true_log()["generate"]
        change(document, changes)
        forged.append({**document, "eventID": f"forged-{len(forged)}"})
    bucket.put(text_of(forged))
    assert len(bucket.by_scan().searched.malformed) == len(forged)
    asked = bucket.by_athena()
    assert len(asked.records) == len(forged)
    assert any("of another type than CloudTrail documents" in note for note in asked.notes)


@pytest.mark.e2e
def test_over_its_limit_nothing_is_run_and_it_is_said(bucket: Bucket) -> None:
    bucket.put(text_of(true_log().values()))
    started: list[Any] = []
    bucket.aws("athena").meta.events.register(
        "provide-client-params.athena.StartQueryExecution",
        lambda params, **_: started.append(params),
        unique_id="started",
    )
    found = bucket.by_athena(replace(HOW, most_gigabytes=1e-9))
    assert (found.records, started) == ((), [])
    verdict = prove(found.records, claim(), found.searched)
    assert verdict.outcome is Outcome.NOT_YET
    for said in (
        "Athena would read about",
        "an estimate",
        "the limit is 1e-09 GB",
        "nothing was run",
    ):
        assert said in found.searched.why_incomplete
    assert found.searched.why_incomplete in verdict.encrypted.reason
    assert not [note for note in found.notes if "Athena read" in note]
    bucket.by_athena()
    assert len(started) == 1


@pytest.mark.e2e
def test_a_file_that_athena_cannot_read_leaves_all_open(bucket: Bucket) -> None:
    bucket.put(text_of(true_log().values()))
    bucket.put(b'{"Records": ["x"]}', mark="B")
    found = bucket.by_athena()
    assert found.records == ()
    assert "ended as FAILED: HIVE_BAD_DATA" in found.searched.why_incomplete
    assert prove(found.records, claim(), found.searched).outcome is Outcome.NOT_YET


@pytest.mark.e2e
def test_days_that_the_table_does_not_have_are_not_covered(bucket: Bucket) -> None:
    bucket.put(text_of(true_log().values()))
    where = f"s3://trails/{bucket.prefix}"
    late = ddl("default", "late", where, ACCOUNT, REGION, date(2023, 11, 22))
    run(bucket.aws, late)
    found = AthenaLogs(bucket.aws, "athena:late", ACCOUNT, REGION, HOW).search(SINCE, UNTIL)
    assert found.records == ()
    assert not found.searched.complete
    assert not found.searched.covers(KMS, "Decrypt", SINCE, UNTIL)
    run(bucket.aws, "DROP TABLE late")


@pytest.mark.e2e
def test_a_query_that_takes_too_long_is_stopped(bucket: Bucket) -> None:
    """Also one that somebody interrupts: what runs on costs."""
    bucket.put(text_of(true_log().values()))
    stopped: list[str] = []
    athena = bucket.aws("athena")
    athena.meta.events.register(
        "provide-client-params.athena.StopQueryExecution",
        lambda params, **_: stopped.append(params["QueryExecutionId"]),
        unique_id="stopped",
    )

    def running(parsed: dict[str, Any], **_: Any) -> None:
        parsed["QueryExecution"]["Status"] = {"State": "RUNNING"}

    def interrupted(_: Waited) -> None:
        raise KeyboardInterrupt

    athena.meta.events.register("after-call.athena.GetQueryExecution", running, unique_id="slow")
    found = bucket.by_athena(replace(HOW, limit_s=0.1))
    assert "no answer after 0.1 seconds" in found.searched.why_incomplete
    with pytest.raises(KeyboardInterrupt):
        bucket.by_athena(progress=interrupted)
    athena.meta.events.unregister("after-call.athena.GetQueryExecution", unique_id="slow")
    assert len(stopped) == 2
    bucket.by_athena()
    assert len(stopped) == 2, "one that has ended is not"


@pytest.mark.e2e
def test_what_athena_is_asked_wrongly_is_said_before_anything_runs(bucket: Bucket) -> None:
    aws = bucket.aws
    aws("athena").create_work_group(
        Name="audit",
        Configuration={
            "ResultConfiguration": {"OutputLocation": "s3://answers/audit/"},
            "EnforceWorkGroupConfiguration": True,
        },
    )

    def asked(how: How, source: str = bucket.table) -> AthenaLogs:
        return AthenaLogs(aws, source, ACCOUNT, REGION, how)

    with pytest.raises(ParameterError, match="primary names no place for answers"):
        asked(How())
    with pytest.raises(ParameterError, match="does not let its callers say where"):
        asked(replace(HOW, workgroup="audit"))
    with pytest.raises(ParameterError, match=r"tells of no table default\.absent"):
        asked(HOW, "athena:absent")
    with pytest.raises(AwsRefused, match="WorkGroup absent is not found"):
        asked(How("absent"))
    assert asked(How("audit", "s3://answers/audit")), "the workgroup's own place may be named"
    bucket.put(text_of(true_log().values()))
    found = bucket.by_athena(How("audit", interval_s=0.05))
    assert [note for note in found.notes if "its answer is s3://answers/audit/" in note]
    assert found.records


@pytest.mark.e2e
def test_a_query_that_fails_otherwise_is_an_error(bucket: Bucket) -> None:
    bucket.put(text_of(true_log().values()))
    with pytest.raises(AwsRefused, match=r"could not run the query .*absent-bucket") as caught:
        bucket.by_athena(replace(HOW, output="s3://absent-bucket/"))
    assert caught.value.operation == "StartQueryExecution"


@pytest.mark.e2e
def test_clients_that_only_read_run_a_select_and_nothing_else(own: Sandbox, bucket: Bucket) -> None:
    bucket.put(text_of(true_log().values()))
    reading = sandbox_clients(own.ready(), read_only=True)
    asked = AthenaLogs(reading, bucket.table, ACCOUNT, REGION, HOW).search(SINCE, UNTIL)
    assert asked.records
    with pytest.raises(ReadOnly, match="athena:StartQueryExecution was not sent"):
        run(reading, f"DROP TABLE {bucket.prefix}")
