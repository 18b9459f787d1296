"""Smart hosts that want TLS and a password: what they get, and what happens to mail when either goes wrong."""

import base64
import os
import re
import ssl
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.commands import HOSTNAME, HasPort, Machine, Result, relay
from tests.e2e.line_server import LineServer
from tests.support.certificates import Certificate, Certificates
from tests.support.exim import EximServer
from tests.support.sink import SmtpSink
from tests.support.smtp_server import Action, Answer, ScriptedServer, Session

Start = Callable[..., ScriptedServer]

X = b"Subject: x\n\nhello\n"
ME = ("-f", "me@a.example")
YOU = "you@b.example"
PASSWORD = "p\u00e4$$ w\u00f6rd:/\\'"
AUTH = '{ user = "me", secret = "env:SECRET" }'
SECRET = {"SECRET": PASSWORD}


def url(server: HasPort, scheme: str, host: str = "localhost") -> str:
    return f"{scheme}://{host}:{server.port}"


def quoted(path: str) -> str:
    return f'"{path}"'


def assert_kept(machine: Machine, result: Result, one: str, *words: str) -> None:
    """Deferred, not bounced, and the log says why."""
    assert machine.ids("cur") == machine.ids() == [one]
    result.line(one, "status=deferred", *words)


def assert_secret(password: str, user: str, *texts: str | bytes, folder: str) -> None:
    """Neither the password nor what it becomes in SASL is in these texts, nor in any file in `folder`."""
    plain = base64.b64encode(f"\0{user}\0{password}".encode())
    for secret in (password.encode(), base64.b64encode(password.encode()), plain):
        for text in texts:
            assert secret not in (text.encode() if isinstance(text, str) else text)
        for place, _, names in os.walk(folder):
            for name in names:
                with open(os.path.join(place, name), "rb") as file:
                    assert secret not in file.read(), name


@contextmanager
def every_secret_in_a_file(machine: Machine, password: str) -> Iterator[str]:
    """The reference to a file of mode 0600 with the password; the file is gone afterwards."""
    path = os.path.join(machine.folder, "secret")
    with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(password + "\n")
    yield f"file:{path}"
    os.unlink(path)


# A mail transfer agent that is not ours.


def test_exim_takes_mail_after_sign_in_over_verified_tls(
    machine: Machine, exim: EximServer, certificates: Certificates
) -> None:
    """STARTTLS, a certificate checked with our own CA file, AUTH PLAIN; two messages, one connection, one sign-in."""
    #
    with every_secret_in_a_file(machine, exim.password) as secret:
        auth = f'{{ user = "{exim.user}", secret = "{secret}" }}'
        machine.configure(relay(url(exim, "smtp+tls"), auth=auth, ca_file=quoted(certificates.ca_file)))
        body = b".dot\nGr\xc3\xbc\xc3\x9fe\n.\n"
        machine.enqueue(X + body, "-i", *ME, YOU, '"odd one"@b.example')
        machine.enqueue(X, *ME, YOU)
        result = machine.flush()
    assert "3 sent, 0 deferred, 0 bounced; 0 messages waiting" in result.said
    first, second = sorted(exim.messages(), key=len, reverse=True)
    assert first.endswith(b"\n\nhello\n" + body)
    assert b'Envelope-to: you@b.example,\n "odd one"@b.example\n' in first
    assert first.startswith(b"Return-path: <me@a.example>\n")
    assert second.endswith(b"\n\nhello\n")
    log = exim.log()
    assert log.count("A=plain:me") == 2
    assert len(set(re.findall(r"<= me@a\.example .*\[127\.0\.0\.1\]:(\d+) .*A=plain:me", log))) == 1
    assert_secret(exim.password, exim.user, result.errors, result.output, folder=machine.folder)


def test_exim_with_tls_from_the_first_byte(machine: Machine, certificates: Certificates) -> None:
    with EximServer(certificates.server, implicit_tls=True) as exim:
        auth = '{ user = "me", secret = "env:SECRET", mechanism = "login" }'
        machine.configure(relay(url(exim, "smtps"), auth=auth, ca_file=quoted(certificates.ca_file)))
        machine.enqueue(X, *ME, YOU)
        machine.flush(env={"SECRET": exim.password})
        assert len(exim.messages()) == 1
        assert "A=login:me" in exim.log()


