"""The map of the seven steps: how each stands by the ledger, as a picture, words and links."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import Any
from urllib.parse import unquote

import pytest
from keyrunbook.show.map import Map, State
from keyrunbook.steps import STEPS
from keyrunbook.steps.states import states


def done(*numbers: str) -> list[dict[str, Any]]:
    return [{"kind": "done", "step": one} for one in STEPS if one[:2] in numbers]


def verdict(word: str) -> dict[str, Any]:
    return {"kind": "verdict", "step": "04_confirm_events", "verdict": word}


ERROR = {"kind": "error", "step": "02_grant_access", "what": "AWS refused it."}
FOUND = {
    "kind": "findings",
    "step": "02_grant_access",
    "findings": [{"statement": "A", "status": "pass"}, {"statement": "B", "status": "fail"}],
}
TABLE: list[tuple[str, list[dict[str, Any]], str]] = [
    ("nothing is done", [], "→○–––––"),
    ("who begins at 01 goes on at 02", done("01"), "○✓→–––○"),
    ("one after the other", done("00", "01", "02"), "✓✓✓→––○"),
    ("after 03", done("00", "01", "02", "03"), "✓✓✓✓→○○"),
    ("proved", [*done("00", "01", "02", "03", "04"), verdict("PROVED")], "✓✓✓✓✓→○"),
    ("not yet", [*done("00", "01", "02", "03", "04"), verdict("NOT_YET")], "✓✓✓✓→○○"),
    (
        "proved in the end",
        [*done("00", "01", "02", "03", "04"), verdict("NOT_YET"), verdict("PROVED")],
        "✓✓✓✓✓→○",
    ),
    ("all", done(*(f"0{n}" for n in range(7))), "✓✓✓✓✓✓✓"),
    ("finished early", done("01", "06"), "–✓––––✓"),
]


@pytest.mark.parametrize(("entries", "signs"), [pytest.param(e, s, id=i) for i, e, s in TABLE])
def test_how_the_steps_stand(entries: list[dict[str, Any]], signs: str) -> None:
    assert "".join(one.state.value[0] for one in states(entries)) == signs


@pytest.mark.parametrize(
    ("entries", "step", "why"),
    [
        ([], "02_grant_access", "01_create_key has to be done first."),
        (done("06"), "02_grant_access", "The run is finished"),
        ([*done("01"), FOUND, ERROR], "02_grant_access", "ended early: AWS refused it."),
        ([*done("01"), ERROR, FOUND], "02_grant_access", "Failed: B."),
        ([*done("03"), verdict("NOT_YET")], "04_confirm_events", "NOT YET: look again"),
        ([*done("03", "04"), verdict("PROVED")], "04_confirm_events", "The verdict is PROVED."),
    ],
)
def test_why(entries: list[dict[str, Any]], step: str, why: str) -> None:
    (found,) = [one for one in states(entries) if one.step == step]
    assert why in found.why


def test_a_run_that_cannot_go_on_here_is_blocked_and_says_why() -> None:
    found = states(done("00", "01"), "The sandbox is gone.")
    assert [one.state for one in found[:2]] == [State.DONE, State.DONE]
    assert {(one.state, one.why) for one in found[2:]} == {(State.BLOCKED, "The sandbox is gone.")}


MAP = Map("The run <r>", states(done("00", "01")), ("It works.",))


def test_the_picture_the_words_and_the_table_say_the_same() -> None:
    html = MAP.mimebundle()["text/html"]
    assert "operator (✓ done) → key (✓ done) → policies (→ next) → workflow (– blocked)" in html
    (source,) = re.findall(r'src="data:image/svg\+xml,([^"]+)"', html)
    picture = ElementTree.fromstring(unquote(source))
    texts = [one.text for one in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "The run <r>"
    for text in ("operator", "00 ✓ done", "policies", "02 → next", "04 – blocked"):
        assert text in texts
    assert any(text and text.startswith("05 – blocked: takes access away") for text in texts)


def test_the_end_of_the_way_says_the_verdict_not_that_somebody_asked() -> None:
    shown = Map("x", states([*done("03", "04"), verdict("REFUTED")]))
    assert shown.words().endswith("CloudTrail (✓ done) → verdict (✓ done: REFUTED).")
    assert ">REFUTED<" in shown.svg()
    assert "PROVED, or why not" not in shown.svg()


def test_each_step_has_a_link_to_its_notebook() -> None:
    links = re.findall(r'<a href="([^"]+)">([^<]+)</a>', MAP.mimebundle()["text/html"])
    assert links == [(f"{step}.ipynb", step) for step in STEPS]


def test_no_state_is_told_by_colour_alone() -> None:
    """Each has a sign and a word, and a frame of its own."""
    assert len({state.value.split()[0] for state in State}) == len(State)
    frames = {
        re.sub(r'stroke="#\w+" ?', "", frame)
        for frame in re.findall(
            r'(stroke="#\w+" stroke-width="[\d.]+"(?: stroke-dash[^/]*)?)/>',
            Map("", states(done("01"))).svg(),
        )
    }
    assert len(frames) >= 4
