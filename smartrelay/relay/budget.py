"""Rate budgets: how many messages may begin in what time, for each relay and for all, remembered from pass to pass."""

import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate

from smartrelay.config import Config, Rate
from smartrelay.spool import notes

SOON = 2.0
"""Seconds within which a turn is waited for, the message in hand: "14/s" is a pace, not a reason to defer."""

_SLOTS = 64
"""What was taken in this part of the window counts as taken at once, when the last of it was."""

_WHOLE = 60.0
"""From a window of so many seconds on, budget returns at whole seconds only; in a shorter one that would waste too much."""

_LARGEST, _MOST_SLOTS, _MOST_TAKEN, _NEVER = 1 << 24, 1000, 1_000_000_000, 1e11
"""Octets, slots, messages and Unix seconds that no file of ours has: what has more was made by another hand."""

Slot = tuple[float, int]
"""When the last of it was taken (Unix seconds), and how many messages."""


class _Window:
    """What was taken from one budget and counts still. line: how many wait for what returns next."""

    def __init__(self, rate: Rate, slots: Iterable[Slot]) -> None:
        self._rate = rate
        self._slot = rate.seconds / _SLOTS
        self.slots: deque[Slot] = deque(sorted(slots))
        self._taken = sum(number for _, number in self.slots)
        self.line = 0

    @property
    def full(self) -> bool:
        """Whether nothing can be taken now."""
        return self._taken >= self._rate.messages

    def look(self, now: float) -> None:
        """Lets go what has left the window."""
        ahead = 0
        while self.slots and self.slots[-1][0] > now:
            ahead += self.slots.pop()[1]
        if ahead:
            # the clock was set back: who knows when that was, but it must not count for longer than from now on
            self.slots.append((now, ahead))
        while self.slots and self._returns(self.slots[0][0]) <= now:
            self._taken -= self.slots.popleft()[1]
            self.line = 0

    def add(self, now: float) -> None:
        """Takes one."""
        number = 1
        if self.slots and self.slots[-1][0] // self._slot == now // self._slot:
            number += self.slots.pop()[1]
        self.slots.append((now, number))
        self._taken += 1

    def give_back(self, taken: float, now: float) -> None:
        """Gives back one that was taken at `taken` or later, if it counts still.

        The oldest is let go, whichever it was: what went out later counts no shorter than it must.
        """
        if self.slots and taken <= now < self._returns(taken):
            last, number = self.slots.popleft()
            if number > 1:
                self.slots.appendleft((last, number - 1))
            self._taken -= 1

    def turn(self) -> float:
        """When the next in line can take one, if all before him do so in their turn. The budget must be full."""
        rounds, place = divmod(self.line, self._rate.messages)
        place += self._taken - self._rate.messages
        upto = accumulate(number for _, number in self.slots)
        last = next(last for (last, _), end in zip(self.slots, upto, strict=True) if place < end)
        return self._returns(last) + rounds * self._rate.seconds

    def _returns(self, taken: float) -> float:
        at = taken + self._rate.seconds
        return math.ceil(at) if self._rate.seconds >= _WHOLE else at


