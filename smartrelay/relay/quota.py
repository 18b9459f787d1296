"""One rate: what was taken in the window that ends now, and who was told to come back when."""

import math
from collections import deque
from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import accumulate

from smartrelay.values import Rate

SOON = 2.0
"""Seconds. A budget for no longer than this ("14/s") is a pace: its turns come sooner, and are waited for with the message
in hand. All other turns are further off, and a reason to defer."""

_LEAST = SOON + 1
"""Seconds from now to a turn of any budget that is no pace: whoever is told it must see that it is one."""

_LATE = 300.0
"""Seconds for which budget that has returned is kept for those who were told that it is their turn."""

_SLOTS = 64
"""What was taken in this part of the window counts as taken at once, when the last of it was."""

Slot = tuple[float, int]
"""When the last of it was taken (Unix seconds), and how many messages."""


class Quota:
    """How much of one rate is left, and whose turn it is when some of it returns.

    What was taken is kept in slots, few whatever the rate; a slot counts until its last message has left the window, at most
    one part in 64 longer than it must. slots: those of an earlier pass. is_pace: whether its turns are waited for. Times are
    Unix seconds.
    """

    def __init__(self, rate: Rate, slots: Iterable[Slot]) -> None:
        self._rate = rate
        self.is_pace = rate.seconds <= SOON
        self._slot = rate.seconds / _SLOTS
        self.slots: deque[Slot] = deque(sorted(slots))
        self._taken = sum(number for _, number in self.slots)
        self._forget_turns()

    def _forget_turns(self) -> None:
        self._turns: dict[float, int] = {}  # that have not come yet, and how many were told each
        self._order: list[float] = []  # a heap of them
        self._waiting = 0  # how many were told one of them
        self._owed, self._owed_since = 0, 0.0  # how many were told one that has come
        # who arrived last of those who were told a turn, and of those who were before budget last returned
        self._youngest = self._known = -math.inf

    def look(self, now: float) -> bool:
        """Lets go what has left the window. Whether the clock was set back: what was taken then counts from now on, and must
        be remembered so, or each pass would begin that anew."""
        ahead = 0
        while self.slots and self.slots[-1][0] > now:
            ahead += self.slots.pop()[1]
        if ahead:
            # the clock was set back: who knows when that was, but it must not count for longer than from now on
            self.slots.append((now, ahead))
            self._forget_turns()
        while self.slots and self._returns(self.slots[0][0]) <= now:
            self._taken -= self.slots.popleft()[1]
            self._known = self._youngest
        while self._order and self._order[0] <= now + _LEAST + 1:
            self._owed_since = heappop(self._order)
            number = self._turns.pop(self._owed_since)
            self._owed += number
            self._waiting -= number
        if now > self._owed_since + _LATE:
            self._owed = 0
        return ahead > 0

    def has(self, arrived: float) -> bool:
        """Whether there is any for a message that arrived then: what there is may be kept for those whose turn it is."""
        return self._rate.messages - self._taken > (0 if arrived <= self._known else self._owed)

    def add(self, now: float, arrived: float) -> None:
        """Takes one."""
        number = 1
        if self.slots and self.slots[-1][0] // self._slot == now // self._slot:
            number += self.slots.pop()[1]
        self.slots.append((now, number))
        self._taken += 1
        self._came(arrived)

    def _came(self, arrived: float) -> None:
        if self._owed and arrived <= self._known:
            self._owed -= 1

    def give_back(self, taken: float, now: float) -> None:
        """Gives back one that was taken at `taken` or later, if it counts still.

        The oldest is let go, whichever it was: what went out later counts no shorter than it must.
        """
        if self.slots and taken <= now < self._returns(taken):
            last, number = self.slots.popleft()
            if number > 1:
                self.slots.appendleft((last, number - 1))
            self._taken -= 1

    def turn(self, now: float, arrived: float) -> float:
        """When a message for which there is none can take one: after all who wait, or next if it has waited before."""
        if self.is_pace or arrived <= self._known:
            turn = self._returns(self.slots[0][0])
        else:
            free = self._rate.messages - self._taken
            rounds, place = divmod(self._owed + self._waiting - max(0, free), self._rate.messages)
            place += max(0, -free)
            upto = accumulate(number for _, number in self.slots)
            last = next((last for (last, _), end in zip(self.slots, upto, strict=True) if place < end), now)
            turn = self._returns(last) + rounds * self._rate.seconds
        return turn if self.is_pace else max(turn, math.ceil(now + _LEAST))

    def tell(self, turn: float, arrived: float) -> None:
        """A message was told that its turn comes then."""
        if self.is_pace:
            return
        self._came(arrived)
        self._youngest = max(self._youngest, arrived)
        self._waiting += 1
        if turn not in self._turns:
            heappush(self._order, turn)
        self._turns[turn] = self._turns.get(turn, 0) + 1

    def _returns(self, taken: float) -> float:
        at = taken + self._rate.seconds
        return at if self.is_pace else math.ceil(at)
