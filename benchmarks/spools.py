"""Spools full of mail, made in seconds: the files as smartrelay writes them, without its syncs."""

import json
import os
import shutil
import time
from collections.abc import Callable

from smartrelay.mail.envelope import Envelope, Facts, Recipient
from smartrelay.mail.status import deferred
from smartrelay.spool import history, making, names, queue_id
from smartrelay.spool.access import FORMAT

SENDER, RECIPIENT = "sender@bench.example.test", "user@dest.example.test"
REASON = "connect to relay.example.test[192.0.2.1]:25: connection timed out"


def text(octets: int) -> bytes:
    """A message of about that size, as a program would write it."""
    head = f"From: Sender <{SENDER}>\nTo: {RECIPIENT}\nSubject: a message of the benchmark\n\n".encode("ascii")
    line = b"x" * 71 + b"\n"
    return (head + line * (octets // len(line) + 1))[: octets - 1] + b"\n"


def make(spool: str) -> None:
    """A new, empty spool in the place of any other."""
    shutil.rmtree(spool, ignore_errors=True)
    os.mkdir(spool, 0o700)
    making.furnish(spool, FORMAT)


def _one(number: int) -> str:
    return RECIPIENT


def fill(
    spool: str, count: int, octets: int, *, waiting: bool, due: float = 3600.0, recipient: Callable[[int], str] = _one
) -> None:
    """Adds messages: deferred once and due in so many seconds, each with its journal; or new. recipient: that of each, by its
    number."""
    content = text(octets)
    lines = content.split(b"\n")
    facts = Facts(len(content), len(content) + len(lines) - 1, max(map(len, lines)))
    now = time.time()
    refused = deferred("4.4.1", REASON, host="relay.example.test:25", phase="connecting")
    journal = json.dumps(history.attempt(now, "relay", {0: refused}), separators=(",", ":")).encode("ascii") + b"\n"
    for number in range(count):
        arrived = now - 60 + number / 1e4
        one = queue_id.new(int(arrived * 1e6), number.to_bytes(6, "big"))
        envelope = Envelope(SENDER, [Recipient(recipient(number))], arrived, 0, f"<{one}@bench.example.test>")
        file = envelope.head() + facts.json() + b"\n" + content
        if waiting:
            _write(f"{spool}/cur/{names.waiting_name(one, now + due + number % 600)}", file)
            _write(f"{spool}/state/{one}", journal)
        else:
            _write(f"{spool}/new/{one}", file)


def _write(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, content)
    os.close(descriptor)
