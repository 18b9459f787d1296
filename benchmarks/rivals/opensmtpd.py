"""OpenSMTPD: one daemon, one connection to a host at its defaults; tuned, many of them."""

import os
import subprocess
import time

from benchmarks import spools
from benchmarks.herd import Herd
from benchmarks.process import Command
from benchmarks.rivals.room import Room
from tests.support import debian
from tests.support.private_root import PrivateRoot
from tests.support.process import free_port

_PATH = {"PATH": "/usr/sbin:/usr/bin"}
_CONFIGURATION = """\
{tuning}listen on 127.0.0.1 port {own} hostname bench.example.test
action "relay" relay host smtp+notls://127.0.0.1:{port}
match from any for any action "relay"
"""
_TUNING = "mta limit max-conn-per-host 50\nmta limit max-conn-per-route 50\nmta limit conn-delay-route 0\n"


class OpensmtpdQueue:
    """A queue that is filled while relaying is paused."""

    name = "OpenSMTPD"
    syncs = "nothing"

    def __init__(self, folder: str, port: int, *, tuned: bool = False) -> None:
        self._root = PrivateRoot(folder, "opensmtpd", ("opensmtpd", "opensmtpq"))
        self._own = free_port()
        text = _CONFIGURATION.format(own=self._own, port=port, tuning=_TUNING if tuned else "")
        self._root.write("etc/smtpd.conf", text)
        self._spool = f"{folder}/var/spool/smtpd"
        os.makedirs(f"{folder}/var/spool", exist_ok=True)
        self.herd = Herd()
        self._room: Room | None = None

    def sendmail(self, message: str) -> Command:
        self._pause()
        self._room = Room(self._root)
        return Command(["/usr/sbin/sendmail", "-t", "-i"], message, _PATH, self._enter)

    def _enter(self) -> None:
        assert self._room is not None
        self._room.enter()
        os.setgid(self._root.ids["opensmtpq"])  # as its mode would have it, if its group were this machine's

    def _pause(self) -> None:
        """Starts it, and keeps it from relaying."""
        self.herd.start(self._root.command("/usr/sbin/smtpd", "-d"), _PATH)
        self._control("pause")

    def fill(self, count: int, octets: int) -> None:
        self._pause()
        # It takes 100 messages in a session, so each gets one of its own.
        source = [debian.program("postfix", "usr/sbin/smtp-source"), "-m", str(count), "-l", str(octets), "-s", "5"]
        addresses = ["-f", spools.SENDER, "-t", spools.RECIPIENT, f"127.0.0.1:{self._own}"]
        libraries = {"LD_LIBRARY_PATH": f"{debian.root('postfix')}/usr/lib/postfix"}
        subprocess.run([*source, *addresses], env=libraries, check=True, capture_output=True, timeout=120)
        for _ in range(500):
            if self.left() == count:
                return
            time.sleep(0.02)
        raise RuntimeError(f"OpenSMTPD took {self.left()} of {count} messages")

    def _control(self, word: str) -> None:
        """Tells the daemon, as soon as it listens."""
        group = ["/usr/bin/setpriv", "--regid", str(self._root.ids["opensmtpq"]), "--clear-groups"]
        command = self._root.command(*group, "/usr/sbin/smtpctl", word, "mta")
        for _ in range(100):
            done = subprocess.run(command, env=_PATH, capture_output=True, check=False)
            if done.returncode == 0:
                return
            time.sleep(0.1)
        raise RuntimeError(f"OpenSMTPD does not answer: {done.stderr!r}")

    def start(self) -> None:
        pass

    def flush(self) -> None:
        self._control("resume")

    def left(self) -> int:
        return sum(len(names) for folder, names, _ in os.walk(f"{self._spool}/queue") if folder != f"{self._spool}/queue")

    def stop(self) -> None:
        if self._room is not None:
            self._room.close()
        self.herd.disband()
        self._root.remove()
