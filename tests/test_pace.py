"""Another connection is of use while answers are waited for; one is too many when they are always there."""

import pytest

from smartrelay.relay.pace import Pace
from tests.support.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def seen(pace: Pace, clock: FakeClock, waited: int, there: int, seconds: float = 0.03) -> tuple[bool, bool]:
    for number in range(waited + there):
        pace.note(number < waited)
    clock.advance(seconds)
    pace.look()
    return pace.free, pace.busy


FREE, BUSY, NEITHER = (True, False), (False, True), (False, False)


def test_it_is_neither_until_it_can_be_told(clock: FakeClock) -> None:
    """The first connection shows how fast the server is, before a second one is made."""
    pace = Pace(clock)
    assert seen(pace, clock, 5, 0, seconds=0.01) == NEITHER
    assert seen(pace, clock, 5, 0) == FREE


def test_a_server_that_says_nothing_at_all_is_waited_for(clock: FakeClock) -> None:
    pace = Pace(clock)
    assert seen(pace, clock, 0, 0) == FREE


def test_only_what_came_since_the_last_look_counts(clock: FakeClock) -> None:
    pace = Pace(clock)
    found = [seen(pace, clock, *each) for each in [(1, 99), (60, 40), (40, 60), (0, 50), (3, 0)]]
    assert found == [BUSY, FREE, NEITHER, BUSY, FREE]


def test_a_few_answers_show_no_crowd(clock: FakeClock) -> None:
    pace = Pace(clock)
    assert seen(pace, clock, 0, 9) == NEITHER
    assert seen(pace, clock, 0, 10) == BUSY
