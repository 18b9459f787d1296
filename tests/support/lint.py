"""What must be true of all mail that leaves us (RFC 5321 and 5322), looked at from outside, as a suspicious server would."""

import re
from email.utils import getaddresses, parsedate_to_datetime

from tests.support.smtp_script import Transaction

_NEEDED = (b"date", b"from", b"message-id")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:.*(?:\r\n[ \t].*)*\r\n")
_LONGEST = 998


def faults(transaction: Transaction) -> list[str]:
    """What is wrong with a message as it came over the wire, in words; none for lawful mail."""
    content, found = transaction.content, []
    parameters = transaction.mail_from.upper().partition(b">")[2].split()
    if re.search(rb"(?<!\r)\n|\r(?!\n)|\0", content):
        found.append("a bare CR or LF, or NUL")
    if any(len(line) > _LONGEST for line in content.split(b"\r\n")):
        found.append(f"a line of more than {_LONGEST} octets")
    if not content.isascii() and b"BODY=8BITMIME" not in parameters:
        found.append("eight bits, and no BODY=8BITMIME")
    head, _, body = content.partition(b"\r\n\r\n")
    head = head.removesuffix(b"\r\n") + b"\r\n"
    return found + _of_header(head, utf8=b"SMTPUTF8" in parameters, eight_bit=not body.isascii())


def _of_header(head: bytes, *, utf8: bool, eight_bit: bool) -> list[str]:
    found = []
    if not head.isascii() and not utf8:
        found.append("a header with eight bits, and no SMTPUTF8")
    if not re.fullmatch(rb"(?:%s)*" % _FIELD.pattern.replace(b"(", b"(?:", 1), head):
        found.append("a header line that is no field")
    if re.search(rb"(?m)^[ \t]+\r$", head):
        found.append("a folded line of blanks alone")
    names = [match[1].lower() for match in _FIELD.finditer(head)]
    found += [f"{name.decode()} twice" for name in _NEEDED if names.count(name) > 1]
    fields = {match[1].lower(): match[0].partition(b":")[2] for match in _FIELD.finditer(head)}
    missing = [name.decode() for name in _NEEDED if not fields.get(name, b"").strip()]
    if missing:
        return [*found, f"no {', '.join(missing)}"]
    if b"bcc" in fields:
        found.append("a hidden recipient")
    if eight_bit and b"mime-version" not in fields:
        found.append("eight bits that no MIME field explains")
    return found + _of_values(fields)


def _of_values(fields: dict[bytes, bytes]) -> list[str]:
    found = []
    try:
        parsedate_to_datetime(fields[b"date"].decode("ascii"))
    except ValueError:
        found.append("a Date that is none")
    authors = getaddresses([re.sub(rb"\r\n", b"", fields[b"from"]).decode("utf-8", "surrogateescape")])
    if not all("@" in address for _, address in authors):
        found.append("a From without an address")
    if not re.match(rb"\s*<[^\s<>@]+@[^\s<>@]+>", fields[b"message-id"]):
        found.append("a Message-ID that is none")
    return found
