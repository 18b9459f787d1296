"""One attempt at one next hop: its mail, the connections that share it, and what each answer does to the rest."""

import errno
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from smartrelay.errors import ConfigError
from smartrelay.mail.status import Status, deferred
from smartrelay.maillog import MailLog
from smartrelay.relay.blame import Judgement, Scope, judge
from smartrelay.relay.connections import Connections
from smartrelay.relay.ledger import Consignment, Ledger
from smartrelay.relay.pace import Pace
from smartrelay.relay.report import Report
from smartrelay.routing.relays import Endpoint, NextHop
from smartrelay.smtp.dialogue import Answer, Phase, Trouble
from smartrelay.smtp.session import RECIPIENTS
from smartrelay.spool.trouble import CorruptMessage, MessageBusy, NoSuchMessage

if TYPE_CHECKING:
    from smartrelay.relay.factory import SMTPManagedRelayerFactory
    from smartrelay.relay.relayer import SMTPManagedRelayer

_FRUITLESS = 3
"""Sessions in a row that ended before any message went through, after which the host is left alone in this pass."""

_CLOSING = 421

_UNWRITTEN = 3
"""Verdicts that could not be written, after which the pass ends: it is the disk, not one file."""


class _Item(NamedTuple):
    """A planned message: for which recipients (None: all that wait), and whether a dying session gave it back."""

    queue_id: str
    recipients: tuple[int, ...] | None
    retried: bool = False


