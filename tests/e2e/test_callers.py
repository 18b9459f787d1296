"""Programs that have called sendmail for decades, by their exact command lines: each is served as it means.

What comes in is what such a program writes, line ends and all; the rows are those of the checklist.
"""

import os
import pwd
import re
import shlex
from dataclasses import dataclass, field

import pytest

from smartrelay.mail import stored
from smartrelay.mail.envelope import Envelope
from tests.e2e.commands import SENDMAIL, Machine

ME = f"{pwd.getpwuid(os.getuid()).pw_name}@a.example"
ROOT = ["root@a.example"]
YOU = ["you@b.example"]
TO_YOU = b"To: you@b.example\nSubject: x\n\nbody\n"
CRON = b"From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@web1> date\nAuto-Submitted: auto-generated\n\nout\n"
PLAIN = b"Subject: x\n\nbody\n"


@dataclass(frozen=True)
class Call:
    """line: the shell's words, with `sendmail` for the program. has: what the stored text has; lacks: what it has not."""

    caller: str
    line: str
    handed: bytes
    recipients: list[str]
    sender: str = ME
    program: str = "sendmail"
    has: bytes = b"\n\nbody\n"
    lacks: bytes = b"\r"
    env: dict[str, str | None] = field(default_factory=dict)


CALLS = [
    Call("PHP mail()", "sendmail -t -i ", b"To: you@b.example\nSubject: x\nX-A: y\r\nX-Mailer: PHP\r\n\nbody\n", YOU),  # D-120
    Call("PHP mail() with -f", "sendmail -t -i -fwww@x.example", b"To: you@b.example\nSubject: x\r\nX: y\r\n\nbody\n", YOU,
         "www@x.example", has=b"\nFrom: www@x.example\n"),  # D-120
    Call("cronie", "sendmail -FCronDaemon -i -odi -oem -oi -t -f root", CRON, ROOT, "root@a.example",
         has=b"\nFrom: root@a.example (Cron Daemon)\nTo: root@a.example\n"),  # D-121
    Call("Debian's cron", "sendmail -i -FCronDaemon -B8BITMIME -oem root", CRON, ROOT, has=b"\n\nout\n"),  # D-122
    Call("BSD's cron", "sendmail -FCronDaemon -odi -oem -oi -t", CRON, ROOT, has=b"\n\nout\n"),  # D-123
    Call("an older BSD's cron", "sendmail -FCronDaemon -odi -oem -or0s -t", CRON, ROOT, has=b"\n\nout\n"),  # D-123
    Call("systemd-cron", "sendmail -i -B 8BITMIME you@b.example", CRON, YOU, has=b"\n\nout\n"),  # D-124
    Call("anacron", "sendmail -FAnacron -odi root", PLAIN + b".\nno\n", ROOT, has=b"\nFrom: Anacron <",
         lacks=b"\nno\n"),  # D-125
    Call("atd", "sendmail -i you@b.example", PLAIN, YOU),  # D-126
    Call("busybox crond", "sendmail -ti", TO_YOU, YOU),  # D-127
    Call("mdadm", "sendmail -t", b"From: mdadm monitoring <root>\nTo: root\nSubject: Fail event\n\nbody\n", ROOT,
         has=b"\nFrom: mdadm monitoring <root@a.example>\n"),  # D-128
    Call("git send-email", "sendmail -f me@x.example -i you@b.example 'Joe Doe <joe@b.example>' c@d.example", TO_YOU,
         ["you@b.example", "joe@b.example", "c@d.example"], "me@x.example"),  # D-129
    Call("BSD mailx, and smartd, zed and Nagios by it", "send-mail -i -m you@b.example root", PLAIN, [*YOU, *ROOT],
         program="send-mail"),  # D-130 D-133 D-134 D-136
    Call("s-nail", "sendmail -i -m -f me@x.example -- you@b.example", PLAIN, YOU, "me@x.example"),  # D-131
    Call("an older nail", "sendmail -i -r me@x.example you@b.example", PLAIN, YOU, "me@x.example"),  # D-131
    Call("mutt", "sendmail -oem -oi -f me@x.example -N never -R hdrs -B8BITMIME -- you@b.example", TO_YOU, YOU,
         "me@x.example"),  # D-132
    Call("logwatch", "sendmail -t", b"To: root\nFrom: root\nSubject: Logwatch\n\nbody\n", ROOT),  # D-135
    Call("Symfony's other way", "sendmail -t -f'me@x.example'", TO_YOU, YOU, "me@x.example"),  # D-138
    Call("Drupal", "sendmail -t -i -fsite@x.example", TO_YOU.replace(b"\nSubj", b"\r\nSubj"), YOU, "site@x.example"),  # D-139
    Call("Rails", 'sendmail -i -f "s@x.example" -- you@b.example c@d.example', TO_YOU, [*YOU, "c@d.example"],
         "s@x.example"),  # D-141
    Call("MIME::Lite", "sendmail -t -oi -oem", TO_YOU, YOU),  # D-142
    Call("Email::Sender", "sendmail -i -f s@x.example -- you@b.example", TO_YOU, YOU, "s@x.example"),  # D-142
    Call("sudo", "sendmail -t", b"To: root\nFrom: joe\nAuto-Submitted: auto-generated\nSubject: *** SECURITY ***\n\nbody\n",
         ROOT, env={"HOME": None, "LANG": None, "PATH": None}, has=b"\nFrom: joe@a.example\n"),  # D-143
    Call("fail2ban", "sendmail -f fail2ban@x.example you@b.example",
         b"Subject: [Fail2Ban]\nDate: Thu, 01 Jan 1970 00:00:00 +0000\nFrom: Fail2Ban <fail2ban@x.example>\n\nbody\n", YOU,
         "fail2ban@x.example", has=b"\nDate: Thu, 01 Jan 1970 00:00:00 +0000\nFrom: Fail2Ban <"),  # D-144
    Call("LSF", "sendmail -oi -FLSF you@b.example", PLAIN, YOU, has=b"\nFrom: LSF <"),  # D-145
    Call("Emacs", "sendmail -oi -f me -oem -odb -t", TO_YOU, YOU, "me@a.example"),  # D-146
    Call("Emacs, interactively", "sendmail -oi -f me -oem -odi -t", TO_YOU, YOU, "me@a.example"),  # D-146
    Call("procmail", "sendmail -oi -t", b"From joe@x.example  Mon Jan  1 00:00:00 2026\n" + TO_YOU, YOU,
         lacks=b"From joe"),  # D-147
    Call("formail", 'sendmail -oi -f "joe@x.example" you@b.example', b">From joe@x.example\n" + PLAIN, YOU,
         "joe@x.example"),  # D-147
    Call("vacation", "sendmail -eq -f '<>' -- you@b.example", TO_YOU, YOU, ""),  # D-148
]  # fmt: skip


