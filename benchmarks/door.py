"""What a socket unit does: sockets that are open before anybody serves them, and one process that the first caller starts.

What systemd adds to that (a cgroup, a sandbox) is not in it; nor is anything of it in the callers' own processes.
"""

import fcntl
import os
import select
import signal
import socket
from collections.abc import Callable

_FIRST = 3


class Door:
    """`command`, a `sendmail -bs`, behind these listening sockets; enter: what it does before, to become another user."""

    def __init__(self, listeners: list[socket.socket], command: list[str], enter: Callable[[], None]) -> None:
        self._listeners = listeners
        self._command = command
        self._enter = enter
        self._child = 0

    def restart(self) -> None:
        """Ends the process if there is one; the next caller starts another."""
        self.stop()
        self._child = os.fork()
        if self._child == 0:
            try:
                self._become()
            finally:
                os._exit(1)

    def _become(self) -> None:
        environment = {"LISTEN_FDS": str(len(self._listeners)), "LISTEN_PID": str(os.getpid())}
        self._enter()
        select.select(self._listeners, [], [])
        # above where they go to, so that none is overwritten
        copies = [fcntl.fcntl(each, fcntl.F_DUPFD, _FIRST + len(self._listeners)) for each in self._listeners]
        for number, copy in enumerate(copies):
            os.dup2(copy, _FIRST + number)
        os.closerange(_FIRST + len(copies), max(copies) + 1)
        os.execve(self._command[0], self._command, environment)

    def stop(self) -> None:
        """Ends the process if there is one."""
        if self._child:
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)
            self._child = 0
