"""The wire protocols, by the other side's own code: what botocore writes is read, and the reverse.

For every operation that the sandbox serves, any valid output goes through our serialiser and
botocore's parser, any valid input through botocore's serialiser and our parser, and comes out as it
went in. Source: https://smithy.io/2.0/aws/protocols/index.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from awssandbox import pipeline, protocol, services
from awssandbox.call import Caller
from awssandbox.errors import AwsError, not_imitated
from awssandbox.protocol import HttpRequest
from awssandbox.world import World
from botocore.awsrequest import HeadersDict, create_request_object, prepare_request_dict
from botocore.model import OperationModel, Shape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from iamaccess import Principal
from served import ACCOUNT, REGION

SERVICES = [name for name, style in services.PROTOCOLS.items() if style != "rest-xml"]
"""But for S3, whose values go in headers, where not every text can: see test_rest_xml.py."""
SERVED = [
    (name, operation)
    for name in SERVICES
    for operation in sorted(services.service(name).operations)
]
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]) | st.sampled_from("\n\t\r"),
    max_size=12,
)
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)


def values(shape: Shape, depth: int = 0) -> st.SearchStrategy[Any]:
    """Any value of a shape that botocore takes for valid."""
    kind, limits = shape.type_name, shape.metadata
    low = limits.get("min", 0)
    if kind == "structure":
        return structures(shape, depth)
    if kind == "list":
        size = {"min_size": low, "max_size": max(low, 2)}
        return st.lists(values(shape.member, depth + 1), **size)
    if kind == "map":
        return st.dictionaries(text(shape.key), values(shape.value, depth + 1), max_size=2)
    if kind == "string":
        return text(shape)
    if kind == "blob":
        return st.binary(min_size=low, max_size=max(low, 20))
    if kind == "boolean":
        return st.booleans()
    if kind in ("integer", "long"):
        return st.integers(limits.get("min", -(2**31)), limits.get("max", 2**31 - 1))
    if kind in ("float", "double"):
        return st.floats(allow_nan=False, allow_infinity=False)
    assert kind == "timestamp", kind
    return TIMES


def text(shape: Shape) -> st.SearchStrategy[str]:
    """A text of at least the length that the shape asks for."""
    low = shape.metadata.get("min", 0)
    enum = shape.metadata.get("enum")
    return st.sampled_from(enum) if enum else TEXT.map(lambda value: value.ljust(low, "x"))


@cache
def structures(shape: Shape, depth: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """A structure with what it requires, and some of the rest; less of it further down."""
    required = set(shape.metadata.get("required", ()))
    members = {
        name: values(member, depth + 1).filter(bool)  # a path has no place for an empty one
        if member.serialization.get("location") == "uri"
        else values(member, depth + 1)
        for name, member in shape.members.items()
        if name in required or depth < 4
    }
    return st.fixed_dictionaries(
        {name: value for name, value in members.items() if name in required},
        optional={name: value for name, value in members.items() if name not in required},
    )


def operation(service: str, name: str) -> OperationModel:
    return services.model(service).operation_model(name)


def in_utc(value: Any) -> Any:
    """A parsed value with its times in UTC, as the generated ones are."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, dict):
        return {key: in_utc(inner) for key, inner in value.items()}
    return [in_utc(item) for item in value] if isinstance(value, list) else value


def sent(model: OperationModel, parameters: Mapping[str, Any]) -> HttpRequest:
    """A request as botocore writes it."""
    serializer = create_serializer(model.service_model.metadata["protocol"], False)
    request = serializer.serialize_to_request(dict(parameters), model)
    prepare_request_dict(request, "https://example.com")
    prepared = create_request_object(request).prepare()
    url = urlsplit(prepared.url)
    body = prepared.body or b""
    return HttpRequest(
        prepared.method,
        url.path,
        url.query,
        {name.lower(): str(value) for name, value in prepared.headers.items()},
        body.encode() if isinstance(body, str) else bytes(body),
    )


