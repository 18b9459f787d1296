"""The words of a scripted SMTP server: what it can be told to do, and what it writes down."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

TIMEOUT = 20.0


class Gate:
    """A point at which the server hangs until the test opens the gate."""

    def __init__(self) -> None:
        self._reached, self._open = threading.Event(), threading.Event()

    def wait_reached(self, timeout: float = TIMEOUT) -> None:
        assert self._reached.wait(timeout), "the server did not come to the gate"

    def open(self) -> None:
        self._open.set()

    def pass_through(self) -> None:
        self._reached.set()
        self._open.wait()


class Action(Enum):
    """What a server does instead of answering."""

    CLOSE = "close the connection"
    RESET = "close it with a TCP reset"
    SILENCE = "say nothing more and wait until the client goes"
    KEEP_AND_CLOSE = "at DOT: accept the message, and close without saying so"


@dataclass(frozen=True)
class Pieces:
    """A reply sent verbatim, in several writes; at a gate the server waits for the test."""

    parts: Sequence[bytes | Gate]


# A reply (CRLF is added when it is missing; after 421 the server hangs up), a misbehaviour, or None for the usual.
Answer = bytes | Action | Pieces


@dataclass
class Transaction:
    """From an accepted MAIL on: the lines as they came, and the message as it came and as it is meant."""

    mail_from: bytes
    rcpt_to: list[bytes] = field(default_factory=list)  # all RCPT lines, without CRLF
    recipients: list[bytes] = field(default_factory=list)  # the accepted ones, as <address>
    data: bytes = b""  # as on the wire, to the final CRLF.CRLF; for BDAT the chunks joined
    content: bytes = b""  # un-stuffed, without the final dot
    accepted: bool = False


@dataclass
class Session:
    """One connection, as the server saw it."""

    number: int
    peer: str = ""  # the client's address
    transcript: list[tuple[str, bytes]] = field(default_factory=list)  # ("C" or "S", bytes of one read or write)
    commands: list[bytes] = field(default_factory=list)  # without CRLF, message content left out
    transactions: list[Transaction] = field(default_factory=list)
    transaction: Transaction | None = None  # the open one
    tls: bool = False
    user: str | None = None  # who signed in
    tls_error: str | None = None
    closed: bool = False
