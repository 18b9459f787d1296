"""The look that end-to-end tests have at all mail that leaves: it finds what is wrong, and nothing in what is right."""

import pytest

from tests.support.lint import faults
from tests.support.smtp_script import Transaction

FROM, TO = b"From: Joe <joe@a.example>\r\n", b"To: you@b.example,\r\n her@c.example\r\n"
DATE, ID = b"Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n", b"Message-ID: <1@a.example>\r\n"
LAWFUL = FROM + TO + DATE + ID + b"\r\nbody\r\n"
MIME = b"MIME-Version: 1.0\r\n"


def of(content: bytes, parameters: bytes = b"") -> list[str]:
    return faults(Transaction(b"MAIL FROM:<joe@a.example>" + parameters, content=content))


def test_lawful_mail_has_no_fault() -> None:
    assert of(LAWFUL) == []
    assert of(LAWFUL.partition(b"\r\n\r\n")[0] + b"\r\n") == []
    assert of(MIME + LAWFUL + b"\xc3\xa4\r\n", b" SIZE=1 BODY=8BITMIME") == []
    assert of("Cc: jö@b.example\r\n".encode() + LAWFUL, b" BODY=8BITMIME SMTPUTF8") == []


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (LAWFUL + b"a\nb\r\n", "a bare CR or LF, or NUL"),
        (LAWFUL + b"a\rb\r\n", "a bare CR or LF, or NUL"),
        (LAWFUL + b"a\0b\r\n", "a bare CR or LF, or NUL"),
        (LAWFUL + b"x" * 999 + b"\r\n", "a line of more than 998 octets"),
        (MIME + LAWFUL + b"\xc3\xa4\r\n", "eight bits, and no BODY=8BITMIME"),
        (b"Subject: \xc3\xa4\r\n" + LAWFUL, "a header with eight bits, and no SMTPUTF8"),
        (LAWFUL + b"\xc3\xa4\r\n", "eight bits that no MIME field explains"),
        (b"no field\r\n" + LAWFUL, "a header line that is no field"),
        (b" x\r\n" + LAWFUL, "a header line that is no field"),
        (b"X: y\r\n \t\r\n" + LAWFUL, "a folded line of blanks alone"),
        (b"bcc: a@b.example\r\n" + LAWFUL, "a hidden recipient"),
        (FROM + LAWFUL, "from twice"),
        (LAWFUL.replace(FROM, b""), "no from"),
        (LAWFUL.replace(DATE, b"Date:\r\n"), "no date"),
        (LAWFUL.replace(ID, b""), "no message-id"),
        (LAWFUL.replace(DATE, b"Date: now\r\n"), "a Date that is none"),
        (LAWFUL.replace(b"joe@a.example", b"joe"), "a From without an address"),
        (LAWFUL.replace(b"1@a", b"1a"), "a Message-ID that is none"),
    ],
)
def test_each_fault_is_found(content: bytes, fault: str) -> None:  # E-002
    assert fault in of(content)
