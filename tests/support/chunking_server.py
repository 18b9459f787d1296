"""A server with CHUNKING that is as unforgiving as Exim: whoever streams transactions without RSET lends envelopes.

A transaction whose recipients were all refused stays open, and a second MAIL in it gets `503 sender already given` while the
first sender stands. Replies are sent when no further command waits, as RFC 2920 wants it, or `at_once`.

The points at which a test can tell it what to do are the verbs, BDAT (its line was read, its octets were not) and CHUNK
(they were). What it is told there comes from `on(point, number, argument)`: how often the point was met, from 1.
"""

import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from tests.support.certificates import Certificate
from tests.support.smtp_script import Action, Gate

Answer = bytes | Action | Gate | None
On = Callable[[str, int, bytes], Answer]

KEYWORDS = ("PIPELINING", "CHUNKING", "8BITMIME", "ENHANCEDSTATUSCODES", "SIZE 52428800")


@dataclass
class Taken:
    """A message that the server answers for."""

    sender: bytes
    recipients: list[bytes]
    body: bytes


@dataclass
class _Connection:
    sock: socket.socket
    buffer: bytearray = field(default_factory=bytearray)
    out: bytearray = field(default_factory=bytearray)
    sender: bytes | None = None
    recipients: list[bytes] = field(default_factory=list)


class _End(Exception):
    pass


