"""nullmailer: one message after the other, each over a connection and a process of its own."""

import os
import pwd
import time

from benchmarks import spools
from benchmarks.herd import Herd
from benchmarks.process import Command
from benchmarks.rivals.room import Room
from tests.support.private_root import PrivateRoot


class NullmailerQueue:
    """A queue that `nullmailer-send` flushes when it starts."""

    name = "nullmailer"
    syncs = "file and directory"

    def __init__(self, folder: str, port: int) -> None:
        self._root = PrivateRoot(folder, "nullmailer")
        self._spool = f"{folder}/var/spool/nullmailer"
        self._user = pwd.getpwnam("mail")
        for name, text in (
            ("defaultdomain", "example.test\n"),
            ("remotes", f"127.0.0.1 smtp port={port}\n"),
        ):
            self._own(self._root.write(f"etc/nullmailer/{name}", text), 0o600)
        self._root.write("etc/mailname", "bench.example.test\n")  # Debian's takes no notice of its own file for that
        os.mkfifo(f"{self._spool}/trigger")
        self._own(f"{self._spool}/trigger", 0o622)
        for path in (self._spool, *(f"{self._spool}/{name}" for name in ("queue", "tmp", "failed"))):
            self._own(path, 0o700)
        self.herd = Herd()
        self._room: Room | None = None

    def sendmail(self, message: str) -> Command:
        self._room = Room(self._root)
        return Command(["/usr/sbin/sendmail", "-t", "-i"], message, {"PATH": "/usr/sbin:/usr/bin"}, self._room.enter)

    def _own(self, path: str, mode: int) -> None:
        os.chown(path, self._user.pw_uid, self._user.pw_gid)
        os.chmod(path, mode)

    def fill(self, count: int, octets: int) -> None:
        text = f"{spools.SENDER}\n{spools.RECIPIENT}\n\n" + spools.text(octets).decode("ascii")
        now = int(time.time())
        for number in range(count):
            self._own(self._root.write(f"var/spool/nullmailer/queue/{now}.{100_000 + number}", text), 0o600)

    def start(self) -> None:
        pass

    def flush(self) -> None:
        ids = ["--reuid", str(self._user.pw_uid), "--regid", str(self._user.pw_gid), "--clear-groups"]
        self.herd.start(self._root.command("/usr/bin/setpriv", *ids, "/usr/sbin/nullmailer-send"), {"PATH": "/usr/bin"})

    def left(self) -> int:
        return len(os.listdir(f"{self._spool}/queue"))

    def stop(self) -> None:
        if self._room is not None:
            self._room.close()
        self.herd.disband()
        self._root.remove()
