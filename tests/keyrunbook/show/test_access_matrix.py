"""The access matrix as people see it: signs beside colours, reasons by hover and by keyboard."""

from __future__ import annotations

import json
import re
from html import unescape

from iamaccess import Outcome
from keyrunbook.access import OPERATOR, ROLE, Cell, Matrix
from keyrunbook.plan import Change, Plan
from keyrunbook.show.access import MatrixView, policy_changes

WHAT, MORE = "a workflow of this account", "no encryption context"
CELLS = (
    Cell(ROLE, "kms:Decrypt", WHAT, True, Outcome.ALLOWED, "S <1> allows kms:Decrypt"),
    Cell(
        ROLE, "kms:GenerateDataKey", WHAT, True, Outcome.ALLOWED, "S <1> allows kms:GenerateDataKey"
    ),
    Cell(ROLE, "kms:Decrypt", MORE, False, Outcome.DENIED, "nothing", ("near", "far"), "a mend"),
    Cell(OPERATOR, "kms:Decrypt", WHAT, True, Outcome.UNKNOWN, "not read", settles="reading"),
)
MATRIX = Matrix(CELLS, ("service_control", "resource_control"))


def test_each_answer_has_sign_word_colour_and_its_reason_on_hover() -> None:
    html = MatrixView(MATRIX).html()
    grid = html.partition("<details>")[0]
    answers = re.findall(r'border-left:4px solid (#\w+)[^>]*><abbr title="([^"]*)">([^<]*)<', grid)
    assert [(words, unescape(why)) for _, why, words in answers] == [
        ("✓ ALLOWED", "S <1> allows kms:Decrypt"),
        ("✓ ALLOWED", "S <1> allows kms:GenerateDataKey"),
        ("✗ DENIED", "nothing\nnearest: near\nthen: far\nmended by this: a mend"),
        ("? UNKNOWN", "not read\nsettled by: reading"),
    ]
    assert len({colour for colour, _, _ in answers}) == 3
    assert grid.count("<tr>") == 1 + 3
    assert grid.count("–</td>") == 2  # not every action is asked of every principal and context
    assert "not read: SCP, RCP" in grid


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_colours_are_seen_in_light_and_dark_themes() -> None:
    """Source: https://www.w3.org/TR/WCAG22/#non-text-contrast"""
    for colour in re.findall(r"solid (#\w{6})", MatrixView(MATRIX).html()):
        for page in ("#ffffff", "#111111"):
            light, dark = sorted((luminance(colour), luminance(page)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 3, (colour, page)


def test_the_reasons_are_a_table_too_that_opens_by_keyboard() -> None:
    html = MatrixView(MATRIX).html()
    reasons = html.partition("<details><summary>")[2]
    assert reasons.startswith("Why: the reason for each answer</summary>")
    for reason in ("S &lt;1&gt; allows it", "nothing", "near; then far", "a mend", "reading"):
        assert reason in reasons
    assert reasons.endswith("</details>")


def test_actions_with_one_answer_share_a_row_of_the_text() -> None:
    text = MATRIX._repr_mimebundle_()["text/plain"]
    assert "action: kms:Decrypt, kms:GenerateDataKey" in text
    assert text.count("because: ") == 3


def test_what_changed_since_says_what_it_was() -> None:
    before = Matrix((*CELLS[:2], CELLS[3]), ())
    now = Matrix((CELLS[0], *(Cell(ROLE, one.action, WHAT, True, Outcome.DENIED, "no")
                              for one in CELLS[1:2])), ())  # fmt: skip
    since = now.since(before)
    assert [one.was for one in since.cells] == [Outcome.ALLOWED, Outcome.ALLOWED]
    html = MatrixView(since).html().partition("<details>")[0]
    assert html.count("<br>was ✓ ALLOWED") == 1
    assert "was: ✓ ALLOWED" in since._repr_mimebundle_()["text/plain"]


def test_a_plan_s_changes_of_policies() -> None:
    before = {"Statement": [{"Sid": "Theirs", "Effect": "Allow", "Action": "a", "Resource": "*"}]}
    ours = {"Sid": "Ours", "Effect": "Allow", "Action": "b", "Resource": "*"}
    after = {"Statement": [*before["Statement"], ours]}
    put = Change(
        "kms", "put_key_policy", {"Policy": json.dumps(after)}, "", "",
        keep={"policy": json.dumps(before)},
    )  # fmt: skip
    gone = Change("iam", "delete_role_policy", {}, "", "", keep={"policy": {"Statement": [ours]}})
    new = Change("iam", "put_role_policy", {"PolicyDocument": "{}"}, "", "", keep={"policy": None})
    other = Change("kms", "create_alias", {}, "", "")
    made = Change("kms", "create_key", {"Policy": json.dumps(before)}, "", "")
    table = policy_changes(Plan("x", (put, gone, new, other, made)))
    assert [row[:4] for row in table.rows] == [
        ("kms:PutKeyPolicy", "Theirs", "= kept", "allows a on *"),
        ("kms:PutKeyPolicy", "Ours", "+ added", "allows b on *"),
        ("iam:DeleteRolePolicy", "Ours", "− removed", "allows b on *"),
        ("kms:CreateKey", "Theirs", "+ added", "allows a on *"),
    ]
    assert policy_changes(Plan("x", (other,))).note == "No policy changes."
