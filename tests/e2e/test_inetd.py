"""`sendmail -bs` with a connection in the place of the pipe: as inetd, or a socket unit with Accept=yes, starts it."""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.commands import SENDMAIL, Machine
from tests.support.smtp_talk import Talk

HELLO = b"EHLO c.example\r\n"


@contextmanager
def by_inetd(machine: Machine, *command: str) -> Iterator[tuple[socket.socket, "subprocess.Popen[bytes]"]]:
    """A connection in the place of all three standard descriptors; the client's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        with accepted:
            process = subprocess.Popen(
                command, stdin=accepted.fileno(), stdout=accepted.fileno(), stderr=accepted.fileno(), env=machine.environment
            )
        with process:
            try:
                yield client, process
            finally:
                process.kill()


def test_a_connection_in_the_place_of_the_pipe_is_held_to_the_letter(machine: Machine) -> None:  # F-024 F-034 F-035
    with by_inetd(machine, SENDMAIL, "-bs") as (client, process):
        talk = Talk(client.fileno(), client.fileno())
        talk.hear()
        assert talk.say(b"MAIL FROM:<a@b>\r\n").startswith("503 ")
        talk.say(HELLO)
        assert talk.message(b"x\n.\ny").startswith("250 "), "no line feed alone ends a message"
        talk.write(b"NOOP\n")
        assert talk.hear().startswith("554 5.5.2 ")
        assert process.wait() == 0
    (one,) = machine.ids("new")
    assert machine.text(one).startswith(f"Received: from c.example ([127.0.0.1]) (userid {os.getuid()})\n".encode())
    assert machine.text(one).endswith(b"\n\nx\n.\ny\n")


def test_a_connection_that_is_reset_is_an_end_like_another(machine: Machine) -> None:  # F-015
    with by_inetd(machine, SENDMAIL, "-bs") as (client, process):
        talk = Talk(client.fileno(), client.fileno())
        talk.hear()
        talk.say(HELLO)
        talk.message(b"whole")
        talk.say(b"MAIL FROM:<me@a.example>\r\nRCPT TO:<you@b.example>\r\nDATA\r\n", 3)
        talk.write(b"half a mess")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        assert process.wait() == 0
    assert len(machine.ids("new")) == 1
    assert os.listdir(f"{machine.spool}/tmp") == []


@pytest.mark.parametrize(
    ("place", "last", "code"),
    [("submission.Submission.commit", "451 4.3.0", 0), ("session.Session.receive", "421 4.3.0", 70)],
)
def test_a_bug_is_told_to_the_log_and_never_to_the_client(machine: Machine, place: str, last: str, code: int) -> None:  # F-054
    """inetd makes standard error the client's: what is written there, a traceback or a sentence, would be a reply."""
    module, name, method = place.split(".")
    script = (
        f"import os\nfrom smartrelay.submit.{module} import {name}\n"
        "def bug(*_):\n os.write(2, b'secret')\n raise ZeroDivisionError('secret')\n"
        f"{name}.{method} = bug\nfrom smartrelay.door import main\nmain()\n"
    )
    with by_inetd(machine, sys.executable, "-c", script, "-bs") as (client, process):
        talk = Talk(client.fileno(), client.fileno())
        heard = [talk.hear()]
        for text in (HELLO, b"MAIL FROM:<me@a.example>\r\n", b"RCPT TO:<you@b.example>\r\n", b"DATA\r\n", b".\r\n"):
            if heard[-1][:3] != "421":
                heard.append(talk.say(text))
        assert heard[-1].startswith(f"{last} ")
        client.shutdown(socket.SHUT_WR)
        assert talk.hear() == ""
        assert process.wait() == code
    assert "secret" not in "".join(heard)
    assert machine.ids("new") == []
