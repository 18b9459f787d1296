"""The relaying managers: one pass over the queue, grouped by next hop, side by side.

A pass streams: it keeps ids, not messages. It takes in what becomes due as long as any of its workers runs, and looks once
more before it ends. Each next hop has its own threads, so that a slow one delays nobody else (law 7).
"""

import time
from collections.abc import Callable, Iterable

from smartrelay.config import Config
from smartrelay.mail.envelope import Envelope
from smartrelay.mail.status import Status, deferred
from smartrelay.maillog import MailLog
from smartrelay.relay.alarm import spool_failed
from smartrelay.relay.attempt import _AttemptManager
from smartrelay.relay.budget import Budgets
from smartrelay.relay.crew import Crew
from smartrelay.relay.factory import SMTPManagedRelayerFactory, factory_for
from smartrelay.relay.flag import Flag
from smartrelay.relay.hosts import Hosts
from smartrelay.relay.ledger import Consignment, Ledger
from smartrelay.relay.pace import Pace
from smartrelay.relay.report import Report
from smartrelay.relay.schedule import DOUBTFUL
from smartrelay.routing.relays import NextHop, Routes
from smartrelay.routing.trouble import NoRule
from smartrelay.smtp.dialogue import Phase
from smartrelay.smtp.transcript import Listener
from smartrelay.spool.history import History
from smartrelay.spool.queue import Queue
from smartrelay.spool.trouble import CorruptMessage, MessageBusy, NoSuchMessage

_LOOK = 0.5
"""Seconds between looks at the spool while workers run."""

_RAMP = 0.02
"""Seconds between looks whether there are too few connections or too many, while either can be."""

_START_AFTER = 64
"""Planned messages after which workers are started beside the planning."""

_FINAL_DOTS = 10.0
"""Seconds that transactions get to finish when the pass is to stop."""

_VERDICTS = 2.0
"""Seconds that threads get to write their verdicts after their sockets were shut; more only a resolver takes."""

WIND_UP = _FINAL_DOTS + _VERDICTS
"""Seconds from `stop` to the end of a pass, at most."""

Wanted = Callable[[Envelope, str], bool]


