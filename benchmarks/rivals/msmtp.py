"""msmtp's queue script: a shell that starts one msmtp for each message."""

import os

from benchmarks import spools
from benchmarks.herd import Herd
from benchmarks.process import Command
from benchmarks.rivals.room import Room
from tests.support.private_root import PrivateRoot

_SCRIPTS = "/usr/libexec/msmtp/msmtpq"
_ENQUEUE = "/usr/libexec/msmtp/msmtpqueue/msmtp-enqueue.sh"
"""Its other scripts: this one queues without trying to send first."""

_CONFIGURATION = """\
defaults
logfile /tmp/.msmtp.log
account default
host 127.0.0.1
port {port}
from sender@bench.example.test
tls off
auth off
domain bench.example.test
"""


class MsmtpQueue:
    """A queue that `msmtp-queue -r` flushes."""

    name = "msmtp"
    syncs = "nothing"

    def __init__(self, folder: str, port: int) -> None:
        self._root = PrivateRoot(folder, "msmtp")
        os.chmod(self._root.write("tmp/.msmtprc", _CONFIGURATION.format(port=port)), 0o600)
        self._queue = f"{folder}/tmp/.msmtp.queue"
        os.mkdir(self._queue, 0o700)
        self.herd = Herd()
        self._room: Room | None = None

    def sendmail(self, message: str) -> Command:
        self._queue = f"{self._root.folder}/tmp/.msmtpqueue"
        self._room = Room(self._root)
        return Command([_ENQUEUE, "-t", "-i"], message, {"HOME": "/tmp", "PATH": "/usr/bin:/bin"}, self._room.enter)

    def fill(self, count: int, octets: int) -> None:
        text = spools.text(octets).decode("ascii")
        for number in range(count):
            name = f"tmp/.msmtp.queue/2026-11-22-{number:06}"
            self._root.write(f"{name}.mail", text)
            self._root.write(f"{name}.msmtp", f"{spools.RECIPIENT}\n")

    def start(self) -> None:
        pass

    def flush(self) -> None:
        # x: no test whether there is a connection, which it would make over the Internet.
        environment = {"HOME": "/tmp", "PATH": f"{_SCRIPTS}:/usr/bin:/bin", "EMAIL_QUEUE_QUIET": "t", "EMAIL_CONN_TEST": "x"}
        self.herd.start(self._root.command(f"{_SCRIPTS}/msmtp-queue", "-r"), environment)

    def left(self) -> int:
        return len(os.listdir(self._queue)) // 2

    def stop(self) -> None:
        if self._room is not None:
            self._room.close()
        self.herd.disband()
        self._root.remove()
