"""Any user's mail, by the sendmail command on the submission socket; and SMTP on ports: real processes, real users.

The sockets are opened by systemd-socket-activate, as a socket unit does it, or by `flush --every D --listen`.
"""

import os
import re
import signal
import smtplib
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from smartrelay.mail.envelope import Envelope
from smartrelay.spool.queue import Queue
from tests.e2e.commands import SENDMAIL, relay
from tests.e2e.terminal import at_terminal
from tests.e2e.test_ownership import PRIVATE, ROOT_OF_CODE, STRANGER, Host, host
from tests.support.activation import activated
from tests.support.process import NOBODY, free_port
from tests.support.smtp_talk import Talk, until
from tests.support.users import way_to_python

__all__ = ["host"]  # the fixture
pytestmark = pytest.mark.as_another_user

OTHER = 65532
TEXT = b"From: me@a.example\nSubject: x\n\nhello\n"


class Hall(Host):
    """A machine with a submission socket and a port."""

    door: str
    port: int
    process: "subprocess.Popen[bytes]"

    def envelope(self, one: str) -> Envelope:
        return Queue(self.spool).get_envelope(one)

    def talk_to(self, address: str | tuple[str, int]) -> Talk:
        connection = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        connection.connect(address)
        self.connections.append(connection)
        return Talk(connection.fileno(), connection.fileno())

    connections: list[socket.socket]


@pytest.fixture
def hall(host: Host) -> Iterator[Hall]:
    """With the process that a socket unit would start: nothing runs until somebody comes."""
    host.__class__ = Hall
    assert isinstance(host, Hall)
    host.connections = []
    host.door, host.port = f"{host.folder}/submit.sock", free_port()
    os.chmod(host.folder, 0o755)
    host.configure(top=f'submit_socket = "{host.door}"')
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    # $LISTEN_PID stays right: each of these becomes the next
    environment = {**host.environment, **unit_environment()}
    with activated([host.door, f"127.0.0.1:{host.port}"], [*become, SENDMAIL, "-bs"], environment) as host.process:
        os.chmod(host.door, 0o666)
        yield host
    for connection in host.connections:
        connection.close()


def unit_environment() -> dict[str, str]:
    """What the unit adds to the environment."""
    with open(f"{ROOT_OF_CODE}/contrib/systemd/smartrelay-submit.service", encoding="utf-8") as file:
        lines = [line.rstrip("\n").partition("=")[2] for line in file if line.startswith("Environment=")]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("arguments", [("you@b.example",), ("-t", "-i"), ("-f", "x@y.example", "-N", "never", "you@b.example")])
def test_any_user_hands_mail_over_and_the_kernel_says_who_it_was(hall: Hall, arguments: tuple[str, ...]) -> None:
    text = b"To: you@b.example\nBcc: hidden@b.example\n" + TEXT
    named = arguments if "-f" in arguments else ("-f", "me@a.example", *arguments)
    one = hall.by(STRANGER).enqueue(text, *named)
    assert hall.ids("new") == [one]
    sent = hall.envelope(one)
    assert sent.uid == STRANGER
    assert sent.reverse_path == ("x@y.example" if "-f" in arguments else "me@a.example")
    wanted = ["you@b.example", "hidden@b.example"] if "-t" in arguments else ["you@b.example"]
    assert [each.address for each in sent.recipients] == wanted
    assert sent.recipients[0].notify == ("NEVER" if "-N" in arguments else "")
    stored = hall.text(one).decode()
    assert re.match(rf"Received: from client\.a\.example \(userid {STRANGER}\)\n\tby client\.a\.example ", stored)
    assert stored.count("Received:") == 1
    assert "hidden" not in stored
    assert hall.owners() == PRIVATE


