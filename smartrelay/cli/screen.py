"""A terminal on which a person reads dialogues along."""

import os
import select
import threading
from contextlib import suppress

_PATIENCE = 1.0
"""Seconds that a terminal gets to take a line: a person who stops it must not stop the mail."""


class Screen:
    """Standard error, for lines of several connections at once: each time that another one speaks, its name is shown first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._peer = ""
        self._patience = _PATIENCE

    def show(self, peer: str, line: str) -> None:
        """Shows one line. peer: whose connection it is about, "" for none."""
        with self._lock:
            if not self._takes_a_line():
                return
            head = f"--- {peer}\n" if peer and peer != self._peer else ""
            self._peer = peer or self._peer
            with suppress(OSError):  # that nobody can see it changes nothing about what is done
                os.write(2, f"{head}{line}\n".encode("utf-8", "backslashreplace"))

    def _takes_a_line(self) -> bool:
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        ready = bool(poll.poll(self._patience * 1000))
        self._patience = _PATIENCE if ready else 0.0
        return ready
