"""The mail exchangers of a domain (RFC 5321 section 5.1): which hosts, in which order, at which addresses."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from smartrelay.mail.international import NoSuchDomainName, a_labels
from smartrelay.mail.status import printable
from smartrelay.routing.host import host_key, is_host_name, normal, parse_literal
from smartrelay.routing.resolver import ALIAS, ANSWER, NO_DATA, NO_SUCH_NAME, UNREACHABLE, Question, Reply, Resolver
from smartrelay.routing.trouble import (
    CanonicalNameChainTooLong,
    CanonicalNameLoop,
    LookupFailed,
    MailLoopsBack,
    NoSuchDomain,
    NoUsableExchanger,
    NullMX,
    OtherFamilyOnly,
    RoutingError,
    Unreachable,
)

MOST_EXCHANGERS = 20
"""Whoever lists more is served by the best of them (B-025)."""

MOST_ADDRESSES = 10
"""Of one exchanger in one family; of more, the first that the DNS gives."""

# IPv4 first: receivers ask more of an IPv6 sender (a name for its address, SPF or DKIM), and refuse for good without it.
_KINDS = {"any": ("A", "AAAA"), "ipv4": ("A",), "ipv6": ("AAAA",)}
_OTHER = {"ipv4": ("AAAA",), "ipv6": ("A",)}


class Exchanger(NamedTuple):
    """One host that takes a domain's mail. host: in A-labels, lower case, without trailing dot, as the MX record has it
    (for TLS and the log, even where it is an alias), or an address. preference: the least is the best. addresses: IPv4, then
    IPv6, each in the order of the DNS. implicit: the domain itself, which has no MX record."""

    host: str
    preference: int
    addresses: tuple[str, ...] = ()
    implicit: bool = False


class BadHostsLike(Protocol):
    """A memory of hosts that did not take mail. Keys are "host:port" in lower case (`host_key`)."""

    def mark_bad(self, key: str, reason: str) -> None:
        """Remember that this host failed, and why."""

    def mark_good(self, key: str) -> bool:
        """Forget it. Returns whether it was known as bad."""

    def is_bad(self, key: str) -> bool:
        """Whether others should be tried first."""


class BadForNow:
    """The memory of one process: a host is bad for `timeout` seconds. Threads may share it."""

    def __init__(self, timeout: float, clock: Callable[[], float]) -> None:
        self._timeout, self._clock = timeout, clock
        self._since: dict[str, float] = {}
        self._lock = threading.Lock()

    def mark_bad(self, key: str, reason: str) -> None:
        """Bad from now on."""
        with self._lock:
            self._since[key] = self._clock()

    def mark_good(self, key: str) -> bool:
        """Good again."""
        with self._lock:
            return self._since.pop(key, None) is not None

    def is_bad(self, key: str) -> bool:
        """Whether its time is not over; an entry from the future is a clock's mistake and void."""
        with self._lock:
            since = self._since.get(key)
        return since is not None and 0 <= self._clock() - since < self._timeout


