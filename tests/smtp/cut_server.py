"""A server that says its lines by heart and is cut off at one octet of what it would have said."""

import socket
import struct
import threading
from collections.abc import Sequence
from typing import NamedTuple, Self


class Step(NamedTuple):
    """What the server waits for (the end of what it has heard by then), and what it says to it, so many times."""

    awaited: bytes
    reply: bytes
    times: int = 1


class Cut(NamedTuple):
    """Where the server stops: of the step's reply it says so many octets and no more. reset: with a TCP reset."""

    step: int
    octets: int
    reset: bool = False


WHOLE = Cut(1 << 30, 0)
"""It is not cut off."""


class CutServer:
    """One connection. heard: all that the client said; its end is known after `join`. said: octets of our own. slowly: each of
    them in a write of its own."""

    def __init__(self, steps: Sequence[Step], cut: Cut = WHOLE, *, slowly: bool = False) -> None:
        self.heard = bytearray()
        self.said = 0
        self._steps, self._cut, self._slowly = steps, cut, slowly
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.join()

    def join(self) -> None:
        """Returns when the connection is over; whoever has not connected will not."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self._speak(connection)
            except OSError:
                pass

    def _speak(self, connection: socket.socket) -> None:
        for number, (awaited, reply, times) in enumerate(self._steps):
            if not self._hear(connection, awaited):
                return
            cut_here = number == self._cut.step
            reply = reply[: self._cut.octets] if cut_here else reply
            for piece in [reply[at : at + 1] for at in range(len(reply))] if self._slowly else [reply] * times:
                connection.sendall(piece)
                self.said += len(piece)
            if cut_here:
                if self._cut.reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
        while data := connection.recv(1 << 16):
            self.heard += data

    def _hear(self, connection: socket.socket, awaited: bytes) -> bool:
        start = len(self.heard)
        while not self.heard.endswith(awaited) or (awaited and len(self.heard) == start):
            data = connection.recv(1 << 16)
            if not data:
                return False
            self.heard += data
        return True
