"""A Debian system of its own for each test: the programs of its packages, with smartrelay in sendmail's place.

/usr and /etc are this machine's with the packages laid over them; /var and /run are private. It is mounted in the mount
namespace of each command only, so that whatever looks for /usr/sbin/sendmail finds ours, and this machine's own is never
touched. All of smartrelay's places are the default ones: the programs that call it clear the environment, each in its way.
"""

import glob
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message

from smartrelay.mail import stored
from smartrelay.mail.envelope import Envelope
from tests.e2e.commands import HOSTNAME, SENDMAIL, Machine, Result, Running
from tests.support import debian
from tests.support.activation import activated
from tests.support.process import NOBODY, free_port
from tests.support.smtp_talk import until

JOE = 65533
"""The uid of a user who may not write to the spool."""

DOOR = "run/smartrelay/submit.sock"
PACKAGES = ("callers", "clients")


@dataclass(frozen=True)
class Sent:
    """A message in the queue: what is in its envelope, and its text, parsed and to the octet."""

    envelope: Envelope
    parsed: Message
    text: bytes

    @property
    def sender(self) -> str:
        """The reverse path."""
        return self.envelope.reverse_path

    @property
    def recipients(self) -> list[str]:
        """The recipients' addresses, in order."""
        return [each.address for each in self.envelope.recipients]

    @property
    def body(self) -> bytes:
        """What is below the header, to the octet."""
        return self.text.partition(b"\n\n")[2]

    @property
    def content(self) -> str:
        """The body as its reader sees it: transfer encoding and charset undone."""
        content = self.parsed.get_payload(decode=True)
        assert isinstance(content, bytes)
        return content.decode(str(self.parsed.get_content_charset("ascii")))

    def field(self, name: str) -> str:
        """The field of this name, decoded and on one line; it must be there once."""
        return field(self.parsed, name)


def field(message: Message, name: str) -> str:
    """A field of any message: decoded and on one line. It must be there once."""
    (value,) = (value for each, value in message.raw_items() if each.lower() == name.lower())
    text = str(value).encode("ascii", "surrogateescape").decode()
    return re.sub(r"\n\s+", " ", str(make_header(decode_header(text))))


