"""Athena over a trail's log files: its table, the query that the proof needs, its rows as records.

Pure. The table is the one that AWS documents, with partitions that are projected by day: who asks
for some days reads the files of those days and no others. Rows give the records that a scan of the
same files gives, cut to what is looked for (`Kinds`). What Athena cannot tell is said by
`LACKS`: it reads each file before anybody sees a record.

Source: https://docs.aws.amazon.com/athena/latest/ug/create-cloudtrail-table-partition-projection.html
Source: https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from keyrunbook.errors import ParameterError
from keyrunbook.proof import DECRYPT, GENERATE, Attribute, Searched, Span
from keyrunbook.records import IMAGE_BUILDER, KMS, MalformedRecord, Record, parse_record

DATABASE: Final = "default"
LACKS: Final = (
    "Athena reads the files itself: a value of another type than CloudTrail documents, or a name "
    "that is given twice, which a scan of the files calls malformed, cannot be told here; and it "
    "takes no hashes, so nothing is said of the files' integrity"
)

_NAMED = re.compile(r"athena:(?:(?P<database>[A-Za-z0-9_-]+)\.)?(?P<table>[A-Za-z0-9_-]+)")
_FOLDER = re.compile(
    r"(?P<prefix>(?:.*/)?)AWSLogs/(?:o-[a-z0-9]{10,32}/)?(?P<account>\d{12})/CloudTrail/"
    r"(?P<region>[a-z0-9-]+)/[^/].*",
    re.ASCII,
)
_ORGANIZATION = re.compile(r"o-[a-z0-9]{10,32}", re.ASCII)
_FORMATS: Final = {"yyyy/MM/dd": "%Y/%m/%d", "yyyy-MM-dd": "%Y-%m-%d", "yyyyMMdd": "%Y%m%d"}
_NOW = re.compile(r"NOW(?:([+-]\d+)(YEARS|MONTHS|WEEKS|DAYS))?")
_DAYS: Final = {"YEARS": 365, "MONTHS": 28, "WEEKS": 7, "DAYS": 1}
_MAKE: Final = "Give a table as AWS documents it: runbook athena-ddl prints the statement."

_TEXTS: Final = (
    *("eventversion", "eventid", "eventtime", "eventsource", "eventname", "awsregion"),
    *("recipientaccountid", "errorcode", "errormessage", "requestid", "readonly"),
    *("requestparameters", "responseelements", "additionaleventdata"),
)
_WITHIN: Final = {
    "invokedby": "useridentity.invokedby",
    "principal": "useridentity.arn",
    "issuer": "useridentity.sessioncontext.sessionissuer.arn",
    "corrects": "addendum.originaleventid",
    # Of a row, JSON would have the values alone, or names too, as Athena's version has it.
    "arns": "json_format(CAST(transform(resources, r -> r.arn) AS JSON))",
    "types": "json_format(CAST(transform(resources, r -> r.type) AS JSON))",
    "path": '"$path"',
}
_OURS: Final = (
    f"useridentity.invokedby = '{IMAGE_BUILDER}' OR requestparameters LIKE '%imagebuilder%'"
)


@dataclass(frozen=True, slots=True)
class Kinds:
    """Which records are asked for: the condition of the query, and what that covers in full."""

    condition: str
    covers: tuple[tuple[Attribute, str], ...]


FOR_THE_PROOF: Final = Kinds(
    f"eventsource = '{IMAGE_BUILDER}' OR (({_OURS}) AND (eventsource IS NULL "
    f"OR (eventsource = '{KMS}' AND (eventname IS NULL "
    f"OR eventname IN ('{GENERATE}', '{DECRYPT}')))))",
    (("EventName", GENERATE), ("EventName", DECRYPT), ("EventSource", IMAGE_BUILDER)),
)
"""All of Image Builder's own, and KMS's of the two names that name Image Builder.

