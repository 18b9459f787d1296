"""Getting connected: a host's addresses, then the first of them that answers.

The system's resolver has no time limit that a program can set, and cannot be interrupted: it works in a thread of its own,
which is left behind when its time is over. The addresses are tried with a head start for each over the next, so that a
family that is dead on this network costs a quarter of a second and not a time-out (the idea of RFC 8305).
"""

import errno
import queue
import select
import socket
import threading
import time
from typing import Any, NamedTuple, Protocol

from smartrelay.config import Timeouts
from smartrelay.smtp.dialogue import Answer, Phase, Trouble

HEAD_START = 0.25
"""Seconds before the next address is tried beside those that have not answered (RFC 8305 section 5)."""

_NO_NETWORK = (errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What the system says at once where this machine has no way there, whatever the other side does."""

_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""What the system says where this process, or this machine, has no means left for one more connection."""

Address = tuple[socket.AddressFamily, tuple[Any, ...]]


class Target(NamedTuple):
    """Where to connect. path: a local socket instead of host and port. source: own addresses to come from, by family.
    addresses: the host's, () for the system's resolver to find. without: addresses that are not wanted again; those that could
    not be connected to are added."""

    host: str
    port: int = 0
    path: str = ""
    source: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    without: list[str] | None = None

    def __str__(self) -> str:
        return self.path or (f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")


class Connector(Protocol):
    """Makes connections; given to whoever needs one, so that a test can give another."""

    def __call__(self, target: Target, timeouts: Timeouts) -> "socket.socket | Answer":
        """A connected socket, or the answer that says why there is none."""


def connect(target: Target, timeouts: Timeouts) -> socket.socket | Answer:
    """Connects over TCP to the first address that answers, or to a local socket."""
    if target.path:
        return _connect_local(target, timeouts)
    addresses = addresses_of(target, timeouts.lookup)
    if isinstance(addresses, Answer):
        return addresses
    wanted = [address for address in addresses if address[1][0] not in (target.without or ())]
    return _Race(target, wanted, timeouts.connect).run()


def _connect_local(target: Target, timeouts: Timeouts) -> socket.socket | Answer:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeouts.connect)
        connection.connect(target.path)
    except OSError as error:
        connection.close()
        return _failed(f"connect to {target.path}", error)
    return connection


def _failed(what: str, error: OSError) -> Answer:
    if isinstance(error, ConnectionResetError):
        # it stood, and was closed before a word was said
        return Answer(Phase.GREETING, trouble=Trouble.LOST, text=f"{Trouble.LOST} while {Phase.GREETING}")
    if isinstance(error, TimeoutError):
        return Answer(Phase.CONNECT, trouble=Trouble.TIMEOUT, text=f"{what}: connection timed out")
    trouble = Trouble.NO_NETWORK if error.errno in _NO_NETWORK else Trouble.NO_ROUTE
    trouble = Trouble.NO_ROOM if error.errno in _NO_ROOM else trouble
    return Answer(Phase.CONNECT, trouble=trouble, text=f"{what}: {(error.strerror or str(error)).lower()}")


def addresses_of(target: Target, seconds: float) -> list[Address] | Answer:
    """A host's addresses in the order in which they are tried, or the answer that says why there are none; the system's
    resolver is waited for so many seconds."""
    if target.addresses:
        return interleaved([_address(text, target.port) for text in target.addresses])
    literal = _literal(target.host)
    return [_address(literal, target.port)] if literal else _looked_up(target, seconds)


def _literal(host: str) -> str:
    """The address that a host is named by, as the system writes it: then there is nobody to ask. "" for a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_ntop(family, socket.inet_pton(family, host))
        except (OSError, ValueError):  # not of this family, no address at all
            continue
    return ""


def _looked_up(target: Target, seconds: float) -> list[Address] | Answer:
    results: queue.SimpleQueue[list[Address] | Answer] = queue.SimpleQueue()
    host = target.host

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, target.port, type=socket.SOCK_STREAM)
            results.put(interleaved([(family, address) for family, _, _, _, address in found]))
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            results.put(Answer(Phase.LOOKUP, trouble=Trouble.NO_HOST, text=f"host {host} not found: {reason}"))

    threading.Thread(target=look_up, name=f"look up {host}", daemon=True).start()
    try:
        return results.get(timeout=seconds)
    except queue.Empty:
        return Answer(Phase.LOOKUP, trouble=Trouble.TIMEOUT, text=f"looking up host {host} timed out")


def _address(text: str, port: int) -> Address:
    return (socket.AF_INET6, (text, port, 0, 0)) if ":" in text else (socket.AF_INET, (text, port))


def interleaved(addresses: list[Address]) -> list[Address]:
    """The families in turn, the first one's first, each in the resolver's order (RFC 8305 section 4)."""
    if not addresses:
        return []
    first = addresses[0][0]
    ours = [address for address in addresses if address[0] == first]
    others = [address for address in addresses if address[0] != first]
    mixed: list[Address] = []
    while ours or others:
        mixed += ours[:1] + others[:1]
        ours, others = ours[1:], others[1:]
    return mixed


class _Race:
    """Connection attempts side by side; the first that succeeds wins, the others are closed."""

    def __init__(self, target: Target, addresses: list[Address], seconds: float) -> None:
        self.target = target
        self.addresses = addresses
        self.seconds = seconds
        self.running: dict[int, tuple[socket.socket, Address, float]] = {}
        self.failures: list[Answer] = []

    def run(self) -> socket.socket | Answer:
        waiting, next_start = list(self.addresses), 0.0
        try:
            while waiting or self.running:
                now = time.monotonic()
                if waiting and (not self.running or now >= next_start):
                    won = self._start(waiting.pop(0), now)
                    next_start = now + HEAD_START
                    if won is not None:
                        return won
                    continue
                won = self._wait(now, next_start if waiting else None)
                if won is not None:
                    return won
        finally:
            for connection, _, _ in self.running.values():
                connection.close()
        if self.failures:
            # the first that says something of the host, not of a family that this network has not
            return next((answer for answer in self.failures if answer.trouble is not Trouble.NO_NETWORK), self.failures[0])
        return Answer(Phase.LOOKUP, trouble=Trouble.NO_HOST, text=f"host {self.target.host} has no address")

    def _start(self, address: Address, now: float) -> socket.socket | None:
        family, where = address
        try:
            connection = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            self._fail(address, error)
            return None
        try:
            for source in self.target.source:
                if (":" in source) == (family == socket.AF_INET6):
                    connection.bind((source, 0))
            connection.setblocking(False)
            code = connection.connect_ex(where)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, _words(code))
        except OSError as error:
            connection.close()
            self._fail(address, error)
            return None
        if not code:
            return connection
        self.running[connection.fileno()] = connection, address, now + self.seconds
        return None

    def _wait(self, now: float, next_start: float | None) -> socket.socket | None:
        poll = select.poll()
        for number in self.running:
            poll.register(number, select.POLLOUT)
        ends = [end for _, _, end in self.running.values()]
        until = min([*ends, next_start] if next_start is not None else ends)
        for number, _ in poll.poll(max(0.0, until - now) * 1000):
            connection, address, _ = self.running.pop(number)
            code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code:
                return connection
            connection.close()
            self._fail(address, OSError(code, _words(code)))
        now = time.monotonic()
        for number in [number for number, (_, _, end) in self.running.items() if end <= now]:
            connection, address, _ = self.running.pop(number)
            connection.close()
            self._fail(address, TimeoutError())
        return None

    def _fail(self, address: Address, error: OSError) -> None:
        if self.target.without is not None:
            self.target.without.append(address[1][0])
        self.failures.append(_failed(f"connect to {self.target.host}[{address[1][0]}]:{self.target.port}", error))


def _words(code: int) -> str:
    import os

    return os.strerror(code)
