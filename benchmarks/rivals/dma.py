"""The DragonFly Mail Agent: one process and one connection for each message, all at once."""

import grp
import os

from benchmarks import spools
from benchmarks.herd import Herd
from benchmarks.process import Command
from benchmarks.rivals.room import Room
from tests.support.private_root import PrivateRoot

_CONFIGURATION = "SMARTHOST 127.0.0.1\nPORT {port}\nMAILNAME bench.example.test\n"
_RECEIVED = """\
Received: from root (uid 0)
\tid {one}
\tby bench.example.test (DragonFly Mail Agent v0.13);
\tSun, 22 Nov 2026 10:00:00 +0000
"""


class DmaQueue:
    """A queue that `dma -q` flushes."""

    name = "dma"
    syncs = "its two files"

    def __init__(self, folder: str, port: int) -> None:
        self._root = PrivateRoot(folder, "dma")
        self._root.write("etc/dma/dma.conf", _CONFIGURATION.format(port=port))
        self._root.write("etc/mailname", "bench.example.test\n")
        self._spool = f"{folder}/var/spool/dma"
        self.herd = Herd()
        self._room: Room | None = None

    def _open(self) -> int:
        """Lets its group in; that group."""
        group = grp.getgrnam("mail").gr_gid
        os.chown(self._spool, -1, group)
        os.chmod(self._spool, 0o2775)
        return group

    def sendmail(self, message: str) -> Command:
        self._open()
        self._root.write("etc/dma/dma.conf", "DEFER\n", more=True)
        self._room = Room(self._root)
        return Command(["/usr/sbin/dma", "-t", "-i"], message, {"PATH": "/usr/sbin:/usr/bin"}, self._room.enter)

    def fill(self, count: int, octets: int) -> None:
        group = self._open()
        text = spools.text(octets).decode("ascii")
        for number in range(count):
            one = f"{0x500000 + number:x}.55d0c0de{number:04x}"
            envelope = f"ID: {one}\nSender: {spools.SENDER}\nRecipient: {spools.RECIPIENT}\n"
            for kind, content in (("M", _RECEIVED.format(one=one) + text), ("Q", envelope)):
                path = self._root.write(f"var/spool/dma/{kind}{one}", content)
                os.chmod(path, 0o660)
                os.chown(path, 0, group)

    def start(self) -> None:
        pass

    def flush(self) -> None:
        self.herd.start(self._root.command("/usr/sbin/dma", "-q"), {"PATH": "/usr/sbin:/usr/bin"})

    def left(self) -> int:
        return sum(name.startswith("Q") for name in os.listdir(self._spool))

    def stop(self) -> None:
        if self._room is not None:
            self._room.close()
        self.herd.disband()
        self._root.remove()
