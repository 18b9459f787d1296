"""How many connections one host has, and how many it may have.

At first five, and twice as many with each success up to the limit; half as many after a refusal. Within that, as many as are
of use: `pace` knows.
"""

import threading

from smartrelay.relay.pace import Pace

_FIRST = 5

_PER_CONNECTION = 5
"""A further connection is worth its hand-shakes when this many messages wait for each that there is."""

_BEFORE_ONE_MORE = 100
"""Messages that go through before a host that was full is asked for one connection more."""


class Connections:
    """The connections to one host. most: at once. workers: threads that have one, or are about to."""

    def __init__(self, most: int, pace: Pace) -> None:
        self.workers = 0
        self.pace = pace
        self._most = most
        self._lock = threading.Lock()
        self._open = 0
        self._opening = 0
        self._surplus = False
        self._leaving = 0
        self.begin()

    def begin(self) -> None:
        """Another host: what the one before it allowed does not count."""
        self._window = min(_FIRST, self._most)
        self._stood = False
        self._full = False
        self._since_full = 0

    def are_too_few(self, backlog: int) -> bool:
        """Whether so many messages are worth one more connection, and the host may have it."""
        return self.workers < min(self._window, -(-backlog // _PER_CONNECTION))

    def have_room(self) -> bool:
        """Whether one more would not get in the way of those that there are. A host that is down is found out by one."""
        return not self.workers or (self._stood and self.pace.free)

    def look(self) -> None:
        """Where there are too many, has one of them end behind the message that it is at: one for each judgement."""
        if self.pace.look():
            with self._lock:
                self._surplus = self.pace.busy and self.workers - self._leaving > 1

    def is_surplus(self) -> bool:
        """Whether the connection that asks shall end."""
        if not self._surplus:
            return False
        with self._lock:
            surplus, self._surplus = self._surplus, False
            self._leaving += surplus
        return surplus

    def left(self) -> None:
        """A worker is gone."""
        with self._lock:
            self.workers -= 1
            self._leaving = max(0, self._leaving - 1)

    def opening(self) -> None:
        """One is about to be made."""
        with self._lock:
            self._opening += 1

    def opened(self, *, stands: bool) -> None:
        """It was made, or could not be."""
        with self._lock:
            self._opening -= 1
            self._open += stands
            self._stood = self._stood or stands

    def ended(self) -> None:
        """One that stood has ended."""
        with self._lock:
            self._open -= 1

    def succeeded(self) -> None:
        """A message went through. It says nothing of more connections than there are."""
        with self._lock:
            if not self._full:
                if self._open >= self._window:
                    self._window = min(self._most, self._window * 2)
                return
            self._since_full += 1
            if self._since_full >= _BEFORE_ONE_MORE:
                self._since_full = 0
                self._window = min(self._most, self.workers + 1)

    def refused(self) -> bool:
        """The host refused one; whether it is not down but full, because others stand, or are just being made and will know."""
        with self._lock:
            others = self._open + self._opening
            if not others:
                return False
            # not what the window would allow, which may be far more than the host does
            self._window = max(1, min(self._window // 2, others))
            self._full, self._since_full = True, 0
            return True
