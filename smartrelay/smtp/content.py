"""The content stage: from the stored text to the octets on the wire, and how many they are.

The only reader of a message. Text that is plain (7-bit, no overlong line, no NUL) goes block by block; all other text is
looked at and, where the server cannot take it as it is, re-encoded by `recode`. What leaves here has CRLF line ends and
never a bare CR or LF (RFC 5321 section 2.3.8): a stray CR becomes a space, so that no server can see an end of data where
there is none.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from smartrelay.mail.envelope import Facts

BLOCK = 1 << 17
END = b".\r\n"


class NotSendable(Exception):
    """The text cannot be made fit for this server; dsn: the status that says why."""

    def __init__(self, reason: str, dsn: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.dsn = dsn


class Content(NamedTuple):
    """A text ready for one server. octets: its size as SIZE counts it; eight_bit: whether BODY=8BITMIME is due."""

    octets: int
    eight_bit: bool
    open_chunks: Callable[[], Iterable[bytes]]

    def wire(self) -> Iterator[bytes]:
        """The octets after DATA: dot-stuffed, up to and with the final dot."""
        return _dotted(self.open_chunks())

    def canonical(self) -> Iterator[bytes]:
        """The octets of a chunk (RFC 3030): CRLF line ends, no dot-stuffing; exactly `octets` of them, whatever happens to
        the file meanwhile, for one more would be taken for a command."""
        left = self.octets
        for block in _canonical(self.open_chunks()):
            left -= len(block)
            if left < 0:
                raise ConnectionAbortedError("the stored text has grown")
            yield block
        if left:
            raise ConnectionAbortedError("the stored text has shrunk")


def prepare(blocks: Callable[[], Iterable[bytes]], facts: Facts, *, eight_bit: bool, utf8: bool = False) -> Content:
    """Makes a text, which `blocks` gives as often as it is called, fit for a server that does (or does not) take 8-bit data.

    utf8: it goes by SMTPUTF8, so that an address in its header may be raw.

    Raises NotSendable, and what `blocks` raises.
    """
    if not facts.eight_bit and not facts.is_unlawful:
        return Content(facts.octets, False, blocks)
    from smartrelay.smtp import recode

    try:
        result = recode.prepare(blocks, eight_bit=eight_bit, utf8=utf8)
    except recode.NotRecodable as error:
        raise NotSendable(error.reason, error.dsn) from error
    return Content(result.octets + result.lines, result.eight_bit, result.chunks)


def _canonical(chunks: Iterable[bytes]) -> Iterator[bytes]:
    ended = True
    for chunk in chunks:
        if chunk:
            ended = chunk.endswith(b"\n")
            yield chunk.replace(b"\r", b" ").replace(b"\n", b"\r\n")
    if not ended:
        yield b"\r\n"


def _dotted(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """LF text in, wire octets out (RFC 5321 section 4.5.2), in blocks of at least BLOCK octets but the last."""
    pending: list[bytes] = []
    size, at_line_start = 0, True
    for chunk in chunks:
        if not chunk:
            continue
        out = chunk.replace(b"\r", b" ")
        if b"." in out:  # to look for two octets takes fifty times as long, and base64 has no dots
            out = out.replace(b"\n.", b"\n..")
        out = out.replace(b"\n", b"\r\n")
        if at_line_start and chunk.startswith(b"."):
            out = b"." + out
        at_line_start = chunk.endswith(b"\n")
        pending.append(out)
        size += len(out)
        if size >= BLOCK:
            yield b"".join(pending)
            pending, size = [], 0
    pending.append(END if at_line_start else b"\r\n" + END)
    yield b"".join(pending)
