"""What is said in SMTP, without a socket: replies are taken apart, commands put together, answers named.

Bounded by nature: a reply may have so many octets and lines and no more (RFC 5321 section 4.5.3.1.5 promises 512 octets a
line; more is read, without end is not). A reply is judged by its first digit (section 4.2.1), and only a whole one counts:
half a line before the end of the connection is no reply.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from smartrelay.mail.status import printable

LONGEST_LINE = 1000
"""Characters of a reply's line that are kept."""

_LONGEST_REPLY = 1 << 16
_MOST_LINES = 1000
_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_COMMON = 100
"""Octets of a reply that may be one of the few that a server says all the time: those are understood once."""
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)")


class Phase(StrEnum):
    """What was being done when an answer came."""

    LOOKUP = "looking up the host"
    CONNECT = "connecting"
    GREETING = "waiting for the greeting"
    EHLO = "sending EHLO"
    STARTTLS = "sending STARTTLS"
    TLS = "setting up TLS"
    AUTH = "signing in"
    MAIL = "sending MAIL FROM"
    RCPT = "sending RCPT TO"
    DATA = "sending DATA"
    BODY = "sending the message"
    END = "waiting for the reply to the message"
    CHUNK = "waiting for the reply to the message in a chunk"
    RSET = "sending RSET"
    QUIT = "sending QUIT"


class Trouble(StrEnum):
    """What kept a reply from coming, or from counting."""

    NO_HOST = "host not found"
    NO_ROUTE = "unreachable"
    NO_NETWORK = "no network"
    NO_ROOM = "out of descriptors or memory"
    TIMEOUT = "timed out"
    LOST = "connection lost"
    PROTOCOL = "protocol error"
    LOOP = "mail loops back"
    NO_TLS = "TLS not offered"
    TLS = "TLS failed"
    CERTIFICATE = "certificate refused"
    NO_MECHANISM = "no usable sign-in"
    CONTENT = "message cannot be sent there"
    CONFIGURATION = "configuration cannot be used"
    UNTOUCHED = "not begun"
    STOPPED = "stopped"


class Reply(NamedTuple):
    """One whole reply. lines: its text lines as printable ASCII."""

    code: int
    lines: tuple[str, ...]

    @property
    def kind(self) -> int:
        """The first digit, which decides."""
        return self.code // 100

    @property
    def text(self) -> str:
        """The reply as one line, code first, as logs and notices show it."""
        return " ".join([str(self.code), *filter(None, self.lines)])

    @property
    def enhanced(self) -> str:
        """Its enhanced status code, "x.0.0" where it has none that agrees with its class (RFC 2034 section 4)."""
        kind = self.code // 100
        for line in self.lines[:1] + self.lines[-1:]:
            found = _ENHANCED.match(line)
            if found and found[1] == str(kind):
                return f"{kind}.{int(found[2])}.{int(found[3])}"
        return f"{kind}.0.0"


class Answer(NamedTuple):
    """What the peer or the network said to one step: a reply, or the trouble that came instead of one."""

    phase: Phase
    reply: Reply | None = None
    trouble: Trouble | None = None
    text: str = ""

    @property
    def kind(self) -> int:
        """The reply's first digit, 0 where there is none."""
        return self.reply.kind if self.reply is not None and self.trouble is None else 0

    @property
    def good(self) -> bool:
        """A 2yz reply."""
        return self.kind == 2


class BadReply(ValueError):
    """What the peer sent is no reply; only the session is to blame (RFC 5321 section 4.2)."""


class ReplyParser:
    """Takes octets as they come, gives whole replies."""

    def __init__(self) -> None:
        self._rest = b""
        self._code = 0
        self._lines: list[str] = []
        self._octets = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is left over: no octet, no begun reply."""
        return not self._rest and not self._lines

    def feed(self, data: bytes) -> Iterator[Reply]:
        """The replies that `data` completes. Raises BadReply; the parser is of no use after that."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            whole, reply = _common(line) if len(line) <= _COMMON else _understood(line)
            if self._lines or not whole:
                whole, reply = self._joined(line, whole, reply)
            if whole:
                yield reply
        if len(self._rest) + self._octets > _LONGEST_REPLY:
            raise BadReply(f"a reply of more than {_LONGEST_REPLY} octets")

    def _joined(self, line: bytes, whole: bool, reply: Reply) -> tuple[bool, Reply]:
        """One more line of a reply that has several."""
        if self._lines and reply.code != self._code:
            raise BadReply(f"a reply with two codes, {self._code} and {reply.code}")
        self._code = reply.code
        self._lines += reply.lines
        self._octets += len(line)
        if len(self._lines) > _MOST_LINES or self._octets > _LONGEST_REPLY:
            raise BadReply(f"a reply of more than {_LONGEST_REPLY} octets or {_MOST_LINES} lines")
        if whole:
            reply = Reply(reply.code, tuple(self._lines))
            self._lines, self._octets = [], 0
        return whole, reply


def _understood(line: bytes) -> tuple[bool, Reply]:
    """Whether a line (up to its line feed) ends a reply, and what it alone would be as one. Raises BadReply."""
    if len(line) > _LONGEST_REPLY:
        raise BadReply(f"a reply of more than {_LONGEST_REPLY} octets")
    line = line.removesuffix(b"\r")
    found = _LINE.fullmatch(line)
    if found is None:
        raise BadReply(f"no SMTP reply: {printable(line.decode('ascii', 'replace'), 80)}")
    text = printable((found[3] or b"").decode("utf-8", "replace"), LONGEST_LINE)
    return found[2] != b"-", Reply(int(found[1]), (text,))


_common = lru_cache(maxsize=256)(_understood)


