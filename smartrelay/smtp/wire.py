"""The wire: octets out and answers in, on one connection, each within its own time limit.

Inside `smtp/` a session that is over raises `SessionBroken`; nothing of it leaves this package but as an `Answer`.
"""

import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable

from smartrelay.config import Timeouts
from smartrelay.smtp.dialogue import Answer, BadReply, Dialogue, Phase, Reply, ReplyParser, Trouble
from smartrelay.smtp.transcript import HIDDEN, Transcript

_READ = 1 << 16

WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What a socket raises that cannot do its work at once."""

_SHORTEST_SECRET = 4
"""Characters of a text that can be told from words of a reply."""

Line = tuple[Phase, bytes]


class SessionBroken(Exception):
    """The session cannot go on; the answer says in which phase and why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer.trouble))
        self.answer = answer


class Wire:
    """A connected socket and the dialogue over it. phase: what is being done (read by other threads too). on_wait: told each
    time that we come for answers whether we have to wait for them. transcript: where a person reads along. clock: seconds, by
    which time limits are kept."""

    def __init__(self, connected: socket.socket, timeouts: Timeouts, clock: Callable[[], float] = time.monotonic) -> None:
        self.sock: socket.socket | None = connected
        self.timeouts = timeouts
        self.phase = Phase.CONNECT
        self.dialogue = Dialogue()
        self.tcp = connected.family != socket.AF_UNIX
        self.clock = clock
        self._parser = ReplyParser()
        self._ready: deque[Reply] = deque()
        self._spoiled = ""
        self._sends_after = select.POLLOUT
        self._readable = select.poll()
        self._readable.register(connected, select.POLLIN)
        self.on_wait: Callable[[bool], None] = lambda waited: None
        self.transcript: Transcript | None = None
        self._hidden: tuple[str, ...] = ()
        # a time limit on the socket would cost two system calls more for each of its calls, and be for each call alone
        connected.setblocking(False)
        if self.tcp:
            # a message goes out in one write; the last piece must not wait for an ACK (44 ms for nothing)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # out

    def transmit(self, data: bytes, phase: Phase, seconds: float) -> None:
        """Sends all of `data`. Raises SessionBroken."""
        self.phase = phase
        try:
            sent = self._send(data)
            if sent < len(data):
                self._send_rest(memoryview(data)[sent:], self.clock() + seconds)
        except OSError as error:
            raise self.broken(error) from error

    def _send_rest(self, rest: memoryview, end: float) -> None:
        while rest:
            self.wait(self._sends_after, end - self.clock())
            rest = rest[self._send(rest) :]

    def _send(self, data: bytes | memoryview) -> int:
        """How many octets the connection takes now."""
        try:
            return self.connected().send(data)
        except WOULD_BLOCK as error:
            # a hand-shake in the middle of a session: TLS wants to read before it can write
            self._sends_after = select.POLLIN if isinstance(error, ssl.SSLWantReadError) else select.POLLOUT
            return 0

    def send(self, lines: Iterable[Line], *, behind: bytes = b"", seconds: float = 0.0) -> None:
        """Sends commands, `behind` before them in the same write; their answers are awaited by `answer`."""
        commands = list(lines)
        self.transmit(behind + b"".join([line for _, line in commands]), commands[0][0], seconds or self.timeouts.command)
        self.dialogue.sent([phase for phase, _ in commands])
        if self.transcript is not None:
            self.transcript.sent(commands)

    def command(self, phase: Phase, line: bytes, seconds: float = 0.0) -> Answer:
        """Sends one command, and waits for its reply. Raises SessionBroken, also when a reply was there before."""
        self.must_be_quiet(phase)
        self.send([(phase, line)])
        return self.answer(seconds or self.timeouts.command)

    # in

    def greeting(self) -> Answer:
        """What the server says before it is asked."""
        self.dialogue.sent([Phase.GREETING])
        return self.answer(self.timeouts.greeting)

    def answer(self, seconds: float) -> Answer:
        """The answer to the oldest command that has none, within `seconds` for the whole of it: a server that drips octets
        holds nobody for ever. Raises SessionBroken."""
        self.phase = self.dialogue.next_phase or self.phase
        ready = self._ready
        if not ready:
            self._fetch(self.clock() + seconds)
        return self._matched(ready.popleft())

    def _fetch(self, end: float) -> None:
        """Waits until a whole reply is there."""
        told = False
        try:
            while not self._ready:
                if self._spoiled:
                    raise SessionBroken(Answer(self.phase, trouble=Trouble.PROTOCOL, text=self._spoiled))
                # to ask first whether there is anything would be a system call more for each message
                received = self._receive()
                if not told:
                    told = True
                    self.on_wait(not received)
                if not received:
                    self.wait(select.POLLIN, end - self.clock(), looked=True)
                elif not self._ready and self.clock() >= end:
                    raise TimeoutError
        except OSError as error:
            raise self.broken(error) from error

    def wait(self, event: int, seconds: float, *, looked: bool = False) -> None:
        """Waits until the connection can be read or written (select.POLLIN, select.POLLOUT, or both). looked: a moment ago it
        could not, and `on_wait` has been told.

        Raises TimeoutError when no time is left, whatever is there by now, and ConnectionResetError when it is closed.
        """
        connected = self.connected()
        if seconds <= 0:
            raise TimeoutError
        if event & select.POLLIN and isinstance(connected, ssl.SSLSocket) and connected.pending():
            return
        poll = select.poll()
        poll.register(connected, event)
        there = not looked and bool(poll.poll(0))
        if event == select.POLLIN and not looked:
            self.on_wait(not there)
        if not there and not poll.poll(seconds * 1000):
            raise TimeoutError

    def arrived(self) -> Iterable[Answer]:
        """The answers that are here by now, one after the other; waits for nothing. Raises SessionBroken."""
        lost: SessionBroken | None = None
        try:
            self._look()
        except SessionBroken as broken:
            lost = broken
        while self._ready:
            yield self._matched(self._ready.popleft())
        if self._spoiled:
            raise SessionBroken(Answer(self.phase, trouble=Trouble.PROTOCOL, text=self._spoiled))
        if lost is not None:
            raise lost

    def must_be_quiet(self, phase: Phase) -> None:
        """A reply that nobody asked for shifts all that follow: the session is over (RFC 5321 section 4.3.1), as it is when
        the server has said 421 or hung up meanwhile (section 3.8)."""
        self.phase = phase
        self._look()
        if self._ready and self._ready[0].code == 421:
            raise SessionBroken(Answer(phase, self._ready[0]))
        if self._ready or self._spoiled or not self._parser.empty or not self.dialogue.quiet:
            raise SessionBroken(Answer(phase, trouble=Trouble.PROTOCOL, text="the server sent a reply nobody asked for"))

    def _look(self) -> None:
        """Takes what has come by now, and waits for nothing."""
        try:
            # nearly always nothing has, which a socket that was asked would say with an error, at three times the cost
            if isinstance(self.connected(), ssl.SSLSocket) or self._readable.poll(0):
                self._receive()
        except OSError as error:
            raise self.broken(error) from error

    def _receive(self) -> bool:
        """Takes what is there; whether there was anything."""
        try:
            data = self.connected().recv(_READ)
        except WOULD_BLOCK:
            return False
        if not data:
            raise ConnectionResetError("closed by the server")
        try:
            # a whole reply counts, whatever nonsense comes behind it
            self._ready.extend(self._parser.feed(data))
        except BadReply as error:
            self._spoiled = str(error)
        return True

    def hide(self, *texts: str) -> None:
        """From here on no reply has these in it, but for challenges: a server that says a secret back would have it in the log,
        the journal and a notice."""
        self._hidden += tuple(text for text in texts if len(text) >= _SHORTEST_SECRET)

    def _matched(self, reply: Reply) -> Answer:
        if self._hidden and reply.kind != 3:
            for text in self._hidden:
                reply = reply._replace(lines=tuple(line.replace(text, HIDDEN) for line in reply.lines))
        try:
            answer = self.dialogue.received(reply)
        except BadReply as error:
            raise SessionBroken(Answer(self.phase, trouble=Trouble.PROTOCOL, text=str(error))) from error
        if self.transcript is not None:
            self.transcript.received(answer)
        return answer

    # the connection

    def connected(self) -> socket.socket:
        """The socket. Raises ConnectionResetError when it is closed."""
        if self.sock is None:
            raise ConnectionResetError("the connection is closed")
        return self.sock

    def broken(self, error: OSError) -> SessionBroken:
        """What a socket's error means for the session."""
        trouble = Trouble.TIMEOUT if isinstance(error, TimeoutError) else Trouble.LOST
        return SessionBroken(Answer(self.phase, trouble=trouble, text=f"{trouble} while {self.phase}"))

    def secure(self, context: ssl.SSLContext, name: str) -> Answer:
        """The TLS hand-shake. name: what the certificate must be for, and the SNI."""
        self.phase = Phase.TLS
        plain = self.connected()
        plain.settimeout(self.timeouts.command)
        try:
            self.sock = context.wrap_socket(plain, server_hostname=name)
            self.sock.setblocking(False)
        except ssl.SSLCertVerificationError as error:
            self.close()
            return Answer(Phase.TLS, trouble=Trouble.CERTIFICATE, text=f"certificate refused: {error.verify_message}")
        except (ssl.SSLError, OSError, ValueError) as error:
            self.close()
            timeout = isinstance(error, TimeoutError)
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            text = "TLS hand-shake timed out" if timeout else f"TLS hand-shake failed: {reason}"
            return Answer(Phase.TLS, trouble=Trouble.TIMEOUT if timeout else Trouble.TLS, text=text)
        return Answer(Phase.TLS)

    def close(self) -> None:
        """Closes the connection, without a word."""
        connected, self.sock = self.sock, None
        if connected is not None:
            connected.close()

    def abort(self) -> None:
        """Ends the session from another thread: whoever waits in it finds the connection lost."""
        connected = self.sock
        if connected is not None:
            try:
                # not TLS's own: it would first forget that it is TLS, and who sends just then would send in clear
                socket.socket.shutdown(connected, socket.SHUT_RDWR)
            except OSError:
                pass
