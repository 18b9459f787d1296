"""Programs that others have written, speaking SMTP to us: on a port, on the UNIX socket, on a pipe."""

import os
import smtplib
import socket
import subprocess
from collections.abc import Iterator
from email.message import EmailMessage

import pytest

from smartrelay.spool.queue import Queue
from tests.e2e.commands import SENDMAIL, Machine
from tests.support import debian
from tests.support.activation import activated
from tests.support.process import free_port
from tests.support.smtp_talk import Talk


class Serving(Machine):
    """A machine with the process behind its sockets."""

    door: str
    port: int

    def sent(self) -> tuple[str, list[str], bytes]:
        """The only message: sender, recipients, text."""
        (one,) = self.ids("new")
        found = Queue(self.spool).get_envelope(one)
        return found.reverse_path, [each.address for each in found.recipients], self.text(one)


@pytest.fixture
def serving(machine: Machine) -> Iterator[Serving]:
    machine.__class__ = Serving
    assert isinstance(machine, Serving)
    machine.door, machine.port = f"{machine.folder}/s", free_port()
    with activated([machine.door, f"127.0.0.1:{machine.port}"], [SENDMAIL, "-bs"], machine.environment):
        yield machine


def run(*command: str, on: Machine) -> str:
    """What the program prints; it must end with 0."""
    variables = {**os.environ, **on.environment, "PERL5LIB": debian.program("clients", "usr/share/perl5")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=on.folder, env=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def swaks(serving: Serving, *how: str) -> str:
    program = debian.program("clients", "usr/bin/swaks")
    message = ["--from", "me@a.example", "--to", "you@b.example,other@b.example", "--body", "..x\nhello", "--ehlo", "c.example"]
    return run("perl", program, *how, *message, on=serving)


@pytest.mark.parametrize("how", ["port", "socket", "pipe", "pipelined"])
def test_swaks(serving: Serving, how: str) -> None:
    ways = {
        "port": ["--server", f"127.0.0.1:{serving.port}"],
        "pipelined": ["--server", f"127.0.0.1:{serving.port}", "--pipeline"],
        "socket": ["--socket", serving.door],
        "pipe": ["--pipe", f"env SMARTRELAY_CONFIG={serving.config} SMARTRELAY_SPOOL={serving.spool} {SENDMAIL} -bs"],
    }
    said = swaks(serving, *ways[how])
    assert "220 client.a.example ESMTP smartrelay" in said
    assert "250 2.0.0 Ok: queued as " in said
    sender, recipients, text = serving.sent()
    assert (sender, recipients) == ("me@a.example", ["you@b.example", "other@b.example"])
    assert b"\n..x\nhello\n" in text


@pytest.mark.parametrize("how", ["port", "command"])
def test_git_send_email(serving: Serving, how: str) -> None:  # D-129
    server = (
        ["--smtp-server=127.0.0.1", f"--smtp-server-port={serving.port}"] if how == "port" else [f"--smtp-server={SENDMAIL}"]
    )
    program = debian.program("clients", "usr/lib/git-core/git-send-email")
    run("git", "init", "-q", on=serving)
    for key, value in (("user.name", "Me"), ("user.email", "me@a.example")):
        run("git", "config", key, value, on=serving)
    run("git", "commit", "-q", "--allow-empty", "-m", "first", on=serving)
    with open(f"{serving.folder}/file", "w", encoding="utf-8") as file:
        file.write(".\n..\n")
    run("git", "add", "file", on=serving)
    run("git", "commit", "-q", "-m", "Grüße", on=serving)
    patch = run("git", "format-patch", "-1", on=serving).strip()
    run(
        "perl", program, *server, "--from=Me <me@a.example>", "--to=Doe, J <you@b.example>", "--cc=list@b.example",
        "--confirm=never", "--suppress-cc=self", f"{serving.folder}/{patch}", on=serving,
    )  # fmt: skip
    sender, recipients, text = serving.sent()
    assert sender == "me@a.example" if how == "port" else "@a.example" in sender, "it names no sender to a command"
    assert {"you@b.example", "list@b.example"} <= set(recipients)
    assert b"\n+.\n+..\n" in text


def test_monit(serving: Serving) -> None:  # D-137
    """What it says, as it says it: a blank behind each colon, a line for each field, one address after the other."""
    with socket.create_connection(("127.0.0.1", serving.port)) as connection:
        talk = Talk(connection.fileno(), connection.fileno())
        assert talk.hear().startswith("220 ")
        for line, code in (
            (b"EHLO web1", "250"),
            (b"MAIL FROM: <monit@web1>", "250"),
            (b"RCPT TO: <you@b.example>", "250"),
            (b"RCPT TO: <root>", "250"),
            (b"DATA", "354"),
            (b"From: <monit@web1>\r\nTo: you@b.example\r\nSubject: monit alert --  Does not exist nginx\r\n"
             b"X-Mailer: Monit 5.33.0\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
             b"Content-Transfer-Encoding: 8bit\r\n\r\nDoes not exist Service nginx\r\n\r\n\tDate: Thu\r\n.", "250"),
            (b"QUIT", "221"),
        ):  # fmt: skip
            assert talk.say(line + b"\r\n").startswith(code), line
    sender, recipients, text = serving.sent()
    assert (sender, recipients) == ("monit@web1", ["you@b.example", "root@a.example"])
    assert text.endswith(b"\n\nDoes not exist Service nginx\n\n\tDate: Thu\n")


def test_pythons_smtplib(serving: Serving) -> None:  # D-140
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "me@a.example", "you@b.example", "Grüße"
    message.set_content("..x\nhello\n")
    with smtplib.SMTP("127.0.0.1", serving.port, timeout=20) as client:
        client.send_message(message)
    sender, recipients, text = serving.sent()
    assert (sender, recipients) == ("me@a.example", ["you@b.example"])
    assert text.endswith(b"\n\n..x\nhello\n")


def test_pythons_smtplib_sees_which_recipients_are_refused(serving: Serving) -> None:
    with smtplib.SMTP("127.0.0.1", serving.port, timeout=20) as client:
        refused = client.sendmail("me@a.example", ["you@b.example", "no one@b.example"], "Subject: x\n\nx")
    assert {address: code for address, (code, _) in refused.items()} == {"no one@b.example": 501}
    assert serving.sent()[1] == ["you@b.example"]


def test_a_script_that_hands_bytes_to_smtplib_is_understood(serving: Serving) -> None:  # F-033 F-034
    """`as_bytes()` has LF line ends, and smtplib sends bytes as they are, but for dots."""
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "x", "me@a.example", "you@b.example"
    message.set_content(".\n..\n.x\nend\n")
    with smtplib.SMTP("127.0.0.1", serving.port) as client:
        client.sendmail("me@a.example", ["you@b.example"], message.as_bytes())
    assert serving.sent()[2].endswith(b"\n\n.\n..\n.x\nend\n\n"), "smtplib takes an LF for no end, and adds one"
