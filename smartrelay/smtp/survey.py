"""The first reading of a message that may not go as it is: what has to change in which MIME part. # A-095"""

from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag

from smartrelay.smtp.fields import encode_header
from smartrelay.smtp.mime import Data, Delimiter, Event, Head, Kind, Part, Tail, Walker, type_of
from smartrelay.smtp.qp import MAX_LINE, NotRecodable

_HIGH = bytes(range(128, 256))
_UTF8 = getincrementaldecoder("utf-8")


class Change(IntFlag):
    """What happens to one MIME part; fits in an octet."""

    NONE = 0
    QUOTE = 1  # to quoted-printable
    BASE64 = 2
    REFOLD = 3  # a quoted-printable body
    REWRAP = 4  # a base64 body
    WASH = 5  # preamble and epilogue of a multipart
    ENCODING = 7  # the mask of the above
    SAY_7BIT = 8  # a composite part
    SAY_8BIT = 16
    TYPE = 32  # Content-Type is to be added
    OTHER_CHARSET = 64  # and the body is not valid UTF-8
    INSIDE = 128  # something inside this composite part changes


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with each part, by its ordinal; `changes` is False where the message can go as it is."""

    parts: bytes
    changes: bool
    eight_bit: bool
    other_charset: str
    utf8: bool = False

    def change(self, part: Part) -> Change:
        return Change(self.parts[part.ordinal]) if part.ordinal < len(self.parts) else Change.NONE


class Look:
    """What a body, in pieces cut anywhere, is found to hold."""

    def __init__(self, *, check_utf8: bool = False) -> None:
        self.size = self.high = 0
        self.nul = self.cr = self.long = False
        self.utf8 = True
        self._decoder: IncrementalDecoder | None = _UTF8() if check_utf8 else None
        self._column = 0

    def feed(self, data: bytes) -> None:
        self.size += len(data)
        self.nul = self.nul or b"\0" in data
        self.cr = self.cr or b"\r" in data
        if not data.isascii():
            self.high += len(data) - len(data.translate(None, _HIGH))
        if not self.long:
            lengths = list(map(len, data.split(b"\n")))
            lengths[0] += self._column
            self.long = max(lengths) > MAX_LINE
            self._column = lengths[-1]
        if self._decoder:
            self._decode(data, final=False)

    def new_line(self) -> None:
        self._column = 0

    def finish(self) -> None:
        self._decode(b"", final=True)

    def _decode(self, data: bytes, *, final: bool) -> None:
        try:
            if self._decoder:
                self._decoder.decode(data, final)
        except UnicodeDecodeError:
            self.utf8, self._decoder = False, None

    def offends(self, *, eight_bit: bool) -> bool:
        return self.nul or self.long or (self.high > 0 and not eight_bit)


@dataclass(slots=True)
class _Finding:
    """What is known of a part that is open."""

    part: Part
    look: Look
    delimited: bool = False  # a delimiter of this multipart has come
    changed: bool = False  # something inside it changes
    high: bool = False  # something inside it will be 8-bit


class _Survey:
    def __init__(self, *, eight_bit: bool, utf8: bool) -> None:
        self.eight_bit = eight_bit
        self.utf8 = utf8
        self.parts = bytearray()
        self.changes = False
        self._open: list[_Finding] = []

    def take(self, event: Event) -> None:
        match event:
            case Data(_, data):
                self._open[-1].look.feed(data)
            case Head():
                self._see_head(event)
                self._open.append(_Finding(event.part, Look(check_utf8=not event.part.typed)))
            case Delimiter():
                self._open[-1].delimited = True
                self._open[-1].look.new_line()
            case Tail():
                self._close(self._open.pop())

    def _see_head(self, head: Head) -> None:
        part = head.part
        if part.frozen:
            look = Look()
            look.feed(b"".join(head.fields))
            if look.offends(eight_bit=self.eight_bit):
                raise _signed()
        elif any(encode_header(item, utf8=self.utf8) != item for item in head.fields) or head.needs_end:
            self.changes = True

    def _close(self, found: _Finding) -> None:
        part, look = found.part, found.look
        look.finish()
        offends = look.offends(eight_bit=self.eight_bit) or (look.cr and part.cte == b"binary")
        if part.kind is Kind.LEAF:
            change = _leaf_change(part, look) if offends else _label(part, look)
            high = bool(look.high) and not offends
        else:
            high = found.high or (bool(look.high) and self.eight_bit)
            change = _composite_change(found, offends, high)
        if change and part.frozen:
            raise _signed()
        if change:
            self.changes = True
            self.parts.extend(bytes(max(0, part.ordinal + 1 - len(self.parts))))
            self.parts[part.ordinal] = change
        if self._open:
            self._open[-1].changed |= bool(change)
            self._open[-1].high |= high


def _label(part: Part, look: Look) -> Change:
    """What a message that stays as it is lacks to be MIME: 8-bit text without a word that says so. # A-094"""
    if not part.message or part.frozen or not look.high or part.cte not in (b"", b"7bit"):
        return Change.NONE
    return Change.SAY_8BIT | _missing_type(part, look)


def _missing_type(part: Part, look: Look) -> Change:
    if part.typed:
        return Change.NONE
    return Change.TYPE if look.utf8 else Change.TYPE | Change.OTHER_CHARSET


def _signed() -> NotRecodable:
    return NotRecodable("what a multipart/signed part signs cannot be sent to this server unchanged", "5.6.3")


def _leaf_change(part: Part, look: Look) -> Change:
    """How a leaf that cannot stay is encoded."""
    if part.cte == b"base64":
        return Change.REWRAP
    if part.cte == b"quoted-printable":
        return Change.REFOLD
    if part.cte.startswith(b"x-") or part.cte in (b"uuencode", b"x-uuencode", b"yenc"):
        raise NotRecodable("a part in an encoding that is not MIME's needs conversion", "5.6.3")
    if part.maintype == b"multipart" or type_of(part) in (b"message/partial", b"message/external-body"):
        raise NotRecodable(f"a {type_of(part).decode('ascii', 'replace')} part needs conversion", "5.6.3")
    text = part.maintype in (b"text", b"message") and not look.nul and look.high * 3 <= look.size
    change = Change.QUOTE if text else Change.BASE64
    if part.message or look.high:
        change |= _missing_type(part, look)
    return change


def _composite_change(found: _Finding, offends: bool, high: bool) -> Change:
    change = Change.NONE
    if offends:
        if not found.delimited:
            raise NotRecodable("a multipart in which its boundary does not occur needs conversion", "5.6.3")
        change = Change.WASH
    if found.changed:
        change |= Change.INSIDE
    if change and not high and found.part.cte not in (b"", b"7bit"):
        change |= Change.SAY_7BIT
    elif change and found.part.cte not in (b"", b"8bit", b"7bit"):
        change |= Change.SAY_8BIT
    return change


def plan(chunks: Iterable[bytes], *, eight_bit: bool, other_charset: str = "unknown-8bit", utf8: bool = False) -> Plan:
    """Read the message once and tell what has to change for a server that takes 8-bit data, or does not.

    Raises NotRecodable where it cannot be made fit. `utf8`: the server has SMTPUTF8, too.
    `other_charset` labels text that has no label and is not UTF-8.
    """
    survey = _Survey(eight_bit=eight_bit, utf8=utf8)
    for event in Walker().walk(chunks):
        survey.take(event)
    return Plan(bytes(survey.parts), survey.changes, eight_bit, other_charset, utf8)