Of those that do, also what has no source or name, so that it is told of as malformed.
"""


def of_key(key_id: str) -> Kinds:
    """Those of a key's use: KMS's that name it or Image Builder, and all of Image Builder's own.

    Raises ValueError for what is no key id.
    """
    if re.fullmatch(r"[A-Za-z0-9-]+", key_id) is None:
        raise ValueError(f"{key_id!r} is no key id")
    places = ("requestparameters", "errormessage", _WITHIN["arns"])
    named_in = " OR ".join(f"{place} LIKE '%{key_id}%'" for place in places)
    return Kinds(
        f"eventsource = '{IMAGE_BUILDER}' OR (eventsource = '{KMS}' AND ({named_in} OR {_OURS}))",
        (("EventSource", KMS), ("EventSource", IMAGE_BUILDER)),
    )


Row = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Table:
    """A table on the log files of one account and Region. `fixed` are partitions but for the day.

    `template` is the place of a day's files; `first` and `last` are the ends of the days' range.
    """

    database: str
    name: str
    bucket: str
    template: str
    day: str
    format: str
    first: str
    last: str
    fixed: Mapping[str, str] = field(default_factory=dict)

    def folder(self, day: date) -> str:
        """What the keys of a day's files begin with."""
        path = self.template.replace(f"${{{self.day}}}", day.strftime(self.format))
        return f"{path}/"

    @property
    def prefix(self) -> str:
        """The trail's prefix in the bucket, without slashes at its ends."""
        match = _FOLDER.fullmatch(self.folder(date.min))
        return match["prefix"].strip("/") if match is not None else ""

    def reach(self, now: datetime) -> tuple[datetime, datetime]:
        """From when to when the table has days; a month counts 28 days, a year 365.

        Raises ParameterError for a range that says neither a day nor NOW.
        """
        first, last = self._bound(self.first, now), self._bound(self.last, now)
        return _midnight(first), _midnight(last + timedelta(days=1))

    def _bound(self, text: str, now: datetime) -> date:
        relative = _NOW.fullmatch(text)
        try:
            if relative is None:
                return datetime.strptime(text, self.format).date()
            days = int(relative[1] or 0) * _DAYS.get(relative[2], 1)
            return (now.astimezone(UTC) + timedelta(days=days)).date()
        except (ValueError, OverflowError):
            raise ParameterError(
                f"{self} has the days {self.first},{self.last}, which is no range of days.", _MAKE
            ) from None

    def __str__(self) -> str:
        return f"{self.database}.{self.name}"


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def named(source: str) -> tuple[str, str]:
    """Database and table of ``athena:database.table``; of ``athena:table``, in `DATABASE`.

    Raises ParameterError for another form.
    """
    match = _NAMED.fullmatch(source)
    if match is None:
        raise ParameterError(
            f"{source} is not of the form athena:TABLE or athena:DATABASE.TABLE.", _MAKE
        )
    return (match["database"] or DATABASE).lower(), match["table"].lower()


def table_of(metadata: Mapping[str, Any], database: str, account: str, region: str) -> Table:
    """The table that GetTableMetadata tells of, as far as one account's and Region's files go.

    Raises ParameterError for a table without partitions that are projected by day, for one of
    another account or Region, and for one that lacks columns.
    """
    name, given = metadata["Name"], metadata.get("Parameters", {})
    where = f"The table {database}.{name}"
    _check_columns(where, metadata.get("Columns", ()))
    if given.get("projection.enabled", "").lower() != "true":
        raise ParameterError(f"{where} has no partitions that are projected.", _MAKE)
    keys = [one["Name"] for one in metadata.get("PartitionKeys", ())]
    days = [key for key in keys if given.get(f"projection.{key}.type") == "date"]
    if len(days) != 1:
        raise ParameterError(f"{where} is not partitioned by one date.", _MAKE)
    (day,) = days
    written = given.get(f"projection.{day}.format")
    ends = [end.strip().upper() for end in given.get(f"projection.{day}.range", "").split(",")]
    if written not in _FORMATS or len(ends) != 2:
        raise ParameterError(f"{where} is not partitioned by days as yyyy/MM/dd.", _MAKE)
    first, last = ends
    fixed = {key: _one_of(where, key, given, account, region) for key in keys if key not in days}
    location = given.get("location", "").rstrip("/")
    place = given.get("storage.location.template") or "/".join(
        [location, *(f"{key}=${{{key}}}" for key in keys)]
    )
    for key, value in fixed.items():
        place = place.replace(f"${{{key}}}", value)
    bucket, _, template = place.removeprefix("s3://").partition("/")
    table = Table(
        database, name, bucket, template.rstrip("/"), day, _FORMATS[written], first, last, fixed
    )
    match = _FOLDER.fullmatch(table.folder(date(2000, 1, 1)))
    if not place.startswith("s3://") or match is None:
        raise ParameterError(
            f"{where} is at {place}, where no trail delivers the files of one account and Region.",
            _MAKE,
        )
    if (match["account"], match["region"]) != (account, region):
        raise ParameterError(
            f"{where} is on the files of {match['account']} in {match['region']}, not on those of "
            f"{account} in {region}.",
            "Name the table of that account and Region, or make one: runbook athena-ddl.",
        )
    return table


