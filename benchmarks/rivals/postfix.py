"""Postfix: its queue manager and its SMTP clients, at Debian's settings or tuned for many messages to one host."""

import os
import time

from benchmarks import postfix
from benchmarks.herd import Herd

_DEFAULT = """\
relayhost = [127.0.0.1]:{port}
inet_protocols = ipv4
smtp_tls_security_level = may
smtp_tls_CApath = /etc/ssl/certs
"""
_TUNED = """\
relayhost = [127.0.0.1]:{port}
inet_protocols = ipv4
smtp_tls_security_level = none
default_destination_concurrency_limit = 50
initial_destination_concurrency = 20
in_flow_delay = 0
"""
_SERVICES = """\
smtp      unix  -       -       n       -       -       smtp
relay     unix  -       -       n       -       -       smtp
bounce    unix  -       -       n       -       0       bounce
trace     unix  -       -       n       -       0       bounce
scache    unix  -       -       n       -       1       scache
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
proxymap  unix  -       -       n       -       -       proxymap
"""


class PostfixQueue:
    """An instance whose deferred queue is flushed by `postqueue -f`."""

    name = "Postfix"

    def __init__(self, folder: str, port: int, *, tuned: bool = False) -> None:
        self.herd = Herd()
        settings = (_TUNED if tuned else _DEFAULT).format(port=port)
        self._postfix = postfix.Postfix(folder, settings, _SERVICES)
        self._queue = f"{folder}/queue"

    def fill(self, count: int, octets: int) -> None:
        self._postfix.fill(count, octets, reasons=False)

    def start(self) -> None:
        self._postfix.start(self.herd.start)
        time.sleep(1)  # the queue manager looks through the queue, and nothing is due

    def flush(self) -> None:
        command = self._postfix.command("postqueue", "-f")
        self.herd.start(command.arguments, command.environment)

    def left(self) -> int:
        return sum(
            len(files) for queue in ("active", "deferred", "incoming") for _, _, files in os.walk(f"{self._queue}/{queue}")
        )

    def stop(self) -> None:
        self._postfix.stop()
        self.herd.disband()
        self._postfix.remove()
