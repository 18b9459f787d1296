"""The messages of a pass while attempts are made: who works on which, what came of it, and how a message's way ends.

A message can have recipients at several next hops, each worked on by its own threads; its file is taken in hand once and
let go when the last of them has finished. Verdicts are written in the order of law 3: durable in the journal, the notice
published under its derived id, "bounced" durable, the message unlinked, that durable, its journal unlinked.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from smartrelay.config import Config
from smartrelay.mail.status import ASKED, DEFERRED, DELIVERED, EXPIRED, FAILED, Status
from smartrelay.maillog import MailLog
from smartrelay.relay.notices import Notices
from smartrelay.relay.report import Report
from smartrelay.relay.schedule import DOUBTFUL, age, longest_gap, next_attempt
from smartrelay.spool.history import attempt, postponed
from smartrelay.spool.incidents import DOUBT, Incidents
from smartrelay.spool.message import MessageInHand
from smartrelay.spool.queue import Queue
from smartrelay.spool.trouble import NoSuchMessage

_ROW = 900
"""Octets that one recipient's verdict may need in the journal."""


@dataclass(slots=True)
class Consignment:
    """One message for some of its recipients, at one next hop. statuses: what came of each, by index; fresh: those of them
    that are not written down yet; elsewhere: those who are to be offered to another host. stop: where on the hop's course."""

    message: MessageInHand
    hop: str
    recipients: list[int]
    taken: float
    statuses: dict[int, Status] = field(default_factory=dict)
    fresh: dict[int, Status] = field(default_factory=dict)
    elsewhere: set[int] = field(default_factory=set)
    stop: int = 0
    started: float = 0.0
    retried: bool = False

    @property
    def queue_id(self) -> str:
        """The message's id."""
        return self.message.queue_id

    @property
    def complete(self) -> bool:
        """Whether every recipient has a status."""
        return len(self.statuses) + len(self.elsewhere) == len(self.recipients)