def test_exim_refuses_a_wrong_password_and_nothing_is_lost(
    machine: Machine, exim: EximServer, certificates: Certificates
) -> None:
    """One try for all mail, loudly; the mail waits, and goes when the password is right."""
    machine.configure(relay(url(exim, "smtp+tls"), auth=AUTH, ca_file=quoted(certificates.ca_file)))
    ids = [machine.enqueue(X, *ME, YOU) for _ in range(3)]
    result = machine.flush(env=SECRET)
    assert machine.ids("cur") == ids
    assert exim.messages() == []
    assert exim.log().count("authenticator failed") == 1
    assert_secret(PASSWORD, "me", result.errors, result.output, folder=machine.folder)
    machine.make_due()
    machine.flush(env={"SECRET": exim.password})
    assert len(exim.messages()) == 3


def test_smtp_sink_gets_mail(machine: Machine, smtp_sink: SmtpSink) -> None:
    """Postfix's receiving server, with PIPELINING and without TLS or sign-in."""
    machine.configure(relay(url(smtp_sink, "smtp")))
    machine.enqueue(X + b".\n", "-i", *ME, YOU, "other@b.example")
    machine.enqueue(X, *ME, YOU)
    machine.flush()
    mails = smtp_sink.messages()
    assert sorted(len(mail.recipients) for mail in mails) == [1, 2]
    assert all(mail.mail_from.startswith("<me@a.example>") for mail in mails)
    assert any(mail.content.endswith(b"\n\nhello\n.\n") for mail in mails)
    assert machine.ids() == []


# Signing in.


def test_a_refused_password_holds_the_mail_and_is_tried_once(
    machine: Machine, smtp_server: Start, certificates: Certificates
) -> None:
    """No second mechanism, no second message, no bounce; the log names it as an error, never the secret."""
    server = smtp_server(certificate=certificates.server, credentials=("me", "another"))
    machine.configure(relay(url(server, "smtp+tls"), name='"work"', auth=AUTH, ca_file=quoted(certificates.ca_file)))
    ids = [machine.enqueue(X, *ME, YOU) for _ in range(2)]
    result = machine.flush(env=SECRET)
    assert machine.ids("cur") == machine.ids() == ids
    assert len([line for line in server.commands if line.startswith(b"AUTH")]) == 1
    assert len(server.sessions) == 1
    for one in ids:
        result.line(one, "dsn=4.7.8, status=deferred (535 5.7.8 wrong)")
    assert "relay work cannot be used" in result.said
    assert any(line.startswith("<3>") and "relay work" in line for line in result.errors.splitlines())
    listing = machine.run("queue", "list", "--json")
    shown = machine.run("queue", "show", ids[0])
    texts: list[str | bytes] = [result.errors, result.output, listing.output, listing.errors, shown.output, shown.errors]
    assert_secret(PASSWORD, "me", *texts, folder=machine.folder)


@pytest.mark.parametrize(
    ("offered", "replies", "expected"),
    [
        ("AUTH PLAIN LOGIN", {"AUTH": b"503 5.5.1 no"}, "dsn=4."),
        ("AUTH PLAIN LOGIN", {"AUTH": b"454 4.7.0 later"}, "dsn=4.7.0"),
        ("AUTH SCRAM-MAGIC", {}, "no usable sign-in"),
        ("X-NOTHING", {}, "no usable sign-in"),
        ("AUTH PLAIN", {"AUTH": b"334 @@@"}, "challenge is no base64"),
    ],
    ids=["503", "454", "unknown mechanism", "none offered", "no base64"],
)
def test_whatever_is_no_235_is_no_sign_in(
    machine: Machine, smtp_server: Start, offered: str, replies: dict[str, Answer], expected: str
) -> None:
    """No MAIL without a sign-in that was asked for; the mail waits."""
    server = smtp_server(keywords=(offered,), replies=replies)
    machine.configure(relay(url(server, "smtp+notls"), auth=AUTH))
    one = machine.enqueue(X, *ME, YOU)
    assert_kept(machine, machine.flush(env=SECRET), one, expected)
    assert not any(line.startswith(b"MAIL") for line in server.commands)


def test_a_mechanism_that_is_refused_as_such_is_followed_by_the_next(machine: Machine, smtp_server: Start) -> None:
    """504 is about the mechanism, not the password; the old form `AUTH=` counts, in any case."""
    on: Callable[[str, bytes, Session], Answer | None] = lambda point, argument, session: (  # noqa: E731
        b"504 5.5.4 not this" if point == "AUTH" and argument.startswith(b"PLAIN") else None
    )
    server = smtp_server(credentials=("me", PASSWORD), keywords=("auth=Login plain",), on=on)
    machine.configure(relay(url(server, "smtp+notls"), auth=AUTH))
    machine.enqueue(X, *ME, YOU)
    machine.flush(env=SECRET)
    assert server.sessions[0].user == "me"
    assert [line.split()[1] for line in server.commands if line.startswith(b"AUTH")] == [b"PLAIN", b"LOGIN"]
    assert len(server.accepted) == 1


