"""The rest-xml protocol from the server's side, as Amazon S3 speaks it.

Buckets are named in the path (``/bucket/key``), never in the host's name. Many operations share a
method and a path; what a request has in its query string and headers tells them apart.

Source: https://smithy.io/2.0/aws/protocols/aws-restxml-protocol.html and
https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree

from botocore.model import OperationModel, ServiceModel, Shape

from awssandbox.errors import AwsError, not_imitated
from awssandbox.protocol import HttpRequest, HttpResponse, from_text, to_text, xml_members

_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_ROOTS: Final[Mapping[str, str]] = {
    "ListBuckets": "ListAllMyBucketsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
}
"""The root elements of answers; the model has none."""
_UNWRAPPED: Final = frozenset({"GetBucketLocation"})
"""Operations whose one member is the root element itself."""


@dataclass(frozen=True, slots=True)
class _Route:
    """How requests for an operation look. `query` and `headers` are those that must be there."""

    name: str
    method: str
    path: re.Pattern[str]
    query: Mapping[str, str | None]
    headers: frozenset[str]

    def fits(self, request: HttpRequest, query: Mapping[str, list[str]]) -> bool:
        return (
            self.method == request.method
            and self.path.fullmatch(_path(request)) is not None
            and all(
                name in query and value in (None, query[name][0])
                for name, value in self.query.items()
            )
            and self.headers <= request.headers.keys()
        )


def operation_of(model: ServiceModel, request: HttpRequest) -> OperationModel:
    """The operation that a request is for: of those that fit it, the one that asks for most.

    Raises AwsError: NotImplemented for a bucket in the host's name, MethodNotAllowed where no
    operation fits.
    """
    _check_host(request.headers.get("host", ""))
    query = parse_qs(request.query, keep_blank_values=True)
    fitting = [route for route in _routes(model) if route.fits(request, query)]
    if not fitting:
        raise AwsError(
            "MethodNotAllowed", "The specified method is not allowed against this resource.", 405
        )
    best = max(fitting, key=lambda route: len(route.query) + len(route.headers))
    return model.operation_model(best.name)


def _check_host(host: str) -> None:
    """A bucket in the host's name would be taken for a part of the key."""
    name = re.sub(r":\d+$", "", host).strip("[]")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        if name not in ("", "localhost") and not name.startswith("s3."):
            raise not_imitated(
                f"buckets in a host's name ({name}): set addressing_style to path"
            ) from None


@cache
def _routes(model: ServiceModel) -> list[_Route]:
    found = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        path, _, fixed = operation.http["requestUri"].partition("?")
        query: dict[str, str | None] = {}
        for part in filter(None, fixed.split("&")):
            key, _, value = part.partition("=")
            query[key] = value or None
        headers = set()
        shape = operation.input_shape
        for member in shape.metadata.get("required", ()) if shape is not None else ():
            where = shape.members[member].serialization
            if where.get("location") == "querystring":
                query.setdefault(where["name"], None)
            elif where.get("location") == "header":
                headers.add(where["name"].lower())
        pattern = re.escape(path).replace(r"\{Bucket\}", "(?P<Bucket>[^/]+)")
        pattern = pattern.replace(r"\{Key\+\}", "(?P<Key>.+)")
        method = operation.http["method"]
        found.append(_Route(name, method, re.compile(pattern), query, frozenset(headers)))
    return found


def _path(request: HttpRequest) -> str:
    """The path; ``/bucket/`` is the bucket."""
    path = request.path
    return path[:-1] if re.fullmatch(r"/[^/]+/", path) else path


# Parameters --------------------------------------------------------------------------------------


def parameters_of(operation: OperationModel, request: HttpRequest) -> dict[str, Any]:
    """A request's parameters by their names in the model.

    Raises AwsError: MalformedXML, or SerializationException for a value that is not of its type.
    """
    shape = operation.input_shape
    if shape is None:
        return {}
    query = parse_qs(request.query, keep_blank_values=True)
    (route,) = (one for one in _routes(operation.service_model) if one.name == operation.name)
    match = route.path.fullmatch(_path(request))
    labels = match.groupdict() if match else {}
    payload = shape.serialization.get("payload")
    out: dict[str, Any] = {}
    for name, member in shape.members.items():
        where = member.serialization.get("location")
        wire = member.serialization.get("name", name)
        if where == "uri" and wire in labels:
            out[name] = unquote(labels[wire])
        elif where == "querystring" and wire in query:
            values = query[wire]
            if member.type_name == "list":
                out[name] = [from_text(member.member, text, name) for text in values]
            else:
                out[name] = from_text(member, values[0], name)
        elif where == "header" and wire.lower() in request.headers:
            text = request.headers[wire.lower()]
            if member.type_name == "list":
                out[name] = [from_text(member.member, one, name) for one in text.split(",")]
            elif text or member.type_name == "string":
                out[name] = from_text(member, text, name)
        elif where == "headers":
            begins = wire.lower()
            given = {
                header[len(begins) :]: value
                for header, value in request.headers.items()
                if header.startswith(begins)
            }
            out |= {name: given} if given else {}
        elif name == payload:
            out |= _payload(member, name, request.body)
    return out


