"""When a deferred message goes next, and how old it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartrelay.config import RETRY
from smartrelay.relay.schedule import DOUBTFUL, JITTER, age, longest_gap, next_attempt
from smartrelay.spool.history import Mark
from tests.support.queues import few

NOW = 1_800_000_000.0
LADDERS = st.lists(st.floats(1, 1e6), min_size=1, max_size=8)
SHARES = st.floats(0, 1)


def test_the_ladder_of_the_design_step_by_step() -> None:  # C-002 C-003
    steps = [next_attempt(NOW, tries, 0, RETRY, 0.0) - NOW for tries in range(1, 10)]
    assert steps == [60, 300, 900, 1800, 3600, 7200, 10800, 10800, 10800]
    assert next_attempt(NOW, 0, 0, RETRY, 0.0) - NOW == 60


@few
@given(LADDERS, st.integers(0, 50), st.integers(0, 9), SHARES)
def test_jitter_is_at_most_a_tenth_and_never_early(retry: list[float], tries: int, doubts: int, share: float) -> None:
    plain = next_attempt(0.0, tries, doubts, retry, 0.0)
    assert plain <= next_attempt(0.0, tries, doubts, retry, share) <= plain * (1 + JITTER) * (1 + 1e-9)
    assert JITTER <= 0.1 and plain >= min(retry)


@few
@given(LADDERS.map(sorted), st.integers(1, 20), st.integers(0, 9), SHARES)
def test_later_tries_never_come_sooner(retry: list[float], tries: int, doubts: int, share: float) -> None:
    assert next_attempt(NOW, tries, doubts, retry, share) <= next_attempt(NOW, tries + 1, doubts, retry, share)
    assert next_attempt(NOW, tries, doubts, retry, share) <= next_attempt(NOW, tries, doubts + 1, retry, share)


def test_after_the_third_doubt_a_message_waits_four_hours() -> None:
    """Law 10: each further attempt may be a duplicate for somebody."""
    assert next_attempt(NOW, 1, DOUBTFUL - 1, RETRY, 0.0) == NOW + 60
    assert next_attempt(NOW, 1, DOUBTFUL, RETRY, 0.0) == NOW + 4 * 3600
    assert next_attempt(NOW, 1, DOUBTFUL, [86400.0], 0.0) == NOW + 86400


# Age (law 11)

MOST = longest_gap(RETRY)
DAY, HOUR = 86400.0, 3600.0


def tried(*times: float) -> list[Mark]:
    return [Mark(NOW + time, True) for time in times]


def held_up(*times: float) -> list[Mark]:
    return [Mark(NOW + time, False) for time in times]


def test_mail_that_is_tried_as_planned_is_as_old_as_the_clock_says() -> None:  # C-005
    steps, now = [], 0.0
    for tries in range(1, 50):
        now = next_attempt(now, tries, 0, RETRY, 1.0)
        steps.append(now)
    assert age(NOW, tried(*steps), MOST) == pytest.approx(steps[-1])


def test_a_gap_counts_for_at_most_twice_the_longest_step() -> None:
    """A laptop that slept for six days is six hours older, not six days."""
    assert MOST == 6 * HOUR
    assert age(NOW, tried(60, 6 * DAY), MOST) == 60 + MOST
    assert age(NOW, tried(6 * DAY), MOST) == MOST


def test_time_up_to_a_release_does_not_count() -> None:
    """Held mail does not age, however long it is held."""
    marks = [*tried(60, 3600), *held_up(30 * DAY), *tried(30 * DAY + 100)]
    assert age(NOW, marks, MOST) == 3600 + 100


def test_time_up_to_a_trouble_of_our_own_or_a_used_up_budget_does_not_count() -> None:
    marks = [*tried(HOUR), *held_up(2 * HOUR, 3 * HOUR, 40 * DAY), *tried(40 * DAY + HOUR)]
    assert age(NOW, marks, MOST) == 2 * HOUR
    assert age(NOW, held_up(*(hours * HOUR for hours in range(1000))), MOST) == 0


def test_a_clock_that_was_in_1970_makes_nothing_old() -> None:
    """Taken in in 1970 and tried today, or the other way round: one capped gap, and then time goes on as it does."""
    assert age(5.0, [Mark(NOW, True)], MOST) == MOST
    assert age(NOW, [Mark(5.0, True), Mark(NOW + 60, True)], MOST) == MOST
    assert age(NOW, [Mark(5.0, True), Mark(65.0, True)], MOST) == 60


def test_a_jump_ahead_and_back_costs_one_capped_gap() -> None:
    marks = [*tried(60, 400 * DAY, 400 * DAY + 60, 180, 240)]
    assert age(NOW, marks, MOST) == 60 + MOST + 60 + 0 + 60


MARKS = st.lists(st.builds(Mark, st.floats(0, 4e9), st.booleans()), max_size=20)


@few
@given(st.floats(0, 4e9), MARKS, st.floats(1, 1e6))
def test_no_clock_makes_mail_older_than_its_attempts_allow(arrived: float, marks: list[Mark], most: float) -> None:
    found = age(arrived, marks, most)
    assert 0 <= found <= most * sum(mark.counts for mark in marks)


@few
@given(st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), max_size=20), st.floats(1, 1e6))
def test_with_a_sound_clock_mail_is_never_older_than_the_time_since_it_came(
    steps: list[tuple[float, bool]], most: float
) -> None:
    now, marks = NOW, []
    for step, counts in steps:
        now += step
        marks.append(Mark(now, counts))
    assert age(NOW, marks, most) <= now - NOW + 1e-3
