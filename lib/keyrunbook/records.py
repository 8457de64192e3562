"""CloudTrail records as plain values.

Every source (LookupEvents, log files, Athena) yields the same `Record`. Parsing guesses nothing: a
field that the record does not have is None, a field that has a form CloudTrail does not document
makes the record malformed, and a malformed record is an error with its place, never skipped.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
Source: https://docs.aws.amazon.com/kms/latest/developerguide/logging-using-cloudtrail.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

KMS: Final = "kms.amazonaws.com"
IMAGE_BUILDER: Final = "imagebuilder.amazonaws.com"

_VERSION = re.compile(r"(\d+)\.(\d+)")
_KNOWN_MAJOR: Final = "1"
_DRY_RUN_ERROR: Final = "DryRunOperationException"


class MalformedRecord(ValueError):
    """A record that cannot be read as CloudTrail documents it.

    `place` says where it came from (file and position, or event id) and which field it is;
    `reason` what is wrong there.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.place = place
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Record:
    """One CloudTrail record. `time` is aware, in UTC, and whole seconds as CloudTrail writes it.

    `account` is recipientAccountId: the account whose trail the record is in. `dry_run` is True
    also where the record's word for it is not a plain false. `corrects` is the event id of a record
    that had missing or wrong values, for which this one stands in (``addendum``). Two records are
    equal when all that is read from them is; `raw`, the whole record, is not compared.
    """

    event_id: str
    time: datetime
    name: str
    source: str
    account: str | None
    region: str
    error_code: str | None
    error_message: str | None
    invoked_by: str | None
    principal_arn: str | None
    issuer_arn: str | None
    key_arns: tuple[str, ...]
    encryption_context: Mapping[str, str] | None = field(hash=False)
    request_parameters: Mapping[str, Any] | None = field(hash=False)
    key_id_as_passed: str | None
    dry_run: bool
    read_only: bool | None
    request_id: str | None
    corrects: str | None
    raw: Mapping[str, Any] = field(compare=False, repr=False)

    @property
    def failed(self) -> bool:
        """Whether AWS refused the call or could not serve it."""
        return self.error_code is not None or self.error_message is not None

    @property
    def caller(self) -> str | None:
        """Who called, for comparing with permitted principals: a session's role, else itself."""
        return self.issuer_arn if self.issuer_arn is not None else self.principal_arn


def order(record: Record) -> tuple[datetime, str]:
    """What records are sorted by: when the call was, then their ids."""
    return record.time, record.event_id


