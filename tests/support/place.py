"""A spool, and whole passes over it in this process: the manager, its workers and the ledger, as `flush` runs them."""

import time
from collections.abc import Callable
from typing import Any

from smartrelay.config import MX, Config, Limits, Relay, Timeouts
from smartrelay.maillog import MailLog
from smartrelay.relay.budget import Budgets
from smartrelay.relay.hosts import Hosts
from smartrelay.relay.manager import SmartHostESMTPRelayingManager, _checkState
from smartrelay.relay.report import Report
from smartrelay.routing.relays import Routes
from smartrelay.spool.listing import Entry, entries
from smartrelay.spool.queue import Queue
from tests.support.queues import new_spool
from tests.support.smtp_server import ScriptedServer


class Place:
    """A spool, and passes over it. clock: of all that tells the time in Unix seconds."""

    def __init__(self, folder: str, clock: Callable[[], float] = time.time) -> None:
        self.spool = new_spool(folder)
        self.clock = clock
        self.queue = Queue(self.spool, clock=clock)
        self.lines: list[str] = []
        self.limits = Limits()
        self.timeouts = Timeouts(greeting=20, command=20, data=20, data_end=20, quit=5)
        self.mx = MX()
        self.kind = SmartHostESMTPRelayingManager

    def config(self, *relays: Relay) -> Config:
        return Config(
            "/c.toml", self.spool, True, "host.example.org", "example.org", 1 << 20, 100, 0, relays, limits=self.limits,
            timeouts=self.timeouts, mx=self.mx,
        )  # fmt: skip

    def manager(self, *relays: Relay | ScriptedServer, **more: object) -> SmartHostESMTPRelayingManager:
        config = self.config(*(relay if isinstance(relay, Relay) else rule(relay) for relay in relays))
        log = MailLog(lambda priority, *lines: self.lines.extend(lines))
        routes = Routes.of(config)
        everything = bool(more.get("everything"))
        hosts = Hosts.of(config, routes, self.lines.append, forgiving=everything, clock=self.clock)
        budgets = Budgets.of(config, self.lines.append, clock=self.clock)
        queue = Queue(self.spool, clock=self.clock)
        return self.kind(queue, routes, hosts, config, log, clock=self.clock, budgets=budgets, **more)  # type: ignore[arg-type]

    def run(self, *relays: Relay | ScriptedServer, **more: object) -> Report:
        return _checkState(self.manager(*relays, **more))

    def left(self) -> list[Entry]:
        return list(entries(self.spool))

    def standing(self) -> dict[str, str]:
        """What became of each recipient whose message is still there."""
        return {
            recipient.address: status.dsn if (status := entry.history.last[index]) else ""
            for entry in self.left()
            for index, recipient in enumerate(entry.envelope.recipients)
        }


def url(server: ScriptedServer | int) -> str:
    return f"smtp+notls://127.0.0.1:{server if isinstance(server, int) else server.port}"


def rule(*servers: ScriptedServer | int, name: str = "work", recipient: str = "*", **more: Any) -> Relay:
    return Relay(
        name, tuple((url(server),) for server in servers), f"/c.toml: [[relay]] {name}: ", recipient=(recipient,), **more
    )


def recipients(*servers: ScriptedServer) -> list[str]:
    """For whom these servers took mail."""
    accepted = [transaction for server in servers for transaction in server.accepted]
    return sorted(address.decode().strip("<>") for transaction in accepted for address in transaction.recipients)
