"""What came of one attempt for one recipient, with the words that say why (RFC 3463)."""

from typing import NamedTuple

DELIVERED = "delivered"
DEFERRED = "deferred"
FAILED = "failed"
EXPIRED = "expired"
"""Given up after its lifetime, with what its last attempt ended in."""

EXPIRY = "5.4.7"
"""What is said of EXPIRED (RFC 3463: delivery time expired); the status keeps the code of the last answer, which says why."""

FINAL = frozenset((DELIVERED, FAILED, EXPIRED))
"""Only these end a recipient's way; a missing or unknown result is a deferral, never a bounce."""

ASKED, REMEMBERED, OURS = "asked", "remembered", "ours"
"""What a deferral rests on. ASKED: somebody was asked just now. REMEMBERED: the host is known to be bad, for longer than an
hour: it counts as time, and not as a last attempt. OURS: the trouble is our own (an account, the configuration, a bug, a pass
that was stopped): it neither ages mail nor ends it."""


class Status(NamedTuple):
    """The result for one recipient.

    dsn: enhanced status code "x.y.z". text: one printable line; the server's own words where a server spoke. code: its
    SMTP reply code, 0 where we speak for ourselves. host: "name[address]:port" of who was asked, or "". phase: what was
    being done ("rcpt", "end of data", ...). doubt: the session was lost after the final dot, so the server may have taken
    the message (RFC 5321 section 4.5.3.2.6). basis: what a deferral rests on. report: what a sender who asked for it is told of
    this success, "relayed" or "delivered", because nobody behind us will; "" for nothing. The last two are not written down.
    """

    action: str
    dsn: str
    text: str
    code: int = 0
    host: str = ""
    phase: str = ""
    doubt: bool = False
    basis: str = ASKED
    report: str = ""

    @property
    def final(self) -> bool:
        """Whether this recipient's way ends here."""
        return self.action in FINAL


def deferred(dsn: str, text: str, *, host: str = "", phase: str = "", basis: str = OURS) -> Status:
    """A deferral of our own making."""
    return Status(DEFERRED, dsn, text, host=host, phase=phase, basis=basis)


def visible(text: str) -> str:
    """`text` as one line for a person, in any script: file names and keys of a configuration may have anything in them."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def printable(text: str, longest: int = 1000) -> str:
    """`text` from outside as one line of printable ASCII: logs, the journal and notices take nothing else."""
    if text.isascii() and text.isprintable() and "  " not in text and len(text) <= longest:
        return text.strip()  # nearly always
    line = " ".join(text.split())[:longest]
    return "".join(char if " " <= char <= "~" else "?" for char in line)