class ChunkingServer:
    """The server. taken: what it took, in order; commands: the lines of each connection. mute: it keeps its replies back.

    buffers: octets of its socket buffers, both ways. certificate: TLS from the first octet. port: 0 for any that is free.
    """

    def __init__(
        self,
        on: On = lambda point, number, argument: None,
        *,
        keywords: Sequence[str] = KEYWORDS,
        certificate: Certificate | None = None,
        buffers: int = 0,
        at_once: bool = False,
        port: int = 0,
    ) -> None:
        self.taken: list[Taken] = []
        self.commands: list[list[bytes]] = []
        self.mute = False
        self._on, self._keywords, self._certificate, self._at_once = on, keywords, certificate, at_once
        self._counts: Counter[str] = Counter()
        self._listener = socket.socket()
        if buffers:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        self._sockets: set[socket.socket] = set()
        self._gates: list[Gate] = []
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for gate in self._gates:
            gate.open()
        for each in [self._listener, *self._sockets]:
            with suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)
        self._acceptor.join()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.commands.append([])
            thread = threading.Thread(target=self._serve, args=(connection, self.commands[-1]))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, commands: list[bytes]) -> None:
        self._sockets.add(sock)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._certificate is not None:
                secure = self._certificate.server_context().wrap_socket(sock, server_side=True)
                self._sockets ^= {sock, secure}
                sock = secure
            connection = _Connection(sock)
            self._say(connection, b"220 chunks.example.test ESMTP")
            while True:
                line = self._line(connection)
                commands.append(line)
                self._command(connection, line)
        except (_End, OSError):
            pass
        finally:
            self._sockets.discard(sock)
            sock.close()

    # octets

    def _more(self, connection: _Connection) -> None:
        self._flush(connection)
        data = connection.sock.recv(1 << 16)
        if not data:
            raise _End
        connection.buffer += data

    def _line(self, connection: _Connection) -> bytes:
        while (end := connection.buffer.find(b"\r\n")) < 0:
            self._more(connection)
        line = bytes(connection.buffer[:end])
        del connection.buffer[: end + 2]
        return line

    def _chunk(self, connection: _Connection, size: int) -> bytes:
        while len(connection.buffer) < size:
            self._more(connection)
        with memoryview(connection.buffer) as view:
            chunk = bytes(view[:size])
        del connection.buffer[:size]
        return chunk

    def _say(self, connection: _Connection, reply: bytes) -> None:
        connection.out += reply if reply.endswith(b"\n") else reply + b"\r\n"
        if self._at_once or reply.startswith(b"421"):
            self._flush(connection)

    def _flush(self, connection: _Connection) -> None:
        if connection.out and not self.mute:
            data = bytes(connection.out)
            connection.out.clear()
            connection.sock.sendall(data)

    # commands

    def _asked(self, connection: _Connection, point: str, argument: bytes) -> bytes | Action | None:
        """What the test wants here: a reply, KEEP_AND_CLOSE, or None for the usual."""
        self._counts[point] += 1
        answer = self._on(point, self._counts[point], argument)
        if isinstance(answer, Gate):
            self._gates.append(answer)
            self._flush(connection)
            answer.pass_through()
            return None
        if isinstance(answer, Action) and answer is not Action.KEEP_AND_CLOSE:
            self._flush(connection)
            self._end(connection, answer)
        return answer

    def _end(self, connection: _Connection, action: Action) -> None:
        if action is Action.RESET:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif action is Action.SILENCE:
            while connection.sock.recv(1 << 16):
                pass
        elif self._certificate is None:
            # Not a reset: the end stands behind all that was said, and what still comes is read.
            connection.sock.shutdown(socket.SHUT_WR)
            while connection.sock.recv(1 << 16):
                pass
        raise _End

    def _command(self, connection: _Connection, line: bytes) -> None:
        verb, _, argument = line.partition(b" ")
        point = verb.decode("ascii")
        if point == "BDAT":
            self._bdat(connection, argument)
            return
        said = self._asked(connection, point, argument)
        reply = said if isinstance(said, bytes) else self._usual(connection, point, argument)
        if reply.startswith(b"2"):
            self._note(connection, point, argument)
        self._say(connection, reply)
        # Who refuses RSET hangs up, as Exim does: a server that kept the transaction and went on would mix up any stream.
        if reply.startswith(b"421") or point == "QUIT" or (point == "RSET" and not reply.startswith(b"2")):
            self._flush(connection)
            self._end(connection, Action.CLOSE)

    def _usual(self, connection: _Connection, point: str, argument: bytes) -> bytes:
        if point == "EHLO":
            lines = [b"chunks.example.test", *(keyword.encode() for keyword in self._keywords)]
            return b"".join(b"250-" + line + b"\r\n" for line in lines[:-1]) + b"250 " + lines[-1]
        if point == "MAIL" and connection.sender is not None:
            return b"503 5.5.1 sender already given"
        if point == "RCPT" and connection.sender is None:
            return b"503 5.5.1 sender not yet given"
        return {"MAIL": b"250 2.1.0 ok", "RCPT": b"250 2.1.5 ok", "RSET": b"250 2.0.0 ok", "QUIT": b"221 2.0.0 bye"}.get(
            point, b"500 5.5.2 unknown command"
        )

    def _note(self, connection: _Connection, point: str, argument: bytes) -> None:
        path = argument.partition(b":")[2].split(b" ")[0]
        if point in ("EHLO", "RSET"):
            connection.sender, connection.recipients = None, []
        elif point == "MAIL":
            connection.sender = path
        elif point == "RCPT":
            connection.recipients.append(path)

    def _bdat(self, connection: _Connection, argument: bytes) -> None:
        size, _, last = argument.partition(b" ")
        assert last == b"LAST", argument
        said = self._asked(connection, "BDAT", argument)
        body = self._chunk(connection, int(size))
        if said is None and connection.recipients:
            said = self._asked(connection, "CHUNK", argument)
        yes = not isinstance(said, bytes) or said.startswith(b"2")
        if yes and connection.sender is not None and connection.recipients:
            self.taken.append(Taken(connection.sender, list(connection.recipients), body))
            connection.sender, connection.recipients = None, []
            if isinstance(said, Action):
                self._flush(connection)
                self._end(connection, Action.CLOSE)
            said = said or b"250 2.0.0 taken"
        if not isinstance(said, bytes):
            said = b"503 5.5.1 valid RCPT command must precede BDAT"
        self._say(connection, said)
        if said.startswith(b"421"):
            self._end(connection, Action.CLOSE)
