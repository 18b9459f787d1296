"""Programs that send by a library, in each way that the library has: a command, a session on a pipe, a port."""

from urllib.parse import quote

import pytest

from tests.callers.programs import CONTENT, EMAIL_SENDER, MIME_LITE, PHP, PHPMAILER, SYMFONY
from tests.callers.system import Sent, System
from tests.support.sink import SmtpSink

PEOPLE = ["hid@b.example", "you@b.example"]


def php(system: System, script: str, *arguments: str, user: str) -> None:
    """Runs a script with the extensions that the packages of these libraries switch on when they are installed."""
    extensions = [word for name in ("ctype", "iconv", "mbstring", "intl") for word in ("-d", f"extension={name}")]
    system.call("php", *extensions, system.write("ours.php", script), *arguments, user=user)


def check(sent: Sent, content: str = CONTENT, sender: str = "me@x.example") -> None:
    """It is the message that each of them sends."""
    assert (sent.sender, sorted(sent.recipients)) == (sender, PEOPLE)
    assert sent.field("Subject") == "Grüße"
    assert sent.content.replace("\r", "?").rstrip("\n") == content.rstrip("\n")
    assert b"hid@" not in sent.text and b"\r" not in sent.text
    assert "me@x.example" in sent.field("From")


@pytest.mark.parametrize("more", ["", "-fwww@x.example"])
def test_php_mail(system: System, user: str, more: str) -> None:  # D-120
    php(system, PHP, more, user=user)
    (sent,) = system.sent()
    check(sent, sender="www@x.example" if more else f"{user}@a.example")
    assert sent.field("X-Mine") == "yes"


@pytest.mark.parametrize("way", ["mail", "sendmail", "smtp"])
def test_phpmailer(system: System, user: str, way: str) -> None:
    php(system, PHPMAILER, way, str(system.port), user=user)
    (sent,) = system.sent()
    check(sent)
    assert sent.field("From") == "Jörg <me@x.example>"


SYMFONY_WAYS = {
    "-bs": "sendmail://default",
    "-t -i": f"sendmail://default?command={quote('/usr/sbin/sendmail -t -i')}",
    "php.ini": "native://default",
    "port": "smtp://127.0.0.1:{port}",
}


@pytest.mark.parametrize("way", SYMFONY_WAYS)
def test_symfony_mailer(system: System, user: str, way: str) -> None:  # D-138 F-058
    """Two messages, in one session where it has one."""
    php(system, SYMFONY, SYMFONY_WAYS[way].format(port=system.port), "2", user=user)
    for sent in system.sent(2):
        check(sent)
        assert sent.field("From") == "Jörg <me@x.example>"


def test_symfony_counts_on_dots_being_taken_away_where_it_does_not_say_i(system: System, user: str) -> None:  # D-066 D-138
    """It doubles dots then, for sendmail 8, which takes them away. We keep them, as Postfix and Exim do; no line is lost."""
    php(system, SYMFONY, f"sendmail://default?command={quote('/usr/sbin/sendmail -t')}", "1", user=user)
    (sent,) = system.sent()
    check(sent, content=CONTENT.replace("\n.", "\n.."))


def test_what_phpmailer_sends_arrives_as_it_was(system: System, smtp_sink: SmtpSink) -> None:
    system.relay_to(smtp_sink)
    php(system, PHPMAILER, "sendmail", "0", user="joe")
    system.flush()
    (mail,) = smtp_sink.messages()
    assert mail.mail_from.startswith("<me@x.example>")
    assert sorted(mail.recipients) == [f"<{each}>" for each in PEOPLE]
    head, _, body = mail.content.partition(b"\n\n")
    assert b"\nContent-Transfer-Encoding: 8bit" in head
    assert body.rstrip(b"\n") == CONTENT.rstrip("\n").encode()


@pytest.mark.parametrize("arguments", [(), ("/usr/sbin/sendmail -t -oi -oem",)])
def test_mime_lite(system: System, user: str, arguments: tuple[str, ...]) -> None:  # D-142
    system.call("perl", system.write("ours.pl", MIME_LITE), *arguments, user=user)
    (sent,) = system.sent()
    check(sent, sender="me@x.example" if not arguments else f"{user}@a.example")


def test_email_sender(system: System, user: str) -> None:  # D-142
    system.call("perl", system.write("ours.pl", EMAIL_SENDER), user=user)
    (sent,) = system.sent()
    check(sent, sender="s@x.example")
