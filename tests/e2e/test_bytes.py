"""What a program hands to `smartrelay-sendmail`, and the octets that then arrive at the server, case by case."""

import base64
import email
import email.policy
import email.utils
import os
import pwd
import re
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.e2e.commands import HOSTNAME, SENDMAIL, SMARTRELAY, Machine, relay
from tests.support.lint import faults
from tests.support.smtp_server import ScriptedServer, Transaction

Start = Callable[..., ScriptedServer]

NO_8BITMIME = ("PIPELINING", "SIZE 52428800")
X = b"Subject: x\n\n"
"""The header that most cases hand in."""

DATE = (
    rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d? (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} "
    rb"\d\d:\d\d:\d\d [+-]\d{4}"
)
ADDED = {
    b"<Received>": rb"Received: by client\.a\.example \(smartrelay, from userid \d+\)\r\n\tid [0-9A-Z]{17}; " + DATE + rb"\r\n",
    b"<Date>": rb"Date: " + DATE + rb"\r\n",
    b"<From>": rb"From: me@a\.example\r\n",
    b"<Message-ID>": rb"Message-ID: <[0-9A-Z]{17}@client\.a\.example>\r\n",
}
"""The header fields that submission adds, for which these marks stand in the table."""

NEW = b"<Date><From><Message-ID>"
H = b"<Received>Subject: x\r\n" + NEW + b"\r\n"
"""What becomes of X."""

MIME_8BIT = (
    b"<Received>Subject: x\r\n" + NEW + b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\n"
)


@dataclass(frozen=True)
class Case:
    """handed: standard input. wire: all octets after the 354, the end of data included. eight_bit: what the server takes."""

    title: str
    handed: bytes
    wire: bytes
    options: tuple[str, ...] = ("-i",)
    eight_bit: bool = True


