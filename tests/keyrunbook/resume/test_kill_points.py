"""A run that is killed at any point between and around AWS's calls is gone on with to a good end.

`make test` kills at a sample of the points, drawn with a seed that it prints; KILL_SEED repeats a
sample. `make test-full` (ALL_KILL_POINTS=1) goes through every state that a killed process can
leave (see `driver`), by one point of each, and through pairs of points.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest
from kills import Came, Killers, Kills, Points, given_up, killers

pytestmark = pytest.mark.e2e

WHOLE = os.environ.get("ALL_KILL_POINTS") == "1"
SEED = int(os.environ.get("KILL_SEED") or random.SystemRandom().randrange(10**6))
SINGLE, DOUBLE = 9, 2
BLOCKS = 12
"""Parts of the whole sweep: one test each, so that none takes too long."""
DRIVERS = 6 if WHOLE else 4
HOSTS = 2 if WHOLE else 1


@pytest.fixture(scope="module")
def them(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killers]:
    with killers(tmp_path_factory.mktemp("kills"), DRIVERS, HOSTS) as found:
        yield found


@pytest.fixture(scope="module")
def points(them: Killers) -> Points:
    return them.points()


Tell = Callable[[str], None]


def judge(came: list[Came], points: Points, what: str, tell: Tell) -> None:
    """Say the counts, and fail where a run did not come to a good end."""
    bad = [one for one in came if one.wrong]
    reached, asked = sum(one.reached for one in came), sum(len(one.kills.points) for one in came)
    tell(
        f"kill points: {len(points.names)} in all, of {len(points.of_states())} states; "
        f"{what}: {len(came)} runs tried, {reached} of {asked} kills reached, "
        f"{len(came) - len(bad)} passed"
    )
    assert bad == [], "\n".join(
        f"killed at {[(n, points.names[n - 1]) for n in one.kills.points]}: {one.wrong}"
        for one in bad
    )
    assert reached >= asked * 0.9


@pytest.mark.parametrize("part", range(BLOCKS) if WHOLE else ["a sample"])
def test_a_killed_run_comes_to_a_good_end(
    part: int | str, them: Killers, points: Points, tell: Tell
) -> None:
    draw = random.Random(f"{SEED} {part}")
    states, number = points.of_states(), len(points.names)
    if isinstance(part, int):
        states, what = states[part::BLOCKS], f"part {part + 1} of {BLOCKS}"
    else:
        states, what = draw.sample(states, SINGLE), part
    orders = [Kills((draw.choice(state),)) for state in states]
    for _ in range(DOUBLE):
        first = draw.randrange(1, number // 2)
        orders.append(Kills((first, draw.randrange(1, number - first))))
    judge(them.all_of(orders), points, f"{what}, seed {SEED}", tell)


GIVEN_UP = ("kms:PutKeyPolicy", "iam:PutRolePolicy", "iam:DeleteRolePolicy")


def test_a_killed_run_can_be_cleaned_up_at_once(them: Killers, points: Points, tell: Tell) -> None:
    """06 removes what a step made that did not come to its end; and only needs 01."""
    wanted = {f"line outcome {call}: written" for call in GIVEN_UP}
    orders = [Kills((n,)) for n, name in enumerate(points.names, 1) if name in wanted]
    orders = orders if WHOLE else random.Random(SEED).sample(orders, 3)
    judge(them.all_of(orders, given_up), points, f"given up, seed {SEED}", tell)


def test_the_points_are_around_every_call_and_line(points: Points) -> None:
    names = points.names
    calls = {point.partition(":")[0] for point in names if not point.startswith("line")}
    for call in ("CreateKey", "PutKeyPolicy", "CreateWorkflow", "LookupEvents", "DeleteRole"):
        assert call in calls
        sent = [point for point in names if point == f"{call}: to be sent"]
        served = [point for point in names if point == f"{call}: served, the answer is lost"]
        assert len(sent) == len(served) > 0
    for moment in ("to be written", "torn", "written"):
        assert f"line intent kms:CreateKey: {moment}" in names
        assert f"line outcome kms:CreateKey: {moment}" in names
    sent, served = (
        names.index(f"CreateKey: {at}") for at in ("to be sent", "served, the answer is lost")
    )
    assert points.states[sent] == points.states[sent - 1] == points.states[served] - 1
