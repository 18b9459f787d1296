"""Folding of header lines that are longer than 998 octets. # A-074 E-040

In this order: at blanks outside quoted strings; behind a comma, semicolon or `>` that a blank may follow; at blanks
inside quoted strings. A token that is still too long becomes encoded words where people read it (Subject, Comments),
is split where the field has no syntax that we know (A-074's last resort: DKIM-Signature, X-Face and the like take
blanks anywhere), and is refused in addresses, identifiers and parameters.
"""

import re

from smartrelay.smtp.encoded_words import encoded_ascii
from smartrelay.smtp.qp import MAX_LINE, NotRecodable

_WIDTH = 78
# So many blanks in a row become one: a line of blanks alone is not lawful.
_RUN = re.compile(rb"(?<![ \t])[ \t]{900,}+")
_PROSE = frozenset({b"subject", b"comments", b"content-description"})
_STRUCTURED = re.compile(rb'[ \t]*+(?:"(?:[^"\\]|\\.)*+"?|[^ \t"])*+')
_SIMPLE = re.compile(rb"[ \t]*+[^ \t]*+")
_ADDRESS = re.compile(rb'(?:"(?:[^"\\]|\\.)*+"?|<[^>]*+>?|[^,"<])*+,?')
_OTHER = re.compile(rb'(?:"(?:[^"\\]|\\.)*+"?|[^;>"])*+[;>]?')


def fold(field: bytes, *, addresses: bool, structured: bool) -> bytes:
    """The field with its overlong lines folded; its other lines stay as they are."""
    name, colon, _ = field.partition(b":")
    lines: list[bytes] = []
    for line in field.split(b"\n"):
        if len(line) <= MAX_LINE:
            lines.append(line)
            continue
        start = name + colon if not lines else b""
        tokens = _tokens(line[len(start) :], name.strip().lower(), addresses, structured)
        lines += _fill(start, _joined(tokens) if addresses else tokens)
    return b"\n".join(lines)


def _tokens(text: bytes, name: bytes, addresses: bool, structured: bool) -> list[bytes]:
    """What a fold may stand before, each with the blanks before it, none longer than a line; blanks at the end go."""
    text = _RUN.sub(b" ", text).rstrip(b" \t")
    tokens: list[bytes] = []
    for token in (_STRUCTURED if structured else _SIMPLE).findall(text):
        if len(token) < MAX_LINE:
            tokens.append(token)
        elif structured:
            tokens += _split(token, addresses)
        elif name in _PROSE:
            word = token.lstrip(b" \t")
            first, *others = encoded_ascii(word)
            tokens += [(token[: -len(word)] or b" ") + first, *(b" " + other for other in others)]
        else:
            token = token if token[:1] in (b" ", b"\t") else b" " + token
            pieces = [token[at : at + MAX_LINE - 1] for at in range(0, len(token), MAX_LINE - 1)]
            tokens += [pieces[0], *(b" " + piece for piece in pieces[1:])]
    return [token for token in tokens if token]


def _split(token: bytes, addresses: bool) -> list[bytes]:
    """A structured token without a blank to fold at outside of quotes."""
    pieces: list[bytes] = []
    for item in (_ADDRESS if addresses else _OTHER).findall(token):
        pieces += [item] if len(item) < MAX_LINE else _SIMPLE.findall(item)
    pieces = [piece if piece[:1] in (b" ", b"\t") else b" " + piece for piece in pieces if piece]
    if max(map(len, pieces)) > MAX_LINE:
        raise NotRecodable("a word of more than 998 octets in a header field with a syntax")
    return pieces


def _joined(tokens: list[bytes]) -> list[bytes]:
    """Tokens up to a comma as one, where that fits into a line: addresses are not torn apart."""
    joined: list[bytes] = []
    for token in tokens:
        if joined and not joined[-1].endswith(b",") and len(joined[-1]) + len(token) <= _WIDTH:
            joined[-1] += token
        else:
            joined.append(token)
    return joined


def _fill(start: bytes, tokens: list[bytes]) -> list[bytes]:
    """Lines of at most 78 octets where the tokens allow it; the first token stays with the name if it can."""
    lines = []
    line = start
    for token in tokens:
        limit = MAX_LINE if line == start else _WIDTH
        if line and len(line) + len(token) > limit:
            lines.append(line)
            line = token
        else:
            line += token
    return [*lines, line] if line else lines
