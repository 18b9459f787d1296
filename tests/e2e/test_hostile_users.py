"""A hostile user can't read, forge, alter or delete another's mail, fill the disk past min_free_space, or stop others from
sending: two users of this machine, one of whom tries.

The sockets are opened by systemd-socket-activate, as a socket unit does it.
"""

import os
import pwd
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.e2e.commands import SENDMAIL
from tests.e2e.test_ownership import Host, host
from tests.e2e.test_sockets import TEXT, Hall, hall
from tests.support.process import NOBODY, free_port
from tests.support.smtp_talk import until
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
    it, in a process group of its own. Leaving the block ends its standard input, and waits."""

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
    last = b""
    for _ in range(replies):
        last = hear(c)
    return last.decode()
def ready(what=""):
    print(what, flush=True)
"""

    def __init__(self, user: pwd.struct_passwd, script: str, *arguments: str) -> None:
        become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        command = ["timeout", "60", *become, sys.executable, "-c", self.BEGIN + script, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def hear(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def __enter__(self) -> "Attack":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.process.terminate()
        self.process.communicate()
        assert kind is not None or self.process.returncode in (0, -signal.SIGKILL), "the attack itself has failed"


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
def free():
    space = os.statvfs(sys.argv[4])
    return space.f_bavail * space.f_frsize
going, lowest = list(held), free()
for at in range(0, len(text), 1 << 16):
    piece = text[at:at + (1 << 16)]
    for c in list(going):
        if way == "DATA":
            c.sendall(piece)
        elif not say(c, b"BDAT %d\\r\\n" % len(piece) + piece).startswith("250"):
            going.remove(c)
        lowest = min(lowest, free())
end = b"\\r\\n.\\r\\n" if way == "DATA" else b"BDAT 0 LAST\\r\\n"
replies = [say(c, end) for c in going]
refused = len(held) - sum(reply.startswith("250") for reply in replies)
ready(refused)
ready(min(lowest, free()))
sys.stdin.read()
"""
    send(small_disk, people.alice)
    with Attack(people.mallory, script, small_disk.door, str(size), way, small_disk.spool) as attack:
        assert int(attack.hear()) > 0
        assert int(attack.hear()) >= 32 * MIB
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


# Whose mail it is.


def test_what_a_user_writes_makes_them_nobody_else(hall: Hall, people: People) -> None:
    """E-020: neither in the envelope nor in the first Received field, whatever is claimed."""
    claims = (
        b'Smartrelay-Envelope: {"v":1,"uid":0,"sender":"root@a.example"}\n'
        b"Received: from localhost (userid 0)\n\tby client.a.example (smartrelay) with ESMTP\n\tid 1; now\n"
        b"Subject: x\n\nhello\n"
    )
    talk = (
        b"EHLO x(userid\tEHLO x\nEHLO x(userid-0)\nMAIL FROM:<root@a.example>\nRCPT TO:<you@b.example>\nDATA\n"
        + claims
        + b".\n"
    )
    by = hall.by(people.mallory.pw_uid)
    found = [by.enqueue(claims, "-f", "root@a.example", "-F", "root\nBcc: x@y", "you@b.example")]
    assert by.sendmail(talk, "-bs").code == 0
    with Attack(people.mallory, "c = connect(int(sys.argv[1]))\nhear(c)\n" + SEND, str(hall.port)) as attack:
        attack.hear()
    found += set(hall.ids("new")) - set(found)
    assert len(found) == 3
    for one in found:
        assert hall.envelope(one).uid == people.mallory.pw_uid
        first = hall.text(one).partition(b"\n\t")[0]
        assert first.startswith(b"Received: from ") and first.endswith(b"(userid %d)" % people.mallory.pw_uid)
        assert b"userid 0" not in first
        assert b"\nBcc:" not in hall.text(one)


SEND = """
for text in (b"EHLO x(userid-0)\\r\\n", b"MAIL FROM:<root@a.example>\\r\\n", b"RCPT TO:<you@b.example>\\r\\n", b"DATA\\r\\n"):
    say(c, text)
ready(say(c, b"Received: from x (userid 0)\\r\\nSubject: x\\r\\n\\r\\nhello\\r\\n.\\r\\n"))
"""


def all_say_who_they_are(hall: Hall, people: People) -> None:
    """Both users and root, by the command, on the socket and on the port."""
    root = pwd.getpwuid(0)
    names = {people.alice: b"Alice Smith", people.mallory: b'"Mallory \\"root\\" <root@b.example>"', root: b""}
    for user, name in names.items():
        one = send(hall, user, text=b"Subject: x\n\n")
        assert hall.envelope(one).uid == user.pw_uid
        assert hall.envelope(one).reverse_path == f"{user.pw_name}@a.example"
        assert b"\nFrom: %s <%s@a.example>\n" % (name, user.pw_name.encode()) in hall.text(one) or user is root
        for where in (repr(hall.door), str(hall.port)):
            with Attack(user, f"c = connect({where})\nhear(c)\n{SEND}") as talk:
                one = talk.hear().rpartition(" ")[2]
            assert hall.envelope(one).uid == user.pw_uid
            assert b"(userid %d)\n" % user.pw_uid in hall.text(one).partition(b"\tby ")[0]


def test_users_and_root_at_a_socket_unit(hall: Hall, people: People) -> None:  # E-020
    all_say_who_they_are(hall, people)


def test_users_and_root_at_a_loop_of_passes(host: Host, people: People) -> None:  # E-020
    host.__class__ = Hall
    assert isinstance(host, Hall)
    host.door, host.port = f"{host.folder}/run/submit.sock", free_port()
    host.configure(f'[submit]\nlisten = ["127.0.0.1:{host.port}"]\n', top=f'submit_socket = "{host.door}"')
    with host.by(0).start("flush", "--every", "1h", "--listen") as running:
        until(lambda: os.path.exists(host.door) or running.ended)
        all_say_who_they_are(host, people)


def test_a_connection_is_of_who_made_it_whoever_has_it_then(hall: Hall, people: People) -> None:
    """Mallory can give hers away; nobody can get Alice's name by it."""
    script = f"""
ours, theirs = socket.socketpair()
if not os.fork():
    os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[3]))
    c = connect(sys.argv[1])
    socket.send_fds(ours, [b"x"], [c.fileno()])
    os._exit(0)
os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
c = socket.socket(fileno=socket.recv_fds(theirs, 1, 1)[1][0])
hear(c)
{SEND}"""
    for user, giver in ((people.alice, people.mallory), (people.mallory, people.alice)):
        with Attack(pwd.getpwuid(0), script, hall.door, str(user.pw_uid), str(giver.pw_uid)) as attack:
            one = attack.hear().rpartition(" ")[2]
        assert hall.envelope(one).uid == giver.pw_uid


def test_no_display_is_led_by_what_a_user_sends(hall: Hall, people: People) -> None:
    """Terminal escapes, line ends and marks that turn the writing round reach no list, no log, no address."""
    evil = "\x1b]0;pwned\x07\x1b[2J\r\u202e\x9b31m"
    text = f"Message-ID: <{evil}@x>\nSubject: {evil}\nX: \nFrom: {evil} <a@b>\n\nhello\n".encode()
    hall.by(people.mallory.pw_uid)
    one = hall.enqueue(text, "-F", evil, "-V", "id", "you@b.example")
    for address in (f"{evil}@b.example", f'"{evil}"@b.example', f"x@{evil}", 'a"\n"@b'):
        assert hall.sendmail(TEXT, "-f", address, "you@b.example").code == 65
        assert hall.sendmail(TEXT, "--", address).code == 65
    talk = f"EHLO {evil}\nEHLO x\x1b\nMAIL FROM:<{evil}@b>\nMAIL FROM:<a@b>\nRCPT TO:<{evil}@b>\nQUIT\n".encode()
    replies = hall.sendmail(talk, "-bs").output
    assert not any((octet < 32 and octet not in b"\r\n") or octet > 126 for octet in replies)
    hall.configure('[[relay]]\nhosts = ["smtp+notls://127.0.0.1:1"]\n', top=f'submit_socket = "{hall.door}"')
    results = [
        hall.by(0).run(*words) for words in (["flush"], ["queue", "list"], ["queue", "show", one], ["flush", "--dry-run"])
    ]
    shown = "".join(result.output.decode() + result.errors for result in results)
    assert one in shown
    assert not any((char < " " and char not in "\n\t") or "\x7f" <= char <= "\x9f" or char == "\u202e" for char in shown)


# Others.


def test_a_client_that_dies_at_any_step_leaves_nothing(hall: Hall, people: People) -> None:  # F-015
    script = """
import signal
steps = [b"", b"EH", b"LO c\\r\\n", b"MAIL FROM:<a@b>\\r\\n", b"RCPT TO:<c@d>\\r\\n", b"DATA\\r\\n", b"Subject: x\\r\\n",
    b"\\r\\nhello\\r\\n", b"x" * 200_000, b"\\r\\n.", b"\\r"]
for end in range(len(steps) + 1):
    for how in ("exit", "close", "half", "reset"):
        pid = os.fork()
        if not pid:
            c = connect(sys.argv[1])
            if how == "reset":
                c = connect(int(sys.argv[2]))
                c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
            hear(c)
            for number, step in enumerate(steps[:end]):
                say(c, step, int(number in (2, 3, 4, 5)))
            if how == "half":
                c.shutdown(socket.SHUT_WR)
            if how != "exit":
                c.close()
            os.kill(os.getpid(), signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
ready("done")
"""
    with Attack(people.mallory, script, hall.door, str(hall.port)) as attack:
        assert attack.hear() == "done"
        send(hall, people.alice)
    until(lambda: os.listdir(f"{hall.spool}/tmp") == [])
    assert len(hall.ids("new")) == 1


def test_callers_that_never_end_hold_nobody_up(hall: Hall, people: People) -> None:
    """They say nothing, half of a line, a line without end; they never read; they announce what never comes."""
    script = """
BEGIN = b"EHLO c\\r\\nMAIL FROM:<a@b>\\r\\nRCPT TO:<c@d>\\r\\n"
DATA = BEGIN + b"DATA\\r\\n"
kinds = [
    b"",
    b"EHLO",
    b"NOOP " * 100_000,
    DATA + b"x: " + b"x" * 500_000,
    DATA + b"From \\n" * 50_000,
    DATA + b"\\r\\n" + b"x" * 2_000_000,
    BEGIN + b"BDAT 99999999999999999999\\r\\nx",
    BEGIN + b"RCPT TO:<c@d>\\r\\n" * 100_000,
    BEGIN + b"BDAT 0\\r\\n" * 100_000,
    b"HELP\\r\\n" * 90 + b"EHLO",
]
held = []
for number in range(45):
    c = connect(sys.argv[1])
    c.setblocking(False)
    held.append(c)
    try:
        c.send(kinds[number % len(kinds)])
    except OSError:
        pass
def drip():
    while True:
        for number, c in enumerate(held):
            try:
                c.send(kinds[number % len(kinds)][-2000:] or b"\\0")
            except OSError:
                pass
        if select.select([0], [], [], 0.01)[0]:
            return
ready()
drip()
"""
    with Attack(people.mallory, script, hall.door) as attack:
        attack.hear()
        for _ in range(5):
            send(hall, people.alice)
            assert hall.by(0).sendmail(b"EHLO c\nQUIT\n", "-bs").code == 0
        with smtplib.SMTP("127.0.0.1", hall.port, timeout=20) as client:
            client.sendmail("me@a.example", ["you@b.example"], b"x")
    assert len(hall.ids("new")) == 6