def sample(shape: Shape | None, everything: bool) -> Any:
    """One valid value of a shape: with all that it may have, or with what it must have alone."""
    if shape is None:
        return {}
    kind, limits = shape.type_name, shape.metadata
    if kind == "structure":
        chosen = shape.members if everything else limits.get("required", ())
        return {name: sample(shape.members[name], everything) for name in chosen}
    if kind == "list":
        return [sample(shape.member, everything)] * max(limits.get("min", 0), int(everything))
    if kind == "map":
        return {"a & b <": sample(shape.value, everything)} if everything else {}
    if kind == "string":
        enum = limits.get("enum")
        return enum[0] if enum else " ä<&>\"'\r\n\t€😀 ".ljust(limits.get("min", 0), "x")
    if kind in ("integer", "long"):
        return limits.get("max", 2**31 - 1)
    simple = {"blob": b"\x00\xff", "boolean": True, "float": 0.5, "double": 0.5}
    return simple.get(kind, datetime(2026, 1, 31, 9, 0, 1, tzinfo=UTC))


def goes_out_and_comes_back(model: OperationModel, output: dict[str, Any]) -> None:
    """Botocore's parser reads from our answer what we put into it."""
    answer = protocol.answer(model, output, "the-id")
    parsed = create_parser(model.service_model.metadata["protocol"]).parse(
        {"status_code": answer.status, "headers": HeadersDict(answer.headers), "body": answer.body},
        model.output_shape,
    )
    assert parsed.pop("ResponseMetadata")["RequestId"] == "the-id"
    assert in_utc(parsed) == output


def comes_in(model: OperationModel, parameters: dict[str, Any]) -> None:
    """We read from botocore's request what it was given."""
    request = sent(model, parameters)
    found = protocol.operation_of(model.service_model, request)
    assert found.name == model.name
    expected = parameters
    if model.service_model.metadata["protocol"] == "query":
        expected = without_nothing(parameters)
    assert protocol.parameters_of(found, request) == expected


def without_nothing(value: Any) -> Any:
    """A value without its empty structures, for which a form has no field."""
    if isinstance(value, dict):
        return {key: kept for key, inner in value.items() if (kept := without_nothing(inner)) != {}}
    if isinstance(value, list):
        items = [kept for item in value if (kept := without_nothing(item)) != {}]
        return items if items or not value else {}
    return value


@pytest.mark.parametrize("everything", [True, False])
@pytest.mark.parametrize("service", SERVICES)
def test_each_operation_both_ways(service: str, everything: bool) -> None:
    for name in services.service(service).operations:
        model = operation(service, name)
        goes_out_and_comes_back(model, sample(model.output_shape, everything))
        comes_in(model, sample(model.input_shape, everything))


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(SERVED), st.data())
def test_any_output_and_any_input(served: tuple[str, str], data: st.DataObject) -> None:
    model = operation(*served)
    if model.output_shape is not None:
        goes_out_and_comes_back(model, data.draw(structures(model.output_shape)))
    if model.input_shape is not None:
        comes_in(model, data.draw(structures(model.input_shape)))


# Errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "style", ["json", "rest-json", "query", "rest-xml", "ec2", "smithy-rpc-v2-cbor"]
)
@given(message=st.text(max_size=30))
def test_botocore_reads_our_errors(style: str, message: str) -> None:
    """Whatever is in their text; XML has no place for some characters."""
    answer = protocol.error(style, AwsError("SomeException", message, 418), "the-id")
    parsed = create_parser(style).parse(
        {"status_code": answer.status, "headers": HeadersDict(answer.headers), "body": answer.body},
        None,
    )
    assert parsed["Error"]["Code"] == "SomeException"
    assert parsed["ResponseMetadata"]["HTTPStatusCode"] == 418
    assert parsed["ResponseMetadata"]["RequestId"] == "the-id"
    if message and message.isprintable():
        assert parsed["Error"]["Message"] == message


# What is not valid -------------------------------------------------------------------------------


class Inside:
    """A world whose administrator calls without a socket and without a signature."""

    def __init__(self) -> None:
        self.world = World(seed=1)
        self.world.iam.administrator(ACCOUNT)
        user = self.world.iam.user(ACCOUNT, "administrator")
        assert user is not None
        self.caller = Caller(
            principal=Principal("user", user.arn, ACCOUNT, unique_id=user.unique_id),
            principal_id=user.unique_id,
            access_key_id="AKIAIOSFODNN7EXAMPLE",
            account=ACCOUNT,
            source_ip="127.0.0.1",
            user_agent="test",
            user_name="administrator",
        )

    def answer(self, service: str, request: HttpRequest) -> tuple[int, str]:
        """The status and, of a refusal, the code."""
        answer = pipeline.served(self.world, service, request, self.caller, REGION)
        return answer.status, answer.error.code if answer.error else ""


@pytest.fixture(scope="module")
def inside() -> Inside:
    return Inside()


