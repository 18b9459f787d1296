"""Who is at the other end of a socket, by what the kernel says and not by what they say."""

import _socket
import posix
import sys

from smartrelay.submit.intake import Caller

NOBODY = 65534
"""The uid of who cannot be known: the kernel's own word for a user that does not exist here (user_namespaces(7))."""

_SO_PEERCRED_SIZE = 12
_ESTABLISHED = "01"
_MAPPED = "::ffff:"


def caller(connection: _socket.socket) -> Caller | None:
    """Who has connected; None for somebody on another host, whom nobody here answers for. Raises OSError where the connection
    is gone already."""
    if connection.family == _socket.AF_UNIX:
        # pid, uid, gid; in a user namespace of its own (PrivateUsers=) everybody would be nobody
        found = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _SO_PEERCRED_SIZE)
        return Caller(int.from_bytes(found[4:8], sys.byteorder))
    there, here = connection.getpeername(), connection.getsockname()
    address = there[0].removeprefix(_MAPPED)
    literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
    if not address.startswith("127.") and address != "::1" and there[0] != here[0]:
        return None
    return Caller(owner(address, there[1], here[1]), literal)


def owner(address: str, port: int, our_port: int) -> int:
    """The uid of the socket at the other end of a connection within this host, NOBODY where it is closed already."""
    wanted = _in_hexadecimal(address, port)
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        for line in _lines(table):
            words = line.split()
            # of a socket that its program has closed the kernel says that it is root's
            if words[1:2] and words[1] in wanted and words[3] == _ESTABLISHED and words[2].endswith(f":{our_port:04X}"):
                return int(words[7])
    return NOBODY


def _in_hexadecimal(address: str, port: int) -> list[str]:
    """An address as the kernel's tables have it: words of 32 bits in this machine's order."""
    octets = _socket.inet_pton(_socket.AF_INET6 if ":" in address else _socket.AF_INET, address)
    words = "".join(f"{int.from_bytes(octets[at : at + 4], sys.byteorder):08X}" for at in range(0, len(octets), 4))
    mapped = _in_hexadecimal(_MAPPED + address, port) if len(octets) == 4 else []
    return [f"{words}:{port:04X}", *mapped]


def _lines(path: str) -> list[str]:
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return []
    try:
        pieces = []
        while piece := posix.read(descriptor, 1 << 16):
            pieces.append(piece)
    finally:
        posix.close(descriptor)
    return b"".join(pieces).decode("ascii", "replace").split("\n")[1:]
