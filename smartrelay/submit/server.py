"""SMTP on sockets: one process for all callers, with a thread for each that it is speaking with.

Who is at the other end is asked of the kernel, before a word is said (`peer`). A caller who has too many connections, or is
not on this host, is told so and costs no thread; where there are too many in all, those that come wait in the kernel's queue.
Nobody waits for the others: what a thread waits for is its own caller, or the disk.

The first caller waits for this process to start: hence `_thread` and `_socket`, for to load what stands above them takes
longer than all the rest.
"""

import _socket
import _thread
import errno
import posix
import select
import time

from smartrelay.settings import Settings
from smartrelay.submit import peer
from smartrelay.submit.fairness import Fairness
from smartrelay.submit.intake import Caller, Intake
from smartrelay.submit.protocol import OVER, Rules
from smartrelay.submit.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_BLOCK = 1 << 16
_LAST_WORDS = 10.0
"""Seconds that those who are being spoken with have at the end, to see the reply to what they have sent whole."""

_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_PAUSE = 0.1


class Server:
    """Serves these listening sockets. uid: the spool's owner, whom nothing is refused. report: told of exceptions that nobody
    foresaw. idle: seconds without a caller after which `run` returns, None for never. most: callers at once. passed_on: the
    mail that comes began elsewhere."""

    def __init__(
        self,
        listeners: list[_socket.socket],
        settings: Settings,
        uid: int,
        report: "Callable[[Exception], None]",
        *,
        idle: float | None = None,
        most: int = 200,
        passed_on: bool = False,
        clock: "Callable[[], float]" = time.monotonic,
    ) -> None:
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._settings = settings
        self._report = report
        self._idle = idle
        self._most = most
        self._passed_on = passed_on
        self._clock = clock
        self._fairness = Fairness(settings, frozenset((0, uid)), clock)
        self._callers = 0
        self._lock = _thread.allocate_lock()
        self._last_seen = clock()
        # pipes, for a signal handler may use them
        self._stopped, self._stop = posix.pipe()
        self._freed, self._free = posix.pipe()
        for descriptor in (self._freed, self._free):
            posix.set_blocking(descriptor, False)

    def run(self) -> None:
        """Serves until `stop` is called, or nobody has come for long enough. Those who are being spoken with are told."""
        while self._wait():
            pass
        posix.write(self._stop, b".")
        end = self._clock() + _LAST_WORDS
        while self._callers and (left := end - self._clock()) > 0:
            if select.select([self._freed], [], [], left)[0]:
                posix.read(self._freed, _BLOCK)

    def stop(self) -> None:
        """Ends `run`, from another thread or a signal handler."""
        posix.write(self._stop, b".")

    def _wait(self) -> bool:
        """Waits for a caller and begins to speak with them; False at the end."""
        poll = select.poll()
        poll.register(self._stopped, select.POLLIN)
        poll.register(self._freed, select.POLLIN)
        if self._callers < self._most:
            for descriptor in self._listeners:
                poll.register(descriptor, select.POLLIN)
        patience = None
        if self._idle is not None and not self._callers:
            left = self._last_seen + self._idle - self._clock()
            if left <= 0 and not self._fairness.strained:
                return False
            patience = max(left, 1.0) * 1000
        for descriptor, _ in poll.poll(patience):
            if descriptor == self._stopped:
                return False
            if descriptor == self._freed:
                posix.read(self._freed, _BLOCK)
            else:
                self._accept(self._listeners[descriptor])
        return True

    def _accept(self, listener: _socket.socket) -> None:
        try:
            descriptor, _ = listener._accept()  # type: ignore[attr-defined]
        except OSError as error:
            if error.errno in _EXHAUSTED:
                select.select([self._stopped], [], [], _PAUSE)
            return
        connection = _socket.socket(fileno=descriptor)
        self._last_seen = self._clock()
        caller, refusal = self._judged(connection)
        if caller is None:
            _say_and_close(connection, refusal)
            return
        with self._lock:
            self._callers += 1
        try:
            _thread.start_new_thread(self._serve, (connection, caller))
        except RuntimeError:  # no more threads
            with self._lock:
                self._callers -= 1
            self._fairness.leave(caller.uid)
            _say_and_close(connection, f"421 4.3.2 {self._settings.hostname} Too many connections")

    def _judged(self, connection: _socket.socket) -> tuple[Caller | None, str]:
        """Who has connected, or what to say to those that are not served."""
        here = self._settings.hostname
        try:
            caller = peer.caller(connection)
        except OSError:
            return None, ""
        if caller is None:
            return None, f"554 5.7.1 {here} Mail is taken only from programs on this host"
        if not self._fairness.arrive(caller.uid):
            return None, f"421 4.7.0 {here} Too many connections from uid {caller.uid}"
        return caller, ""

    def _serve(self, connection: _socket.socket, caller: Caller) -> None:
        try:
            self._converse(connection, caller)
        except Exception as error:
            self._report(error)
        finally:
            connection.close()
            self._fairness.leave(caller.uid)
            self._last_seen = self._clock()
            with self._lock:
                self._callers -= 1
            try:
                posix.write(self._free, b".")
            except BlockingIOError:
                pass  # it has not looked yet at those before

    def _converse(self, connection: _socket.socket, caller: Caller) -> None:
        settings = self._settings
        rules = Rules(settings.hostname, settings.max_message_size, one_at_a_time=bool(caller.literal))
        session = Session(rules, Intake(settings, caller, self._fairness, passed_on=self._passed_on), self._report)
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        connection.settimeout(rules.patience)
        if caller.literal:
            connection.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
            if poll.poll(0) and _has_spoken(connection):
                _say_and_close(connection, "554 5.5.0 You have to wait for the greeting")
                return
        poll.register(self._stopped, select.POLLIN)
        try:
            connection.sendall(session.greeting())
            while session.state != OVER:
                ready = dict(poll.poll(rules.patience * 1000))
                if connection.fileno() in ready:
                    data = connection.recv(_BLOCK)
                    if not data:
                        return
                    replies = session.receive(data)
                    if session.pause:
                        select.select([self._stopped], [], [], session.pause)
                    connection.sendall(replies)
                else:
                    connection.sendall(session.stop() if ready else session.timed_out())
        except OSError:
            pass  # they have gone
        finally:
            session.close()


def _has_spoken(connection: _socket.socket) -> bool:
    """Whether there is something to read, and not only the end."""
    try:
        return bool(connection.recv(1, _socket.MSG_PEEK))
    except OSError:
        return False


def _say_and_close(connection: _socket.socket, reply: str) -> None:
    try:
        connection.settimeout(0)
        if reply:
            connection.send(f"{reply}\r\n".encode("ascii", "replace"))
    except OSError:
        pass
    connection.close()
