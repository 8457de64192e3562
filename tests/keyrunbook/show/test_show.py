"""What people see: text beside each picture, the same each time, and nothing that misleads."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from keyrunbook.aws.wait import Waited
from keyrunbook.findings import Finding, Findings
from keyrunbook.show.sentence import Sentence
from keyrunbook.show.tables import Table
from keyrunbook.show.timeline import Mark, Row, Timeline
from keyrunbook.show.waiting import WaitBar, bar


def at(second: int) -> datetime:
    return datetime(2026, 1, 31, 9, 0, second, tzinfo=UTC)


ROWS = (
    Row("kms:CreateKey", at(0)),
    Row("kms:PutKeyPolicy", at(1)),
    Row("imagebuilder:CreateWorkflow", at(1), (Mark("GenerateDataKey", "counts", at(1), at(9)),)),
    Row("imagebuilder:GetWorkflow", at(2), (Mark("Decrypt", "counts", at(2), at(9)),)),
    Row("imagebuilder:GetWorkflow", at(3), (Mark("Decrypt", "set aside", at(3)),)),
    Row("imagebuilder:CreateImage", at(4), (Mark("Decrypt", "refused", at(4), at(9)),)),
    Row("", at(5), (Mark("Decrypt", "set aside", at(5), at(9)),)),
)
TIMELINE = Timeline("Verdict: PROVED (embedded sandbox, not AWS)", ROWS)


# The timeline: calls, changes of policy, records, refusals, and the delivery delay


def plotted(label: str) -> list[tuple[float, float]]:
    """The points of the series of that label."""
    [axes] = TIMELINE.figure().axes
    [line] = [one for one in axes.lines if one.get_label() == label]
    return [(float(x), float(y)) for x, y in line.get_xydata()]


@pytest.mark.parametrize(
    ("label", "points", "marker"),
    [
        ("called by this run", [(0, 0), (0, 2), (0, 3), (0, 4), (0, 5)], "o"),
        ("change of policy", [(0, 1)], "s"),
        ("counts", [(1, 2), (1, 3)], "D"),
        ("set aside", [(1, 4), (1, 6)], "D"),
        ("refused", [(1, 5)], "X"),
    ],
)
def test_calls_on_the_left_and_records_on_the_right(
    label: str, points: list[tuple[float, float]], marker: str
) -> None:
    """Each kind by a shape of its own, or filled or hollow: not by colour alone."""
    assert plotted(label) == points
    [axes] = TIMELINE.figure().axes
    [line] = [one for one in axes.lines if one.get_label() == label]
    assert line.get_marker() == marker
    assert (line.get_markerfacecolor() == "white") is (label == "set aside")


def test_the_bars_are_as_long_as_the_delay_and_stand_where_it_is_known() -> None:
    [axes] = TIMELINE.figure().axes
    [bars] = [lines.get_segments() for lines in axes.collections if lines.get_linewidth() == [3]]
    lengths = {float(bar[0][1]): round(float(bar[1][0] - bar[0][0]), 4) for bar in bars}
    assert lengths == {2: 0.3, 3: 0.2625, 5: 0.1875, 6: 0.15}  # of 8, 7, 5 and 4 seconds


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "1 s"),
        (0.2, "1 s"),
        (8, "8 s"),
        (119, "119 s"),
        (120, "2 min"),
        (301, "6 min"),
        (8000, "3 h"),
    ],
)
def test_a_delay_is_rounded_up(seconds: float, words: str) -> None:
    seen = at(0) + timedelta(seconds=seconds)
    row = Row("", at(0), (Mark("Decrypt", "counts", at(0), seen),))
    [axes] = Timeline("x", [row]).figure().axes
    assert axes.texts[-1].get_text() == words


def test_the_picture_names_rows_times_and_records() -> None:
    [axes] = TIMELINE.figure().axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [
        "kms:CreateKey   09:00:00",
        "kms:PutKeyPolicy   09:00:01",
        "imagebuilder:CreateWorkflow   09:00:01",
        "imagebuilder:GetWorkflow   09:00:02",
        "imagebuilder:GetWorkflow   09:00:03",
        "imagebuilder:CreateImage   09:00:04",
        "(no call of this run)   09:00:05",
    ]
    words = [text.get_text() for text in axes.texts]
    assert words == [
        "called by this run",
        "KMS records in CloudTrail",
        "seen within",
        "UTC",
        "GenerateDataKey (counts)",
        "Decrypt (counts)",
        "Decrypt (set aside)",
        "Decrypt (refused)",
        "Decrypt (set aside)",
        *("8 s", "7 s", "5 s", "4 s"),
    ]
    assert axes.get_title(loc="left") == "Verdict: PROVED (embedded sandbox, not AWS)"
    assert axes.get_xlabel().count("   ") == 4  # each shape has its word


def test_the_picture_has_its_text_as_alternative() -> None:
    bundle = TIMELINE._repr_mimebundle_()
    assert bundle["text/plain"] == TIMELINE.text()
    [alternative] = re.findall(r'<img alt="([^"]*)"', bundle["text/html"])
    assert alternative.splitlines() == TIMELINE.text().splitlines()
    told = TIMELINE.text().splitlines()
    assert told[2] == "- kms:PutKeyPolicy (change of policy) at 2026-01-31T09:00:01Z"
    assert told[-1] == (
        "- no call of this run → CloudTrail: Decrypt (set aside) at 2026-01-31T09:00:05Z, seen by "
        "2026-01-31T09:00:09Z"
    )


def test_the_picture_is_the_same_bytes_each_time() -> None:
    [source] = re.findall(r"base64,([^\"]+)\"", TIMELINE._repr_mimebundle_()["text/html"])
    assert base64.b64decode(source) == TIMELINE.png()


def test_the_picture_stands_on_white_in_dark_themes() -> None:
    assert TIMELINE.figure().get_facecolor() == (1.0, 1.0, 1.0, 1.0)


DRAWN = """
import os, sys
from datetime import UTC, datetime
from keyrunbook.execution import warm
from keyrunbook.show.timeline import Row, Timeline
if sys.argv[1] == "warm":
    warm.prepare(())