TABLE = [
    # Dots. # A-070, D-002, D-065, D-066
    Case("every line with a leading dot gets one more", X + b".\n..\n.x\nx.\n", H + b"..\r\n...\r\n..x\r\nx.\r\n.\r\n"),
    Case("also the first line of a text without a header", b".x\n", b"<Received>" + NEW + b"\r\n..x\r\n.\r\n"),
    Case("-oi is -i", X + b"a\n.\nb\n", H + b"a\r\n..\r\nb\r\n.\r\n", ("-oi",)),
    Case("a lone dot ends the message without -i", X + b"a\n.\nb\n", H + b"a\r\n.\r\n", ()),
    Case("a lone dot with CRLF ends it as well", X + b"a\r\n.\r\nb\r\n", H + b"a\r\n.\r\n", ()),
    Case("a lone dot as the first line of the body", X + b".\nb\n", H + b".\r\n", ()),
    Case("a lone dot as the first line of all", b".\nSubject: x\n\nb\n", b"<Received>" + NEW + b"\r\n.\r\n", ()),
    Case("other dots end nothing without -i", X + b"..\n.x\nx.\n", H + b"...\r\n..x\r\nx.\r\n.\r\n", ()),
    Case("two leading dots stay two without -i", X + b"..x\n", H + b"...x\r\n.\r\n", ()),
    Case("two leading dots stay two with -i", X + b"..x\n", H + b"...x\r\n.\r\n"),
    # Line ends. #, D-067, E-063
    Case("a last line without its end is completed once", X + b"a", H + b"a\r\n.\r\n"),
    Case("empty lines at the end stay as they are", X + b"a\n\n\n", H + b"a\r\n\r\n\r\n.\r\n"),
    Case("bare LF becomes CRLF", X + b"a\n\nb\n", H + b"a\r\n\r\nb\r\n.\r\n"),
    Case("CRLF stays CRLF", b"Subject: x\r\n\r\na\r\n\r\nb\r\n", H + b"a\r\n\r\nb\r\n.\r\n"),
    Case("LF and CRLF in one message", b"Subject: x\r\n\na\nb\r\nc", H + b"a\r\nb\r\nc\r\n.\r\n"),
    Case("CR CR LF is one line end", X + b"a\r\r\nb\n", H + b"a\r\nb\r\n.\r\n"),
    Case("a bare CR becomes a space", X + b"a\rb\nc\r\nd\r", H + b"a b\r\nc\r\nd \r\n.\r\n"),
    Case("blanks at the end of a line stay", X + b"a \nb\t\n \n", H + b"a \r\nb\t\r\n \r\n.\r\n"),
    # Smuggling. # A-073
    Case("LF . LF", X + b"a\n.\nMAIL FROM:<evil>\n", H + b"a\r\n..\r\nMAIL FROM:<evil>\r\n.\r\n"),
    Case("LF . CRLF", X + b"a\n.\r\nMAIL FROM:<evil>\n", H + b"a\r\n..\r\nMAIL FROM:<evil>\r\n.\r\n"),
    Case("CR . CRLF", X + b"a\r.\r\nMAIL FROM:<evil>\n", H + b"a .\r\nMAIL FROM:<evil>\r\n.\r\n"),
    Case("CRLF . LF", X + b"a\r\n.\nMAIL FROM:<evil>\n", H + b"a\r\n..\r\nMAIL FROM:<evil>\r\n.\r\n"),
    Case("CRLF . CR", X + b"a\r\n.\rMAIL FROM:<evil>\n", H + b"a\r\n.. MAIL FROM:<evil>\r\n.\r\n"),
    Case("CR . CR", X + b"a\r.\rMAIL FROM:<evil>\n", H + b"a . MAIL FROM:<evil>\r\n.\r\n"),
    Case("CRLF . CR CR LF", X + b"a\r\n.\r\r\nMAIL FROM:<evil>\n", H + b"a\r\n..\r\nMAIL FROM:<evil>\r\n.\r\n"),
    # Eight bits. #, E-050, E-051, E-052
    Case("8-bit text is labelled and sent as it is", X + "ä\n".encode(), MIME_8BIT + "ä\r\n".encode() + b".\r\n"),
    Case(
        "8-bit text that is MIME already is sent untouched",
        b"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n\xc3\xa4\n",
        b"<Received>MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
        + NEW
        + b"\r\n\xc3\xa4\r\n.\r\n",
    ),
    Case(
        "without 8BITMIME it becomes quoted-printable",
        X + "a ä = b\n".encode(),
        MIME_8BIT.replace(b"8bit", b"quoted-printable") + b"a =C3=A4 =3D b\r\n.\r\n",
        eight_bit=False,
    ),
    Case(
        "a message that says 7bit and is not says 8bit",
        b"MIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 7bit\n\n\xc3\xa4\n",
        b"<Received>MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
        + NEW
        + b"\r\n\xc3\xa4\r\n.\r\n",
    ),
    Case(
        "octets that are no UTF-8 are called unknown",
        X + b"a \xe4 b\n",
        MIME_8BIT.replace(b"utf-8", b"unknown-8bit") + b"a \xe4 b\r\n.\r\n",
    ),
    Case(
        "a raw UTF-8 Subject becomes encoded-words",
        "Subject: Grüße\n\na\n".encode(),
        b"<Received>Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n" + NEW + b"\r\na\r\n.\r\n",
        eight_bit=False,
    ),
    Case(
        "a raw UTF-8 Subject becomes encoded-words, whatever the server offers",
        "Subject: Grüße\n\na\n".encode(),
        b"<Received>Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\n" + NEW + b"\r\na\r\n.\r\n",
    ),
    # The header. #, E-010, E-011, E-012, E-030, E-031, E-032, E-034, E-042, E-043, E-061, D-068, D-072, D-079
    Case("an empty body", X, H + b".\r\n"),
    Case("a header and nothing else", b"Subject: x\n", H + b".\r\n"),
    Case("a header without its last line end", b"Subject: x", H + b".\r\n"),
    Case("nothing at all", b"", b"<Received>" + NEW + b"\r\n.\r\n"),
    Case("an empty line alone", b"\n", b"<Received>" + NEW + b"\r\n.\r\n"),
    Case("text without a header", b"hello\nworld\n", b"<Received>" + NEW + b"\r\nhello\r\nworld\r\n.\r\n"),
    Case("a line that is no field begins the body", b"Subject: x\nno field\nTo: y\n", H + b"no field\r\nTo: y\r\n.\r\n"),
    Case("a continuation as the first line begins the body", b" a\nb\n", b"<Received>" + NEW + b"\r\n a\r\nb\r\n.\r\n"),
    Case("the `From ` line of a mailbox is dropped", b"From x@y Mon Jan  1\n" + X + b"From z\n", H + b"From z\r\n.\r\n"),
    Case(
        "Bcc is dropped, however it is written, and its neighbours stay",
        b"To: a@b.example\nBCC: c@d.example,\n\te@f.example,\n  g@h.example\nSubject: x\nbcc : i@j.example\n\na\n",
        b"<Received>To: a@b.example\r\nSubject: x\r\n" + NEW + b"\r\na\r\n.\r\n",
    ),
    Case(
        "Return-Path and Content-Length are dropped",
        b"Return-Path: <a@b.example>\nContent-Length: 5\n" + X + b"a\n",
        H + b"a\r\n.\r\n",
    ),
    Case(
        "fields that are there are neither changed nor added again",
        b"date: Thu, 1 Jan 1970 00:00:00 +0000\nFROM : a@b.example\nmessage-id:\t<1@b.example>\nX:  y  \n z\n\na\n",
        b"<Received>date: Thu, 1 Jan 1970 00:00:00 +0000\r\nFROM : a@b.example\r\nmessage-id:\t<1@b.example>\r\n"
        b"X:  y  \r\n z\r\n\r\na\r\n.\r\n",
    ),
    Case(
        "Received and repeated fields keep their order and their folds",
        b"Received: by five;\n\tx\nreceived:from four\n (\n\t y )\n  ;z\nRECEIVED : three \nReceived:\n two\nReceived: by one\n"
        b"X: 1\nX: 2\n\na\n",
        b"<Received>Received: by five;\r\n\tx\r\nreceived:from four\r\n (\r\n\t y )\r\n  ;z\r\nRECEIVED : three \r\n"
        b"Received:\r\n two\r\nReceived: by one\r\nX: 1\r\nX: 2\r\n" + NEW + b"\r\na\r\n.\r\n",
    ),
]


