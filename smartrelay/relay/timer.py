"""The periodic call where no systemd or cron makes it: `flush --every`, for containers."""

import os
import select
from collections.abc import Callable


class RelayStateHelper:
    """A service that checks state every `delay` seconds, and within a second of new mail.

    check: one cycle. news: whether mail has come that wants one. `start` returns when `stop` was called, from a signal
    handler or another thread.
    """

    LOOK = 1.0
    """Seconds between looks for new mail."""

    def __init__(self, check: Callable[[], None], delay: float, news: Callable[[], bool]) -> None:
        self._check = check
        self._delay = delay
        self._news = news
        # a pipe, for an Event has a lock that the interrupted code may hold: a signal handler would wait for itself
        self._stopped, self._stop = os.pipe()

    def start(self) -> None:
        """Runs until `stop`."""
        while not self._is_stopped(0):
            self._check()
            left = self._delay
            while left > 0 and not self._is_stopped(min(left, self.LOOK)):
                left -= self.LOOK
                if self._news():
                    break

    def _is_stopped(self, seconds: float) -> bool:
        """Whether `stop` was called, or is within `seconds`."""
        return bool(select.select([self._stopped], [], [], seconds)[0])

    def stop(self) -> None:
        """Ends `start` after the cycle that is under way."""
        os.write(self._stop, b".")
