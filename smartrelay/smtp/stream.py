"""Several transactions in flight on one connection, with PIPELINING and CHUNKING (RFC 2920, RFC 3030).

Whole transactions follow each other without waiting, up to a window; the replies are matched by counting. RSET stands before
each MAIL, so that a transaction that fails can never lend its envelope to the next; success is 2yz to RSET, MAIL, RCPT and
BDAT all together. Nothing is ever written without reading what has come meanwhile, or both sides' buffers could fill.

When the connection is lost, exactly the messages whose last octet was written and whose answer has not come are in doubt.
"""

import select
import socket
import ssl
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from smartrelay.smtp.dialogue import Answer, Phase, State, Trouble
from smartrelay.smtp.transaction import Flight, unreadable
from smartrelay.smtp.wire import WOULD_BLOCK, SessionBroken

if TYPE_CHECKING:
    from smartrelay.smtp.session import Session

_FAILURES = 8
"""Failed transactions after which the session is ended: Exim counts their RSETs and hangs up after ten."""


_RESET = (Phase.RSET, b"RSET\r\n")


class _InAir:
    """A flight whose octets are being written or whose answers are awaited. broken: why it cannot count; parting: the server
    said 421, and so takes nothing."""

    def __init__(self, flight: Flight, octets: Iterator[bytes], expected: int) -> None:
        self.flight = flight
        self.octets = octets
        self.expected = expected
        self.begun = self.written = self.parting = False
        self.broken: Answer | None = None
        self.chunk: Answer | None = None


