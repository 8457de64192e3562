"""A wait outside of a notebook is told in one line, once it lasts."""

from __future__ import annotations

import pytest
from keyrunbook.aws.wait import Waited
from keyrunbook.show.waiting import WaitBar


def test_a_wait_that_lasts_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    bar = WaitBar("kms:CreateKey to show")
    for seconds in (0.0, 0.5, 1.5, 40.0, 120.0):
        bar(Waited(seconds, 120, 1, over=seconds == 120.0))
    told = capsys.readouterr()
    assert told.err == "waiting for kms:CreateKey to show: 2 of at most 120 seconds\n"
    assert told.out == ""


def test_a_wait_that_is_over_at_once_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    WaitBar("x")(Waited(0.2, 120, 1, over=True))
    assert capsys.readouterr().err == ""
