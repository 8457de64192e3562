"""Records of log files as rows of a table: names in any letter case, what is nested as declared.

A column that is declared STRING holds the JSON text of what is not a string, as CloudTrail's
``requestparameters`` does.
Source: https://docs.aws.amazon.com/athena/latest/ug/cloudtrail-logs.html
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from awssandbox.athena.errors import Failed

if TYPE_CHECKING:
    from sqlglot import exp


def records(key: str, body: bytes) -> list[Mapping[str, Any]]:
    """The records of a log file.

    Raises Failed for what is none.
    """
    try:
        content = gzip.decompress(body) if key.endswith(".gz") else body
        found = json.loads(content)["Records"]
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise Failed(f"HIVE_BAD_DATA: {key} is no log file of CloudTrail: {error}") from error
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Failed(f"HIVE_BAD_DATA: Records of {key} is no list of records")
    return found


def row(record: Mapping[str, Any], columns: Mapping[str, exp.DataType]) -> dict[str, Any]:
    """A record's values of a table's columns.

    Raises Failed for a value that is not of its column's type.
    """
    return dict(_members(record, columns.items()))


def _members(value: Mapping[str, Any], types: Any) -> Iterator[tuple[str, Any]]:
    lower = {name.lower(): inner for name, inner in value.items()}
    for name, kind in types:
        yield name, _fitted(lower.get(name), kind, name)


def _fitted(value: Any, kind: exp.DataType, name: str) -> Any:
    from sqlglot import exp

    if value is None:
        return None
    if kind.is_type(exp.DataType.Type.TEXT, exp.DataType.Type.VARCHAR):
        return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    if kind.is_type(exp.DataType.Type.STRUCT):
        if not isinstance(value, dict):
            raise Failed(f"HIVE_BAD_DATA: {name} is no struct")
        return dict(_members(value, [(one.name.lower(), one.kind) for one in kind.expressions]))
    if kind.is_type(exp.DataType.Type.ARRAY, exp.DataType.Type.LIST):
        if not isinstance(value, list):
            raise Failed(f"HIVE_BAD_DATA: {name} is no array")
        return [_fitted(one, kind.expressions[0], name) for one in value]
    if kind.is_type(exp.DataType.Type.MAP):
        if not isinstance(value, dict):
            raise Failed(f"HIVE_BAD_DATA: {name} is no map")
        return {key: _fitted(one, kind.expressions[1], name) for key, one in value.items()}
    return value
