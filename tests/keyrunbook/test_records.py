"""Records: read exactly, or refused with their place. Nothing is guessed."""

from __future__ import annotations

import contextlib
import copy
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyrunbook.records import MalformedRecord, parse_record

SAMPLES = json.loads(
    (Path(__file__).parent / "cases" / "data_protection_records.json").read_text()
)["records"]


def sample(name: str = "Decrypt", **changes: Any) -> dict[str, Any]:
    record: dict[str, Any] = copy.deepcopy(SAMPLES[name])
    record.update(changes)
    return record


def test_the_page_s_decrypt_record_is_read_field_by_field() -> None:
    record = parse_record(json.dumps(sample()))
    key = "arn:aws:kms:us-west-2:111122223333:key/a1b2c3d4-5678-90ab-cdef-EXAMPLEzzzzz"
    assert record.event_id == "a1b2c3d4-5678-90ab-cdef-EXAMPLE22222"
    assert record.request_id == "a1b2c3d4-5678-90ab-cdef-EXAMPLEbbbbb"
    assert record.corrects is None
    assert record.time == datetime(2023, 11, 21, 20, 34, 25, tzinfo=UTC)
    assert (record.name, record.account, record.region) == ("Decrypt", "111122223333", "us-west-2")
    assert record.principal_arn == "arn:aws:sts::111122223333:assumed-role/Admin/workflow-role-name"
    assert record.issuer_arn == "arn:aws:iam::111122223333:role/Admin"
    assert record.caller == record.issuer_arn
    assert record.key_arns == (key,)
    assert record.key_id_as_passed == key
    assert record.encryption_context == sample()["requestParameters"]["encryptionContext"]
    assert record.read_only is True
    assert record.dry_run is False
    assert record.failed is False
    assert record.raw == sample()


def test_a_blank_field_stays_blank() -> None:
    record = parse_record(sample())
    assert (record.source, record.invoked_by) == ("", "")


def test_the_key_id_is_kept_as_passed() -> None:
    record = parse_record(sample("GenerateDataKey"))
    assert record.key_id_as_passed == "arn:aws:kms:us-west-2:111122223333:alias/ExampleKMSKey"


def test_a_refused_record_without_request_parameters_is_read() -> None:
    record = parse_record(
        sample(errorCode="AccessDenied", errorMessage="User: …", requestParameters=None)
    )
    assert record.failed
    assert record.encryption_context is None
    assert record.key_id_as_passed is None


@pytest.mark.parametrize("value", [True, "true", "TRUE", 1, "yes"])
def test_a_dry_run_is_whatever_is_not_plainly_none(value: object) -> None:
    assert parse_record(sample(requestParameters={"dryRun": value})).dry_run
    assert parse_record(sample(requestParameters={"DryRun": value})).dry_run


@pytest.mark.parametrize("value", [False, "false", None])
def test_no_dry_run_where_the_record_says_no(value: object) -> None:
    assert not parse_record(sample(requestParameters={"dryRun": value})).dry_run


def test_a_dry_run_by_its_error_code() -> None:
    assert parse_record(sample(errorCode="DryRunOperationException")).dry_run


@pytest.mark.parametrize("version", ["1.0", "1.08", "1.11", "1.99"])
def test_every_minor_version_is_read(version: str) -> None:
    assert parse_record(sample(eventVersion=version)).name == "Decrypt"


def test_resources_of_other_types_are_no_keys() -> None:
    assert parse_record(sample(resources=[{"type": "AWS::S3::Bucket", "ARN": "x"}])).key_arns == ()
    assert parse_record(sample(resources=None)).key_arns == ()
    assert parse_record(sample(resources=[{"ARN": "arn:aws:kms:…"}])).key_arns == ()


def test_a_time_with_an_offset_is_read_into_utc() -> None:
    record = parse_record(sample(eventTime="2023-11-21T21:34:25+01:00"))
    assert record.time == datetime(2023, 11, 21, 20, 34, 25, tzinfo=UTC)
    assert record.time.utcoffset() == timedelta(0)


def test_another_service_may_call_something_else_an_encryption_context() -> None:
    record = parse_record(
        sample(
            eventSource="s3.amazonaws.com",
            requestParameters={"encryptionContext": "e30=", "keyId": 7},
        )
    )
    assert record.encryption_context is None
    assert record.key_id_as_passed is None