class SmartHostESMTPRelayingManager:
    """Relays what is due; each relay rule says whether it is spoken to in ESMTP or plain SMTP.

    wanted: which messages (None: all that are due); everything: whatever their next attempt. progress: called now and then.
    budgets: what may be sent in what time, None where no rate is set. listener: who reads the dialogues along.
    """

    def __init__(
        self,
        queue: Queue,
        routes: Routes,
        hosts: Hosts,
        config: Config,
        log: MailLog,
        *,
        wanted: Wanted | None = None,
        everything: bool = False,
        clock: Callable[[], float] = time.time,
        pace: Callable[[], Pace] = Pace,
        budgets: Budgets | None = None,
        progress: Callable[[Report, int], None] = lambda report, backlog: None,
        listener: Listener | None = None,
    ) -> None:
        self.report = Report()
        self._queue = queue
        self._routes = routes
        self._hosts = hosts
        self._config = config
        self._log = log
        self._wanted = wanted
        self._everything = everything
        self._clock = clock
        self._pace = pace
        self._budgets = budgets
        self._progress = progress
        self._listener = listener
        self._stopping = Flag()
        self._hurry = Flag()
        self._crew = Crew(config.limits, self._stopping, self.report, log, alone=routes.only is not None)
        self._attempts: dict[NextHop, _AttemptManager] = {}
        self._factories: dict[NextHop, SMTPManagedRelayerFactory] = {}
        self._looked_for_recovered = False
        self._seen: set[str] = set()
        self._ledger = Ledger(queue, log, self.report, config, clock)

    def stop(self) -> None:
        """Asks the pass to end: no new transaction, final dots get ten seconds. The second time: no seconds. May be called
        from a signal handler."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    def check_state(self) -> Report:
        """One pass over the queue. Raises OSError when the spool cannot be listed."""
        self._queue.sweep()
        self._look()
        try:
            self._go_on()
        except Exception:
            # the spool failed under us, or we did: what is on its way may end, and its verdict be written
            self._stopping.set()
            self._wind_up()
            raise
        if self._stopping.is_set():
            self._wind_up()
        self._ledger.settle()
        self._hosts.memory.save()
        self._ledger.incidents.save()
        if self._budgets is not None:
            self._budgets.save()
        self.report.waiting = self._queue.count_waiting()
        return self.report

    def _go_on(self) -> None:
        looked = time.monotonic()
        while not self._stopping.is_set():
            self._crew.start()
            if self._crew.is_done:
                if not self._look() and not self._hurry_recovered():
                    break
                continue
            self._crew.wait(_RAMP if self._crew.may_change else _LOOK)
            if time.monotonic() - looked >= _LOOK:
                self._ledger.settle()
                self._ledger.incidents.save()
                if self._budgets is not None:
                    self._budgets.save()
                self._look()
                self._progress(self.report, self._crew.backlog)
                looked = time.monotonic()

    def _hurry_recovered(self) -> bool:
        """Makes due what was deferred because of a host that has recovered in this pass; whether there was any. One look at
        the deferred mail, when everything else is done."""
        recovered = self._hosts.memory.recovered
        if self._looked_for_recovered or not recovered or self._wanted is not None or self._everything:
            return False
        self._looked_for_recovered = True

        def waits_for_it(envelope: Envelope, history: History) -> bool:
            return history.doubts < DOUBTFUL and self._hosts.has_recovered(history)

        return self._queue.make_due(waits_for_it) > 0

    # planning

    def _look(self) -> int:
        """Takes in what is new or has become due; returns how many messages were planned."""
        self._queue.take_in(self._wanted)
        told = self._everything or self._wanted is not None
        if self._clock() >= self._queue.next_due:
            self._queue.read_directory(everything=told)
        planned = 0
        for one in self._queue.get_waiting():
            if one in self._seen or self._ledger.is_planned(one):
                continue
            if told:
                self._seen.add(one)  # whatever is "due" does not count then, so each message has one turn
            planned += self._plan(one)
            if planned % _START_AFTER == 0:
                self._crew.start()  # they need not wait for the end of a long plan
            if self._stopping.is_set():
                break
        return planned

    def _plan(self, one: str) -> bool:
        if self._wanted is None and self._routes.only is not None:
            # nothing in its envelope can change its way: whoever takes it in hand reads it, once
            self._ledger.plan(one, 1)
            self._add(self._routes.only, one, None)
            return True
        try:
            envelope = self._queue.get_envelope(one)
        except (NoSuchMessage, CorruptMessage):
            self._queue.probe(one)
            return False
        except OSError:
            return False  # it waits, until there is room for it
        if self._wanted is not None and not self._wanted(envelope, one):
            return False
        hops = self._hops(envelope)
        nowhere = hops.pop(None, None)
        self._ledger.plan(one, len(hops) + (nowhere is not None))
        single = len(hops) == 1 and nowhere is None
        for hop, recipients in hops.items():
            if hop is not None:
                self._add(hop, one, None if single else tuple(recipients))
        if nowhere is not None:
            trouble = NoRule()
            self._defer(one, nowhere, deferred(trouble.dsn, trouble.text))
        return True

    def _hops(self, envelope: Envelope, indices: Iterable[int] | None = None) -> dict[NextHop | None, list[int]]:
        """The recipients (all of them, or those), by index, for each next hop."""
        hops: dict[NextHop | None, list[int]] = {}
        for index in range(len(envelope.recipients)) if indices is None else indices:
            address = envelope.recipients[index].address
            hops.setdefault(self._routes.next_hop(envelope.reverse_path, address), []).append(index)
        return hops

    def _add(self, hop: NextHop, one: str, recipients: tuple[int, ...] | None) -> None:
        attempt = self._attempts.get(hop)
        if attempt is None:
            self._factories[hop] = self._factory(hop)
            attempt = self._attempts[hop] = _AttemptManager(
                hop,
                self._factories[hop],
                self._ledger,
                self._hosts,
                self.report,
                self._log,
                self._config.limits,
                self._stopping,
                self._clock,
                self._pace(),
                self._budgets,
            )
        attempt.add(one, recipients)
        self._crew.take_on(attempt)

    def _factory(self, hop: NextHop) -> SMTPManagedRelayerFactory:
        return factory_for(hop, self._config, self._stopping, self._listener)

    def _defer(self, one: str, recipients: list[int], status: Status) -> None:
        """Defers recipients that have nowhere to go."""
        try:
            message = self._ledger.take(one)
        except (NoSuchMessage, MessageBusy, CorruptMessage):
            return
        except OSError as error:
            spool_failed(self.report, self._log, one, error)
            return
        still = set(message.history.waiting)
        waiting = [index for index in recipients if index in still]
        try:
            try:
                if waiting:
                    self._ledger.write(Consignment(message, "none", waiting, self._clock()), dict.fromkeys(waiting, status))
            finally:
                self._ledger.give_back(one, finished=True)
        except OSError as error:
            spool_failed(self.report, self._log, one, error)

    # the end

    def _wind_up(self) -> None:
        """Ends the pass early: transactions may finish, then their sockets are shut and the verdicts written."""
        self.report.stopped = True
        self._wait(_FINAL_DOTS, lambda: self._hurry.is_set() or not self._in_transaction())
        for factory in self._factories.values():
            for session in list(factory.live):
                session.client.abort()
        self._wait(_VERDICTS, lambda: not self._queue.get_relayed())

    def _in_transaction(self) -> bool:
        """Whether any message is on its way right now."""
        return bool(self._queue.get_relayed()) and any(
            session.phase is not Phase.QUIT for factory in self._factories.values() for session in list(factory.live)
        )

    def _wait(self, seconds: float, over: Callable[[], bool]) -> None:
        end = time.monotonic() + seconds
        while not over() and (left := end - time.monotonic()) > 0:
            self._crew.wait(min(left, 0.05))


class SmartHostSMTPRelayingManager(SmartHostESMTPRelayingManager):
    """Relays what is due in plain SMTP to whatever next hop: HELO, no extension."""

    def _factory(self, hop: NextHop) -> SMTPManagedRelayerFactory:
        return SMTPManagedRelayerFactory(hop, self._config, self._stopping, listener=self._listener)


def _checkState(manager: SmartHostESMTPRelayingManager) -> Report:
    """Prompts a manager to check state: the cycle that `flush` runs once."""
    return manager.check_state()
