"""Questions on their way from server to server, side by side."""

import select
import socket
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TypeVar

import dns.exception
import dns.name
from dns.flags import TC
from dns.rcode import BADVERS, FORMERR, NOERROR, NOTIMP, NXDOMAIN, Rcode
from dns.rcode import to_text as name_of_code

from smartrelay.routing.nameserver import Nameserver, is_not_there
from smartrelay.routing.query import Query
from smartrelay.routing.reply import NO_SUCH_NAME, TEMPORARY, UNREACHABLE, Question, Reply
from smartrelay.routing.response import Response, read_reply

_T = TypeVar("_T")
Steps = Generator[tuple[socket.socket, float], bool | None, _T]
"""Gives the channel to read from next, and when to give up on it; is told whether there is something to read."""


class _NotSaid(Exception):
    """This server cannot tell, and need not be asked again. Its text says why."""


class Lookup:
    """Asks one server after another, round after round, until one of them knows or the time is over.

    The first is asked as soon as this is made; `finish` sees to the rest. end: when the time is over, by time.monotonic.
    first_wait: seconds for each server in the first round, doubled in each further one. heard: called when a server answers,
    whatever it says. reply: None until it is there. silent: servers that did not answer in time.
    """

    def __init__(
        self,
        question: Question,
        servers: tuple[Nameserver, ...],
        end: float,
        first_wait: float,
        heard: Callable[[], None],
    ) -> None:
        self.question = question
        self.reply: Reply | None = None
        self.silent: set[Nameserver] = set()
        self._servers, self._end, self._wait, self._heard = list(servers), end, first_wait, heard
        self._troubles: dict[Nameserver, str] = {}
        self._reached = self._hurried = False
        self._steps = self._run()
        self.resume(None)

    @property
    def is_final(self) -> bool:
        """Whether asking again would be in vain (each server has said that it cannot tell) or is not needed."""
        return self._hurried or not self._servers

    @property
    def until(self) -> float:
        """When to resume this, though nothing can be read."""
        return min(self._until, self._end)

    def hurry(self, end: float) -> None:
        """The reply can be done without, and is not waited for any longer than that."""
        self._end, self._hurried = min(self._end, end), True

    def resume(self, readable: bool | None) -> None:
        """Goes on. readable: whether there is something to read from `channel`, or the time has come; None to begin."""
        try:
            self.channel, self._until = self._steps.send(readable)
        except StopIteration as end:
            self.reply = end.value

    def close(self) -> None:
        """The reply is not wanted any more."""
        self._steps.close()

    def _run(self) -> Steps[Reply]:
        name, kind = self.question
        try:
            if not name or not name.isascii() or not name.isprintable():
                raise dns.name.EmptyLabel
            self._name = dns.name.from_text(name)
        except dns.exception.DNSException:
            return Reply(self.question, NO_SUCH_NAME, text=f"{kind} of {name!a}: not a domain name")
        edns = True
        while self._servers:
            for server in tuple(self._servers):
                now = time.monotonic()
                if now >= self._end:
                    return self._failed()
                reply = yield from self._ask(server, min(now + self._wait, self._end), edns=edns)
                if reply is not None:
                    return reply
            # What is silent to EDNS may not be to the plain question: some firewalls drop what they do not know.
            self._wait, edns = self._wait * 2, False
        return self._failed()

    def _ask(self, server: Nameserver, until: float, *, edns: bool) -> Steps[Reply | None]:
        """One server's reply, or None where another must be asked, or this one again."""
        try:
            reply = read_reply(self.question, (yield from self._response(server, until, edns=edns)))
            if reply is None:
                raise _NotSaid("an answer to something else")
            return reply
        except TimeoutError:
            self._reached = True
            self._troubles[server] = f"no answer from {server}"
            if not self._hurried:
                self.silent.add(server)
            return None
        except _NotSaid as error:
            self._reached = True
            self._troubles[server] = f"{error} from {server}"
        except OSError as error:
            self._reached = self._reached or not is_not_there(error)
            self._troubles[server] = f"{(error.strerror or str(error)).lower()} ({server})"
        self._servers.remove(server)
        return None

    def _response(self, server: Nameserver, until: float, *, edns: bool) -> Steps[Response]:
        query = Query(self._name, self.question.kind, edns=edns)
        with server.connect() as channel:
            channel.send(query.octets)
            response = yield from _receive(channel, query, until)
        self._heard()
        if response.flags & TC:
            response = _by_stream(server, query, until)
        elif response.is_garbage:
            raise _NotSaid("garbage")
        code = response.code
        if edns and code in (FORMERR, NOTIMP, BADVERS):
            return (yield from self._response(server, until, edns=False))  # RFC 6891 section 7
        if code not in (NOERROR, NXDOMAIN):
            name = name_of_code(Rcode.make(code))
            raise _NotSaid(f"response code {name}" if name.isdigit() else name)
        if response.is_referral:
            raise _NotSaid("a referral to others")
        return response

    def _failed(self) -> Reply:
        reasons = ", ".join(self._troubles.values())
        text = f"{self.question.kind} of {self.question.name}: {reasons or 'no time was left to ask'}"
        return Reply(self.question, TEMPORARY if self._reached or not reasons else UNREACHABLE, text=text)


