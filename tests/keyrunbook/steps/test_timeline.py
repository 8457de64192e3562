"""The timeline, from a ledger's lines alone: which call a record is of, and how late it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from keyrunbook.records import IMAGE_BUILDER
from keyrunbook.steps.timeline import timeline

T0 = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)
ROLE = "arn:aws:iam::111122223333:role/Builder"
VERSION = "arn:aws:imagebuilder:us-west-2:111122223333:workflow/build/mine/1.0.0"
OPERATOR = "arn:aws:iam::111122223333:user/jo"
CREATE, GET, BUILD = (
    "imagebuilder:CreateWorkflow",
    "imagebuilder:GetWorkflow",
    "imagebuilder:CreateImage",
)

Entry = dict[str, Any]


def at(second: float) -> str:
    return (T0 + timedelta(seconds=second)).isoformat()


def call(name: str, second: float, status: str = "done") -> list[Entry]:
    outcome = {"kind": "outcome", "call": name, "status": status, "gives": {}}
    return [{"kind": "intent", "call": name, "time": at(second)}, {**outcome, "time": at(second)}]


def read(second: float) -> Entry:
    return {"kind": "read", "call": GET, "since": at(second), "until": at(second), "time": "2026"}


def build(second: float, decrypted: bool | None) -> list[Entry]:
    return [*call(BUILD, second), {"kind": "build", "decrypted": decrypted, "time": at(second)}]


def record(name: str, second: int, became: str = "counts", **more: Any) -> Entry:
    return {
        "event_id": f"{name}-{second}",
        "name": name,
        "time": at(second),
        "caller": OPERATOR,
        "invoked_by": IMAGE_BUILDER,
        "for": f"{VERSION}/*",
        "became": became,
        "seen": at(second + 3),
        **more,
    }


def noted(*records: Entry) -> Entry:
    return {"kind": "records", "records": list(records), "time": at(99)}


def opened(target: str = "sandbox") -> list[Entry]:
    known = {"role_arn": ROLE, "workflow_arn": f"{VERSION}/1"}
    facts = {"kind": "facts", "facts": known, "time": at(0)}
    return [{"kind": "opened", "target": target, "time": at(0)}, facts]


def told(*entries: Entry | list[Entry]) -> list[tuple[str, list[str]]]:
    """Each row's call, and its records."""
    flat = [one for part in entries for one in (part if isinstance(part, list) else [part])]
    rows = timeline([*opened(), *flat], "x").rows
    return [(row.call, [mark.label for mark in row.marks]) for row in rows]


@pytest.mark.parametrize(
    ("entries", "rows"),
    [
        pytest.param(
            [
                call("kms:PutKeyPolicy", 0),
                call(CREATE, 1),
                read(2),
                noted(record("Decrypt", 2), record("GenerateDataKey", 1)),
            ],
            [
                ("kms:PutKeyPolicy", []),
                (CREATE, ["GenerateDataKey (counts)"]),
                (GET, ["Decrypt (counts)"]),
            ],
            id="a data key is CreateWorkflow's, a Decrypt GetWorkflow's",
        ),
        pytest.param(
            [call(CREATE, 1, "refused")], [], id="a call that AWS refused did nothing to be shown"
        ),
        pytest.param(
            [read(2), read(3), noted(record("Decrypt", 3, "set aside"), record("Decrypt", 2))],
            [(GET, ["Decrypt (counts)"]), (GET, ["Decrypt (set aside)"])],
            id="each call has one Decrypt, in order",
        ),
        pytest.param(
            [read(2), noted(record("Decrypt", 30))],
            [(GET, []), ("", ["Decrypt (counts)"])],
            id="a record of another time is of no call",
        ),
        pytest.param(
            [call(CREATE, 1), noted(record("GenerateDataKey", 1, "set aside", invoked_by=None))],
            [(CREATE, []), ("", ["GenerateDataKey (set aside)"])],
            id="somebody's own call is none of Image Builder's",
        ),
        pytest.param(
            [read(2), noted(record("Decrypt", 1, "set aside", **{"for": f"{VERSION[:-1]}1/*"}))],
            [(GET, []), ("", ["Decrypt (set aside)"])],
            id="another workflow's record is none of this run's",
        ),
        pytest.param(
            [
                *(build(4, True), build(4.5, True), build(4.9, False), build(5, True)),
                noted(record("Decrypt", 4, "refused", caller=ROLE, **{"for": None})),
            ],
            [(BUILD, []), (BUILD, []), (BUILD, ["Decrypt (refused)"]), (BUILD, [])],
            id="a refusal is of the build that was refused, not of one in the same second",
        ),
        pytest.param(
            [
                *(build(4, False), build(60, True)),
                noted(record("Decrypt", 61, "set aside", caller=ROLE)),
            ],
            [(BUILD, []), (BUILD, ["Decrypt (set aside)"])],
            id="a use by the role is of a build that decrypted",
        ),
        pytest.param(
            [build(60, False), noted(record("Decrypt", 4, "refused", caller=ROLE))],
            [(BUILD, []), ("", ["Decrypt (refused)"])],
            id="a refusal from before the build is not its own",
        ),
        pytest.param(
            [
                read(2),
                noted(record("Decrypt", 2, "set aside")),
                noted(record("Decrypt", 2, "counts")),
            ],
            [(GET, ["Decrypt (counts)"])],
            id="a record that was seen twice is shown once, as it was judged last",
        ),
    ],
)
def test_which_call_a_record_is_of(
    entries: list[Entry | list[Entry]], rows: list[tuple[str, list[str]]]
) -> None:
    assert told(*entries) == rows


@pytest.mark.parametrize("seen", [(9, 5), (5, 9)])
def test_a_record_came_no_later_than_it_was_first_seen(seen: tuple[int, int]) -> None:
    twice = [noted(record("Decrypt", 2, seen=at(second))) for second in seen]
    [row] = timeline([*opened(), read(2), *twice], "x").rows
    assert [mark.delay_s for mark in row.marks] == [3]


def test_a_run_that_did_nothing_has_no_rows() -> None:
    assert timeline([], "x").rows == ()


def test_clocks_on_aws_may_differ_more() -> None:
    away = [read(2), noted(record("Decrypt", 11))]
    assert [row.call for row in timeline([*opened("aws"), *away], "x").rows] == [GET]
    assert [row.call for row in timeline([*opened(), *away], "x").rows] == [GET, ""]
