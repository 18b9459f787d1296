"""Notices, made by the program's own code from originals of a test's choice, and read by a parser that is not ours."""

import base64
import quopri
from collections.abc import Callable, Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from typing import NamedTuple, cast

from smartrelay.mail import dsn
from smartrelay.mail.envelope import Envelope, Facts, Recipient
from smartrelay.mail.notice import Action, Origin, Outcome
from smartrelay.mail.status import DEFERRED, DELIVERED, FAILED, Status

NOW = 1_800_000_000.0
ARRIVED = NOW - 5 * 86400
ATTEMPTED = NOW - 30
NOTICE, ORIGIN = "25X0LCH4YW6W9QYPF", "25X0LCH4YW6W9QYPG"
HEADER = b"Received: by h\n\tid x\nFrom: a@x\nSubject: one\n"
TEXT = HEADER + b"\nsecret body\n"
HOST = "mx.b.example[192.0.2.1]:25"
REMOTE = Status(FAILED, "5.1.1", "550 5.1.1 no such user", 550, HOST, "sending RCPT TO")
LOCAL = Status(FAILED, "5.6.0", "the message cannot be sent there", 0, HOST, "sending MAIL FROM")
BUSY = Status(DEFERRED, "4.2.2", "452 4.2.2 mailbox full", 452, HOST, "sending RCPT TO")
SILENT = Status(DEFERRED, "4.4.1", "connection refused", 0, HOST, "connecting")
TAKEN = Status(DELIVERED, "2.0.0", "250 2.0.0 ok", 250, HOST, "waiting for the reply to the message")


class Parsed(NamedTuple):
    """A notice, its words, the groups of its report (the first is about the message), and the part with the original."""

    message: EmailMessage
    words: str
    groups: list[Message]
    original: EmailMessage

    @property
    def header(self) -> str:
        """The original's header, where that came back alone."""
        return cast(str, self.original.get_content())


def facts_of(text: bytes) -> Facts:
    """What the spool knows of a text."""
    octets = len(text) + text.count(b"\n") + (0 if text.endswith(b"\n") else 2)
    longest = max(map(len, text.split(b"\n")))
    return Facts(len(text), octets, longest, not text.isascii(), b"\0" in text, b"\r" in text)


def origin(
    *recipients: Recipient | str,
    text: bytes = TEXT,
    sender: str = "s@a.example",
    message_id: str = "<m@x>",
    envid: str = "",
    ret: str = "",
    notice_of: tuple[str, int] = ("", 0),
    size: int = 1 << 16,
) -> Origin:
    """A message in the queue, its text in blocks of `size` octets."""
    wanted = [each if isinstance(each, Recipient) else Recipient(each) for each in recipients] or [Recipient("r@b.example")]
    envelope = Envelope(sender, wanted, ARRIVED, 0, message_id, ret, envid, notice_of, facts_of(text))
    return Origin(ORIGIN, envelope, lambda: (text[at : at + size] for at in range(0, len(text), size)))


def outcomes(
    about: Origin, status: Status = REMOTE, action: Action = Action.FAILED, *, retry_until: float = 0.0, warned: bool = False
) -> list[Outcome]:
    """The same for every recipient."""
    count = len(about.envelope.recipients)
    return [Outcome(index, action, status, ATTEMPTED, retry_until, warned) for index in range(count)]


def written(about: Origin, told: Sequence[Outcome], hostname: str = "host.example.org", *, ascii_only: bool = True) -> bytes:
    """The notice; it holds what every notice must."""
    text = b"".join(dsn.notice(about, told, NOTICE, hostname, NOW))
    check(text, ascii_only=ascii_only)
    return text


def check(text: bytes, *, ascii_only: bool = True) -> None:
    """No line is too long, and nothing is 8-bit that does not say so."""
    assert b"\0" not in text and b"\r" not in text and text.endswith(b"\n")
    assert max(map(len, text.split(b"\n"))) <= 998
    head = text.partition(b"\n\n")[0]
    assert head.isascii()
    assert text.isascii() or not ascii_only
    assert text.isascii() or b"\nContent-Transfer-Encoding: 8bit" in head


