"""A parameter as a person reads and writes it: made from the model, which alone has the rules."""

from __future__ import annotations

from typing import Any

import pytest
from keyrunbook.fields import as_text, field
from keyrunbook.parameters import Parameters

NAMES = list(Parameters.model_fields)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_has_a_field(name: str) -> None:
    """Label, help, limits; its default and examples are valid, and read as they are shown."""
    one = field(name)
    assert one.label
    assert one.help
    assert one.limits()
    for value in (one.default, *(Parameters.model_fields[name].examples or ())):
        assert one.wrong(value) == ""
        if one.kind in ("text", "number", "mapping"):
            assert one.read(as_text(value)) == value


@pytest.mark.parametrize(
    ("name", "label", "kind", "optional", "limits"),
    [
        ("key_arn", "Key ARN", "text", True, None),
        ("use_fips", "Use FIPS", "yes or no", True, "yes or no"),
        ("pending_window_days", "Pending window days", "number", False, "7 to 30 days"),
        ("event_wait_seconds", "Event wait seconds", "number", True, "0 to 7200 seconds"),
        ("lookup_calls", "Lookup calls", "number", False, "1 to 100000"),
        ("revoke_by", "Revoke by", "choice", False, "remove or deny"),
        ("target", "Target", "choice", True, "sandbox or aws"),
        ("tags", "Tags", "mapping", False, "key=value, a line each, at most 40"),
    ],
)
def test_what_a_field_is(
    name: str, label: str, kind: str, optional: bool, limits: str | None
) -> None:
    one = field(name)
    assert (one.label, one.kind, one.optional) == (label, kind, optional)
    assert limits in (None, one.limits())


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("key_alias", " alias/x ", "alias/x"),
        ("key_alias", "", ""),
        ("region", " ", None),
        ("account", "012345678901", "012345678901"),
        ("pending_window_days", " 7", 7),
        ("event_wait_seconds", "", None),
        ("tags", "", {}),
        ("tags", "a=b\n\n c = d=e ", {"a": "b", "c": "d=e"}),
        ("tags", "a=", {"a": ""}),
    ],
)
def test_what_is_typed_is_read(name: str, text: str, value: Any) -> None:
    assert field(name).read(text) == value


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("pending_window_days", "", "a whole number is needed, such as 30"),
        ("pending_window_days", "7.5", "a whole number is needed, such as 30"),
        ("tags", "a=b\nc", "line 2 is not key=value, such as team=images"),
        ("tags", "=b", "line 1 is not key=value"),
        ("tags", "a=b\na=c", "line 2: a is there twice"),
    ],
)
def test_what_cannot_be_read_says_what_is_needed(name: str, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        field(name).read(text)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("key_alias", "", "has not the right form, such as 'alias/images'"),
        ("key_alias", "alias/aws/ebs", "reserved for AWS managed keys"),
        ("pending_window_days", 6, "greater than or equal to 7, such as 30"),
        ("tags", {"aws:x": "y"}, "are reserved"),
        ("target", "moon", "'sandbox' or 'aws'"),
    ],
)
def test_what_is_wrong_is_said_by_the_model(name: str, value: Any, told: str) -> None:
    assert told in field(name).wrong(value)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("region", None, "unset"),
        ("read_only", False, "no"),
        ("tags", {"a": "b"}, "a=b"),
        ("profile", "AKIA" + "Q" * 16, "not shown: it looks like a secret"),
    ],
)
def test_what_everybody_may_see(name: str, value: Any, shown: str) -> None:
    assert field(name).shown(value) == shown


def test_a_wrong_value_is_not_repeated() -> None:
    assert "hunter22" not in field("tags").shown({"a": "password=hunter22"})
    assert field("key_alias").shown("x").startswith("✗ has not the right form")
