"""A server that says fixed octets, one piece after each read: for misbehaviour between the points of the scripted one."""

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Self


class LineServer:
    """In each connection it says the pieces in turn, reads once after each, and closes; `said` is what it read."""

    def __init__(self, *connections: Sequence[bytes]) -> None:
        self._connections = connections
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.said: list[list[bytes]] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            for pieces in self._connections:
                connection, _ = self._listener.accept()
                self.said.append([])
                with connection, suppress(OSError):
                    for piece in pieces:
                        connection.sendall(piece)
                        self.said[-1].append(connection.recv(1 << 16))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
