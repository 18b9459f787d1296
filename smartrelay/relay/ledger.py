"""The messages of a pass while attempts are made: who works on which, what came of it, and how a message's way ends.

A message can have recipients at several next hops, each worked on by its own threads; its file is taken in hand once and
let go when the last of them has finished. Verdicts are written in the order of law 3: durable in the journal, the notice
published under its derived id, "bounced" durable, the message unlinked, that durable, its journal unlinked.
"""

import random
import threading
import time
from collections.abc import Callable
from functools import partial

from smartrelay.config import Config
from smartrelay.mail.status import ASKED, DEFERRED, DELIVERED, EXPIRED, FAILED, OURS, Status
from smartrelay.maillog import MailLog
from smartrelay.relay.notices import Notices
from smartrelay.relay.report import Report
from smartrelay.relay.schedule import DOUBTFUL, age, longest_gap, next_attempt
from smartrelay.spool.history import Mark, attempt, postponed
from smartrelay.spool.incidents import DOUBT, Incidents
from smartrelay.spool.message import MessageInHand
from smartrelay.spool.queue import Queue
from smartrelay.spool.trouble import NoSuchMessage

_ROW = 900
"""Octets that one recipient's verdict may need in the journal."""

_COUNTED = {DELIVERED: "sent", DEFERRED: "deferred", FAILED: "bounced", EXPIRED: "bounced"}


class Consignment:
    """One message for some of its recipients, at one next hop. statuses: what came of each, by index; fresh: those of them
    that are not written down yet; elsewhere: those who are to be offered to another host. stop: where on the hop's course.
    hosts: the keys of those of which none can be used, where there are several."""

    __slots__ = (
        "elsewhere",
        "fresh",
        "hop",
        "hosts",
        "message",
        "queue_id",
        "recipients",
        "retried",
        "started",
        "statuses",
        "stop",
        "taken",
    )

    def __init__(
        self,
        message: MessageInHand,
        hop: str,
        recipients: list[int],
        taken: float,
        *,
        fresh: dict[int, Status] | None = None,
        retried: bool = False,
    ) -> None:
        self.message = message
        self.queue_id = message.queue_id
        self.hop = hop
        self.recipients = recipients
        self.taken = taken
        self.started = 0.0
        self.statuses: dict[int, Status] = {}
        self.fresh = fresh or {}
        self.elsewhere: set[int] = set()
        self.stop = 0
        self.hosts: list[str] = []
        self.retried = retried

    @property
    def known(self) -> set[int]:
        """The recipients of whom it is known what came of them, or that another host is to be asked."""
        return self.statuses.keys() | self.fresh.keys() | self.elsewhere

    @property
    def complete(self) -> bool:
        """Whether all recipients are known."""
        return len(self.known) == len(self.recipients)

    def settle(self, statuses: dict[int, Status]) -> None:
        """These are no longer to be written down."""
        self.statuses |= statuses
        self.fresh = {index: status for index, status in self.fresh.items() if index not in statuses}


