"""AWS's wire protocols from the server's side, by its models: json 1.1, rest-json, query and ec2.

rest-xml, which only S3 speaks, is in `awssandbox.rest_xml`, loaded when it is needed.

A request is read in three steps, so that who calls is known before what was sent is judged:
`operation_of` (which operation), `parameters_of` (its parameters, typed), `check` (the model's
constraints). Answers and errors are written by `answer` and `error`.

Source: https://smithy.io/2.0/aws/protocols/index.html
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote
from xml.sax.saxutils import escape

from botocore.exceptions import ParamValidationError
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.utils import parse_timestamp
from botocore.validate import ParamValidator

from awssandbox.errors import AwsError, not_imitated


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it came: `path` and `query` percent-encoded, header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer: the headers without Date and Content-Length."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    error: AwsError | None = field(default=None, compare=False)


def operation_of(model: ServiceModel, request: HttpRequest) -> OperationModel:
    """The operation that a request is for.

    Raises AwsError when the service has no such operation.
    """
    protocol = model.metadata["protocol"]
    if protocol == "json":
        return _json_operation(model, request)
    if protocol in ("query", "ec2"):
        return _query_operation(model, request)
    if protocol == "rest-xml":
        from awssandbox import rest_xml

        return rest_xml.operation_of(model, request)
    return _rest_operation(model, request)


def parameters_of(operation: OperationModel, request: HttpRequest) -> dict[str, Any]:
    """A request's parameters by their names in the model; blobs as bytes, times as datetimes.

    Members that the model does not know are left out, as AWS leaves them out.
    Raises AwsError (SerializationException, MalformedQueryString) when a value is not of its type.
    """
    protocol = operation.service_model.metadata["protocol"]
    if protocol in ("query", "ec2"):
        return _query_parameters(operation, request)
    if protocol == "json":
        return _json_structure(operation.input_shape, _json_body(request.body))
    if protocol == "rest-xml":
        from awssandbox import rest_xml

        return rest_xml.parameters_of(operation, request)
    return _rest_parameters(operation, request)


def check(
    operation: OperationModel, parameters: Mapping[str, Any], *, constraints: bool = True
) -> None:
    """Hold parameters against the model: what is required and, with `constraints`, the limits.

    Raises AwsError: ValidationException (query: ValidationError) with AWS's text.
    Source: https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html
    """
    shape = operation.input_shape
    if shape is None:
        return
    problems = list(_problems(shape, parameters, "", constraints))
    if not problems:
        report = ParamValidator().validate(parameters, shape)
        if constraints and report.has_errors():
            problems = [report.generate_report()]
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
        style = operation.service_model.metadata["protocol"]
        raise AwsError(_INVALID.get(style, "ValidationException"), count + "; ".join(problems))


_INVALID = {"query": "ValidationError", "ec2": "InvalidParameterValue"}
"""The text of EC2's differs; its code depends on what is wrong.

Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
"""


def answer(operation: OperationModel, output: Mapping[str, Any], request_id: str) -> HttpResponse:
    """An operation's output on the wire.

    Raises ParamValidationError when the output is not valid against the model: a fault of the
    sandbox, never of the client.
    """
    shape = operation.output_shape
    if shape is not None:
        report = ParamValidator().validate(output, shape)
        if report.has_errors():
            raise ParamValidationError(report=report.generate_report())
    protocol = operation.service_model.metadata["protocol"]
    if protocol == "query":
        return _query_answer(operation, output, request_id)
    if protocol == "ec2":
        return _ec2_answer(operation, output, request_id)
    if protocol == "json":
        body = b"" if shape is None else _dump(_to_json(shape, output))
        return HttpResponse(200, _json_headers(operation.service_model, request_id), body)
    if protocol == "rest-xml":
        from awssandbox import rest_xml

        return rest_xml.answer(operation, output, request_id)
    return _rest_answer(operation, output, request_id)


def error(protocol: str, refusal: AwsError, request_id: str, namespace: str = "") -> HttpResponse:
    """A refusal on the wire, in the form of `protocol` (also of those that are not served)."""
    if protocol in ("query", "ec2", "rest-xml"):
        sender = "Sender" if refusal.status < 500 else "Receiver"
        more = "".join(f"<{name}>{_escaped(str(v))}</{name}>" for name, v in refusal.fields.items())
        inner = (
            f"<Error><Type>{sender}</Type><Code>{_escaped(refusal.code)}</Code>"
            f"<Message>{_escaped(refusal.message)}</Message>{more}</Error>"
        )
        request = f"<RequestId>{request_id}</RequestId>"
        if protocol == "query":
            text = f'<ErrorResponse xmlns="{namespace}">{inner}{request}</ErrorResponse>'
        elif protocol == "ec2":
            request = request.replace("RequestId", "RequestID")
            text = f"<Response><Errors>{inner}</Errors>{request}</Response>"
        else:
            text = inner.replace("</Error>", f"{request}</Error>")
        headers = {"Content-Type": "text/xml", "x-amzn-RequestId": request_id}
        if protocol == "rest-xml":
            headers = {"Content-Type": "application/xml", "x-amz-request-id": request_id}
        return HttpResponse(refusal.status, headers, text.encode(), refusal)
    if protocol == "smithy-rpc-v2-cbor":
        headers = {"Content-Type": "application/cbor", "x-amzn-RequestId": request_id}
        told = {"__type": refusal.code, "message": refusal.message}
        return HttpResponse(refusal.status, {**headers, **_CBOR}, _cbor(told), refusal)
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "x-amzn-RequestId": request_id,
    }
    body = {**refusal.fields, "message": refusal.message}
    if protocol == "json":
        body = {"__type": refusal.code, **body}
    else:
        headers["Content-Type"] = "application/json"
        headers["x-amzn-ErrorType"] = refusal.code
    return HttpResponse(refusal.status, headers, _dump(body), refusal)


_CBOR = {"smithy-protocol": "rpc-v2-cbor"}


def _cbor(texts: Mapping[str, str]) -> bytes:
    """A map of texts in CBOR: no served service speaks it, but refusals to some clients must.

    Source: https://www.rfc-editor.org/rfc/rfc8949
    """
    out = bytes([0xA0 | len(texts)])
    for text in (each for item in texts.items() for each in item):
        raw = text.encode(errors="replace")
        out += b"\x7a" + len(raw).to_bytes(4, "big") + raw
    return out


# Which operation ---------------------------------------------------------------------------------


def _json_operation(model: ServiceModel, request: HttpRequest) -> OperationModel:
    prefix, _, name = request.headers.get("x-amz-target", "").rpartition(".")
    if prefix != model.metadata["targetPrefix"] or name not in model.operation_names:
        raise AwsError("UnknownOperationException", "")
    return model.operation_model(name)


def _query_operation(model: ServiceModel, request: HttpRequest) -> OperationModel:
    form = _form(request)
    name, version = form.get("Action", ""), form.get("Version", "")
    if name not in model.operation_names or version != model.api_version:
        raise AwsError("InvalidAction", f"Could not find operation {name} for version {version}")
    return model.operation_model(name)


def _rest_operation(model: ServiceModel, request: HttpRequest) -> OperationModel:
    for name, method, pattern in _routes(model):
        if method == request.method and pattern.fullmatch(request.path):
            return model.operation_model(name)
    raise AwsError(
        "UnknownOperationException", f"There is no operation {request.method} {request.path}.", 404
    )


@cache
def _routes(model: ServiceModel) -> list[tuple[str, str, re.Pattern[str]]]:
    """Each operation's method and path; those with fewer labels first."""
    routes = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        routes.append((name, http["method"], _path_pattern(http["requestUri"])))
    return sorted(routes, key=lambda route: route[2].groups)