def _payload(shape: Shape, name: str, body: bytes) -> dict[str, Any]:
    if shape.type_name == "blob":
        return {name: body}
    if shape.type_name == "string":
        try:
            return {name: body.decode()}
        except UnicodeDecodeError:
            raise _malformed() from None
    return {name: _from_xml(shape, _parsed(body))} if body else {}


def _malformed() -> AwsError:
    return AwsError(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )


def _parsed(body: bytes) -> ElementTree.Element:
    """A body's root element; one that declares entities is not parsed at all."""
    if b"<!" in body:
        raise _malformed()
    try:
        return ElementTree.fromstring(body)
    except ElementTree.ParseError:
        raise _malformed() from None


def _from_xml(shape: Shape, element: ElementTree.Element) -> Any:
    if shape.type_name == "structure":
        children: dict[str, list[ElementTree.Element]] = {}
        for child in element:
            children.setdefault(child.tag.rpartition("}")[2], []).append(child)
        out = {}
        for name, member in shape.members.items():
            found = children.get(member.serialization.get("name", name))
            if found and member.serialization.get("flattened"):
                out[name] = [_from_xml(member.member, one) for one in found]
            elif found:
                out[name] = _from_xml(member, found[-1])
        return out
    if shape.type_name == "list":
        return [_from_xml(shape.member, child) for child in element]
    if shape.type_name == "map":
        raise not_imitated(f"maps in S3's requests ({element.tag.rpartition('}')[2]})")
    return from_text(shape, element.text or "", shape.name)


# Answers -----------------------------------------------------------------------------------------


_DECLARED = '<?xml version="1.0" encoding="UTF-8"?>\n'


def answer(operation: OperationModel, output: Mapping[str, Any], request_id: str) -> HttpResponse:
    """An operation's output on the wire: headers, and a document, a blob or nothing."""
    # 206: the one status that depends on the output, of a part of an object.
    status = 206 if "ContentRange" in output else int(operation.http.get("responseCode", 200))
    headers = {"x-amz-request-id": request_id}
    shape = operation.output_shape
    if shape is None:
        return HttpResponse(status, headers, b"")
    payload = shape.serialization.get("payload")
    inside: dict[str, Any] = {}
    body: bytes | None = None
    for name, value in output.items():
        member = shape.members[name]
        where = member.serialization.get("location")
        wire = member.serialization.get("name", name)
        if where == "header":
            headers[wire] = to_text(member, value, "rfc822")
        elif where == "headers":
            headers |= {f"{wire}{key}": text for key, text in value.items()}
        elif name == payload and member.type_name == "structure":
            text = f'<{wire} xmlns="{_NAMESPACE}">{xml_members(member, value)}</{wire}>'
            body = (_DECLARED + text).encode()
            headers["Content-Type"] = "application/xml"
        elif name == payload:
            body = value.encode() if isinstance(value, str) else bytes(value)
        else:
            inside[name] = value
    if body is None:
        body = _document(operation, shape, inside) if _has_document(shape) else b""
        if body:
            headers["Content-Type"] = "application/xml"
    return HttpResponse(status, headers, body)


def _has_document(shape: Shape) -> bool:
    members = shape.members.values()
    placed = any("location" not in member.serialization for member in members)
    return placed and "payload" not in shape.serialization


def _document(operation: OperationModel, shape: Shape, output: Mapping[str, Any]) -> bytes:
    members = xml_members(shape, output)
    if operation.name in _UNWRAPPED:
        (name,) = shape.members
        empty = f'<{name} xmlns="{_NAMESPACE}"/>'
        text = members.replace(f"<{name}>", f'<{name} xmlns="{_NAMESPACE}">') or empty
        return (_DECLARED + text).encode()
    root = _ROOTS[operation.name]
    return f'{_DECLARED}<{root} xmlns="{_NAMESPACE}">{members}</{root}>'.encode()
