"""RFC 2047 encoded words: text with 8-bit octets for unstructured fields, phrases and comments."""

import re
from binascii import b2a_base64
from collections.abc import Iterable, Iterator

Words = list[tuple[bytes, bytes, bytes]]  # the gap before, the word as it stands, the word's text

_WIDTH = 76
_WORD = 75
_LEAST = 32  # no encoded word has less room, so that any character fits: the line is folded before it
_EXISTING = re.compile(rb"=\?[^?\s]+\?[bBqQ]\?[^?\s]*\?=")
# The octets that stand for themselves even in a phrase, the strictest place.
_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_Q = [b"%c" % octet if octet in _SAFE else b"=%02X" % octet for octet in range(256)]
_Q[0x20] = b"_"


class Writer:
    """A field being written; knows its column, and whether an encoded word stands at its end."""

    def __init__(self, start: bytes, charset: str) -> None:
        self.charset = charset
        self._pieces: list[bytes] = []
        self._encoded = False
        self.column = 0
        self.add(start)

    def add(self, data: bytes) -> None:
        if data:
            self._pieces.append(data)
            line_end = data.rfind(b"\n")
            self.column = self.column + len(data) if line_end < 0 else len(data) - line_end - 1
            self._encoded = False

    def add_apart(self, data: bytes) -> None:
        """Like `add`, a space away from an encoded word, as RFC 2047 section 5 wants it in phrases."""
        if self._encoded:
            self.add(b" ")
        self.add(data)

    def add_encoded(self, gap: bytes, text: bytes) -> None:
        column = len(gap) - gap.rfind(b"\n") - 1 if b"\n" in gap else self.column + len(gap)
        if gap and b"\n" not in gap and _WIDTH - column < _LEAST:
            gap = b"\n" + gap
            column = len(gap) - 1
        for word in _encoded_words(text, self.charset, max(_LEAST, min(_WORD, _WIDTH - column))):
            self.add(gap + word)
            gap = b"\n "
        self._encoded = True

    def value(self) -> bytes:
        return b"".join(self._pieces)


def write_words(words: Iterable[tuple[bytes, bytes, bytes]], out: Writer, *, tight: bool = False) -> None:
    """Words with 8-bit octets encoded, the others as they are. `tight`: the first may stand right behind what is there.

    A reader drops the blanks between two encoded words, so words that touch are encoded as one text, and a gap beside
    an encoded word that was there before moves into the new one.
    """
    run: list[bytes] = []
    run_gap, existing = b"", False
    for gap, raw, text in words:
        if not raw.isascii():
            if run:
                run += [_flat(gap), text]
            else:
                run_gap = gap or (b"" if tight else b" ")
                run = [_flat(gap) if existing else b"", text]
            continue
        existing = bool(_EXISTING.fullmatch(raw))
        if run:
            out.add_encoded(run_gap, b"".join([*run, _flat(gap) if existing else b""]))
            run = []
            out.add(gap or b" ")
        else:
            out.add(gap)
        out.add(raw)
        tight = False
    if run:
        out.add_encoded(run_gap, b"".join(run))


def _flat(gap: bytes) -> bytes:
    return gap.replace(b"\n", b"").replace(b"\r", b" ")


def _encoded_words(text: bytes, charset: str, first: int = _WORD) -> Iterator[bytes]:
    """Text as encoded words of at most 75 octets, the first of at most `first`.

    No character is cut in two; Q or B, whichever is shorter.
    """
    if charset == "utf-8":
        units = [character.encode() for character in text.decode()]
    else:
        units = [b"%c" % octet for octet in text]
    quoted = sum(len(_Q[octet]) for octet in text) <= len(text) * 4 / 3
    start = b"=?" + charset.encode() + (b"?q?" if quoted else b"?b?")
    limit = _limit(first, charset, quoted)
    piece, size = b"", 0
    for unit in units:
        cost = sum(len(_Q[octet]) for octet in unit) if quoted else len(unit)
        if size + cost > limit:
            yield start + _finish(piece, quoted) + b"?="
            piece, size, limit = b"", 0, _limit(_WORD, charset, quoted)
        piece += unit
        size += cost
    yield start + _finish(piece, quoted) + b"?="


def _limit(width: int, charset: str, quoted: bool) -> int:
    """What an encoded word of that width holds: octets as Q writes them, or octets for B."""
    room = width - len(charset) - len("=??q??=")
    return room if quoted else room // 4 * 3


def _finish(piece: bytes, quoted: bool) -> bytes:
    return b"".join(_Q[octet] for octet in piece) if quoted else b2a_base64(piece, newline=False)


def encoded_ascii(text: bytes) -> list[bytes]:
    """An ASCII word that is too long for a line, as encoded words."""
    return list(_encoded_words(text, "utf-8"))
