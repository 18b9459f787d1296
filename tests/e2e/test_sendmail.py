"""The sendmail command as a program among others: standard streams, exit codes, what it refuses, and what it leaves behind."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from smartrelay.mail import stored
from tests.e2e.commands import SENDMAIL, Machine, relay
from tests.support.process import NOBODY
from tests.support.smtp_server import ScriptedServer

Start = Callable[..., ScriptedServer]
MAIL = b"Subject: x\n\nbody\n"
YOU = "you@b.example"


def nothing_is_left(machine: Machine) -> bool:
    """Neither a message nor a part of one."""
    return not os.path.exists(machine.spool) or not (machine.ids() or os.listdir(f"{machine.spool}/tmp"))


def refused(machine: Machine, text: bytes, *words: str) -> tuple[int, str]:
    """The exit code and the one sentence."""
    result = machine.sendmail(text, *words)
    assert result.output == b"" and result.errors.count("\n") == 1
    assert nothing_is_left(machine)
    return result.code, result.errors


# Recipients and sender


def test_mail_for_nobody_is_a_mistake_of_the_call(machine: Machine) -> None:  # D-076 D-101
    assert refused(machine, MAIL)[0] == 64
    assert refused(machine, MAIL, "-t")[0] == 64
    assert refused(machine, b"To: undisclosed-recipients:;\n\n", "-t", "-i")[0] == 64


def test_the_sender_is_whom_the_caller_names_and_nothing_is_added(machine: Machine) -> None:  # D-082 E-014
    """From and sender may differ, as in Postfix: neither Sender nor a warning is made of it."""
    one = machine.enqueue(b"From: boss@c.example\n" + MAIL, "-f", "other@d.example", YOU)
    with open(machine.path(one), "rb") as file:
        assert stored.read(file.readline()).reverse_path == "other@d.example"
        text = file.read()
    assert b"From: boss@c.example\n" in text
    assert b"sender:" not in text.lower() and b"warning" not in text.lower()


def test_a_header_without_recipients_stays_without(machine: Machine) -> None:  # D-073
    one = machine.enqueue(b"Bcc: hidden@b.example\n" + MAIL, "-t", "-i")
    text = machine.text(one)
    assert b"hidden" not in text and not re.search(rb"(?im)^(to|cc|bcc):", text)


def test_the_trace_says_who_and_never_for_whom(machine: Machine) -> None:  # E-021 E-022 E-023
    one = machine.enqueue(MAIL, "a@b.example")
    field = machine.text(one).partition(b"Subject")[0]
    date = rb"\w{3}, \d\d? \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"
    expected = rb"Received: by client\.a\.example \(smartrelay, from userid %d\)\n\tid %s; %s\n" % (
        os.getuid(), one.encode(), date,
    )  # fmt: skip
    assert re.fullmatch(expected, field)


def test_mail_that_did_not_begin_here_is_not_fixed_up(machine: Machine) -> None:  # D-036 E-001
    handed = b"From: x\nTo: root\nReturn-Path: <a@b.example>\n\nbody\n"
    text = machine.text(machine.enqueue(handed, "-G", "-i", YOU))
    assert text.startswith(b"Received: by ")
    assert text.endswith(b"\n" + handed)


def test_signed_mail_with_long_lines_goes_as_it_is(machine: Machine, smtp_server: Start) -> None:  # E-041
    """Nothing that a signature covers changes, where every server must take it; where none need, the log has it."""
    head = b"From: a@b.example\nDate: Thu, 1 Jan 1970 00:00:00 +0000\nMessage-ID: <a@b>\nMIME-Version: 1.0\n"
    kind = b'Content-Type: multipart/signed; boundary="=b"; protocol="application/pgp-signature"; micalg=pgp-sha256\n\n'
    part = b"--=b\nContent-Type: text/plain; charset=utf-8\n\n" + b"x" * 998 + b"\n--=b\n"
    signature = b"Content-Type: application/pgp-signature\n\nabc\n--=b--\n"
    machine.relay_to(server := smtp_server())
    machine.enqueue(head + kind + part + signature, "-i", YOU)
    machine.flush()
    (transaction,) = server.accepted
    assert transaction.content.endswith((kind + part + signature).replace(b"\n", b"\r\n"))
    machine.enqueue(head + kind + part.replace(b"xx", b"xxx", 1) + signature, "-i", YOU)
    assert machine.flush().line("to be re-encoded: it has NUL, or lines of more than 998 octets")
    assert len(server.accepted) == 2


# Standard input


def piped(machine: Machine, *words: str, octets: int) -> tuple[int, str, bool]:
    """Exit code, what was said, and whether the writer could write all of so many octets."""
    command = [SENDMAIL, *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=machine.environment) as process:
        assert process.stdin is not None and process.stderr is not None
        whole = True
        try:
            process.stdin.write(b"Subject: x\n\n" + b"x" * octets)
            process.stdin.close()
        except BrokenPipeError:
            whole = False
        said = process.stderr.read().decode()
        return process.wait(), said, whole


def test_whoever_writes_is_heard_to_the_end(machine: Machine) -> None:  # D-084 D-089
    """A caller in mid-write must see the exit code, not SIGPIPE."""
    machine.configure(top='max_message_size = "1M"')
    code, said, whole = piped(machine, YOU, octets=8 << 20)
    assert (code, whole) == (65, True)
    assert "max_message_size" in said
    assert nothing_is_left(machine)


def test_a_wrong_call_ends_before_anything_is_read(machine: Machine) -> None:  # D-084
    code, said, _ = piped(machine, "-k", YOU, octets=8 << 20)
    assert code == 64 and "-k" in said


def test_a_dot_ends_the_message_and_the_rest_is_read_all_the_same(machine: Machine) -> None:  # D-065
    command = [SENDMAIL, YOU]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=machine.environment) as process:
        assert process.stdin is not None
        process.stdin.write(MAIL + b".\n" + b"y" * (4 << 20))
        process.stdin.close()
        assert process.wait() == 0
    (one,) = machine.ids("new")
    assert machine.text(one).endswith(b"\n\nbody\n")


def test_without_standard_input_there_is_no_mail(machine: Machine) -> None:  # D-085 D-103
    """A closed descriptor is no empty message."""
    with machine.start_program("/bin/sh", "-c", f"exec {SENDMAIL} {YOU} <&-") as running:
        result = running.wait()
    assert result.code == 66, result.errors
    assert nothing_is_left(machine)


def test_a_message_that_cannot_be_read_is_65(machine: Machine) -> None:  # D-085 D-102
    """As Postfix ends; nothing was queued."""
    with open("/proc/self/mem", "rb", buffering=0) as nothing_there:
        result = machine.sendmail(nothing_there.fileno(), YOU)
    assert result.code == 65
    assert "Input/output error; nothing was accepted" in result.errors
    assert nothing_is_left(machine)


# Exit codes


def test_a_queue_that_cannot_go_is_no_failure_of_the_call(machine: Machine) -> None:  # D-100
    """-bp, -bi and -q have done what was asked for, also where mail was put off."""
    machine.configure(relay("smtp://127.0.0.1:1"))
    machine.enqueue(MAIL, YOU)
    for words in (["-bi"], ["-bp"], ["-q"], ["-q15m"], ["-bp"]):
        assert machine.sendmail(b"", *words).code == 0
    assert len(machine.ids("cur")) == 1


def test_only_the_exit_code_tells_a_caller_who_wants_quiet(machine: Machine) -> None:  # D-028 D-148
    for words in (["-oeq"], ["-eq"]):
        result = machine.sendmail(MAIL, *words, "broken@@b.example")
        assert (result.code, result.errors) == (65, "")


def test_a_bug_is_70_and_one_sentence(machine: Machine) -> None:  # D-106
    """Whatever it is: never a traceback, never Python's own exit code, and nothing queued."""
    bug = (
        "import smartrelay.submit.enqueue as e\n"
        "def bug(*_): raise ZeroDivisionError('oops')\n"
        "e.enqueue = bug\n"
        "from smartrelay.door import main\nmain()\n"
    )
    with machine.start_program(sys.executable, "-c", bug, YOU, text=MAIL) as running:
        result = running.wait()
    assert result.code == 70
    assert result.errors == "smartrelay-sendmail: a bug of smartrelay: ZeroDivisionError: oops; nothing was accepted\n"