def test_login_answers_prompts_whatever_they_say(machine: Machine, smtp_server: Start) -> None:
    """First the user, then the password."""
    server = smtp_server(keywords=("AUTH LOGIN",), replies={"AUTH": b"334 eA=="})
    steps = {
        base64.b64encode(b"me").decode().upper(): b"334 eA==",
        base64.b64encode(PASSWORD.encode()).decode().upper(): b"235 ok",
    }
    server.replies.update({key.encode(): answer for key, answer in steps.items()})
    machine.configure(relay(url(server, "smtp+notls"), auth=AUTH))
    machine.enqueue(X, *ME, YOU)
    machine.flush(env=SECRET)
    said = server.commands[1:4]
    assert said == [b"AUTH LOGIN", base64.b64encode(b"me"), base64.b64encode(PASSWORD.encode())]
    assert len(server.accepted) == 1


@pytest.mark.parametrize("length", [300, 500])
def test_a_long_secret_does_not_make_a_long_command(
    machine: Machine, smtp_server: Start, certificates: Certificates, length: int
) -> None:
    """An AUTH line has at most 512 octets; a longer response follows an empty challenge, in one line."""
    server = smtp_server(certificate=certificates.server, credentials=("me", "s" * length))
    machine.configure(relay(url(server, "smtp+tls"), auth=AUTH, ca_file=quoted(certificates.ca_file)))
    machine.enqueue(X, *ME, YOU)
    machine.flush(env={"SECRET": "s" * length})
    assert len(server.accepted) == 1
    (auth,) = [line for line in server.commands if line.startswith(b"AUTH")]
    assert (auth == b"AUTH PLAIN") is (length == 500)
    assert len(auth) <= 510


def test_a_relay_that_could_be_stripped_of_tls_gets_no_secret(machine: Machine, smtp_server: Start) -> None:
    """`smtp://` with auth is refused as a configuration, before anything is sent."""
    server = smtp_server(credentials=("me", PASSWORD))
    machine.configure(relay(url(server, "smtp"), auth=AUTH))
    one = machine.enqueue(X, *ME, YOU)
    result = machine.flush(code=78, env=SECRET)
    assert result.said.count("\n") == 1
    assert "smtp+tls://" in result.said
    assert server.sessions == []
    assert machine.ids("cur") == [one]


def test_a_secret_with_nul_is_a_configuration_error(machine: Machine, smtp_server: Start) -> None:
    server = smtp_server(credentials=("me", "a"))
    with every_secret_in_a_file(machine, "a\0b") as secret:
        machine.configure(relay(url(server, "smtp+notls"), auth=f'{{ user = "me", secret = "{secret}" }}'))
        one = machine.enqueue(X, *ME, YOU)
        machine.flush(code=78)
    assert server.sessions == []
    assert machine.ids("cur") == [one]


# TLS.


@pytest.mark.parametrize("scheme", ["smtp+tls", "smtps"])
@pytest.mark.parametrize("wrong", ["expired", "wrong_name", "untrusted"])
def test_a_certificate_that_cannot_be_trusted_gets_neither_mail_nor_password(
    machine: Machine, smtp_server: Start, certificates: Certificates, wrong: str, scheme: str
) -> None:
    """Expired, for another name, of an unknown authority: deferred, and nothing is said after the hand-shake."""
    #
    server = smtp_server(certificate=getattr(certificates, wrong), credentials=("me", PASSWORD), implicit_tls=scheme == "smtps")
    machine.configure(relay(url(server, scheme), auth=AUTH, ca_file=quoted(certificates.ca_file)))
    one = machine.enqueue(X, *ME, YOU)
    result = machine.flush(env=SECRET)
    assert_kept(machine, result, one, "dsn=4.7.5", "certificate")
    assert server.commands == ([] if scheme == "smtps" else [f"EHLO {HOSTNAME}".encode(), b"STARTTLS"])
    assert len(server.sessions) == 1


def test_an_address_is_verified_as_an_address(machine: Machine, smtp_server: Start, certificates: Certificates) -> None:
    """The name to verify is the one that is configured."""
    server = smtp_server(certificate=certificates.server)
    machine.configure(relay(url(server, "smtp+tls", "127.0.0.1"), ca_file=quoted(certificates.ca_file)))
    machine.enqueue(X, *ME, YOU)
    machine.flush()
    assert len(server.accepted) == 1
    assert server.sessions[0].tls