assert Timeline("x", [Row("kms:CreateKey", datetime.now(UTC))]).png().startswith(b"\\x89PNG")
import matplotlib
print(os.environ["MPLBACKEND"], matplotlib.get_backend(auto_select=False))
"""


@pytest.mark.parametrize("kernel", ["own", "warm"])
@pytest.mark.parametrize(("given", "known"), [("garbage", None), ("svg", "svg")])
def test_the_picture_needs_no_backend_of_the_environment_s(
    kernel: str, given: str, known: str | None
) -> None:
    """Whoever opens windows in the same kernel has the one that was asked for."""
    done = subprocess.run(
        [sys.executable, "-c", DRAWN, kernel],
        env={**os.environ, "MPLBACKEND": given},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{given} {known}\n", "")


# Tables and sentences


def test_a_table_as_text_keeps_documents_as_they_are() -> None:
    table = Table("Documents", ("call", "document"), [("kms:PutKeyPolicy", '{\n  "a": 1\n}')])
    assert table.text().splitlines() == [
        "Documents",
        "=========",
        "kms:PutKeyPolicy",
        "    document:",
        "      {",
        '        "a": 1',
        "      }",
    ]


def test_a_table_as_html_escapes_and_names_its_columns() -> None:
    html = Table("<x>", ("a",), [("<script>",)], note="&").html()
    assert "<script>" not in html
    assert '<caption style="text-align:left;vertical-align:top;font-weight:bold">&lt;x&gt;' in html
    assert html.count('scope="col"') == 1
    assert html.endswith("<p>&amp;</p>")


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        ([("1", "a", ""), ("2", "b", "")], ["", "call"]),
        ([("1", "a", ""), ("2", "", "c")], ["", "call", "mend"]),
        ([], ["", "call", "mend"]),
    ],
)
def test_a_column_that_is_empty_in_all_rows_is_left_out(
    rows: list[tuple[str, ...]], columns: list[str]
) -> None:
    html = Table("x", ("", "call", "mend"), rows).html()
    head, _, body = html.partition("</thead>")
    assert re.findall(r"<t[hd] [^>]*>([^<]*)</t[hd]>", head) == columns
    assert body.count("<td ") == len(rows) * len(columns)


ARN = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.mark.parametrize(
    ("text", "wraps"),
    [
        ("✓ ALLOWED", "white-space:nowrap"),
        ("? NOT YET", "white-space:nowrap"),
        ("– set aside", "white-space:nowrap"),
        ("2026-01-31T09:00:08Z", "white-space:nowrap"),
        ("✗ refused: AccessDenied: you may not", "overflow-wrap:anywhere"),
        ("a workflow of this account", "overflow-wrap:anywhere"),
        (ARN, "overflow-wrap:anywhere"),
    ],
)
def test_outcomes_and_times_stay_on_a_line_and_the_rest_breaks(text: str, wraps: str) -> None:
    [style] = re.findall(r'<td style="([^"]*)"', Table("x", ("a",), [(text,)]).html())
    assert style.endswith(f";{wraps}")


@pytest.mark.parametrize(
    ("text", "characters"),
    [
        ("kms:GenerateDataKey, twice", 20),
        (ARN, 4),  # the header's own: an ARN may break anywhere
        ('{\n  "a": 1\n}', 8),
        ("{\n" + "x" * 99, 40),
    ],
)
def test_a_column_is_as_wide_as_what_is_not_to_be_broken(text: str, characters: int) -> None:
    html = Table("x", ("name",), [(text,)]).html()
    assert f"min-width:{characters * 0.6 + 1:.1f}em" in html


def test_a_document_is_not_cut_off() -> None:
    html = Table("x", ("document",), [("{\n}",)]).html()
    [style] = re.findall(r'<pre style="([^"]*)"', html)
    assert "white-space:pre-wrap;overflow-wrap:anywhere" in style
    assert html.startswith('<div style="overflow-x:auto" tabindex="0" role="group" aria-label="x">')


SHOWN_IN_IPYTHON = """
from IPython.core.interactiveshell import InteractiveShell
from keyrunbook.findings import Finding, Findings
from keyrunbook.show.sentence import Sentence
shell = InteractiveShell.instance()
for value in (Findings([Finding("It holds", "pass", "seen")]), Sentence("PROVED: it's so.")):
    print(shell.display_formatter.format(value)[0]["text/plain"])