class Budgets:
    """What may be sent now, and when the rest may. All methods may be called from several threads.

    Counted is each message for which a transaction is about to begin, once for each consignment: its recipients at one
    next hop, however many. Any window of `seconds`, wherever it begins, has at most `messages`. What was taken is kept in
    slots, so that memory and file stay small; a slot counts until its last message has left the window, at most one part
    in 64 longer than it must. Two things can't be known: how far a clock has jumped ahead, and what was taken between
    the last `save` and a crash.

    A turn is a forecast, not a claim: who asks when there is budget gets it. Still the oldest goes first. A pass asks for
    its due mail oldest first, and in a window of a minute or more budget returns at whole seconds, which is when deferred
    mail becomes due: nothing can be taken in between. So turns need not be kept; the names of the messages hold them.
    Once budget has returned, those who ask are told the next turns as if nobody stood in line: some will be told
    another one when they come, which costs a rename, but no one is sent behind mail that came after his.

    path: the file; only the pass that holds the spool's lock has it. rates: by the name of the relay, "" for all relays
    together. horizon: seconds beyond which no turn is set. clock: Unix seconds. warn: told in a sentence of a file that
    cannot be read or written; that is no reason to stop the mail.
    """

    def __init__(
        self,
        path: str,
        rates: Mapping[str, Rate],
        *,
        horizon: float,
        clock: Callable[[], float] = time.time,
        warn: Callable[[str], None],
    ) -> None:
        self._path = path
        self._horizon = horizon
        self._clock = clock
        self._warn = warn
        self._warned = self._changed = False
        self._lock = threading.Lock()
        try:
            before = _read(path)
        except FileNotFoundError:
            before = {}
        except (OSError, ValueError, RecursionError) as error:
            why = (error.strerror if isinstance(error, OSError) else "") or "it is not what we write"
            warn(f"cannot read the rate budgets in {path}: {why}; what was sent before counts no more")
            before = {}
        self._windows = {name: _Window(rate, before.get(name, ())) for name, rate in rates.items()}

    @classmethod
    def of(cls, config: Config, warn: Callable[[str], None]) -> "Budgets | None":
        """The budgets of `config`, as its spool remembers them; None where no rate is set."""
        rates = {relay.name: relay.rate for relay in config.relays} | {"": config.limits.rate}
        limited = {name: rate for name, rate in rates.items() if rate is not None}
        if not limited:
            return None
        return cls(f"{config.spool}/var/rates.json", limited, horizon=config.horizon, warn=warn)

    def take(self, name: str) -> float:
        """Takes one message for the relay `name` from its own budget and from the global one, or from neither.

        0.0 when it was taken. Else the Unix time at which this message's turn comes: within SOON it is to be waited for
        and asked again; a later one is in whole seconds, in the order of asking, and not beyond the horizon.
        """
        windows = self._of(name)
        if not windows:
            return 0.0
        with self._lock:
            now = self._clock()
            for window in windows:
                window.look(now)
            full = [window for window in windows if window.full]
            if not full:
                for window in windows:
                    window.add(now)
                self._changed = True
                return 0.0
            # the line is that of the budget that keeps it longest: another relay must not wait behind it
            last = max(full, key=_Window.turn)
            turn = last.turn()
            if turn - now <= SOON:
                return turn
            last.line += 1
            return min(float(math.ceil(turn)), now + self._horizon)

    def give_back(self, name: str, taken: float) -> None:
        """Gives back one message that was not sent: its session ended before it began. taken: the time before `take`."""
        with self._lock:
            now = self._clock()
            for window in self._of(name):
                window.look(now)
                window.give_back(taken, now)
                self._changed = True

    def save(self) -> None:
        """Writes down what was taken, where there is any news. Not synced: after a power cut some mail may go too early."""
        with self._lock:
            if not self._changed:
                return
            text = json.dumps({"taken": {name: list(window.slots) for name, window in self._windows.items()}})
            try:
                notes.write(self._path, text.encode("ascii"))
                self._changed = False
            except OSError as error:
                if not self._warned:
                    self._warned = True
                    self._warn(
                        f"cannot write the rate budgets to {self._path}: {error.strerror}; the next pass may send too much"
                    )

    def _of(self, name: str) -> list[_Window]:
        return [window for window in (self._windows.get(name), self._windows.get("")) if window is not None]


def _read(path: str) -> dict[str, list[Slot]]:
    """What was taken before this pass. Raises OSError, ValueError or RecursionError."""
    match json.loads(notes.read(path, _LARGEST)):
        case {"taken": dict(taken)}:
            return {name: _slots(rows) for name, rows in taken.items()}
    raise ValueError("not what save writes")


def _slots(rows: object) -> list[Slot]:
    if not isinstance(rows, list) or len(rows) > _MOST_SLOTS:
        raise ValueError("no slots")
    found = []
    for row in rows:
        match row:
            case [int() | float() as last, int(number)] if 0 <= last < _NEVER and 1 <= number <= _MOST_TAKEN:
                found.append((float(last), number))
            case _:
                raise ValueError("no slot")
    return found
