"""A real SMTP server on loopback that does what a test tells it: it answers, misbehaves, hangs, and records all of it.

Raw sockets, one thread for each connection, and nothing lenient: a message ends at CRLF.CRLF and nowhere else.

The points at which it can be told what to do are the verbs (EHLO, MAIL, RCPT, DATA, ...), and besides them GREETING,
HANDSHAKE (before TLS, no reply) and DOT (after the message; with LMTP once for each accepted recipient).
"""

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Self

from tests.support.certificates import Certificate
from tests.support.smtp_dialogue import Dialogue, End
from tests.support.smtp_script import TIMEOUT, Action, Answer, Gate, Pieces, Session, Transaction

__all__ = ["Action", "Answer", "Gate", "Pieces", "ScriptedServer", "Session", "Transaction"]


class ScriptedServer:
    """The server; `sessions`, `transactions` and `accepted` tell what came, and `wait_for` waits for it."""

    def __init__(
        self,
        *,
        replies: Mapping[str, Answer] | None = None,  # by point, or by the beginning of a line: "RCPT TO:<bad@"
        on: Callable[[str, bytes, Session], Answer | None] | None = None,  # (point, argument, session); asked first
        keywords: Sequence[str] = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 52428800", "DSN"),
        certificate: Certificate | None = None,  # offers STARTTLS
        implicit_tls: bool = False,
        credentials: tuple[str, str] | None = None,  # offers AUTH (inside TLS, if there is a certificate) and demands it
        lmtp: bool = False,
        address: str = "127.0.0.1",
        port: int = 0,
        path: str | None = None,  # a Unix socket instead
    ) -> None:
        self.replies = {key.upper().encode(): answer for key, answer in (replies or {}).items()}
        self.on = on
        self.keywords, self.certificate, self.implicit_tls = list(keywords), certificate, implicit_tls
        self.credentials, self.lmtp, self.path = credentials, lmtp, path
        self.sessions: list[Session] = []
        self.open_connections = self.peak_connections = 0
        self._changed = threading.Condition()
        self._gates: dict[str, Gate] = {}
        self._reached_gates: list[Gate] = []
        self._threads: list[threading.Thread] = []
        self._sockets: set[socket.socket] = set()
        self._closing = False
        if path is None:
            self._listener = socket.create_server((address, port))
            self.address, self.port = self._listener.getsockname()[:2]
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(path)
            self._listener.listen()
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    # What tests ask.

    @property
    def commands(self) -> list[bytes]:
        return [line for session in self.sessions for line in session.commands]

    @property
    def transactions(self) -> list[Transaction]:
        return [transaction for session in self.sessions for transaction in session.transactions]

    @property
    def accepted(self) -> list[Transaction]:
        return [transaction for transaction in self.transactions if transaction.accepted]

    def wait_for(self, predicate: Callable[[], object], timeout: float = TIMEOUT) -> None:
        """Return when `predicate()` holds; it is asked again whenever something was recorded."""
        with self._changed:
            assert self._changed.wait_for(predicate, timeout), f"did not happen; the server saw {self.sessions}"

    def gate(self, point: str) -> Gate:
        """Hang at this point, in each session, until the gate is opened."""
        return self._gates.setdefault(point.upper(), Gate())

    def stop_listening(self) -> None:
        """Serve those that are connected, and refuse whoever comes."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()

    def close(self) -> None:
        """Hang up on everybody and end all threads."""
        with self._changed:
            self._closing = True
            sockets = [self._listener, *self._sockets]
            for gate in self._reached_gates:
                gate.open()
        for each in sockets:
            with suppress(OSError):
                # Not the method of SSLSocket, which is not made for a second thread.
                socket.socket.shutdown(each, socket.SHUT_RDWR)
        self._acceptor.join()
        for thread in self._threads:
            thread.join()
        self._listener.close()
        if self.path is not None:
            os.unlink(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The sessions.

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            with self._changed:
                if self._closing:
                    connection.close()
                    return
                session = Session(number=len(self.sessions), peer=peer[0] if self.path is None else "")
                self.sessions.append(session)
                self._sockets.add(connection)
                self.open_connections += 1
                self.peak_connections = max(self.peak_connections, self.open_connections)
                self._changed.notify_all()
            thread = threading.Thread(target=self._serve, args=(connection, session))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, session: Session) -> None:
        dialogue = Dialogue(self, connection, session)
        try:
            dialogue.run()
        except ssl.SSLError as error:
            # With TLS 1.3 the client's refusal of the certificate comes after the server's side of the hand-shake.
            session.tls_error = str(error)
        except (End, OSError):
            pass
        finally:
            with self._changed:
                self._sockets.discard(connection)
                self.open_connections -= 1
                session.closed = True
                dialogue.connection.close()
                self._changed.notify_all()

    def answer(self, point: str, argument: bytes, session: Session) -> Answer | None:
        """What the test wants here; None leaves it to the server."""
        if gate := self._gates.get(point):
            self.pass_gate(gate)
        if self.on is not None and (answer := self.on(point, argument, session)) is not None:
            return answer
        line = point.encode() + b" " + argument.upper()
        matching = [key for key in self.replies if line.startswith(key)]
        return self.replies[max(matching, key=len)] if matching else None

    def pass_gate(self, gate: Gate) -> None:
        with self._changed:
            self._reached_gates.append(gate)
            if self._closing:
                gate.open()
        gate.pass_through()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Held while something is written down; whoever waits is told afterwards."""
        with self._changed:
            yield
            self._changed.notify_all()

    def replace_socket(self, old: socket.socket, new: socket.socket) -> None:
        with self._changed:
            self._sockets.discard(old)
            self._sockets.add(new)
