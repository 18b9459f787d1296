"""When a deferred message goes next: the ladder of `[queue] retry` with jitter, one pure function."""

from collections.abc import Sequence

JITTER = 0.1
"""Up to this share is added to a step, so that mail that was deferred together does not come back together."""

DOUBTFUL = 3
DOUBT_STEP = 4 * 3600.0
"""After the third session that was lost behind the final dot, a message waits at least this long: each of its attempts
may be a duplicate for somebody (law 10)."""


def next_attempt(now: float, tries: int, doubts: int, retry: Sequence[float], share: float) -> float:
    """Unix seconds of the attempt after `tries` deferrals (1 or more); share: a random number from 0 to 1."""
    step = retry[min(max(tries, 1), len(retry)) - 1]
    if doubts >= DOUBTFUL:
        step = max(step, DOUBT_STEP)
    return now + step * (1 + JITTER * share)
