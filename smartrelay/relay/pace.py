"""How many connections to a host are of use: told by whether we have to wait for its answers.

Threads share one interpreter lock, and what they hand to each other across processors is twice the work: two connections
that keep this process busy send half of what one of them sends alone. A server whose answers are there whenever we come for
them has as many connections as it can use; a slow or distant one has not.
"""

import time
from collections.abc import Callable

_FREE, _BUSY = 0.5, 0.25
"""Of the answers, the part that is waited for: above the first another connection is of use, below the second there is one
too many."""

_LEAST = 0.02
"""Seconds that have to pass before it can be told, and as many answers for one connection to be too many."""

_ENOUGH = 10


class Pace:
    """Which part of a host's answers is waited for, from one look to the next. clock: seconds.

    free, busy: whether one more connection would be of use, or one less. Neither, until it can be told: the first connection
    shows how fast the server is.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._waited = self._there = 0
        self.free = self.busy = False

    def note(self, waited: bool) -> None:
        """We came for an answer, and had to wait for it or not. From any thread; one that is lost does not matter."""
        if waited:
            self._waited += 1
        else:
            self._there += 1

    def look(self) -> bool:
        """Judges by what was noted since it judged last; whether it did, for it is too early at times."""
        now = self._clock()
        if now - self._since < _LEAST:
            return False
        waited, there = self._waited, self._there
        self._since, self._waited, self._there = now, 0, 0
        # no answer at all is one that is waited for
        share = waited / (waited + there) if there else 1.0
        self.free = share > _FREE
        self.busy = share < _BUSY and there >= _ENOUGH
        return True
