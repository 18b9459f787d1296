"""When a deferred message goes next."""

from hypothesis import given
from hypothesis import strategies as st

from smartrelay.config import RETRY
from smartrelay.relay.schedule import DOUBTFUL, JITTER, next_attempt
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
