"""The header of a message as it is handed in: where it ends, which fields it has, and whom it names.

Fields are bytes in the store's form (LF line ends, folds kept); nothing is re-ordered or re-folded (RFC 5322 section 3.6).

On the enqueue path: no imports but `address`.
"""

from smartrelay.mail.address import canonical, joined

LONGEST_HEADER = 1 << 20
"""Octets a header may have; it is held in memory, a body never is."""

_NAME = bytes(range(33, 127)).replace(b":", b"")
_LONGEST_NAME = 998
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

Field = tuple[bytes, bytes]
"""A field's name in lower case, and the whole field as written with its final LF."""


class Boundary:
    """Finds the end of a header that arrives in pieces.

    Feed it the text so far; `end` and `body` are the offsets at which the header ends and the body begins. They differ by
    the empty line between, and are equal where a line that is no header field begins the body (RFC 5322 section 2.2 wants
    an empty line there: the writer puts it in). None until it is known.
    """

    __slots__ = ("_line", "body", "end")

    def __init__(self) -> None:
        self._line = 0
        self.end: int | None = None
        self.body: int | None = None

    def found(self, text: bytes | bytearray, *, eof: bool) -> bool:
        """Whether the boundary is known for `text`, which only grows between calls."""
        while self.end is None:
            stop = text.find(b"\n", self._line)
            if stop < 0 and not eof:
                # not yet a whole line: wait, unless it has become too long to be a field's name
                unnamed = text.find(b":", self._line, self._line + _LONGEST_NAME) < 0
                folded = self._line > 0 and text[self._line : self._line + 1] in b" \t"
                if len(text) - self._line <= _LONGEST_NAME or not unnamed or folded:
                    return False
            line = text[self._line : stop if stop >= 0 else len(text)]
            if not line:
                self.end, self.body = self._line, min(self._line + 1, len(text))
            elif not self._is_field(line):
                self.end = self.body = self._line
            else:
                self._line = stop + 1 if stop >= 0 else len(text)
        return True

    def _is_field(self, line: bytes | bytearray) -> bool:
        if line[:1] in (b" ", b"\t"):
            return self._line > 0
        colon = line.find(b":", 0, _LONGEST_NAME)
        name = line[:colon].rstrip(b" \t")
        return colon > 0 and bool(name) and not name.translate(None, _NAME)


def without_from_line(text: bytes | bytearray) -> int:
    """Octets of mbox `From ` lines at the very start, which are no part of the message; their content is not trusted."""
    start = 0
    while text.startswith((b"From ", b">From ", b">>From ", b">>>From "), start):
        stop = text.find(b"\n", start)
        if stop < 0:
            return len(text)
        start = stop + 1
    return start


def fields(header: bytes | bytearray) -> list[Field]:
    """The fields of a header whose end `Boundary` has found."""
    found: list[Field] = []
    lines = bytes(header).split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    start = 0
    for end in range(1, len(lines) + 1):
        if end < len(lines) and lines[end][:1] in (b" ", b"\t"):
            continue
        # joined once: a field may have half a million folds
        found.append((lines[start].partition(b":")[0].rstrip(b" \t").lower(), b"\n".join(lines[start:end]) + b"\n"))
        start = end
    return found


def value(field: bytes) -> str:
    """A field's value, unfolded; octets that are no UTF-8 become lone surrogates."""
    return field.partition(b":")[2].replace(b"\n", b"").decode("utf-8", "surrogateescape").strip()


def recipients(found: list[Field]) -> list[str]:
    """The canonical addresses that `-t` asks for: To, Cc, Bcc, or the Resent- ones alone where there are any.

    Raises AddressError when a field is no address list.
    """
    wanted: tuple[bytes, ...] = (b"to", b"cc", b"bcc")
    resent = (b"resent-to", b"resent-cc", b"resent-bcc")
    if any(name in resent for name, _ in found):
        wanted = resent
    return [address for name, field in found if name in wanted for address in addresses(value(field))]


def addresses(text: str) -> list[str]:
    """The canonical addresses of an address list, as header fields and command lines write them (RFC 5322 section 3.4).

    Display names are dropped, empty elements skipped. Raises AddressError on the first element that is no address.
    """
    if not any(special in text for special in '"(<:;[\\'):
        return [canonical(joined(part)) for part in text.split(",") if part.strip()]
    from smartrelay.mail.address_list import Parser

    return Parser(text).mailboxes()


def date(broken_down: tuple[int, ...], offset: int | None) -> str:
    """A date-time with numeric zone and English names (RFC 5322 section 3.3), whatever the locale.

    broken_down: local time as `time.localtime` gives it. offset: seconds east of UTC; None or a broken zone: "-0000".
    """
    year, month, day, hour, minute, second, weekday = broken_down[:7]
    zone = "-0000"
    if offset is not None:
        sign, minutes = ("-" if offset < 0 else "+"), abs(offset) // 60
        zone = f"{sign}{minutes // 60:02d}{minutes % 60:02d}"
    return f"{_DAYS[weekday]}, {day} {_MONTHS[month - 1]} {year} {hour:02d}:{minute:02d}:{min(second, 59):02d} {zone}"