def test_the_same_message_is_stored_alike_whoever_hands_it_in(hall: Hall) -> None:
    """But for how it came: root writes it, a user hands it over."""
    texts = [
        TEXT,
        b"",
        b"Subject: =?utf-8?q?x?=\n\nbare\rcr\n.\n..\nnul\0\xff",
        b"hello\n",
        b"Subject: long\n\n" + b"x" * 300_000 + b"\n" + b"y\n" * 100_000,
        "Subject: jö\n\njö\n".encode(),
    ]
    for text in texts:
        direct, handed = (hall.by(uid).enqueue(text, "-i", "-f", "jö@a.example", "you@b.example") for uid in (0, STRANGER))
        assert same(hall.text(direct), direct) == same(hall.text(handed), handed)
        facts = [hall.envelope(one).facts for one in (direct, handed)]
        assert (facts[0].nul, facts[0].bare_cr, facts[0].eight_bit) == (facts[1].nul, facts[1].bare_cr, facts[1].eight_bit)


def test_mail_that_did_not_begin_here_is_not_fixed_up(hall: Hall) -> None:  # D-036 E-001
    """Whoever hands it in: content filters and gateways are not root."""
    handed = b"To: root\nReturn-Path: <a@b.example>\n\nbody\n"
    for uid in (0, STRANGER):
        text = hall.text(hall.by(uid).enqueue(handed, "-G", "-i", "-f", "me@a.example", "you@b.example"))
        assert re.sub(rb"\AReceived: .*(\n\s.*)*\n", b"", text) == handed


def same(text: bytes, one: str) -> bytes:
    """A text without what tells how and when it came."""
    below = re.sub(rb"\AReceived: .*(\n\s.*)*\n", b"", text)
    return re.sub(rb"(?m)^(Date: .*|Message-ID: <.*@client\.a\.example>)$", b"", below)


def test_local_names_are_looked_up_where_the_mail_is_taken(hall: Hall) -> None:
    aliases = f"{hall.folder}/aliases"
    with open(aliases, "w", encoding="utf-8") as file:
        file.write("root: admin@x.example, b@x.example\n")
    os.chmod(aliases, 0o644)
    hall.configure(top=f'submit_socket = "{hall.door}"\naliases = "{aliases}"')
    for uid in (0, STRANGER):
        one = hall.by(uid).enqueue(TEXT, "-f", "me@a.example", "root")
        assert [each.address for each in hall.envelope(one).recipients] == ["admin@x.example", "b@x.example"]


def test_what_is_refused_is_refused_as_it_is_to_root(hall: Hall) -> None:
    hall.configure(top=f'submit_socket = "{hall.door}"\nmax_message_size = "10K"')
    for text, arguments, code in (
        (b"x" * 20_000, ("you@b.example",), 65),
        (TEXT, ("you@@b",), 65),
        (TEXT, ("-t",), 64),
        (TEXT, (), 64),
    ):
        results = [hall.by(uid).sendmail(text, "-f", "me@a.example", *arguments) for uid in (0, STRANGER)]
        assert [result.code for result in results] == [code, code]
        assert results[0].errors == results[1].errors
    assert hall.ids("new") == []
    assert os.listdir(f"{hall.spool}/tmp") == []


def test_where_there_is_no_socket_a_user_is_told_what_to_start(hall: Hall) -> None:
    os.unlink(hall.door)
    result = hall.by(STRANGER).sendmail(TEXT, "-f", "me@a.example", "you@b.example")
    assert result.code == 75
    assert "belongs to user nobody" in result.errors
    assert f"there is no {hall.door} to hand mail over at; start smartrelay-submit.socket" in result.errors


def test_at_the_keyboard_a_user_is_told_that_a_pass_sends_what_was_handed_over(hall: Hall) -> None:  # D-025
    who = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
    command = [*way_to_python(f"{hall.folder}/python"), *who, SENDMAIL, "-v", "-f", "me@a.example", "you@b.example"]
    terminal = at_terminal(hall, *command, text=TEXT)
    assert terminal.wait() == 0
    (one,) = hall.ids("new")
    assert [line.partition(": ")[2] for line in terminal.lines] == [
        f"queued as {one}",
        f"queued as {one}; the next pass of the spool's owner sends it",
    ]


def test_a_user_speaks_smtp_on_a_pipe_too(hall: Hall) -> None:
    talk = b"EHLO app\nMAIL FROM:<me@a.example>\nRCPT TO:<you@b.example>\nDATA\nSubject: x\n\nhello\n.\n" * 3 + b"QUIT\n"
    result = hall.by(STRANGER).sendmail(talk, "-bs")
    assert (result.code, result.errors) == (0, "")
    ids = re.findall(r"queued as (\w{17})", result.output.decode())
    assert hall.ids("new") == sorted(ids)
    assert len(ids) == 3
    assert [hall.envelope(one).uid for one in ids] == [STRANGER] * 3
    assert all(hall.text(one).startswith(b"Received: from app (userid 65533)\n") for one in ids)