def json_request(service: str, name: str, body: bytes) -> HttpRequest:
    """A request for an operation of a JSON or REST-JSON service with any body."""
    model = services.model(service)
    if services.PROTOCOLS[service] == "json":
        target = f"{model.metadata['targetPrefix']}.{name}"
        return HttpRequest("POST", "/", "", {"x-amz-target": target}, body)
    http = model.operation_model(name).http
    return HttpRequest(http["method"], http["requestUri"], "", {}, body)


def form_request(service: str, name: str, fields: Mapping[str, str]) -> HttpRequest:
    """A request for an operation of a query service."""
    form = {"Action": name, "Version": services.model(service).api_version, **fields}
    return HttpRequest("POST", "/", "", {}, urlencode(form).encode())


NOT_JSON = [
    b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize(
    ("service", "name"),
    [("kms", "DescribeKey"), ("cloudtrail", "LookupEvents"), ("imagebuilder", "ListWorkflows")],
)
def test_a_body_that_is_not_a_json_object_of_text(inside: Inside, service: str, name: str) -> None:
    for body in NOT_JSON:
        answer = inside.answer(service, json_request(service, name, body))
        assert answer == (400, "SerializationException"), body[:40]


@pytest.mark.parametrize(
    ("service", "name", "value"),
    [
        ("kms", "DescribeKey", {"KeyId": 1}),
        ("kms", "DescribeKey", {"KeyId": ["x"]}),
        ("kms", "Decrypt", {"CiphertextBlob": "not base64!"}),
        ("kms", "Decrypt", {"CiphertextBlob": "AA==", "DryRun": "true"}),
        ("kms", "GenerateDataKey", {"KeyId": "x", "NumberOfBytes": "32"}),
        ("kms", "GenerateDataKey", {"KeyId": "x", "NumberOfBytes": True}),
        ("kms", "GenerateDataKey", {"KeyId": "x", "NumberOfBytes": 32.5}),
        ("kms", "Encrypt", {"KeyId": "x", "Plaintext": "AA==", "EncryptionContext": []}),
        ("kms", "Encrypt", {"KeyId": "x", "Plaintext": "AA==", "EncryptionContext": {"a": 1}}),
        ("kms", "DescribeKey", {"KeyId": "half a character: \ud800"}),
        (
            "kms",
            "Encrypt",
            {"KeyId": "x", "Plaintext": "AA==", "EncryptionContext": {"\udfff": ""}},
        ),
        ("imagebuilder", "CreateWorkflow", {"data": "\ud800"}),
        ("cloudtrail", "LookupEvents", {"StartTime": "tomorrow"}),
        ("cloudtrail", "LookupEvents", {"StartTime": True}),
        ("cloudtrail", "LookupEvents", {"StartTime": 1e300}),
        ("cloudtrail", "LookupEvents", {"StartTime": "0001-01-01T00:00:00+05:00"}),
        ("cloudtrail", "LookupEvents", {"LookupAttributes": {"AttributeKey": "EventName"}}),
        ("imagebuilder", "ListWorkflows", {"maxResults": "5"}),
        ("imagebuilder", "CreateWorkflow", {"tags": {"a": {}}}),
    ],
)
def test_a_value_that_is_not_of_its_type(
    inside: Inside, service: str, name: str, value: Mapping[str, Any]
) -> None:
    request = json_request(service, name, json.dumps(value).encode())
    assert inside.answer(service, request) == (400, "SerializationException")


@pytest.mark.parametrize(
    ("service", "name", "fields", "code"),
    [
        ("sts", "AssumeRole", {"DurationSeconds": "many"}, "SerializationException"),
        ("sts", "AssumeRole", {"DurationSeconds.x": "1"}, "SerializationException"),
        ("sts", "AssumeRole", {"Tags": "x"}, "SerializationException"),
        ("sts", "AssumeRole", {"Tags.member.x.Key": "1"}, "SerializationException"),
        ("sts", "AssumeRole", {"Tags.member.²": "1"}, "SerializationException"),
        ("sts", "AssumeRole", {f"Tags.member.{'9' * 5000}.Key": "1"}, "SerializationException"),
        ("sts", "AssumeRole", {"Tags": "x", "Tags.member.1.Key": "y"}, "MalformedQueryString"),
        ("sts", "GetNothing", {}, "InvalidAction"),
    ],
)
def test_a_form_that_is_not_of_the_model(
    inside: Inside, service: str, name: str, fields: Mapping[str, str], code: str
) -> None:
    assert inside.answer(service, form_request(service, name, fields)) == (400, code)


@pytest.mark.parametrize(
    ("service", "request_", "code"),
    [
        ("kms", HttpRequest("POST", "/", "", {}, b"{}"), "UnknownOperationException"),
        (
            "kms",
            HttpRequest("POST", "/", "", {"x-amz-target": "TrentService.Nothing"}, b"{}"),
            "UnknownOperationException",
        ),
        (
            "kms",
            HttpRequest("POST", "/", "", {"x-amz-target": "Other.ListKeys"}, b"{}"),
            "UnknownOperationException",
        ),
        ("imagebuilder", HttpRequest("GET", "/Nothing", "", {}, b""), "UnknownOperationException"),
        (
            "imagebuilder",
            HttpRequest("POST", "/CreateWorkflow", "", {}, b"{}"),
            "UnknownOperationException",
        ),
        ("sts", HttpRequest("GET", "/", "Action=GetCallerIdentity", {}, b""), "InvalidAction"),
        ("sts", HttpRequest("POST", "/", "", {}, b"\xff"), "MalformedQueryString"),
    ],
)
def test_an_operation_that_does_not_exist(
    inside: Inside, service: str, request_: HttpRequest, code: str
) -> None:
    assert inside.answer(service, request_)[1] == code


# Whatever comes, no answer is a fault of the sandbox ----------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from([ACCOUNT, f"arn:aws:kms:{REGION}:{ACCOUNT}:key/x", "alias/x", "arn:aws:::"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def loosely(shape: Shape | None) -> st.SearchStrategy[dict[str, Any]]:
    """A JSON object with a shape's names and any values; some of them as the model has them."""
    if shape is None:
        return st.dictionaries(st.text(max_size=4), JSON, max_size=2)
    members = {name: JSON | plain(member) for name, member in shape.members.items()}
    return st.fixed_dictionaries({}, optional=members)


def plain(shape: Shape) -> st.SearchStrategy[Any]:
    """A value of a shape in JSON, valid or nearly so."""
    kind = shape.type_name
    if kind == "structure":
        members = {name: plain(member) for name, member in shape.members.items()}
        return st.fixed_dictionaries({}, optional=members)
    if kind == "list":
        return st.lists(plain(shape.member), max_size=3)
    if kind == "map":
        return st.dictionaries(st.text(max_size=5), plain(shape.value), max_size=3)
    if kind == "blob":
        return st.sampled_from(["", "AA==", "AQICAHh=", "!"])
    if kind == "string":
        enum = shape.metadata.get("enum")
        return st.sampled_from(enum) if enum else st.text(max_size=40)
    return st.integers(-5, 5000) | st.booleans()


def leaves(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """A value as the fields of a form."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for index, item in enumerate(value, 1):
            yield from leaves(item, f"{name}.member.{index}")
    else:
        yield name, value if isinstance(value, str) else json.dumps(value)


@pytest.mark.parametrize("service", services.MODULES)
def test_no_input_is_a_fault_of_the_sandbox(inside: Inside, service: str) -> None:
    query = services.PROTOCOLS[service] in ("query", "ec2")
    names = sorted(services.service(service).operations)

    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(names), st.data())
    def check(name: str, data: st.DataObject) -> None:
        value = data.draw(loosely(operation(service, name).input_shape))
        if query:
            fields = {key: _sendable(text) for key, text in leaves(value, "")}
            request = form_request(service, name, fields)
        else:
            request = json_request(service, name, json.dumps(value).encode())
        assert inside.answer(service, request) != (500, "InternalFailure")

    check()


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def test_a_fault_of_the_sandbox_says_so(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("broken")

    monkeypatch.setattr(pipeline, "Call", broken)
    request = json_request("kms", "ListKeys", b"{}")
    answer = pipeline.served(inside.world, "kms", request, inside.caller, REGION)
    assert (answer.status, json.loads(answer.body)["__type"]) == (500, "InternalFailure")
    assert "a fault of the sandbox" in json.loads(answer.body)["message"]
    assert "ZeroDivisionError: broken" in capsys.readouterr().err


def test_what_is_not_imitated_is_a_501_that_names_it() -> None:
    refusal = not_imitated("the weather")
    assert (refusal.code, refusal.status) == ("NotImplemented", 501)
    assert "the weather" in refusal.message
