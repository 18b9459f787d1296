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

from smartrelay.config import Config, Limits, Relay
from smartrelay.mail.envelope import Envelope, Recipient
from smartrelay.routing.relays import Routes
from smartrelay.smtp.connector import Target
from smartrelay.smtp.dialogue import Answer, Phase, Trouble
from smartrelay.spool import names, operate
from smartrelay.spool.queue import Queue
from smartrelay.spool.trouble import MessageBusy, NoSuchMessage
from smartrelay.values import Rate
from tests.simulation.one_pass import Pass
from tests.simulation.server import CLOSE, KEEP_AND_CLOSE, Letter, Plug
from tests.simulation.steps import Crash, Steps
from tests.simulation.truth import DAY, HOUR, LIFETIME, POSTMASTER, WARN_AFTER, Mail, Truth
from tests.support.clock import START
from tests.support.configuration import configuration
from tests.support.queues import new_spool

DAYS = 30
TICK = 300.0
"""Seconds between two calls of the timer."""

HOSTS = {"main.example": "a.example", "backup.example": "a.example", "box.example": "b.example"}
"""The servers, and the domain whose mail each takes: two of one relay, and one that speaks LMTP."""

WEATHER = ["up", "up", "refused", "timeout", "busy", "full", "closed", "account", "lossy", "drops", "flaky"]
NOTIFY = ["", "", "", "NEVER", "FAILURE", "DELAY", "SUCCESS", "SUCCESS,DELAY", "SUCCESS,FAILURE,DELAY"]
KINDS = ["ok", "ok", "ok", "bad", "spam", "slow", "never", "policy"]
"""What becomes of a recipient, by the first letters of the address: slow is put off for three days, never for ever."""


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
        self._weather = dict.fromkeys(HOSTS, "up")
        self._offline = False
        self._die_at = 0
        self._fine = False
        self._numbers = itertools.count()
        self._happenings: list[Happening] = []
        self.config = self._configuration()
        self.routes = Routes.of(self.config)
        self._plan()

    def _configuration(self) -> Config:
        rate = self.rng.choice([None, None, Rate(2, HOUR), Rate(6, DAY)])
        work = Relay("work", (("smtp+notls://main.example",), ("smtp+notls://backup.example",)), "w:", ("*",), ("*@a.example",))
        box = Relay("box", (("lmtp://box.example",),), "b:", recipient=("*@b.example",))
        return configuration(
            self.spool,
            work._replace(rate=rate),
            box,
            postmaster=POSTMASTER,
            lifetime=LIFETIME,
            warn_after=WARN_AFTER,
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
        if self._weather[host] == "account":
            self._hole()
        self._weather[host] = self.rng.choice(WEATHER)

    def _sleep(self) -> None:
        begin = self.true
        self.true += self.rng.expovariate(1 / 2) * DAY
        self.truth.asleep.append((begin, self.true))
        self._hole()

    def _go_offline(self, offline: bool) -> None:
        self._offline = offline
        self._hole()

    def _jump(self) -> None:
        self._set_clock(self.rng.choice([-self.true + 1000.0, -400 * DAY, 400 * DAY, 7 * DAY, -7 * DAY, HOUR, -HOUR]))

    def _set_clock(self, offset: float) -> None:
        self._hole()
        self.offset = offset

    def _arm(self) -> None:
        """The next pass that has anything to do dies at a step of its own."""
        self._die_at = self.rng.randint(1, 40)

    def _hold(self) -> None:
        self._operate(operate.hold)

    def _release(self) -> None:
        self._operate(operate.release)

    def _operate(self, act: Callable[[str, str], None]) -> None:
        """What an operator does, by a clock of his own."""
        self._hole()
        for one in [one for one, mail in self.truth.mail.items() if not mail.gone]:
            try:
                act(self.spool, one)
            except (NoSuchMessage, MessageBusy):
                continue

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
        self._passes(self.true + 2 * LIFETIME + (30 if self.config.relays[0].rate else 1) * DAY)
        left = [name for folder in ("new", "cur", "hold", "corrupt") for name in os.listdir(f"{self.spool}/{folder}")]
        assert not left, f"still there after days of fine weather: {left}"
        self.truth.is_over(self.true)

    def _clear_up(self) -> None:
        self._set_clock(0.0)
        self._go_offline(False)
        self._weather = dict.fromkeys(HOSTS, "up")
        self._die_at = 0
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
            self.truth.crashed()
            self._hole()
        else:
            self._die_at = self._die_at or (die_at if not self.steps.last else 0)

    # what a pass finds outside (the protocols of `server` and `smtp.connector`)

    def connect(self, target: Target, timeouts: object) -> "Plug | Answer":
        """A connection to one of the hosts, if the weather allows."""
        self.steps.step("connect")
        weather = self._weather_of(target.host)
        if self._offline:
            return Answer(Phase.CONNECT, trouble=Trouble.NO_NETWORK, text="connect: network is unreachable")
        self.truth.asked[HOSTS[target.host]].append(self.true)
        if weather == "refused":
            return Answer(Phase.CONNECT, trouble=Trouble.NO_ROUTE, text="connect: connection refused")
        if weather == "timeout":
            self.true += 30
            return Answer(Phase.CONNECT, trouble=Trouble.TIMEOUT, text="connect: connection timed out")
        greeting = {"closed": "554 5.7.1 no", "busy": "421 4.3.2 busy"}.get(weather, "220 ready")
        return Plug(target.host, self, self.steps, lmtp=target.host == "box.example", greeting=greeting)

    def _weather_of(self, host: str) -> str:
        weather = self._weather[host]
        return self.rng.choice(WEATHER[:-1]) if weather == "flaky" else weather

    def reply(self, host: str, point: str, address: str, letter: Letter) -> str:
        """What a server says."""
        weather = self._weather_of(host)
        self.truth.asked[HOSTS[host]].append(self.true)
        if weather == "account" and point == "MAIL":
            self._hole()
            return "530 5.7.0 authentication required"
        if weather == "drops" and point in ("MAIL", "RCPT") and self.rng.random() < 0.3:
            return CLOSE
        if weather == "full" and point == "RCPT":
            return "452 4.2.2 full"
        if weather == "lossy" and point == "DOT" and (chance := self.rng.random()) < 0.7:
            return KEEP_AND_CLOSE if chance < 0.35 else CLOSE
        return self._verdict(host, point, address, letter)

    def _verdict(self, host: str, point: str, address: str, letter: Letter) -> str:
        kind = address[:3]
        if point == "RCPT":
            if kind == "bad" or (kind == "pol" and host == "backup.example"):
                self.truth.refused(address)
                return "550 5.1.1 no such user"
            if kind == "pol":
                self.truth.refused(address)
                return "550 5.7.1 not from you"
            if kind == "nev" or (kind == "slo" and self.true < START + 15 * DAY):
                return "450 4.2.1 not now"
        if point == "DOT" and any(each.startswith("spam") for each in letter.recipients):
            for each in letter.recipients:
                self.truth.refused(each)
            return "554 5.7.1 spam"
        return ""

    def took(self, letter: Letter, recipients: list[str], *, said: bool) -> None:
        """A server has a message."""
        report = "" if self.offers_dsn(letter.host) else "delivered" if letter.host == "box.example" else "relayed"
        self.truth.took(self.true, letter, recipients, said=said, report=report)

    def offers_dsn(self, host: str) -> bool:
        """One of the three does."""
        return host == "backup.example"

    def is_offline(self) -> bool:
        """Whether there is no network."""
        return self._offline
