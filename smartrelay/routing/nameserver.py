"""One DNS server: where it is, and the way there."""

import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import NamedTuple

from smartrelay.errors import ConfigError
from smartrelay.routing.network import NO_WAY

_NOT_THERE = (*NO_WAY, errno.ECONNREFUSED, errno.EHOSTDOWN)

_QUESTION = b"\0\1\1\0\0\1\0\0\0\0\0\0\0\0\2\0\1"
"""Which servers the root has (RFC 1035 section 4.1): every server can say something to that, were it a refusal."""


class Nameserver(NamedTuple):
    """A server's address and port."""

    address: str
    port: int = 53

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def connect(self) -> socket.socket:
        """A channel for messages over UDP, never waited for. Raises OSError.

        The system takes datagrams from that server alone, and says at once when nobody listens there.
        """
        # understands the zone of fe80::1%eth0
        family, _, _, _, address = socket.getaddrinfo(self.address, self.port, flags=socket.AI_NUMERICHOST)[0]
        channel = socket.socket(family, socket.SOCK_DGRAM)
        try:
            channel.setblocking(False)
            channel.connect(address)
        except OSError:
            channel.close()
            raise
        return channel


def is_not_there(error: OSError) -> bool:
    """Whether the system knows of no way to a server: any other failure may be ours (too many open files, say).

    A failure to understand the address is one of its zone: fe80::1%eth0 where there is no eth0 now.
    """
    return error.errno in _NOT_THERE or isinstance(error, socket.gaierror)


def are_out_of_reach(servers: Sequence[Nameserver], seconds: float = 1.0) -> bool:
    """Whether the system knows at once that nobody is there, at any of them. Any word is somebody's, and silence may be.

    Needs no library for DNS messages: what is said does not matter. seconds: to wait for each.
    """
    return all(_is_out_of_reach(server, seconds) for server in servers)


def _is_out_of_reach(server: Nameserver, seconds: float) -> bool:
    try:
        with server.connect() as channel:
            channel.settimeout(seconds)
            channel.send(_QUESTION)
            channel.recv(1)
    except OSError as error:
        return is_not_there(error)
    return False


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
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
