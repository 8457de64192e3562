"""The two sample records on AWS's page: accepted as what they are, for what they show and no more.

As printed, four of their fields are blank. Filled in as AWS documents them, each stands for its
call; but their placeholders for the message differ, so they are not one pair.

Source: https://docs.aws.amazon.com/imagebuilder/latest/userguide/data-protection.html
"""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from keyrunbook.proof import MESSAGE_KEY, Outcome, Verdict, prove
from keyrunbook.records import IMAGE_BUILDER, KMS, Record, parse_record
from keyrunbook.usage import summarise
from true_logs import KEY, NAMES, PAGE, claim, searched_all

BLANK = ("eventSource", "sourceIPAddress", "userAgent", "invokedBy")
PUBLIC_KEY = PAGE["Decrypt"]["requestParameters"]["encryptionContext"][MESSAGE_KEY]


def page(
    *filled: str, names: tuple[str, ...] = ("GenerateDataKey", "Decrypt"), **context: str
) -> list[Record]:
    """The page's records, the named blanks filled in, and the context changed."""
    records = []
    for name in names:
        record: dict[str, Any] = copy.deepcopy(PAGE[name])
        values = dict.fromkeys(filled, IMAGE_BUILDER) | {"eventSource": KMS}
        record.update({key: values[key] for key in filled if key != "invokedBy"})
        if "invokedBy" in filled:
            record["userIdentity"]["invokedBy"] = IMAGE_BUILDER
        record["requestParameters"]["encryptionContext"].update(context)
        records.append(parse_record(json.dumps(record)))
    return records


def judged(records: list[Record], **more: Any) -> Verdict:
    asked = claim(**more)
    return prove(records, asked, searched_all(asked))


def test_exactly_four_fields_are_blank_on_the_page() -> None:
    for record in PAGE.values():
        blank = [name for name in BLANK if {**record, **record["userIdentity"]}[name] == ""]
        assert tuple(blank) == BLANK


@pytest.mark.parametrize(
    ("records", "encrypted", "readable", "why"),
    [
        pytest.param(page(), "NOT_YET", "NOT_YET", "", id="as printed: nobody's records"),
        pytest.param(
            page("eventSource"), "NOT_YET", "NOT_YET", "", id="KMS's, but for whom is blank"
        ),
        pytest.param(
            page("invokedBy"), "NOT_YET", "NOT_YET", "", id="Image Builder's call, of what is blank"
        ),
        pytest.param(
            page(*BLANK),
            *("NOT_YET", "PROVED", "no GenerateDataKey record with the encryption context"),
            id="filled in: readable, and not one pair",
        ),
        pytest.param(
            page(*BLANK, names=("Decrypt",)),
            *("NOT_YET", "PROVED", "no GenerateDataKey"),
            id="the Decrypt alone: readable",
        ),
        pytest.param(
            page(*BLANK, names=("GenerateDataKey",)),
            *("NOT_YET", "NOT_YET", "no Decrypt"),
            id="the data key alone: nothing",
        ),
        pytest.param(
            page(*BLANK, **{MESSAGE_KEY: PUBLIC_KEY}),
            *("PROVED", "PROVED", "Image Builder made this build's data key"),
            id="with one message in both: a pair",
        ),
    ],
)
def test_what_the_samples_support(
    records: list[Record], encrypted: str, readable: str, why: str
) -> None:
    verdict = judged(records)
    assert (verdict.encrypted.outcome.value, verdict.readable.outcome.value) == (
        encrypted,
        readable,
    )
    assert why in verdict.encrypted.reason


def test_the_readable_half_can_be_claimed_alone() -> None:
    assert judged(page(*BLANK), only_readable=True).outcome is Outcome.PROVED


def test_the_samples_name_their_key_by_alias_and_by_arn() -> None:
    made, opened = page(*BLANK)
    assert made.key_id_as_passed == NAMES["ALIAS"]
    assert opened.key_id_as_passed == KEY
    assert made.key_arns == opened.key_arns == (KEY,)


def test_the_samples_are_two_uses_of_the_key_by_the_caller_s_role() -> None:
    """Role Admin called: CreateWorkflow and GetWorkflow are made as their caller."""
    usage = summarise(page(*BLANK), KEY, searched_all(claim()))
    assert [(line.who, line.via, line.operation, line.count) for line in usage.lines] == [
        (NAMES["OPERATORS_ROLE"], IMAGE_BUILDER, "Decrypt", 1),
        (NAMES["OPERATORS_ROLE"], IMAGE_BUILDER, "GenerateDataKey", 1),
    ]
    assert {line.purpose for line in usage.lines} == {
        "workflow/build/sample-encrypted-workflow/1.0.0/*"
    }
