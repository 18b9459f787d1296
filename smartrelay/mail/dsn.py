"""Notices: multipart/report (RFC 6522) of words, a report for programs (RFC 3464) and what of the original comes back.

The header of a notice is ASCII whatever addresses and texts it tells of, and so is all of it unless the sender's own
address needs SMTPUTF8 (`notice.is_international`), or the original comes back whole and is 8-bit.
"""

from collections.abc import Iterator, Sequence

from smartrelay.mail import dsn_text
from smartrelay.mail.dsn_part import EIGHT_BIT, Part, of_text
from smartrelay.mail.dsn_report import LONGEST_VALUE, date, name, report
from smartrelay.mail.dsn_returned import header_of, returned
from smartrelay.mail.notice import Origin, Outcome, is_international
from smartrelay.mail.status import printable


def notice(origin: Origin, outcomes: Sequence[Outcome], notice_id: str, hostname: str, now: float) -> Iterator[bytes]:
    """The text of a notice to the sender about these recipients, in the store's form, in blocks.

    notice_id: its queue id. hostname: names us. now: Unix seconds. Raises what reading the original raises.
    """
    hostname, international, head = name(hostname), is_international(origin), header_of(origin.text())
    original = returned(origin, outcomes, head, international=international)
    attached = "The header of your message" if "headers" in original.kind else "Your message"
    text = dsn_text.explanation(origin, outcomes, head, hostname, attached)
    parts = [of_text(text), report(origin, outcomes, hostname, international=international), original]
    yield from _assembled(origin, origin.envelope.reverse_path, dsn_text.subject(outcomes), parts, notice_id, hostname, now)


def double_bounce(
    origin: Origin, outcomes: Sequence[Outcome], notice_id: str, hostname: str, postmaster: str, now: float
) -> Iterator[bytes]:
    """The text of the note to the postmaster that a message with the null reverse-path failed, in the same form.

    Where no note must be written `notice.postmaster_is_told` says no. Raises what reading the original raises.
    """
    hostname, head = name(hostname), header_of(origin.text())
    parts = [
        of_text(dsn_text.double_bounce(origin, outcomes, head, hostname)),
        report(origin, outcomes, hostname, international=False),
        returned(origin, (), head, international=False),
    ]
    subject = "A notice could not be delivered (double bounce)"
    yield from _assembled(origin, postmaster, subject, parts, notice_id, hostname, now)


def _assembled(
    origin: Origin, to: str, subject: str, parts: list[Part], notice_id: str, hostname: str, now: float
) -> Iterator[bytes]:
    boundary = _boundary(notice_id, parts)
    lines = [
        f"From: Mail Delivery System <MAILER-DAEMON@{hostname}>",
        f"To: {_mailbox(to)}",
        f"Subject: {subject}",
        f"Date: {date(now)}",
        f"Message-ID: <{notice_id}@{hostname}>",
        *_threading(origin.envelope.message_id),
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{boundary}"',
    ]
    if any(part.encoding == EIGHT_BIT for part in parts):
        lines.append("Content-Transfer-Encoding: 8bit")
    lines += ["", "This is a MIME-encapsulated message.", ""]
    yield "\n".join(lines).encode("ascii")
    for part in parts:
        yield f"\n--{boundary}\n".encode("ascii") + part.head()
        yield from part.open()
    yield f"\n--{boundary}--\n".encode("ascii")


def _threading(message_id: str) -> list[str]:
    """The fields by which a mail program shows the notice beside its message, if that has an identifier that can stand in
    them (RFC 5322 section 3.6.4)."""
    inside = message_id[1:-1]
    lawful = message_id == f"<{inside}>" and inside.isascii() and inside.isprintable() and not set(inside) & set(" <>()")
    if not lawful or not inside or len(inside) > LONGEST_VALUE:
        return []
    return [f"In-Reply-To: {message_id}", f"References: {message_id}"]


def _mailbox(address: str) -> str:
    """An address for the To field. One that is not ASCII becomes the name of an empty group, in encoded words (RFC 6857
    section 3.1): the field then needs no SMTPUTF8, and the address that counts is in the envelope."""
    if address.isascii():
        return printable(address, LONGEST_VALUE)
    encoded = [""]
    for char in address[:LONGEST_VALUE]:
        plain = char.isascii() and char.isalnum()
        shown = char if plain else "".join(f"={octet:02X}" for octet in char.encode("utf-8", "replace"))
        if len(encoded[-1]) + len(shown) > 60:
            encoded.append("")
        encoded[-1] += shown
    return "\n ".join(f"=?utf-8?Q?{words}?=" for words in encoded) + " :;"


def _boundary(notice_id: str, parts: list[Part]) -> str:
    """A boundary that none of the parts has anywhere."""
    boundary, number = f"=_{notice_id}", 0
    while any(_holds(part, boundary.encode("ascii")) for part in parts):
        number += 1
        boundary = f"=_{notice_id}_{number}"
    return boundary


def _holds(part: Part, wanted: bytes) -> bool:
    end = b""
    for block in part.open():
        if wanted in end + block:
            return True
        end = (end + block)[-len(wanted) :]
    return False
