"""One DNS server: where it is, and how a message goes there and back."""

import errno
import socket
import time
from collections.abc import Callable
from typing import NamedTuple

from smartrelay.errors import ConfigError

_NOT_THERE = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.EHOSTDOWN,
        errno.EADDRNOTAVAIL,
        errno.EAFNOSUPPORT,
    }
)


class Nameserver(NamedTuple):
    """A server's address and port."""

    address: str
    port: int = 53

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def send(self, message: bytes) -> socket.socket:
        """Sends a message over UDP; the channel on which `receive` waits for the answer. Raises OSError."""
        family, address = self._where()
        channel = socket.socket(family, socket.SOCK_DGRAM)
        try:
            # Connected: the system then takes datagrams from there alone, and says at once when nobody listens.
            channel.connect(address)
            channel.send(message)
        except OSError:
            channel.close()
            raise
        return channel

    def ask_by_stream(self, message: bytes, until: float) -> bytes:
        """Sends a message over TCP; what comes back (RFC 7766 section 8). Raises OSError, TimeoutError, EOFError."""
        family, address = self._where()
        with socket.socket(family, socket.SOCK_STREAM) as channel:
            channel.settimeout(_left(until))
            channel.connect(address)
            channel.sendall(len(message).to_bytes(2) + message)
            length = int.from_bytes(_exactly(channel, 2, until))
            return _exactly(channel, length, until)

    def _where(self) -> tuple[int, tuple[object, ...]]:
        """Family and address for a socket; the system understands the zone of fe80::1%eth0."""
        family, _, _, _, address = socket.getaddrinfo(self.address, self.port, flags=socket.AI_NUMERICHOST)[0]
        return family, address


def is_not_there(error: OSError) -> bool:
    """Whether the system knows of no way to a server: any other failure may be ours (too many open files, say).

    A failure to understand the address is one of its zone: fe80::1%eth0 where there is no eth0 now.
    """
    return error.errno in _NOT_THERE or isinstance(error, socket.gaierror)


def receive(channel: socket.socket, until: float, is_answer: Callable[[bytes], bool]) -> bytes:
    """The first datagram that is the answer. What has come already is read even where the time is over.

    until: by time.monotonic, as everywhere here. Raises OSError, TimeoutError.
    """
    while True:
        channel.settimeout(max(until - time.monotonic(), 0.001))
        wire = channel.recv(65535)
        if is_answer(wire):
            return wire
        _left(until)


def parse(text: str) -> Nameserver:
    """A server as it is written in the configuration: `192.0.2.1`, `192.0.2.1:5300`, `2001:db8::1`, `[2001:db8::1]:5300`.

    Raises ConfigError.
    """
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        colon, port = rest[:1], rest[1:]
        sound = bool(bracket) and colon in ("", ":") and ":" in address
    else:
        address, colon, port = text.partition(":") if text.count(":") == 1 else (text, "", "")
        sound = True
    if sound and _is_address(address) and (not colon or (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        return Nameserver(address, int(port or 53))
    raise ConfigError(f"[mx] nameservers: {text!a} is no DNS server; write 192.0.2.1, 192.0.2.1:5300 or [2001:db8::1]:5300")


def of_system(path: str = "/etc/resolv.conf") -> tuple[Nameserver, ...]:
    """The servers that the system asks, in its order; one on this machine where it names none (resolv.conf(5))."""
    found = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                words = line.split()
                if words[:1] == ["nameserver"] and len(words) > 1 and _is_address(words[1]):
                    found.append(Nameserver(words[1]))
    except OSError:
        pass
    return tuple(found) or (Nameserver("127.0.0.1"),)


def _is_address(text: str) -> bool:
    address, _, zone = text.partition("%")
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    except (OSError, UnicodeError, ValueError):
        return False
    return not zone or ":" in address


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _exactly(channel: socket.socket, length: int, until: float) -> bytes:
    found = b""
    while len(found) < length:
        channel.settimeout(_left(until))
        piece = channel.recv(length - len(found))
        if not piece:
            raise EOFError("the connection was closed")
        found += piece
    return found