def deliver(machine: Machine, server: ScriptedServer, handed: bytes | int, *arguments: str) -> Transaction:
    """Hand in a message, relay it; what the server accepted."""
    machine.relay_to(server)
    machine.enqueue(handed, *arguments)
    result = machine.flush()
    assert len(server.accepted) == 1, result.errors
    assert machine.ids() == []
    return server.accepted[0]


def relay_in_order(machine: Machine, server: ScriptedServer) -> None:
    """One connection, so that mail arrives in the order in which it was handed in."""
    machine.relay_to(server, more="[limits]\nmax_connections = 1")


def parsed(transaction: Transaction) -> EmailMessage:
    message = email.message_from_bytes(transaction.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def decoded(transaction: Transaction) -> bytes:
    """The body as its reader sees it, with LF line ends."""
    body = parsed(transaction).get_payload(decode=True)
    assert isinstance(body, bytes)
    return body.replace(b"\r\n", b"\n")


def assert_lawful(transaction: Transaction) -> None:
    """No bare CR or LF, no NUL, no line over 998 octets, and one end of data."""
    wire = transaction.data
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\0", wire)
    assert max(map(len, transaction.content.split(b"\r\n"))) <= 998
    assert (b"\r\n" + wire).count(b"\r\n.\r\n") == 1
    assert wire.endswith(b".\r\n")


@pytest.fixture(scope="session")
def arrived(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Transaction]:
    """Every row of the table handed in, then relayed in one pass; what the server accepted for each."""
    machine = Machine(tmp_path_factory.mktemp("table"))
    with ScriptedServer() as eight_bit, ScriptedServer(keywords=NO_8BITMIME) as seven_bit:
        hosts = [(f"smtp://127.0.0.1:{seven_bit.port}", "*@seven.example"), (f"smtp://127.0.0.1:{eight_bit.port}", "*")]
        machine.configure(*(relay(url, recipient=f'["{glob}"]') for url, glob in hosts))
        for number, case in enumerate(TABLE):
            domain = "eight.example" if case.eight_bit else "seven.example"
            result = machine.sendmail(case.handed, *case.options, "-f", "me@a.example", f"r{number}@{domain}")
            assert (result.code, result.output, result.errors) == (0, b"", ""), case.title
        machine.flush()
        found = {each.recipients[0]: each for server in (eight_bit, seven_bit) for each in server.accepted}
    assert machine.ids() == []
    return {
        case.title: each for number, case in enumerate(TABLE) for to, each in found.items() if to.startswith(b"<r%d@" % number)
    }


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.title.replace(" ", "_"))
def test_these_octets_arrive(case: Case, arrived: dict[str, Transaction]) -> None:
    """Each row of the table: handed in, relayed, and compared octet by octet."""
    transaction = arrived[case.title]
    pattern = re.escape(case.wire)
    for mark, field in ADDED.items():
        pattern = pattern.replace(re.escape(mark), field)
    assert re.fullmatch(pattern, transaction.data), f"{transaction.data!r}\n is not\n{case.wire!r}"
    assert_lawful(transaction)
    assert faults(transaction) == []  # E-002
    # SIZE counts what is sent, without stuffed dots and the end. # A-090
    assert transaction.mail_from.startswith(b"MAIL FROM:<me@a.example> SIZE=%d" % len(transaction.content))
    # BODY is said where eight bits go, and only there. #
    assert (b"BODY=8BITMIME" in transaction.mail_from) is (not transaction.content.isascii())
    assert transaction.content.isascii() or case.eight_bit