def _one_of(where: str, key: str, given: Mapping[str, str], account: str, region: str) -> str:
    values = [one.strip() for one in given.get(f"projection.{key}.values", "").split(",")]
    if given.get(f"projection.{key}.type") == "enum":
        for value in (account, region):
            if value in values:
                return value
    raise ParameterError(
        f"{where} is partitioned by {key}, whose values are not known to hold {account} or "
        f"{region}.",
        _MAKE,
    )


def _check_columns(where: str, columns: Iterable[Mapping[str, Any]]) -> None:
    types = {one["Name"]: one.get("Type", "").replace(" ", "").lower() for one in columns}
    lacking = [name for name in _TEXTS if types.get(name) != "string"]
    for name, parts in {
        "useridentity": ("arn:", "invokedby:", "sessionissuer:"),
        "resources": ("array<struct<", "arn:", "type:"),
        "addendum": ("originaleventid:",),
    }.items():
        lacking += [name] if any(part not in types.get(name, "") for part in parts) else []
    if lacking:
        raise ParameterError(
            f"{where} has no columns {', '.join(lacking)} of the types that AWS documents.", _MAKE
        )


def statement(table: Table, first: date, last: date, kinds: Kinds = FOR_THE_PROOF) -> str:
    """The query for records in the files that were delivered on those days."""
    columns = [*_TEXTS, *(f"{what} AS {name}" for name, what in _WITHIN.items())]
    days = " AND ".join(f"'{day.strftime(table.format)}'" for day in (first, last))
    narrowed = [f'"{table.day}" BETWEEN {days}']
    narrowed += [f"\"{key}\" = '{value}'" for key, value in table.fixed.items()]
    return (
        f"SELECT {', '.join(columns)}\n"
        f'FROM "{table.database}"."{table.name}"\n'
        f"WHERE {' AND '.join(narrowed)}\n  AND ({kinds.condition})"
    )


def record_of(row: Row) -> Record:
    """The record of a row; its `raw` is what the query asks for.

    Raises MalformedRecord where a scan of the files would, as far as the row tells.
    """
    place = f"{row['path']}, by Athena"
    event_id = row["eventid"]
    within = f"{place} (eventID {event_id})" if event_id else place
    names = {
        "eventVersion": row["eventversion"],
        "eventID": event_id,
        "eventTime": row["eventtime"],
        "eventSource": row["eventsource"],
        "eventName": row["eventname"],
        "awsRegion": row["awsregion"],
        "recipientAccountId": row["recipientaccountid"],
        "errorCode": row["errorcode"],
        "errorMessage": row["errormessage"],
        "requestID": row["requestid"],
        "readOnly": {"true": True, "false": False}.get(row["readonly"] or "", row["readonly"]),
        "requestParameters": _json(row["requestparameters"], "requestParameters", within),
        "responseElements": _json(row["responseelements"], "responseElements", within),
        "additionalEventData": _json(row["additionaleventdata"], "additionalEventData", within),
        "resources": _resources(row, within),
        "userIdentity": _identity(row),
        "addendum": None if row["corrects"] is None else {"originalEventID": row["corrects"]},
    }
    return parse_record({name: one for name, one in names.items() if one is not None}, place)


def _identity(row: Row) -> dict[str, Any]:
    identity: dict[str, Any] = {"arn": row["principal"], "invokedBy": row["invokedby"]}
    if row["issuer"] is not None:
        identity["sessionContext"] = {"sessionIssuer": {"arn": row["issuer"]}}
    return {name: one for name, one in identity.items() if one is not None}


def _resources(row: Row, place: str) -> list[dict[str, Any]] | None:
    arns, types = (_json(row[name], "resources", place) for name in ("arns", "types"))
    if arns is None or types is None:
        return None
    return [{"ARN": arn, "type": kind} for arn, kind in zip(arns, types, strict=True)]


