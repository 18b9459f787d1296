"""One pass of the simulated month: the manager's work in one thread."""

import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

from smartrelay.maillog import MailLog
from smartrelay.relay.attempt import _AttemptManager
from smartrelay.relay.budget import Budgets
from smartrelay.relay.factory import ESMTPManagedRelayerFactory
from smartrelay.relay.hosts import Hosts
from smartrelay.relay.ledger import Ledger
from smartrelay.relay.report import Report
from smartrelay.routing.bad_hosts import BadHosts
from smartrelay.routing.relays import NextHop

if TYPE_CHECKING:
    from tests.simulation.world import World


class Pass:
    """One process: a pass over what is due, as the manager makes it, but in one thread."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._queue = world.queue()
        self._report = Report()
        self._log = MailLog(lambda priority, *lines: world.truth.logged(world.true, lines))
        config, clock = world.config, world.clock
        self._ledger = Ledger(self._queue, self._log, self._report, config, clock, world.rng.random)
        self._memory = BadHosts(
            f"{world.spool}/hosts.json", nullcontext, timeout=config.mx.bad_host_timeout, clock=clock, warn=world.must_not_warn
        )
        self._hosts = Hosts(
            None,
            self._memory,
            20,
            offline=world.weather.is_offline,
            unresolved=lambda: False,
            shuffle=lambda each: None,
            clock=clock,
        )
        rates = {relay.name: relay.rate for relay in config.relays if relay.rate}
        self._budgets = Budgets(
            f"{world.spool}/var/rates.json", rates, horizon=config.horizon, clock=clock, warn=world.must_not_warn
        )
        self._stopping = threading.Event()
        self._attempts: dict[NextHop, _AttemptManager] = {}

    def run(self) -> None:
        """Until nothing is due."""
        self._queue.sweep()
        while self._look():
            # threads have no order
            for attempt in self._world.rng.sample(list(self._attempts.values()), len(self._attempts)):
                while attempt.backlog and not self._stopping.is_set():
                    attempt.work()
        self._ledger.settle()
        self._memory.save()
        self._budgets.save()
        assert not self._report.failed, self._world.truth.log

    def _look(self) -> int:
        self._queue.take_in()
        self._queue.read_directory()
        planned = 0
        for one in self._queue.get_waiting():
            hops: dict[NextHop, list[int]] = {}
            envelope = self._queue.get_envelope(one)
            for index, recipient in enumerate(envelope.recipients):
                hop = self._world.routes.next_hop(envelope.reverse_path or recipient.address, recipient.address)
                assert hop is not None
                hops.setdefault(hop, []).append(index)
            self._ledger.plan(one, len(hops))
            for hop, indices in hops.items():
                self._attempt(hop).add(one, tuple(indices))
            planned += 1
        return 0 if self._report.offline else planned

    def _attempt(self, hop: NextHop) -> _AttemptManager:
        world = self._world
        if hop not in self._attempts:
            factory = ESMTPManagedRelayerFactory(hop, world.config, self._stopping, world.weather.connect)
            self._attempts[hop] = _AttemptManager(
                hop, factory, self._ledger, self._hosts, self._report, self._log, world.config.limits, self._stopping,
                world.clock, budgets=self._budgets,
            )  # fmt: skip
        return self._attempts[hop]
