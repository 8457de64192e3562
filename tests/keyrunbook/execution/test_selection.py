from __future__ import annotations

import pytest
from keyrunbook.errors import ParameterError
from keyrunbook.execution.selection import Selection, default_selection, parse_selection, united

STEPS = ("00_a", "01_b", "02_c", "03_d", "04_confirm_events", "05_f", "06_g")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("00", "00"),
        ("00..04", "00 01 02 03 04"),
        ("00,02", "00 02"),
        (" 00 , 02 .. 03 ", "00 02 03"),
        ("00,03..04,06", "00 03 04 06"),
        ("03_d", "03"),
        ("02_c..03_d", "02 03"),
        ("06..06", "06"),
    ],
)
def test_steps_that_can_be_asked_for(text: str, numbers: str) -> None:
    selection = parse_selection(text, STEPS)
    assert " ".join(name[:2] for name in selection.steps) == numbers
    assert selection.by_name


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "a step's number is missing"),
        ("00,", "a step's number is missing"),
        ("00..", "a step's number is missing"),
        ("07", "there is no step '07'"),
        ("0", "there is no step '0'"),
        ("00-04", "there is no step '00-04'"),
        ("00...04", "there is no step '.04'"),
        ("04..00", "the range '04..00' runs backwards"),
        ("02,00", "00 comes after 02"),
        ("00..02,01", "step 01 is named twice"),
        ("all", "there is no step 'all'"),
    ],
)
def test_steps_that_cannot(text: str, what: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_selection(text, STEPS)
    assert caught.value.what == f"--steps {text}: {what}."
    assert "00 to 06" in caught.value.fix
    assert caught.value.exit_status == 2


def test_aws_stops_at_the_proof_unless_steps_are_named() -> None:
    assert default_selection("sandbox", STEPS).steps == STEPS
    assert default_selection("aws", STEPS).steps == STEPS[:5]
    assert not default_selection("aws", STEPS).by_name


@pytest.mark.parametrize(
    ("earlier", "now", "numbers", "by_name"),
    [
        (None, "02", "02", True),
        ("00..04", "02", "00 01 02 03 04", False),
        ("00..04", "05,06", "00 01 02 03 04 05 06", True),
        ("00..02", "03", "00 01 02 03", True),
    ],
)
def test_a_run_keeps_the_steps_that_it_was_begun_with(
    earlier: str | None, now: str, numbers: str, by_name: bool
) -> None:
    begun = None if earlier is None else Selection(parse_selection(earlier, STEPS).steps, False)
    selection = united(begun, parse_selection(now, STEPS))
    assert " ".join(name[:2] for name in selection.steps) == numbers
    assert selection.by_name is by_name
