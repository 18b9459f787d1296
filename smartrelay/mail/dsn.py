"""Notices about undelivered mail: multipart/report (RFC 6522) with a message/delivery-status part (RFC 3464)."""

import binascii
import time
from collections.abc import Iterable
from typing import NamedTuple

from smartrelay.mail import header
from smartrelay.mail.envelope import Envelope
from smartrelay.mail.status import FAILED, Status, printable

_LONGEST_HEADER = 1 << 16
"""Octets of the original's header that are returned; nobody reads more, and a notice must stay small."""


class Origin(NamedTuple):
    """The message that a notice is about. header: its header as stored."""

    queue_id: str
    envelope: Envelope
    header: bytes


def wants_failure(notify: str) -> bool:
    """Whether a recipient's NOTIFY value asks for failure notices; absent means yes (RFC 3461 section 4.1)."""
    return not notify or "FAILURE" in notify.upper().split(",")


def bounce(origin: Origin, failed: list[tuple[int, Status]], notice_id: str, hostname: str, now: float) -> bytes:
    """The text of the notice that these recipients (index in the envelope, status) failed, in the store's form."""
    boundary = _boundary(notice_id, origin.header)
    parts = [
        ("text/plain; charset=us-ascii", _explanation(origin, failed, hostname)),
        ("message/delivery-status", _report(origin, failed, hostname, now)),
        _returned(origin.header),
    ]
    lines = [
        f"From: Mail Delivery System <MAILER-DAEMON@{hostname}>",
        f"To: {_ascii(origin.envelope.reverse_path)}",
        "Subject: Undelivered Mail Returned to Sender",
        f"Date: {_date(now)}",
        f"Message-ID: <{notice_id}@{hostname}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{boundary}"',
    ]
    if origin.envelope.message_id:
        lines.insert(5, f"In-Reply-To: {printable(origin.envelope.message_id)}")
    text = "\n".join(lines) + "\n\nThis is a MIME-encapsulated message.\n"
    for kind, body in parts:
        text += f"\n--{boundary}\nContent-Type: {kind}\n\n{body}"
    return (text + f"\n--{boundary}--\n").encode("ascii", "replace")


def _explanation(origin: Origin, failed: list[tuple[int, Status]], hostname: str) -> str:
    text = (
        f"This is the mail system at {hostname}.\n\n"
        "Your message could not be delivered to the recipients named below. It will not\n"
        "be tried again. What the mail systems said is given with each address; if the\n"
        "reason can be put right, please send the message once more.\n\n"
        "The header of your message is attached.\n"
    )
    for index, status in failed:
        where = f" {_name(status.host)} said:" if status.code else ""
        text += f"\n<{_ascii(origin.envelope.recipients[index].address)}>:{where}\n"
        text += _wrapped(status.text)
    return text


def _report(origin: Origin, failed: list[tuple[int, Status]], hostname: str, now: float) -> str:
    kind = "dns" if "." in hostname else "x-local-hostname"
    fields = [f"Reporting-MTA: {kind}; {hostname}", f"X-Smartrelay-Queue-ID: {origin.queue_id}"]
    if origin.envelope.envid:
        fields.insert(0, f"Original-Envelope-Id: {printable(origin.envelope.envid)}")
    fields.append(f"Arrival-Date: {_date(origin.envelope.arrived)}")
    groups = ["\n".join(fields) + "\n"]
    for index, status in failed:
        recipient = origin.envelope.recipients[index]
        group = [f"Final-Recipient: {_typed(recipient.address)}", f"Action: {FAILED}", f"Status: {status.dsn}"]
        if recipient.orcpt:
            group.insert(0, f"Original-Recipient: {printable(recipient.orcpt)}")
        if status.code:
            group += [f"Remote-MTA: dns; {_name(status.host)}", f"Diagnostic-Code: smtp; {printable(status.text)}"]
        else:
            group.append(f"Diagnostic-Code: x-smartrelay; {printable(status.text)}")
        group.append(f"Last-Attempt-Date: {_date(now)}")
        groups.append("\n".join(group) + "\n")
    return "\n".join(groups)


def _returned(original: bytes) -> tuple[str, str]:
    """The original's header as a part; in quoted-printable where it is not plain ASCII in lines of lawful length."""
    kept = original[:_LONGEST_HEADER].replace(b"\0", b"").replace(b"\r", b" ")
    if len(original) > _LONGEST_HEADER:
        kept = kept[: kept.rfind(b"\n") + 1]
    if kept.isascii() and max(map(len, kept.split(b"\n"))) <= 998:
        return "text/rfc822-headers", kept.decode("ascii")
    encoded = binascii.b2a_qp(kept, istext=True).decode("ascii")
    return "text/rfc822-headers\nContent-Transfer-Encoding: quoted-printable", encoded


def header_of(blocks: Iterable[bytes]) -> bytes:
    """The header at the beginning of a stored text, as far as a notice returns it."""
    text = bytearray()
    boundary = header.Boundary()
    for block in blocks:
        text += block
        if boundary.found(text, eof=False) or len(text) > _LONGEST_HEADER:
            break
    else:
        boundary.found(text, eof=True)
    return bytes(text[: boundary.end if boundary.end is not None else _LONGEST_HEADER + 1])


def _boundary(notice_id: str, content: bytes) -> str:
    boundary = f"=_{notice_id}"
    while boundary.encode("ascii") in content:
        boundary += "_"
    return boundary


def _wrapped(text: str) -> str:
    """Words in lines of up to 72 characters, indented; a longer word has a line of its own."""
    lines, line = [], "   "
    for word in printable(text).split():
        if len(line) + 1 + len(word) > 72 and line.strip():
            lines.append(line)
            line = "   "
        line += f" {word}"
    return "\n".join([*lines, line]) + "\n"


def _typed(address: str) -> str:
    """An address with its type (RFC 3464 section 2.3.2, RFC 6533 section 3)."""
    return f"rfc822; {address}" if address.isascii() else f"utf-8; {_ascii(address)}"


def _ascii(address: str) -> str:
    """An address in ASCII: utf-8-addr-xtext for what is not (RFC 6533 section 3)."""
    return "".join(char if char.isascii() else f"\\x{{{ord(char):X}}}" for char in address)


def _name(host: str) -> str:
    """The name in "name[address]:port"."""
    return host.partition("[")[0] or host


def _date(moment: float) -> str:
    local = time.localtime(moment)
    return header.date(tuple(local), local.tm_gmtoff)
