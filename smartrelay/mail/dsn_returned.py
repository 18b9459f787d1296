"""What of the original comes back with a notice: its header, or all of it (RFC 3461 section 4.3, RFC 6522 section 3).

All of it only where it was asked for (RET=FULL), the message is lost, and it is small. A notice must be sendable whatever
the original was: so an original that would have to be made fit for a server first (overlong lines, NUL) comes back as its
header, and so does 8-bit text of which no server has been told: it may be the very reason why none could be.
"""

from collections.abc import Iterable, Iterator, Sequence

from smartrelay.mail import header
from smartrelay.mail.dsn_part import EIGHT_BIT, QUOTED, SEVEN_BIT, Part, of_octets, quoted
from smartrelay.mail.envelope import LONGEST_LINE
from smartrelay.mail.notice import LOST, Origin, Outcome

LONGEST_RETURNED = 1 << 18
"""Octets of a message that comes back whole; more than that fills the mailbox of somebody who has it already."""

LONGEST_HEADER = 1 << 16
"""Octets of a header that come back; nobody reads more, and a notice must stay small."""

_HIDDEN = (b"bcc", b"resent-bcc")


def header_of(blocks: Iterable[bytes]) -> bytes:
    """The header at the beginning of a stored text; where it is longer than LONGEST_HEADER, more than that many octets."""
    text = bytearray()
    boundary = header.Boundary()
    for block in blocks:
        text += block
        if boundary.found(text, eof=False) or len(text) > LONGEST_HEADER:
            break
    else:
        boundary.found(text, eof=True)
    return bytes(text[: boundary.end if boundary.end is not None else LONGEST_HEADER + 1])


def returned(origin: Origin, outcomes: Sequence[Outcome], head: bytes, *, international: bool) -> Part:
    """The part that holds the original. head: as `header_of` gives it. international: the notice goes by SMTPUTF8."""
    if not _comes_whole(origin, outcomes, head):
        return _header_alone(head, international=international)
    if head.isascii():
        encoding = EIGHT_BIT if origin.envelope.facts.eight_bit else SEVEN_BIT
        return Part("message/rfc822", encoding, lambda: _whole(origin, head))
    if international:
        return Part("message/global", EIGHT_BIT, lambda: _whole(origin, head))
    return Part("message/global", QUOTED, lambda: quoted(_whole(origin, head)))


def _comes_whole(origin: Origin, outcomes: Sequence[Outcome], head: bytes) -> bool:
    lost = [each for each in outcomes if each.action in LOST]
    facts = origin.envelope.facts
    if origin.envelope.ret.upper() != "FULL" or not lost or facts.stored > LONGEST_RETURNED:
        return False
    if facts.is_unlawful or len(head) > LONGEST_HEADER or not _is_utf8(head):
        return False
    return not facts.eight_bit or all(each.status.code for each in lost)


def _whole(origin: Origin, head: bytes) -> Iterator[bytes]:
    yield _shown(head)
    left = len(head)
    for block in origin.text():
        rest, left = block[left:], max(0, left - len(block))
        yield rest.replace(b"\r", b" ")


def _header_alone(head: bytes, *, international: bool) -> Part:
    kept = head[:LONGEST_HEADER]
    if len(head) > LONGEST_HEADER:
        kept = kept[: kept.rfind(b"\n") + 1]
    kept = _shown(kept).replace(b"\0", b"")
    short = max(map(len, kept.split(b"\n"))) <= LONGEST_LINE
    if short and kept.isascii():
        return of_octets("text/rfc822-headers", SEVEN_BIT, kept)
    if short and international and _is_utf8(kept):
        return of_octets("message/global-headers", EIGHT_BIT, kept)
    return of_octets("text/rfc822-headers", QUOTED, b"".join(quoted([kept])))


def _shown(head: bytes) -> bytes:
    """A header without who was to stay hidden, whoever left that in it; a stray CR is a blank, as it is on the wire."""
    return b"".join(field for name, field in header.fields(head) if name not in _HIDDEN).replace(b"\r", b" ")


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
