"""S3's protocol, by the other side's own code: botocore writes requests, and reads our answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import pytest
from awssandbox import protocol, services
from awssandbox.errors import AwsError
from awssandbox.protocol import HttpRequest
from botocore.awsrequest import HeadersDict, create_request_object, prepare_request_dict
from botocore.model import OperationModel, Shape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

S3 = services.model("s3")
SERVED = sorted(services.service("s3").operations)
TWINS = {
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "GetBucketNotification": "GetBucketNotificationConfiguration",
    "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
    "PutBucketNotification": "PutBucketNotificationConfiguration",
    "ListDirectoryBuckets": "ListBuckets",
    "ListObjectAnnotations": "GetObjectAnnotation",
}
"""Operations whose requests look the same; none of the first is served."""


def sent(model: OperationModel, parameters: Mapping[str, Any]) -> HttpRequest:
    """A request as botocore writes it."""
    serializer = create_serializer("rest-xml", False)
    request = serializer.serialize_to_request(dict(parameters), model)
    prepare_request_dict(request, "https://127.0.0.1")
    prepared = create_request_object(request).prepare()
    url, body = urlsplit(prepared.url), prepared.body or b""
    return HttpRequest(
        prepared.method,
        url.path,
        url.query,
        {name.lower(): str(value) for name, value in prepared.headers.items()},
        body.encode() if isinstance(body, str) else bytes(body),
    )


def sample(shape: Shape | None, everything: bool, plain: bool = False) -> Any:
    """One valid value of a shape; `plain` text where it goes in a header."""
    if shape is None:
        return {}
    kind, limits = shape.type_name, shape.metadata
    if kind == "structure":
        chosen = shape.members if everything else limits.get("required", ())
        return {
            name: sample(
                shape.members[name], everything, "location" in shape.members[name].serialization
            )
            for name in chosen
        }
    if kind == "list":
        return [sample(shape.member, everything, plain)]
    if kind == "map":
        return {"by-whom": "me & you"}
    if kind == "string":
        return limits["enum"][0] if limits.get("enum") else "a/b" if plain else " ä<&>\n😀"
    if kind in ("integer", "long"):
        return limits.get("max", 7)
    simple = {"blob": b"\x00\xff", "boolean": True}
    return simple.get(kind, datetime(2026, 1, 31, 9, 0, 1, tzinfo=UTC))


@pytest.mark.parametrize("name", sorted({*S3.operation_names} - {"WriteGetObjectResponse"}))
def test_a_request_finds_its_operation(name: str) -> None:
    """Of all operations of S3's model: one that is not served must not be taken for another."""
    model = S3.operation_model(name)
    request = sent(model, sample(model.input_shape, False))
    found = protocol.operation_of(S3, request).name
    assert found == name or {found, name} in [set(pair) for pair in TWINS.items()]
    assert found == name or name not in SERVED


@pytest.mark.parametrize("everything", [True, False])
@pytest.mark.parametrize("name", sorted({*SERVED} - {"GetBucketLocation"}))
def test_each_served_operation_both_ways(name: str, everything: bool) -> None:
    model = S3.operation_model(name)
    asked = sample(model.input_shape, everything)
    asked |= {"Bucket": "documents"} if "Bucket" in asked else {}
    request = sent(model, asked)
    if name == "PutObject":  # an object without a body is an empty one
        asked |= {"Body": asked.get("Body", b""), "ContentLength": asked.get("ContentLength", 0)}
    assert protocol.parameters_of(model, request) == asked
    output = sample(model.output_shape, everything)
    answer = protocol.answer(model, output, "the-id")
    body = BytesIO(answer.body) if model.has_streaming_output else answer.body
    parsed = create_parser("rest-xml").parse(
        {"status_code": answer.status, "headers": HeadersDict(answer.headers), "body": body},
        model.output_shape,
    )
    assert parsed.pop("ResponseMetadata")["RequestId"] == "the-id"
    if model.has_streaming_output:
        parsed["Body"] = parsed["Body"].read()
    assert {key: value for key, value in parsed.items() if value or key in output} == output


@pytest.mark.parametrize(
    ("path", "query", "name"),
    [
        ("/", "", "ListBuckets"),
        ("/b", "list-type=2", "ListObjectsV2"),
        ("/b/", "list-type=2", "ListObjectsV2"),
        ("/b", "", "ListObjects"),
        ("/b", "list-type=3", "ListObjects"),
        ("/b/k", "", "GetObject"),
        ("/b/k/", "", "GetObject"),
        ("/b//", "", "GetObject"),
        ("/b/k", "x-id=GetObject", "GetObject"),
        ("/b/k", "acl", "GetObjectAcl"),
    ],
)
def test_a_path_and_a_query_that_name_an_operation(path: str, query: str, name: str) -> None:
    request = HttpRequest("GET", path, query, {"host": "127.0.0.1:4000"}, b"")
    assert protocol.operation_of(S3, request).name == name


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("documents.localhost:4000", "NotImplemented"),
        ("documents.s3.amazonaws.com", "NotImplemented"),
        ("localhost:4000", None),
        ("[::1]:4000", None),
        ("s3.us-west-2.amazonaws.com", None),
    ],
)
def test_a_bucket_in_the_host_s_name_is_refused(host: str, code: str | None) -> None:
    request = HttpRequest("GET", "/k", "", {"host": host}, b"")
    if code is None:
        assert protocol.operation_of(S3, request).name == "ListObjects"
        return
    with pytest.raises(AwsError, match="addressing_style") as refused:
        protocol.operation_of(S3, request)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "body", [b"<a>", b"text", b'<!DOCTYPE a [<!ENTITY b "c">]><CreateBucketConfiguration/>']
)
def test_a_document_that_is_not_one_is_malformed(body: bytes) -> None:
    model = S3.operation_model("CreateBucket")
    with pytest.raises(AwsError) as refused:
        protocol.parameters_of(model, HttpRequest("PUT", "/b", "", {}, body))
    assert refused.value.code == "MalformedXML"
