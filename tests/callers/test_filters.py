"""Programs that answer mail or pass it on, as they are run when mail comes in."""

import os

from tests.callers.system import JOE, System

COMING = b"From jim@x.example  Mon Jan  1 00:00:00 2026\nFrom: jim@x.example\nTo: joe@a.example\nSubject: x\n\nhi\n.\n..x\n"
ANSWER = """\
:0 c
| (formail -r -A "X-Loop: joe@a.example"; echo back; echo .; echo ..x) | $SENDMAIL -oi -t
"""


def home(system: System, name: str, text: str) -> None:
    """Writes a file of joe's."""
    with open(f"{system.own}/home/joe/{name}", "w", encoding="utf-8") as file:
        file.write(text)
    os.chown(file.name, JOE, JOE)


def test_procmail_passes_on(system: System) -> None:  # D-147
    home(system, ".procmailrc", ":0\n! you@b.example\n")
    assert system.run_inside("procmail", text=COMING, user="joe").code == 0
    (sent,) = system.sent()
    assert (sent.sender, sent.recipients) == ("joe@a.example", ["you@b.example"])
    assert sent.field("From") == "jim@x.example"
    assert b"From jim" not in sent.text
    assert sent.body.rstrip(b"\n") == b"hi\n.\n..x"


def test_formail_answers(system: System) -> None:  # D-147
    home(system, ".procmailrc", ANSWER)
    assert system.run_inside("procmail", text=COMING, user="joe").code == 0
    (sent,) = system.sent()
    assert (sent.sender, sent.recipients) == ("joe@a.example", ["jim@x.example"])
    assert (sent.field("Subject"), sent.field("X-Loop")) == ("Re: x", "joe@a.example")
    assert sent.body == b"back\n.\n..x\n"


def test_vacation(system: System) -> None:  # D-148
    home(system, ".vacation.msg", "Subject: away\n\nI am away\n..x\n")
    system.call("vacation", "-I", "joe", user="joe")
    system.call("vacation", "joe", text=COMING, user="joe")
    (sent,) = system.sent()
    assert (sent.sender, sent.recipients) == ("joe@a.example", ["jim@x.example"])
    assert sent.field("Subject") == "away"
    assert sent.body == b"I am away\n..x\n"