@cache
def _path_pattern(template: str) -> re.Pattern[str]:
    path = template.partition("?")[0]
    parts = re.split(r"\{(\w+)(\+?)\}", path)
    out = re.escape(parts[0])
    for label, greedy, literal in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        out += f"(?P<{label}>{'.+' if greedy else '[^/]+'})" + re.escape(literal)
    return re.compile(out)


# Parameters --------------------------------------------------------------------------------------


def _serialization_error(text: str) -> AwsError:
    return AwsError("SerializationException", text)


def _json_body(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise _serialization_error("The request body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise _serialization_error("The request body is not a JSON object.")
    return value


def _json_structure(shape: Shape | None, value: Mapping[str, Any]) -> dict[str, Any]:
    if shape is None:
        return {}
    out = {}
    for name, member in shape.members.items():
        wire = value.get(member.serialization.get("name", name))
        if wire is not None:
            out[name] = _from_json(member, wire, name)
    return out


def _from_json(shape: Shape, value: Any, name: str) -> Any:
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        return _json_structure(shape, value)
    if kind == "list" and isinstance(value, list):
        return [_from_json(shape.member, item, name) for item in value if item is not None]
    if kind == "map" and isinstance(value, dict):
        return {
            _whole(key, name): _from_json(shape.value, item, name)
            for key, item in value.items()
            if item is not None
        }
    if kind == "string" and isinstance(value, str):
        return _whole(value, name)
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind in ("integer", "long") and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind in ("float", "double") and isinstance(value, (int, float)):
        return float(value)
    if kind == "blob" and isinstance(value, str):
        return _from_base64(value, name)
    if kind == "timestamp" and isinstance(value, (int, float, str)) and value is not True:
        return _from_timestamp(value, name)
    raise _serialization_error(f"The value of {name} is not of the type {kind}.")


def _whole(text: str, name: str) -> str:
    """A text of JSON, which may hold half a character (``\\ud800``) that no encoding has."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _serialization_error(f"The value of {name} is not valid Unicode.")
    return text


def _from_base64(value: str, name: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise _serialization_error(f"The value of {name} is not valid base64.") from None


def _from_timestamp(value: int | float | str, name: str) -> datetime:
    try:
        moment: datetime = parse_timestamp(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError, RuntimeError):  # RuntimeError: botocore's own
        raise _serialization_error(f"The value of {name} is not a timestamp.") from None


def from_text(shape: Shape, value: str, name: str) -> Any:
    """A value that came as text: in a form, a path, a query string or a header.

    Raises AwsError: SerializationException.
    """
    kind = shape.type_name
    if kind == "string":
        return value
    if kind == "boolean" and value in ("true", "false"):
        return value == "true"
    if kind in ("integer", "long") and re.fullmatch(r"[+-]?[0-9]{1,18}", value):
        return int(value)
    if kind in ("float", "double"):
        try:
            return float(value)
        except ValueError:
            pass
    if kind == "blob":
        return _from_base64(value, name)
    if kind == "timestamp":
        return _from_timestamp(value, name)
    raise _serialization_error(f"The value of {name} is not of the type {kind}.")


def _rest_parameters(operation: OperationModel, request: HttpRequest) -> dict[str, Any]:
    shape = operation.input_shape
    if shape is None:
        return {}
    match = _path_pattern(operation.http["requestUri"]).fullmatch(request.path)
    labels = match.groupdict() if match else {}
    query = parse_qs(request.query, keep_blank_values=True)
    payload = shape.serialization.get("payload")
    body: dict[str, Any] = {}
    if payload is None:
        body = _json_body(request.body)
    out: dict[str, Any] = {}
    for name, member in shape.members.items():
        where = member.serialization.get("location")
        wire = member.serialization.get("name", name)
        if where == "uri" and wire in labels:
            out[name] = from_text(member, unquote(labels[wire]), name)
        elif where == "querystring" and wire in query:
            if member.type_name == "list":
                out[name] = [from_text(member.member, text, name) for text in query[wire]]
            else:
                out[name] = from_text(member, query[wire][0], name)
        elif where == "header" and wire.lower() in request.headers:
            out[name] = from_text(member, request.headers[wire.lower()], name)
        elif where is None and name == payload:
            if member.type_name == "blob":
                out[name] = request.body
            else:
                out[name] = _from_json(member, _json_body(request.body), name)
        elif where is None and payload is None and body.get(wire) is not None:
            out[name] = _from_json(member, body[wire], name)
    return out


def _form(request: HttpRequest) -> dict[str, str]:
    try:
        text = request.body.decode() if request.method == "POST" else request.query
    except UnicodeDecodeError:
        raise AwsError("MalformedQueryString", "The query string is not valid UTF-8.") from None
    return dict(parse_qsl(text, keep_blank_values=True))


def _query_parameters(operation: OperationModel, request: HttpRequest) -> dict[str, Any]:
    shape = operation.input_shape
    if shape is None:
        return {}
    tree: dict[str, Any] = {}
    for name, value in _form(request).items():
        place = tree
        *parents, last = name.split(".")
        for parent in parents:
            inner = place.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise AwsError("MalformedQueryString", f"{name} is given twice, in two forms.")
            place = inner
        place[last] = value
    parsed = _from_tree(shape, tree, "")
    assert isinstance(parsed, dict)
    return parsed


_INDEX = re.compile(r"[0-9]{1,9}")


def _from_tree(shape: Shape, tree: Any, name: str) -> Any:
    kind = shape.type_name
    if kind not in ("structure", "list", "map"):
        if isinstance(tree, dict):
            raise _serialization_error(f"The value of {name} is not of the type {kind}.")
        return from_text(shape, tree, name)
    if not isinstance(tree, dict):
        if tree == "" and kind == "list":
            return []
        raise _serialization_error(f"The value of {name} is not of the type {kind}.")
    if kind == "structure":
        return {
            member_name: _from_tree(member, tree[wire], member_name)
            for member_name, member in shape.members.items()
            if (wire := member.serialization.get("name", member_name)) in tree
        }
    if kind == "list":
        flat = shape.serialization.get("flattened")
        items = tree if flat else tree.get(shape.member.serialization.get("name", "member"), {})
        if not isinstance(items, dict) or not all(_INDEX.fullmatch(key) for key in items):
            raise _serialization_error(f"The value of {name} is not of the type list.")
        return [_from_tree(shape.member, items[key], name) for key in sorted(items, key=int)]
    raise not_imitated(f"maps in the query protocol ({name})")


# Constraints -------------------------------------------------------------------------------------


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]


def _problems(shape: Shape, value: Any, path: str, constraints: bool) -> Iterator[str]:
    """What is wrong with a value, in the sentences of AWS's validation errors."""
    kind = shape.type_name
    prefix = f"{path}." if path else ""
    if kind == "structure":
        for name in shape.metadata.get("required", ()):
            if name not in value:
                yield (
                    f"Value null at '{prefix}{_lower(name)}' failed to satisfy constraint: "
                    "Member must not be null"
                )
        for name, inner in value.items():
            yield from _problems(shape.members[name], inner, prefix + _lower(name), constraints)
        return
    if constraints:
        for constraint in _broken(shape, value):
            shown = "*****" if shape.metadata.get("sensitive") else _shown(value)
            yield f"Value '{shown}' at '{path}' failed to satisfy constraint: {constraint}"
    if kind == "list":
        for index, item in enumerate(value, 1):
            yield from _problems(shape.member, item, f"{prefix}{index}.member", constraints)
    elif kind == "map":
        for key, item in value.items():
            yield from _problems(shape.key, key, f"{prefix}{key}.key", constraints)
            yield from _problems(shape.value, item, f"{prefix}{key}.value", constraints)


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return "java.nio.HeapByteBuffer"
    return str(value)


def _broken(shape: Shape, value: Any) -> Iterator[str]:
    kind, limits = shape.type_name, shape.metadata
    sized = kind in ("string", "list", "map", "blob")
    size = len(value) if sized else value
    if sized or kind in ("integer", "long", "float", "double"):
        what = "have length" if sized else "have value"
        if "min" in limits and size < limits["min"]:
            yield f"Member must {what} greater than or equal to {limits['min']}"
        if "max" in limits and size > limits["max"]:
            yield f"Member must {what} less than or equal to {limits['max']}"
    if kind != "string":
        return
    enum = limits.get("enum")
    if enum and value not in enum:
        yield f"Member must satisfy enum value set: [{', '.join(enum)}]"
    pattern = limits.get("pattern")
    if pattern and not compiled(pattern).fullmatch(value):
        yield f"Member must satisfy regular expression pattern: {pattern}"


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A model's pattern, which is Java's (``\\w`` and ``\\d`` are ASCII), as one of Python's."""
    flags = re.NOFLAG if "\\p{" in pattern else re.ASCII
    for java, python in (("\\p{L}", "\\w"), ("\\p{Z}", "\\s"), ("\\p{N}", "\\d")):
        pattern = pattern.replace(java, python)
    # The models write what is beyond the first plane as Java does, in two halves.
    wide = pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")
    return re.compile(wide, flags)


# Answers -----------------------------------------------------------------------------------------


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _json_headers(model: ServiceModel, request_id: str) -> dict[str, str]:
    version = model.metadata["jsonVersion"]
    return {"Content-Type": f"application/x-amz-json-{version}", "x-amzn-RequestId": request_id}


def _to_json(shape: Shape, value: Any) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return {
            shape.members[name].serialization.get("name", name): _to_json(
                shape.members[name], inner
            )
            for name, inner in value.items()
        }
    if kind == "list":
        return [_to_json(shape.member, item) for item in value]
    if kind == "map":
        return {key: _to_json(shape.value, item) for key, item in value.items()}
    if kind == "blob":
        raw = value.encode() if isinstance(value, str) else bytes(value)
        return base64.b64encode(raw).decode()
    if kind == "timestamp":
        return to_timestamp(shape, value, "unixTimestamp")
    return value


def to_timestamp(shape: Shape, value: datetime, default: str) -> float | int | str:
    style = shape.serialization.get("timestampFormat", default)
    if style == "unixTimestamp":
        seconds = round(value.timestamp(), 3)
        return int(seconds) if seconds.is_integer() else seconds
    if style == "rfc822":
        return format_datetime(value.astimezone(UTC), usegmt=True)
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _rest_answer(
    operation: OperationModel, output: Mapping[str, Any], request_id: str
) -> HttpResponse:
    status = int(operation.http.get("responseCode", 200))
    headers = {"Content-Type": "application/json", "x-amzn-RequestId": request_id}
    shape = operation.output_shape
    if shape is None:
        return HttpResponse(status, headers, b"")
    payload = shape.serialization.get("payload")
    body = {}
    for name, value in output.items():
        member = shape.members[name]
        where = member.serialization.get("location")
        wire = member.serialization.get("name", name)
        if where == "header":
            headers[wire] = to_text(member, value)
        elif where == "statusCode":
            status = int(value)
        elif name == payload:
            return HttpResponse(status, headers, _dump(_to_json(member, value)))
        else:
            body[wire] = _to_json(member, value)
    return HttpResponse(status, headers, _dump(body))


def to_text(shape: Shape, value: Any, times: str = "iso8601") -> str:
    """A value as text; `times` is the style of timestamps whose shape names none."""
    kind = shape.type_name
    if kind == "timestamp":
        return str(to_timestamp(shape, value, times))
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "blob":
        return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
    return str(value)


def _query_answer(
    operation: OperationModel, output: Mapping[str, Any], request_id: str
) -> HttpResponse:
    name = operation.name
    result = ""
    shape = operation.output_shape
    if shape is not None:
        wrapper = shape.serialization.get("resultWrapper", f"{name}Result")
        result = f"<{wrapper}>{xml_members(shape, output)}</{wrapper}>"
    namespace = operation.service_model.metadata["xmlNamespace"]
    text = (
        f'<{name}Response xmlns="{namespace}">{result}<ResponseMetadata>'
        f"<RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>"
    )
    headers = {"Content-Type": "text/xml", "x-amzn-RequestId": request_id}
    return HttpResponse(200, headers, text.encode())


def _ec2_answer(
    operation: OperationModel, output: Mapping[str, Any], request_id: str
) -> HttpResponse:
    """Of the query protocol without its wrappers; lists are not among what is served."""
    name, shape = operation.name, operation.output_shape
    members = "" if shape is None else xml_members(shape, output)
    namespace = operation.service_model.metadata["xmlNamespace"]
    text = (
        f'<{name}Response xmlns="{namespace}"><requestId>{request_id}</requestId>{members}'
        f"</{name}Response>"
    )
    headers = {"Content-Type": "text/xml", "x-amzn-RequestId": request_id}
    return HttpResponse(200, headers, text.encode())


def xml_members(shape: Shape, value: Mapping[str, Any]) -> str:
    """The elements of a structure's members, without the structure's own."""
    return "".join(
        _xml(shape.members[name], inner, shape.members[name].serialization.get("name", name))
        for name, inner in value.items()
    )


def _xml(shape: Shape, value: Any, tag: str) -> str:
    kind = shape.type_name
    if kind == "structure":
        return f"<{tag}>{xml_members(shape, value)}</{tag}>"
    if kind == "list":
        if shape.serialization.get("flattened"):
            return "".join(_xml(shape.member, item, tag) for item in value)
        inner = shape.member.serialization.get("name", "member")
        return f"<{tag}>{''.join(_xml(shape.member, item, inner) for item in value)}</{tag}>"
    if kind == "map":
        entries = "".join(
            f"<entry>{_xml(shape.key, key, 'key')}{_xml(shape.value, item, 'value')}</entry>"
            for key, item in value.items()
        )
        return f"<{tag}>{entries}</{tag}>"
    return f"<{tag}>{_escaped(to_text(shape, value))}</{tag}>"


_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _escaped(text: str) -> str:
    """A text in XML, which has no place for most control characters and would lose a return."""
    return escape(_NOT_IN_XML.sub("\ufffd", text), {"\r": "&#13;"})
