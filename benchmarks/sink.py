"""Postfix's smtp-sink, which keeps nothing of what it gets, counts what it took, and offers PIPELINING."""

import os
import pwd

from tests.support import debian
from tests.support.process import NOBODY, ServerProcess

NAME = "sink.example.test"
_SESSIONS = 2000


class Sink(ServerProcess):
    """A running smtp-sink; with `counting` it says all the time how much it took, as rivals need: they never say when they
    are through."""

    def __init__(self, *, counting: bool = False) -> None:
        super().__init__()
        user = ["-u", pwd.getpwuid(NOBODY).pw_name] if os.getuid() == 0 else []
        counters = ["-c"] if counting else []
        program = debian.program("postfix", "usr/sbin/smtp-sink")
        self.run(
            lambda port: [program, *user, *counters, "-m", str(_SESSIONS), "-h", NAME, f"127.0.0.1:{port}", "1000"],
            greeting=NAME.encode(),
            environment=debian.environment("postfix", self.folder),
        )

    def taken(self) -> int:
        """How many messages it has taken since it started; 0 as long as none came, or without counting."""
        with open(f"{self.folder}/output", "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 400))
            # Counters as "sess=2 quit=1 mesg=1", each behind a carriage return; the last one may still be half written.
            complete = file.read().rpartition(b"\r")[0]
        return int(complete.rpartition(b"mesg=")[2].split()[0]) if b"mesg=" in complete else 0
