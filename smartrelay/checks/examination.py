"""The whole of it: which parts are tried, in which order, and by whom."""

import encodings.idna  # noqa: F401  # the system's resolver needs it, when root may be the spool's owner already
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from smartrelay import config as configuration
from smartrelay.checks import credentials, host, identity, route, starter, storage, submission, telling, trials
from smartrelay.checks.finding import FAIL, OK, WARN, Finding, forgiven, worst
from smartrelay.config import Config, Relay
from smartrelay.errors import ConfigError, UsageError
from smartrelay.routing import resolver as dns
from smartrelay.routing.relays import Routes
from smartrelay.settings import Settings, default_spool
from smartrelay.smtp.transcript import Listener
from smartrelay.spool import access


class Wish(NamedTuple):
    """What is to be tried. file, spool: as `--config` and `--spool` have them. relay: this rule alone, and nothing else, "" for
    all there is. seconds: for one step of a host; all of a host's may take twice as long. listener: who reads the dialogues
    along."""

    file: str
    spool: str
    relay: str
    seconds: float
    listener: Listener | None = None


def examine(wish: Wish, settings: Settings, clock: Callable[[], float] = time.time) -> list[Finding]:
    """Tries all that was wished for. A process of root's is the spool's owner afterwards. Raises UsageError for a rule that is
    not there."""
    try:
        config = configuration.load(wish.file, wish.spool)
    except ConfigError as error:
        inside = [] if wish.relay else _spool_alone(settings)
        return [Finding(FAIL, "configuration", str(error)), *inside]
    return _Examination(wish, settings, config, clock).run()


def _spool_alone(settings: Settings) -> list[Finding]:
    """Mail is queued whatever is wrong with the configuration, so the spool is worth a look."""
    return storage.enter(settings.spool)[0]


class _Examination:
    def __init__(self, wish: Wish, settings: Settings, config: Config, clock: Callable[[], float]) -> None:
        self._wish = wish
        self._settings = settings
        self._config = config
        self._clock = clock
        self._relays = _chosen(config, wish.relay)

    def run(self) -> list[Finding]:
        """First what root alone can read, then the rest as the spool's owner, as a pass does it."""
        config, whole = self._config, not self._wish.relay
        places = starter.places_of(config.file, config.spool, user=config.direct and os.geteuid() != 0)
        file = self._file()
        entitled = os.geteuid() == 0 or _owns(config.spool)
        tries = [partial(credentials.understand, config, relay, entitled=entitled) for relay in self._relays]
        understood = [found for found in trials.run(tries) if found is not None]
        _load()
        was_root = os.geteuid() == 0
        spool, inside = storage.enter(config.spool)
        findings = [file, *self._rules(understood)] if whole else [file]
        if whole:
            findings += identity.findings(config, self._settings, _routes(config, understood))
            findings += [*spool, *(self._inside() if inside else [])]
        findings += [finding for found in understood for finding in found.findings]
        if was_root and os.geteuid() != 0 and places is not None and starter.is_installed(places):
            findings += credentials.closed_to_us(self._relays, access.user(os.geteuid()))
        findings += self._network(understood, whole=whole)
        if whole and places is not None:
            findings += starter.findings(places, usual=config.spool == default_spool(places.user))
        return findings

    def _inside(self) -> list[Finding]:
        """What only the spool's owner can try."""
        return [*storage.findings(self._config, self._clock), *telling.findings(self._config)]

    def _file(self) -> Finding:
        file = self._config.file
        if not os.path.exists(file):
            return Finding(OK, "configuration", f"there is no {file}, so all is as usual")
        return Finding(OK, "configuration", f"{file} can be read, and has no unknown key or wrong value")

    def _rules(self, understood: list[credentials.Understood]) -> list[Finding]:
        if understood:
            return []
        words = "no relay is configured, so all mail is kept"
        return [Finding(WARN, "relay", words, f"add a [[relay]] to {self._config.file}")]

    def _network(self, understood: list[credentials.Understood], *, whole: bool) -> list[Finding]:
        """All that somebody else has to answer, side by side: first the DNS, then hosts and sockets."""
        config, seconds = self._config, self._wish.seconds
        hops = [found.hop for found in understood if found.hop is not None]
        resolver = dns.DNSResolver(config.mx.nameservers, min(seconds, config.timeouts.lookup))
        servers: list[Callable[[], Finding]] = []
        if any(endpoint.exchangers for hop in hops for endpoint in hop.endpoints):
            servers = route.nameservers(config, min(seconds, config.timeouts.lookup))
        asked = trials.run(servers)
        findings = [finding for finding in asked if finding is not None]
        if any(finding.status == OK for finding in findings):
            findings = forgiven(findings)
        ways = [way for way in trials.run([partial(route.way, config, hop, resolver) for hop in hops]) if way is not None]
        findings += self._hosts(ways)
        if whole:
            sockets = trials.run(submission.trials(config, self._settings.submit_socket, seconds), 2 * seconds)
            findings += [finding for finding in sockets if finding is not None]
        return findings

    def _hosts(self, ways: list[route.Way]) -> list[Finding]:
        """Each host of each rule."""
        seconds, now = self._wish.seconds, self._clock()
        stops = [(way, candidate) for way in ways for candidate in way.candidates]
        tries = [
            partial(host.try_host, way.hop, candidate, self._config, seconds, now, self._wish.listener)
            for way, candidate in stops
        ]
        found: dict[str, list[tuple[bool, list[Finding]]]] = {way.hop.name: [] for way in ways}
        for (way, candidate), findings in zip(stops, trials.run(tries, 2 * seconds), strict=True):
            told = findings if findings is not None else [host.late(way.hop, candidate, 2 * seconds)]
            found[way.hop.name].append((candidate.key in way.named, told))
        return [finding for way in ways for finding in (*way.findings, *_judged(found[way.hop.name]))]


def _judged(hosts: Iterable[tuple[bool, list[Finding]]]) -> list[Finding]:
    """A rule's hosts. One that the DNS names and that cannot be used is no fault of ours, where another can."""
    hosts = list(hosts)
    stands = any(worst(findings) != FAIL for _, findings in hosts)
    return [each for named, findings in hosts for each in (forgiven(findings) if stands and not named else findings)]


def _chosen(config: Config, name: str) -> tuple[Relay, ...]:
    if not name:
        return config.relays
    chosen = tuple(relay for relay in config.relays if relay.name == name)
    if not chosen:
        there = ", ".join(relay.name for relay in config.relays) or "none"
        raise UsageError(f"there is no [[relay]] named {name!a} in {config.file}; there is {there}")
    return chosen


def _routes(config: Config, understood: list[credentials.Understood]) -> Routes | None:
    return Routes.of(config, secrets=False) if all(found.hop is not None for found in understood) else None


def _load() -> None:
    """Imports what is needed later while root can: the interpreter may lie where the spool's owner cannot read it."""
    import smartrelay.mail.address_list
    import smartrelay.mail.international
    import smartrelay.relay.from_policy  # noqa: F401

    dns.load()
    time.strptime("2000", "%Y")  # its first call imports how; the end of a certificate is read by it


def _owns(spool: str) -> bool:
    try:
        return os.stat(spool).st_uid == os.geteuid()
    except OSError:
        return True  # there is none yet: it will be the caller's
