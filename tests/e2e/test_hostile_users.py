"""A hostile user can't read, forge, alter or delete another's mail, fill the disk past min_free_space, or stop others from
sending: two users of this machine, one of whom tries.

The sockets are opened by systemd-socket-activate, as a socket unit does it.
"""

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.e2e.commands import SENDMAIL
from tests.e2e.test_ownership import Host, host
from tests.e2e.test_sockets import TEXT, Hall, hall
from tests.support.process import NOBODY
from tests.support.users import users

__all__ = ["hall", "host"]  # the fixtures
pytestmark = pytest.mark.as_another_user

MIB = 1 << 20


class People(NamedTuple):
    alice: pwd.struct_passwd
    mallory: pwd.struct_passwd


@pytest.fixture
def people(host: Host) -> Iterator[People]:
    """Alice, who sends mail, and Mallory, who wants to stop it."""
    with users(host.folder, "Alice Smith,Room 1", 'Mallory "root" <root@b.example>') as found:
        yield People(*found)


class Attack:
    """A Python program that runs as this user, with the names `connect(path or port)` and `say(connection, text, replies)` in
    it. Leaving the block ends its standard input, and waits."""

    BEGIN = """\
import os, select, socket, sys
def connect(where):
    c = socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET)
    c.connect(where if isinstance(where, str) else ("127.0.0.1", where))
    return c
def hear(c):
    line = b""
    while not (line.endswith(b"\\r\\n") and line[-2 - len(line.split(b"\\r\\n")[-2]):][3:4] == b" "):
        data = c.recv(1)
        if not data:
            return line
        line += data
    return line.split(b"\\r\\n")[-2]
def say(c, text, replies=1):
    c.sendall(text)
    for _ in range(replies):
        last = hear(c)
    return last.decode()
def ready(what=""):
    print(what, flush=True)
"""

    def __init__(self, user: pwd.struct_passwd, script: str, *arguments: str) -> None:
        become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        command = ["setsid", *become, sys.executable, "-c", self.BEGIN + script, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def hear(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def __enter__(self) -> "Attack":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


def send(hall: Hall, user: pwd.struct_passwd, *arguments: str, text: bytes = TEXT) -> str:
    """A user's mail by the sendmail command; its queue id."""
    return hall.by(user.pw_uid).enqueue(text, *(arguments or ("you@b.example",)))


# The disk.


@pytest.fixture
def small_disk(hall: Hall) -> Iterator[Hall]:
    """Whose spool has a file system of 64 MiB, half of which is to stay free, and 400 files."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size=64m,nr_inodes=400,mode=0700,uid={NOBODY}", "tmpfs", hall.spool], check=True
    )
    try:
        top = f'submit_socket = "{hall.door}"\n'
        hall.configure(top=top)
        with open(hall.config, encoding="utf-8") as file:
            text = file.read()
        with open(hall.config, "w", encoding="utf-8") as file:
            file.write(text.replace("min_free_space = 0", 'min_free_space = "32M"'))
        yield hall
    finally:
        subprocess.run(["umount", "--lazy", hall.spool], check=True)


def free(spool: str) -> int:
    space = os.statvfs(spool)
    return space.f_bavail * space.f_frsize


@pytest.mark.parametrize("size", [MIB - 200, 3 * MIB])
@pytest.mark.parametrize("way", ["DATA", "BDAT"])
def test_the_disk_is_not_filled_past_min_free_space_by_many_at_once(
    small_disk: Hall, people: People, size: int, way: str
) -> None:
    """All of them announce one octet, and send together what none of them could send alone."""
    script = """
size, way = int(sys.argv[2]), sys.argv[3]
held = [connect(sys.argv[1]) for _ in range(50)]
for c in held:
    hear(c)
    say(c, b"EHLO c\\r\\n")
    say(c, b"MAIL FROM:<a@b> SIZE=1\\r\\nRCPT TO:<c@d>\\r\\n", 2)
    if way == "DATA":
        say(c, b"DATA\\r\\n")
line = b"x" * 998 + b"\\r\\n"
text = b"Subject: x\\r\\n\\r\\n" + line * (size // 1000)
for at in range(0, len(text), 1 << 16):
    for c in held:
        piece = text[at:at + (1 << 16)]
        if way == "BDAT":
            c.sendall(b"BDAT %d\\r\\n" % len(piece))
        c.sendall(piece)
if way == "DATA":
    replies = [say(c, b"\\r\\n.\\r\\n") for c in held]
else:
    replies = [say(c, b"BDAT 0 LAST\\r\\nNOOP x\\r\\n", -(-len(text) >> 16) + 2 if not i else 1) for i, c in enumerate(held)]
ready()
sys.stdin.read()
"""
    send(small_disk, people.alice)
    with Attack(people.mallory, script, small_disk.door, str(size), way) as attack:
        attack.hear()
        assert free(small_disk.spool) >= 32 * MIB
        # and what is left is not all hers
        send(small_disk, people.alice, text=b"Subject: x\n\n" + b"x" * 998 + b"\n")
    assert free(small_disk.spool) >= 32 * MIB


def test_a_user_leaves_files_for_the_others(small_disk: Hall, people: People) -> None:
    """A file system can run out of files before it runs out of room."""
    script = """
c = connect(sys.argv[1])
hear(c)
say(c, b"EHLO c\\r\\n")
text = b"MAIL FROM:<a@b>\\r\\nRCPT TO:<c@d>\\r\\nDATA\\r\\n"
for number in range(500):
    if "has its share" in say(c, b"MAIL FROM:<a@b>\\r\\n"):
        break
    say(c, b"RCPT TO:<c@d>\\r\\nDATA\\r\\n", 2)
    say(c, b"\\r\\n.\\r\\n")
ready(number)
"""
    send(small_disk, people.alice)
    with Attack(people.mallory, script, small_disk.door) as attack:
        assert 50 < int(attack.hear()) < 350
    send(small_disk, people.alice)


def test_the_largest_headers_of_many_at_once_take_no_more_memory_than_one(hall: Hall, people: People) -> None:  # F-053
    """And nobody waits for all of them."""
    script = """
held = [connect(sys.argv[1]) for _ in range(8)]
for c in held:
    hear(c)
    say(c, b"EHLO c\\r\\n")
    say(c, b"MAIL FROM:<a@b>\\r\\nRCPT TO:<c@d>\\r\\nDATA\\r\\n", 3)
    c.sendall(b"a:\\r\\n" * 200_000)
for c in held:
    c.sendall(b"\\r\\n.\\r\\n")
ready()
ready(" ".join(hear(c).decode() for c in held))
"""
    send(hall, people.alice)
    with Attack(people.mallory, script, hall.door) as attack:
        attack.hear()
        send(hall, people.alice)
        assert attack.hear().count("queued as") == 8
    with open(f"/proc/{hall.process.pid}/status", encoding="ascii") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
    assert peak < 160 << 10


def test_a_flood_of_connections_lets_others_in_all_the_same(hall: Hall, people: People) -> None:
    """Who has all connections that one may have, and knocks again and again."""
    script = """
held = [connect(sys.argv[1]) for _ in range(60)]
for _ in range(3):
    if not os.fork():
        while True:
            connect(sys.argv[1]).close()
ready()
sys.stdin.read()
os.killpg(0, 9)
"""
    with Attack(people.mallory, script, hall.door) as attack:
        attack.hear()
        for _ in range(3):
            send(hall, people.alice)
    assert len(hall.ids("new")) == 3


def test_a_set_uid_program_is_not_led_by_its_callers_environment(hall: Hall, people: People) -> None:
    """What it sends as root goes where root's mail goes, and says who called it."""
    mallory = people.mallory
    own = f"{mallory.pw_dir}/spool"
    os.mkdir(own, 0o700)
    os.chown(own, mallory.pw_uid, mallory.pw_gid)
    environment = {**hall.environment, "SMARTRELAY_SPOOL": own, "SMARTRELAY_HOSTNAME": "evil.example", "NAME": "root"}
    become = ["setpriv", f"--ruid={mallory.pw_uid}", "--euid=0", "--clear-groups"]
    with open(hall.config, encoding="utf-8") as file:
        text = file.read()
    with open(hall.config, "w", encoding="utf-8") as file:
        file.write(f'spool = "{hall.spool}"\n{text}')
    for mode in (["you@b.example"], ["-bs"]):
        talk = b"EHLO c\nMAIL FROM:<a@b>\nRCPT TO:<c@d>\nDATA\nx\n.\nQUIT\n"
        command = [*become, SENDMAIL, "--config", hall.config, *mode]
        subprocess.run(command, input=talk, env=environment, check=True, capture_output=True)
    assert os.listdir(own) == []
    found = hall.ids("new")
    assert [hall.envelope(one).uid for one in found] == [mallory.pw_uid] * 2
    assert all(b"evil.example" not in hall.text(one) for one in found)
    assert b"\nFrom: root" not in hall.text(found[0])