def extensions(reply: Reply) -> dict[str, str]:
    """The extensions that an EHLO reply offers: keyword in upper case, parameters as written (RFC 5321 section 4.1.1.1)."""
    offered: dict[str, str] = {}
    for line in reply.lines[1:]:
        keyword, _, parameters = (
            line.replace("=", " ", 1).partition(" ") if line[:5].upper() == "AUTH=" else line.partition(" ")
        )
        if keyword:
            keyword = keyword.upper()
            # AUTH may come twice, the second time in the old form `AUTH=`: both lists count
            offered[keyword] = f"{offered[keyword]} {parameters}" if keyword == "AUTH" and keyword in offered else parameters
    return offered


def path_command(verb: str, path: str, parameters: list[str]) -> bytes:
    """`MAIL FROM:<path> ...` or `RCPT TO:<path> ...`; path: a canonical address or "" (RFC 5321 section 4.1.1.2).

    Raises ValueError for what must never reach the wire, whoever let it through.
    """
    text = " ".join([f"{verb}:<{path}>", *parameters])
    if not text.isprintable():
        raise ValueError("control character in an address or parameter")
    return text.encode("utf-8") + b"\r\n"


def xtext(text: str) -> str:
    """`text` as an xtext value (RFC 3461 section 4); printable ASCII in."""
    return "".join(char if "!" <= char <= "~" and char not in "+=" else f"+{ord(char):02X}" for char in text)


class State(StrEnum):
    """Where a session stands between its EHLO and its end (RFC 5321 section 4.1.4)."""

    READY = "no transaction is open"
    SENDER = "the sender was accepted"
    RECIPIENT = "a recipient was accepted"
    TEXT = "the server wants the message"
    FAILED = "a transaction has failed and is still open"
    OVER = "the session is over"


TRANSITIONS: dict[tuple[State, Phase, int], State] = {
    (State.READY, Phase.MAIL, 2): State.SENDER,
    (State.READY, Phase.MAIL, 4): State.READY,
    (State.READY, Phase.MAIL, 5): State.READY,
    (State.SENDER, Phase.RCPT, 2): State.RECIPIENT,
    (State.RECIPIENT, Phase.RCPT, 2): State.RECIPIENT,
    **{(state, Phase.RCPT, kind): state for state in (State.SENDER, State.RECIPIENT) for kind in (4, 5)},
    (State.RECIPIENT, Phase.DATA, 3): State.TEXT,
    (State.RECIPIENT, Phase.DATA, 4): State.FAILED,
    (State.RECIPIENT, Phase.DATA, 5): State.FAILED,
    # pipelined behind a refusal: the server says no to what stands behind it, or asks for a message for nobody
    (State.READY, Phase.RCPT, 4): State.READY,
    (State.READY, Phase.RCPT, 5): State.READY,
    (State.READY, Phase.DATA, 4): State.READY,
    (State.READY, Phase.DATA, 5): State.READY,
    (State.READY, Phase.DATA, 3): State.TEXT,
    (State.SENDER, Phase.DATA, 4): State.FAILED,
    (State.SENDER, Phase.DATA, 5): State.FAILED,
    (State.SENDER, Phase.DATA, 3): State.TEXT,
    # the end of the message ends the transaction, whatever is said to it (RFC 5321 section 4.1.1.4)
    (State.TEXT, Phase.END, 2): State.READY,
    (State.TEXT, Phase.END, 4): State.READY,
    (State.TEXT, Phase.END, 5): State.READY,
    # the same for a message in one chunk (RFC 3030), which is sent without waiting to be asked for it
    (State.RECIPIENT, Phase.CHUNK, 2): State.READY,
    **{(state, Phase.CHUNK, kind): State.FAILED for state in (State.READY, State.SENDER, State.RECIPIENT) for kind in (4, 5)},
    **{(state, Phase.RSET, 2): State.READY for state in (State.READY, State.SENDER, State.RECIPIENT, State.FAILED)},
}
"""What a reply of that first digit does. What is not here is no SMTP, and ends the session, as 421 does anywhere."""


class Dialogue:
    """A session's state, moved by each reply to a command that was sent."""

    def __init__(self) -> None:
        self.state = State.READY
        self._expected: deque[Phase] = deque()

    def sent(self, phases: Iterable[Phase]) -> None:
        """These commands went out, in this order."""
        self._expected.extend(phases)

    @property
    def next_phase(self) -> Phase | None:
        """To what the next reply will be the answer."""
        return self._expected[0] if self._expected else None

    @property
    def quiet(self) -> bool:
        """Whether no reply is due."""
        return not self._expected

    @property
    def needs_reset(self) -> bool:
        """Whether a transaction is open that leads nowhere, so that RSET must come before the next MAIL."""
        return self.state not in (State.READY, State.TEXT)

    def received(self, reply: Reply) -> Answer:
        """The answer that a reply is. Raises BadReply for one that nobody asked for."""
        expected = self._expected
        if not expected:
            raise BadReply("the server sent a reply nobody asked for")
        phase = expected.popleft()
        if phase in _IN_TRANSACTION:
            code = reply.code
            found = _OVER if code == 421 else TRANSITIONS.get((self.state, phase, code // 100), _OVER)
            if phase is not _END or not expected or expected[0] is not _END or found is not State.READY:
                # with LMTP a reply for each recipient follows the message; the last of them ends it (RFC 2033 section 4.2)
                self.state = found
        return Answer(phase, reply)


_OVER, _END = State.OVER, Phase.END  # to name a member of an enumeration takes a call in Python 3.11
_IN_TRANSACTION = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.END, Phase.CHUNK, Phase.RSET})
