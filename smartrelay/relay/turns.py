"""The turns of one next hop's mail by the rates: who waits for one, and who comes back later."""

import threading
import time
from collections.abc import Callable

from smartrelay.relay.budget import Budgets
from smartrelay.relay.quota import SOON

_LOOK = 0.1
"""Seconds between looks whether the pass is to stop, while a turn is waited for."""


class Turns:
    """name: of the relay. stopping: set when the pass is to end.

    A turn that comes within two seconds is waited for, the message in hand: "14/s" is a pace, no reason to defer. One worker
    waits, and behind it in line those who have not taken a message yet; so one more of them would be of no use.
    """

    def __init__(self, budgets: Budgets, name: str, stopping: threading.Event, clock: Callable[[], float]) -> None:
        self._budgets = budgets
        self._name = name
        self._stopping = stopping
        self._clock = clock
        self._line = threading.Lock()

    @property
    def are_waited_for(self) -> bool:
        """Whether somebody is in line."""
        return self._line.locked()

    def line_up(self, *, waits: bool = True) -> bool:
        """Waits for the head of the line; False where the pass is to stop. Whoever stands there must `leave_line`. waits: False
        for who must not, and comes to the head only where nobody is in line and there would be nothing to wait for."""
        if not waits:
            return self._budgets.has_pace(self._name) and self._line.acquire(blocking=False)
        while not self._stopping.is_set():
            if self._line.acquire(timeout=_LOOK):
                if not self._stopping.is_set():
                    return True
                self._line.release()
        return False

    def leave_line(self) -> None:
        """The next one may come to the head."""
        self._line.release()

    def take(self, arrived: float, *, waits: bool = True) -> float:
        """One message, that arrived then, may go: 0.0. Else the Unix time at which its turn comes: it is to be put off or,
        where that `is_soon`, back into the backlog: the caller must not wait, or the pass is to stop."""
        while turn := self._budgets.take(self._name, arrived):
            if not waits or self._stopping.is_set() or not self.is_soon(turn):
                break
            time.sleep(min(max(turn - self._clock(), 0.001), _LOOK))
        return turn

    def is_soon(self, turn: float) -> bool:
        """Whether a turn at that Unix time is one to wait for."""
        return turn - self._clock() <= SOON

    def give_back(self, taken: float) -> None:
        """A message that was not sent after all. taken: the time before `take`."""
        self._budgets.give_back(self._name, taken)