@pytest.mark.parametrize("refusal", ["not offered", "454", "no EHLO"])
def test_tls_that_is_required_and_missing_stops_everything(
    machine: Machine, smtp_server: Start, certificates: Certificates, refusal: str
) -> None:
    """STARTTLS not offered (stripped, perhaps), refused, or out of reach by HELO: neither AUTH nor MAIL."""
    settings: dict[str, dict[str, Any]] = {
        "not offered": {"credentials": ("me", PASSWORD)},
        "454": {"certificate": certificates.server, "replies": {"STARTTLS": b"454 4.7.0 not now"}},
        "no EHLO": {"replies": {"EHLO": b"502 5.5.1 no"}},
    }
    server = smtp_server(**settings[refusal])
    machine.configure(relay(url(server, "smtp+tls"), auth=AUTH, ca_file=quoted(certificates.ca_file)))
    one = machine.enqueue(X, *ME, YOU)
    result = machine.flush(env=SECRET)
    assert_kept(machine, result, one, "dsn=4.7." if refusal != "454" else "dsn=4.7.0")
    assert {line.split()[0] for line in server.commands} <= {b"EHLO", b"HELO", b"STARTTLS", b"QUIT"}
    assert server.commands[-1] == b"QUIT"
    assert len(server.sessions) == 1


def test_what_is_injected_before_tls_never_counts_after_it(
    machine: Machine, smtp_server: Start, certificates: Certificates
) -> None:
    """Plain text behind the 220 of STARTTLS ends the connection."""
    injected = b"220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n"
    server = smtp_server(certificate=certificates.server, credentials=("me", PASSWORD), replies={"STARTTLS": injected})
    machine.configure(relay(url(server, "smtp+tls"), auth=AUTH, ca_file=quoted(certificates.ca_file)))
    one = machine.enqueue(X, *ME, YOU)
    assert_kept(machine, machine.flush(env=SECRET), one, "dsn=4.")
    assert server.commands == [f"EHLO {HOSTNAME}".encode(), b"STARTTLS"]
    assert server.accepted == []
    assert not server.sessions[0].tls


def test_what_was_offered_before_tls_is_forgotten(machine: Machine, smtp_server: Start, certificates: Certificates) -> None:
    """After the hand-shake EHLO comes first, and only what that offers is used; STARTTLS is not said again."""
    #
    inside = b"250-relay\r\n250-STARTTLS\r\n250 AUTH LOGIN"
    on: Callable[[str, bytes, Session], Answer | None] = lambda point, argument, session: (  # noqa: E731
        inside if point == "EHLO" and session.tls else None
    )
    keywords = ("SIZE 1000000", "DSN", "8BITMIME", "PIPELINING", "AUTH PLAIN")
    server = smtp_server(certificate=certificates.server, credentials=("me", PASSWORD), keywords=keywords, on=on)
    machine.configure(relay(url(server, "smtp+tls"), auth=AUTH, ca_file=quoted(certificates.ca_file)))
    machine.enqueue("Subject: x\n\nä\n".encode(), *ME, "-N", "failure", YOU)
    machine.flush(env=SECRET)
    (session,) = server.sessions
    verbs = [line.split()[0] for line in session.commands]
    assert verbs[:4] == [b"EHLO", b"STARTTLS", b"EHLO", b"AUTH"]
    assert session.commands[3] == b"AUTH LOGIN"
    (mail,) = server.accepted
    assert (mail.mail_from, mail.rcpt_to) == (b"MAIL FROM:<me@a.example>", [b"RCPT TO:<you@b.example>"])
    assert mail.content.isascii()


def test_tls_is_used_where_it_is_offered(machine: Machine, smtp_server: Start, certificates: Certificates) -> None:
    """`smtp://`: encrypted with any certificate, which is better than nothing."""
    server = smtp_server(certificate=certificates.untrusted)
    machine.configure(relay(url(server, "smtp")))
    machine.enqueue(X, *ME, YOU)
    machine.flush()
    (session,) = server.sessions
    assert session.tls
    assert len(server.accepted) == 1


def test_notls_does_without(machine: Machine, smtp_server: Start, certificates: Certificates) -> None:
    server = smtp_server(certificate=certificates.server)
    machine.configure(relay(url(server, "smtp+notls")))
    machine.enqueue(X, *ME, YOU)
    machine.flush()
    assert b"STARTTLS" not in server.commands
    assert len(server.accepted) == 1


def test_a_refused_starttls_leaves_the_session_in_clear(
    machine: Machine, smtp_server: Start, certificates: Certificates
) -> None:
    server = smtp_server(certificate=certificates.server, replies={"STARTTLS": b"454 4.7.0 not now"})
    machine.configure(relay(url(server, "smtp")))
    machine.enqueue(X, *ME, YOU)
    machine.flush()
    assert len(server.accepted) == 1
    assert not server.sessions[0].tls


