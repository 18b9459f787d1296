"""Where the lines of the mail log go: standard error, the journal, syslog, or a file.

A line that cannot be written never stops mail: it is lost, and nothing else.
"""

import errno
import os
import socket
import struct
import syslog
import threading
import time
from collections.abc import Callable

INFO, WARNING, ERROR = syslog.LOG_INFO, syslog.LOG_WARNING, syslog.LOG_ERR
AUTO, STDERR, SYSLOG, FILE = "auto", "stderr", "syslog", "file:"
_DEVICE = "/dev/log"
_MODE = 0o640
_PATIENCE = 1
"""Seconds that a syslog daemon gets to take a line."""

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK

Sink = Callable[..., None]
"""Takes a priority and the lines, all that are known at once: one system call is enough for them."""

Clock = Callable[[], float]


class PickupLine(str):
    """A line that Postfix's pickup writes. Log tools count the mail that comes in by that program's name: where a line can have
    a name of its own, it is `smartrelay/pickup`."""

    __slots__ = ()


def open_sink(part: str, where: str = AUTO, *, quiet: bool = False, clock: Clock = time.time, device: str = _DEVICE) -> Sink:
    """Where log lines of this process go. part: "relay", "queue": the second half of the identity `smartrelay/PART`.

    where: "stderr", "syslog", "file:" and a path, or "auto": the journal if standard error is that, else syslog if there is
    one, else standard error. quiet: on a plain standard error say only what is wrong. Cron mails whatever a command prints: a
    pass that logged there would feed itself. device: the socket of syslog. A file is opened by the first line: by then the
    process is the spool's owner.
    """
    names = _Names(part)
    if where.startswith(FILE):
        otherwise = open_sink(part, AUTO, quiet=quiet, clock=clock, device=device)
        return _File(where.removeprefix(FILE), names, clock, otherwise).write
    journal = _is_journal()
    if where == SYSLOG or (where == AUTO and not journal and os.path.exists(device)):
        return _Syslog(device, names, clock).write
    if journal:
        # the journal puts the identity in front: our units name it in SyslogIdentifier=
        return lambda priority, *lines: _write(2, "".join([f"<{priority}>{line}\n" for line in lines]))
    least = ERROR if quiet else syslog.LOG_DEBUG

    def plainly(priority: int, *lines: str) -> None:
        if priority <= least:
            _write(2, "".join([f"{names.of(line)}: {line}\n" for line in lines]))

    return plainly


def obstacle(where: str, *, device: str = _DEVICE) -> str:
    """Why lines cannot go there, as `open_sink` has it; "" for nothing that can be seen now. Nothing is written or made."""
    try:
        if where == SYSLOG:
            _connected(device).close()
        elif where.startswith(FILE):
            path = where.removeprefix(FILE)
            try:
                os.close(os.open(path, _APPEND))
            except FileNotFoundError:
                folder = os.path.dirname(path)
                os.stat(folder)
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None
    except OSError as error:
        return error.strerror or "it does not answer"
    return ""


def _is_journal() -> bool:
    """Whether standard error goes to the journal (systemd.exec(5), $JOURNAL_STREAM)."""
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _write(descriptor: int, text: str) -> None:
    try:
        os.write(descriptor, text.encode("utf-8", "backslashreplace"))  # a third of what sys.stderr takes
    except OSError:
        pass


class _Names:
    """The identities of this process's lines, each with its number."""

    def __init__(self, part: str) -> None:
        self._usual = f"smartrelay/{part}[{os.getpid()}]"
        self._pickup = f"smartrelay/pickup[{os.getpid()}]"

    def of(self, line: str) -> str:
        return self._pickup if isinstance(line, PickupLine) else self._usual


def _moment(now: float) -> str:
    """Local time as syslog has it (RFC 3164 section 4.1.2), in English whatever the locale."""
    at = time.localtime(now)
    return time.asctime(at)[4:19]


class _Syslog:
    """The local syslog. Datagrams of our own, for the C library has one name for all that a process says. A daemon that does
    not read is waited for once, for `_PATIENCE`; from then on what it has no room for is lost, until it reads again."""

    def __init__(self, device: str, names: _Names, clock: Clock) -> None:
        self._device = device
        self._names = names
        self._clock = clock
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._flags = 0

    def write(self, priority: int, *lines: str) -> None:
        head = f"<{syslog.LOG_MAIL | priority}>{_moment(self._clock())}"
        with self._lock:
            for line in lines:
                self._send(f"{head} {self._names.of(line)}: {line}".encode("utf-8", "backslashreplace"))

    def _send(self, data: bytes) -> None:
        for _ in range(2):  # the daemon may have been started anew
            try:
                if self._socket is None:
                    self._socket = _connected(self._device)
                if self._socket.type == socket.SOCK_DGRAM:
                    self._socket.send(data, self._flags)
                    self._flags = 0
                else:
                    self._socket.sendall(data + b"\0", self._flags)
                return
            except BlockingIOError:
                self._flags = socket.MSG_DONTWAIT
                self._close()  # into a stream a part of the line may have gone
                return
            except OSError:
                self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _connected(device: str) -> socket.socket:
    """Raises OSError."""
    try:
        return _of(device, socket.SOCK_DGRAM)
    except OSError:  # some daemons listen for streams
        return _of(device, socket.SOCK_STREAM)


def _of(device: str, kind: socket.SocketKind) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
    try:
        found.setblocking(False)
        found.connect(device)
        found.setblocking(True)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _PATIENCE, 0))
    except OSError:
        found.close()
        raise
    return found


class _File:
    """A file that is appended to, one write for all lines, as syslog writes it. One that was moved away (logrotate) is made
    anew. Where it cannot be opened, the lines go to `otherwise`, with one that says so first."""

    def __init__(self, path: str, names: _Names, clock: Clock, otherwise: Sink) -> None:
        self._path = path
        self._names = names
        self._clock = clock
        self._otherwise = otherwise
        self._host = os.uname().nodename.partition(".")[0]
        self._lock = threading.Lock()
        self._file = -1
        self._complained = False

    def write(self, priority: int, *lines: str) -> None:
        head = f"{_moment(self._clock())} {self._host}"
        with self._lock:
            try:
                self._open()
            except OSError as error:
                if self._file < 0:
                    if not self._complained:
                        self._complained = True
                        why = f"cannot open the log {self._path}: {error.strerror}"
                        self._otherwise(ERROR, f"{why}; its directory must be writable for the owner of the spool")
                    self._otherwise(priority, *lines)
                    return
            _write(self._file, "".join([f"{head} {self._names.of(line)}: {line}\n" for line in lines]))

    def _open(self) -> None:
        """Opens it, unless it is open and still the one that has the name."""
        if self._file >= 0:
            try:
                if os.path.samestat(os.stat(self._path), os.fstat(self._file)):
                    return
            except FileNotFoundError:
                pass
        try:
            found = os.open(self._path, _APPEND | os.O_CREAT | os.O_EXCL, _MODE)
            os.fchmod(found, _MODE)  # whatever the umask says: its group reads logs
        except FileExistsError:
            found = os.open(self._path, _APPEND)
        if self._file >= 0:
            os.close(self._file)
        self._file = found
