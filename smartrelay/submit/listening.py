"""Listening sockets: those that systemd hands over (sd_listen_fds(3)), and our own."""

import _socket
import posix

from smartrelay.errors import CannotCreate
from smartrelay.settings import environment

_FIRST = 3
_BACKLOG = 4096
_SOCKET_UMASK = 0o111
_KIND, _SOCKET = 0o170000, 0o140000


def handed_over() -> list[_socket.socket]:
    """The sockets that whoever started this process has opened for it; none where it was not meant."""
    count = environment("LISTEN_FDS")
    if environment("LISTEN_PID") != str(posix.getpid()) or not count.isdecimal():
        return []
    found = []
    for descriptor in range(_FIRST, _FIRST + int(count)):
        posix.set_inheritable(descriptor, False)
        found.append(_socket.socket(fileno=descriptor))
        found[-1].setblocking(False)
    return found


def open_all(path: str, addresses: tuple[tuple[str, int], ...]) -> list[_socket.socket]:
    """A UNIX socket at `path` ("" for none), which every user may connect to, and one at each address. Raises CannotCreate."""
    found = []
    where = path
    try:
        if path:
            found.append(_unix(path))
        for address, port in addresses:
            where = f"{address} port {port}"
            found.append(_tcp(address, port))
    except OSError as error:
        raise CannotCreate(f"cannot listen at {where}: {error.strerror or error}") from error
    return found


def _unix(path: str) -> _socket.socket:
    folder = path.rpartition("/")[0]
    try:
        posix.mkdir(folder, 0o755)
        posix.chmod(folder, 0o755)  # whatever the umask says
    except FileExistsError:
        pass
    _remove_stale(path)
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    # not chmod: something else could stand at the path by then
    umask = posix.umask(_SOCKET_UMASK)
    try:
        listener.bind(path)
    finally:
        posix.umask(umask)
    return _ready(listener)


def _remove_stale(path: str) -> None:
    """Takes away a socket that nobody listens at any more, and nothing else."""
    try:
        if posix.lstat(path).st_mode & _KIND != _SOCKET:
            return
    except FileNotFoundError:
        return
    probe = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    probe.setblocking(False)
    try:
        probe.connect(path)
    except ConnectionRefusedError:
        posix.unlink(path)
    except (FileNotFoundError, BlockingIOError):
        pass
    finally:
        probe.close()


def _tcp(address: str, port: int) -> _socket.socket:
    listener = _socket.socket(_socket.AF_INET6 if ":" in address else _socket.AF_INET, _socket.SOCK_STREAM)
    listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    return _ready(listener)


def _ready(listener: _socket.socket) -> _socket.socket:
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener
