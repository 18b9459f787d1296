"""A stored text with another header: read up to the end of its header, and no further."""

from collections.abc import Callable, Iterable, Iterator

from smartrelay.mail.envelope import Facts
from smartrelay.mail.header import LONGEST_HEADER, Boundary, Field, fields

Text = Callable[[], Iterable[bytes]]
"""A text in blocks of any size (LF line ends), from its first octet at each call."""


def edited(text: Text, facts: Facts, edit: Callable[[list[Field]], list[bytes]]) -> tuple[Text, Facts]:
    """The text with the header that `edit` makes of its fields, and the facts about it; the body is streamed as it is. A header
    that is longer than submission takes is left alone. Raises what `text` raises."""
    end, old = _header(text)
    new = b"".join(edit(fields(old)))
    if new == old or not end:
        return text, facts

    def with_new_header() -> Iterator[bytes]:
        yield new
        left = end
        for block in text():
            if left < len(block):
                yield block[left:]
            left = max(0, left - len(block))

    lines = new.split(b"\n")
    return with_new_header, Facts(
        facts.stored + len(new) - len(old),
        facts.octets + _on_the_wire(new) - _on_the_wire(old),
        max(facts.longest, *map(len, lines)),
        facts.eight_bit or int(not new.isascii()),
        facts.nul,
        facts.bare_cr,
    )


def _header(text: Text) -> tuple[int, bytes]:
    """Where the header ends, and its octets; 0 for one that is too long."""
    boundary, head = Boundary(), bytearray()
    for block in text():
        head += block
        if boundary.found(head, eof=False):
            break
        if len(head) > 2 * LONGEST_HEADER:
            return 0, b""
    else:
        boundary.found(head, eof=True)
    end = boundary.end or 0
    return end, bytes(head[:end])


def _on_the_wire(text: bytes) -> int:
    """Octets with CRLF line ends, the last line completed."""
    return len(text) + text.count(b"\n") + (0 if text.endswith(b"\n") or not text else 2)
