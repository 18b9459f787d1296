"""The mail log: one line for each event, in Postfix's words and field order, so that the tools made for those read ours.

Never a secret, never text of a message; whatever came from outside is made printable before it gets here. Where the lines go is
`sinks`' affair.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from smartrelay.mail.envelope import LONGEST_LINE, Envelope
from smartrelay.mail.status import DEFERRED, DELIVERED, EXPIRED, EXPIRY, Status, printable, visible
from smartrelay.sinks import ERROR, INFO, WARNING, PickupLine, Sink

_WORDS = {DELIVERED: "sent", DEFERRED: "deferred", EXPIRED: "expired"}

_TOGETHER = 400
"""Lines that may wait for each other: those of a hundred messages."""


class _Gathered(threading.local):
    """The lines that a thread holds back, where it does."""

    lines: list[str] | None = None


class MailLog:
    """The verbs of the log, for any number of threads."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._gathered = _Gathered()

    @contextmanager
    def together(self) -> Iterator[None]:
        """What this thread has to say meanwhile goes out in few writes, each for about a hundred messages: for work that waits
        for nothing, and of which more than the log tells. Warnings, errors and the end of a recipient's way do not wait: of a
        message that has left the queue nothing may be left but its line in the log."""
        self._gathered.lines = []
        try:
            yield
        finally:
            self._release()
            self._gathered.lines = None

    def _release(self) -> None:
        lines = self._gathered.lines
        if lines:
            self._gathered.lines = []
            self._sink(INFO, *lines)

    def _say(self, priority: int, *lines: str) -> None:
        gathered = self._gathered.lines
        if gathered is None:
            self._sink(priority, *lines)
        elif priority == INFO:
            gathered += lines
            if len(gathered) >= _TOGETHER:
                self._release()
        else:
            self._release()
            self._sink(priority, *lines)

    def taken(self, queue_id: str, envelope: Envelope, *, first: bool) -> None:
        """A pass has taken the message in hand. first: no pass has before."""
        sender = printable(envelope.reverse_path)
        lines = [f"{queue_id}: from=<{sender}>, size={envelope.facts.octets}, nrcpt={len(envelope.recipients)} (queue active)"]
        if first:
            message_id = printable(envelope.message_id)
            lines[:0] = [PickupLine(f"{queue_id}: uid={envelope.uid} from=<{sender}>"), f"{queue_id}: message-id={message_id}"]
            if envelope.facts.is_unlawful:
                lines.append(f"{queue_id}: to be re-encoded: it has NUL, or lines of more than {LONGEST_LINE} octets")
        self._say(INFO, *lines)

    def attempted(self, queue_id: str, recipient: str, status: Status, delay: float, delays: tuple[float, ...]) -> None:
        """What came of one recipient in one attempt. delays: before the pass, in it, connecting, transmitting."""
        word = _WORDS.get(status.action, "bounced")
        dsn = EXPIRY if status.action == EXPIRED else status.dsn
        self._say(
            WARNING if status.doubt else INFO,
            f"{queue_id}: to=<{printable(recipient)}>, relay={status.host or 'none'}, delay={_short(delay)}, "
            f"delays={'/'.join(map(_short, delays))}, dsn={dsn}, status={word} ({printable(status.text)})",
        )
        if status.final:
            self._release()

    def expired(self, queue_id: str, envelope: Envelope) -> None:
        """Recipients were given up for their mail's age: what Postfix's queue manager says of it, by which log tools count."""
        self._say(INFO, f"{queue_id}: from=<{printable(envelope.reverse_path)}>, status=expired, returned to sender")

    def secured(self, peer: str, tls: str, *, verified: bool) -> None:
        """A session goes over TLS. tls: version and cipher; verified: the certificate was good, else nobody looked at it."""
        version, _, cipher = tls.partition(" ")
        kind = "Verified" if verified else "Untrusted"
        self._say(INFO, f"{kind} TLS connection established to {peer}: {version} with cipher {printable(cipher)}")

    def notified(self, queue_id: str, notice: str, kind: str) -> None:
        """Somebody was sent a notice. kind: "sender non-delivery", "sender delay", "postmaster non-delivery" and so on."""
        self._say(INFO, f"{queue_id}: {kind} notification: {notice}")

    def dropped(self, queue_id: str, why: str) -> None:
        """Recipients failed and nobody is to be told."""
        self._say(WARNING, f"{queue_id}: no notice was sent: {why}")

    def removed(self, queue_ids: list[str]) -> None:
        """These messages have left the queue for good."""
        if queue_ids:
            self._say(INFO, *[f"{one}: removed" for one in queue_ids])

    def info(self, text: str) -> None:
        """Something worth a line that concerns no single message."""
        self._say(INFO, visible(text))

    def warning(self, text: str) -> None:
        """Something that an operator may want to look at."""
        self._say(WARNING, visible(text))

    def error(self, text: str) -> None:
        """Something that an operator must put right."""
        self._say(ERROR, visible(text))


def _short(seconds: float) -> str:
    """Seconds as Postfix's delays: two digits where they matter."""
    if seconds < 0.005:
        return "0"
    if seconds >= 10:
        return f"{seconds:.0f}"
    return f"{seconds:.{1 if seconds >= 1 else 2}f}".rstrip("0").rstrip(".")