@pytest.mark.parametrize("uid", [STRANGER, OTHER])
def test_a_port_is_the_same_door(hall: Hall, uid: int) -> None:  # F-024
    script = (
        f"import smtplib; s = smtplib.SMTP('127.0.0.1', {hall.port}); "
        "s.sendmail('me@a.example', ['you@b.example', 'root'], 'Subject: x\\n\\nhello\\n'); s.quit()"
    )
    with hall.by(uid).start_program(os.path.join(os.path.dirname(SENDMAIL), "python"), "-c", script) as running:
        result = running.wait()
    assert result.code == 0, result.errors
    (one,) = hall.ids("new")
    sent = hall.envelope(one)
    assert (sent.uid, [each.address for each in sent.recipients]) == (uid, ["you@b.example", "root@a.example"])
    assert re.match(rf"Received: from \S+ \(\[127\.0\.0\.1\]\) \(userid {uid}\)\n".encode(), hall.text(one))


def test_pythons_smtplib_sees_what_is_offered(hall: Hall) -> None:
    with smtplib.SMTP("127.0.0.1", hall.port, timeout=20) as client:
        client.ehlo()
        assert {"pipelining", "size", "8bitmime", "smtputf8", "dsn", "chunking", "enhancedstatuscodes", "help"} == set(
            client.esmtp_features
        )
        assert client.verify("root")[0] == 252
        assert client.noop()[0] == client.rset()[0] == 250
        refused = client.sendmail("jö@a.example", ["you@b.example", "no one@b.example"], b"x", ["SMTPUTF8"], ["NOTIFY=NEVER"])
        assert {address: code for address, (code, _) in refused.items()} == {"no one@b.example": 501}


