"""Trace fields: how many systems a message has passed (RFC 5321 section 6.3)."""

from collections.abc import Iterable

_FIELD = b"\nreceived:"
_LONGEST_HEADER = 1 << 20


def received(blocks: Iterable[bytes]) -> int:
    """The number of Received fields in the header of a stored text, which comes in blocks of any size."""
    count, seen, rest = 0, 0, b"\n"
    for block in blocks:
        text = rest + block
        end = text.find(b"\n\n")
        header = text if end < 0 else text[:end]
        count += header.lower().count(_FIELD)
        seen += len(block)
        if end >= 0 or seen > _LONGEST_HEADER:
            break
        # a field's name may be cut in two; what is kept must not be counted twice
        rest = text[1 - len(_FIELD) :]
    return count
