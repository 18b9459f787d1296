"""Who asks the DNS, and what came of it: what a server or the network does is data here, never an exception.

Names are absolute: no search list and no /etc/hosts ever stands between a recipient's domain and its mail exchangers
(RFC 5321 section 5.1).
"""

import threading
import time
from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import Any, NamedTuple, Protocol

from smartrelay.routing import packet
from smartrelay.routing.nameserver import NOT_THERE, Nameserver, of_system, parse

ANSWER, ALIAS, NO_DATA, NO_SUCH_NAME = "answer", "alias", "no data", "no such name"
TEMPORARY, UNREACHABLE = "temporary", "unreachable"


class Question(NamedTuple):
    """name: absolute, in lower case, without trailing dot. kind: "MX", "A" or "AAAA"."""

    name: str
    kind: str


class Reply(NamedTuple):
    """What came of one question.

    outcome: ANSWER (there are records), ALIAS (the name stands for `canonical`, to be asked for instead), NO_DATA (the name
    is there, without records of this kind), NO_SUCH_NAME, TEMPORARY (nobody could tell now) or UNREACHABLE (there is no way to
    any server, and that was known at once). records: (preference, host) for MX, the root as "."; address texts for A and AAAA;
    in the order of the server. text: one line for a person. further: what the same answer tells of the names that the alias
    leads to; it may be trusted for this question, and for no other.
    """

    question: Question
    outcome: str
    records: tuple[Any, ...] = ()
    canonical: str = ""
    text: str = ""
    further: "tuple[Reply, ...]" = ()


class Resolver(Protocol):
    """Who answers questions; many threads may ask at once."""

    def ask(self, name: str, kind: str) -> Reply:
        """What came of asking for records of `kind` at the absolute `name`; one step of an alias, never more."""


class Recorder:
    """Passes questions on to a resolver, and keeps every reply, in order."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self.replies: list[Reply] = []

    def ask(self, name: str, kind: str) -> Reply:
        """What the resolver says."""
        reply = self._resolver.ask(name, kind)
        self.replies += [reply._replace(further=()), *reply.further]
        return reply


class _Once:
    """One question: who asks it first has the lock, and whoever else wants to know waits for the reply."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reply: Reply | None = None


class DNSResolver:
    """Asks DNS servers that recurse. What they said is kept as long as this object lives, good or bad: one pass (B-028).

    nameservers: "127.0.0.1:5300"; those of the system where there are none. timeout: seconds for one question, all servers
    and repetitions together. first_wait: seconds in which a server must answer before the next is asked, doubled in each
    further round. most_kept: replies kept at once; ten thousand, of three thousand domains, are some 10 MB. Raises
    ConfigError.
    """

    def __init__(
        self,
        nameservers: Sequence[str] = (),
        timeout: float = 30.0,
        *,
        first_wait: float = 2.0,
        most_kept: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
        resolv_conf: str = "/etc/resolv.conf",
    ) -> None:
        self._servers = tuple(parse(text) for text in nameservers) or of_system(resolv_conf)
        self._timeout, self._first_wait, self._clock = timeout, first_wait, clock
        self._most_kept = most_kept
        self._lock = threading.Lock()
        self._kept: dict[Question, _Once] = {}
        # An id that can be guessed is an answer that can be forged (RFC 5452 section 9.2).
        self._random = SystemRandom()

    def ask(self, name: str, kind: str) -> Reply:
        """What came of the question; asked once, however many threads want to know."""
        question = Question(name.removesuffix(".").lower(), kind)
        with self._lock:
            if len(self._kept) >= self._most_kept and question not in self._kept:
                self._kept.clear()
            once = self._kept.setdefault(question, _Once())
        with once.lock:
            if once.reply is not None:
                return once.reply
            reply = self._look_up(question)
            # A way to a server may come back at any moment, and asking in vain takes no time.
            if reply.outcome != UNREACHABLE:
                once.reply = reply
            return reply

    def _look_up(self, question: Question) -> Reply:
        name, kind = question
        number = self._random.getrandbits(16)
        try:
            plain, extended = (packet.query(name, kind, number, edns=edns) for edns in (False, True))
        except packet.BadName:
            return Reply(question, NO_SUCH_NAME, text=f"{kind} of {name!a}: not a domain name")
        lookup = _Lookup(question, plain, extended, self._servers, self._clock)
        reply = lookup.run(self._timeout, self._first_wait)
        if lookup.silent:
            # Later questions need not wait for them first.
            with self._lock:
                self._servers = tuple(sorted(self._servers, key=lookup.silent.__contains__))
        return reply


class _NotSaid(Exception):
    """This server cannot tell, and need not be asked again. Its text says why."""


