"""Which way mail goes, in the words of `route`, `flush --dry-run` and `queue show`: by which rule, to which hosts, and what the
bad-host memory has against them."""

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from smartrelay import config as configuration
from smartrelay.cli.caller import Common
from smartrelay.cli.moment import moment
from smartrelay.config import Config
from smartrelay.errors import ConfigError
from smartrelay.mail.status import visible
from smartrelay.relay.hosts import Hosts, awaited
from smartrelay.routing.bad_hosts import BadHost, BadHosts
from smartrelay.routing.candidates import Candidate
from smartrelay.routing.relays import NextHop, Routes
from smartrelay.routing.resolver import Resolver
from smartrelay.routing.trouble import NoRule, RoutingError
from smartrelay.spool.listing import Entry


class Host(NamedTuple):
    """One host of a way. name: "host:port", or the path of a local socket. bad: what the memory has against it."""

    name: str
    bad: BadHost | None = None

    def words(self, now: float) -> str:
        """The host, and why it is not asked like any other."""
        return f"{self.name} ({bad_words(self.bad, now)})" if self.bad is not None else self.name


class Way(NamedTuple):
    """Where a next hop's mail goes: to `hosts`, in the order in which they are tried. hop: None where no rule matches. trouble:
    why there are no hosts. candidates: the hosts, for who wants to know more; () where the DNS was not asked."""

    hop: NextHop | None
    hosts: tuple[Host, ...] = ()
    trouble: RoutingError | None = None
    candidates: tuple[Candidate, ...] = ()

    def words(self, now: float) -> str:
        """Rule and hosts in one line."""
        rule = f"{self.hop.name}: " if self.hop is not None else ""
        if self.trouble is not None:
            return visible(f"{rule}nowhere: {trouble_words(self.trouble)}")
        return visible(f"{rule}{', '.join(host.words(now) for host in self.hosts)}")

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "relay": self.hop.name if self.hop is not None else None,
            "hosts": [host.name for host in self.hosts],
            "bad": [{"host": host.name, **bad_dict(host.bad)} for host in self.hosts if host.bad is not None],
            "trouble": trouble_dict(self.trouble) if self.trouble is not None else None,
        }


NOWHERE = Way(None, trouble=NoRule())


class Ways:
    """The ways of one call of a command; the hosts of each next hop are looked up once.

    forgiving: as a pass that tries bad hosts like any other.
    """

    def __init__(
        self, config: Config, routes: Routes, resolver: Resolver, memory: BadHosts, *, forgiving: bool = False
    ) -> None:
        self._routes = routes
        self._memory = memory
        self._forgiving = forgiving
        self._hosts = Hosts.asking(config, routes, resolver, memory, forgiving=forgiving)
        self._found: dict[NextHop | None, Way] = {None: NOWHERE}

    def to(self, sender: str, recipient: str) -> Way:
        """The way of mail from `sender` ("": the null sender) to `recipient`."""
        return self.of(self._routes.next_hop(sender, recipient))

    def of(self, hop: NextHop | None) -> Way:
        """The way to a next hop."""
        if hop is not None and hop not in self._found:
            self._found[hop] = self._look_up(hop)
        return self._found[hop]

    def prepare(self, hops: Iterable[NextHop | None], at_once: int) -> None:
        """Looks up these next hops side by side: what is slow or dead in the DNS then costs its time once."""
        wanted = [hop for hop in dict.fromkeys(hops) if hop is not None and hop not in self._found]
        with ThreadPoolExecutor(at_once) as pool:
            self._found |= zip(wanted, pool.map(self._look_up, wanted), strict=True)

    def _look_up(self, hop: NextHop) -> Way:
        try:
            found = self._hosts.candidates(hop)
        except RoutingError as trouble:
            return Way(hop, (), trouble)
        # who asks them like any other has nothing against them
        bad = [None if self._forgiving else self._memory.get(candidate.key) for candidate in found]
        return Way(hop, tuple(map(Host, map(str, found), bad)), candidates=tuple(found))


def rules(common: Common) -> Routes | ConfigError:
    """The rules, or what is wrong with the configuration; to be read before a process of root's becomes the spool's owner."""
    try:
        return Routes.of(configuration.load(common.config, common.spool), secrets=False)
    except ConfigError as error:
        return error


def memory_of(spool: str, warn: Callable[[str], None], timeout: float = math.inf) -> BadHosts:
    """The bad-host memory, to be looked at only. timeout: the longest for which an entry counts."""
    return BadHosts(f"{spool}/hosts.json", None, timeout=timeout, warn=warn)


def waiting_ways(entry: Entry, routes: Routes, memory: BadHosts) -> list[tuple[list[str], Way]]:
    """The recipients of a message that wait, those that go one way together, and that way as far as it is known without a
    question to the DNS."""
    envelope = entry.envelope
    hops: dict[NextHop | None, list[int]] = {}
    for index in entry.history.waiting:
        hop = routes.next_hop(envelope.reverse_path, envelope.recipients[index].address)
        hops.setdefault(hop, []).append(index)
    return [
        (
            [envelope.recipients[index].address for index in indices],
            _known(hop, awaited(hop, entry.history, indices), memory),
        )
        for hop, indices in hops.items()
    ]


def _known(hop: NextHop | None, keys: set[str], memory: BadHosts) -> Way:
    """The hosts that the rule names, and behind them those of the exchangers with these keys that are bad."""
    if hop is None:
        return NOWHERE
    hosts, named = [], set()
    for endpoint in hop.endpoints:
        if endpoint.exchangers:
            hosts.append(Host(str(endpoint._replace(host=endpoint.host or hop.domain))))
        else:
            key = Candidate(endpoint).key
            named.add(key)
            hosts.append(Host(str(endpoint), memory.get(key)))
    if len(named) < len(hop.endpoints):
        others = map(memory.get, sorted(keys - named))
        hosts += [Host(bad.key, bad) for bad in others if bad is not None]
    return Way(hop, tuple(hosts))


def bad_words(bad: BadHost, now: float) -> str:
    """Why a host is bad, and when it is asked again."""
    return f"bad: {bad.reason}; next probe {moment(bad.probe) if bad.probe > now else 'is due'}"


def bad_dict(bad: BadHost) -> dict[str, Any]:
    """The same for programs, with the members of `hosts list --json`; times in whole Unix seconds."""
    times = {"since": int(bad.since), "until": int(bad.until), "probe": int(bad.probe)}
    return {"reason": bad.reason, **times, "failures": bad.failures}


def trouble_words(trouble: RoutingError) -> str:
    """Why there is no host, and what becomes of the mail."""
    return f"{trouble.text}; such mail {'fails' if trouble.permanent else 'waits'} ({trouble.dsn})"


def trouble_dict(trouble: RoutingError) -> dict[str, Any]:
    """The same for programs."""
    return {"permanent": trouble.permanent, "dsn": trouble.dsn, "text": trouble.text}
