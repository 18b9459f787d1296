"""One part of a notice: its type, its encoding, and its octets as often as they are asked for."""

from binascii import b2a_qp
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

SEVEN_BIT, EIGHT_BIT, QUOTED = "7bit", "8bit", "quoted-printable"


class Part(NamedTuple):
    """kind: the Content-Type. encoding: the Content-Transfer-Encoding. open: its octets, encoded, LF line ends."""

    kind: str
    encoding: str
    open: Callable[[], Iterable[bytes]]

    def head(self) -> bytes:
        """The header of the part, with the empty line."""
        encoding = "" if self.encoding == SEVEN_BIT else f"Content-Transfer-Encoding: {self.encoding}\n"
        return f"Content-Type: {self.kind}\n{encoding}\n".encode("ascii")


def of_octets(kind: str, encoding: str, octets: bytes) -> Part:
    """A part that is at hand."""
    return Part(kind, encoding, lambda: [octets])


def of_text(text: str) -> Part:
    """Words for a person: ASCII as it is, anything else in quoted-printable, so that every hop takes it."""
    if text.isascii():
        return of_octets("text/plain; charset=us-ascii", SEVEN_BIT, text.encode("ascii"))
    return of_octets("text/plain; charset=utf-8", QUOTED, b"".join(quoted([text.encode("utf-8", "replace")])))


def quoted(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Text in blocks, cut anywhere, in quoted-printable (RFC 2045 section 6.7). No more than one line is held back."""
    line = b""
    for block in blocks:
        text, end, rest = block.rpartition(b"\n")
        if not end:
            line += block
            continue
        yield b2a_qp(line + text + end, istext=True)
        line = rest
    if line:
        yield b2a_qp(line, istext=True)
