"""Getting connected: a host's addresses, then the first of them that answers.

The system's resolver has no time limit that a program can set, and cannot be interrupted: it works in a thread of its own,
which is left behind when its time is over.
"""

import queue
import socket
import threading
from typing import Protocol

from smartrelay.config import Timeouts
from smartrelay.smtp.dialogue import Answer, Phase, Trouble

Address = tuple[socket.AddressFamily, tuple[object, ...]]


class Connector(Protocol):
    """Makes connections; given to whoever needs one, so that a test can give another."""

    def __call__(self, host: str, port: int, timeouts: Timeouts) -> "socket.socket | Answer":
        """A connected socket, or the answer that says why there is none."""


def connect(host: str, port: int, timeouts: Timeouts) -> socket.socket | Answer:
    """Connects over TCP, to each address of `host` in the system's order."""
    addresses = _addresses(host, port, timeouts.lookup)
    if isinstance(addresses, Answer):
        return addresses
    failed = Answer(Phase.LOOKUP, trouble=Trouble.NO_HOST, text=f"host {host} has no address")
    for family, address in addresses:
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeouts.connect)
            connection.connect(address)
            return connection
        except OSError as error:
            connection.close()
            timeout = isinstance(error, TimeoutError)
            reason = "connection timed out" if timeout else (error.strerror or str(error)).lower()
            trouble = Trouble.TIMEOUT if timeout else Trouble.NO_ROUTE
            failed = Answer(Phase.CONNECT, trouble=trouble, text=f"connect to {host}[{address[0]}]:{port}: {reason}")
    return failed


def _addresses(host: str, port: int, seconds: float) -> list[Address] | Answer:
    results: queue.SimpleQueue[list[Address] | Answer] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            results.put([(family, address) for family, _, _, _, address in found])
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            results.put(Answer(Phase.LOOKUP, trouble=Trouble.NO_HOST, text=f"host {host} not found: {reason}"))

    threading.Thread(target=look_up, name=f"look up {host}", daemon=True).start()
    try:
        return results.get(timeout=seconds)
    except queue.Empty:
        return Answer(Phase.LOOKUP, trouble=Trouble.TIMEOUT, text=f"looking up host {host} timed out")
