"""A program: PORT SERVER_PORT MILLISECONDS; the way from PORT to SERVER_PORT, both on loopback, takes that long there and back.

Each direction takes half. The connection to the server is made one and a half round trips after ours, so that a greeting
comes two round trips after connect(), as over a real line. No loss, no limit of bandwidth, no slow start. Acknowledgements
are sent at once (TCP_QUICKACK), so that nobody's small writes wait 40 ms for them here: on a real line they wait longer.
"""

import os
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

_READ = 1 << 18


class _End:
    """One end of a way: a socket, what could not be written to it yet, and the end that gets what is read here."""

    def __init__(self, sock: socket.socket, sockets: "dict[int, _End]", poller: select.epoll) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.waiting, self.ending = sock, bytearray(), False
        self.other: _End | None = None
        self._sockets, self._poller, self._number = sockets, poller, sock.fileno()
        sockets[self._number] = self
        poller.register(self._number, select.EPOLLIN)

    def read(self) -> bytes:
        """What has come; nothing at the end, after which no more is asked for."""
        try:
            data = self.sock.recv(_READ)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except BlockingIOError:
            raise
        except OSError:
            data = b""
        if not data:
            self._poller.modify(self._number, select.EPOLLOUT if self.waiting else 0)
        return data

    def write(self, data: bytes) -> None:
        """Writes, or keeps what the socket does not take; nothing means the end."""
        if self.closed:
            return
        self.ending = self.ending or not data
        self.waiting += data
        self.push()

    def push(self) -> None:
        """Writes what waits."""
        try:
            if self.waiting:
                del self.waiting[: self.sock.send(self.waiting)]
            if self.waiting:
                self._poller.modify(self._number, select.EPOLLIN | select.EPOLLOUT)
            elif self.ending:
                self.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            self._poller.modify(self._number, select.EPOLLIN | select.EPOLLOUT)
        except OSError:
            self.close()

    def written(self) -> None:
        """The socket takes more."""
        self._poller.modify(self._number, select.EPOLLIN)
        self.push()

    @property
    def closed(self) -> bool:
        """Whether its number may already be another one's."""
        return self._sockets.get(self._number) is not self

    def close(self) -> None:
        if not self.closed:
            del self._sockets[self._number]
            self.sock.close()


class _Line:
    def __init__(self, port: int, server: int, delay: float) -> None:
        self._server, self._delay = server, delay
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen(1024)
        self._listener.setblocking(False)
        self._poller = select.epoll()
        self._poller.register(self._listener.fileno(), select.EPOLLIN)
        self._ends: dict[int, _End] = {}
        # Each queue has one delay, so that it is in order of time by itself.
        self._due: deque[tuple[float, _End, bytes]] = deque()
        self._connects: deque[tuple[float, _End]] = deque()

    def run(self) -> None:
        """Goes on until the process is ended."""
        monotonic: Callable[[], float] = time.monotonic
        while True:
            now = monotonic()
            while self._due and self._due[0][0] <= now:
                _, end, data = self._due.popleft()
                self._arrive(end, data)
            while self._connects and self._connects[0][0] <= now:
                self._connect(self._connects.popleft()[1])
            nexts = [queue[0][0] for queue in (self._due, self._connects) if queue]
            # select() waits to the microsecond, epoll_wait only to the millisecond.
            select.select([self._poller], [], [], max(0.0, min(nexts) - monotonic()) if nexts else None)
            for number, event in self._poller.poll(0):
                self._event(number, event)

    def _event(self, number: int, event: int) -> None:
        if number == self._listener.fileno():
            with suppress(OSError):
                client = _End(self._listener.accept()[0], self._ends, self._poller)
                self._connects.append((time.monotonic() + 3 * self._delay, client))
            return
        end = self._ends.get(number)
        if end is None:
            return
        if event & select.EPOLLOUT:
            end.written()
        if event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR) and not end.closed:
            if end.other is None:  # it speaks, or goes, before it is connected: it is heard when it is
                self._poller.modify(number, 0)
                return
            with suppress(BlockingIOError):
                self._due.append((time.monotonic() + self._delay, end.other, end.read()))
            if event & (select.EPOLLHUP | select.EPOLLERR):
                end.close()

    def _connect(self, client: _End) -> None:
        server = _End(socket.create_connection(("127.0.0.1", self._server)), self._ends, self._poller)
        client.other, server.other = server, client
        if not client.closed:
            self._poller.modify(client.sock.fileno(), select.EPOLLIN)

    def _arrive(self, end: _End, data: bytes) -> None:
        end.write(data)
        other = end.other
        if not data and other is not None and other.ending and not other.waiting and not end.waiting:
            end.close()
            other.close()


if __name__ == "__main__":
    os.nice(-5) if os.geteuid() == 0 else None  # a line never waits for a processor
    _Line(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 2000).run()