def test_nul_never_reaches_the_wire_and_none_is_lost(machine: Machine, smtp_server: Start) -> None:
    """A body with NUL is encoded; also one that would smuggle through a NUL."""  # E-060
    body = b"a\0b\n\0.\nMAIL FROM:<evil>\n"
    machine.relay_to(server := smtp_server())
    machine.enqueue(X + body, "-i", "you@b.example")
    assert machine.flush().line("to be re-encoded: it has NUL")
    (transaction,) = server.accepted
    assert_lawful(transaction)
    assert decoded(transaction) == body


def test_an_address_that_no_server_would_understand_fails_with_its_reason(machine: Machine, smtp_server: Start) -> None:
    """A Subject can be encoded, an address cannot: it takes SMTPUTF8."""  # A-098, E-051
    machine.relay_to(server := smtp_server())
    machine.enqueue("From: Jörg <jörg@a.example>\nSubject: Grüße\n\na\n".encode(), "-f", "<>", "you@b.example")
    assert machine.flush().line("dsn=5.6.7", "status=bounced")
    assert server.transactions == []


def test_nul_in_the_header_never_reaches_the_wire(machine: Machine, smtp_server: Start) -> None:  # A-077, E-060
    transaction = deliver(machine, smtp_server(), b"Subject: a\0b\n\nc\n", "you@b.example")
    assert_lawful(transaction)
    assert decoded(transaction) == b"c\n"


