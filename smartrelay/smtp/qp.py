"""Body encoders: quoted-printable, base64, and repairs of bodies that are encoded already.

Each takes a body in pieces cut anywhere, keeps at most one output line, and gives the same octets however it was cut.
Line ends are LF on both sides. What `finish` gives has no line end: in a multipart it belongs to the delimiter.
"""

import re
from binascii import b2a_base64
from typing import Protocol

MAX_LINE = 998  # octets of a line, its end not counted
_QP_LINE = 76
_EQUALS, _DASH = b"=-"


class NotRecodable(Exception):
    """The message cannot be made fit for this server; `dsn` is the enhanced status code to report."""

    def __init__(self, reason: str, dsn: str = "5.6.0") -> None:
        super().__init__(f"{dsn} {reason}")
        self.reason = reason
        self.dsn = dsn


class Encoder(Protocol):
    """A body goes in by `feed`, in pieces; the encoded one comes out, the rest of it by `finish`."""

    def feed(self, data: bytes) -> bytes: ...
    def finish(self) -> bytes: ...


_QUOTED = [b"=%02X" % octet for octet in range(256)]
_PLAIN = b"\t\n" + bytes(set(range(32, 127)) - {_EQUALS})


def _quote(run: re.Match[bytes]) -> bytes:
    return b"".join([_QUOTED[octet] for octet in run[0]])


def _quote_all(data: bytes) -> bytes:
    """Text holds few different octets that need it: a replacement for each is several times as fast as a pattern."""
    octets = set(data.translate(None, _PLAIN))
    if _EQUALS in octets:
        data = data.replace(b"=", b"=3D")
    for octet in octets - {_EQUALS}:
        data = data.replace(b"%c" % octet, _QUOTED[octet])
    return data


def _soft_lines(line: bytes, *, continued: bool) -> list[bytes]:
    """Cut one quoted-printable line (no LF) into lines of at most 76, each but the last with its soft break.

    No line that this makes can be taken for a boundary delimiter: not one that starts behind a soft break, and not
    one whose text the encoding has changed (`--=foo` becomes `--=3Dfoo`, which may be an open boundary). # A-095
    """
    if not continued and line.startswith(b"--") and (len(line) > _QP_LINE or b"=" in line):
        line = b"=2D" + line[1:]
    pieces: list[bytes] = []
    head, start = b"", 0
    while len(head) + len(line) - start > _QP_LINE:
        cut = start + _QP_LINE - 1 - len(head)
        if line[cut - 1] == _EQUALS:
            cut -= 1
        elif line[cut - 2] == _EQUALS:
            cut -= 2
        pieces.append(head + line[start:cut] + b"=")
        head, start = (b"=2D", cut + 1) if line[cut] == _DASH else (b"", cut)
    pieces.append(head + line[start:])
    return pieces


class QuotedPrintable:
    """RFC 2045 section 6.7: LF is a hard line break, everything else is data; CR is =0D, NUL is =00. # E-060"""

    def __init__(self) -> None:
        self._blank = b""  # one SP or HT that may turn out to end its line
        self._line = b""  # encoded, its end not seen yet
        self._continued = False  # the line stands behind a soft break

    def feed(self, data: bytes) -> bytes:
        data = self._blank + data
        self._blank = data[-1:] if data.endswith((b" ", b"\t")) else b""
        data = _quote_all(data[:-1] if self._blank else data)
        data = data.replace(b" \n", b"=20\n").replace(b"\t\n", b"=09\n")
        first, *lines = (self._line + data).split(b"\n")
        pieces = _soft_lines(first, continued=self._continued) if lines or len(first) > _QP_LINE else [first]
        if not lines:
            return self._keep(pieces, self._continued)
        for line in lines[:-1]:
            if len(line) <= _QP_LINE and line[:2] != b"--":
                pieces.append(line)
            else:
                pieces += _soft_lines(line, continued=False)
        last = lines[-1]
        done = b"\n".join(pieces) + b"\n"
        return done + self._keep(_soft_lines(last, continued=False) if len(last) > _QP_LINE else [last], False)

    def _keep(self, pieces: list[bytes], continued: bool) -> bytes:
        """Hold the last piece back, for its line goes on; the others are done."""
        self._line = pieces.pop()
        self._continued = continued or bool(pieces)
        return b"".join(piece + b"\n" for piece in pieces)

    def finish(self) -> bytes:
        line = self._line + (_quote_blank(self._blank) if self._blank else b"")
        return b"\n".join(_soft_lines(line, continued=self._continued))


def _quote_blank(blank: bytes) -> bytes:
    return b"=20" if blank == b" " else b"=09"


class _Wrapped:
    """Base64 digits, 76 to a line."""

    def __init__(self) -> None:
        self._started = False

    def _wrap(self, digits: bytes) -> bytes:
        if not digits:
            return b""
        lines = b"\n".join([digits[at : at + 76] for at in range(0, len(digits), 76)])
        started, self._started = self._started, True
        return b"\n" + lines if started else lines