class MXCalculator:
    """Finds the mail exchangers of domains; many threads may ask at once.

    bad_hosts: the memory of hosts that failed; without one, what this object was told counts for `timeout_bad_mx` seconds.
    shuffle: brings a list into random order, in place. canonical_chain_limit: the most CNAME steps that are followed.
    fallback_to_domain: a domain without MX record is its own exchanger. own_names, is_own: by which names and addresses this
    host is known, so that mail is not sent to itself. family: "any", "ipv4" or "ipv6".
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        bad_hosts: BadHostsLike | None = None,
        clock: Callable[[], float] = time.time,
        shuffle: Callable[[list[Any]], None] = random.shuffle,
        canonical_chain_limit: int = 3,
        fallback_to_domain: bool = True,
        own_names: frozenset[str] = frozenset(),
        is_own: Callable[[str], bool] = lambda address: False,
        family: str = "any",
        port: int = 25,
        timeout_bad_mx: float = 3600.0,
    ) -> None:
        self._resolver, self._shuffle = resolver, shuffle
        self._bad_hosts = bad_hosts if bad_hosts is not None else BadForNow(timeout_bad_mx, clock)
        self._limit, self._fallback = canonical_chain_limit, fallback_to_domain
        self._own_names = frozenset(normal(name) for name in own_names)
        self._is_own, self._family, self._port = is_own, family, port

    def get_mx(self, domain: str) -> Exchanger:
        """The exchanger to try first: the best of those that are not bad, else the best. Raises RoutingError."""
        return self.good_first(self.exchangers(domain))[0]

    def good_first(self, exchangers: Sequence[Exchanger]) -> list[Exchanger]:
        """The same exchangers, the bad ones behind the others, else in the order that they had."""
        return sorted(exchangers, key=lambda each: self._bad_hosts.is_bad(host_key(each.host, self._port)))

    def mark_bad(self, host: str, reason: str = "") -> None:
        """Remember that `host` did not take mail."""
        self._bad_hosts.mark_bad(host_key(host, self._port), reason)

    def mark_good(self, host: str) -> bool:
        """Remember that `host` took mail. Returns whether it was known as bad."""
        return self._bad_hosts.mark_good(host_key(host, self._port))

    def exchangers(self, domain: str) -> list[Exchanger]:
        """All usable exchangers, with their addresses: by preference, at random among equals; never empty.

        domain: of an envelope address, in any script, or an address literal in brackets. Raises RoutingError: permanent ones,
        and LookupFailed where the DNS cannot tell now.
        """
        if domain.startswith("["):
            literal = parse_literal(domain)
            if self._is_own(literal):
                raise MailLoopsBack(f"mail for {domain} loops back to this host")
            return [Exchanger(literal, 0, (literal,))]
        try:
            name = a_labels(normal(domain))
        except NoSuchDomainName as error:
            raise NoSuchDomain(printable(str(error))) from error
        listed = self._listed(name)
        others = _better_than(listed, lambda each: each.host in self._own_names)
        if not others:
            raise MailLoopsBack(f"mail for {name} loops back to this host: its best mail exchanger is {listed[0].host}")
        return self._reachable(name, others[:MOST_EXCHANGERS])

    # Names.

    def _listed(self, name: str) -> list[Exchanger]:
        """The exchangers in order, without addresses."""
        reply = self._followed(self._resolver.ask(name, "MX"))
        if reply.outcome == ANSWER:
            return self._ranked(name, reply.records)
        if reply.outcome == NO_DATA and self._fallback:
            return [Exchanger(reply.question.name, 0, implicit=True)]  # B-007
        if reply.outcome == NO_DATA:
            raise NoUsableExchanger(f"domain {name} has no MX record")
        if reply.outcome == NO_SUCH_NAME:
            raise NoSuchDomain(printable(f"domain {name} not found: {reply.text}"))
        raise _not_told(name, [reply])

    def _ranked(self, name: str, records: Sequence[tuple[int, str]]) -> list[Exchanger]:
        if all(host == "." for _, host in records):
            raise NullMX(f"domain {name} does not accept mail (it has a null MX)")
        hosts: dict[str, int] = {}
        for preference, host in sorted(records):
            if is_host_name(host):
                hosts.setdefault(host, preference)
        if not hosts:
            refused = ", ".join(host for _, host in records[:MOST_EXCHANGERS])
            raise NoUsableExchanger(printable(f"no mail exchanger of {name} is the name of a host: {refused}"))
        ranked = [Exchanger(host, preference) for host, preference in hosts.items()]
        self._shuffle(ranked)
        return sorted(ranked, key=lambda each: each.preference)

    def _followed(self, reply: Reply) -> Reply:
        """The reply at the end of the chain of aliases. Raises CanonicalNameLoop, CanonicalNameChainTooLong."""
        (chain,) = self._chains([reply])
        if chain.trouble is not None:
            raise chain.trouble
        return chain.reply

    def _chains(self, replies: Sequence[Reply]) -> "list[_Chain]":
        """The chains of aliases that begin with these replies, each followed to its end; side by side, or slow names in each
        of them would cost their time one after the other."""
        chains = [_Chain(reply, self._limit) for reply in replies]
        while open_ends := [chain for chain in chains if chain.next is not None]:
            found = self._resolver.ask_all([chain.next for chain in open_ends if chain.next is not None])
            for chain, reply in zip(open_ends, found, strict=True):
                chain.go_on(reply)
        return chains

    # Addresses.

    def _reachable(self, name: str, listed: list[Exchanger]) -> list[Exchanger]:
        """Those that have an address and are not this host or worse. Raises RoutingError where there is none."""
        kinds = _KINDS[self._family]
        questions = [Question(each.host, kind) for each in listed for kind in kinds]
        replies = self._addresses(questions)
        found = []
        for number, each in enumerate(listed):
            own = replies[number * len(kinds) : (number + 1) * len(kinds)]
            addresses = tuple(address for reply in own for address in reply.records[:MOST_ADDRESSES])
            found.append(each._replace(addresses=addresses))
        others = _better_than(found, lambda each: any(self._is_own(address) for address in each.addresses))
        usable = [each for each in others if each.addresses]
        if usable:
            return usable
        asked = replies[: len(others) * len(kinds)]
        failed = [reply for reply in asked if reply.outcome not in (ANSWER, NO_DATA, NO_SUCH_NAME)]
        if failed:
            raise _not_told(name, failed)
        if len(others) < len(found):
            raise MailLoopsBack(f"mail for {name} loops back to this host, which has an address of {found[len(others)].host}")
        raise self._without_address(name, listed)

    def _without_address(self, name: str, listed: list[Exchanger]) -> RoutingError:
        """Why: all that could be asked has been answered."""
        others = [Question(each.host, kind) for each in listed for kind in _OTHER.get(self._family, ())]
        for reply in self._addresses(others):
            if reply.outcome not in (NO_DATA, NO_SUCH_NAME):
                text = f"{name} has no {self._family} address, and no other is wanted ({reply.text})"
                return OtherFamilyOnly(printable(text))
        if listed[0].implicit:
            return NoUsableExchanger(f"domain {name} has neither an MX record nor an address")
        hosts = ", ".join(each.host for each in listed)
        return NoUsableExchanger(printable(f"no mail exchanger of {name} has an address: {hosts}"))

    def _addresses(self, questions: Sequence[Question]) -> list[Reply]:
        """The addresses at the end of each exchanger's aliases: to be one is against the rules, and tolerated (B-013)."""
        chains = self._chains(self._resolver.ask_all(questions))
        return [
            chain.reply if chain.trouble is None else Reply(chain.reply.question, NO_DATA, text=chain.trouble.text)
            for chain in chains
        ]


