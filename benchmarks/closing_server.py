"""A smart host that is down in a way that can be counted: it takes each connection and resets it at once."""

import socket
import struct
import threading
from contextlib import ExitStack, suppress
from typing import Self

_RESET = struct.pack("ii", 1, 0)


class ClosingServer:
    """At one port of each of these addresses of this host. connections: how many it has reset, by address."""

    def __init__(self, *addresses: str) -> None:
        self.connections = dict.fromkeys(addresses, 0)
        self.port = 0
        self._stack = ExitStack()
        for address in addresses:
            listener = self._stack.enter_context(socket.create_server((address, self.port)))
            self.port = listener.getsockname()[1]
            thread = threading.Thread(target=self._reset_all, args=(listener, address))
            thread.start()
            self._stack.callback(thread.join)
            self._stack.callback(_shut, listener)

    def _reset_all(self, listener: socket.socket, address: str) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.connections[address] += 1
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _shut(listener: socket.socket) -> None:
    listener.shutdown(socket.SHUT_RDWR)
