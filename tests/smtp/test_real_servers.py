"""Exim, Postfix, OpenSMTPD and smtp-sink as smart hosts, end to end: each message arrives as it was and under its own
envelope, once, whatever is refused."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from smartrelay.spool.queue import Queue
from tests.support.certificates import Certificates
from tests.support.debian import ROOT
from tests.support.exim import EximServer
from tests.support.mail import KeptMail
from tests.support.notices import kinds, origin, outcomes, parse, written
from tests.support.opensmtpd import OpensmtpdServer
from tests.support.postfix import PostfixServer
from tests.support.queues import new_spool, put
from tests.support.sink import SmtpSink

WINDOWS = pytest.mark.parametrize("window", [1, 8])


class Client:
    """A spool with messages, and `smartrelay flush` in a process of its own."""

    def __init__(self, folder: Path, relay: str, window: int, limits: str = "max_connections = 1") -> None:
        self.spool = new_spool(os.fspath(folder))
        self.config = f"{folder}/smartrelay.toml"
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(
                f'hostname = "client.a.example"\ndomain = "a.example"\nmin_free_space = 0\nspool = "{self.spool}"\n'
                f"[limits]\n{limits}\npipeline_window = {window}\n[[relay]]\n{relay}"
            )

    def enqueue(self, count: int, bad: str = "recipient", size: int = 20) -> dict[int, tuple[str, list[str]]]:
        """Messages that say their number everywhere. Every third has a refused recipient: alone in one of two of them. What
        is to arrive: sender and recipients by number."""
        queue = Queue(self.spool)
        expected = {}
        for number in range(count):
            sender, recipients = f"s{number}@a.example", [f"r{number}@b.example"]
            if number % 3 == 1 and bad == "sender":
                sender = f"bad{number}@a.example"
            elif number % 3 == 1:
                wrong = "late" if number % 4 == 1 else "bad"
                recipients = [f"{wrong}{number}@b.example", *recipients * (number % 2)]
            text = b"Subject: %d\n\n" % number + b".line %d\n" % number * size
            put(queue, recipients, sender=sender, text=text, notify="NEVER")
            good = [path for path in recipients if not path.startswith(("bad", "late"))]
            if good and not sender.startswith("bad"):
                expected[number] = sender, good
        return expected

    def flush(self, **environment: str) -> tuple[str, str]:
        """Its report and its log."""
        result = subprocess.run(
            [sys.executable, "-m", "smartrelay", "--config", self.config, "flush", "--all"],
            env={**os.environ, "PYTHONPATH": ROOT, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return result.stdout + result.stderr, result.stderr


def signed_in(server: EximServer | OpensmtpdServer, certificates: Certificates) -> str:
    """The relay rule for a server that wants TLS and the password in $SECRET."""
    auth = f'auth = {{ user = "{server.user}", secret = "env:SECRET" }}'
    return f'hosts = ["smtp+tls://localhost:{server.port}"]\n{auth}\nca_file = "{certificates.ca_file}"\n'


def body(number: int, size: int = 20) -> bytes:
    return b"\n\n" + b".line %d\n" % number * size


def counts(report: str) -> tuple[int, ...]:
    found = re.search(r"(\d+) sent, (\d+) deferred, (\d+) bounced", report)
    assert found is not None, report
    assert "may have arrived" not in report, report
    return tuple(map(int, found.groups()))


def at_exim(exim: EximServer) -> dict[int, tuple[str, list[str]]]:
    found = {}
    for text in exim.messages():
        subject = re.search(rb"^Subject: (\d+)$", text, re.MULTILINE)
        sender = re.search(rb"^Return-path: <(.*)>$", text, re.MULTILINE)
        recipients = re.search(rb"^Envelope-to: ((?:.|\n\s)*)$", text, re.MULTILINE)
        assert subject and sender and recipients, text
        number = int(subject[1])
        assert number not in found, f"{number} arrived twice"
        assert text.endswith(body(number)), text
        found[number] = sender[1].decode(), re.sub(r"\s", "", recipients[1].decode()).split(",")
    return found


def by_number(messages: list[KeptMail]) -> dict[int, tuple[str, list[str]]]:
    found = {}
    for mail in messages:
        subject = re.search(rb"^Subject: (\d+)$", mail.content, re.MULTILINE)
        assert subject, mail
        number = int(subject[1])
        assert number not in found, f"{number} arrived twice"
        assert mail.content.endswith(body(number)), mail
        found[number] = mail.sender, mail.recipients
    return found


def put_off_and_refused(bad: str) -> tuple[int, int]:
    """Of 50 messages, how many recipients are put off, and how many refused."""
    wrong = [number for number in range(50) if number % 3 == 1]
    late = [number for number in wrong if number % 4 == 1]
    return (0, len(wrong)) if bad == "sender" else (len(late), len(wrong) - len(late))


@WINDOWS
@pytest.mark.parametrize("bad", ["recipient", "sender"])
def test_exim_gets_each_message_under_its_own_envelope(
    tmp_path: Path, exim: EximServer, certificates: Certificates, window: int, bad: str
) -> None:
    """Over TLS and signed in. A refusal in the stream never lends its envelope to another message, and Exim's limit of ten
    failed transactions costs nobody an attempt."""  # A-015 A-051 A-102 A-104 A-063
    client = Client(tmp_path, signed_in(exim, certificates), window)
    expected = client.enqueue(50, bad)
    report, _ = client.flush(SECRET=exim.password)
    assert at_exim(exim) == expected, report
    put_off, refused = put_off_and_refused(bad)
    assert counts(report) == (len(expected), put_off, refused), report
    assert "synchronization" not in exim.log() and "SMTP syntax" not in exim.log()


@WINDOWS
@pytest.mark.parametrize("bad", ["recipient", "sender"])
def test_postfix_gets_each_message_under_its_own_envelope(
    tmp_path: Path, postfix: PostfixServer, window: int, bad: str
) -> None:  # A-015 A-051 A-102 A-104 A-063
    client = Client(tmp_path, f'hosts = ["smtp://127.0.0.1:{postfix.port}"]\n', window)
    expected = client.enqueue(50, bad)
    report, _ = client.flush()
    assert by_number(postfix.messages()) == expected, report
    put_off, refused = put_off_and_refused(bad)
    assert counts(report) == (len(expected), put_off, refused), report
    log = postfix.log()
    assert ("bdat=" in log) == (window > 1)
    assert not re.search(r"panic|fatal|signal|improper command pipelining", log), log


def test_chunking_and_the_rider_are_what_exim_saw(tmp_path: Path, exim: EximServer, certificates: Certificates) -> None:
    """The tests above would be worth little if nothing had been streamed."""
    for window in (1, 8):
        folder = tmp_path / str(window)
        folder.mkdir()
        client = Client(folder, signed_in(exim, certificates), window)
        queue = Queue(client.spool)
        for _ in range(3):
            put(queue)
        assert counts(client.flush(SECRET=exim.password)[0]) == (3, 0, 0)
        arrivals = [line for line in exim.log().splitlines() if " <= s@example.org" in line]
        assert len(arrivals) == 3 if window == 1 else 6
        assert all(" K" in line or " K " in line for line in arrivals[3:]), arrivals  # K: CHUNKING was used


# OpenSMTPD: no PIPELINING, no CHUNKING


@WINDOWS
@pytest.mark.parametrize("bad", ["recipient", "sender"])
def test_opensmtpd_gets_each_message_under_its_own_envelope(
    tmp_path: Path, opensmtpd: OpensmtpdServer, certificates: Certificates, window: int, bad: str
) -> None:
    """Over TLS and signed in, with one order at a time: whatever is refused, nothing goes out of turn."""
    # A-015 A-036 A-051 A-063
    client = Client(tmp_path, signed_in(opensmtpd, certificates), window)
    expected = client.enqueue(50, bad)
    report, _ = client.flush(SECRET=opensmtpd.password)
    assert by_number(opensmtpd.messages()) == expected, report
    put_off, refused = put_off_and_refused(bad)
    assert counts(report) == (len(expected), put_off, refused), report
    assert not re.search(r"Pipelining|Invalid command|bad-input", opensmtpd.log()), opensmtpd.log()


def test_more_messages_than_opensmtpd_takes_in_a_session_all_arrive(
    tmp_path: Path, opensmtpd: OpensmtpdServer, certificates: Certificates
) -> None:
    """It says 452 to the 101st MAIL; that message has lost nothing by it."""  # A-063 G-046
    limits = "max_connections = 1\nmax_messages_per_connection = 1000"
    client = Client(tmp_path, signed_in(opensmtpd, certificates), 1, limits)
    queue = Queue(client.spool)
    for number in range(205):
        put(queue, [f"r{number}@b.example"], sender=f"s{number}@a.example", text=b"Subject: %d" % number + body(number))
    report, _ = client.flush(SECRET=opensmtpd.password)
    assert counts(report) == (205, 0, 0), report
    arrived = by_number(opensmtpd.messages())
    assert arrived == {number: (f"s{number}@a.example", [f"r{number}@b.example"]) for number in range(205)}
    assert opensmtpd.log().count("smtp tls ciphers=") == 3


# Signing in


@pytest.mark.parametrize(("name", "refusal"), [("exim", "535 Incorrect"), ("opensmtpd", "result=permfail")])
def test_a_wrong_password_over_tls_is_tried_once_and_costs_no_mail(
    tmp_path: Path, request: pytest.FixtureRequest, certificates: Certificates, name: str, refusal: str
) -> None:
    """All waits until it is put right, and then arrives."""  # A-134 C-010
    server: EximServer | OpensmtpdServer = request.getfixturevalue(name)
    client = Client(tmp_path, signed_in(server, certificates), 1)
    queue = Queue(client.spool)
    for _ in range(3):
        put(queue)
    report, log = client.flush(SECRET="wrong")
    assert counts(report) == (0, 3, 0) and "535" in log, report
    assert len(server.messages()) == 0 and server.log().count(refusal) == 1, server.log()
    report, _ = client.flush(SECRET=server.password)
    assert counts(report) == (3, 0, 0), report
    assert len(server.messages()) == 3


# The text


@dataclass(frozen=True)
class SmartHost:
    """A server, by what the tests of the text need of it. contents: what it took, what it adds to the header on top."""

    relay: str
    secret: str
    contents: Callable[[], list[bytes]]


@pytest.fixture(params=["exim", "postfix", "opensmtpd", "smtp_sink"])
def smart_host(request: pytest.FixtureRequest, certificates: Certificates) -> SmartHost:
    server: EximServer | PostfixServer | OpensmtpdServer | SmtpSink = request.getfixturevalue(request.param)
    if isinstance(server, EximServer):
        return SmartHost(signed_in(server, certificates), server.password, server.messages)
    kept = server
    relay = f'hosts = ["smtp://127.0.0.1:{server.port}"]\n'
    if isinstance(server, OpensmtpdServer):
        return SmartHost(signed_in(server, certificates), server.password, lambda: [mail.content for mail in kept.messages()])
    return SmartHost(relay, "", lambda: [mail.content for mail in kept.messages()])


HEAD = (
    b"From: s@example.org\nDate: Mon, 1 Jan 2024 00:00:00 +0000\nMessage-ID: <m@example.org>\nSubject: %s\n"
    b"MIME-Version: 1.0\nContent-Type: text/plain;\n\tcharset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n"
)

BODIES = {
    "dots": b"\n.\n..\n...\n. \n.x\nx.\n\n.\n",
    "no final newline": b"\nx\ny",
    "a final dot and no newline": b"\nx\n.",
    "8-bit": b"\n" + b"".join(b"%d " % number + bytes([number]) * 3 + b"\n" for number in range(128, 256)),
    "long lines": b"\n" + b"x" * 998 + b"\n." + b"y" * 997 + b"\n\xc3" + b"z" * 997 + b"\n",
    "empty body": b"\n",
    "only empty lines": b"\n\n\n\n",
    "trailing blanks": b"\nx \t\n \n\t\n",
    "a line like an mbox separator": b"\nFrom x\n>From y\n",
    "bare CR": b"\na\rb\r\rc\n\r.\nx\n",
    "big": b"\n" + b"".join(b".%d %s\n" % (number, b"0123456789abcdef" * (number % 9)) for number in range(72_000)),
}


@WINDOWS
def test_each_text_arrives_as_it_was(tmp_path: Path, smart_host: SmartHost, window: int) -> None:
    """To the octet, whatever the server: only a stray CR is a blank, and the last line is ended."""
    # A-070 A-071 A-072 A-075 A-093
    client = Client(tmp_path, smart_host.relay, window)
    queue = Queue(client.spool)
    texts = {name: HEAD % name.encode() + text for name, text in BODIES.items()}
    assert len(texts["big"]) > 5_000_000
    for text in texts.values():
        put(queue, text=text)
    report, _ = client.flush(SECRET=smart_host.secret)
    assert counts(report) == (len(texts), 0, 0), report
    arrived = smart_host.contents()
    assert len(arrived) == len(texts)
    for name, text in texts.items():
        (found,) = [each for each in arrived if b"\nSubject: %s\n" % name.encode() in each]
        expected = text.replace(b"\r", b" ")
        assert found.endswith(expected if expected.endswith(b"\n") else expected + b"\n"), (name, found[-200:])


def test_each_kind_of_notice_is_taken_and_arrives_as_it_was(tmp_path: Path, smart_host: SmartHost) -> None:
    """A report of three parts for any server, under the null sender."""  # C-020 C-023 A-114
    texts = {name: make() for name, make in kinds().items()}
    client = Client(tmp_path, smart_host.relay, 1)
    queue = Queue(client.spool)
    for number, text in enumerate(texts.values()):
        put(queue, [f"s{number}@example.org"], sender="", text=text)
    report, _ = client.flush(SECRET=smart_host.secret)
    assert counts(report) == (len(texts), 0, 0), report
    arrived = smart_host.contents()
    assert len(arrived) == len(texts)
    for name, text in texts.items():
        (found,) = [each for each in arrived if each.endswith(text)]
        assert [group.items() for group in parse(found).groups] == [group.items() for group in parse(text).groups], name


def test_postfix_takes_an_international_notice(tmp_path: Path, postfix: PostfixServer) -> None:
    """For a sender whose own address needs SMTPUTF8."""  # C-043 A-097
    about = origin("björn@b.example", sender="jörg@a.example", text=HEAD.replace(b"%s", b"\xc3\xa9") + b"\nx\n", ret="FULL")
    text = written(about, outcomes(about), ascii_only=False)
    client = Client(tmp_path, f'hosts = ["smtp://127.0.0.1:{postfix.port}"]\n', 1)
    put(Queue(client.spool), ["jörg@a.example"], sender="", text=text)
    report, _ = client.flush()
    assert counts(report) == (1, 0, 0), report
    (mail,) = postfix.messages()
    assert (mail.sender, mail.recipients) == ("", ["jörg@a.example"])
    assert mail.content.endswith(text) and not text.isascii()
    assert "message/global-delivery-status" in mail.content.decode() and "message/global\n" in mail.content.decode()
