"""Which hosts of a rule can be tried: those that it names, and exchangers as far as a domain is known to ask for."""

from collections.abc import Callable
from typing import NamedTuple

from smartrelay.checks.finding import FAIL, OK, Finding
from smartrelay.config import Config
from smartrelay.mail.address import domain_of
from smartrelay.mail.status import visible
from smartrelay.relay.hosts import Hosts
from smartrelay.routing.bad_hosts import BadHosts
from smartrelay.routing.candidates import Candidate
from smartrelay.routing.nameserver import of_system
from smartrelay.routing.relays import NextHop, Routes
from smartrelay.routing.resolver import TEMPORARY, UNREACHABLE, DNSResolver, Resolver
from smartrelay.routing.trouble import RoutingError


class Way(NamedTuple):
    """The hosts of a rule. named: those that stand in the configuration; the others were found in the DNS."""

    hop: NextHop
    candidates: tuple[Candidate, ...] = ()
    named: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()


def way(config: Config, hop: NextHop, resolver: Resolver) -> Way:
    """Asks the DNS where the rule wants it. Of "mx" it asks for the postmaster's domain, where the rule takes that mail: it is
    the one recipient that a configuration names."""
    findings: list[Finding] = []
    alone = Routes.of(config._replace(relays=(hop.relay,)), secrets=False)
    if any(endpoint.exchangers and not endpoint.host for endpoint in hop.endpoints):
        if config.postmaster and _is_for(config, hop):
            hop = hop.of_domain(domain_of(config.postmaster))
        else:
            hop = _without_domains(hop)
            findings.append(_untried(hop.name))
    if not hop.groups:
        return Way(hop, findings=tuple(findings))
    memory = BadHosts("", None, warn=lambda sentence: None)
    try:
        candidates = tuple(Hosts.asking(config, alone, resolver, memory).candidates(hop))
    except RoutingError as trouble:
        words = f"no host for mail to {hop.domain}: {trouble.text}" if hop.domain else trouble.text
        findings.append(Finding(FAIL, "host", visible(words), "`smartrelay route ADDRESS` tells more", hop.name))
        return Way(hop, findings=tuple(findings))
    named = frozenset(Candidate(endpoint).key for endpoint in hop.endpoints if not endpoint.exchangers)
    return Way(hop, candidates, named, tuple(findings))


def _is_for(config: Config, hop: NextHop) -> bool:
    """Whether mail for the postmaster goes by this rule."""
    found = Routes.of(config, secrets=False).next_hop("", config.postmaster)
    return found is not None and found.relay is hop.relay


def _without_domains(hop: NextHop) -> NextHop:
    groups = (tuple(each for each in group if each.host or not each.exchangers) for group in hop.groups)
    return NextHop(hop.relay, tuple(filter(None, groups)), hop.auth, hop.secret)


def _untried(relay: str) -> Finding:
    words = "its hosts are the mail exchangers of each recipient's domain, of which none is known here"
    return Finding(OK, "host", words, "`smartrelay route ADDRESS` asks for those of one", relay)


def nameservers(config: Config, seconds: float) -> list[Callable[[], Finding]]:
    """For each DNS server that is asked for mail exchangers, its trial."""
    servers = config.mx.nameservers or tuple(map(str, of_system()))
    return [lambda server=server: _ask(server, config.domain, seconds) for server in servers]  # type: ignore[misc]


def _ask(server: str, domain: str, seconds: float) -> Finding:
    reply = DNSResolver((server,), seconds).ask(domain, "MX")
    if reply.outcome in (TEMPORARY, UNREACHABLE):
        mend = "name others in [mx] nameservers, or in /etc/resolv.conf"
        return Finding(FAIL, "dns", f"it does not answer: {reply.text}", mend, host=server)
    return Finding(OK, "dns", f"it answers: {reply.text}", host=server)
