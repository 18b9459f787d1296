"""The MIME part walker: a message in pieces goes in, its structure comes out as events, in order and without loss.

Joined, the octets of the events are the message. Memory holds one header block (at most 1 MiB) or a piece of a body,
and what is known of the parts that are open (at most 100). Line ends are LF. # E-042 E-043 E-062 E-064

Whatever is malformed has an outcome: the header ends at the first line that cannot belong to it (no colon; a
continuation as the first line; a name over 998 octets or with 8-bit); a missing closing delimiter closes at the end; a
line that matches any open boundary closes the parts inside it; of two open boundaries that are equal the outer counts.
A bare CR counts as the blank that it will be on the wire (A-072); a line of nothing else in a header is its empty line.
"""

import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from smartrelay.smtp.qp import MAX_LINE, NotRecodable

MAX_DEPTH = 100
MAX_HEADER = 1 << 20
MAX_PARTS = 100_000
MAX_BOUNDARY = 900  # RFC 2046 allows 70; a delimiter line has to fit into 998

_LF = 10
_BLOCK = 16384  # what is left of it is copied at each delimiter
_UNDECIDED = 2000  # in so many octets a field has shown its colon, if it is one
_FIELD = re.compile(rb"[!-9;-~]{1,998}[ \t\r]{0,998}:")
_TOKEN = re.compile(rb"[^\s/;\"()<>@,:\\?=\[\]]+\Z")
_FOLDS = (b" ", b"\t", b"\r")  # what a continuation starts with
_AS_SENT = bytes.maketrans(b"\r", b" ")
_UNCOMMENTED = re.compile(rb'"(?:[^"\\]|\\.)*+"?|\\.|[()]|[^"()\\]++|\\', re.DOTALL)
_PARAMETER = re.compile(rb';\s*+([^=;\s]++)\s*+=\s*+("(?:[^"\\]|\\.)*+"?|[^;]*+)', re.DOTALL)
IDENTITY = frozenset({b"", b"7bit", b"8bit", b"binary"})


class Kind(Enum):
    LEAF = "leaf"
    MULTIPART = "multipart"
    MESSAGE = "message"


@dataclass(slots=True)
class Part:
    """An entity that is open: the message itself, a body part, or the message inside a message/rfc822."""

    ordinal: int
    message: bool  # has the header of a message, where MIME-Version belongs
    kind: Kind
    maintype: bytes
    subtype: bytes
    typed: bool  # a Content-Type field is there
    charset: bytes
    cte: bytes
    boundary: bytes
    frozen: bool  # inside what a multipart/signed signs
    children: int = 0


@dataclass(slots=True, frozen=True)
class Head:
    """The header of `part`: its fields, each with its folds and LF, and the empty line, or b"" where there is none."""

    part: Part
    fields: list[bytes]
    end: bytes
    torn: bool  # a body line follows with no empty line between

    @property
    def needs_end(self) -> bool:
        """Torn, and either the header of a message or, in a digest, in front of one: that message would take the empty
        line that its own header gets for the end of this one. # E-042"""
        return self.torn and (self.part.message or self.part.kind is Kind.MESSAGE)


@dataclass(slots=True, frozen=True)
class Data:
    """A piece of the body of a leaf, or of the preamble or epilogue of a multipart."""

    part: Part
    data: bytes


@dataclass(slots=True, frozen=True)
class Delimiter:
    """A delimiter line of the multipart `part`, with the LF before it, which belongs to it."""

    part: Part
    data: bytes


@dataclass(slots=True, frozen=True)
class Tail:
    """`part` ends here."""

    part: Part


Event = Head | Data | Delimiter | Tail


def field_name(field: bytes) -> bytes:
    """The name of a field, in lower case."""
    return field.partition(b":")[0].strip().lower()


def field_value(fields: list[bytes], name: bytes) -> bytes | None:
    """The value of the first field of that name, as sent, unfolded and without comments."""
    for field in fields:
        if field_name(field) == name:
            return _without_comments(field.partition(b":")[2].translate(_AS_SENT, b"\n\0"))
    return None


def _without_comments(value: bytes) -> bytes:
    if b"(" not in value:
        return value.strip()
    kept, depth = [], 0
    for match in _UNCOMMENTED.finditer(value):
        text = match[0]
        if text == b"(":
            depth += 1
        elif text == b")":
            depth = max(0, depth - 1)
        elif not depth:
            kept.append(text)
        elif text[:1] == b'"':  # a quote has no meaning in a comment, parentheses in it have
            depth = max(0, depth + text.count(b"(") - text.count(b")"))
    return b"".join(kept).strip()