def handed_in(machine: Machine, call: Call) -> tuple[Envelope, bytes]:
    """What is queued when a shell runs the call, as popen(3) does it."""
    program = os.path.join(machine.folder, call.program)
    os.symlink(SENDMAIL, program)
    line = re.sub(rf"^{call.program}", shlex.quote(program), call.line)
    with machine.start_program("/bin/sh", "-c", line, text=call.handed, env=call.env) as running:
        result = running.wait()
    assert (result.code, result.output, result.errors) == (0, b"", "")  # D-088
    (one,) = machine.ids("new")
    with open(machine.path(one), "rb") as file:
        return stored.read(file.readline()), file.read()


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.caller)
def test_it_is_served_as_it_means(machine: Machine, call: Call) -> None:
    envelope, text = handed_in(machine, call)
    assert [recipient.address for recipient in envelope.recipients] == call.recipients
    assert envelope.reverse_path == call.sender
    assert call.has in text and call.lacks not in text
    for name in (b"Date", b"From", b"Message-ID"):
        assert len(re.findall(rb"(?im)^%s:" % name, text.partition(b"\n\n")[0])) == 1


def test_what_mutt_wants_to_be_told_is_in_the_envelope(machine: Machine) -> None:  # D-132
    (call,) = (call for call in CALLS if call.caller == "mutt")
    envelope, _ = handed_in(machine, call)
    assert (envelope.recipients[0].notify, envelope.ret) == ("NEVER", "HDRS")
