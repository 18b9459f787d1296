"""The hosts that one next hop's mail may be handed to, in the order in which they are tried (RFC 5321 section 5.1)."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from smartrelay.mail.status import Status
from smartrelay.routing.host import host_key
from smartrelay.routing.mx import Exchanger, MXCalculator
from smartrelay.routing.relays import IMPLICIT, STARTTLS, Endpoint, NextHop
from smartrelay.routing.trouble import RoutingError, UnverifiableExchanger

Shuffle = Callable[[list[Endpoint]], None]


class Candidate(NamedTuple):
    """A host that can be connected to. addresses: where it is, () for the system's resolver to find. exchanger: it was found
    as an exchanger of the recipient's domain, so that its no is the domain's. preference: as an exchanger, the least is the
    best."""

    endpoint: Endpoint
    addresses: tuple[str, ...] = ()
    exchanger: bool = False
    preference: int = 0

    @property
    def key(self) -> str:
        """What the memory for bad hosts knows it by."""
        return self.endpoint.path or host_key(self.endpoint.host, self.endpoint.port)

    def __str__(self) -> str:
        return str(self.endpoint)


def key_of(peer: str) -> str:
    """The key of a host that the journal calls "name[address]:port" (where a session stood) or "name:port"."""
    name, bracket, rest = peer.partition("[")
    port = rest.rpartition(":")[2]
    if peer.startswith("/") or not name or not bracket or not (port.isdecimal() and len(port) < 6):
        return peer
    return host_key(name, int(port))


def keys_of(hop: NextHop | None, statuses: Iterable[Status | None]) -> set[str]:
    """The keys of the hosts that mail with these latest statuses waits for, as far as they are known without a question to
    the DNS: those that it was last at, and those that its rule names."""
    keys = {key_of(status.host) for status in statuses if status is not None and status.host}
    endpoints = hop.endpoints if hop is not None else ()
    return keys | {Candidate(endpoint).key for endpoint in endpoints if not endpoint.exchangers}


def candidates(hop: NextHop, calculator: MXCalculator | None, shuffle: Shuffle) -> list[Candidate]:
    """The hosts of `hop`, each once: its groups in order, equals by lot, mail exchangers by preference.

    calculator: may be None where no endpoint asks for mail exchangers. Raises RoutingError where there are none: a temporary
    one if any of the lookups may go better later.
    """
    found: dict[str, Candidate] = {}
    troubles: list[RoutingError] = []
    for group in hop.groups:
        equals = list(group)
        if len(equals) > 1:
            shuffle(equals)
        for endpoint in equals:
            try:
                for candidate in _expanded(endpoint, hop.domain, calculator):
                    found.setdefault(candidate.key, candidate)
            except RoutingError as trouble:
                troubles.append(trouble)
    if not found and troubles:
        raise next((trouble for trouble in troubles if not trouble.permanent), troubles[0])
    return list(found.values())


def _expanded(endpoint: Endpoint, domain: str, calculator: MXCalculator | None) -> list[Candidate]:
    if not endpoint.exchangers:
        return [Candidate(endpoint)]
    if calculator is None:
        raise ValueError("no MXCalculator was given")
    exchangers = calculator.exchangers(endpoint.host or domain)
    if endpoint.host and endpoint.tls in (STARTTLS, IMPLICIT):
        exchangers = _verifiable(exchangers, endpoint.host)
    return [
        Candidate(endpoint._replace(host=each.host, exchangers=False), each.addresses, not endpoint.host, each.preference)
        for each in exchangers
    ]


def _verifiable(exchangers: list[Exchanger], name: str) -> list[Exchanger]:
    """Those that a certificate can speak for. Their names come from a DNS that anybody may have forged, so a certificate for
    such a name proves nothing; one for the relay's own name, or a name below it, does (RFC 7817 section 3)."""
    sound = [exchanger for exchanger in exchangers if f".{exchanger.host}".endswith(f".{name}")]
    if not sound:
        raise UnverifiableExchanger(
            f"no mail exchanger of {name} has a name below {name}, so that no certificate could prove whose they are; "
            "name the host itself in the relay URL"
        )
    return sound
