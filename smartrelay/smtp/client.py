"""The SMTP client: our name, the server's extensions, and the commands that open and end a session.

A subclass of `smtplib.SMTP`, for that is the type that Python's programmers know; nothing of smtplib's own plumbing is
used, because it takes half replies for whole ones, judges by exact codes, rewrites addresses and has one time limit for
everything. What it would do on the wire by itself is refused here by name.
"""

import smtplib
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from smartrelay.config import Timeouts
from smartrelay.mail.international import NoSuchDomainName, a_labels
from smartrelay.smtp import tls
from smartrelay.smtp.dialogue import Answer, Phase, Trouble, extensions
from smartrelay.smtp.sasl import Account
from smartrelay.smtp.signin import sign_in
from smartrelay.smtp.transaction import unreadable
from smartrelay.smtp.wire import Line, SessionBroken, Wire

_HELO_INSTEAD = (500, 501, 502, 504, 550)
"""Replies by which a server says that it does not know EHLO (RFC 5321 section 3.2)."""


def _refused(name: str) -> Callable[..., NoReturn]:
    def method(self: object, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"SMTPClient.{name}: mail goes through smartrelay.smtp.session.Session")

    method.__name__ = name
    return method


class SMTPClient(smtplib.SMTP):
    """One connection to one server.

    hostname: our name for EHLO; one without a dot is replaced by the literal of our own address (RFC 5321 section 4.1.4).
    lmtp: LHLO instead of EHLO, and a reply for each recipient after the message (RFC 2033).
    """

    def __init__(
        self,
        connected: socket.socket,
        hostname: str,
        timeouts: Timeouts,
        *,
        lmtp: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # smtplib's own constructor would connect, and look our name up in the DNS
        self.wire = Wire(connected, timeouts, clock)
        self.hostname = hostname
        self.timeouts = timeouts
        self.lmtp = lmtp
        self.extensions: dict[str, str] = {}
        self.tls = ""

    @property
    def limits(self) -> dict[str, int]:
        """What LIMITS says (RFC 9422); anything that is no number there does not count."""
        words = (word.partition("=") for word in self.extensions.get("LIMITS", "").split())
        return {name.upper(): int(value) for name, _, value in words if value.isdecimal() and 0 < int(value[:9]) < 1 << 31}

    @property
    def certificate(self) -> tls.Certificate | None:
        """The server's, where it was verified."""
        return tls.certificate_of(self.wire.sock)

    def hello(self, *, extended: bool) -> Answer:
        """EHLO, or HELO when the server does not know it or `extended` is false; forgets all that was offered before."""
        self.extensions = {}
        if extended or self.lmtp:
            answer = self.wire.command(Phase.EHLO, f"{'LHLO' if self.lmtp else 'EHLO'} {self.name()}\r\n".encode("ascii"))
            if answer.good and answer.reply is not None:
                self.extensions = extensions(answer.reply)
            if self.lmtp or answer.reply is None or answer.reply.code not in _HELO_INSTEAD:
                return answer
        return self.wire.command(Phase.EHLO, f"HELO {self.name()}\r\n".encode("ascii"))

    def name(self) -> str:
        """What we call ourselves: our host's name in A-labels or, failing that, the address that we speak from, in brackets
        (RFC 5321 section 4.1.4)."""
        if "." in self.hostname:
            try:
                return a_labels(self.hostname)
            except NoSuchDomainName:
                pass
        try:
            own = self.wire.connected().getsockname()
        except OSError as error:
            raise self.wire.broken(error) from error
        if not isinstance(own, tuple):
            return self.hostname if self.hostname.isascii() else "localhost"
        address = own[0].partition("%")[0]
        return f"[IPv6:{address}]" if ":" in address else f"[{address}]"

    def start_tls(self, context: ssl.SSLContext, name: str) -> Answer:
        """STARTTLS and the hand-shake; the server's extensions must be asked for again (RFC 3207 section 4.2)."""
        answer = self.wire.command(Phase.STARTTLS, b"STARTTLS\r\n")
        if not answer.good:
            return answer
        # what was sent in clear behind the 220 must never be taken for what is said under TLS
        try:
            self.wire.must_be_quiet(Phase.STARTTLS)
        except SessionBroken as broken:
            if broken.answer.trouble is Trouble.PROTOCOL:
                text = "the server said something in clear before the TLS hand-shake"
                raise SessionBroken(Answer(Phase.STARTTLS, trouble=Trouble.PROTOCOL, text=text)) from broken
            if broken.answer.trouble is not Trouble.LOST:
                raise
            self.close()
            return Answer(Phase.TLS, trouble=Trouble.TLS, text=f"TLS hand-shake failed: {Trouble.LOST}")
        return self.secure(context, name)

    def secure(self, context: ssl.SSLContext, name: str) -> Answer:
        """The TLS hand-shake. name: what the certificate must be for, and the SNI."""
        answer = self.wire.secure(context, name)
        self.extensions = {}
        if answer.trouble is None and isinstance(self.wire.sock, ssl.SSLSocket):
            cipher = self.wire.sock.cipher()
            self.tls = f"{self.wire.sock.version()} {cipher[0] if cipher else ''}".strip()
        if self.wire.transcript is not None:
            self.wire.transcript.secured(answer.text or self.tls)
        return answer

    def authenticate(self, account: Account, mechanism: str = "auto", *, certificate: bool = False) -> Answer:
        """Signs in; see `signin.sign_in`."""
        return sign_in(self.wire, self.extensions.get("AUTH", ""), account, mechanism=mechanism, certificate=certificate)

    def send_content(
        self,
        blocks: Iterable[bytes],
        riders: list[Line],
        answers: list[Answer],
        *,
        replies: int = 1,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """The message after a 354, each block within its own time limit; the riders go out with the final dot. Adds the
        answers to the message: one, or with LMTP one for each recipient; what has come stands if the session breaks then.

        meanwhile: called once all is sent, while the server is at work.
        """
        wire = self.wire
        waiting = b""
        try:
            for block in blocks:
                if waiting:
                    wire.must_be_quiet(Phase.BODY)
                    wire.transmit(waiting, Phase.BODY, self.timeouts.data_block)
                waiting = block
        except OSError as error:
            # a text that cannot be read ends the session, for half a message must never get its dot
            raise SessionBroken(unreadable(error)) from error
        # no reply that is here already can be the one to what comes now
        wire.must_be_quiet(Phase.BODY)
        # the last block has the final dot in it: from here on the server may have the message
        wire.dialogue.sent([Phase.END] * replies)
        wire.transmit(waiting + b"".join([line for _, line in riders]), Phase.END, self.timeouts.data_block)
        if wire.transcript is not None:
            wire.transcript.sent([(Phase.END, b".\r\n"), *riders])
        wire.dialogue.sent([phase for phase, _ in riders])
        meanwhile()
        for _ in range(replies):
            answers.append(wire.answer(self.timeouts.data_end))

    def goodbye(self) -> None:
        """QUIT, politely but not for long; nothing about it changes any result (RFC 5321 section 4.1.1.10)."""
        try:
            self.wire.send([(Phase.QUIT, b"QUIT\r\n")], seconds=self.timeouts.quit)
            self.wire.answer(self.timeouts.quit)
        except SessionBroken:
            pass
        self.close()

    def __exit__(self, *_: object) -> None:
        self.goodbye()

    def close(self) -> None:
        """Closes the connection, without a word."""
        self.wire.close()

    def abort(self) -> None:
        """Ends the session from another thread."""
        self.wire.abort()

    # smtplib's own ways to the wire

    def has_extn(self, opt: str) -> bool:
        """Whether the server offers an extension."""
        return opt.upper() in self.extensions

    quit = goodbye  # type: ignore[assignment]
    auth = _refused("auth")
    auth_cram_md5 = _refused("auth_cram_md5")
    auth_login = _refused("auth_login")
    auth_plain = _refused("auth_plain")
    connect = _refused("connect")
    data = _refused("data")
    docmd = _refused("docmd")
    ehlo = _refused("ehlo")
    ehlo_or_helo_if_needed = _refused("ehlo_or_helo_if_needed")
    expn = _refused("expn")
    getreply = _refused("getreply")
    helo = _refused("helo")
    help = _refused("help")
    login = _refused("login")
    mail = _refused("mail")
    noop = _refused("noop")
    putcmd = _refused("putcmd")
    rcpt = _refused("rcpt")
    rset = _refused("rset")
    send = _refused("send")
    send_message = _refused("send_message")
    sendmail = _refused("sendmail")
    set_debuglevel = _refused("set_debuglevel")
    starttls = _refused("starttls")
    verify = _refused("verify")
    vrfy = _refused("vrfy")
