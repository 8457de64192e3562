"""Which records are refusals of the execution role: the form of a Decrypt refused to a service."""

from __future__ import annotations

from typing import Any

import pytest
from keyrunbook.records import Record, parse_record
from keyrunbook.steps.builds import is_refusal

ROLE = "arn:aws:iam::111122223333:role/Builder"


def record(**changed: Any) -> Record:
    """A refused Decrypt that Image Builder asked for as the role, with some fields changed.

    The form is that of a Decrypt refused to another service; its request parameters are null.
    Source: https://github.com/aws-samples/baseline-environment-on-aws/issues/51
    """
    identity = {
        "type": "AssumedRole",
        "arn": "arn:aws:sts::111122223333:assumed-role/Builder/ImageBuilder",
        "sessionContext": {"sessionIssuer": {"arn": changed.pop("issuer", ROLE)}},
        "invokedBy": changed.pop("invoked_by", "imagebuilder.amazonaws.com"),
    }
    return parse_record(
        {
            "eventVersion": "1.11",
            "eventID": "1",
            "eventTime": "2026-01-31T09:00:00Z",
            "eventSource": "kms.amazonaws.com",
            "eventName": "Decrypt",
            "awsRegion": "us-west-2",
            "errorCode": "AccessDenied",
            "userIdentity": identity,
            "requestParameters": None,
            **changed,
        }
    )


def test_a_refusal_needs_no_request_parameters() -> None:
    assert is_refusal(record(), ROLE)


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "arn:aws:iam::111122223333:role/Other"},
        {"invoked_by": None},
        {"invoked_by": "config.amazonaws.com"},
        {"errorCode": None},
        {"errorCode": "DisabledException"},
        {"eventName": "GenerateDataKey"},
        {"eventSource": "imagebuilder.amazonaws.com"},
    ],
    ids=str,
)
def test_what_is_no_refusal_of_the_role(changed: dict[str, Any]) -> None:
    assert not is_refusal(record(**changed), ROLE)