class Stream:
    """Sends what the session has to send, `window` messages at once.

    closing: nothing more is begun or written, for the server wants to go or makes no sense. deaf: it takes nothing more.
    """

    def __init__(self, session: "Session", window: int) -> None:
        self.session = session
        self.window = window
        self._air: deque[_InAir] = deque()
        self._unwritten: deque[_InAir] = deque()
        self._rest = memoryview(b"")
        self._closing = self._deaf = False
        self._failures = self._finished = 0
        self._since = 0.0

    def run(self) -> None:
        """Until there is no more to send, or the session ends."""
        try:
            while True:
                self._fill()
                if not self._air:
                    self.session.over |= self._closing
                    return
                self._closing = self._closing or self.session.halted()
                if self._closing and not self._deaf and not self._air[0].written:
                    # half a message stands on the wire: there is no way on from here but a new connection
                    raise SessionBroken(Answer(Phase.BODY, trouble=Trouble.LOST, text=f"{Trouble.LOST} while {Phase.BODY}"))
                self._move()
        except SessionBroken as broken:
            self.session.over = True
            self.session.client.close()
            self._lost(broken.answer)

    def _fill(self) -> None:
        while len(self._air) < self.window and not self._closing and self._failures < _FAILURES:
            flight = self.session.next_flight()
            if flight is None:
                return
            phases = [Phase.RSET, *(phase for phase, _ in flight.lines()), Phase.CHUNK]
            self.session.client.wire.dialogue.sent(phases)
            flying = _InAir(flight, _octets(flight), len(phases))
            self._since = self.session.client.wire.clock()
            self._air.append(flying)
            self._unwritten.append(flying)

    def _move(self) -> None:
        """Waits until something can be read or written, and does it."""
        wire = self.session.client.wire
        try:
            connected = wire.connected()
            self._wait()
            for answer in wire.arrived():
                self._since = wire.clock()
                self._take(answer)
            if wire.tcp:
                # a server that sends its replies in small pieces waits for our ACK before the next: 40 ms for nothing
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            if self._writing:
                self._write(connected)
        except OSError as error:
            raise wire.broken(error) from error

    @property
    def _writing(self) -> bool:
        return bool(self._unwritten) and not self._closing and not self._deaf

    def _wait(self) -> None:
        writing = self._writing
        wire = self.session.client.wire
        wire.phase = Phase.CHUNK
        # the limit is for a whole answer, or for octets that are taken: a server that drips holds nobody for ever
        left = self._since + (wire.timeouts.data_block if writing else wire.timeouts.data_end) - wire.clock()
        wire.wait(select.POLLIN | (select.POLLOUT if writing else 0), left)

    def _write(self, connected: socket.socket) -> None:
        """Writes as much as the connection takes now."""
        while self._unwritten:
            if not self._rest:
                flying = self._unwritten[0]
                try:
                    piece = next(flying.octets, None)
                except OSError as error:
                    flying.broken = unreadable(error)
                    self._closing = True
                    return
                if piece is None:
                    flying.written = True
                    self._unwritten.popleft()
                    continue
                if not flying.begun:
                    flying.begun = True
                    self._show(flying.flight)
                self._rest = memoryview(piece)
            try:
                sent = connected.send(self._rest)
            except WOULD_BLOCK:
                return
            except (ConnectionError, ssl.SSLError):
                # what the server said before it hung up is still to be read: we meet the end there
                self._deaf = True
                return
            self._since = self.session.client.wire.clock()
            self._rest = self._rest[sent:]

    def _show(self, flight: Flight) -> None:
        transcript = self.session.client.wire.transcript
        if transcript is not None:
            transcript.sent([_RESET, *flight.lines(), (Phase.CHUNK, _chunk(flight))])
            transcript.text(flight.content.octets)

    def _take(self, answer: Answer) -> None:
        """One more answer: it belongs to the oldest flight that still expects any."""
        flying = self._air[0]
        if not flying.begun or (answer.phase is Phase.CHUNK and answer.good and not flying.written):
            text = "the server answered before it was asked"
            raise SessionBroken(Answer(Phase.BODY, trouble=Trouble.PROTOCOL, text=text))
        flying.expected -= 1
        if answer.reply is not None and answer.reply.code == 421:
            self._closing = flying.parting = True
            flying.broken = answer
        elif answer.phase in (Phase.MAIL, Phase.RCPT):
            if flying.broken is None:
                flying.flight.take(answer)
        elif answer.phase is Phase.CHUNK:
            flying.chunk = answer
        elif not answer.good:
            # RSET: whatever comes behind it belongs to a transaction that cannot be ours
            flying.broken = flying.broken or answer
            self._closing = True
        if self.session.client.wire.dialogue.state is State.OVER:
            self._closing = True
        if not flying.expected:
            self._air.popleft()
            self._finish(flying)

    def _finish(self, flying: _InAir) -> None:
        chunk = flying.chunk or Answer(Phase.CHUNK, trouble=Trouble.PROTOCOL, text="no answer")
        good = chunk.good and flying.broken is None and flying.flight.wants_text
        if chunk.good and flying.broken is not None:
            # it says yes to the text all the same: who knows under what envelope
            text = f"the server took a message after it had said no to {flying.broken.phase.name}"
            flying.broken = Answer(Phase.CHUNK, trouble=Trouble.PROTOCOL, text=text)
        self._failures += not good
        self._finished += 1
        if good or flying.broken is None:
            self.session.completed += 1
        self.session.report(flying.flight, flying.broken or chunk)

    def _lost(self, answer: Answer) -> None:
        """The connection is gone: who is in doubt, and who was not touched."""
        for number, flying in enumerate(self._air):
            if flying.broken is not None and (flying.parting or not flying.written):
                verdict = flying.broken
            elif flying.written:
                verdict = Answer(Phase.CHUNK, trouble=answer.trouble or Trouble.LOST, text=answer.text)
            elif number or self._finished:
                verdict = Answer(Phase.MAIL, trouble=Trouble.UNTOUCHED, text="the session ended before this message")
            else:
                # the first of its session is judged, or it would come back for ever
                phase = Phase.BODY if flying.begun else Phase.MAIL
                verdict = Answer(phase, trouble=answer.trouble or Trouble.LOST, text=answer.text)
            self.session.report(flying.flight, verdict)
        self._air.clear()


def _chunk(flight: Flight) -> bytes:
    return b"BDAT %d LAST\r\n" % flight.content.octets


def _octets(flight: Flight) -> Iterator[bytes]:
    """A transaction as it goes over the wire, in pieces; the text in one chunk of exactly the announced size."""
    head = _RESET[1] + b"".join(line for _, line in flight.lines()) + _chunk(flight)
    for block in flight.content.canonical():
        yield head + block
        head = b""
    if head:
        yield head
