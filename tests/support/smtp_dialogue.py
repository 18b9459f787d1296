"""The server's side of SMTP on one connection; what it answers is the script's to change at each point."""

import base64
import socket
import struct
from contextlib import AbstractContextManager
from typing import NoReturn, Protocol

from tests.support.certificates import Certificate
from tests.support.smtp_script import Action, Answer, Gate, Pieces, Session, Transaction


class End(Exception):
    """The connection is over."""


class Script(Protocol):
    """What the dialogue needs of its server."""

    keywords: list[str]
    certificate: Certificate | None
    implicit_tls: bool
    credentials: tuple[str, str] | None
    lmtp: bool

    def answer(self, point: str, argument: bytes, session: Session) -> Answer | None: ...
    def pass_gate(self, gate: Gate) -> None: ...
    def recording(self) -> AbstractContextManager[None]: ...
    def replace_socket(self, old: socket.socket, new: socket.socket) -> None: ...


class Dialogue:
    """The protocol on one connection."""

    def __init__(self, server: Script, connection: socket.socket, session: Session) -> None:
        self.server, self.connection, self.session = server, connection, session
        self.buffer = bytearray()
        if connection.family != socket.AF_UNIX:
            # Pieces are to leave as they are written.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        if self.server.implicit_tls:
            self.start_tls()
        self.reply("GREETING", b"", b"220 relay.example.test ESMTP")
        while True:
            line = self.read_line()
            with self.server.recording():
                self.session.commands.append(line.rstrip(b"\r\n"))
            verb, _, argument = line.strip().partition(b" ")
            handler = getattr(self, f"do_{verb.decode('ascii', 'replace').lower()}", None)
            if handler is None:
                self.reply(verb.decode("ascii", "replace").upper(), argument, b"500 5.5.2 unknown command")
            else:
                handler(argument)

    # Bytes in and out.

    def read_more(self) -> None:
        chunk = self.connection.recv(65536)
        if not chunk:
            raise End
        self.buffer += chunk
        self.record("C", chunk)

    def read_line(self) -> bytes:
        while (end := self.buffer.find(b"\n") + 1) == 0:
            self.read_more()
        return self.take(end)

    def take(self, size: int) -> bytes:
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken

    def send(self, data: bytes) -> None:
        self.record("S", data)
        self.connection.sendall(data)

    def record(self, direction: str, data: bytes) -> None:
        with self.server.recording():
            self.session.transcript.append((direction, data))

    def reply(self, point: str, argument: bytes, usual: bytes) -> bytes:
        """Say what the test wants at this point, else the usual; returns what was said."""
        answer = self.server.answer(point, argument, self.session)
        return self.say(usual if answer is None else answer, point)

    def say(self, answer: Answer, point: str = "") -> bytes:
        if isinstance(answer, Action):
            self.act(answer)
        if isinstance(answer, Pieces):
            for part in answer.parts:
                if isinstance(part, Gate):
                    self.server.pass_gate(part)
                else:
                    self.send(part)
            return b"".join(part for part in answer.parts if isinstance(part, bytes))
        assert isinstance(answer, bytes)
        # The state changes before the client can know, so that a test that has seen the reply sees it too.
        if point == "DOT" and answer.startswith(b"2"):
            self.accept()
        self.send(answer if answer.endswith(b"\n") else answer + b"\r\n")
        if answer.startswith(b"421"):
            raise End  # what 421 says, RFC 5321 section 3.8
        return answer

    def act(self, action: Action) -> NoReturn:
        if action is Action.KEEP_AND_CLOSE:
            self.accept()
        elif action is Action.RESET:
            # No lingering: the kernel forgets the connection and says so to the client.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif action is Action.SILENCE:
            while True:
                self.read_more()
        raise End

    def accept(self) -> None:
        with self.server.recording():
            if self.session.transaction is not None:
                self.session.transaction.accepted = True

    # The commands.

    def do_ehlo(self, argument: bytes, point: str = "EHLO") -> None:
        self.session.transaction = None
        keywords = list(self.server.keywords)
        if self.server.certificate and not self.session.tls:
            keywords.append("STARTTLS")
        if self.server.credentials and (self.session.tls or not self.server.certificate):
            keywords.append("AUTH PLAIN LOGIN")
        lines = [b"relay.example.test", *(keyword.encode() for keyword in keywords)]
        self.reply(point, argument, b"".join(b"250-" + line + b"\r\n" for line in lines[:-1]) + b"250 " + lines[-1])

    def do_lhlo(self, argument: bytes) -> None:
        self.do_ehlo(argument, "LHLO")

    def do_helo(self, argument: bytes) -> None:
        self.session.transaction = None
        self.reply("HELO", argument, b"250 relay.example.test")

    def do_noop(self, argument: bytes) -> None:
        self.reply("NOOP", argument, b"250 2.0.0 ok")

    def do_rset(self, argument: bytes) -> None:
        self.session.transaction = None
        self.reply("RSET", argument, b"250 2.0.0 ok")

    def do_quit(self, argument: bytes) -> None:
        self.reply("QUIT", argument, b"221 2.0.0 bye")
        raise End

    def do_starttls(self, argument: bytes) -> None:
        offered = self.server.certificate is not None and not self.session.tls
        if self.reply("STARTTLS", argument, b"220 2.0.0 go" if offered else b"503 5.5.1 no").startswith(b"2"):
            self.start_tls()

    def start_tls(self) -> None:
        answer = self.server.answer("HANDSHAKE", b"", self.session)
        if isinstance(answer, Action):
            self.act(answer)
        assert self.server.certificate is not None
        # Whatever came in the clear after STARTTLS is void, RFC 3207 section 4.2.
        self.buffer.clear()
        self.session.transaction = None
        plain = self.connection
        try:
            secure = self.server.certificate.server_context().wrap_socket(
                plain, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
            )
            self.connection = secure
            self.server.replace_socket(plain, secure)
            secure.do_handshake()
        except OSError as error:
            self.session.tls_error = str(error)
            raise End from error
        self.session.tls = True

    def do_auth(self, argument: bytes) -> None:
        answer = self.server.answer("AUTH", argument, self.session)
        if answer is not None or self.server.credentials is None:
            self.say(answer or b"502 5.5.1 not implemented")
            return
        mechanism, _, initial = argument.partition(b" ")
        try:
            if mechanism.upper() == b"PLAIN":
                _, user, password = base64.b64decode(initial or self.challenge(b""), validate=True).split(b"\0")
            else:
                user = base64.b64decode(initial or self.challenge(b"Username:"), validate=True)
                password = base64.b64decode(self.challenge(b"Password:"), validate=True)
        except ValueError:
            self.say(b"501 5.5.2 cannot decode")
            return
        if (user.decode(), password.decode()) == self.server.credentials:
            self.session.user = user.decode()
            self.say(b"235 2.7.0 welcome")
        else:
            self.say(b"535 5.7.8 wrong")

    def challenge(self, prompt: bytes) -> bytes:
        self.say(b"334 " + base64.b64encode(prompt))
        return self.read_line().strip()

    def do_mail(self, argument: bytes) -> None:
        signed_in = self.server.credentials is None or self.session.user is not None
        usual = b"250 2.1.0 ok" if signed_in else b"530 5.7.0 authentication required"
        transaction = Transaction(mail_from=self.session.commands[-1])
        if self.reply("MAIL", argument, usual).startswith(b"2"):
            with self.server.recording():
                self.session.transaction = transaction
                self.session.transactions.append(transaction)

    def do_rcpt(self, argument: bytes) -> None:
        transaction = self.session.transaction
        if transaction is None:
            self.reply("RCPT", argument, b"503 5.5.1 no MAIL")
            return
        transaction.rcpt_to.append(self.session.commands[-1])
        if self.reply("RCPT", argument, b"250 2.1.5 ok").startswith(b"2"):
            transaction.recipients.append(argument.partition(b":")[2].strip().split(b" ")[0])

    def do_data(self, argument: bytes) -> None:
        transaction = self.session.transaction
        if transaction is None or not transaction.recipients:
            self.reply("DATA", argument, b"503 5.5.1 no valid recipients")
            return
        if not self.reply("DATA", argument, b"354 go").startswith(b"3"):
            return
        lines: list[bytes] = []
        # A dot ends the message only after CRLF (or right away), RFC 5321 section 4.1.1.4.
        while not lines or lines[-1] != b".\r\n" or (len(lines) > 1 and not lines[-2].endswith(b"\r\n")):
            lines.append(self.read_line())
        after_crlf = [True, *(line.endswith(b"\r\n") for line in lines)]
        transaction.data = b"".join(lines)
        transaction.content = b"".join(
            line[1:] if first and line.startswith(b".") else line for line, first in zip(lines[:-1], after_crlf, strict=False)
        )
        self.finish(transaction)

    def do_bdat(self, argument: bytes) -> None:
        size, _, last = argument.partition(b" ")
        while len(self.buffer) < int(size):
            self.read_more()
        chunk = self.take(int(size))
        transaction = self.session.transaction
        if transaction is None or not transaction.recipients:
            self.reply("BDAT", argument, b"503 5.5.1 no valid recipients")
        elif self.reply_bdat(transaction, chunk, argument, last):
            self.finish(transaction)

    def reply_bdat(self, transaction: Transaction, chunk: bytes, argument: bytes, last: bytes) -> bool:
        """Take a chunk; whether it was the last. That one is answered at DOT, unless the test answers at BDAT."""
        transaction.data += chunk
        transaction.content = transaction.data
        if not last:
            self.reply("BDAT", argument, b"250 2.0.0 more")
            return False
        answer = self.server.answer("BDAT", argument, self.session)
        if answer is not None:
            self.say(answer)
        return answer is None

    def finish(self, transaction: Transaction) -> None:
        for recipient in transaction.recipients if self.server.lmtp else [b""]:
            self.reply("DOT", recipient, b"250 2.0.0 taken")
        self.session.transaction = None
