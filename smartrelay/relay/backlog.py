"""What one next hop has to send: planned messages that nobody has taken yet."""

import threading
from collections import deque
from typing import NamedTuple


class Item(NamedTuple):
    """A planned message: for which recipients (None: all that wait), whether a dying session gave it back, and the stop of the
    hop's course from which on it may be handed over."""

    queue_id: str
    recipients: tuple[int, ...] | None
    retried: bool = False
    stop: int = 0


class Backlog:
    """The items of one next hop; safe in threads. main: the stop of the course that most of them go to at present.

    Those on a detour are for a later stop alone: the host before would not take them, though it takes the others.
    """

    def __init__(self) -> None:
        self.main = 0
        self._lock = threading.Lock()
        self._items: deque[Item] = deque()
        self._detours: deque[Item] = deque()

    def __len__(self) -> int:
        return len(self._items) + len(self._detours)

    @property
    def stop(self) -> int:
        """The stop from which on a host is looked for next."""
        with self._lock:
            return 0 if self._items else min((item.stop for item in self._detours), default=0)

    def add(self, item: Item) -> None:
        """Another one, behind all others."""
        with self._lock:
            (self._detours if item.stop else self._items).append(item)

    def put_back(self, item: Item) -> None:
        """One that was taken and not begun. To begin a session is the best chance that there is: those come first whose last
        it is."""
        with self._lock:
            items = self._detours if item.stop else self._items
            lasts = 0 if item.retried else next((n for n, each in enumerate(items) if not each.retried), len(items))
            items.insert(lasts, item)

    def take(self, stop: int) -> Item | None:
        """The next one for the host at `stop`, which one that was reached for a detour's sake is not for all the others."""
        with self._lock:
            if self._detours:
                for item in self._detours:
                    if item.stop <= stop:
                        self._detours.remove(item)
                        return item
            return self._items.popleft() if self._items and stop <= self.main else None

    def take_stuck(self, stop: int) -> Item | None:
        """The next one that only hosts from `stop` on could have taken."""
        with self._lock:
            if stop == 0:
                return self._items.popleft() if self._items else None
            found = next((item for item in self._detours if item.stop >= stop), None)
            if found is not None:
                self._detours.remove(found)
            return found

    def clear(self) -> None:
        """Nothing is to be sent any more."""
        with self._lock:
            self._items.clear()
            self._detours.clear()