def test_what_was_said_to_be_queued_is_there_after_a_kill(hall: Hall) -> None:  # F-047
    talk = hall.talk_to(hall.door)
    talk.hear()
    talk.say(b"EHLO c\r\n")
    one = talk.message(b"x").rpartition(" ")[2]
    talk.say(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n", 3)
    talk.write(b"half\r\n" * 50_000)
    hall.process.kill()
    hall.process.wait()
    assert hall.ids("new") == [one]


def test_a_thousand_connections_keep_nobody_from_sending(hall: Hall) -> None:
    for path in (hall.door, ("127.0.0.1", hall.port)):
        for _ in range(500):
            with socket.socket(socket.AF_UNIX if path == hall.door else socket.AF_INET) as connection:
                connection.connect(path)
    result = hall.by(STRANGER).sendmail(TEXT, "-f", "me@a.example", "you@b.example")
    assert (result.code, len(hall.ids("new"))) == (0, 1)


def test_a_user_who_holds_all_connections_they_can_get_keeps_no_other_out(hall: Hall) -> None:
    script = "import socket, sys\nheld = []\nfor _ in range(300):\n c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[1])\n"
    script += " held.append(c)\nprint(flush=True)\nsys.stdin.read()\n"
    python = os.path.join(os.path.dirname(SENDMAIL), "python")
    become = ["setpriv", f"--reuid={OTHER}", f"--regid={OTHER}", "--clear-groups"]
    command = [*become, python, "-c", script, hall.door]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as hostile:
        assert hostile.stdout is not None
        hostile.stdout.readline()
        result = hall.by(STRANGER).sendmail(TEXT, "-f", "me@a.example", "you@b.example")
        hostile.communicate()
    assert (result.code, len(hall.ids("new"))) == (0, 1)


def test_a_user_has_so_many_messages_in_a_time_and_root_has_more(hall: Hall) -> None:
    hall.configure(top=f'submit_socket = "{hall.door}"\nsubmit_rate = "3/h"')
    for _ in range(3):
        assert hall.by(STRANGER).sendmail(TEXT, "-f", "me@a.example", "you@b.example").code == 0
    result = hall.by(STRANGER).sendmail(TEXT, "-f", "me@a.example", "you@b.example")
    assert result.code == 75
    assert "uid 65533 has sent 3 messages" in result.errors
    assert hall.by(OTHER).sendmail(TEXT, "-f", "me@a.example", "you@b.example").code == 0


def test_a_hundred_users_at_once_are_all_served(hall: Hall) -> None:
    results: list[int] = []

    def send(uid: int) -> None:
        machine = Hall.__new__(Hall)
        machine.__dict__.update(hall.__dict__, uid=uid)
        results.append(machine.sendmail(TEXT, "-f", "me@a.example", "you@b.example").code)

    threads = [threading.Thread(target=send, args=(60_000 + number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0] * 100
    assert {hall.envelope(one).uid for one in hall.ids("new")} == set(range(60_000, 60_100))


def test_nobody_else_can_reach_the_mail_itself(hall: Hall) -> None:
    """A user's mail is not another user's to read, to forge, to change or to delete."""
    one = hall.by(STRANGER).enqueue(TEXT, "-f", "me@a.example", "you@b.example")
    before = hall.tree()
    path = f"{hall.spool}/new/{one}"
    attacks = (
        f"cat {path}",
        f"ls {hall.spool}/new",
        f"rm {path}",
        f"ln {path} {hall.folder}/x",
        f"touch {hall.spool}/new/{one[::-1]}",
        f"mv {hall.folder} {hall.folder}2",
        f"echo >> {path}",
        f"chmod 777 {hall.spool}",
        f"rm -f {hall.door}",
    )
    for attack in attacks:
        with hall.by(OTHER).start_program("/bin/sh", "-c", attack) as running:
            assert running.wait().code != 0, attack
    # D-014 D-111
    for command in (("queue", "list"), ("queue", "show", one), ("queue", "delete", "--yes", one), ("flush",), ("mailq",)):
        assert hall.by(OTHER).run(*command).code == 77
    assert hall.tree() == before
    assert os.path.exists(hall.door)


# Without systemd.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_flush_every_serves_the_same_sockets(host: Host, number: int) -> None:
    path, port = f"{host.folder}/run/submit.sock", free_port()
    table = f'[submit]\nlisten = ["127.0.0.1:{port}"]\n'
    host.configure(relay("smtp://127.0.0.1:1"), table, top=f'submit_socket = "{path}"')
    with host.by(0).start("flush", "--every", "1h", "--listen") as running:
        until(lambda: os.path.exists(path) or running.ended)
        assert host.by(STRANGER).sendmail(TEXT, "-f", "me@a.example", "you@b.example").code == 0
        running.wait_for_error("status=deferred")
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
            client.sendmail("me@a.example", ["you@b.example"], b"Subject: y\r\n\r\n")
        running.wait_for_error("status=deferred", times=2)
        running.signal(number)
        assert running.wait().code == -number
    assert len(host.ids("cur")) == 2
    assert host.owners() == PRIVATE


def test_listening_goes_with_passes_for_ever(host: Host) -> None:
    result = host.by(0).run("flush", "--listen")
    assert result.code == 64
    assert "--listen goes with --every" in result.errors


def test_a_port_that_is_taken_is_said_in_a_sentence(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        host.configure(f'[submit]\nlisten = ["127.0.0.1:{port}"]\n')
        result = host.by(0).run("flush", "--every", "1h", "--listen")
    assert result.code == 73
    assert f"cannot listen at 127.0.0.1 port {port}: Address already in use" in result.errors


def test_no_configuration_is_broken_enough_to_refuse_mail(host: Host) -> None:
    path = f"{host.folder}/run/submit.sock"
    host.configure("[[relay]]\nhost = 1\n", top=f'submit_socket = "{path}"')
    with host.by(0).start("flush", "--every", "1h", "--listen") as running:
        until(lambda: os.path.exists(path) or running.ended)
        running.wait_for_error("is not a known key")  # what comes in before the first pass would bring no second one
        assert host.by(STRANGER).sendmail(TEXT, "-f", "me@a.example", "you@b.example").code == 0
        running.wait_for_error("is not a known key", times=2)
        running.signal(signal.SIGTERM)
        assert running.wait().code == -signal.SIGTERM