@pytest.mark.parametrize("keywords", [("8BITMIME",), ()], ids=["8BITMIME", "7bit"])
def test_a_line_of_100_kb_arrives_whole_in_lawful_lines(
    machine: Machine, smtp_server: Start, keywords: tuple[str, ...]
) -> None:
    """No line on the wire is over 998 octets; what the reader sees is what was written."""
    body = b"before\n" + bytes(65 + number % 26 for number in range(100 << 10)) + b"\nafter\n"
    transaction = deliver(machine, smtp_server(keywords=keywords), X + body, "you@b.example")
    assert_lawful(transaction)
    assert decoded(transaction) == body


def test_a_line_of_998_octets_is_left_alone_and_one_of_999_is_not(machine: Machine, smtp_server: Start) -> None:
    longest = b"." + b"x" * 997 + b"\n"
    relay_in_order(machine, server := smtp_server())
    for body in (longest, b"x" + longest):
        machine.enqueue(X + body, "you@b.example")
    machine.flush()
    untouched, encoded = server.accepted
    assert untouched.data.endswith(b"\r\n\r\n." + longest.replace(b"\n", b"\r\n") + b".\r\n")
    assert_lawful(encoded)
    assert decoded(encoded) == b"x" + longest


def test_a_long_header_is_folded_and_keeps_its_words(machine: Machine, smtp_server: Start) -> None:
    """Folded at white space only; unfolded again it is what it was."""  # A-074, E-040
    references = b" ".join(b"<%d@a.example>" % number for number in range(300))
    transaction = deliver(machine, smtp_server(), b"References: " + references + b"\n\na\n", "you@b.example")
    assert_lawful(transaction)
    assert b"References: " + references + b"\r\n" in re.sub(rb"\r\n(?=[ \t])", b"", transaction.content)


LARGE = {"plain": (b"x" * 900 + b"\n", 30 << 20), "encoded": ("ä".encode() * 300 + b"\n", 12 << 20)}