MALFORMED = [
    ({"eventVersion": "2.0"}, "eventVersion", "unknown major version"),
    ({"eventVersion": "11.1"}, "eventVersion", "unknown major version"),
    ({"eventVersion": "one"}, "eventVersion", "not a version"),
    ({"eventVersion": None}, "eventVersion", "missing"),
    ({"eventVersion": 1.08}, "eventVersion", "a number, not a string"),
    ({"eventID": None}, "eventID", "missing"),
    ({"eventID": ""}, "eventID", "empty"),
    ({"eventID": 5}, "eventID", "a number"),
    ({"eventTime": "2023-11-21T20:34:25"}, "eventTime", "no time zone"),
    ({"eventTime": "yesterday"}, "eventTime", "not a time"),
    ({"eventTime": "0001-01-01T00:00:00+23:00"}, "eventTime", "not a time"),
    ({"eventTime": 1700598865}, "eventTime", "a number"),
    ({"eventSource": None}, "eventSource", "missing"),
    ({"eventName": None}, "eventName", "missing"),
    ({"awsRegion": None}, "awsRegion", "missing"),
    ({"userIdentity": "root"}, "userIdentity", "not an object"),
    ({"userIdentity": {"sessionContext": []}}, "userIdentity.sessionContext", "not an object"),
    ({"userIdentity": {"invokedBy": True}}, "userIdentity.invokedBy", "a boolean"),
    ({"requestParameters": "{}"}, "requestParameters", "a string, not an object"),
    ({"resources": {}}, "resources", "not a list"),
    ({"resources": ["arn"]}, "resources[0]", "not an object"),
    ({"resources": [{"type": "AWS::KMS::Key"}]}, "resources[0].ARN", "missing"),
    ({"readOnly": "true"}, "readOnly", "not true or false"),
    ({"errorCode": 403}, "errorCode", "a number"),
    ({"recipientAccountId": 111122223333}, "recipientAccountId", "a number"),
    (
        {"eventSource": "kms.amazonaws.com", "requestParameters": {"encryptionContext": "a=b"}},
        "requestParameters.encryptionContext",
        "not an object of strings",
    ),
    (
        {"eventSource": "kms.amazonaws.com", "requestParameters": {"encryptionContext": {"a": 1}}},
        "requestParameters.encryptionContext",
        "not an object of strings",
    ),
    (
        {"eventSource": "kms.amazonaws.com", "requestParameters": {"keyId": 1}},
        "requestParameters.keyId",
        "a number",
    ),
]


@pytest.mark.parametrize(("changes", "place", "reason"), MALFORMED)
def test_a_record_of_another_form_is_refused_with_its_place(
    changes: dict[str, Any], place: str, reason: str
) -> None:
    with pytest.raises(MalformedRecord) as caught:
        parse_record(sample(**changes), "logs.json.gz, record 7")
    assert caught.value.place.startswith("logs.json.gz, record 7")
    assert caught.value.place.endswith(f": {place}")
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        (json.dumps(sample())[:-40], "not JSON"),
        ("\ufeff" + json.dumps(sample()), "not JSON"),
        ("[]", "not a list"),
        ("null", "not null"),
        ('{"eventID": NaN}', "NaN is not JSON"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        (json.dumps(sample())[:-1] + ', "eventName": "Encrypt"}', "'eventName' is given twice"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_text_that_is_not_one_record_is_refused(text: str, reason: str) -> None:
    with pytest.raises(MalformedRecord, match=reason):
        parse_record(text)


def test_records_are_equal_by_what_is_read_from_them() -> None:
    one, same = parse_record(sample()), parse_record(sample(tlsDetails={"tlsVersion": "TLSv1.3"}))
    assert one == same
    assert hash(one) == hash(same)
    assert one != parse_record(sample(errorCode="AccessDenied"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(sample())), JSON)
def test_whatever_a_field_holds_the_record_is_read_or_refused(name: str, value: Any) -> None:
    with contextlib.suppress(MalformedRecord):
        parse_record(json.dumps(sample(**{name: value})))
