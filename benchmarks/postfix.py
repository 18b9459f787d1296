"""Postfix from Debian's package, unpacked and never installed, on directories of its own.

It wants a user for its queue and a group for its commands that nothing else uses in this instance: Debian's base system
has `news` and `uucp`, so that no name service has to be wrapped, which would slow it down. Only root may run it so.
"""

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from grp import getgrnam

from benchmarks.process import Command
from benchmarks.spools import REASON, RECIPIENT, SENDER
from tests.support import debian

Start = Callable[[list[str], dict[str, str]], "subprocess.Popen[bytes]"]
_OWNER, _GROUP = "news", "uucp"
_OWNED = ("incoming", "active", "bounce", "defer", "deferred", "flush", "saved", "trace", "corrupt", "hold", "private")
_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = {root}/usr/sbin
daemon_directory = {root}/usr/lib/postfix/sbin
shlib_directory = {root}/usr/lib/postfix
meta_directory = {root}/etc/postfix
mail_owner = {owner}
setgid_group = {group}
myhostname = bench.example.test
mydestination =
inet_interfaces = loopback-only
alias_maps =
import_environment = MAIL_CONFIG LD_LIBRARY_PATH
export_environment = MAIL_CONFIG LD_LIBRARY_PATH
"""
_MASTER = """\
qmgr      unix  n       -       n       300     1       qmgr
rewrite   unix  -       -       n       -       -       trivial-rewrite
defer     unix  -       -       n       -       0       bounce
showq     unix  n       -       n       -       -       showq
retry     unix  -       -       n       -       -       error
"""


def usable() -> bool:
    """Whether Postfix can be measured here."""
    return os.geteuid() == 0


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0)


class Postfix:
    """One instance in `folder`; its daemons run only between `start` and `stop`.

    settings, services: more lines of its own for main.cf and master.cf; by themselves nothing is ever relayed.
    """

    name = "Postfix"
    syncs = "the file"

    def __init__(self, folder: str, settings: str = "defer_transports = smtp\n", services: str = "") -> None:
        self._folder = folder
        self._root = debian.root("postfix")
        self._queue = f"{folder}/queue"
        self._master: subprocess.Popen[bytes] | None = None
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "MAIL_CONFIG": f"{folder}/conf",
            "LD_LIBRARY_PATH": f"{self._root}/usr/lib/postfix",
        }
        self._uid = pwd.getpwnam(_OWNER).pw_uid
        for name in ("conf", "data", "queue", "queue/pid", *(f"queue/{each}" for each in _OWNED)):
            os.makedirs(f"{folder}/{name}")
            os.chmod(f"{folder}/{name}", 0o755)
        for name in ("data", *(f"queue/{each}" for each in _OWNED)):
            os.chmod(f"{folder}/{name}", 0o700)
            os.chown(f"{folder}/{name}", self._uid, -1)
        for name, mode in (("public", 0o710), ("maildrop", 0o730)):
            os.mkdir(f"{self._queue}/{name}")
            os.chmod(f"{self._queue}/{name}", mode)
            os.chown(f"{self._queue}/{name}", self._uid, getgrnam(_GROUP).gr_gid)
        main = _MAIN.format(folder=folder, root=self._root, owner=_OWNER, group=_GROUP)
        for name, text in (("main.cf", main + settings), ("master.cf", _MASTER + services)):
            with open(f"{folder}/conf/{name}", "w", encoding="utf-8") as file:
                file.write(text)
        self._pickup = -1

    def command(self, name: str, *arguments: str, stdin: str = os.devnull) -> Command:
        """A call of one of its commands, such as `sendmail`."""
        return Command([f"{self._root}/usr/sbin/{name}", *arguments], stdin, self.environment)

    def sendmail(self, message: str) -> Command:
        """A call that leaves the message in this file for the pickup daemon; once."""
        self.hear_submissions()
        return self.command("sendmail", "-t", "-i", stdin=message)

    def hear_submissions(self) -> None:
        """Stands in for the pickup daemon, which sendmail wakes and does not wait for: no daemon takes its time away."""
        path = f"{self._queue}/public/pickup"
        os.mkfifo(path, 0o622)
        self._pickup = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def left(self) -> int:
        """How many messages sendmail has left for the pickup daemon."""
        return len(os.listdir(f"{self._queue}/maildrop"))

    def held(self) -> int:
        """How many messages are in the hold queue."""
        return sum(len(names) for _, _, names in os.walk(f"{self._queue}/hold"))

    def fill(self, count: int, octets: int, *, reasons: bool = True) -> None:
        """Deferred messages, with their reasons if wanted, in the form of Postfix 3's queue files, not due for an hour."""
        now = int(time.time())
        for number in range(count):
            name = f"{number % 0xFFFFF:05X}{0x100000 + number:X}"
            content, defer = _queue_file(octets, now, name), _defer_file()
            for queue, mode, text in (("deferred", 0o700, content), ("defer", 0o600, defer))[: 1 + reasons]:
                folder = f"{self._queue}/{queue}/{name[0]}"
                if not os.path.isdir(folder):
                    os.mkdir(folder, 0o700)
                    os.chown(folder, self._uid, -1)
                with open(f"{folder}/{name}", "wb") as file:
                    file.write(text)
                    os.fchmod(file.fileno(), mode)
                    os.fchown(file.fileno(), self._uid, -1)
            os.utime(f"{self._queue}/deferred/{name[0]}/{name}", (now + 3600, now + 3600))

    def start(self, start: Start = _start) -> None:
        """Starts the daemons by `start`; returns when they answer."""
        command = [f"{self._root}/usr/lib/postfix/sbin/master", "-d", "-c", self.environment["MAIL_CONFIG"]]
        self._master = start(command, self.environment)
        for _ in range(200):
            try:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(f"{self._queue}/public/showq")
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("Postfix does not start")

    def stop(self) -> None:
        """Ends the daemons, if they run."""
        if self._master is not None:
            self._master.terminate()  # the master ends all that it has started
            self._master.wait(30)
            self._master = None
        if self._pickup >= 0:
            os.close(self._pickup)
            self._pickup = -1
        shutil.rmtree(self._queue, ignore_errors=True)

    def remove(self) -> None:
        """Removes all of it, so that the next one can have the place."""
        shutil.rmtree(self._folder)


