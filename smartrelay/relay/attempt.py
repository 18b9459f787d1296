"""One attempt at one next hop: its mail, the connections that share it, and what each answer does to the rest."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from smartrelay.config import Limits
from smartrelay.errors import ConfigError
from smartrelay.mail.status import Status
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
from smartrelay.relay.taking import Taking
from smartrelay.relay.turns import Turns
from smartrelay.relay.verdicts import Verdicts
from smartrelay.routing.candidates import Candidate
from smartrelay.routing.relays import OPPORTUNISTIC, NextHop
from smartrelay.smtp.dialogue import Answer, Phase, Trouble

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
        self._stopping = stopping
        self.clock = clock
        self._turns = Turns(budgets, hop.name, stopping, clock) if budgets is not None else None
        self._alarm = Alarm(hop, log, report, ledger.incidents, stopping)
        self._lock = threading.Lock()
        self._backlog = Backlog()
        self._verdicts = verdicts = Verdicts(ledger, self._alarm)
        self._taking = Taking(
            hop.name, self._backlog, ledger, verdicts, self._alarm, self._turns, limits.max_received, stopping, clock
        )
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
        """The next consignment for the host at this stop (`Taking.take`)."""
        return self._taking.take(stop, waits=waits)

    def put_back(self, consignment: Consignment, *, retried: bool) -> None:
        """A session died before it took this message (`Taking.put_back`)."""
        self._taking.put_back(consignment, retried=retried)

    # what came of it

    def notify_success(self, consignment: Consignment, statuses: dict[int, Status]) -> None:
        """These recipients have their mail."""
        if self._fruitless:
            with self._lock:
                self._fruitless = 0
        self.connections.succeeded()
        self._verdicts.note(consignment, statuses)

    def notify_failure(self, consignment: Consignment, statuses: dict[int, Status]) -> None:
        """These recipients were refused for good; unless it was the sender whom this host does not want: another host may."""
        unwanted = {index: status for index, status in statuses.items() if _is_policy(status)}
        detour = self._course.detour(consignment.stop) if unwanted else None
        if detour is None:
            self._verdicts.note(consignment, statuses)
            return
        self._verdicts.note(consignment, {index: status for index, status in statuses.items() if index not in unwanted})
        consignment.elsewhere |= unwanted.keys()
        self._ledger.add_share(consignment.queue_id)
        self._backlog.add(Item(consignment.queue_id, tuple(unwanted), stop=detour))
        why = next(iter(unwanted.values()))
        self._log.info(
            f"{consignment.queue_id}: {why.host} does not take it from this sender, the next host is asked: {why.text}"
        )

    def notify_deferred(self, consignment: Consignment, statuses: dict[int, Status]) -> None:
        """These recipients are to be tried again later."""
        self._verdicts.note(consignment, statuses)

    def notify_told(self, consignment: Consignment) -> None:
        """That was all for now (`Verdicts.told`)."""
        self._verdicts.told(consignment)

    def defer_unknown(self, consignment: Consignment, error: BaseException) -> None:
        """A bug of ours cut the session short (`Verdicts.defer_unknown`)."""
        self._verdicts.defer_unknown(consignment, error)

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
                consignment = self._taking.consign(item)
                if consignment is not None:
                    consignment.stop, consignment.hosts = END, hosts
                    notify(consignment, dict.fromkeys(consignment.recipients, status))
                    self.notify_told(consignment)


def _is_policy(status: Status) -> bool:
    """Whether a no was to this sender at this host (not allowed, over quota), and so says nothing of other hosts."""
    return status.dsn.startswith("5.7.") and status.phase in (Phase.MAIL, Phase.RCPT) and status.code != UNAUTHENTICATED
