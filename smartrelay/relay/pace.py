"""How many connections are of use: as many as leave this process with its hands free, and no more.

Threads share one interpreter lock, and what they hand to each other across processors is twice the work: two connections that
keep a processor busy send half of what one of them would send alone.
"""

import time
from collections.abc import Callable

_FREE, _BUSY = 0.5, 0.9
"""Of the time that passes, the part that our threads spend on a processor: below the first another connection is of use,
above the second there is one too many."""

_LEAST = 0.01
"""Seconds that have to pass before it can be told."""


class Pace:
    """How busy this process is, from one look to the next. processor, clock: seconds.

    free, busy: whether one more connection would be of use, or one less. Neither, until it can be told: the first connection
    shows how fast the server is.
    """

    def __init__(self, processor: Callable[[], float] = time.process_time, clock: Callable[[], float] = time.monotonic) -> None:
        self._processor = processor
        self._clock = clock
        self._spent, self._since = processor(), clock()
        self.free = self.busy = False

    def look(self) -> None:
        """Sees what has been spent since the last look."""
        spent, now = self._processor(), self._clock()
        passed = now - self._since
        if passed >= _LEAST:
            share = (spent - self._spent) / passed
            self.free, self.busy = share < _FREE, share > _BUSY
            self._spent, self._since = spent, now