class _Chain:
    """What a name stands for, alias by alias. reply: the last one that is known. next: the question to go on with, None at the
    end. trouble: why it is no use to go on."""

    def __init__(self, reply: Reply, limit: int) -> None:
        self.next: Question | None = None
        self.trouble: RoutingError | None = None
        self._limit = limit
        self._passed = [reply.question.name]
        self.go_on(reply)

    def go_on(self, reply: Reply) -> None:
        """Takes the reply to `next`, and whatever it tells of the names that come after it."""
        known = {each.question.name: each for each in reply.further}
        self.next = None
        while reply.outcome == ALIAS:
            target = reply.canonical
            self.trouble = self._step(target)
            if self.trouble is not None:
                break
            if target not in known:
                self.next = Question(target, reply.question.kind)
                break
            reply = known[target]
        self.reply = reply

    def _step(self, target: str) -> RoutingError | None:
        passed, first = [*self._passed, target], self._passed[0]
        if target in self._passed:
            return CanonicalNameLoop(printable(f"the alias {first} leads in a circle: {' -> '.join(passed)}"))
        if len(self._passed) > self._limit:
            text = f"the alias {first} leads on for more than {self._limit} steps: {' -> '.join(passed)}"
            return CanonicalNameChainTooLong(printable(text))
        self._passed = passed
        return None


def _better_than(listed: list[Exchanger], is_ours: Callable[[Exchanger], bool]) -> list[Exchanger]:
    """Those before the first preference at which one is ours: the others would hand the mail back to us (B-018)."""
    ours = [each.preference for each in listed if is_ours(each)]
    return [each for each in listed if not ours or each.preference < min(ours)]


def _not_told(name: str, failed: Sequence[Reply]) -> LookupFailed:
    kind = Unreachable if any(reply.outcome == UNREACHABLE for reply in failed) else LookupFailed
    return kind(printable(f"looking up {name} failed: {failed[0].text}"))
