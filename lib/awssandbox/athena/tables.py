"""Tables on CloudTrail's log files: CREATE EXTERNAL TABLE with partition projection.

Source: https://docs.aws.amazon.com/athena/latest/ug/create-cloudtrail-table-partition-projection.html
and https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from awssandbox.athena import errors
from awssandbox.errors import not_imitated

if TYPE_CHECKING:
    from sqlglot import exp

INPUT_FORMAT: Final = "com.amazon.emr.cloudtrail.CloudTrailInputFormat"
OUTPUT_FORMAT: Final = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"
SERDES: Final = (
    "org.apache.hive.hcatalog.data.JsonSerDe",
    "com.amazon.emr.hive.serde.CloudTrailSerde",
)
_FORMATS: Final = {"yyyy/MM/dd": "%Y/%m/%d", "yyyy-MM-dd": "%Y-%m-%d"}
_DAY: Final = r"\d{4}[/-]\d\d[/-]\d\d"
_NOW: Final = re.compile(r"NOW(?:([+-]\d+)(DAYS|WEEKS))?")


@dataclass(frozen=True, slots=True)
class Projection:
    """A partition column whose values are computed: those of a list, or the days of a range."""

    column: str
    values: frozenset[str] | None = None
    format: str = ""
    first: str = ""
    last: str = ""

    @property
    def pattern(self) -> str:
        """A regular expression of its values, and perhaps of others."""
        return _DAY if self.values is None else "|".join(map(re.escape, sorted(self.values)))

    def has(self, value: str, now: datetime) -> bool:
        """Whether the table has partitions of this value at `now`."""
        if self.values is not None:
            return value in self.values
        try:
            day = datetime.strptime(value, self.format)
        except ValueError:
            return False
        return self.bound(self.first, now) <= day <= self.bound(self.last, now)

    def bound(self, text: str, now: datetime) -> datetime:
        """The time that an end of a range says: a day, NOW, or days or weeks from it.

        Raises ValueError for what says none here.
        """
        relative = _NOW.fullmatch(text)
        if relative is None:
            return datetime.strptime(text, self.format)
        days = int(relative[1] or 0) * (7 if relative[2] == "WEEKS" else 1)
        return now.replace(tzinfo=None) + timedelta(days=days)


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the types of its columns, and where its files are."""

    name: str
    columns: Mapping[str, exp.DataType]
    projections: Sequence[Projection]
    location: str
    template: str
    properties: Mapping[str, str] = field(default_factory=dict)
    serde: str = SERDES[0]

    @property
    def bucket(self) -> str:
        """The bucket of its files."""
        return urlsplit(self.location).netloc

    @property
    def prefix(self) -> str:
        """What every key of its files begins with."""
        return self._path().split("${")[0]

    def partition(self, key: str, now: datetime) -> Mapping[str, str] | None:
        """The values of the partition columns of a file; None for no file of the table's."""
        of = {f"${{{one.column}}}": f"(?P<{one.column}>{one.pattern})" for one in self.projections}
        parts = re.split(r"(\$\{\w+\})", self._path())
        match = re.match("".join(of.get(part) or re.escape(part) for part in parts), key)
        if match is None or key.rsplit("/", 1)[-1].startswith(("_", ".")):
            return None
        values = match.groupdict()
        return values if all(one.has(values[one.column], now) for one in self.projections) else None

    def described(self) -> dict[str, Any]:
        """The table as GetTableMetadata tells of it.

        Source: https://docs.aws.amazon.com/athena/latest/ug/datastores-hive-cli.html
        """
        columns = [{"Name": name, "Type": _hive(kind)} for name, kind in self.columns.items()]
        return {
            "Name": self.name,
            "TableType": "EXTERNAL_TABLE",
            "Columns": columns,
            "PartitionKeys": [{"Name": one.column, "Type": "string"} for one in self.projections],
            "Parameters": {
                "EXTERNAL": "TRUE",
                "inputformat": INPUT_FORMAT,
                "location": self.location,
                "outputformat": OUTPUT_FORMAT,
                "serde.serialization.lib": self.serde,
                **self.properties,
            },
        }

    def _path(self) -> str:
        """The path in the bucket, partition columns as ``${NAME}``, with a slash at its end."""
        path = self.template.removeprefix(f"s3://{self.bucket}").strip("/")
        return f"{path}/" if path else ""


