"""Whether more connections could be of use: not while this process has its hands full with those that there are."""

import time
from collections.abc import Callable

_BUSY = 0.7
"""Of the time that passes, the part that our threads may spend on a processor before another would only get in their way:
they share one interpreter lock."""

_LEAST = 0.01
"""Seconds that have to pass before it can be told."""


class Pace:
    """How busy this process is, from one look to the next. processor, clock: seconds."""

    def __init__(self, processor: Callable[[], float] = time.process_time, clock: Callable[[], float] = time.monotonic) -> None:
        self._processor = processor
        self._clock = clock
        self._spent, self._since = processor(), clock()
        self._busy = True  # until it can be told: the first connection shows how fast the server is

    def is_busy(self) -> bool:
        """Whether our threads leave a processor hardly any time to wait in."""
        spent, now = self._processor(), self._clock()
        if now - self._since >= _LEAST:
            self._busy = spent - self._spent > (now - self._since) * _BUSY
            self._spent, self._since = spent, now
        return self._busy
