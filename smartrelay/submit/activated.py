"""The process that a socket unit starts: it serves all callers of the unit's sockets, and ends when none has come for a while.

`sendmail -bs` becomes this where systemd has handed over listening sockets (`Accept=no`): one process for everybody, so that a
flood of connections starts nothing, and the second caller finds it warm.
"""

import _socket
import posix

from smartrelay import settings
from smartrelay.errors import EX_OK, SmartRelayError
from smartrelay.spool import access
from smartrelay.submit.pipe import load, reporter
from smartrelay.submit.server import Server

IDLE = 30.0
"""Seconds without a caller after which it ends; the sockets stay, and the next caller starts it again."""


def serve(listeners: list[_socket.socket], config: str, spool: str, *, passed_on: bool = False) -> int:
    """Serves until nobody comes any more, or a signal ends it; the exit code. passed_on: the mail began elsewhere."""
    import _signal  # type: ignore[import-not-found]

    report = reporter()
    try:
        found = settings.load(config, spool)
        report = reporter(found.log)
        load(found.spool)
        access.enter(found.spool, direct=found.direct)
    except SmartRelayError as error:
        report(error)
        return error.exit_code
    server = Server(listeners, found, posix.getuid(), report, idle=IDLE, passed_on=passed_on)
    for number in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP):
        _signal.signal(number, lambda *_: server.stop())
    server.run()
    return EX_OK