class Base64(_Wrapped):
    """RFC 2045 section 6.8; line ends of text become CRLF, its canonical form."""

    def __init__(self, *, text: bool) -> None:
        super().__init__()
        self._text = text
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        data = self._rest + (data.replace(b"\n", b"\r\n") if self._text else data)
        whole = len(data) - len(data) % 57
        self._rest = data[whole:]
        return self._wrap(b2a_base64(data[:whole], newline=False))

    def finish(self) -> bytes:
        return self._wrap(b2a_base64(self._rest, newline=False))


class RewrapBase64(_Wrapped):
    """A body that is base64 already: what is not of the alphabet means nothing there and is left out."""

    _alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
    _noise = bytes(set(range(256)) - set(_alphabet))

    def __init__(self) -> None:
        super().__init__()
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        data = self._rest + data.translate(None, self._noise)
        whole = len(data) - len(data) % 76
        self._rest = data[whole:]
        return self._wrap(data[:whole])

    def finish(self) -> bytes:
        return self._wrap(self._rest)


class RefoldQuotedPrintable:
    """A body that is quoted-printable already: raw octets that must not be are quoted, lines over 998 get soft breaks.

    Blanks at the end of a line are padding to a decoder; soft breaks would make them data, so an overlong line loses
    them. More than 998 blanks in a row are refused: there is no telling padding from data in bounded memory. A bare CR
    is a blank, for it is sent as one (A-072).

    No line that this makes can be taken for a boundary delimiter. # A-095
    """

    _unsafe = re.compile(rb"[\x00\x80-\xff]+")
    _blanks = b" " * 999
    _as_blanks = bytes.maketrans(b"\t\r", b"  ")

    def __init__(self) -> None:
        self._line = b""
        self._long = False  # the line is cut already

    def feed(self, data: bytes) -> bytes:
        if b"\0" in data or not data.isascii():
            data = self._unsafe.sub(_quote, data)
        data = self._line + data
        if self._blanks in data.translate(self._as_blanks):
            raise NotRecodable("more than 998 blanks in a row in a quoted-printable part")
        *lines, last = data.split(b"\n")
        pieces: list[bytes] = []
        for line in lines:
            pieces += self._finished(line)
            self._long = False
        if self._long or len(last) > MAX_LINE:
            text = last.rstrip(b" \t\r")
            cut = _soft_lines(text, continued=self._long) if len(text) > _QP_LINE else [text]
            self._long = self._long or len(cut) > 1
            pieces += cut[:-1]
            last = cut[-1] + last[len(text) :]
        self._line = last
        return b"".join(piece + b"\n" for piece in pieces)

    def _finished(self, line: bytes) -> list[bytes]:
        if not self._long and line.startswith(b"--") and b"=" in line:  # a quoted octet may have made it a delimiter
            line = b"=2D" + line[1:]
        if not self._long and len(line) <= MAX_LINE:
            return [line]
        return _soft_lines(line.rstrip(b" \t\r"), continued=self._long)

    def finish(self) -> bytes:
        return b"\n".join(self._finished(self._line))


class Wash:
    """Preamble and epilogue of a multipart, which no reader shows: NUL and 8-bit octets become `?`, long lines are cut.

    A line made here never is a delimiter: cut-off text starts with a blank, and so does a changed line that would
    start with `--` (`--a\\xff` must not become the delimiter `--a?`).
    """

    def __init__(self, *, eight_bit: bool) -> None:
        bad = b"\0" if eight_bit else b"\0" + bytes(range(128, 256))
        self._table = bytes.maketrans(bad, b"?" * len(bad))
        self._line = b""

    def feed(self, data: bytes) -> bytes:
        *lines, last = (self._line + data.translate(self._table)).split(b"\n")
        pieces = [piece for line in lines for piece in self._cut(line)]
        if len(last) > MAX_LINE:
            *more, last = self._cut(last)
            pieces += more
        self._line = last
        return b"".join(piece + b"\n" for piece in pieces)

    def _cut(self, line: bytes) -> list[bytes]:
        if line.startswith(b"--") and (len(line) > MAX_LINE or b"?" in line):
            line = b" " + line
        pieces: list[bytes] = []
        start, head = 0, b""
        while len(head) + len(line) - start > MAX_LINE:
            cut = start + MAX_LINE - len(head)
            low = cut - 3
            while cut > low and line[cut] & 0xC0 == 0x80:  # not inside a UTF-8 sequence: A-074
                cut -= 1
            pieces.append(head + line[start:cut])
            start, head = cut, b" "
        pieces.append(head + line[start:])
        return pieces

    def finish(self) -> bytes:
        return b"\n".join(self._cut(self._line))