def unquote(value: bytes) -> bytes:
    """The content of a quoted string; anything else as it is."""
    if value[:1] != b'"':
        return value
    inner = value[1:-1] if len(value) > 1 and value.endswith(b'"') else value[1:]
    return re.sub(rb"\\(.)", rb"\1", inner, flags=re.DOTALL)


def content_type(value: bytes) -> tuple[bytes, bytes, dict[bytes, bytes]]:
    """Type, subtype and parameters; what cannot be parsed is text/plain (RFC 2045 section 5.2)."""
    maintype, _, subtype = (item.strip().lower() for item in value.partition(b";")[0].partition(b"/"))
    if not (_TOKEN.match(maintype) and _TOKEN.match(subtype)):
        maintype, subtype = b"text", b"plain"
    parameters: dict[bytes, bytes] = {}
    for match in _PARAMETER.finditer(value):
        parameters.setdefault(match[1].lower(), unquote(match[2].strip()))
    return maintype, subtype, parameters


class Walker:
    """One walk over one message."""

    def __init__(self) -> None:
        self._buffer = b""
        self._stack: list[Part] = []
        self._open: dict[bytes, int] = {}  # boundary: place of its multipart in the stack
        self._ordinal = 0
        self._fresh = True  # the buffer starts at a line start, with no LF held back before it
        self._head: list[bytes] | None = []  # lines of the header being read; None in a body
        self._head_size = 0
        self._message = True  # the header being read is that of a message

    def walk(self, chunks: Iterable[bytes]) -> Iterator[Event]:
        for chunk in chunks:
            for at in range(0, len(chunk), _BLOCK):
                self._buffer += chunk[at : at + _BLOCK]
                yield from self._advance(final=False)
        yield from self._advance(final=True)
        while self._stack:
            yield Tail(self._stack.pop())

    def _advance(self, *, final: bool) -> Iterator[Event]:
        while True:
            if self._head is not None:
                head = self._read_head(final)
                if head is None:
                    return
                yield head
            elif (yield from self._read_body(final)):
                return

    # The header

    def _read_head(self, final: bool) -> Head | None:
        """Take lines into the header; None: more input is needed."""
        assert self._head is not None
        position = 0
        while True:
            end = self._buffer.find(b"\n", position)
            line = self._buffer[position : end + 1] if end >= 0 else self._buffer[position:]
            if end < 0 and not final and (len(line) < _UNDECIDED or self._belongs(line)):
                self._buffer = line
                if self._head_size + len(line) > MAX_HEADER:
                    raise NotRecodable("a header of more than 1 MiB")
                return None
            empty = bool(line) and not line.strip(b"\r\n")
            if empty or not self._belongs(line):
                self._buffer = self._buffer[position + len(line) :] if empty else self._buffer[position:]
                torn = bool(line) and not empty and not self._delimits(line)
                return self._begin(b"\n" if empty else b"", torn)
            self._head.append(line)
            self._head_size += len(line)
            if self._head_size > MAX_HEADER:
                raise NotRecodable("a header of more than 1 MiB")
            position += len(line)

    def _belongs(self, line: bytes) -> bool:
        if line[:1] in _FOLDS:
            return bool(self._head)
        if self._message and not self._head and line.startswith((b"From ", b">From ")):
            # mbox separators in front of attached messages; what is no field cannot be folded or encoded
            return len(line) <= MAX_LINE and line.isascii()
        return bool(_FIELD.match(line)) and not self._delimits(line)

    def _begin(self, end: bytes, torn: bool) -> Head:
        """The header is complete: the part opens."""
        assert self._head is not None
        starts = [at for at, line in enumerate(self._head) if line[:1] not in _FOLDS]
        fields = [b"".join(self._head[at:to]) for at, to in pairwise([*starts, len(self._head)])]
        part = self._new_part(fields)
        self._ordinal += 1
        if len(self._stack) >= MAX_DEPTH or self._ordinal > MAX_PARTS:
            raise NotRecodable("MIME parts nested too deeply" if self._ordinal <= MAX_PARTS else "too many MIME parts")
        self._stack.append(part)
        if part.kind is Kind.MULTIPART:
            self._open.setdefault(part.boundary, len(self._stack) - 1)
        self._fresh = True
        self._head, self._head_size, self._message = ([], 0, True) if part.kind is Kind.MESSAGE else (None, 0, False)
        return Head(part, fields, end, torn)

    def _new_part(self, fields: list[bytes]) -> Part:
        parent = self._stack[-1] if self._stack else None
        value = field_value(fields, b"content-type")
        digest = value is None and parent is not None and parent.kind is Kind.MULTIPART and parent.subtype == b"digest"
        maintype, subtype, parameters = content_type(value or (b"message/rfc822" if digest else b""))
        cte = (field_value(fields, b"content-transfer-encoding") or b"").lower()
        boundary = parameters.get(b"boundary", b"").rstrip()
        kind = Kind.LEAF
        if maintype == b"multipart" and 0 < len(boundary) <= MAX_BOUNDARY:
            kind = Kind.MULTIPART
        elif (maintype, subtype) == (b"message", b"rfc822") and cte in IDENTITY:
            kind = Kind.MESSAGE
        signed = parent is not None and type_of(parent) == b"multipart/signed" and parent.children == 1
        return Part(
            ordinal=self._ordinal,
            message=self._message,
            kind=kind,
            maintype=maintype,
            subtype=subtype,
            typed=value is not None or digest,
            charset=parameters.get(b"charset", b"").lower(),
            cte=cte,
            boundary=boundary,
            frozen=signed or (parent is not None and parent.frozen),
        )

    # The body

    def _read_body(self, final: bool) -> Generator[Event, None, bool]:
        """Give what is known to be body, up to the next delimiter line. True: more input is needed."""
        buffer, search = self._buffer, 0
        while self._open:
            if self._fresh and search == 0 and buffer.startswith(b"--"):
                lead = 0
            else:
                lead = buffer.find(b"\n--", search)
                if lead < 0:
                    break
            start = lead + (buffer[lead] == _LF)
            end = buffer.find(b"\n", start)
            line = buffer[start:] if end < 0 else buffer[start:end]
            if end < 0 and not final and len(line) <= MAX_LINE:
                yield from self._give(lead)
                return True
            found = self._delimits(line)
            if found:
                stop = start + len(line) + (end >= 0)
                delimiter = buffer[lead:stop]
                yield from self._give(lead)
                self._buffer = buffer[stop:]
                yield from self._cross(*found, delimiter)
                return False
            search = start + 2
        yield from self._give(len(buffer) if final else self._certain(buffer))
        return True

    def _certain(self, buffer: bytes) -> int:
        """How much of the buffer no delimiter can claim, whatever follows."""
        if not self._open:
            return len(buffer)
        if self._fresh and buffer == b"-":
            return 0
        return len(buffer) - (2 if buffer.endswith(b"\n-") else buffer.endswith(b"\n"))

    def _give(self, size: int) -> Iterator[Event]:
        if size:
            data, self._buffer = self._buffer[:size], self._buffer[size:]
            self._fresh = False
            yield Data(self._stack[-1], data)

    def _cross(self, level: int, closing: bool, delimiter: bytes) -> Iterator[Event]:
        """A delimiter line of the multipart at that level: all inside it ends."""
        while len(self._stack) > level + 1:
            part = self._stack.pop()
            if self._open.get(part.boundary) == len(self._stack):
                del self._open[part.boundary]
            yield Tail(part)
        part = self._stack[level]
        self._fresh = True
        if closing:
            del self._open[part.boundary]
        else:
            part.children += 1
            self._head, self._head_size = [], 0
            self._message = False
        yield Delimiter(part, delimiter)

    def _delimits(self, line: bytes) -> tuple[int, bool] | None:
        """The level of the multipart whose delimiter the line is, and whether that closes it."""
        if not self._open or not line.startswith(b"--") or len(line.removesuffix(b"\n")) > MAX_LINE:
            return None
        text = line[2:].translate(_AS_SENT).rstrip(b" \t\n")
        levels = [(self._open[text], False)] if text in self._open else []
        if text.endswith(b"--") and text[:-2] in self._open:
            levels.append((self._open[text[:-2]], True))
        return min(levels, default=None)


def type_of(part: Part) -> bytes:
    return part.maintype + b"/" + part.subtype
