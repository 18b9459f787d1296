"""The SMTP client: a socket, the server's extensions, and one reply at a time.

A subclass of `smtplib.SMTP`, for it is what Python's programmers know; the plumbing is our own, because smtplib takes half
replies for whole ones, judges by exact codes, rewrites addresses and has one time limit for everything. Each step has its
own limit for the whole reply, so that a server that drips octets holds nobody for ever (RFC 5321 section 4.5.3.2).

Inside `smtp/` a session that is over raises `SessionBroken`; nothing of it leaves this package but as an `Answer`.
"""

import smtplib
import socket
import ssl
import time
from collections.abc import Callable, Iterable

from smartrelay.config import Timeouts
from smartrelay.smtp import sasl
from smartrelay.smtp.dialogue import Answer, BadReply, Phase, Reply, ReplyParser, Trouble, extensions

_READ = 1 << 16
_GROUP = 4096
"""Octets of commands that are sent before their replies are read: a send that blocks while the server blocks on its
replies would be a dead-lock (RFC 2920 section 3.1)."""


class SessionBroken(Exception):
    """The session cannot go on; the answer says in which phase and why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer.trouble))
        self.answer = answer


class SMTPClient(smtplib.SMTP):
    """One connection to one server.

    hostname: our name for EHLO; one without a dot is replaced by the literal of our own address (RFC 5321 section 4.1.4).
    """

    def __init__(self, hostname: str, timeouts: Timeouts, *, clock: Callable[[], float] = time.monotonic) -> None:
        # smtplib's own constructor would connect, and look our name up in the DNS
        self.hostname = hostname
        self.timeouts = timeouts
        self.sock: socket.socket | None = None
        self.phase = Phase.CONNECT
        self.extensions: dict[str, str] = {}
        self.esmtp = False
        self.tls = ""
        self._clock = clock
        self._parser = ReplyParser()
        self._ready: list[Reply] = []
        self._spoiled = ""

    # octets

    def attach(self, connected: socket.socket) -> None:
        """Takes over a connected socket."""
        self.sock = connected
        if connected.family != socket.AF_UNIX:
            # a message goes out in one write; the last piece must not wait for an ACK (44 ms for nothing)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def transmit(self, data: bytes, phase: Phase, seconds: float) -> None:
        """Sends all of `data`. Raises SessionBroken."""
        self.phase = phase
        try:
            connected = self._connected()
            connected.settimeout(seconds)
            connected.sendall(data)
        except OSError as error:
            raise self._broken(error) from error

    def reply(self, phase: Phase, seconds: float) -> Reply:
        """The next reply, whole, within `seconds`. Raises SessionBroken."""
        self.phase = phase
        end = self._clock() + seconds
        try:
            connected = self._connected()
            while not self._ready:
                if self._spoiled:
                    raise SessionBroken(Answer(phase, trouble=Trouble.PROTOCOL, text=self._spoiled))
                left = end - self._clock()
                if left <= 0:
                    raise TimeoutError
                connected.settimeout(left)
                data = connected.recv(_READ)
                if not data:
                    raise ConnectionResetError("closed by the server")
                self._take(data)
        except OSError as error:
            raise self._broken(error) from error
        return self._ready.pop(0)

    def _take(self, data: bytes) -> None:
        """What was received: a whole reply counts, whatever nonsense comes behind it."""
        try:
            for reply in self._parser.feed(data):
                self._ready.append(reply)
        except BadReply as error:
            self._spoiled = str(error)

    def command(self, line: bytes, phase: Phase) -> Reply:
        """Sends one command, and waits for its reply. Raises SessionBroken, also when a reply was there before."""
        self.must_be_quiet(phase)
        self.transmit(line, phase, self.timeouts.command)
        return self.reply(phase, self.timeouts.command)

    def group(self, lines: Iterable[tuple[Phase, bytes]], answers: list[Answer]) -> None:
        """Sends MAIL, RCPT and DATA, and adds their answers in order: what has come stands even when the session breaks.

        Pipelined where that is offered (RFC 2920), else one by one, up to where the next would make no sense.
        """
        pipelining = "PIPELINING" in self.extensions
        batch: list[tuple[Phase, bytes]] = []
        size = 0
        for phase, line in lines:
            if not pipelining and _pointless(phase, answers):
                return
            batch.append((phase, line))
            size += len(line)
            if size >= _GROUP or not pipelining:
                self._batch(batch, answers)
                batch, size = [], 0
        if batch:
            self._batch(batch, answers)

    def _batch(self, batch: list[tuple[Phase, bytes]], answers: list[Answer]) -> None:
        self.must_be_quiet(batch[0][0])
        self.transmit(b"".join(line for _, line in batch), batch[0][0], self.timeouts.command)
        for phase, _ in batch:
            limit = self.timeouts.data if phase is Phase.DATA else self.timeouts.command
            answers.append(Answer(phase, self.reply(phase, limit)))

    def must_be_quiet(self, phase: Phase) -> None:
        """A reply that nobody asked for shifts all that follow: the session is over (RFC 5321 section 4.3.1), as it is when
        the server has said 421 or hung up meanwhile (section 3.8)."""
        self.phase = phase
        self._look()
        if self._ready and self._ready[0].code == 421:
            raise SessionBroken(Answer(phase, self._ready[0]))
        if self._ready or self._spoiled or not self._parser.empty:
            raise SessionBroken(Answer(phase, trouble=Trouble.PROTOCOL, text="the server sent a reply nobody asked for"))

    def _look(self) -> None:
        """Takes what has come by now, and waits for nothing."""
        try:
            connected = self._connected()
            connected.settimeout(0)
            data = connected.recv(_READ)
            if not data:
                raise ConnectionResetError("closed by the server")
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError as error:
            raise self._broken(error) from error
        self._take(data)

    def _connected(self) -> socket.socket:
        if self.sock is None:
            raise ConnectionResetError("the connection is closed")
        return self.sock

    def _broken(self, error: OSError) -> SessionBroken:
        trouble = Trouble.TIMEOUT if isinstance(error, TimeoutError) else Trouble.LOST
        return SessionBroken(Answer(self.phase, trouble=trouble, text=f"{trouble} while {self.phase}"))

    # commands

    def hello(self, *, extended: bool) -> Answer:
        """EHLO, or HELO when the server does not know it or `extended` is false; forgets all that was offered before."""
        self.extensions = {}
        self.esmtp = False
        if extended:
            reply = self.command(f"EHLO {self._name()}\r\n".encode("ascii"), Phase.EHLO)
            if reply.kind == 2:
                self.esmtp = True
                self.extensions = extensions(reply)
            if reply.kind == 2 or reply.code not in (500, 501, 502, 504, 550):
                return Answer(Phase.EHLO, reply)
        return Answer(Phase.EHLO, self.command(f"HELO {self._name()}\r\n".encode("ascii"), Phase.EHLO))

    def _name(self) -> str:
        if "." in self.hostname and self.hostname.isascii():
            return self.hostname
        try:
            own = self._connected().getsockname()
        except OSError as error:
            raise self._broken(error) from error
        if not isinstance(own, tuple):
            return "localhost"
        address = own[0].partition("%")[0]
        return f"[IPv6:{address}]" if ":" in address else f"[{address}]"

    def start_tls(self, context: ssl.SSLContext, name: str) -> Answer:
        """STARTTLS and the hand-shake; the server's extensions must be asked for again (RFC 3207 section 4.2)."""
        reply = self.command(b"STARTTLS\r\n", Phase.STARTTLS)
        if reply.kind != 2:
            return Answer(Phase.STARTTLS, reply)
        # what was sent in clear behind the 220 must never be taken for what is said under TLS
        self.must_be_quiet(Phase.STARTTLS)
        return self.secure(context, name)

    def secure(self, context: ssl.SSLContext, name: str) -> Answer:
        """The TLS hand-shake. name: what the certificate must be for, and the SNI."""
        self.phase = Phase.TLS
        plain = self._connected()
        plain.settimeout(self.timeouts.command)
        try:
            secured = context.wrap_socket(plain, server_hostname=name)
        except ssl.SSLCertVerificationError as error:
            self.close()
            return Answer(Phase.TLS, trouble=Trouble.CERTIFICATE, text=f"certificate refused: {error.verify_message}")
        except (ssl.SSLError, OSError, ValueError) as error:
            self.close()
            timeout = isinstance(error, TimeoutError)
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            text = "TLS hand-shake timed out" if timeout else f"TLS hand-shake failed: {reason}"
            return Answer(Phase.TLS, trouble=Trouble.TIMEOUT if timeout else Trouble.TLS, text=text)
        self.sock = secured
        self.extensions = {}
        cipher = secured.cipher()
        self.tls = f"{secured.version()} {cipher[0] if cipher else ''}".strip()
        return Answer(Phase.TLS)

    def authenticate(self, user: str, secret: str, wanted: str) -> Answer:
        """Signs in with the strongest mechanism that both sides have: one try, whatever comes of it (RFC 4954)."""
        names = sasl.choose(self.extensions.get("AUTH", ""), wanted)
        if not names:
            offered = self.extensions.get("AUTH") or "none"
            return Answer(Phase.AUTH, trouble=Trouble.NO_MECHANISM, text=f"no usable sign-in; the server offers {offered}")
        for name in names:
            reply = self._exchange(name, sasl.MECHANISMS[name](user, secret))
            if reply.code not in (504, 534):  # this mechanism is not for us; any other no is for the password
                break
        if reply.kind == 3:
            self.command(b"*\r\n", Phase.AUTH)
            return Answer(Phase.AUTH, trouble=Trouble.PROTOCOL, text=f"the server's {name} exchange makes no sense")
        return Answer(Phase.AUTH, reply)

    def _exchange(self, name: str, exchange: sasl.Exchange) -> Reply:
        """One SASL exchange; a 3yz result means that we have nothing to say to the last challenge."""
        initial = next(exchange)
        line = f"AUTH {name}".encode()
        if initial is not None:
            response = sasl.encoded(initial, initial=True)
            if len(line) + len(response) + 3 <= sasl.LONGEST_COMMAND:
                line, initial = line + b" " + response, None
        reply = self.command(line + b"\r\n", Phase.AUTH)
        while reply.kind == 3:
            challenge = sasl.decoded(reply.lines[0]) if reply.lines else b""
            if challenge is None:
                return reply
            try:
                response = sasl.encoded(initial if initial is not None else exchange.send(challenge) or b"")
            except StopIteration:
                return reply
            initial = None
            reply = self.command(response + b"\r\n", Phase.AUTH)
        return reply

    def send_content(self, blocks: Iterable[bytes]) -> Reply:
        """The message after a 354, each block within its own time limit, and the reply to the final dot."""
        waiting: bytes | None = None
        for block in blocks:
            if waiting is not None:
                self.must_be_quiet(Phase.BODY)
                self.transmit(waiting, Phase.BODY, self.timeouts.data_block)
            waiting = block
        # no reply that is here already can be the one to what comes now
        self.must_be_quiet(Phase.BODY)
        # the last block has the final dot in it: from here on the server may have the message
        self.phase = Phase.END
        self.transmit(waiting or b".\r\n", Phase.END, self.timeouts.data_block)
        return self.reply(Phase.END, self.timeouts.data_end)

    def goodbye(self) -> None:
        """QUIT, politely but not for long; nothing about it changes any result (RFC 5321 section 4.1.1.10)."""
        try:
            self.transmit(b"QUIT\r\n", Phase.QUIT, self.timeouts.quit)
            self.reply(Phase.QUIT, self.timeouts.quit)
        except SessionBroken:
            pass
        self.close()

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
                connected.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def _pointless(phase: Phase, answers: list[Answer]) -> bool:
    """Whether a command of `phase` makes no sense after these answers to the transaction so far (RFC 5321 section 3.3)."""
    if not answers:
        return False
    last = answers[-1].reply
    closing = last is not None and last.code == 421
    return closing or not answers[0].good or (phase is Phase.DATA and not any(answer.good for answer in answers[1:]))
