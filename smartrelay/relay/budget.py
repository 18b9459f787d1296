"""Rate budgets: how many messages may begin in what time, for each relay and for all, remembered from pass to pass."""

import json
import math
import threading
import time
from collections.abc import Callable, Mapping

from smartrelay.config import Config
from smartrelay.relay.quota import Quota, Slot
from smartrelay.spool import notes
from smartrelay.values import Rate

_LARGEST, _MOST_SLOTS, _MOST_TAKEN, _NEVER = 1 << 24, 1000, 1_000_000_000, 1e11
"""Octets, slots, messages and Unix seconds that no file of ours has: what has more was made by another hand."""


class Budgets:
    """What may be sent now, and when the rest may. All methods may be called from several threads.

    Counted is each message for which a transaction is about to begin, once for each consignment: its recipients at one
    next hop, however many. Any window of `seconds`, wherever it begins, has at most `messages`. Two things can't be known:
    how far a clock has jumped ahead, and what was taken between the last `save` and a crash.

    Turns are not kept from pass to pass, for the names of the messages hold them; nor does it matter to the rate, for a turn
    is no permission: who comes back asks again. Old mail is not left behind all the same. Budget returns at whole seconds,
    when deferred mail becomes due, and a pass asks for its due mail oldest first. In a pass that goes on, what returns is
    kept for those who were told to come then, and who waited in vain is told the next return, before all that came later.

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
            warn(f"cannot read the rate budgets in {path}: {notes.reason(error)}; what was sent before counts no more")
            before = {}
        self._quotas = {name: Quota(rate, before.get(name, ())) for name, rate in rates.items()}

    @classmethod
    def of(cls, config: Config, warn: Callable[[str], None], clock: Callable[[], float] = time.time) -> "Budgets | None":
        """The budgets of `config`, as its spool remembers them; None where no rate is set."""
        rates = {relay.name: relay.rate for relay in config.relays} | {"": config.limits.rate}
        limited = {name: rate for name, rate in rates.items() if rate is not None}
        if not limited:
            return None
        return cls(f"{config.spool}/var/rates.json", limited, horizon=config.horizon, clock=clock, warn=warn)

    def take(self, name: str, arrived: float) -> float:
        """Takes one message, that arrived then, for the relay `name` from its own budget and from the global one, or from
        neither.

        0.0 when it was taken. Else the Unix time at which this message's turn comes: within `quota.SOON`, which is to be
        waited for and asked again; or later, in whole seconds, in the order of asking, and not beyond the horizon.
        """
        quotas = self._of(name)
        if not quotas:
            return 0.0
        with self._lock:
            now = self._clock()
            for quota in quotas:
                self._changed |= quota.look(now)
            empty = [quota for quota in quotas if not quota.has(arrived)]
            if not empty:
                for quota in quotas:
                    quota.add(now, arrived)
                self._changed = True
                return 0.0
            # it waits for the budget that keeps it longest, and no other relay's mail waits behind it there
            turn, last = max(((quota.turn(now, arrived), quota) for quota in empty), key=lambda found: found[0])
            turn = min(turn, math.floor(now + self._horizon))
            last.tell(turn, arrived)
            return turn

    def has_pace(self, name: str) -> bool:
        """Whether a message for the relay `name` would have to wait for no pace now; nothing is taken."""
        with self._lock:
            now = self._clock()
            quotas = [quota for quota in self._of(name) if quota.is_pace]
            for quota in quotas:
                self._changed |= quota.look(now)
            return all(quota.has(now) for quota in quotas)

    def give_back(self, name: str, taken: float) -> None:
        """Gives back one message that was not sent: its session ended before it began. taken: the time before `take`."""
        with self._lock:
            now = self._clock()
            for quota in self._of(name):
                quota.look(now)
                quota.give_back(taken, now)
                self._changed = True

    def save(self) -> None:
        """Writes down what was taken, where there is any news. Not synced: after a power cut some mail may go too early."""
        with self._lock:
            if not self._changed:
                return
            text = json.dumps({"taken": {name: list(quota.slots) for name, quota in self._quotas.items()}})
            try:
                notes.write(self._path, text.encode("ascii"))
                self._changed = False
            except OSError as error:
                if not self._warned:
                    self._warned = True
                    self._warn(
                        f"cannot write the rate budgets to {self._path}: {error.strerror}; the next pass may send too much"
                    )

    def _of(self, name: str) -> list[Quota]:
        return [quota for quota in (self._quotas.get(name), self._quotas.get("")) if quota is not None]


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
