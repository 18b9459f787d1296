"""When a deferred message goes next, and how old it is: pure functions of its journal and the settings of `[queue]`."""

from collections.abc import Iterable, Sequence

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


def longest_gap(retry: Sequence[float]) -> float:
    """Seconds of a gap between two entries of a journal that count at most: in a longer one no pass was made (a laptop slept,
    a machine was off or offline, a clock jumped), and the message could not have gone (law 11)."""
    return 2 * max(retry)


def age(arrived: float, marks: Iterable[tuple[float, bool]], most: float) -> float:
    """For how many seconds a recipient's mail could have gone. arrived: Unix seconds. marks: what happened for this recipient,
    in order (`spool.history.Mark`), up to the attempt at which this is asked. most: what one gap counts at most.

    A gap that ends in a release (it was held), in a trouble of our own or in a used-up budget counts nothing; neither does one
    in which the clock went back.
    """
    total, last = 0.0, arrived
    for time, counts in marks:
        # no min and max: a listing asks this of each message
        if counts and time > last:
            total += time - last if time - last < most else most
        last = time
    return total