"""


def test_ipython_shows_findings_and_sentences_as_text_not_as_python() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOWN_IN_IPYTHON], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "Findings",
        "========",
        "It holds",
        "    outcome: ✓ pass",
        "    evidence: seen",
        "PROVED: it's so.",
    ]


def test_findings_that_failed() -> None:
    failed = Finding("b", "fail", "")
    assert Findings([Finding("a", "pass", ""), failed]).failed() == [failed]


def test_a_sentence_is_escaped() -> None:
    assert Sentence("a < b")._repr_mimebundle_()["text/html"] == "<p><strong>a &lt; b</strong></p>"


# The wait


def test_the_bar_says_what_is_waited_for_and_for_how_long() -> None:
    shown = bar("CloudTrail's records", Waited(3.2, 30, 4))
    assert shown["text/plain"] == ("waiting for CloudTrail's records: 3 of at most 30 seconds")
    assert 'value="3" max="30"' in shown["text/html"]
    assert 'aria-label="CloudTrail&#x27;s records"' in shown["text/html"]
    over = bar("CloudTrail's records", Waited(31.0, 30, 5, over=True))
    assert over["text/plain"] == "waited for CloudTrail's records: 30 of at most 30 seconds"


def test_outside_of_a_notebook_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show = WaitBar("records")
    show(Waited(0.0, 30, 1))
    show(Waited(30.0, 30, 9, over=True))
    assert capsys.readouterr() == ("", "")


class Handle:
    """What IPython's display gives back."""

    def __init__(self, shown: list[str]) -> None:
        self.shown = shown

    def update(self, data: dict[str, str], raw: bool) -> None:
        self.shown.append(data["text/plain"])


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a notebook would show, one text after the other."""
    texts: list[str] = []

    def display(data: dict[str, str], raw: bool, display_id: bool) -> Handle:
        texts.append(data["text/plain"])
        return Handle(texts)

    monkeypatch.setattr("keyrunbook.show.waiting._in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    return texts


def test_in_a_notebook_nothing_is_shown_when_there_is_nothing_to_wait_for(
    shown: list[str],
) -> None:
    WaitBar("records")(Waited(0.1, 30, 1, over=True))
    assert shown == []


def test_in_a_notebook_one_bar_is_kept_up_to_date(shown: list[str]) -> None:
    show = WaitBar("records")
    show(Waited(0.0, 30, 1))
    show(Waited(15.0, 30, 2))
    show(Waited(16.0, 30, 3, over=True))
    assert shown == [
        "waiting for records: 0 of at most 30 seconds",
        "waiting for records: 15 of at most 30 seconds",
        "waited for records: 16 of at most 30 seconds",
    ]
