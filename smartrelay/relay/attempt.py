"""One attempt at one next hop: its mail, the connections that share it, and what each answer does to the rest."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from smartrelay.config import Limits
from smartrelay.errors import ConfigError
from smartrelay.mail.status import DELIVERED, FAILED, Status, deferred
from smartrelay.mail.trace import received
from smartrelay.maillog import MailLog
from smartrelay.relay.alarm import UNAUTHENTICATED, Alarm
from smartrelay.relay.backlog import Backlog, Item
from smartrelay.relay.blame import Judgement, Scope, judge
from smartrelay.relay.budget import Budgets
from smartrelay.relay.connections import Connections
from smartrelay.relay.course import END, Course, Stop
from smartrelay.relay.hosts import Hosts
from smartrelay.relay.ledger import Consignment, Ledger
from smartrelay.relay.pace import Pace
from smartrelay.relay.report import Report
from smartrelay.relay.turns import Turns
from smartrelay.routing.candidates import Candidate
from smartrelay.routing.relays import OPPORTUNISTIC, NextHop
from smartrelay.smtp.dialogue import Answer, Phase, Trouble
from smartrelay.smtp.session import RECIPIENTS
from smartrelay.spool.trouble import CorruptMessage, MessageBusy, NoSuchMessage

if TYPE_CHECKING:
    from smartrelay.relay.factory import SMTPManagedRelayerFactory
    from smartrelay.relay.relayer import SMTPManagedRelayer

_FRUITLESS = 3
"""Sessions in a row that ended before any message went through, after which the host is left alone in this pass."""

_CLOSING = 421


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
        hosts: Hosts,
        report: Report,
        log: MailLog,
        limits: Limits,
        stopping: threading.Event,
        clock: Callable[[], float] = time.time,
        pace: Pace | None = None,
        budgets: Budgets | None = None,
    ) -> None:
        self.hop = hop
        self.connections = Connections(limits.max_connections_per_host, pace or Pace())
        self._factory = factory
        self._ledger = ledger
        self._hosts = hosts
        self._course = Course(hop, hosts)
        self._report = report
        self._log = log
        self._limits = limits
        self._stopping = stopping
        self.clock = clock
        self._turns = Turns(budgets, hop.name, stopping, clock) if budgets is not None else None
        self._alarm = Alarm(hop, log, report, ledger.incidents, stopping)
        self._lock = threading.Lock()
        self._backlog = Backlog()
        self._fruitless = 0
        self._full: Candidate | None = None

    # the plan

    def add(self, queue_id: str, recipients: tuple[int, ...] | None) -> None:
        """Plans a message for this next hop."""
        self._backlog.add(Item(queue_id, recipients))

    @property
    def backlog(self) -> int:
        """Messages that nobody has taken yet."""
        return len(self._backlog)

    @property
    def is_held_up(self) -> bool:
        """Whether another next hop has all the connections that this one's host may have."""
        return self._full is not None and not self._hosts.has_room(self._full)

    @property
    def wants_more(self) -> bool:
        """Whether one more connection would be of use now, and the host may have it."""
        if self._turns is not None and self._turns.are_waited_for:
            return False
        return self.connections.are_too_few(self.backlog) and self.connections.have_room() and not self.is_held_up

    # a worker's life

    def work(self) -> None:
        """Sends what is pending, connection after connection, until there is no more or no host to send it to."""
        while self._backlog and not self._stopping.is_set():
            at = self._backlog.stop
            stop = self._course.from_stop(at)
            if self._course.stranded:
                self._strand()
                return
            if stop is None:
                self._end_rest(self._course.reason(at), at)
                if at == 0:
                    self._course.begin_again()
                continue
            if at == 0:
                self._backlog.main = stop[0]
            self._full = stop[1]
            if not self._hosts.enter(stop[1]):
                return
            if not self._connect(stop):
                return

    def _connect(self, stop: Stop) -> bool:
        """One connection from its opening to its end; False when this worker is of no more use."""
        relayer: SMTPManagedRelayer | Answer | None = None
        self.connections.opening()
        try:
            relayer = self._factory.build_relayer(stop, self)
        except ConfigError as error:
            self._report.misconfigured = True
            relayer = Answer(Phase.TLS, trouble=Trouble.CONFIGURATION, text=str(error))
        finally:
            stands = not isinstance(relayer, Answer | None)
            self.connections.opened(stands=stands)
            if not stands:
                self._hosts.leave(stop[1])
        if isinstance(relayer, Answer):
            return self.notify_no_connection(stop, relayer)
        try:
            self._hosts.answered(stop[1])
            session = relayer.session
            if session.client.tls:
                self._log.secured(session.peer, session.client.tls, verified=stop[1].endpoint.tls != OPPORTUNISTIC)
            self._report.add(connections=1)
            relayer.run()
        finally:
            self.connections.ended()
            self._hosts.leave(stop[1])
            self.notify_done(stop, relayer.completed, relayer.last_trouble)
        return not relayer.retired

    def take(self, stop: int, *, waits: bool = True) -> Consignment | None:
        """The next consignment for the host at this stop, in hand; None when there is none or the pass is to stop. waits:
        whether the turn of one may be waited for; else None where it must be."""
        if self._turns is None:
            return self._take(stop, waits=waits)
        if not self._turns.line_up(waits=waits):
            return None
        try:
            return self._take(stop, waits=waits)
        finally:
            self._turns.leave_line()

    def _take(self, stop: int, *, waits: bool) -> Consignment | None:
        while not self._stopping.is_set():
            item = self._backlog.take(stop)
            if item is None:
                return None
            consignment = self._consign(item)
            if consignment is None:
                continue
            try:
                if not self._is_fit(consignment):
                    continue
                # what is on a detour has had its turn, and would lose its way if it waited for another
                turn = 0.0 if item.stop else self._turn(consignment, waits=waits)
            except Exception as error:
                self.defer_unknown(consignment, error)
                raise
            if not turn:
                consignment.stop = stop
                return consignment
            if self._turns is not None and self._turns.is_soon(turn):
                self._ledger.give_back(item.queue_id, finished=False)
                self._backlog.put_back(Item(item.queue_id, tuple(consignment.recipients), item.retried))
                return None
            self._postpone(consignment, turn)
        return None

    def _consign(self, item: Item) -> Consignment | None:
        try:
            message = self._ledger.take(item.queue_id)
        except (NoSuchMessage, MessageBusy, CorruptMessage):
            return None  # an operator has it, or it was set aside with a word of its own
        except OSError as error:
            self._alarm.spool_failed(item.queue_id, error)
            return None
        wanted = message.history.waiting
        if item.recipients is not None:
            still = set(wanted)
            wanted = [index for index in item.recipients if index in still]
        consignment = Consignment(message, self.hop.name, wanted[:RECIPIENTS], self.clock(), retried=item.retried)
        if not wanted:
            self._let_go(consignment)
            return None
        if len(wanted) > RECIPIENTS:
            self._ledger.add_share(item.queue_id)
            self._backlog.put_back(Item(item.queue_id, tuple(wanted[RECIPIENTS:]), stop=item.stop))
        return consignment

    def _is_fit(self, consignment: Consignment) -> bool:
        """Whether the message may be sent; where not, it has been dealt with."""
        try:
            if received(consignment.message.text()) >= self._limits.max_received:
                text = f"the message has {self._limits.max_received} Received fields or more: it goes round in a loop"
                self.notify_failure(consignment, dict.fromkeys(consignment.recipients, Status(FAILED, "5.4.6", text)))
                self.notify_told(consignment)
                return False
            self._ledger.prepare(consignment)
        except OSError as error:
            self._alarm.spool_failed(consignment.queue_id, error)
            self._let_go(consignment)
            return False
        return True

    def _turn(self, consignment: Consignment, *, waits: bool) -> float:
        """0.0 where the message may be sent by the rates, else when it may (Unix seconds)."""
        return self._turns.take(consignment.message.envelope.arrived, waits=waits) if self._turns is not None else 0.0

    def _postpone(self, consignment: Consignment, turn: float) -> None:
        """The message waits in the queue for its turn."""
        try:
            self._ledger.postpone(consignment, turn)
        except OSError as error:
            self._alarm.spool_failed(consignment.queue_id, error)
        self._let_go(consignment)

    def put_back(self, consignment: Consignment, *, retried: bool) -> None:
        """A session died before it took this message: it goes over the next one, and no attempt is counted. retried: such a
        second chance was its last."""
        self._write(consignment, consignment.fresh)
        left = tuple(index for index in consignment.recipients if index not in consignment.known)
        stop = consignment.stop if consignment.stop > self._backlog.main else 0
        if self._turns is not None and not stop:
            self._turns.give_back(consignment.taken)
        self._ledger.give_back(consignment.queue_id, finished=False)
        self._backlog.put_back(Item(consignment.queue_id, left, retried, stop))

    # what came of it

    def notify_success(self, consignment: Consignment, statuses: dict[int, Status]) -> None:
        """These recipients have their mail."""
        if self._fruitless:
            with self._lock:
                self._fruitless = 0
        self.connections.succeeded()
        self._note(consignment, statuses)

    def notify_failure(self, consignment: Consignment, statuses: dict[int, Status]) -> None:
        """These recipients were refused for good; unless it was the sender whom this host does not want: another host may."""
        unwanted = {index: status for index, status in statuses.items() if _is_policy(status)}
        detour = self._course.detour(consignment.stop) if unwanted else None
        if detour is None:
            self._note(consignment, statuses)
            return
        self._note(consignment, {index: status for index, status in statuses.items() if index not in unwanted})
        consignment.elsewhere |= unwanted.keys()
        self._ledger.add_share(consignment.queue_id)
        self._backlog.add(Item(consignment.queue_id, tuple(unwanted), stop=detour))
        why = next(iter(unwanted.values()))
        self._log.info(
            f"{consignment.queue_id}: {why.host} does not take it from this sender, the next host is asked: {why.text}"
        )

    def notify_deferred(self, consignment: Consignment, statuses: dict[int, Status]) -> None:
        """These recipients are to be tried again later."""
        self._note(consignment, statuses)

    def _note(self, consignment: Consignment, statuses: dict[int, Status]) -> None:
        consignment.fresh.update(statuses)

    def notify_told(self, consignment: Consignment) -> None:
        """That was all for now: what is known is written down, and a message of which all is known is let go.

        Who has his mail is written down at once, the others when all are known: there is one notice of them, not one for each
        time that the session tells of some.
        """
        if consignment.complete:
            self._write(consignment, consignment.fresh)
            self._let_go(consignment, verdict=True)
        else:
            self._write(consignment, {i: status for i, status in consignment.fresh.items() if status.action == DELIVERED})

    def _write(self, consignment: Consignment, statuses: dict[int, Status]) -> None:
        if statuses:
            try:
                self._ledger.write(consignment, statuses)
            except OSError as error:
                self._alarm.spool_failed(consignment.queue_id, error, verdict=True)
                consignment.settle(statuses)

    def _let_go(self, consignment: Consignment, *, verdict: bool = False) -> None:
        try:
            self._ledger.give_back(consignment.queue_id, finished=True)
        except OSError as error:
            self._alarm.spool_failed(consignment.queue_id, error, verdict=verdict)

    def notify_no_connection(self, stop: Stop, answer: Answer) -> bool:
        """A host could not be used. The next in the list is; after the last, the hop's mail waits for another pass.

        Returns whether the worker should go on. A host that others are connected to right now is not down but full: then
        only the number of connections shrinks.
        """
        _, candidate = stop
        judgement = judge(answer, str(candidate), exchanger=candidate.exchanger)
        may_be_full = judgement.scope is Scope.HOST or answer.trouble is Trouble.NO_ROOM
        if may_be_full and (self.connections.refused() or self._hosts.is_full(candidate)):
            return False
        self._leave(stop, judgement, answer)
        return True

    def notify_done(self, stop: Stop, completed: int, trouble: Judgement | None) -> None:
        """A connection has ended."""
        try:
            self._ledger.settle()
        except OSError as error:
            self._alarm.spool_failed("settling", error)
        if completed and not (trouble is not None and trouble.scope is Scope.ACCOUNT):
            self._alarm.let_in()
        if trouble is None or trouble.scope not in (Scope.HOST, Scope.ACCOUNT, Scope.MESSAGE):
            return
        with self._lock:
            self._fruitless = 0 if completed else self._fruitless + 1
            fruitless = self._fruitless
        # 421 may be about that one message: another gets a chance before the host is left alone
        host = trouble.scope is Scope.HOST and trouble.status.code != _CLOSING
        if trouble.scope is Scope.ACCOUNT or (not completed and (host or fruitless >= _FRUITLESS)):
            self._leave(stop, trouble)

    def _leave(self, stop: Stop, judgement: Judgement, answer: Answer | None = None) -> None:
        """Goes on to the next host, once, whoever of the workers comes first."""
        number, candidate = stop
        if not self._course.leave(number, judgement, answer) or self._course.stranded:
            return
        self._log.warning(f"relay {self.hop.title}: {candidate}: {judgement.status.text}")
        with self._lock:
            self._fruitless = 0
            self.connections.begin()
        if judgement.scope is Scope.ACCOUNT:
            self._alarm.locked_out(judgement.status)

    def _strand(self) -> None:
        """This machine is offline: the mail stays as it is, and no attempt has been made."""
        self._backlog.clear()
        self._report.offline = True

    def _end_rest(self, status: Status, number: int) -> None:
        """Every message that only the hosts from `number` on could have taken gets this status, without a connection."""
        notify = self.notify_failure if status.final else self.notify_deferred
        hosts = [] if status.final else self._course.hosts(number)
        with self._log.together():
            while not self._stopping.is_set() and (item := self._backlog.take_stuck(number)) is not None:
                consignment = self._consign(item)
                if consignment is not None:
                    consignment.stop, consignment.hosts = END, hosts
                    notify(consignment, dict.fromkeys(consignment.recipients, status))
                    self.notify_told(consignment)

    def defer_unknown(self, consignment: Consignment, error: BaseException) -> None:
        """A bug of ours must not bounce or lose mail: whatever has no status yet waits (law 2)."""
        missing = [index for index in consignment.recipients if index not in consignment.known]
        reason = deferred("4.3.0", f"internal error of smartrelay: {type(error).__name__}")
        self.notify_deferred(consignment, dict.fromkeys(missing, reason))
        self.notify_told(consignment)


def _is_policy(status: Status) -> bool:
    """Whether a no was to this sender at this host (not allowed, over quota), and so says nothing of other hosts."""
    return status.dsn.startswith("5.7.") and status.phase in (Phase.MAIL, Phase.RCPT) and status.code != UNAUTHENTICATED
