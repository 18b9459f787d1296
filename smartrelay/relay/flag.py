"""A flag that a signal handler may raise."""

import threading


class Flag(threading.Event):
    """An event that nobody waits for, without a lock: the code that a signal interrupts may hold that lock, and the handler
    would wait for it for ever."""

    def __init__(self) -> None:
        super().__init__()
        self._raised = False

    def set(self) -> None:
        """Raises the flag, for good."""
        self._raised = True

    def is_set(self) -> bool:
        """Whether it was raised."""
        return self._raised