def parse(text: bytes) -> Parsed:
    """A notice taken apart; its three parts are what and where they must be."""  # C-023
    message = message_from_bytes(text, policy=policy.default)
    assert not message.defects
    assert message.get_content_type() == "multipart/report" and message.get_param("report-type") == "delivery-status"
    words, report, original = cast(list[EmailMessage], message.get_payload())
    assert words.get_content_type() == "text/plain"
    if report.get_content_type() == "message/delivery-status":
        assert "Content-Transfer-Encoding" not in report  # C-036
        groups = cast(list[Message], report.get_payload())
    else:
        assert report.get_content_type() == "message/global-delivery-status"
        inside = octets(text, 1)
        groups = [message_from_bytes(group, policy=policy.SMTPUTF8) for group in inside.split(b"\n\n") if group.strip()]
    return Parsed(message, cast(str, words.get_content()), groups, original)


def octets(text: bytes, number: int) -> bytes:
    """What is in that part of a notice once its encoding is undone. (The parser reads message/* as messages.)"""
    boundary = message_from_bytes(text, policy=policy.default).get_boundary()
    head, _, body = text.split(f"\n--{boundary}".encode())[number + 1].partition(b"\n\n")
    encodings: dict[bytes, Callable[[bytes], bytes]] = {b"quoted-printable": quopri.decodestring, b"base64": base64.b64decode}
    found = next((decode for name, decode in encodings.items() if b"Encoding: " + name in head), None)
    return found(body) if found else body


def notice(
    *recipients: Recipient | str,
    status: Status = REMOTE,
    action: Action = Action.FAILED,
    hostname: str = "host.example.org",
    retry_until: float = 0.0,
    warned: bool = False,
    **about: object,
) -> Parsed:
    """The notice that the same has come of all of these."""
    found = origin(*recipients, **about)  # type: ignore[arg-type]
    return parse(written(found, outcomes(found, status, action, retry_until=retry_until, warned=warned), hostname))


def kinds() -> dict[str, Callable[[], bytes]]:
    """A notice of each kind that there is, by what makes it one."""
    umlauts = "Subject: Grüße\nFrom: jörg@a.example\n\nSchöne Grüße\n".encode()
    eight_bit = b"Subject: x\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n" + (
        "Content-Transfer-Encoding: 8bit\n\nSchöne Grüße\n".encode()
    )

    def of(action: Action, status: Status, **about: object) -> Callable[[], bytes]:
        found = origin(*(["r@b.example", "jörg@bücher.example"]), **about)  # type: ignore[arg-type]
        told = outcomes(found, status, action, retry_until=NOW if action is Action.DELAYED else 0)
        return lambda: written(found, told, ascii_only=False)

    mixed = origin("r0@b.example", "r1@b.example", "r2@b.example", "r3@b.example", "r4@b.example")
    statuses = (REMOTE, BUSY, SILENT, TAKEN, TAKEN)
    told = [Outcome(index, action, statuses[index], ATTEMPTED) for index, action in enumerate(Action)]
    return {
        "failed": of(Action.FAILED, REMOTE),
        "expired": of(Action.EXPIRED, BUSY),
        "delayed": of(Action.DELAYED, SILENT),
        "relayed": of(Action.RELAYED, TAKEN),
        "delivered": of(Action.DELIVERED, TAKEN),
        "all of them": lambda: written(mixed, told),
        "the whole message": of(Action.FAILED, REMOTE, ret="FULL"),
        "a whole 8-bit message": of(Action.FAILED, REMOTE, ret="FULL", text=eight_bit),
        "a whole message with an 8-bit header": of(Action.FAILED, REMOTE, ret="FULL", text=umlauts),
        "an international one": of(Action.FAILED, REMOTE, ret="FULL", text=umlauts, sender="jörg@a.example"),
        "an international one with a header": of(Action.DELAYED, BUSY, text=umlauts, sender="jörg@a.example"),
        "an 8-bit header": of(Action.FAILED, REMOTE, text=umlauts),
    }
