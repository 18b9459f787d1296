"""A month of a machine with a spool: weather, sleeps, clock jumps, faults, crashes and an operator, all from one seed.

What runs is the program's own code from the queue to the wire, in one thread and with a given clock: queue, ledger, notices,
attempts, course, hosts, budgets, sessions. Only the servers and the threads of the manager are not there.
"""

import heapq
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from smartrelay.config import MX, Config, Limits, Relay
from smartrelay.mail.envelope import Envelope, Recipient
from smartrelay.routing.relays import Routes
from smartrelay.spool import names, operate
from smartrelay.spool.queue import Queue
from smartrelay.values import Rate
from tests.simulation.one_pass import Pass
from tests.simulation.steps import Crash, Steps
from tests.simulation.truth import DAY, HOUR, LIFETIME, POSTMASTER, WARN_AFTER, Mail, Rest, Truth
from tests.simulation.weather import HOSTS, WEATHER, Weather
from tests.support.clock import START
from tests.support.configuration import configuration
from tests.support.queues import new_spool

DAYS = 30
TICK = 300.0
"""Seconds between two calls of the timer."""

NOTIFY = ["", "", "", "NEVER", "FAILURE", "DELAY", "SUCCESS", "SUCCESS,DELAY", "SUCCESS,FAILURE,DELAY"]
KINDS = ["ok", "ok", "ok", "bad", "spam", "slow", "never", "policy"]
"""What becomes of a recipient, by its first letters: slow is put off until the middle of the month, never for ever."""


@dataclass(order=True)
class Happening:
    """Something at a (true) time."""

    when: float
    number: int
    what: Callable[[], None] = field(compare=False)


