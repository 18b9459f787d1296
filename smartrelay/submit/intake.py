"""Where the messages of an SMTP session go: into the spool, with the trace of who brought them (RFC 5321 section 4.4)."""

from smartrelay.mail import address, header
from smartrelay.settings import Settings
from smartrelay.submit.command import Sender
from smartrelay.submit.protocol import MailLoop
from smartrelay.submit.submission import Submission, check_space

TYPE_CHECKING = False
if TYPE_CHECKING:
    from smartrelay.errors import NotTheOwner
    from smartrelay.submit.fairness import Fairness

_MOST_HOPS = 100
"""Received fields from which on a message is taken to go round in a loop (RFC 5321 section 6.3)."""

_LARGE = 1 << 16
"""Octets from which on a header is a large one."""

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]")
_LONGEST_NAME = 255


class Caller:
    """Who is at the other end. uid: whose messages they are; literal: the address that the connection came from as RFC 5321
    section 4.1.3 writes it, "" for a pipe or a UNIX socket."""

    __slots__ = ("literal", "uid")

    def __init__(self, uid: int, literal: str = "") -> None:
        self.uid = uid
        self.literal = literal

    def trace(self, hello: str) -> str:
        """The FROM clause of a Received field. hello: what the caller says it is called."""
        shown = "".join(char if char in _NAME else "?" for char in hello[:_LONGEST_NAME]) or "localhost"
        return f"from {shown} ({self.literal}) (userid {self.uid})" if self.literal else f"from {shown} (userid {self.uid})"


class Intake:
    """Takes a session's messages, one after the other. fairness: what the caller may do, where others share the spool.
    refusal: why this process may not write to the spool; it hands messages over then. passed_on: what comes began elsewhere,
    and gets a trace field only."""

    def __init__(
        self,
        settings: Settings,
        caller: Caller,
        fairness: "Fairness | None" = None,
        refusal: "NotTheOwner | None" = None,
        *,
        passed_on: bool = False,
    ) -> None:
        self._settings = settings
        self._caller = caller
        self._fairness = fairness
        self._refusal = refusal
        self._passed_on = passed_on

    def begin(self, hello: str, protocol: str, sender: Sender) -> Submission:
        """A message from this sender (`session.Acceptor`). Raises SmartRelayError."""
        settings, uid = self._settings, self._caller.uid
        if self._refusal is None:
            check_space(settings, sender.size)
        elif not settings.submit_socket:
            raise self._refusal
        if self._fairness is not None:
            self._fairness.message(uid, sender.size)
        trace = f"{self._caller.trace(hello)}\n\tby {settings.hostname} (smartrelay) with {protocol}"
        one = _Received(settings, uid, trace, hello)
        one.fairness, one.refusal = self._fairness, self._refusal
        one.is_owner = self._refusal is None
        one.passed_on = self._passed_on or sender.passed_on
        one.sender = address.qualified(sender.path, settings.domain) if sender.path else ""
        one.ret, one.envid = sender.ret, sender.envid
        return one


class _Received(Submission):
    """A message that came by SMTP."""

    fairness: "Fairness | None" = None
    refusal: "NotTheOwner | None" = None

    def write(self, piece: bytes | bytearray) -> None:
        if self._draft is not None and self.refusal is None:
            # many may be on their way at once
            check_space(self.settings, len(piece))
            if self.fairness is not None:
                self.fairness.room(self.uid, len(piece))
        super().write(piece)

    def _open(self) -> None:
        if self.fairness is None or len(self._text) <= _LARGE:
            super()._open()
            return
        with self.fairness.large_header:
            super()._open()

    def _judge(self, found: list[header.Field]) -> None:
        if sum(name == b"received" for name, _ in found) >= _MOST_HOPS:
            raise MailLoop("the message has passed too many hosts: it goes round in a loop")

    def _enter(self) -> None:
        if self.refusal is not None:
            raise self.refusal