def _record(kind: str, value: str) -> bytes:
    data = value.encode("ascii")
    length, head = len(data), b""
    while length > 127:
        head, length = head + bytes([length & 127 | 128]), length >> 7
    return kind.encode("ascii") + head + bytes([length]) + data


def _queue_file(octets: int, arrived: int, name: str) -> bytes:
    """The records of a queue file: size, time, sender, content, recipient."""
    envelope = _record("T", f"{arrived} 0") + _record("A", "rewrite_context=local") + _record("S", SENDER) + _record("M", "")
    lines = [f"Received: by bench.example.test (Postfix, from userid 0) id {name}", f"From: {SENDER}", f"To: {RECIPIENT}", ""]
    lines += ["x" * 71] * (octets // 72)
    content = b"".join(_record("N", line) for line in lines)
    at = len(_record("C", " " * 95)) + len(envelope)
    size = f"{len(content):15} {at:15} {1:15} {0:15} {len(content):15} {0:15}"
    recipient = _record("X", "") + _record("O", RECIPIENT) + _record("R", RECIPIENT) + _record("E", "")
    return _record("C", size) + envelope + content + recipient


def _defer_file() -> bytes:
    lines = [f"<{RECIPIENT}>: {REASON}", f"recipient={RECIPIENT}", "offset=0", "status=4.4.1", "action=delayed"]
    return "\n".join(["", *lines, f"reason={REASON}", ""]).encode("ascii") + b"\n"
