"""Numbers, points in time, IP addresses and bytes, as condition operators compare them.

None stands for a text that has no documented reading: words as numbers; a date without a time, a
time without a zone, four digits (a year, or seconds); a network whose address has host bits set.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import base64
import ipaddress
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_EPOCH = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d)(?::(\d\d)(\.\d+)?)?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII
)
_START = datetime(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Kind:
    """Values of one kind: how a request's value and a policy's are read, and what they are called.

    `holds` compares the former with the latter.
    """

    noun: str
    read: Callable[[str], Any]
    read_wanted: Callable[[str], Any]
    holds: Callable[[Any, Any], bool]


def number(text: str) -> Decimal | None:
    """An integer or a decimal."""
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def moment(text: str) -> Decimal | None:
    """Seconds since 1970: of a W3C date (ISO 8601) with its time and zone, or written as such."""
    if _EPOCH.fullmatch(text):
        return None if len(text) == 4 else Decimal(text)
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    minutes, seconds, fraction, sign, hours_off, minutes_off = found.groups()
    try:
        since = datetime.strptime(f"{minutes}:{seconds or '00'}", "%Y-%m-%dT%H:%M:%S") - _START
    except ValueError:
        return None
    offset = timedelta(hours=int(hours_off or 0), minutes=int(minutes_off or 0))
    if offset >= timedelta(days=1):
        return None
    since += offset if sign == "-" else -offset
    return since.days * 86_400 + since.seconds + Decimal(f"0{fraction or ''}")


def address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IPv4 or IPv6 address."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """A CIDR range, or one address."""
    _, slash, length = text.partition("/")
    if slash and not length.isdecimal():  # 10.0.0.0/255.0.0.0 is no CIDR notation.
        return None
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def binary(text: str) -> bytes | None:
    """The bytes that a text in base64 stands for."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "LessThan": operator.lt,
    "LessThanEquals": operator.le,
    "GreaterThan": operator.gt,
    "GreaterThanEquals": operator.ge,
}
KINDS: Mapping[str, Kind] = {
    **{f"Numeric{n}": Kind("a number", number, number, f) for n, f in _COMPARISONS.items()},
    **{
        f"Date{n}": Kind("a date with its time", moment, moment, f) for n, f in _COMPARISONS.items()
    },
    "IpAddress": Kind("an IP address", address, network, lambda one, all_: one in all_),
    "BinaryEquals": Kind("base64", binary, binary, operator.eq),
}
"""By operator, but for the negated ones: they are the same, turned round."""