@pytest.mark.parametrize("kind", LARGE)
def test_a_large_message_is_streamed(machine: Machine, smtp_server: Start, tmp_path: Path, kind: str) -> None:
    """30 MB (or 12 MB that must be encoded) need under 10 MB more memory than 1 KB, when handed in and when relayed."""
    line, size = LARGE[kind]
    path = os.path.join(tmp_path, "message")
    machine.relay_to(server := smtp_server(keywords=NO_8BITMIME))
    peaks: list[tuple[int, int]] = []
    for lines in (1, size // len(line) + 1):
        with open(path, "wb") as file:
            file.write(X)
            for _ in range(lines):
                file.write(line)
        with open(path, "rb") as file:
            sending = machine.peak(SENDMAIL, "-i", "you@b.example", text=file.fileno())
        peaks.append((sending, machine.peak(SMARTRELAY, "flush")))
    assert machine.ids() == []
    (small_sending, small_pass), (big_sending, big_pass) = peaks
    assert big_sending - small_sending < 10 << 10, peaks
    assert big_pass - small_pass < 10 << 10, peaks
    _, arrived = server.accepted
    assert len(arrived.content) > size
    assert arrived.data.endswith(b"\r\n.\r\n")


# Recipients.

RECIPIENTS: dict[str, tuple[bytes, list[str]]] = {
    "repeated and folded fields": (
        b"To: a@b.example,\n c@d.example\nTo: e@f.example\nCc: g@h.example\n",
        ["a@b", "c@d", "e@f", "g@h"],
    ),
    "names with commas, groups, comments": (
        b'To: "Doe, J" <j@x.example>, grp: a@x.example, b@x.example;, =?utf-8?q?J=C3=B6?= <k@x.example> (c, d@no.example)\n',
        ["j@x", "a@x", "b@x", "k@x"],
    ),
    "an empty group names nobody": (b"To: undisclosed-recipients:;\nCc: a@b.example\n", ["a@b"]),
    "quoted local parts": (
        b'To: "john doe"@b.example, "a\\"b\\\\c"@b.example, "x,y" <"q,r"@b.example>\n',
        ['"john doe"@b', r'"a\"b\\c"@b', '"q,r"@b'],
    ),
    "a needlessly quoted local part is the same mailbox": (b'To: "joe"@b.example\n', ['"joe"@b']),
    "source routes are dropped": (b"To: <@one.example,@two.example:u@d.example>\n", ["u@d"]),
    "bare names are completed": (b"To: root, carl@x.example\n", ["root@a", "carl@x"]),
    "letters of the local part keep their case": (
        b"To: John.DOE@B.Example, john.doe@b.example\n",
        ["John.DOE@B.Example", "john.doe@b.example"],
    ),
    "a repeated recipient counts once": (b"To: a@X.example, <a@x.example>\n", ["a@X.example"]),
    "Bcc counts and is dropped": (b"To: a@b.example\nbCC: c@d.example,\n e@f.example (x)\n", ["a@b", "c@d", "e@f"]),
    "Resent- fields count alone": (
        b"To: a@b.example\nResent-To: c@d.example\nResent-BCC: e@f.example\nCc: g@h.example\n",
        ["c@d", "e@f"],
    ),
    "Resent-From alone does not switch": (b"Resent-From: x@y.example\nTo: a@b.example\n", ["a@b"]),
    "comments and white space inside an address": (b"To: a . b (x) @ (y) c . example\n", ["a.b@c.example"]),
}


@pytest.mark.parametrize("name", RECIPIENTS)
def test_the_header_names_the_recipients(name: str, machine: Machine, smtp_server: Start) -> None:
    """`-t`: exactly these are told to the server, and hidden ones to nobody."""
    # B-027, D-070, D-071, D-072, D-074, E-015, E-030
    header, names = RECIPIENTS[name]
    expected = [name if name.lower().endswith(".example") else f"{name}.example" for name in names]
    transaction = deliver(machine, smtp_server(), header + b"\nhello\n", "-t", "-i")
    assert transaction.rcpt_to == [f"RCPT TO:<{address}>".encode() for address in expected]
    assert b"bcc" not in transaction.content.lower()
    assert (b"e@f.example" in transaction.content) is (name == "repeated and folded fields")


def test_operands_and_header_recipients_are_united(machine: Machine, smtp_server: Start) -> None:
    """With `-t` both count; an operand is read as a header is."""  # D-069, D-075
    operands = ["c@d.example,a@b.example", "Name <e@f.example>", '"q,r"@x.example']
    transaction = deliver(machine, smtp_server(), b"To: a@b.example\n\nhello\n", "-t", *operands)
    assert transaction.recipients == [b"<c@d.example>", b"<a@b.example>", b"<e@f.example>", b'<"q,r"@x.example>']


def test_without_t_the_header_names_nobody(machine: Machine, smtp_server: Start) -> None:  # D-072
    transaction = deliver(machine, smtp_server(), b"To: a@b.example\nBcc: c@d.example\n\nhello\n", "e@f.example")
    assert transaction.recipients == [b"<e@f.example>"]
    assert b"Bcc" not in transaction.content


@pytest.mark.parametrize("null", ["", "<>"])
def test_the_null_sender(machine: Machine, smtp_server: Start, null: str) -> None:
    """`-f ''` and `-f '<>'` are the null reverse-path, without a blank."""  # A-040, D-005, D-083
    transaction = deliver(machine, smtp_server(keywords=()), X, "-f", null, "you@b.example")
    assert transaction.mail_from == b"MAIL FROM:<>"


@pytest.mark.parametrize("address", ["r@b.example>\r\nRCPT TO:<x@y.example", "r@b.example> NOTIFY=NEVER", "a\x01b@c.example"])
def test_no_address_brings_anything_into_a_command(machine: Machine, address: str) -> None:
    """Controls, blanks and angle brackets are refused at the door, and nothing is queued."""  # D-077, D-102
    result = machine.sendmail(X, address)
    assert result.code == 65, result.errors
    assert result.errors.count("\n") == 1
    assert not os.path.exists(machine.spool) or machine.ids() == []


# What submission adds.


def test_a_full_name_stands_in_from_as_the_standard_wants_it(machine: Machine, smtp_server: Start) -> None:
    """`-F`: atoms, a quoted-string or encoded-words, never a new field; a From that is there stays."""  # D-007, D-080
    names = {
        "Cron Daemon": b"Cron Daemon",
        'A, B "C"': b'"A, B \\"C\\""',
        "O'Neil, J. (x)": b'"O\'Neil, J. (x)"',
        "Jörg": b"=?utf-8?b?" + base64.b64encode("Jörg".encode()) + b"?=",
        "a\r\nBcc: x@y.example": b'"aBcc: x@y.example"',
    }
    relay_in_order(machine, server := smtp_server())
    for name in names:
        machine.enqueue(X, "-F", name, "-f", "me@a.example", "you@b.example")
    machine.enqueue(b"From: them@c.example\n" + X, "-F", "Not me", "-f", "me@a.example", "you@b.example")
    machine.flush()
    arrived = [re.findall(rb"(?m)^From: (.*)\r$", each.content) for each in server.accepted]
    assert arrived == [*([shown + b" <me@a.example>"] for shown in names.values()), [b"them@c.example"]]
    for name, each in zip(names, server.accepted, strict=False):
        ((shown, address),) = email.utils.getaddresses(parsed(each).get_all("from", []))
        assert (shown, address) == (name.replace("\r\n", ""), "me@a.example")


def test_the_login_name_is_the_sender_whatever_the_environment_says(machine: Machine, smtp_server: Start) -> None:
    """Without `-f`: the real uid's name, completed; $USER and $LOGNAME count for nothing."""  # D-081, D-087
    login = pwd.getpwuid(os.getuid()).pw_name
    machine.relay_to(server := smtp_server())
    machine.enqueue(X, "you@b.example", env={"USER": "evil", "LOGNAME": "evil"})
    machine.flush()
    (transaction,) = server.accepted
    assert transaction.mail_from.startswith(f"MAIL FROM:<{login}@a.example>".encode())
    assert f"{login}@a.example" in str(parsed(transaction)["from"])


def test_date_is_local_time_in_english(machine: Machine, smtp_server: Start) -> None:
    """The zone is the caller's, in digits; day and month are English whatever the locale; no zone is +0000."""  # E-010, E-023
    relay_in_order(machine, server := smtp_server())
    zones = {
        "Europe/Berlin": ("+0100", "+0200"),
        "America/New_York": ("-0500", "-0400"),
        "Asia/Kolkata": ("+0530",),
        "No/Such": ("+0000", "-0000"),
        None: None,
    }
    for zone in zones:
        machine.enqueue(X, "you@b.example", env={"TZ": zone, "LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8"})
    machine.flush()
    now = email.utils.localtime()
    for transaction, offsets in zip(server.accepted, zones.values(), strict=True):
        (date,) = re.findall(rb"(?m)^Date: (.*)\r$", transaction.content)
        assert re.fullmatch(DATE, date)
        assert offsets is None or date.decode().endswith(offsets)
        moment = email.utils.parsedate_to_datetime(date.decode())
        assert abs((now - moment).total_seconds()) < 120
        if offsets is None:
            assert moment.utcoffset() == now.utcoffset()


def test_message_ids_are_unique(machine: Machine) -> None:
    """Programs that send at the same moment get different ids, with this host's name on the right."""  # E-011
    starting = [machine.start_program(SENDMAIL, "you@b.example", text=X) for _ in range(30)]
    assert [running.wait().code for running in starting] == [0] * 30
    found = [re.findall(rb"(?m)^Message-ID: <(.*)@(.*)>$", machine.text(one)) for one in machine.ids()]
    assert len({left for ((left, _),) in found}) == 30
    assert {right for ((_, right),) in found} == {HOSTNAME.encode()}