def test_a_spool_that_cannot_be_made_is_73(machine: Machine) -> None:  # D-108
    result = machine.sendmail(MAIL, "--spool", "/proc/spool", YOU)
    assert result.code == 73, result.errors
    assert "/proc/spool" in result.errors


def test_a_command_that_is_not_there_is_69(machine: Machine) -> None:  # D-105
    """What setup has put in place is gone: nothing that the caller could do, now or later."""
    script = "from smartrelay.door import main\nmain(program='/no/such/smartrelay')\n"
    with machine.start_program(sys.executable, "-c", script, "-bp") as running:
        result = running.wait()
    assert result.code == 69
    assert result.errors == "smartrelay-sendmail: cannot run /no/such/smartrelay: No such file or directory\n"


def test_no_room_is_75_and_nothing_is_queued(machine: Machine) -> None:  # D-109
    """Only ever where nothing was accepted: PHP and others try again."""
    path = Path(machine.config)
    path.write_text(path.read_text().replace("min_free_space = 0", 'min_free_space = "1000T"'))
    code, said = refused(machine, MAIL, YOU)
    assert code == 75 and "min_free_space" in said


@pytest.mark.as_another_user
def test_a_uid_without_a_name_and_a_spool_of_somebody_elses(machine: Machine) -> None:  # D-107 D-111
    """71: who sends it? With -f that is said. 77: a spool that was named, and is not the caller's."""
    script = (
        "import os, sys\n"
        f"os.setgroups([]); os.setgid({NOBODY - 1}); os.setuid({NOBODY - 1})\n"
        "from smartrelay.door import main\nmain()\n"
    )
    machine.enqueue(MAIL, YOU)
    for above in (Path(machine.folder), *Path(machine.folder).parents):
        if above.stat().st_mode & 0o005 != 0o005:
            above.chmod(0o755)  # pytest's own are its user's alone

    def run(*words: str) -> tuple[int, bytes]:
        done = subprocess.run(
            [sys.executable, "-c", script, "--spool", machine.spool, *words],
            input=b"From: me@a.example\n" + MAIL,  # without one more would be loaded, from where this user may not look
            capture_output=True,
            check=False,
            env={"PATH": "/usr/bin:/bin", "SMARTRELAY_HOSTNAME": "h.a.example"},
        )
        return done.returncode, done.stderr

    code, said = run(YOU)
    assert code == 71 and b"-f" in said
    code, said = run("-f", "me@a.example", YOU)
    assert code == 77, said
    assert machine.spool.encode() in said


# A pass over some of the queue


def test_q_with_a_part_of_an_id_recipient_or_sender_sends_only_that(machine: Machine, smtp_server: Start) -> None:  # D-023
    machine.relay_to(server := smtp_server())
    ids = [
        machine.enqueue(b"Subject: %s\n\n" % name, "-f", f"{name.decode()}@a.example", f"you@{name.decode()}.example")
        for name in (b"one", b"two", b"three", b"four")
    ]
    for number, word in enumerate((f"-qI{ids[0]}", "-qRTWO.exam", "-qSthree@"), 1):
        result = machine.sendmail(b"", word)
        assert result.code == 0, result.errors
        assert len(server.accepted) == number
    assert re.findall(rb"Subject: (\w+)", b"".join(each.content for each in server.accepted)) == [b"one", b"two", b"three"]
    assert machine.ids() == [ids[3]]
    assert machine.sendmail(b"", "-qRnobody").code == 0
