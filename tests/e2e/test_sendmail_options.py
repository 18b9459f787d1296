"""What options and the program's own name do, end to end; tests/test_options.py has how they are read."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from smartrelay.mail import stored
from tests.e2e.commands import SENDMAIL, Machine
from tests.support.smtp_server import ScriptedServer

Start = Callable[..., ScriptedServer]
MAIL = b"Subject: x\n\nbody\n"
YOU = "you@b.example"


def test_the_brackets_of_a_sender_do_not_count(machine: Machine) -> None:  # D-005 D-006
    for words in (["-f", "<me@c.example>"], ["-f<me@c.example>"], ["-r", "<me@c.example>"]):
        with open(machine.path(machine.enqueue(MAIL, *words, YOU)), "rb") as file:
            assert stored.read(file.readline()).reverse_path == "me@c.example"


def test_no_body_type_strips_a_bit(machine: Machine) -> None:  # D-011
    octets = bytes(range(128, 256)) + b"\n"
    for kind in ("7BIT", "7bit", "8BITMIME", "8bitmime"):
        assert machine.text(machine.enqueue(b"Subject: x\n\n" + octets, "-B", kind, YOU)).endswith(b"\n\n" + octets)


@pytest.mark.parametrize("envid", ["abc+20d", "abc d"])
def test_what_the_sender_wants_to_be_told_goes_to_the_server(machine: Machine, smtp_server: Start, envid: str) -> None:
    """An envelope id in either form, and nothing where nothing was asked for."""  # D-008 D-009 D-010 A-110
    machine.relay_to(server := smtp_server())
    machine.enqueue(MAIL, "-V", envid, "-R", "hdrs", "-N", "failure,delay", "-f", "me@a.example", YOU)
    machine.flush()
    machine.enqueue(MAIL, YOU)
    machine.flush()
    told, plain = server.accepted
    assert told.mail_from.endswith(b" RET=HDRS ENVID=abc+20d")
    assert told.rcpt_to == [b"RCPT TO:<you@b.example> NOTIFY=FAILURE,DELAY"]
    assert b"RET" not in plain.mail_from and b"ENVID" not in plain.mail_from and b"NOTIFY" not in plain.rcpt_to[0]


def test_a_traffic_log_is_never_opened(machine: Machine) -> None:  # D-033
    path = f"{machine.folder}/log"
    machine.enqueue(MAIL, "-X", path, YOU)
    assert not os.path.exists(path)


def test_a_configuration_is_read_with_the_callers_own_rights(machine: Machine) -> None:  # D-032
    """No privilege is ever in effect that the caller has not: there is no set-uid program."""
    other = Path(machine.folder, "other.toml")
    other.write_text('hostname = "other.example"\nmin_free_space = 0\n')
    one = machine.enqueue(MAIL, "-C", str(other), "-f", "me@a.example", YOU)
    assert b"by other.example (smartrelay" in machine.text(one)
    assert not os.stat(SENDMAIL).st_mode & 0o6000
    result = machine.sendmail(MAIL, "-C", f"{machine.folder}/none.toml", YOU, env={"SMARTRELAY_SPOOL": None})
    assert result.code == 78 and "none.toml" in result.errors


@pytest.mark.parametrize("words", [["--version"], ["-d0.1"], ["-d0.1", "-bv", "root"]])
def test_scripts_are_told_which_program_this_is(machine: Machine, words: list[str]) -> None:  # D-043 D-046
    result = machine.sendmail(b"", *words)
    assert result.code == 0
    assert re.fullmatch(rb"smartrelay, version \S+\n", result.output)


def test_help_is_no_error(machine: Machine) -> None:  # D-046
    result = machine.sendmail(b"", "--help")
    assert (result.code, result.errors) == (0, "")
    assert result.output.startswith(b"Usage: smartrelay-sendmail [-t] [-i] ")


def test_a_link_is_the_program_that_it_is_called(machine: Machine, smtp_server: Start) -> None:  # D-014 D-064
    """And an option says it louder."""
    machine.relay_to(server := smtp_server())
    one = machine.enqueue(MAIL, YOU)

    def run(name: str, *words: str, text: bytes = b"") -> tuple[int, bool]:
        path = f"{machine.folder}/{name}"
        if not os.path.exists(path):
            os.symlink(SENDMAIL, path)
        with machine.start_program(path, *words, text=text) as running:
            result = running.wait()
        return result.code, one.encode() in result.output

    assert run("mailq") == (0, True)
    assert run("newaliases") == (0, False)
    assert run("newaliases", "-bp") == (0, True)
    assert run("hoststat") == run("purgestat") == (0, False)
    assert run("smtpd")[0] == 64
    assert run("rmail", YOU, text=b"Subject: x\n\na\n.\nb\n") == (0, False)
    assert run("sendmail.smartrelay", YOU, text=MAIL) == (0, False)
    assert run("runq") == (0, False)
    assert sorted(each.content.partition(b"\r\n\r\n")[2] for each in server.accepted) == [
        b"a\r\n.\r\nb\r\n",
        b"body\r\n",
        b"body\r\n",
    ]
    assert run("mailq") == (0, False)


def test_the_full_name_may_come_from_the_environment(machine: Machine) -> None:  # D-080
    """-F before $NAME; neither changes a From that is there."""
    env = {"NAME": "Joe Doe"}
    assert b"\nFrom: Joe Doe <me@a.example>\n" in machine.text(machine.enqueue(MAIL, "-f", "me", YOU, env=env))
    assert b"\nFrom: J <me@a.example>\n" in machine.text(machine.enqueue(MAIL, "-f", "me", "-F", "J", YOU, env=env))
    assert b"Joe" not in machine.text(machine.enqueue(b"From: a@b.example\n" + MAIL, "-F", "Joe", YOU, env=env))


def test_of_mail_from_nobody_no_failure_is_told(machine: Machine, smtp_server: Start) -> None:  # D-083
    machine.relay_to(smtp_server(replies={"RCPT": b"550 5.1.1 no"}))
    machine.enqueue(MAIL, "-f", "<>", YOU)
    assert "status=bounced" in machine.flush().errors
    assert machine.ids() == []


def test_a_hidden_recipient_is_in_the_envelope_only(machine: Machine, smtp_server: Start) -> None:  # E-030
    """However it is folded: not in the text, not on the wire, and not in the notice when another recipient fails."""
    machine.relay_to(server := smtp_server(replies={"RCPT TO:<you@": b"550 5.1.1 no"}))
    handed = b"To: you@b.example\nX: before\nBcc: Hidden\n <hidden@c.example>,\n\tother@c.example\nY: after\n" + MAIL
    text = machine.text(machine.enqueue(handed, "-t", "-f", "me@a.example"))
    assert b"\nTo: you@b.example\nX: before\nY: after\nSubject: x\n" in text
    machine.flush()
    to_others, notice = server.accepted
    assert to_others.recipients == [b"<hidden@c.example>", b"<other@c.example>"]
    assert notice.recipients == [b"<me@a.example>"]
    for each in (text, to_others.content, notice.content):
        assert b"@c.example" not in each and b"hidden" not in each.lower()