class _Work:
    """What is left to do for one message in this pass. shares: how many next hops have not finished with it. deferred:
    whether anybody is to be tried again. until: when the first of the budgets returns that it waits for, 0 for none."""

    __slots__ = ("deferred", "lock", "logged", "message", "shares", "until", "users")

    def __init__(self, shares: int) -> None:
        self.shares = shares
        self.deferred = False
        self.until = 0.0
        self.users = 0
        self.logged = False
        self.message: MessageInHand | None = None
        self.lock = threading.Lock()


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
        """Before a transaction that may leave recipients waiting, or its sender to be told that it went well: room on disk for
        its verdicts, without which it would be sent again. Raises OSError."""
        message = consignment.message
        history = message.history
        if (history.count > 1 and len(history.waiting) > 1) or self._notices.may_report(message):
            with self._work[consignment.queue_id].lock:
                message.journal.reserve(_ROW * (len(consignment.recipients) + 1))

    def write(self, consignment: Consignment, statuses: dict[int, Status]) -> None:
        """Writes down what came of these recipients of a consignment. Raises OSError when it cannot: where that was the verdict
        the message stays as it was, where it was a notice that is owed still."""
        message, now = consignment.message, self._clock()
        work = self._work[message.queue_id]
        with work.lock:
            verdict = self._aged(message, statuses, now)
            ended = {index for index, status in verdict.items() if status.final}
            work.deferred = work.deferred or len(ended) < len(verdict)
            notice = self._notices.call(message, verdict, now, partial(self._standing, message, verdict, now))
            if notice is not None or not ended or not ended.issuperset(message.history.waiting):
                event = attempt(now, consignment.hop, verdict, notice, consignment.hosts)
                message.record(event, sync=bool(ended) or notice is not None)
            else:
                # the unlink alone is the verdict when nothing waits and nobody has to be told
                for index, status in verdict.items():
                    message.history.record(index, status)
            # known from here on, whatever becomes of the notice
            consignment.settle(verdict)
            self._count(consignment, verdict, now)
            if notice is not None:
                self._notices.finish(message)
            self._note_doubt(message, verdict)

    def postpone(self, consignment: Consignment, until: float) -> None:
        """The relay's budget is used up: the message waits until then, and this was no attempt. Raises OSError."""
        message = consignment.message
        work = self._work[message.queue_id]
        with work.lock:
            work.until = min(work.until or until, until)
            message.record(postponed(self._clock(), consignment.hop, until, consignment.recipients), sync=False)
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
        work = self._work[one]
        with work.lock:
            work.shares += 1

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
        due = self._next_attempt(message) if work.deferred or not work.until else work.until
        if work.until and history.doubts < DOUBTFUL:
            due = min(due, work.until)
        self._queue.set_waiting(message.queue_id, due)

    def _next_attempt(self, message: MessageInHand) -> float:
        history = message.history
        return next_attempt(self._clock(), history.attempts, history.doubts, self._retry, self._share())

    def _note_doubt(self, message: MessageInHand, statuses: dict[int, Status]) -> None:
        doubts = message.history.doubts
        if doubts >= DOUBTFUL and any(status.doubt for status in statuses.values()):
            lost = f"the connection was lost {doubts} times behind the final dot of {message.queue_id}"
            self.incidents.note(DOUBT, message.queue_id, f"{lost}: its recipients may get it each time that it is tried")

    # age

    def _standing(self, message: MessageInHand, statuses: dict[int, Status], now: float, index: int) -> tuple[float, float]:
        """For how long a recipient's mail could have gone up to an attempt that ended in these, and when it is given up if it
        always can from here on."""
        marks = [*message.history.marks(index), Mark(now, statuses[index].basis != OURS)]
        found = age(message.envelope.arrived, marks, longest_gap(self._retry))
        return found, now + max(0.0, self._lifetime - found)

    def _aged(self, message: MessageInHand, statuses: dict[int, Status], now: float) -> dict[int, Status]:
        """The same statuses, but for deferrals that were the last: the mail is older than its lifetime, and somebody was asked
        just now (law 11)."""
        if 0 <= now - message.envelope.arrived < self._lifetime:
            return statuses
        return {
            index: status._replace(action=EXPIRED) if self._is_last(message, index, status, now) else status
            for index, status in statuses.items()
        }

    def _is_last(self, message: MessageInHand, index: int, status: Status, now: float) -> bool:
        if status.action != DEFERRED or status.basis != ASKED:
            return False
        return self._standing(message, {index: status}, now, index)[0] >= self._lifetime

    # telling

    def _count(self, consignment: Consignment, verdict: dict[int, Status], now: float) -> None:
        envelope = consignment.message.envelope
        counts = dict.fromkeys(("sent", "deferred", "bounced", "expired", "doubtful"), 0)
        delays = (
            consignment.taken - envelope.arrived,
            max(0.0, consignment.started - consignment.taken) if consignment.started else now - consignment.taken,
            0.0,
            now - consignment.started if consignment.started else 0.0,
        )
        for index, status in sorted(verdict.items()):
            counts[_COUNTED[status.action]] += 1
            counts["expired"] += status.action == EXPIRED
            counts["doubtful"] += status.doubt
            address = envelope.recipients[index].address
            self._log.attempted(consignment.queue_id, address, status, now - envelope.arrived, delays)
        if counts["expired"]:
            self._log.expired(consignment.queue_id, envelope)
        self._report.add(**counts)
