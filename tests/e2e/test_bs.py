"""`sendmail -bs`: SMTP on standard input and output."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from smartrelay.mail.envelope import Envelope
from smartrelay.spool.queue import Queue
from smartrelay.submit.pipe import converse
from smartrelay.submit.protocol import Rules
from tests.e2e.commands import SENDMAIL, Machine, relay
from tests.submit.tray import Tray, session
from tests.support.exchangers import Exchangers
from tests.support.smtp_talk import Talk

HELLO = b"EHLO c.example\r\n"
BEGIN = HELLO + b"MAIL FROM:<me@a.example>\r\nRCPT TO:<you@b.example>\r\nDATA\r\n"


@contextmanager
def talking(machine: Machine, **more: str) -> Iterator[tuple[Talk, "subprocess.Popen[bytes]"]]:
    process = subprocess.Popen(
        [SENDMAIL, "-bs"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**machine.environment, **more},
        cwd=machine.folder,
    )
    with process:
        assert process.stdin is not None and process.stdout is not None
        yield Talk(process.stdout.fileno(), process.stdin.fileno()), process
        process.kill()


def envelope(machine: Machine, one: str) -> Envelope:
    return Queue(machine.spool).get_envelope(one)


def test_a_program_on_a_pipe_is_greeted_at_once_and_its_mail_is_taken(machine: Machine) -> None:  # F-001 F-047 F-058
    with talking(machine) as (talk, process):
        assert re.fullmatch(r"220 client\.a\.example ESMTP .*", talk.hear())
        talk.say(HELLO)
        found = re.fullmatch(r"250 2\.0\.0 Ok: queued as (\w{17})", talk.message(b"Subject: x\r\n\r\nhello"))
        assert found, "and the message is on disk before anything else is said"
        process.kill()
    assert machine.ids("new") == [found[1]]
    sent = envelope(machine, found[1])
    assert (sent.reverse_path, [each.address for each in sent.recipients]) == ("me@a.example", ["you@b.example"])
    assert sent.uid == os.getuid()
    text = machine.text(found[1]).decode()
    # E-020 F-049: who, by whom, with what, which id, when
    assert re.match(
        rf"Received: from c\.example \(userid {os.getuid()}\)\n\tby client\.a\.example \(smartrelay\) with ESMTP\n"
        rf"\tid {found[1]}; \w\w\w, \d+ \w\w\w \d{{4}} \d\d:\d\d:\d\d [+-]\d{{4}}\nSubject: x\n",
        text,
    )
    # F-060: a local program's message is completed
    assert re.search(r"\nDate: .*\nFrom: me@a\.example\nMessage-ID: <\w{17}@client\.a\.example>\n\nhello\n$", text)


@pytest.mark.parametrize("end", [b"QUIT\r\n", b""], ids=["QUIT", "EOF"])
def test_a_session_in_one_go_ends_with_0_and_says_nothing_on_standard_error(machine: Machine, end: bytes) -> None:  # F-015
    done = machine.sendmail(BEGIN + b"x\r\n.\r\n" + end, "-bs")
    assert (done.code, done.errors) == (0, "")
    replies = [line[:3] for line in done.output.decode().splitlines() if line[3] == " "]
    assert replies == ["220", "250", "250", "250", "354", "250", *(["221"] if end else [])]
    assert len(machine.ids("new")) == 1


def test_line_feeds_are_line_ends_on_a_pipe(machine: Machine) -> None:  # F-035
    done = machine.sendmail(b"MAIL FROM:<root>\nRCPT TO:<postmaster>\nDATA\nSubject: x\n\na\n.\nQUIT\n", "-bs")
    assert done.code == 0, done.output
    (one,) = machine.ids("new")
    assert machine.text(one).endswith(b"\n\na\n")
    sent = envelope(machine, one)
    # F-022 F-023: local names are completed
    assert (sent.reverse_path, sent.recipients[0].address) == ("root@a.example", "postmaster@a.example")


def test_dsn_wishes_are_in_the_envelope(machine: Machine) -> None:  # F-045
    machine.sendmail(
        b"EHLO c\r\nMAIL FROM:<a@b> RET=HDRS ENVID=x+2By\r\n"
        b"RCPT TO:<c@d> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c+2Bc@d\r\nRCPT TO:<e@f>\r\nDATA\r\n.\r\n",
        "-bs",
    )
    (one,) = machine.ids("new")
    sent = envelope(machine, one)
    assert (sent.ret, sent.envid) == ("HDRS", "x+y")
    assert [(each.address, each.notify, each.orcpt) for each in sent.recipients] == [
        ("c@d", "SUCCESS,DELAY", "rfc822;c+2Bc@d"),
        ("e@f", "", ""),
    ]


def test_hidden_recipients_stay_hidden(machine: Machine) -> None:  # E-030 E-034
    text = b"Bcc: x@y,\r\n z@y\r\nReturn-Path: <q@y>\r\nSubject: s\r\n\r\nb\r\n.\r\n"
    machine.sendmail(BEGIN + text, "-bs")
    (one,) = machine.ids("new")
    assert not re.search(rb"bcc|return-path|z@y", machine.text(one), re.IGNORECASE)


@pytest.mark.parametrize("cut", [b"Subject: x\r\n", b"Subject: x\r\n\r\nhalf a mess", b"x" * 300_000])
def test_half_a_message_is_none(machine: Machine, cut: bytes) -> None:  # F-015 D-110: no 76, an end is no failure
    done = machine.sendmail(BEGIN + cut, "-bs")
    assert done.code == 0
    assert machine.ids("new") == []
    assert os.listdir(f"{machine.spool}/tmp") == []


def test_a_signal_between_commands_is_told_and_leaves_no_half_message(machine: Machine) -> None:  # F-052
    with talking(machine) as (talk, process):
        talk.hear()
        talk.say(BEGIN, 4)
        talk.write(b"x" * 200_000)
        process.send_signal(signal.SIGTERM)
        assert talk.hear().startswith("421 4.3.2 ")
        assert process.wait() == 0
    assert machine.ids("new") == []
    assert os.listdir(f"{machine.spool}/tmp") == []


def test_who_says_nothing_for_too_long_is_told_so() -> None:  # F-050
    assert Rules("h", 1).patience >= 300
    commands, command = os.pipe()
    reply, replies = os.pipe()
    tray = Tray()
    os.write(command, BEGIN + b"half")
    converse(session(tray), 0.01, commands, replies)
    assert os.read(reply, 1 << 16).split(b"\r\n")[-2].startswith(b"421 4.4.2 ")
    assert tray.messages == []
    for each in (commands, command, reply, replies):
        os.close(each)


def test_a_message_that_is_too_large_is_read_to_its_end_and_refused(machine: Machine) -> None:  # F-032
    machine.configure(top='max_message_size = "100K"')
    done = machine.sendmail(
        HELLO + b"MAIL FROM:<a@b> SIZE=200000\r\nMAIL FROM:<a@b> SIZE=10\r\nRCPT TO:<c@d>\r\nDATA\r\n"
        + b"\r\n" + (b"x" * 98 + b"\r\n") * 5000 + b".\r\nNOOP\r\n",
        "-bs",
    )  # fmt: skip
    replies = [line[:9] for line in done.output.decode().splitlines()[-6:]]
    assert replies == ["552 5.3.4", "250 2.1.0", "250 2.1.5", "354 End w", "552 5.3.4", "250 2.0.0"]
    assert machine.ids("new") == []
    assert os.listdir(f"{machine.spool}/tmp") == []


def test_no_space_is_told_before_the_text_is_sent(machine: Machine) -> None:  # F-032
    with open(machine.config, "w", encoding="utf-8") as file:
        file.write('hostname = "h.example"\nmin_free_space = "9000T"\n')
    done = machine.sendmail(BEGIN, "-bs")
    assert [line[:9] for line in done.output.decode().splitlines()[-3:]] == ["452 4.3.1", "503 5.5.1", "503 5.5.1"]


def test_more_recipients_than_may_be_are_for_another_message(machine: Machine) -> None:  # F-026
    machine.configure(top="max_recipients = 100")
    recipients = b"".join(b"RCPT TO:<r%d@b.example>\r\n" % number for number in range(101))
    done = machine.sendmail(HELLO + b"MAIL FROM:<a@b>\r\n" + recipients + b"DATA\r\n.\r\n", "-bs")
    replies = [line[:9] for line in done.output.decode().splitlines()]
    assert replies[-4:] == ["250 2.1.5", "452 4.5.3", "354 End w", "250 2.0.0"]
    (one,) = machine.ids("new")
    assert len(envelope(machine, one).recipients) == 100


def test_a_message_that_goes_round_is_refused(machine: Machine) -> None:  # F-055
    trace = b"Received: from x by y; z\r\n"
    done = machine.sendmail(BEGIN + trace * 99 + b"\r\nx\r\n.\r\n" + BEGIN + trace * 100 + b"\r\nx\r\n.\r\n", "-bs")
    assert done.output.decode().splitlines()[-1].startswith("554 5.4.6 ")
    assert len(machine.ids("new")) == 1


def test_a_header_without_end_is_refused(machine: Machine) -> None:  # E-064
    done = machine.sendmail(BEGIN + (b"X: " + b"y" * 1000 + b"\r\n") * 1300 + b"\r\n.\r\nNOOP\r\n", "-bs")
    assert [line[:9] for line in done.output.decode().splitlines()[-2:]] == ["552 5.3.4", "250 2.0.0"]


def test_what_is_wrong_with_the_spool_is_said_instead_of_a_greeting(machine: Machine) -> None:
    with open(machine.spool, "w", encoding="utf-8"):
        pass
    with talking(machine) as (talk, process):
        assert talk.hear().startswith("421 4.3.5 the spool ")
        assert talk.hear() == ""
        assert process.wait() == 78


def test_a_thousand_messages_in_one_session_are_a_thousand_messages(machine: Machine) -> None:  # F-059
    with talking(machine) as (talk, process):
        talk.hear()
        talk.say(HELLO)
        open_files = []
        for number in range(10):
            one = b"RSET\r\nNOOP\r\n" + BEGIN.removeprefix(HELLO)[:-6] + b"BDAT 3 LAST\r\nx\r\n"
            assert talk.say(one * 100, 500).startswith("250 2.0.0 Ok: queued")
            open_files.append(len(os.listdir(f"/proc/{process.pid}/fd")))
            assert len(machine.ids("new")) == 100 * (number + 1)
        assert len(set(open_files)) == 1


def test_a_large_message_is_not_held_in_memory(machine: Machine) -> None:  # F-053
    machine.configure(top='max_message_size = "1G"')
    path = os.path.join(machine.folder, "session")
    with open(path, "wb") as file:
        file.write(BEGIN + b"Subject: x\r\n\r\n")
        block = (b"x" * 998 + b"\r\n") * 1000
        for _ in range(100):
            file.write(block)
        file.write(b".\r\nQUIT\r\n")
    with open(path, "rb") as file:
        peak = machine.peak(SENDMAIL, "-bs", text=file.fileno())
    assert peak < 40 * 1024
    assert len(machine.ids("new")) == 1


def test_symfony_speaks_to_us_as_it_does(machine: Machine) -> None:  # D-138 F-058
    """What Symfony Mailer's SendmailTransport says in its `-bs` style: EHLO with an address literal, a message, RSET, NOOP as
    a ping, another message, QUIT."""
    with talking(machine) as (talk, process):
        assert talk.hear().startswith("220 ")
        assert "8BITMIME" in talk.say(b"EHLO [127.0.0.1]\r\n")
        for number in range(2):
            assert talk.say(b"MAIL FROM:<www@a.example>\r\n").startswith("250 ")
            assert talk.say(b"RCPT TO:<you@b.example>\r\n").startswith("250 ")
            assert talk.say(b"DATA\r\n").startswith("354 ")
            assert talk.say(b"Subject: %d\r\n\r\n..x\r\n\r\n.\r\n" % number).startswith("250 ")
            assert talk.say(b"RSET\r\nNOOP\r\n", 2).startswith("250 ")
        assert talk.say(b"QUIT\r\n").startswith("221 ")
        assert process.wait() == 0
    assert [machine.text(one).partition(b"\n\n")[2] for one in machine.ids("new")] == [b".x\n\n"] * 2


def test_eight_bits_come_through_as_they_are(machine: Machine) -> None:  # F-043
    """Whatever BODY says: who says 7BIT and sends more has said it wrong."""
    octets = bytes(range(128, 256)) + b"\r\n"
    for body in (b" BODY=8BITMIME", b" BODY=7BIT", b""):
        begin = BEGIN.replace(b"example>", b"example>" + body, 1)
        done = machine.sendmail(begin + b"Subject: x\r\n\r\n" + octets + b".\r\n", "-bs")
        assert b"\r\n250 2.0.0 Ok: queued" in done.output
    texts = [machine.text(one) for one in machine.ids("new")]
    assert [text.partition(b"\n\n")[2] for text in texts] == [bytes(range(128, 256)) + b"\n"] * 3


def test_nothing_is_looked_up_before_the_reply(machine: Machine, exchangers: Exchangers) -> None:  # F-048 F-056 D-090
    """Not even whether a domain takes no mail at all: that is for a pass, which has the time."""
    exchangers.zone["b.example"] = ["MX 0 ."]
    machine.configure(relay("mx"), exchangers.table)
    assert b"\r\n250 2.0.0 Ok: queued" in machine.sendmail(BEGIN + b".\r\n", "-bs").output
    assert machine.sendmail(b"Subject: x\n\n", "-odi", "-v", "you@b.example").code == 0
    assert len(machine.ids("new")) == 2
    assert exchangers.dns.log == []


def test_the_postmaster_is_known_in_any_case(machine: Machine) -> None:  # F-023
    machine.configure(top='postmaster = "admin@x.example"')
    names = [b"postmaster", b"PostMaster", b"POSTMASTER"]
    for name in names:
        done = machine.sendmail(BEGIN.replace(b"you@b.example", name) + b".\r\n", "-bs")
        assert b"\r\n250 2.1.5 " in done.output
    for one in machine.ids("new"):
        assert [each.address for each in envelope(machine, one).recipients] == ["admin@x.example"]


def test_mail_that_did_not_begin_here_is_not_fixed_up(machine: Machine) -> None:  # D-036 E-001 F-060
    handed = b"To: root\r\nReturn-Path: <a@b.example>\r\nBcc: c@b.example\r\n\r\nbody\r\n"
    machine.sendmail(BEGIN + handed + b".\r\n", "-G", "-bs")
    (one,) = machine.ids("new")
    trace, _, rest = machine.text(one).partition(b"To: root")
    assert re.fullmatch(rb"Received: from c\.example .*\n\tby .*\n\tid .*\n", trace)
    assert rest == b"\nReturn-Path: <a@b.example>\n\nbody\n"


def test_who_errs_and_errs_waits_for_replies() -> None:  # F-051
    commands, command = os.pipe()
    reply, replies = os.pipe()
    os.write(command, b"FOO\r\n" * 11)
    os.close(command)
    begin = time.monotonic()
    converse(session(Tray(), Rules("h", 1, pause=0.05)), 1, commands, replies)
    assert time.monotonic() - begin >= 0.05
    assert os.read(reply, 1 << 16).count(b"\r\n500 5.5.2 ") == 11
    for each in (commands, reply, replies):
        os.close(each)