class _Lookup:
    """One question on its way from server to server, round after round, until one of them knows or the time is over."""

    def __init__(
        self, question: Question, plain: bytes, extended: bytes, servers: tuple[Nameserver, ...], clock: Callable[[], float]
    ) -> None:
        self._question, self._plain, self._extended = question, plain, extended
        self._servers, self._clock = list(servers), clock
        self._troubles: dict[Nameserver, str] = {}
        self._reached = False
        self.silent: set[Nameserver] = set()

    def run(self, timeout: float, first_wait: float) -> Reply:
        """The reply; takes at most `timeout` seconds."""
        end, wait = self._clock() + timeout, first_wait
        while self._servers:
            for waiting, server in reversed(list(enumerate(reversed(self._servers), 1))):
                left = end - self._clock()
                if left <= 0:
                    return self._failed()
                reply = self._ask(server, min(wait, left / waiting), first=wait == first_wait)
                if reply is not None:
                    return reply
            wait *= 2
        return self._failed()

    def _ask(self, server: Nameserver, seconds: float, *, first: bool) -> Reply | None:
        """One server's reply, or None where another must be asked, or this one again."""
        try:
            # What is silent to EDNS may not be to the plain question: some firewalls drop what they do not know.
            response = self._response(server, seconds, edns=first)
            reply = read_reply(self._question, response)
            if reply is None:
                raise _NotSaid("an answer to something else")
            return reply
        except TimeoutError:
            self._reached = True
            self._troubles[server] = "no answer"
            self.silent.add(server)
            return None
        except _NotSaid as error:
            self._reached = True
            self._troubles[server] = str(error)
        except OSError as error:
            self._reached = self._reached or error.errno not in NOT_THERE
            self._troubles[server] = (error.strerror or str(error)).lower()
        self._servers.remove(server)
        return None

    def _response(self, server: Nameserver, seconds: float, *, edns: bool) -> packet.Response:
        end = self._clock() + seconds
        question = self._extended if edns else self._plain
        response = _read(server.ask(question, seconds, lambda wire: packet.is_answer(wire, question)))
        if response.truncated:
            response = self._by_stream(server, question, end - self._clock())
        if edns and response.code in (packet.FORMERR, packet.NOTIMP, packet.BADVERS):
            return self._response(server, end - self._clock(), edns=False)  # RFC 6891 section 7
        if response.code not in (packet.NOERROR, packet.NXDOMAIN):
            raise _NotSaid(packet.CODES.get(response.code, f"response code {response.code}"))
        if response.referral:
            raise _NotSaid("it does not recurse")
        return response

    def _by_stream(self, server: Nameserver, question: bytes, seconds: float) -> packet.Response:
        try:
            wire = server.ask_by_stream(question, seconds)
        except (OSError, EOFError) as error:
            reason = "no answer" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or str(error)
            raise _NotSaid(f"a truncated answer, and over TCP: {reason.lower()}") from error
        if not packet.is_answer(wire, question):
            raise _NotSaid("an answer to something else")
        response = _read(wire)
        if response.truncated:
            raise _NotSaid("a truncated answer over TCP")
        return response

    def _failed(self) -> Reply:
        reasons = ", ".join(f"{trouble} from {server}" for server, trouble in self._troubles.items())
        text = f"{self._question.kind} of {self._question.name}: {reasons}"
        return Reply(self._question, TEMPORARY if self._reached else UNREACHABLE, text=text)


def _read(wire: bytes) -> packet.Response:
    try:
        return packet.read(wire)
    except packet.Malformed as error:
        raise _NotSaid("garbage") from error


def read_reply(question: Question, response: packet.Response) -> Reply | None:
    """The reply that an answer section holds, or None where it speaks of other names only.

    Records count for the name that was asked for, and for those that its alias leads to, step by step.
    """
    found: dict[tuple[str, str], list[Any]] = {}
    for record in response.records:
        found.setdefault((record.name, record.kind), []).append(record.value)
    replies: list[Reply] = []
    name, kind = question
    while not any(reply.question.name == name for reply in replies):
        records, aliases = found.get((name, kind)), found.get((name, "CNAME"))
        if records and response.code == packet.NOERROR:
            replies.append(_answer(Question(name, kind), tuple(dict.fromkeys(records))))
        elif aliases:
            text = f"{kind} of {name}: an alias of {aliases[0]}"
            replies.append(Reply(Question(name, kind), ALIAS, canonical=aliases[0], text=text))
            name = aliases[0]
            continue
        break
    if replies:
        return replies[0]._replace(further=tuple(replies[1:]))
    if response.code == packet.NXDOMAIN:
        return Reply(question, NO_SUCH_NAME, text=f"{kind} of {name}: no such name")
    return None if response.records else Reply(question, NO_DATA, text=f"{kind} of {name}: none")


def _answer(question: Question, records: tuple[Any, ...]) -> Reply:
    shown = [f"{record[0]} {record[1]}" if question.kind == "MX" else record for record in records[:20]]
    more = f" and {len(records) - 20} more" if len(records) > 20 else ""
    return Reply(question, ANSWER, records, text=f"{question.kind} of {question.name}: {', '.join(shown)}{more}")
