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
    """Whether an IP address is one of this machine's: what is sent there comes from there, or it is any loopback address.

    That a socket can be bound to it proves nothing: with Linux's ip_nonlocal_bind it can be to every address.
    """
    from ipaddress import IPv6Address, ip_address  # only mail exchangers need it

    where = ip_address(address)
    if isinstance(where, IPv6Address) and where.ipv4_mapped is not None:
        where = where.ipv4_mapped
    if where.is_loopback or where.is_unspecified:
        return True
    try:
        with socket.socket(socket.AF_INET if where.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect((str(where), 9))
            return ip_address(probe.getsockname()[0]) == where
    except OSError:
        return False
