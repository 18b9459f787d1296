"""Programs by which people send mail, run by root and by a user who has only the socket."""

from email import message_from_bytes

import pytest

from tests.callers.system import DOOR, JOE, System, field
from tests.e2e.commands import DOMAIN, HOSTNAME
from tests.support.sink import SmtpSink

BODY = "Grüße\n.\n..x\nFrom here\n.y\n"
OCTETS = BODY.encode()
YOU = ["you@b.example", "c@b.example", "hid@b.example"]
OPTIONS = ("-s", "Grüße", "-c", "c@b.example", "-b", "hid@b.example")

PATCH = """\
From 1234567890123456789012345678901234567890 Mon Sep 17 00:00:00 2001
From: Me <me@x.example>
Date: Thu, 1 Jan 2026 00:00:00 +0000
Subject: [PATCH] x

---
.
..x
-- \n"""


def test_mutt(system: System, user: str) -> None:  # D-132
    wishes = "set from=me@x.example use_envelope_from=yes dsn_notify='failure,delay' dsn_return=hdrs copy=no"
    system.call("mutt", *OPTIONS, "-e", wishes, "--", "you@b.example", text=OCTETS, user=user)
    (sent,) = system.sent()
    assert (sent.sender, sent.recipients, sent.envelope.ret) == ("me@x.example", YOU, "HDRS")
    assert {each.notify for each in sent.envelope.recipients} == {"FAILURE,DELAY"}
    assert (sent.field("Subject"), sent.content, sent.field("To")) == ("Grüße", BODY, "you@b.example")
    assert b"hid@" not in sent.text


def test_bsd_mailx(system: System, user: str) -> None:  # D-130 D-133 D-134 D-136
    system.call("bsd-mailx", *OPTIONS, "-a", "X-Mine: yes", "-r", "me@x.example", "you@b.example", text=OCTETS, user=user)
    (sent,) = system.sent()
    assert (sent.sender, sorted(sent.recipients)) == ("me@x.example", sorted(YOU))
    assert (sent.field("Subject"), sent.field("X-Mine")) == ("Grüße", "yes")
    assert sent.body == OCTETS
    assert b"hid@" not in sent.text


def test_a_raw_subject_of_bsd_mailx_arrives_encoded(system: System, smtp_sink: SmtpSink) -> None:
    """The server takes no SMTPUTF8. The octets of the text arrive as they were."""
    system.relay_to(smtp_sink)
    system.call("bsd-mailx", "-s", "Grüße", "you@b.example", text=OCTETS, user="joe")
    system.flush()
    (mail,) = smtp_sink.messages()
    assert (mail.mail_from.split()[0], mail.recipients) == ("<joe@a.example>", ["<you@b.example>"])
    head, _, body = mail.content.partition(b"\n\n")
    assert head.isascii()
    assert field(message_from_bytes(head), "Subject") == "Grüße"
    assert body == OCTETS


def test_s_nail(system: System, user: str) -> None:  # D-131
    system.call("s-nail", *OPTIONS, "-r", "Jörg <me@x.example>", "you@b.example", text=OCTETS, user=user)
    (sent,) = system.sent()
    assert (sent.sender, sorted(sent.recipients)) == ("me@x.example", sorted(YOU))
    assert (sent.field("Subject"), sent.field("From")) == ("Grüße", "Jörg <me@x.example>")
    assert sent.content == BODY
    assert b"hid@" not in sent.text


def test_mailutils(system: System, user: str) -> None:
    options = ("-s", "Grusz", "-r", "me@x.example", "-E", "set nodot")
    system.call("mail.mailutils", *options, "you@b.example", "root", text=OCTETS, user=user)
    (sent,) = system.sent()
    assert (sent.sender, sent.field("Subject"), sent.body) == ("me@x.example", "Grusz", OCTETS)
    assert sent.recipients[0] == "you@b.example"
    assert sent.recipients[1] in (f"root@{HOSTNAME}", f"root@{DOMAIN}")  # it completes the name itself, with the host's


def test_git_send_email(system: System, user: str) -> None:  # D-129
    """It looks for the command in sendmail's usual places by itself."""
    with open(f"{system.folder}/0001.patch", "w", encoding="utf-8") as file:
        file.write(PATCH)
    people = ("--from=Me <me@x.example>", '--to="Doe, J" <you@b.example>', "--cc=c@b.example", "--bcc=hid@b.example")
    how = ("--confirm=never", "--suppress-cc=all", "--envelope-sender=auto", "--quiet")
    system.call("git", "send-email", *how, *people, "0001.patch", user=user)
    (sent,) = system.sent()
    assert (sent.sender, sorted(sent.recipients)) == ("me@x.example", sorted(YOU))
    assert sent.body.endswith(b"---\n.\n..x\n-- \n")
    assert b"hid@" not in sent.text


@pytest.mark.parametrize("how", ["--pipe", "--socket", "--server", "--pipeline"])
def test_swaks(system: System, user: str, how: str) -> None:
    where = {"--pipe": "sendmail -bs", "--socket": f"/{DOOR}", "--server": f"127.0.0.1:{system.port}"}
    way = [how, where[how]] if how in where else [how, "--server", where["--server"]]
    message = ["--from", "me@x.example", "--to", "you@b.example,c@b.example", "--ehlo", "c.example", "--body", BODY]
    said = system.call("perl", "/usr/bin/swaks", *way, *message, user=user).output
    assert b"250 2.0.0 Ok: queued as " in said
    (sent,) = system.sent()
    assert (sent.sender, sent.recipients) == ("me@x.example", ["you@b.example", "c@b.example"])
    assert sent.envelope.uid == (JOE if user == "joe" else 0)
    assert sent.body.rstrip(b"\n") == OCTETS.rstrip(b"\n")


@pytest.mark.parametrize("program", ["bsd-mailx", "s-nail", "mail.mailutils", "mutt"])
def test_who_sends_is_who_the_kernel_says(system: System, user: str, program: str) -> None:  # D-081
    lie = ("env", "USER=evil", "LOGNAME=evil")
    assert system.run_inside(*lie, program, "-s", "x", "you@b.example", text=b"x\n", user=user).code == 0
    (sent,) = system.sent()
    assert (sent.envelope.uid, sent.sender.partition("@")[0]) == (JOE if user == "joe" else 0, user)


@pytest.mark.parametrize("program", ["bsd-mailx", "s-nail", "mail.mailutils", "mutt"])
def test_what_is_refused_is_told_to_who_sent_it(system: System, program: str) -> None:
    """What was not taken never looks like sent: each ends with an error, and all but Mailutils pass on what we say."""
    system.configure(top='max_message_size = "10K"')
    result = system.run_inside(program, "-s", "x", "you@b.example", text=b"x\n" * 10_000, user="joe")
    assert result.code != 0
    assert "larger than max_message_size (10240 octets)" in result.errors or program == "mail.mailutils"
    assert system.queued() == []