class _AttemptManager:
    """Hands the mail of one next hop to relayers, and takes from them what came of it.

    Its workers are threads, each with one connection at a time. `notify_success`, `notify_failure` and `notify_deferred`
    gather the recipients' statuses; when a consignment is complete, the ledger writes its verdict in the lawful order.
    """

    def __init__(
        self,
        hop: NextHop,
        factory: "SMTPManagedRelayerFactory",
        ledger: Ledger,
        report: Report,
        log: MailLog,
        most_connections: int,
        stopping: threading.Event,
        clock: Callable[[], float] = time.time,
        pace: Pace | None = None,
    ) -> None:
        self.hop = hop
        self.connections = Connections(most_connections, pace or Pace())
        self._factory = factory
        self._ledger = ledger
        self._report = report
        self._log = log
        self._stopping = stopping
        self._clock = clock
        self._lock = threading.Lock()
        self._pending: deque[_Item] = deque()
        self._endpoint = 0
        self._fruitless = 0
        self._unwritten = 0
        self._given_up: Status | None = None

    # the plan

    def add(self, queue_id: str, recipients: tuple[int, ...] | None) -> None:
        """Plans a message for this next hop."""
        with self._lock:
            self._pending.append(_Item(queue_id, recipients))

    @property
    def backlog(self) -> int:
        """Messages that nobody has taken yet."""
        return len(self._pending)

    # a worker's life

    def work(self) -> None:
        """Sends what is pending, connection after connection, until there is no more or no host to send it to."""
        while self._pending and not self._stopping.is_set():
            status = self._given_up
            if status is not None:
                self._defer_rest(status)
                return
            number, endpoint = self._endpoint, self.hop.endpoints[min(self._endpoint, len(self.hop.endpoints) - 1)]
            if not self._connect(number, endpoint):
                return

    def _connect(self, number: int, endpoint: Endpoint) -> bool:
        """One connection from its opening to its end; False when this worker is of no more use."""
        relayer: SMTPManagedRelayer | Answer | None = None
        self.connections.opening()
        try:
            relayer = self._factory.build_relayer(endpoint, self)
        except ConfigError as error:
            relayer = Answer(Phase.TLS, trouble=Trouble.CONFIGURATION, text=str(error))
        finally:
            self.connections.opened(stands=not isinstance(relayer, Answer | None))
        if isinstance(relayer, Answer):
            return self.notify_no_connection(number, endpoint, relayer)
        self._report.add(connections=1)
        try:
            relayer.run()
        finally:
            self.connections.ended()
            self.notify_done(number, endpoint, relayer.completed, relayer.last_trouble)
        return not relayer.retired

    def take(self) -> Consignment | None:
        """The next consignment, in hand; None when there is none or the pass is to stop."""
        while not self._stopping.is_set():
            with self._lock:
                if not self._pending:
                    return None
                item = self._pending.popleft()
            consignment = self._consign(item)
            if consignment is not None:
                return consignment
        return None

    def _consign(self, item: _Item) -> Consignment | None:
        try:
            message = self._ledger.take(item.queue_id)
        except (NoSuchMessage, MessageBusy, CorruptMessage):
            return None  # an operator has it, or it was set aside with a word of its own
        except OSError as error:
            self._spool_trouble(item.queue_id, error)
            return None
        waiting = message.history.waiting
        still = set(waiting)
        wanted = waiting if item.recipients is None else [index for index in item.recipients if index in still]
        consignment = Consignment(message, self.hop.name, wanted[:RECIPIENTS], self._clock(), retried=item.retried)
        if not wanted:
            self._let_go(consignment)
            return None
        if len(wanted) > RECIPIENTS:
            with self._lock:
                self._pending.appendleft(_Item(item.queue_id, tuple(wanted[RECIPIENTS:])))
            self._ledger.add_share(item.queue_id)
        try:
            self._ledger.prepare(consignment)
        except OSError as error:
            self._spool_trouble(item.queue_id, error)
            self._let_go(consignment)
            return None
        return consignment

    def put_back(self, consignment: Consignment, *, retried: bool) -> None:
        """A session died before it took this message: it goes over the next one, and no attempt is counted. retried: such a
        second chance was its last."""
        recipients = tuple(index for index in consignment.recipients if index not in consignment.statuses)
        self._ledger.give_back(consignment.queue_id, finished=False)
        with self._lock:
            # to begin a session is the best chance that there is: those come first whose last it is
            lasts = 0 if retried else next((n for n, item in enumerate(self._pending) if not item.retried), len(self._pending))
            self._pending.insert(lasts, _Item(consignment.queue_id, recipients, retried=retried))

    # what came of it

    def notify_success(self, consignment: Consignment, statuses: dict[int, Status]) -> None:
        """These recipients have their mail."""
        with self._lock:
            self._fruitless = 0
        self.connections.succeeded()
        self._note(consignment, statuses)

    def notify_failure(self, consignment: Consignment, statuses: dict[int, Status]) -> None:
        """These recipients were refused for good."""
        self._note(consignment, statuses)

    def notify_deferred(self, consignment: Consignment, statuses: dict[int, Status]) -> None:
        """These recipients are to be tried again later."""
        self._note(consignment, statuses)

    def _note(self, consignment: Consignment, statuses: dict[int, Status]) -> None:
        consignment.fresh.update(statuses)

    def notify_told(self, consignment: Consignment) -> None:
        """That was all for now: what is known is written down, and a message of which all is known is let go."""
        if consignment.fresh:
            try:
                self._ledger.write(consignment)
            except OSError as error:
                self._spool_trouble(consignment.queue_id, error, verdict=True)
                consignment.statuses |= consignment.fresh
        if consignment.complete:
            self._let_go(consignment, verdict=True)

    def _let_go(self, consignment: Consignment, *, verdict: bool = False) -> None:
        try:
            self._ledger.give_back(consignment.queue_id, finished=True)
        except OSError as error:
            self._spool_trouble(consignment.queue_id, error, verdict=verdict)

    def notify_no_connection(self, number: int, endpoint: Endpoint, answer: Answer) -> bool:
        """A host could not be used. The next in the list is; after the last, the hop's mail waits for another pass.

        Returns whether the worker should go on. A host that others are connected to right now is not down but full: then
        only the number of connections shrinks.
        """
        judgement = judge(answer, str(endpoint))
        if judgement.scope is Scope.HOST and self.connections.refused():
            return False
        self._log.warning(f"relay {self.hop.name}: {endpoint}: {judgement.status.text}")
        self._leave(number, judgement)
        return True

    def notify_done(self, number: int, endpoint: Endpoint, completed: int, trouble: Judgement | None) -> None:
        """A connection has ended."""
        try:
            self._ledger.settle()
        except OSError as error:
            self._spool_trouble("settling", error)
        if trouble is None or trouble.scope not in (Scope.HOST, Scope.ACCOUNT, Scope.MESSAGE):
            return
        with self._lock:
            self._fruitless = 0 if completed else self._fruitless + 1
            fruitless = self._fruitless
        # 421 may be about that one message: another gets a chance before the host is left alone
        host = trouble.scope is Scope.HOST and trouble.status.code != _CLOSING
        if trouble.scope is Scope.ACCOUNT or (not completed and (host or fruitless >= _FRUITLESS)):
            self._log.warning(f"relay {self.hop.name}: {endpoint}: {trouble.status.text}")
            self._leave(number, trouble)

    def _leave(self, number: int, judgement: Judgement) -> None:
        """Goes on to the endpoint after `number`, once, whoever of the workers comes first."""
        with self._lock:
            if self._endpoint != number:
                return
            self._endpoint += 1
            self._fruitless = 0
            self.connections.begin()
            if self._endpoint >= len(self.hop.endpoints):
                self._given_up = judgement.status
        if judgement.scope is Scope.ACCOUNT:
            sentence = f"relay {self.hop.name} cannot be used: {judgement.status.text}; its mail waits until this is put right"
            if self._report.complain(sentence):
                self._log.error(sentence)

    def _defer_rest(self, status: Status) -> None:
        """Every message that is left is deferred with the reason, without a connection."""
        while (consignment := self.take()) is not None:
            self.notify_deferred(consignment, dict.fromkeys(consignment.recipients, status))
            self.notify_told(consignment)

    def defer_unknown(self, consignment: Consignment, error: BaseException) -> None:
        """A bug of ours must not bounce or lose mail: whatever has no status yet waits (law 2)."""
        missing = [index for index in consignment.recipients if index not in consignment.statuses]
        reason = deferred("4.3.0", f"internal error of smartrelay: {type(error).__name__}")
        self.notify_deferred(consignment, dict.fromkeys(missing, reason))
        self.notify_told(consignment)

    def _spool_trouble(self, queue_id: str, error: OSError, *, verdict: bool = False) -> None:
        """The spool failed. Where verdicts of mail that was sent cannot be written, each message would be sent again by every
        pass: this one ends. A full disk is no such case: room was reserved, and an unlink needs none."""
        self._report.failed = True
        if verdict and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            self._unwritten += 1
            if self._unwritten >= _UNWRITTEN or error.errno == errno.EROFS:
                self._stopping.set()
        sentence = f"the spool cannot be written as it must be: {error.strerror or error}"
        if self._report.complain(sentence):
            self._log.error(f"{queue_id}: {sentence}")
