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

_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST = 4, 20, 1
_HEAD = 16
_STATE, _UID = _HEAD + 1, _HEAD + 64
"""Where state and uid stand in the answer: inet_diag_msg of linux/inet_diag.h, behind the head of a netlink message."""

_PATIENCE = 5.0
_BLOCK = 4096


def caller(connection: _socket.socket) -> Caller | None:
    """Who has connected; None for somebody on another host, whom nobody here answers for. Raises OSError where the connection
    is gone already."""
    if connection.family == _socket.AF_UNIX:
        # pid, uid, gid; in a user namespace of its own (PrivateUsers=) everybody would be nobody
        found = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _SO_PEERCRED_SIZE)
        return Caller(int.from_bytes(found[4:8], sys.byteorder))
    there, here = _end(connection.getpeername()), _end(connection.getsockname())
    address = there[0]
    literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
    if not address.startswith("127.") and address not in ("::1", here[0]):
        return None
    return Caller(owner(there, here), literal)


def _end(name: tuple[str, int]) -> tuple[str, int]:
    """Address and port of a socket's name, one of IPv4 as such, without the interface behind a link-local one."""
    return name[0].removeprefix(_MAPPED).partition("%")[0], name[1]


def owner(there: tuple[str, int], here: tuple[str, int]) -> int:
    """The uid of the socket at the other end of a connection within this host, NOBODY where it is closed already. there, here:
    address and port of that end and of ours.

    Both count: another user's connection to somewhere else may begin at the same address and port.
    """
    uid = by_question(there, here)
    if uid is None:
        uid = by_table(there, here)
    return NOBODY if uid is None else uid


def by_question(there: tuple[str, int], here: tuple[str, int]) -> int | None:
    """The same by a question for that one socket (sock_diag(7)), which takes a thousandth of the time; None where the kernel
    does not answer it, or knows no such socket."""
    family = _socket.AF_INET6 if ":" in there[0] else _socket.AF_INET
    addresses = b"".join(_socket.inet_pton(family, address).ljust(16, b"\0") for address, _ in (there, here))
    ports = there[1].to_bytes(2, "big") + here[1].to_bytes(2, "big")
    # whatever its state, interface and cookie
    wanted = bytes((family, _socket.IPPROTO_TCP, 0, 0)) + b"\xff" * 4 + ports + addresses + bytes(4) + b"\xff" * 8
    head = _number(_HEAD + len(wanted), 4) + _number(_SOCK_DIAG_BY_FAMILY, 2) + _number(_NLM_F_REQUEST, 2) + bytes(8)
    try:
        kernel = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG)
    except OSError:
        return None
    try:
        kernel.settimeout(_PATIENCE)
        kernel.sendto(head + wanted, (0, 0))
        answer = kernel.recv(_BLOCK)
    except OSError:
        return None
    finally:
        kernel.close()
    if int.from_bytes(answer[4:6], sys.byteorder) != _SOCK_DIAG_BY_FAMILY:
        return None
    # of a socket that its program has closed the kernel may say that it is root's
    return int.from_bytes(answer[_UID : _UID + 4], sys.byteorder) if answer[_STATE] == int(_ESTABLISHED, 16) else NOBODY


def by_table(there: tuple[str, int], here: tuple[str, int]) -> int | None:
    """The same from the table of all sockets; None where it has no such one that is open."""
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        text = _read(table)
        for mapped in ("", _MAPPED):
            wanted = f": {_in_hexadecimal(there, mapped)} {_in_hexadecimal(here, mapped)} {_ESTABLISHED} ".encode("ascii")
            # there may be a hundred thousand lines
            _, found, rest = text.partition(wanted)
            if found:
                return int(rest.split(maxsplit=4)[3])
    return None


def _number(value: int, octets: int) -> bytes:
    return value.to_bytes(octets, sys.byteorder)


def _in_hexadecimal(end: tuple[str, int], mapped: str) -> str:
    """An end of a connection as the kernel's tables have it: words of 32 bits in this machine's order. mapped: what makes an
    address of IPv4 one of IPv6."""
    address = end[0] if ":" in end[0] else mapped + end[0]
    octets = _socket.inet_pton(_socket.AF_INET6 if ":" in address else _socket.AF_INET, address)
    words = "".join(f"{int.from_bytes(octets[at : at + 4], sys.byteorder):08X}" for at in range(0, len(octets), 4))
    return f"{words}:{end[1]:04X}"


def _read(path: str) -> bytes:
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return b""
    try:
        pieces = []
        while piece := posix.read(descriptor, 1 << 16):
            pieces.append(piece)
    finally:
        posix.close(descriptor)
    return b"".join(pieces)
