"""A line to a server on loopback that takes its time: this kernel may have no netem, so a process keeps the octets back."""

import os
import socket
import sys
import time

from benchmarks.process import plain_environment
from tests.support.process import ServerProcess

MILLISECONDS = 20
_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "delay_line.py")


class Line(ServerProcess):
    """A running line to the server at `port`, which greets with `greeting`; round_trip: what it really takes, in seconds,
    when no other load is in the way."""

    def __init__(self, port: int, greeting: str, milliseconds: float = MILLISECONDS) -> None:
        super().__init__()
        self.run(
            lambda own: [sys.executable, "-I", "-S", _PROGRAM, str(own), str(port), str(milliseconds)],
            greeting=greeting.encode(),
            environment=plain_environment(),
        )
        try:
            self.round_trip = self._measured()
        except BaseException:
            self.stop()
            raise

    def _measured(self) -> float:
        """The least of a few NOOPs: Exim hangs up after ten."""
        times = []
        with socket.create_connection(("127.0.0.1", self.port)) as connection, connection.makefile("rb") as replies:
            replies.readline()
            for _ in range(9):
                begin = time.perf_counter()
                connection.sendall(b"NOOP\r\n")
                if not replies.readline().startswith((b"250", b"500")):
                    raise RuntimeError("the server does not answer NOOP")
                times.append(time.perf_counter() - begin)
        return min(times)