def _hive(kind: exp.DataType) -> str:
    """A type as Hive writes it: ``struct<type:string>``."""
    return kind.sql(dialect="hive").lower().replace(" ", "")


def table_of(create: exp.Create) -> Table:
    """The table that a CREATE EXTERNAL TABLE statement makes.

    Raises AwsError: InvalidRequestException for what is missing, NotImplemented for other formats
    and other kinds of partitions.
    """
    from sqlglot import exp

    found = list(create.args["properties"].expressions) if create.args.get("properties") else []

    def first(kind: type[exp.Expr]) -> exp.Expr | None:
        return next((one for one in found if isinstance(one, kind)), None)

    if first(exp.ExternalProperty) is None or not isinstance(create.this, exp.Schema):
        raise not_imitated("CREATE TABLE other than CREATE EXTERNAL TABLE with columns")
    given = {one.name: one.text("value") for one in found if type(one) is exp.Property}
    serde, format_ = first(exp.RowFormatSerdeProperty), first(exp.FileFormatProperty)
    named = format_.this.args.get("input_format") if format_ is not None else None
    if serde is None or serde.name not in SERDES or named is None or named.name != INPUT_FORMAT:
        raise not_imitated(f"a table that is not of {SERDES[0]} and {INPUT_FORMAT}")
    location = first(exp.LocationProperty)
    if location is None or not location.name.startswith("s3://"):
        raise errors.invalid("FAILED: ParseException: LOCATION 's3://…' is missing")
    partitioned = first(exp.PartitionedByProperty)
    parts = (
        [] if partitioned is None else [one.name.lower() for one in partitioned.this.expressions]
    )
    if parts and given.get("projection.enabled") != "true":
        raise not_imitated("partitions that are not projected (projection.enabled)")
    place = location.name
    if not place.endswith("/"):
        place += "/"
    template = given.get("storage.location.template")
    if template is None:
        template = place + "".join(f"{name}=${{{name}}}/" for name in parts)
    for name in parts:
        if f"${{{name}}}" not in template:
            raise errors.invalid(f"storage.location.template has no ${{{name}}}")
    columns = {one.name.lower(): one.kind for one in create.this.expressions}
    return Table(
        create.this.this.name.lower(),
        columns,
        [_projection(name, given) for name in parts],
        location.name,
        template,
        given,
        serde.name,
    )


def _projection(name: str, given: Mapping[str, str]) -> Projection:
    def value(what: str) -> str:
        found = given.get(f"projection.{name}.{what}")
        if found is None:
            raise errors.invalid(f"projection.{name}.{what} is missing")
        return found

    kind = value("type")
    if kind == "enum":
        return Projection(name, frozenset(one.strip() for one in value("values").split(",")))
    if kind != "date" or value("format") not in _FORMATS:
        raise not_imitated(f"projection.{name}: other than enum, and date as {', '.join(_FORMATS)}")
    unit = given.get(f"projection.{name}.interval.unit", "DAYS")
    if unit != "DAYS" or given.get(f"projection.{name}.interval", "1") != "1":
        raise not_imitated(f"projection.{name}: other intervals than one day")
    bounds = [bound.strip().upper() for bound in value("range").split(",")]
    made = Projection(name, None, _FORMATS[value("format")], bounds[0], bounds[-1])
    for bound in bounds:
        try:
            made.bound(bound, datetime(2000, 1, 1))
        except ValueError:
            raise not_imitated(f"projection.{name}.range: {bound}") from None
    if len(bounds) != 2:
        raise errors.invalid(f"projection.{name}.range: two times, with a comma between them")
    return made
