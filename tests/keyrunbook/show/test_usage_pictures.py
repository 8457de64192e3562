"""Key usage as a table and as a picture by principal and day."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from keyrunbook.proof import Searched, Span
from keyrunbook.records import parse_record
from keyrunbook.show.usage import (
    Days,
    UsagePicture,
    by_day,
    usage_table,
)
from keyrunbook.usage import Usage, summarise

KEY = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
DAY = date(2026, 3, 2)
T0 = datetime(2026, 3, 2, 23, 59, 58, tzinfo=UTC)
SEARCHED = Searched("the log", (Span("EventName", None, T0, T0 + timedelta(days=200)),), T0)


def used(*calls: tuple[str, int, dict[str, Any]]) -> Usage:
    """Calls by users, seconds after the first."""
    records = [
        parse_record(
            {
                "eventVersion": "1.11",
                "eventID": str(number),
                "eventTime": f"{T0 + timedelta(seconds=second):%Y-%m-%dT%H:%M:%SZ}",
                "eventSource": "kms.amazonaws.com",
                "eventName": "Decrypt",
                "awsRegion": "us-west-2",
                "recipientAccountId": "111122223333",
                "userIdentity": {"arn": f"arn:aws:iam::111122223333:user/{who}"},
                "resources": [{"type": "AWS::KMS::Key", "ARN": KEY}],
                **changes,
            }
        )
        for number, (who, second, changes) in enumerate(calls)
    ]
    return summarise(records, KEY, SEARCHED)


DENIED, DRY = {"errorCode": "AccessDenied"}, {"errorCode": "DryRunOperationException"}
USAGE = used(("jo", 0, {}), ("jo", 1, {}), ("jo", 2, DENIED), ("ann", 2, {}), ("ann", 3, DRY))


def test_days_are_those_of_utc_and_a_dry_run_is_no_use() -> None:
    assert by_day(USAGE, "not AWS").text().splitlines() == [
        "Key usage by day (UTC) (not AWS)",
        "- user/jo: 2026-03-02 2 used, 2026-03-03 0 used and 1 refused",
        "- user/ann: 2026-03-03 1 used",
    ]


def test_without_a_call_the_picture_says_so() -> None:
    picture = by_day(used())
    assert picture.text().endswith("No use was seen. Absence proves nothing.")
    [axes] = picture.figure().axes
    assert axes.get_xlabel() == "No use was seen. Absence proves nothing."


def test_more_principals_than_rows_share_the_last_one() -> None:
    picture = by_day(used(*((f"u{n:02}", 0, {}) for n in range(14)), ("u00", 1, {})))
    assert [row.who for row in picture.rows][::11] == ["user/u00", "user/u11"]
    assert picture.rows[-1].words == "- 2 others: 2026-03-02 2 used"


@pytest.fixture
def picture() -> UsagePicture:
    return by_day(USAGE, "embedded sandbox, not AWS")


def test_uses_go_up_and_refusals_go_down_hatched_with_their_number(picture: UsagePicture) -> None:
    [axes] = picture.figure().axes
    bars = {
        str(group.get_label()): [
            (bar.get_x() + bar.get_width() / 2, bar.get_y(), round(bar.get_height(), 2))
            for bar in group
        ]
        for group in axes.containers
    }
    assert bars == {  # the y axis points down
        "user/jo: used": [(0.0, 0.0, -0.36)],
        "user/jo: refused": [(1.0, 0.0, 0.18)],
        "user/ann: used": [(1.0, 1.0, -0.18)],
        "user/ann: refused": [],
    }
    hatches = {
        str(group.get_label()): {bar.get_hatch() for bar in group} for group in axes.containers
    }
    assert hatches["user/jo: used"] == {None}
    assert hatches["user/jo: refused"] == {"////"}
    assert [text.get_text() for text in axes.texts] == ["2", "✗1", "1"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["03-02", "03-03"]
    assert axes.get_xlabel().startswith("days of 2026, UTC")
    assert picture.figure().get_facecolor() == (1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(("days", "numbers", "ticks"), [(31, 31, 8), (32, 0, 8), (200, 0, 10)])
def test_many_days_still_have_room(days: int, numbers: int, ticks: int) -> None:
    used = Counter({DAY + timedelta(days=n): 1 for n in range(days)})
    [axes] = UsagePicture("x", [Days("user/jo", used, Counter())]).figure().axes
    assert (len(axes.texts), len(axes.get_xticklabels())) == (numbers, ticks)


def test_the_picture_has_its_text_as_alternative_and_the_same_bytes_each_time(
    picture: UsagePicture,
) -> None:
    bundle = picture._repr_mimebundle_()
    assert re.findall(r'<img alt="([^"]*)"', bundle["text/html"]) == [picture.text()]
    assert bundle == picture._repr_mimebundle_()
    assert picture.png().startswith(b"\x89PNG")


def test_the_table_says_who_what_how_often_and_what_was_not_searched() -> None:
    table = usage_table(USAGE)
    assert [row[0] for row in table.rows] == [
        "✓ used",
        "✓ used",
        "– dry run",
        "✗ refused: AccessDenied",
    ]
    assert table.rows[0] == (
        "✓ used",
        "Decrypt",
        "no encryption context",
        "user/jo directly",
        "2",
        "2026-03-02T23:59:58Z",
        "2026-03-02T23:59:59Z",
    )
    assert table.note.startswith("Source: the log. Looked for from 2026-03-02T23:59:58Z")
    assert table.note.endswith("Absence proves nothing.")


def test_a_refusal_that_names_no_key_says_so() -> None:
    unnamed = used(("jo", 0, {**DENIED, "resources": None}))
    [row] = usage_table(unnamed).rows
    assert row[0] == "✗ refused: AccessDenied; names no key"
    assert by_day(unnamed).rows == []
