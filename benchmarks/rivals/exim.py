"""Exim with a smart host: one or several queue runners, each with one connection for each message."""

import os
import subprocess

from benchmarks import spools
from benchmarks.herd import Herd
from benchmarks.process import Command
from benchmarks.rivals.room import Room
from tests.support.private_root import PrivateRoot

_USER = "Debian-exim"
_PATH = {"PATH": "/usr/sbin:/usr/bin"}
# As Debian's "satellite" has it; `self = send` because the smart host is this machine.
_CONFIGURATION = """\
primary_hostname = bench.example.test
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = /var/spool/exim4
log_file_path = /var/log/exim4/%slog
trusted_users = root
local_interfaces = 127.0.0.1
host_lookup =
begin routers
smarthost:
  driver = manualroute
  transport = remote_smtp_smarthost
  route_list = * 127.0.0.1 byname
  self = send
begin transports
remote_smtp_smarthost:
  driver = smtp
  port = {port}
begin retry
* * F,2h,15m; G,16h,1h,1.5; F,4d,6h
"""


class EximQueue:
    """A queue that so many `exim -qf` flush at once."""

    name = "Exim"
    syncs = "its two files and their directory"

    def __init__(self, folder: str, port: int, *, runners: int = 1) -> None:
        self._root = PrivateRoot(folder, "exim", (_USER,))
        self._runners = runners
        self._root.write("etc/exim4/exim4.conf", _CONFIGURATION.format(port=port))
        for path in ("var/spool/exim4", "var/log/exim4"):
            os.makedirs(f"{folder}/{path}", exist_ok=True)
            os.chown(f"{folder}/{path}", self._root.ids[_USER], self._root.ids[_USER])
        self._input = f"{folder}/var/spool/exim4/input"
        self.herd = Herd()
        self._room: Room | None = None

    def sendmail(self, message: str) -> Command:
        self._room = Room(self._root)
        return Command(["/usr/sbin/exim4", "-odq", "-t", "-i"], message, _PATH, self._room.enter)

    def fill(self, count: int, octets: int) -> None:
        envelope = f"MAIL FROM:<{spools.SENDER}>\r\nRCPT TO:<{spools.RECIPIENT}>\r\nDATA\r\n"
        one = envelope.encode("ascii") + spools.text(octets) + b".\r\n"
        subprocess.run(
            self._root.command("/usr/sbin/exim4", "-odq", "-bS"),
            input=b"HELO localhost\r\n" + one * count + b"QUIT\r\n",
            env=_PATH,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        if self.left() != count:
            raise RuntimeError(f"Exim took {self.left()} of {count} messages")

    def start(self) -> None:
        pass

    def flush(self) -> None:
        for _ in range(self._runners):
            self.herd.start(self._root.command("/usr/sbin/exim4", "-qf"), _PATH)

    def left(self) -> int:
        return sum(name.endswith("-H") for name in os.listdir(self._input))

    def stop(self) -> None:
        if self._room is not None:
            self._room.close()
        self.herd.disband()
        self._root.remove()