def by_event_id(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The records by their ids, each once; several where they say different things under one id."""
    found: dict[str, list[Record]] = {}
    for record in records:
        same_id = found.setdefault(record.event_id, [])
        if record not in same_id:
            same_id.append(record)
    return found


def distinct(records: Iterable[Record]) -> list[Record]:
    """Each record once, oldest first; all are kept that share an id and say different things."""
    return sorted((one for same in by_event_id(records).values() for one in same), key=order)


def parse_record(raw: str | Mapping[str, Any], place: str = "record") -> Record:
    """Read one record, given as a mapping or as JSON text.

    `place` is where it came from, for the error. The major part of eventVersion must be one that
    is known; any minor version is read, since minor versions only add fields.

    Raises:
        MalformedRecord: not JSON, a key given twice, a required field missing, a field of another
            type than documented, or an unknown major version.
    """
    document = _from_json(raw, place) if isinstance(raw, str) else raw
    if not isinstance(document, Mapping):
        raise MalformedRecord(place, f"a record is an object, not {_kind(document)}")
    event_id = document.get("eventID")
    if isinstance(event_id, str) and event_id:
        place = f"{place} (eventID {event_id})"
    fields = _Fields(document, place)
    _check_version(fields)
    if not event_id:
        fields.refuse("eventID", "is missing or empty")
    source = fields.required_text("eventSource")
    identity = fields.mapping("userIdentity") or _Fields({}, place)
    session = identity.mapping("sessionContext")
    issuer = session.mapping("sessionIssuer") if session is not None else None
    request = fields.mapping("requestParameters")
    addendum = fields.mapping("addendum")
    error_code = fields.text("errorCode")
    return Record(
        event_id=fields.required_text("eventID"),
        time=_time(fields),
        name=fields.required_text("eventName"),
        source=source,
        account=fields.text("recipientAccountId"),
        region=fields.required_text("awsRegion"),
        error_code=error_code,
        error_message=fields.text("errorMessage"),
        invoked_by=identity.text("invokedBy"),
        principal_arn=identity.text("arn"),
        issuer_arn=issuer.text("arn") if issuer is not None else None,
        key_arns=_key_arns(fields),
        encryption_context=_encryption_context(request, strict=source == KMS),
        request_parameters=request.document if request is not None else None,
        key_id_as_passed=_key_id(request, strict=source == KMS),
        dry_run=error_code == _DRY_RUN_ERROR or _asks_for_dry_run(request),
        read_only=fields.boolean("readOnly"),
        request_id=fields.text("requestID"),
        corrects=addendum.text("originalEventID") if addendum is not None else None,
        raw=document,
    )


@dataclass(frozen=True, slots=True)
class _Fields:
    """Typed reading of an object of the record; `path` is its place within the record."""

    document: Mapping[str, Any]
    place: str
    path: str = ""

    def refuse(self, name: str, reason: str) -> NoReturn:
        raise MalformedRecord(f"{self.place}: {self.path}{name}", reason)

    def text(self, name: str) -> str | None:
        value = self.document.get(name)
        if value is not None and not isinstance(value, str):
            self.refuse(name, f"is {_kind(value)}, not a string")
        return value

    def required_text(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            self.refuse(name, "is missing")
        return value

    def boolean(self, name: str) -> bool | None:
        value = self.document.get(name)
        if value is not None and not isinstance(value, bool):
            self.refuse(name, f"is {_kind(value)}, not true or false")
        return value

    def mapping(self, name: str) -> _Fields | None:
        value = self.document.get(name)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.refuse(name, f"is {_kind(value)}, not an object")
        return _Fields(value, self.place, f"{self.path}{name}.")


def _from_json(text: str, place: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # Parsers differ on which of two equal keys counts, so such a record says two things.
        document = dict(pairs)
        if len(document) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise MalformedRecord(place, f"the key {twice!r} is given twice in one object")
        return document

    def no_constant(word: str) -> NoReturn:
        raise MalformedRecord(place, f"{word} is not JSON")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=no_constant)
    except MalformedRecord:
        raise
    except ValueError as error:  # a number of thousands of digits too, which int refuses
        raise MalformedRecord(place, f"not JSON: {error}") from error
    except RecursionError as error:
        raise MalformedRecord(place, "nested too deeply") from error


def _check_version(fields: _Fields) -> None:
    version = fields.required_text("eventVersion")
    match = _VERSION.fullmatch(version)
    if match is None:
        fields.refuse("eventVersion", f"{version!r} is not a version like 1.11")
    if match[1] != _KNOWN_MAJOR:
        fields.refuse("eventVersion", f"{version} is of an unknown major version, not 1")


def _time(fields: _Fields) -> datetime:
    text = fields.required_text("eventTime")
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            fields.refuse("eventTime", f"{text!r} names no time zone")
        return time.astimezone(UTC)
    except MalformedRecord:
        raise
    except (ValueError, OverflowError):
        fields.refuse("eventTime", f"{text!r} is not a time like 2023-11-21T20:31:03Z")


def _key_arns(fields: _Fields) -> tuple[str, ...]:
    resources = fields.document.get("resources")
    if resources is None:
        return ()
    if not isinstance(resources, list | tuple):
        fields.refuse("resources", f"is {_kind(resources)}, not a list")
    arns = []
    for index, resource in enumerate(resources):
        if not isinstance(resource, Mapping):
            fields.refuse(f"resources[{index}]", f"is {_kind(resource)}, not an object")
        item = _Fields(resource, fields.place, f"resources[{index}].")
        if item.text("type") == "AWS::KMS::Key":
            arn = item.text("ARN")
            if arn is None:
                item.refuse("ARN", "is missing")
            arns.append(arn)
    return tuple(arns)


def _encryption_context(request: _Fields | None, *, strict: bool) -> Mapping[str, str] | None:
    """KMS's context is strings by strings; another service may mean something else by the name."""
    if request is None:
        return None
    context = request.document.get("encryptionContext")
    if context is None:
        return None
    good = isinstance(context, Mapping) and all(
        isinstance(key, str) and isinstance(value, str) for key, value in context.items()
    )
    if good:
        return dict(context)
    if strict:
        request.refuse("encryptionContext", "is not an object of strings")
    return None


def _key_id(request: _Fields | None, *, strict: bool) -> str | None:
    if request is None:
        return None
    if strict:
        return request.text("keyId")
    key_id = request.document.get("keyId")
    return key_id if isinstance(key_id, str) else None


def _asks_for_dry_run(request: _Fields | None) -> bool:
    # How a record says it is not documented: whatever is not plainly "no" is taken for a dry run.
    if request is None:
        return False
    return any(
        value not in (None, False, "false", "False")
        for name, value in request.document.items()
        if isinstance(name, str) and name.lower() == "dryrun"
    )


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case Mapping():
            return "an object"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(value).__name__}"