def _json(text: str | None, name: str, place: str) -> Any:
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedRecord(f"{place}: {name}", f"is not JSON: {error}") from error


def narrowed(searched: Searched, kinds: Kinds) -> Searched:
    """What was searched, said as what it was: not every record, but some kinds."""

    def of_kinds(spans: Iterable[Span]) -> tuple[Span, ...]:
        return tuple(
            replace(span, attribute=attribute, value=value)
            for span in spans
            for attribute, value in kinds.covers
        )

    return replace(
        searched, spans=of_kinds(searched.spans), incomplete=of_kinds(searched.incomplete)
    )


def ddl(
    database: str,
    table: str,
    bucket: str,
    account: str,
    region: str,
    since: date,
    organization: str | None = None,
) -> str:
    """The statement that makes the table, as AWS documents it.

    `bucket` is ``s3://bucket/prefix``, `organization` the id of one whose trail it is.
    Raises ParameterError for what is no such id.
    """
    if organization is not None and _ORGANIZATION.fullmatch(organization) is None:
        raise ParameterError(
            f"{organization!r} is not an organization's id.",
            "Give one like o-exampleorgid, or leave --organization out.",
        )
    folders = (bucket.rstrip("/"), "AWSLogs", organization, account, "CloudTrail", region)
    place = "/".join(filter(None, folders))
    return _DDL.format(table=f"`{database}`.`{table}`", place=place, since=f"{since:%Y/%m/%d}")


_DDL: Final = """\
CREATE EXTERNAL TABLE {table} (
    eventversion STRING,
    useridentity STRUCT<
        type: STRING,
        principalid: STRING,
        arn: STRING,
        accountid: STRING,
        invokedby: STRING,
        accesskeyid: STRING,
        username: STRING,
        onbehalfof: STRUCT<
             userid: STRING,
             identitystorearn: STRING>,
        sessioncontext: STRUCT<
            attributes: STRUCT<
                mfaauthenticated: STRING,
                creationdate: STRING>,
            sessionissuer: STRUCT<
                type: STRING,
                principalid: STRING,
                arn: STRING,
                accountid: STRING,
                username: STRING>,
            ec2roledelivery: STRING,
            webidfederationdata: STRUCT<
                federatedprovider: STRING,
                attributes: map<string,string>>
        >
    >,
    eventtime STRING,
    eventsource STRING,
    eventname STRING,
    awsregion STRING,
    sourceipaddress STRING,
    useragent STRING,
    errorcode STRING,
    errormessage STRING,
    requestparameters STRING,
    responseelements STRING,
    additionaleventdata STRING,
    requestid STRING,
    eventid STRING,
    readonly STRING,
    resources ARRAY<STRUCT<
        arn: STRING,
        accountid: STRING,
        type: STRING>>,
    eventtype STRING,
    apiversion STRING,
    recipientaccountid STRING,
    serviceeventdetails STRING,
    sharedeventid STRING,
    vpcendpointid STRING,
    vpcendpointaccountid STRING,
    eventcategory STRING,
    addendum STRUCT<
        reason: STRING,
        updatedfields: STRING,
        originalrequestid: STRING,
        originaleventid: STRING>,
    sessioncredentialfromconsole STRING,
    edgedevicedetails STRING,
    tlsdetails STRUCT<
        tlsversion: STRING,
        ciphersuite: STRING,
        clientprovidedhostheader: STRING>
)
PARTITIONED BY (
    `timestamp` string)
ROW FORMAT SERDE 'org.apache.hive.hcatalog.data.JsonSerDe'
STORED AS INPUTFORMAT 'com.amazon.emr.cloudtrail.CloudTrailInputFormat'
OUTPUTFORMAT 'org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat'
LOCATION '{place}'
TBLPROPERTIES (
    'projection.enabled'='true',
    'projection.timestamp.format'='yyyy/MM/dd',
    'projection.timestamp.interval'='1',
    'projection.timestamp.interval.unit'='DAYS',
    'projection.timestamp.range'='{since},NOW',
    'projection.timestamp.type'='date',
    'storage.location.template'='{place}/${{timestamp}}')
"""
