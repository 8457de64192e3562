"""The one waiting loop: it has a limit, it asks a last time at it, and it never claims."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyrunbook.aws.wait import NotYet, Pending, Waited, wait_until


class Time:
    """A clock that sleeping moves on."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def answers(*values: object) -> Callable[[], object]:
    """A probe that gives these, and the last one ever after."""
    given_ = iter(values)
    return lambda: next(given_, values[-1])


def wait(
    probe: Callable[[], object], limit_s: float, interval_s: float = 5
) -> tuple[object, Time, list[Waited]]:
    time, seen = Time(), []  # type: ignore[var-annotated]
    result = wait_until(probe, limit_s, interval_s, time.clock, time.sleep, seen.append)
    return result, time, seen


def test_what_is_there_at_once_is_not_waited_for() -> None:
    result, time, seen = wait(answers("found"), 60)
    assert (result, time.slept) == ("found", [])
    assert seen == [Waited(0, 60, 1, over=True)]


def test_it_asks_again_after_each_interval() -> None:
    result, time, seen = wait(answers(None, Pending("1 of 2"), "found"), 60)
    assert (result, time.slept) == ("found", [5, 5])
    assert seen == [
        Waited(0, 60, 1),
        Waited(5, 60, 2, "1 of 2"),
        Waited(10, 60, 3, over=True),
    ]


def test_at_the_limit_it_asks_a_last_time_and_says_not_yet() -> None:
    result, time, seen = wait(answers(None, Pending("a"), Pending("b")), 12)
    assert result == NotYet(waited_s=12, limit_s=12, probes=4, last="b")
    assert time.slept == [5, 5, 2]
    assert [one.over for one in seen] == [False, False, False, True]


def test_what_comes_at_the_last_moment_counts() -> None:
    result, time, _ = wait(answers(None, None, None, "found"), 12)
    assert (result, time.now) == ("found", 112)


def test_a_limit_of_none_asks_once() -> None:
    result, time, seen = wait(answers(None), 0)
    assert result == NotYet(0, 0, 1)
    assert (time.slept, [one.over for one in seen]) == ([], [True])


@pytest.mark.parametrize("value", [False, 0, "", (), NotYet(1, 1, 1)])
def test_every_answer_but_none_and_pending_is_an_answer(value: object) -> None:
    assert wait(answers(value), 60)[0] == value


def test_a_slow_probe_is_not_interrupted_and_the_limit_holds_after_it() -> None:
    time, asked = Time(), []

    def slow() -> None:
        asked.append(time.now)
        time.now += 50

    result = wait_until(slow, 60, 5, time.clock, time.sleep)
    assert asked == [100, 155, 205]
    assert result == NotYet(155, 60, 3)


def test_what_the_probe_raises_comes_through() -> None:
    def refused() -> None:
        raise PermissionError("no")

    with pytest.raises(PermissionError):
        wait(refused, 60)


@pytest.mark.parametrize(("limit_s", "interval_s"), [(-1, 5), (60, 0), (60, -1)])
def test_no_time_to_wait(limit_s: float, interval_s: float) -> None:
    with pytest.raises(ValueError, match="is no time to wait"):
        wait(answers(None), limit_s, interval_s)


@given(st.integers(0, 500), st.integers(1, 60))
def test_it_never_waits_longer_than_its_limit(limit_s: int, interval_s: int) -> None:
    result, time, seen = wait(answers(None), limit_s, interval_s)
    assert isinstance(result, NotYet)
    assert time.now - 100 == limit_s
    assert all(0 < pause <= interval_s for pause in time.slept)
    assert len(seen) == result.probes == -(-limit_s // interval_s) + 1
