"""The mail log: one line for each event, in Postfix's words and field order, so that the tools made for those read ours.

On standard error under systemd (with its `<N>` priority prefix), else to syslog, else to standard error. Never a secret,
never text of a message; whatever came from outside is made printable before it gets here.
"""

import os
import syslog
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from smartrelay.mail.envelope import LONGEST_LINE, Envelope
from smartrelay.mail.status import DEFERRED, DELIVERED, EXPIRED, EXPIRY, Status, printable, visible

INFO, WARNING, ERROR = syslog.LOG_INFO, syslog.LOG_WARNING, syslog.LOG_ERR
_WORDS = {DELIVERED: "sent", DEFERRED: "deferred", EXPIRED: "expired"}

_TOGETHER = 400
"""Lines that may wait for each other: those of a hundred messages."""

Sink = Callable[..., None]
"""Takes a priority and the lines, all that are known at once: one system call is enough for them."""


def open_sink(part: str, *, quiet: bool = False) -> Sink:
    """Where log lines of this process go. part: "relay", "queue": the second half of the identity `smartrelay/PART`.

    quiet: on a plain standard error say only what is wrong. Cron mails whatever a command prints: a pass that logged there
    would feed itself.
    """
    identity = f"smartrelay/{part}"
    if _under_systemd():
        # the journal puts the identity in front: our units name it in SyslogIdentifier=
        return lambda priority, *lines: _write(f"<{priority}>", lines)
    if os.path.exists("/dev/log"):
        syslog.openlog(identity, syslog.LOG_PID, syslog.LOG_MAIL)
        return _to_syslog
    prefix = f"{identity}[{os.getpid()}]: "
    least = ERROR if quiet else syslog.LOG_DEBUG
    return lambda priority, *lines: _write(prefix, lines) if priority <= least else None


def _under_systemd() -> bool:
    """Whether standard error goes to the journal (systemd.exec(5), $JOURNAL_STREAM)."""
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _to_syslog(priority: int, *lines: str) -> None:
    for line in lines:
        syslog.syslog(priority, line)


def _write(prefix: str, lines: tuple[str, ...]) -> None:
    text = "".join([f"{prefix}{line}\n" for line in lines])
    try:
        os.write(2, text.encode("utf-8", "backslashreplace"))  # a third of what sys.stderr takes
    except OSError:
        pass  # a log that cannot be written never stops mail


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
            lines[:0] = [f"{queue_id}: uid={envelope.uid} from=<{sender}>", f"{queue_id}: message-id={message_id}"]
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
