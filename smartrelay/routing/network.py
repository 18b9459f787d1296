"""Where this machine is: whether it has a way to anywhere, and which addresses are its own. Nothing is sent to find out."""

import errno
import socket

_ELSEWHERE = ((socket.AF_INET, "203.0.113.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses for documentation (RFC 5737, RFC 3849): whoever has a default route has one to these."""

NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""Errors by which the system says that it knows of no way to an address."""


def is_offline() -> bool:
    """Whether there is no route to the world, by either family: a laptop without a network, a container without one yet."""
    return not any(_has_route(family, address) for family, address in _ELSEWHERE)


def _has_route(family: socket.AddressFamily, address: str) -> bool:
    try:
        # to connect a datagram socket asks the routing table, and sends nothing
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
    except OSError as error:
        return error.errno not in NO_WAY
    return True


def is_local(address: str) -> bool:
    """Whether an IP address is one of this machine's: only to such a one can a socket be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