class System(Machine):
    """The system in `folder`. root writes to the spool, which belongs to nobody; joe (Joe Doe) has only the socket."""

    def __init__(self, folder: str) -> None:
        self.own = os.path.join(folder, "system")
        for path in ("etc/smartrelay", "host", "home", "run/smartrelay", "usr/bin", "usr/lib", "usr/sbin", "var"):
            os.makedirs(f"{self.own}/{path}")
        self.etc = f"{self.own}/etc"
        self._furnish()
        self._script = self._mounts()
        super().__init__(folder)
        self.port = free_port()
        os.chmod(self.folder, 0o755)
        self.spool = f"{self.own}/var/spool/smartrelay"
        os.mkdir(self.spool, 0o700)
        os.chown(self.spool, NOBODY, NOBODY)
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "TERM": "dumb"}
        self.config = f"{self.etc}/smartrelay/smartrelay.toml"
        self.configure()

    def _furnish(self) -> None:
        for place in ("lib", "sbin"):
            os.symlink(SENDMAIL, f"{self.own}/usr/{place}/sendmail")
        (php,) = glob.glob(debian.program("callers", "usr/bin/php?.?"))
        for name, program in (("mail", "bsd-mailx"), ("php", os.path.basename(php))):  # as Debian's alternatives have it
            os.symlink(program, f"{self.own}/usr/bin/{name}")
        for path in ("cache", "lib", "log", "mail", "spool", "tmp"):
            os.mkdir(f"{self.own}/var/{path}")
        for path in ("mail", "tmp"):
            os.chmod(f"{self.own}/var/{path}", 0o1777)
        os.symlink("/run", f"{self.own}/var/run")
        self.write("hosts", f"127.0.0.1 localhost\n127.0.1.1 {HOSTNAME}\n")
        self.write("passwd", _without_joe("/etc/passwd") + f"joe:x:{JOE}:{JOE}:Joe Doe,,,:{self.own}/home/joe:/bin/sh\n")
        self.write("group", _without_joe("/etc/group") + f"joe:x:{JOE}:\n")
        # accounts that are not in the shadow file are expired, by PAM
        self.write("shadow", "root:*:19000:0:99999:7:::\njoe:*:19000:0:99999:7:::\n")
        for user, uid in (("joe", JOE), ("root", 0)):
            os.mkdir(f"{self.own}/home/{user}")
            os.chown(f"{self.own}/home/{user}", uid, uid)

    def _mounts(self) -> str:
        """The shell commands that make a mount namespace this system, and run a command there.

        Our Python, our code and this folder must be in reach of joe, who cannot go through a folder that is root's alone: such
        a folder is covered by one that has nothing else in it.
        """
        own = self.own
        needed = (sys.base_prefix, debian.ROOT, os.path.dirname(own))
        covers = {closed: f"{own}/opened{closed}" for closed in map(_closed, needed) if closed}
        covers |= {"/run": f"{own}/run", "/var": f"{own}/var"}  # last: this folder itself may lie below /var
        lines = [f"echo {HOSTNAME} >/proc/sys/kernel/hostname"]
        for path in needed:
            for top, cover in covers.items():
                if path.startswith(f"{top}/"):
                    os.makedirs(cover + path.removeprefix(top), exist_ok=True)
                    lines.append(_mount("--bind", path, cover + path.removeprefix(top)))
        # an overlay cannot lie on another one: this machine's own is kept at hand for what is mounted below it
        lines.append(_mount("--bind", "/usr", f"{own}/host"))
        lines += [self._overlay("/usr", "usr"), self._overlay("/usr/lib", "usr/lib", "lib")]
        lines += [self._overlay("/usr/sbin", "usr/sbin", "sbin"), self._overlay("/etc", "etc")]
        lines += [_mount("--rbind", cover, top) for top, cover in covers.items()]
        return "; ".join([*lines, 'exec "$@"'])

    def _overlay(self, top: str, *layers: str) -> str:
        """Mounts at `top` what is there with these folders of ours, and of the packages, laid over it."""
        roots = [self.own, *(debian.root(name) for name in PACKAGES)]
        folders = [f"{root}/{layer}" for root in roots for layer in layers if os.path.isdir(f"{root}/{layer}")]
        lowest = re.sub(r"^/usr", f"{self.own}/host", top)
        return _mount("-t", "overlay", "-o", f"lowerdir={':'.join([*folders, lowest])}", "overlay", top)

    def write(self, path: str, text: str, mode: int = 0o644) -> str:
        """Writes a file below /etc, in whose place it lies for those inside; its path there."""
        outside = f"{self.etc}/{path}"
        os.makedirs(os.path.dirname(outside), exist_ok=True)
        with open(outside, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(outside, mode)
        return f"/etc/{path}"

    def inside(self, *command: str, user: str = "root", own_processes: bool = False) -> list[str]:
        """A command within the system. own_processes: all that it starts ends with it."""
        become = ["setpriv", f"--reuid={JOE}", f"--regid={JOE}", "--clear-groups"] if user == "joe" else []
        home = ["env", f"HOME={self.own}/home/{user}", f"USER={user}", f"LOGNAME={user}"]
        apart = ["--pid", "--kill-child"] if own_processes else []
        # the first process of them must be one that keeps its ids: who changes them is not killed with its parent (prctl(2))
        first = ["/bin/sh", "-c", '"$@" & wait', "sh"] if own_processes else []
        enter = ["unshare", "--mount", "--uts", "--propagation", "private", *apart]
        return [*enter, "/bin/sh", "-ec", self._script, "sh", *become, *home, *first, *command]

    def start_program(self, program: str, *arguments: str, text: bytes | int = b"", env: object = None) -> Running:
        """Start a program inside, as root."""
        assert env is None
        return super().start_program("/usr/bin/env", *self.inside(program, *arguments), text=text)

    def start_daemon(self, *command: str) -> Running:
        """Start a program that stays; whatever it has started ends with it."""
        return super().start_program("/usr/bin/env", *self.inside(*command, own_processes=True))

    def run_inside(self, *command: str, text: bytes = b"", user: str = "root") -> Result:
        """Run a program inside to its end."""
        with super().start_program("/usr/bin/env", *self.inside(*command, user=user), text=text) as running:
            return running.wait()

    def call(self, *command: str, text: bytes = b"", user: str = "root") -> Result:
        """Run a program inside, which must succeed and complain of nothing."""
        result = self.run_inside(*command, text=text, user=user)
        assert (result.code, result.errors) == (0, ""), result
        return result

    @contextmanager
    def serving(self) -> Iterator[None]:
        """With the sockets that socket units would open, and the process that the first caller starts."""
        become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        door = f"{self.own}/{DOOR}"
        with activated([door, f"127.0.0.1:{self.port}"], self.inside(*become, SENDMAIL, "-bs"), self.environment):
            os.chmod(door, 0o666)
            yield

    def queued(self) -> list[str]:
        """The ids of the mail that waits for a pass."""
        return self.ids("new") if os.path.isdir(f"{self.spool}/new") else []

    def sent(self, count: int = 1) -> list[Sent]:
        """The messages in the queue, oldest first, as soon as there are so many."""
        until(lambda: len(self.queued()) >= count)
        ids = self.queued()
        assert len(ids) == count
        return [self._sent(one) for one in ids]

    def _sent(self, one: str) -> Sent:
        with open(self.path(one), "rb") as file:
            envelope = stored.read(file.readline())
            text = file.read()
        return Sent(envelope, message_from_bytes(text), text)


def _mount(*words: str) -> str:
    return shlex.join(["mount", *words])


def _closed(path: str) -> str:
    """The topmost folder on the way to `path` that others cannot go through; "" where there is none."""
    for end in range(1, len(path) + 1):
        if path[end : end + 1] in ("/", "") and not os.stat(path[:end]).st_mode & 0o001:
            return path[:end]
    return ""


def _without_joe(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return "".join(line for line in file if not line.startswith("joe:") and f":{JOE}:" not in line)
