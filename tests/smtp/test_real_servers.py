"""Exim and Postfix as smart hosts, end to end: each message arrives under its own envelope, once, whatever is refused."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from smartrelay.spool.queue import Queue
from tests.support.certificates import Certificates
from tests.support.debian import ROOT
from tests.support.exim import EximServer
from tests.support.postfix import PostfixServer
from tests.support.queues import new_spool, put

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


def at_postfix(postfix: PostfixServer) -> dict[int, tuple[str, list[str]]]:
    found = {}
    for mail in postfix.messages():
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
    url = f"smtp+tls://localhost:{exim.port}"
    auth = f'auth = {{ user = "{exim.user}", secret = "env:SECRET" }}'
    client = Client(tmp_path, f'hosts = ["{url}"]\n{auth}\nca_file = "{certificates.ca_file}"\n', window)
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
    assert at_postfix(postfix) == expected, report
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
        auth = f'auth = {{ user = "{exim.user}", secret = "env:SECRET" }}'
        hosts = f'hosts = ["smtp+tls://localhost:{exim.port}"]\n{auth}\nca_file = "{certificates.ca_file}"\n'
        client = Client(folder, hosts, window)
        queue = Queue(client.spool)
        for _ in range(3):
            put(queue)
        assert counts(client.flush(SECRET=exim.password)[0]) == (3, 0, 0)
        arrivals = [line for line in exim.log().splitlines() if " <= s@example.org" in line]
        assert len(arrivals) == 3 if window == 1 else 6
        assert all(" K" in line or " K " in line for line in arrivals[3:]), arrivals  # K: CHUNKING was used