def finish(lookups: Sequence[Lookup]) -> Iterator[tuple[Lookup, Reply]]:
    """Each of them with its reply, as soon as it is there. While one asks over TCP the others wait, and miss nothing."""
    waiting = list(lookups)
    while waiting:
        yield from [(lookup, lookup.reply) for lookup in waiting if lookup.reply is not None]
        waiting = [lookup for lookup in waiting if lookup.reply is None]
        if waiting:
            _resume(waiting)


def _resume(lookups: Sequence[Lookup]) -> None:
    """Waits for the first that has something to read, or whose time comes, and resumes each like it."""
    poller = select.poll()
    for lookup in lookups:
        poller.register(lookup.channel, select.POLLIN)
    first = min(lookup.until for lookup in lookups)
    ready = {number for number, _ in poller.poll(max(first - time.monotonic(), 0) * 1000)}
    now = time.monotonic()
    for lookup in lookups:
        readable = lookup.channel.fileno() in ready
        if readable or lookup.until <= now:
            lookup.resume(readable)


def _receive(channel: socket.socket, query: Query, until: float) -> Steps[Response]:
    """The first datagram that answers the question."""
    while True:
        if not (yield channel, until):
            raise TimeoutError
        try:
            datagram = channel.recv(65535)
            if query.is_answered_by(datagram):
                return Response(datagram)
        except BlockingIOError:
            pass  # the system dropped what it had announced
        if time.monotonic() >= until:
            raise TimeoutError


def _by_stream(server: Nameserver, query: Query, until: float) -> Response:
    """The same question over TCP (RFC 7766 section 8)."""
    try:
        with socket.create_connection(server, _left(until)) as channel:
            channel.sendall(len(query.octets).to_bytes(2) + query.octets)
            answer = _octets(channel, int.from_bytes(_octets(channel, 2, until)), until)
    except TimeoutError:
        reason = "no answer"
    except EOFError:
        reason = "the connection was closed"
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
    else:
        response = Response(answer) if query.is_answered_by(answer) else None
        if response is not None and not response.is_garbage and not response.flags & TC:
            return response
        reason = "the same" if response is not None and not response.is_garbage else "garbage"
    raise _NotSaid(f"a truncated answer, and over TCP: {reason}")


def _octets(channel: socket.socket, count: int, until: float) -> bytes:
    """So many of them. Raises EOFError where the connection ends before, TimeoutError, OSError."""
    found = bytearray()
    while len(found) < count:
        channel.settimeout(_left(until))
        piece = channel.recv(count - len(found))
        if not piece:
            raise EOFError
        found += piece
    return bytes(found)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
