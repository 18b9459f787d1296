"""What a pass knows of hosts, whichever next hop they belong to: which there are, which are bad, and how many connections
each has."""

import random
import threading
import time
from collections.abc import Callable, Iterable

from smartrelay.config import Config
from smartrelay.mail.status import ASKED, DEFERRED, REMEMBERED, Status
from smartrelay.relay.blame import Judgement
from smartrelay.routing.bad_hosts import BadHosts
from smartrelay.routing.candidates import Candidate, candidates, keys_of
from smartrelay.routing.mx import MXCalculator
from smartrelay.routing.nameserver import are_out_of_reach, of_system
from smartrelay.routing.network import is_local, is_offline
from smartrelay.routing.relays import Endpoint, NextHop, Routes
from smartrelay.routing.resolver import DNSResolver, Resolver
from smartrelay.smtp.dialogue import Answer, Trouble
from smartrelay.spool.history import History
from smartrelay.spool.lock import hosts_lock

SMTP_PORT = 25

_LATELY = 3600.0
"""Seconds (law 11: a probe that failed within the last hour is a last attempt)."""


class Hosts:
    """Shared by all threads of a pass.

    calculator: finds mail exchangers; None where no rule asks for any. most: connections to one host at once. forgiving: bad
    hosts are tried like any other (`flush --all`). offline: whether this machine has no way to anywhere; asked only after a
    failure. unresolved: whether the system has no DNS server that can be reached; asked likewise.
    """

    def __init__(
        self,
        calculator: MXCalculator | None,
        memory: BadHosts,
        most: int,
        *,
        forgiving: bool = False,
        offline: Callable[[], bool],
        unresolved: Callable[[], bool],
        shuffle: Callable[[list[Endpoint]], None] = random.shuffle,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.memory = memory
        self._calculator = calculator
        self._most = most
        self._forgiving = forgiving
        self._offline = offline
        self._unresolved = unresolved
        self._shuffle = shuffle
        self._clock = clock
        self._lock = threading.Lock()
        self._connections: dict[str, int] = {}
        self._allowed: dict[str, int] = {}

    @classmethod
    def of(
        cls,
        config: Config,
        routes: Routes,
        warn: Callable[[str], None],
        *,
        forgiving: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> "Hosts":
        """What `config` says of hosts, with the memory of its spool. warn: takes a sentence of what is wrong with that."""
        spool, timeout = config.spool, config.mx.bad_host_timeout
        memory = BadHosts(f"{spool}/hosts.json", lambda: hosts_lock(spool), timeout=timeout, clock=clock, warn=warn)
        resolver = DNSResolver(config.mx.nameservers, config.timeouts.lookup)
        return cls.asking(config, routes, resolver, memory, forgiving=forgiving)

    @classmethod
    def asking(
        cls, config: Config, routes: Routes, resolver: Resolver, memory: BadHosts, *, forgiving: bool = False
    ) -> "Hosts":
        """What `config` says of hosts, with a resolver and a memory that are given."""
        calculator = _calculator(config, resolver, memory) if routes.ask_for_exchangers else None
        return cls(
            calculator,
            memory,
            config.limits.max_connections_per_host,
            forgiving=forgiving,
            offline=is_offline,
            unresolved=lambda: are_out_of_reach(of_system()),
        )

    def candidates(self, hop: NextHop) -> list[Candidate]:
        """The hosts of a next hop in the order of this pass: those that are bad come after the good ones.

        Raises RoutingError where there are none.
        """
        found = candidates(hop, self._calculator, self._shuffle)
        return sorted(found, key=lambda candidate: not self._forgiving and self.memory.is_bad(candidate.key))

    def remembered(self, candidate: Candidate) -> Status:
        """Why a host may not be connected to now. That it failed within the last hour is as good as a failure just now."""
        found = self.memory.get(candidate.key)
        text = f"{found.reason if found else 'another connection is trying it'} (not tried again yet)"
        lately = found is not None and self._clock() - found.failed <= _LATELY
        return Status(DEFERRED, "4.4.1", text, host=str(candidate), basis=ASKED if lately else REMEMBERED)

    def may_connect(self, candidate: Candidate, *, again: bool = False) -> bool:
        """Whether a connection to this host may be tried now: one to a bad host is its probe, and nobody else's. again: it has
        failed in this pass, so that a forgiving one has done its part."""
        return (self._forgiving and not again) or self.memory.claim_probe(candidate.key)

    def enter(self, candidate: Candidate) -> bool:
        """Counts a connection that is about to be made; False where the host has as many as it may have."""
        with self._lock:
            if not self.has_room(candidate):
                return False
            self._connections[candidate.key] = self._connections.get(candidate.key, 0) + 1
            return True

    def leave(self, candidate: Candidate) -> None:
        """A connection has ended, or could not be made."""
        with self._lock:
            self._connections[candidate.key] -= 1
            if not self._connections[candidate.key]:
                del self._connections[candidate.key]
                self._allowed.pop(candidate.key, None)

    def has_room(self, candidate: Candidate) -> bool:
        """Whether one more connection may be made."""
        key = candidate.key
        return self._connections.get(key, 0) < min(self._most, self._allowed.get(key, self._most))

    def answered(self, candidate: Candidate) -> None:
        """A session stands: the host is good."""
        self.memory.mark_good(candidate.key)

    def is_full(self, candidate: Candidate) -> bool:
        """Whether a host that has refused a connection is not down but full, because others stand, of whatever next hop, or
        are just being made and will know. Then it is allowed no more than those, until all are over."""
        with self._lock:
            others = self._connections.get(candidate.key, 0)
            if others:
                self._allowed[candidate.key] = others
            return others > 0

    def failed(self, candidate: Candidate, judgement: Judgement) -> None:
        """The host could not be used, and will be left alone for a while."""
        self.memory.mark_bad(candidate.key, judgement.status.text)

    def is_out_of_reach(self, candidate: Candidate, answer: Answer) -> bool:
        """Whether a failure is this machine's, which is offline, and says nothing of the host."""
        if answer.trouble is Trouble.NO_NETWORK:
            return self._offline()
        if answer.trouble is Trouble.NO_HOST:
            return self._offline() or self._unresolved()
        return False

    def has_recovered(self, history: History) -> bool:
        """Whether a host has recovered in this pass that mail with this history was put off for. Mail that was not tried yet
        waits for no host: for its turn by a rate, say."""
        return not awaited(None, history, history.waiting).isdisjoint(self.memory.recovered)


def awaited(hop: NextHop | None, history: History, recipients: Iterable[int]) -> set[str]:
    """The keys of the hosts that mail with this history waits for, at these of its recipients, as far as they are known
    without a question to the DNS."""
    recipients = list(recipients)
    keys = keys_of(hop, [history.last[index] for index in recipients])
    return keys.union(*(history.hosts.get(index, ()) for index in recipients))


def _calculator(config: Config, resolver: Resolver, memory: BadHosts) -> MXCalculator:
    """Port 25 of this machine is where mail comes in, whoever listens there; any other port is asked for on purpose."""
    return MXCalculator(
        resolver,
        bad_hosts=memory,
        canonical_chain_limit=config.mx.canonical_chain_limit,
        fallback_to_domain=config.mx.fallback_to_domain,
        own_names=frozenset((config.hostname,)),
        is_own=is_local if config.mx.port == SMTP_PORT else lambda address: False,
        family=config.mx.address_family,
        port=config.mx.port,
        timeout_bad_mx=config.mx.bad_host_timeout,
    )
