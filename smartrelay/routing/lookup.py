"""One question on its way from server to server."""

import socket
import time
from random import SystemRandom

from smartrelay.routing import packet
from smartrelay.routing.nameserver import Nameserver, is_not_there, receive
from smartrelay.routing.reply import TEMPORARY, UNREACHABLE, Question, Reply, read_reply

# An id that can be guessed is an answer that can be forged (RFC 5452 section 9.2).
_random = SystemRandom()


class _NotSaid(Exception):
    """This server cannot tell, and need not be asked again. Its text says why."""


class Lookup:
    """Asks one server after another, round after round, until one of them knows or the time is over.

    The first is asked as soon as this is made, so that several questions can be on their way before the reply to any is
    awaited by `run`. end: when the time is over, by time.monotonic. first_wait: seconds for each server in the first round,
    doubled in each further one. Raises packet.BadName.
    """

    def __init__(self, question: Question, servers: tuple[Nameserver, ...], end: float, first_wait: float) -> None:
        number = _random.getrandbits(16)
        self._plain, self._extended = (packet.query(*question, number, edns=edns) for edns in (False, True))
        self._question, self._servers, self._end, self._wait = question, list(servers), end, first_wait
        self._troubles: dict[Nameserver, str] = {}
        self._reached = False
        self.silent: set[Nameserver] = set()
        self._began = time.monotonic()
        self._channel: socket.socket | None = None
        try:
            self._channel = servers[0].send(self._extended)
        except OSError:
            pass  # it is tried once more, and judged then

    def run(self) -> Reply:
        """The reply, when the end is come at the latest."""
        try:
            return self._run()
        finally:
            self.close()

    @property
    def all_refused(self) -> bool:
        """Whether each server has said that it cannot tell, and asking again would be in vain."""
        return not self._servers

    def close(self) -> None:
        """The reply is not wanted any more."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _run(self) -> Reply:
        now, edns = self._began, True
        while self._servers:
            servers = tuple(self._servers)
            for number, server in enumerate(servers):
                # A share of what is left for each server that this round has yet to ask.
                share = (self._end - now) / (len(servers) - number)
                if share <= 0:
                    return self._failed()
                reply = self._ask(server, now + min(self._wait, share), edns=edns)
                if reply is not None:
                    return reply
                now = time.monotonic()
            # What is silent to EDNS may not be to the plain question: some firewalls drop what they do not know.
            self._wait, edns = self._wait * 2, False
        return self._failed()

    def _ask(self, server: Nameserver, until: float, *, edns: bool) -> Reply | None:
        """One server's reply, or None where another must be asked, or this one again."""
        try:
            reply = read_reply(self._question, self._response(server, until, edns=edns))
            if reply is None:
                raise _NotSaid("an answer to something else")
            return reply
        except TimeoutError:
            self._reached = True
            self._troubles[server] = f"no answer from {server}"
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

    def _response(self, server: Nameserver, until: float, *, edns: bool) -> packet.Response:
        question = self._extended if edns else self._plain
        channel, self._channel = self._channel or server.send(question), None
        with channel:
            response = _read(receive(channel, until, lambda wire: packet.is_answer(wire, question)))
        if response.truncated:
            response = self._by_stream(server, question, until)
        if edns and response.code in (packet.FORMERR, packet.NOTIMP, packet.BADVERS):
            return self._response(server, until, edns=False)  # RFC 6891 section 7
        if response.code not in (packet.NOERROR, packet.NXDOMAIN):
            raise _NotSaid(packet.CODES.get(response.code, f"response code {response.code}"))
        if response.referral:
            raise _NotSaid("a referral to others")
        return response

    def _by_stream(self, server: Nameserver, question: bytes, until: float) -> packet.Response:
        try:
            wire = server.ask_by_stream(question, until)
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
        reasons = ", ".join(self._troubles.values())
        text = f"{self._question.kind} of {self._question.name}: {reasons or 'no time was left to ask'}"
        return Reply(self._question, TEMPORARY if self._reached or not reasons else UNREACHABLE, text=text)


def _read(wire: bytes) -> packet.Response:
    try:
        return packet.read(wire)
    except packet.Malformed as error:
        raise _NotSaid("garbage") from error
