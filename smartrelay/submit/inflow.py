"""What an SMTP client sends, cut into command lines, text up to the lone dot, and chunks. No socket.

Where a line ends decides where a message ends, so it is decided once (RFC 5321 section 2.3.8): on a socket only CRLF is a
line end, and only CRLF.CRLF ends a message, whatever else looks like it. On a pipe, where Unix programs talk, the first line
decides for the whole session: LF or CRLF, never both. How the octets were cut on their way makes no difference.

A bare LF in a text is taken for what its sender meant, a line end, once it is known where the text ends: scripts hand bytes to
smtplib as they are. It doubles the dots behind those too.
"""

CRLF, LF = b"\r\n", b"\n"


class BadLine(ValueError):
    """A command line that is none. hopeless: nothing behind it can be trusted to be a command either."""

    def __init__(self, why: str, *, hopeless: bool = False) -> None:
        super().__init__(why)
        self.hopeless = hopeless


class Inflow:
    """Octets in, pieces out. tolerant: LF may end a line. longest: octets that a command line may have."""

    __slots__ = (
        "_at",
        "_before_text",
        "_buffer",
        "_end",
        "_held",
        "_longest",
        "_overlong",
        "_tolerant",
        "_undecided",
    )

    def __init__(self, *, tolerant: bool, longest: int) -> None:
        self._tolerant = self._undecided = tolerant
        self._longest = longest
        self._end = CRLF
        self._buffer = b""
        self._at = 0
        self._overlong = False
        self._held = b""
        self._before_text = 0

    def feed(self, data: bytes) -> None:
        """More of what the client sent."""
        self._buffer = self._buffer[self._at :] + data
        self._at = 0

    @property
    def pending(self) -> bool:
        """Whether there is more that was not asked for yet."""
        return self._at < len(self._buffer)

    def line(self) -> bytes | None:
        """The next command line without its end, None until it is whole. Raises BadLine for one that is too long, once it has
        ended, and for one that ends in a bare LF where that is no line end."""
        stop = self._buffer.find(LF, self._at)
        if stop < 0:
            if len(self._buffer) - self._at > self._longest + 1:
                # the rest of it is not kept, but for the octet that a line feed would complete
                self._overlong = True
                self._at = len(self._buffer) - 1
            return None
        line = self._buffer[self._at : stop]
        self._at = stop + 1
        whole = line.endswith(b"\r")
        overlong, self._overlong = self._overlong or len(line) > self._longest + whole, False
        if not whole and not self._tolerant:
            raise BadLine("a line ends with CRLF", hopeless=True)
        if self._undecided:
            self._undecided = False
            self._end = CRLF if whole else LF
        if overlong:
            raise BadLine(f"line longer than {self._longest} octets")
        return line[:-1] if whole else line

    def begin(self) -> None:
        """A message's text begins: behind a line end, so that a lone dot may be the first line."""
        self._held = self._end
        self._before_text = len(self._end)

    def text(self) -> tuple[bytes, bool]:
        """What is there of the text, with LF line ends and without the dots of transparency (RFC 5321 section 4.5.2), and
        whether it has ended."""
        end = self._end
        mark = end + b"." + end
        data = self._held + self._buffer[self._at :]
        stop = data.find(mark)
        if stop >= 0:
            piece, self._held = data[: stop + len(end)], b""
            self._buffer, self._at = data[stop + len(mark) :], 0
        else:
            cut = _decided(data, len(data) - _overlap(data, mark))
            piece, self._held = data[:cut], data[cut:]
            self._buffer, self._at = b"", 0
        if not piece:
            return b"", stop >= 0
        if end == CRLF and b"\n.." in piece:
            piece = CRLF.join(line.replace(b"\n..", b"\n.") for line in piece.split(CRLF))
        piece = piece.replace(end + b".", end)
        if self._before_text:
            piece = piece[self._before_text :]
            self._before_text = 0
        return piece.replace(CRLF, LF), stop >= 0

    def chunk(self, wanted: int) -> tuple[bytes, int]:
        """What is there of a chunk of which `wanted` octets are to come, with LF line ends, and how many octets that was."""
        data = self._buffer[self._at : self._at + wanted]
        self._at += len(data)
        piece = self._held + data
        self._held = b""
        if piece.endswith(b"\r"):
            piece, self._held = piece[:-1], b"\r"
        return piece.replace(CRLF, LF), len(data)

    def begin_chunks(self) -> None:
        """A message in chunks begins."""
        self._held = b""

    def last(self) -> bytes:
        """What the end of the last chunk leaves over: a CR behind which nothing came."""
        left, self._held = self._held, b""
        return left


def _overlap(data: bytes, mark: bytes) -> int:
    """Octets at the end of `data` that may be the beginning of `mark`."""
    return next((length for length in range(len(mark) - 1, 0, -1) if data.endswith(mark[:length])), 0)


def _decided(data: bytes, cut: int) -> int:
    """Up to where `data[:cut]` cannot be changed by what comes next: by a line feed, or by dots behind one."""
    undecided = (b"\r\n.", b"\n.", b"\r\n", b"\n", b"\r")
    return cut - next((len(end) for end in undecided if data.endswith(end, 0, cut)), 0)
