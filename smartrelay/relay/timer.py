"""The periodic call where no systemd or cron makes it: `flush --every`, for containers."""

import threading
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
        self._stopped = threading.Event()

    def start(self) -> None:
        """Runs until `stop`."""
        while not self._stopped.is_set():
            self._check()
            left = self._delay
            while left > 0 and not self._stopped.wait(min(left, self.LOOK)):
                left -= self.LOOK
                if self._news():
                    break

    def stop(self) -> None:
        """Ends `start` after the cycle that is under way."""
        self._stopped.set()