@pytest.mark.parametrize("scheme", ["smtp", "smtp+tls"])
def test_a_hand_shake_of_garbage(machine: Machine, certificates: Certificates, scheme: str) -> None:
    """`smtp://` goes on in clear on one new connection; where TLS is required, never."""
    hello = [b"220 x\r\n", b"250-x\r\n250 STARTTLS\r\n"]
    garbage = [*hello, b"220 go\r\n", b"this is no TLS record\r\n"]
    clear = [*hello, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 taken\r\n", b"221 bye\r\n"]
    with LineServer(garbage, clear) as server:
        machine.configure(relay(url(server, scheme), ca_file=quoted(certificates.ca_file)))
        one = machine.enqueue(X, *ME, YOU)
        result = machine.flush()
    if scheme == "smtp":
        ehlo, mail, *_, content, bye = server.said[1][:6]
        assert (ehlo[:5], mail, bye) == (b"EHLO ", b"MAIL FROM:<me@a.example>\r\n", b"QUIT\r\n")
        assert content.endswith(b"\r\n\r\nhello\r\n.\r\n")
        assert machine.ids() == []
    else:
        assert_kept(machine, result, one, "dsn=4.7.5")
        assert len(server.said) == 1


@pytest.mark.parametrize("scheme", ["smtp", "smtp+tls"])
def test_tls_of_last_century_is_none(machine: Machine, smtp_server: Start, certificates: Certificates, scheme: str) -> None:
    """TLS 1.1 counts as a failed hand-shake."""

    class Old(Certificate):
        def server_context(self) -> ssl.SSLContext:
            context = super().server_context()
            context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
            return context

    server = smtp_server(certificate=Old(certificates.server.cert_file, certificates.server.key_file))
    machine.configure(relay(url(server, scheme), ca_file=quoted(certificates.ca_file)))
    one = machine.enqueue(X, *ME, YOU)
    result = machine.flush()
    if scheme == "smtp":
        assert [session.tls for session in server.sessions] == [False, False]
        assert len(server.accepted) == 1
    else:
        assert_kept(machine, result, one, "dsn=4.7.5")
        assert server.accepted == []


def test_a_hand_shake_cut_off_is_the_hosts_fault(machine: Machine, smtp_server: Start, certificates: Certificates) -> None:
    """The next host takes over."""  # A-157, B-023
    first = smtp_server(certificate=certificates.server, replies={"HANDSHAKE": Action.CLOSE})
    second = smtp_server(certificate=certificates.server)
    machine.configure(relay(url(first, "smtp+tls"), url(second, "smtp+tls"), ca_file=quoted(certificates.ca_file)))
    machine.enqueue(X, *ME, YOU)
    machine.flush()
    assert (len(first.accepted), len(second.accepted)) == (0, 1)


@pytest.mark.parametrize("wrong", ["expired", "wrong_name", "untrusted"])
def test_the_next_host_takes_over_from_one_with_a_wrong_certificate(
    machine: Machine, smtp_server: Start, certificates: Certificates, wrong: str
) -> None:  # A-159, B-023
    first, second = smtp_server(certificate=getattr(certificates, wrong)), smtp_server(certificate=certificates.server)
    machine.configure(relay(url(first, "smtp+tls"), url(second, "smtp+tls"), ca_file=quoted(certificates.ca_file)))
    machine.enqueue(X, *ME, YOU)
    machine.flush()
    assert (len(first.accepted), len(second.accepted)) == (0, 1)
    assert machine.ids() == []


def test_clear_text_where_tls_is_due_from_the_first_byte(machine: Machine, smtp_server: Start) -> None:
    """A plain `220` on a port for implicit TLS: deferred, never taken for a greeting."""
    server = smtp_server()
    machine.configure(relay(url(server, "smtps")))
    one = machine.enqueue(X, *ME, YOU)
    assert_kept(machine, machine.flush(), one, "dsn=4.7.5", "TLS")
    assert server.accepted == []


def test_a_ca_file_that_cannot_be_used_holds_the_mail(machine: Machine, smtp_server: Start, certificates: Certificates) -> None:
    """It never falls back to the system's authorities."""
    server = smtp_server(certificate=certificates.server)
    machine.configure(relay(url(server, "smtp+tls"), ca_file='"/nonexistent/ca.pem"'))
    one = machine.enqueue(X, *ME, YOU)
    result = machine.flush(code=78)
    assert machine.ids("cur") == machine.ids() == [one]
    assert server.accepted == []
    assert "/nonexistent/ca.pem" in result.said