@dataclass(slots=True)
class _Work:
    """What is left to do for one message in this pass. shares: how many next hops have not finished with it. tried: whether
    anything came of it. until: when the first of the budgets returns that it waits for, 0 for none."""

    shares: int
    tried: bool = False
    until: float = 0.0
    users: int = 0
    logged: bool = False
    message: MessageInHand | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Ledger:
    """The messages that this pass has planned. share: random numbers from 0 to 1. incidents: what an operator must know of."""

    def __init__(
        self,
        queue: Queue,
        log: MailLog,
        report: Report,
        config: Config,
        clock: Callable[[], float] = time.time,
        share: Callable[[], float] = random.random,
    ) -> None:
        self._queue = queue
        self._log = log
        self._report = report
        self._retry = config.retry
        self._lifetime = config.lifetime
        self._notices = Notices(queue, log, report, config.hostname, config.postmaster, config.warn_after, clock)
        relays = [relay.name for relay in config.relays]
        self.incidents = Incidents(config.spool, relays=relays, clock=clock, warn=log.warning)
        self._clock = clock
        self._share = share
        self._lock = threading.Lock()
        self._work: dict[str, _Work] = {}

    def plan(self, one: str, shares: int) -> None:
        """A message will be worked on at that many next hops."""
        with self._lock:
            self._work[one] = _Work(shares)

    def is_planned(self, one: str) -> bool:
        """Whether the message is in this pass's plan and not finished."""
        return one in self._work

    def take(self, one: str) -> MessageInHand:
        """The message, in hand, with nothing left undone that a crash cut short.

        Raises what `Queue.set_relaying` raises, and OSError; the share is given up then.
        """
        work = self._work.get(one)
        if work is None:
            raise NoSuchMessage(f"{one} has left this pass")
        with work.lock:
            if work.message is None:
                try:
                    work.message = self._queue.set_relaying(one)
                except BaseException:
                    self._forget(one, work)
                    raise
                self._catch_up(work.message, work)
                if not work.logged:
                    work.logged = True
                    self._log.taken(one, work.message.envelope, first=not work.message.journal.exists)
            work.users += 1
            return work.message

    def _catch_up(self, message: MessageInHand, work: _Work) -> None:
        try:
            self._notices.settle_origin(message.envelope)
            self._notices.finish(message)
        except BaseException:
            work.message = None
            self._forget(message.queue_id, work, all_shares=True)
            self._queue.set_waiting(message.queue_id, self._next_attempt(message))
            raise

    def prepare(self, consignment: Consignment) -> None:
        """Before a transaction that may leave recipients waiting: room on disk for its verdicts. Raises OSError."""
        if len(consignment.message.history.waiting) > 1:
            with self._work[consignment.queue_id].lock:
                consignment.message.journal.reserve(_ROW * (len(consignment.recipients) + 1))

    def write(self, consignment: Consignment) -> None:
        """Writes down what came of a consignment. Raises OSError when it cannot; the message then stays as it was."""
        message, now = consignment.message, self._clock()
        work = self._work[message.queue_id]
        with work.lock:
            work.tried = True
            consignment.fresh = {index: self._aged(message, index, each, now) for index, each in consignment.fresh.items()}
            before = set(message.history.waiting)
            notice = self._notices.call(message, consignment.fresh, now, lambda index: self._standing(message, index, now))
            ended = {index for index, status in consignment.fresh.items() if status.final}
            if notice is not None or before - ended:
                event = attempt(now, consignment.hop, consignment.fresh, notice)
                message.record(event, sync=bool(ended) or notice is not None)
            else:
                # the unlink alone is the verdict when nothing waits and nobody has to be told
                for index, status in consignment.fresh.items():
                    message.history.record(index, status)
            if notice is not None:
                self._notices.finish(message)
            self._note_doubt(message, consignment.fresh)
        self._count(consignment, now)
        consignment.statuses |= consignment.fresh
        consignment.fresh = {}

    def postpone(self, consignment: Consignment, until: float) -> None:
        """The relay's budget is used up: the message waits until then, and this was no attempt. Raises OSError."""
        message = consignment.message
        work = self._work[message.queue_id]
        with work.lock:
            work.until = min(work.until or until, until)
            message.record(postponed(self._clock(), consignment.hop, until), sync=False)
        self._report.add(postponed=1)

    def give_back(self, one: str, *, finished: bool) -> None:
        """One next hop lets the message go; finished: with its share, or to come back for it."""
        work = self._work[one]
        with work.lock:
            work.users -= 1
            work.shares -= finished
            if work.users or work.message is None:
                return
            message = work.message
            if work.shares > 0 and message.history.waiting:
                self._queue.put_back(one)
                work.message = None
                return
            self._conclude(message, work)
        self._forget(one, work, all_shares=True)

    def add_share(self, one: str) -> None:
        """A next hop will come back for more recipients of a message that it has in hand."""
        self._work[one].shares += 1

    def settle(self) -> None:
        """Makes durable which messages have left the queue. Raises OSError."""
        self._log.removed(self._queue.settle())

    def _forget(self, one: str, work: _Work, *, all_shares: bool = False) -> None:
        work.shares -= 1
        if work.shares <= 0 or all_shares:
            with self._lock:
                self._work.pop(one, None)

    def _conclude(self, message: MessageInHand, work: _Work) -> None:
        """The pass is done with the message: it leaves the queue, or waits for its next attempt."""
        history = message.history
        if not history.waiting and not history.owed:
            self._log.removed(self._queue.done(message.queue_id))
            self.incidents.end(DOUBT, message.queue_id)
            self._report.add(messages=1)
            return
        due = self._next_attempt(message) if work.tried or not work.until else work.until
        self._queue.set_waiting(message.queue_id, min(due, work.until) if work.until else due)

    def _next_attempt(self, message: MessageInHand) -> float:
        history = message.history
        return next_attempt(self._clock(), history.attempts, history.doubts, self._retry, self._share())

    def _note_doubt(self, message: MessageInHand, statuses: dict[int, Status]) -> None:
        doubts = message.history.doubts
        if doubts >= DOUBTFUL and any(status.doubt for status in statuses.values()):
            lost = f"the connection was lost {doubts} times behind the final dot of {message.queue_id}"
            self.incidents.note(DOUBT, message.queue_id, f"{lost}: its recipients may get it each time that it is tried")

    # age

    def _standing(self, message: MessageInHand, index: int, now: float) -> tuple[float, float]:
        """For how long a recipient's mail could have gone, and when it is given up if it always can from here on."""
        arrived = message.envelope.arrived
        found = age(arrived, message.history.marks(index), now, longest_gap(self._retry))
        return found, now + max(0.0, self._lifetime - found)

    def _aged(self, message: MessageInHand, index: int, status: Status, now: float) -> Status:
        """A deferral that was the last: the mail is older than its lifetime, and somebody was asked just now (law 11)."""
        if status.action != DEFERRED or status.basis != ASKED or now - message.envelope.arrived < self._lifetime:
            return status
        if self._standing(message, index, now)[0] < self._lifetime:
            return status
        return status._replace(action=EXPIRED, dsn="5.4.7")

    # telling

    def _count(self, consignment: Consignment, now: float) -> None:
        envelope = consignment.message.envelope
        counts = dict.fromkeys((DELIVERED, DEFERRED, FAILED, EXPIRED), 0)
        doubtful = 0
        delays = (
            consignment.taken - envelope.arrived,
            max(0.0, consignment.started - consignment.taken) if consignment.started else now - consignment.taken,
            0.0,
            now - consignment.started if consignment.started else 0.0,
        )
        for index, status in sorted(consignment.fresh.items()):
            counts[status.action] += 1
            doubtful += status.doubt
            address = envelope.recipients[index].address
            self._log.attempted(consignment.queue_id, address, status, now - envelope.arrived, delays)
        gone = counts[FAILED] + counts[EXPIRED]
        self._report.add(sent=counts[DELIVERED], deferred=counts[DEFERRED], bounced=gone, doubtful=doubtful)