class World:
    """The month of `seed`, with its spool in `folder`."""

    def __init__(self, folder: str, seed: int) -> None:
        self.rng = Random(seed)
        self.true = START
        self.offset = 0.0
        self.spool = new_spool(folder)
        self.truth = Truth(self.spool)
        self.steps = Steps(self.rng)
        self.steps.on_link = lambda path: self.truth.published(path, self.true)
        self.steps.on_unlink = self.truth.leaves
        self.passes = 0
        self.weather = Weather(self)
        self._resting: dict[str, float] = {}
        self._die_at = 0
        self._numbers = itertools.count()
        self._happenings: list[Happening] = []
        self.config = self._configuration()
        self.routes = Routes.of(self.config)
        self._plan()

    def _configuration(self) -> Config:
        rate = self.rng.choice([None, None, Rate(2, HOUR), Rate(3, DAY)])
        work = Relay("work", (("smtp+notls://main.example",), ("smtp+notls://backup.example",)), "w:", ("*",), ("*@a.example",))
        box = Relay("box", (("lmtp://box.example",),), "b:", recipient=("*@b.example",))
        return configuration(
            self.spool,
            work._replace(rate=rate),
            box,
            postmaster=POSTMASTER,
            lifetime=LIFETIME,
            warn_after=WARN_AFTER,
            mx=MX(bad_host_timeout=self.rng.choice([HOUR, 4 * HOUR])),
            limits=Limits(max_messages_per_connection=self.rng.choice([1, 3, 100])),
        )

    def clock(self) -> float:
        """What the machine's clock tells; looking at it takes a moment."""
        self.true += 0.5
        return self.true + self.offset

    # the plan of the month

    def _plan(self) -> None:
        rng = self.rng
        for _ in range(rng.randint(2, 5)):
            self._at(rng.uniform(0, 22), self._mail)
        for _ in range(rng.randint(0, 14)):
            self._at(rng.uniform(0, DAYS), self._change_weather)
        for _ in range(rng.randint(0, 3)):
            self._at(rng.uniform(0, DAYS), self._sleep)
        for _ in range(rng.randint(0, 2)):
            begin = rng.uniform(0, DAYS)
            self._at(begin, lambda: self._go_offline(True))
            self._at(begin + rng.expovariate(1 / 2), lambda: self._go_offline(False))
        for _ in range(rng.randint(0, 2)):
            begin = rng.uniform(0, DAYS)
            self._at(begin, self._jump)
            self._at(begin + rng.expovariate(1), lambda: self._set_clock(0.0))
        for _ in range(rng.randint(0, 8)):
            self._at(rng.uniform(0, DAYS), self._arm)
        for _ in range(rng.randint(0, 2)):
            begin = rng.uniform(0, DAYS)
            self._at(begin, self._hold)
            self._at(begin + rng.expovariate(1 / 3), self._release)

    def _at(self, day: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._happenings, Happening(START + day * DAY, next(self._numbers), what))

    def _mail(self) -> None:
        number = len(self.truth.mail)
        recipients = [
            f"{self.rng.choice(KINDS)}.{number}.{place}@{self.rng.choice('ab')}.example"
            for place in range(self.rng.randint(1, 4))
        ]
        sender = self.rng.choice(["author@a.example", "author@a.example", "bad-author@b.example", "never-author@a.example", ""])
        notify = {recipient: self.rng.choice(NOTIFY) for recipient in recipients}
        key = f"<{number}@host.example.org>"
        wanted = [Recipient(address, wish) for address, wish in notify.items()]
        draft = self.queue().create_new_message(Envelope(sender, wanted, self.clock(), 0, key))
        draft.write(f"Message-ID: {key}\nSubject: {number}\n\nbody\n".encode())
        draft.commit()
        self.truth.accepted(Mail(draft.queue_id, key, sender, notify, self.true))

    def _hole(self) -> None:
        """Time is not what it seems about now."""
        self.truth.holes.append(self.true)

    def _change_weather(self) -> None:
        host = self.rng.choice(list(HOSTS))
        self.weather.of[host] = self.rng.choice(WEATHER)
        if host == "box.example":  # the other domain has two servers
            self._rest(HOSTS[host], self.weather.of[host] == "account")

    def _sleep(self) -> None:
        begin = self.true
        self.true += self.rng.expovariate(1 / 2) * DAY
        self.truth.rests.append(Rest(begin, self.true))
        self._hole()

    def _go_offline(self, offline: bool) -> None:
        self.weather.offline = offline
        self._rest("", offline)

    def _rest(self, whose: str, begins: bool) -> None:
        """Mail ceases to be able to go, or can again (`truth.Rest`)."""
        begun = self._resting.pop(whose, None)
        if begun is not None:
            self.truth.rests.append(Rest(begun, self.true, whose))
        if begins:
            self._resting[whose] = self.true
        if (begun is not None or begins) and whose not in self.truth.mail:
            # what is remembered of a host is an attempt for a while yet; a hold is written down by the clock
            self._hole()

    def _jump(self) -> None:
        self._set_clock(self.rng.choice([-self.true + 1000.0, -400 * DAY, 400 * DAY, 7 * DAY, -7 * DAY, HOUR, -HOUR]))

    def _set_clock(self, offset: float) -> None:
        self._hole()
        self.offset = offset

    def _arm(self) -> None:
        """A pass dies after so many steps of passes from here on, or while it publishes a notice."""
        if self.rng.random() < 0.5:
            self._die_at = self.rng.randint(1, 60)
        else:
            self.steps.ambush = f"open {self.spool}/tmp/"

    def _hold(self) -> None:
        """An operator holds some of what is there."""
        if self._resting:
            self._hole()  # what a hold is written into counts as two gaps
        for one in [one for one, mail in self.truth.mail.items() if not mail.gone and one not in self._resting]:
            if self.rng.random() < 0.5:
                continue
            operate.hold(self.spool, one, clock=self.clock)
            self.truth.holds[one] += 1
            self._rest(one, True)

    def _release(self) -> None:
        for one in [one for one in self._resting if one in self.truth.mail]:
            operate.release(self.spool, one, clock=self.clock)
            self._rest(one, False)

    # time goes by

    def run(self) -> None:
        """The month, and then fine weather until the spool is empty."""
        while self._happenings:
            until = self._happenings[0].when
            self._passes(until)
            happening = heapq.heappop(self._happenings)
            self.true = max(self.true, happening.when)
            happening.what()
        self._clear_up()
        self._passes(self.true + 2 * LIFETIME + (90 if self.config.relays[0].rate else 1) * DAY)
        left = [name for folder in ("new", "cur", "hold", "corrupt") for name in os.listdir(f"{self.spool}/{folder}")]
        assert not left, f"still there after days of fine weather: {left}"
        self.truth.is_over(self.true)

    def _clear_up(self) -> None:
        self._set_clock(0.0)
        self._go_offline(False)
        self.weather = Weather(self)
        self._die_at, self.steps.ambush = 0, ""
        self._rest("b.example", False)
        self._release()

    def _passes(self, until: float) -> None:
        """All passes that the timer makes up to a true time, and those for new mail."""
        while self.true < until:
            now = self.true + self.offset
            horizon = self.config.horizon
            if names.idle(self.spool, now, horizon) is None:
                self._pass()
                self.true = (self.true // TICK + 1) * TICK
            else:
                due = names.Scan(self.spool, now, horizon).next_due - self.offset
                self.true = min(max(self.true + 1, (due // TICK + 1) * TICK), until)

    # one pass

    def queue(self) -> Queue:
        """The queue as a new process finds it."""
        return Queue(
            self.spool, clock=self.clock, entropy=self.rng.randbytes, horizon=self.config.horizon, warn=self.must_not_warn
        )

    def must_not_warn(self, text: str) -> None:
        """Nothing that a crash leaves behind is a reason to warn of."""
        raise AssertionError(text)

    def _pass(self) -> None:
        die_at, self._die_at = self._die_at, 0
        self.passes += 1
        self.truth.begun()
        try:
            with self.steps.process(die_at):
                Pass(self).run()
        except Crash:
            self.truth.crashed(self.true)
            if self.rng.random() < 0.3:
                self._hold()
                self._at((self.true - START) / DAY + self.rng.expovariate(1), self._release)
        else:
            self._die_at = max(0, self.steps.left)
