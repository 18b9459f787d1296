"""`sendmail -bs`: SMTP on standard input and output, for programs that would rather speak to a pipe than to a port.

It is a local user's: line ends may be LF, and nobody has to say hello. A connection to a port in its place is inetd's: whoever
is at its other end is held to the letter, and only this host's own programs are served.
"""

import posix
import select
import time

from smartrelay import settings
from smartrelay.errors import EX_NOPERM, EX_OK, EX_SOFTWARE, NotTheOwner, SmartRelayError
from smartrelay.spool import access
from smartrelay.submit.intake import Caller, Intake
from smartrelay.submit.protocol import OVER, Rules, reply_to
from smartrelay.submit.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_IN, _OUT, _ERROR = 0, 1, 2
_KIND, _SOCKET = 0o170000, 0o140000
_BLOCK = 1 << 16


def serve(config: str, spool: str, *, passed_on: bool = False) -> int:
    """One session for these `--config` and `--spool` options; the exit code. What is wrong is said in the session's own words.
    passed_on: the mail began elsewhere."""
    caller, remote = _caller()
    _part_from_client()
    try:
        found = settings.load(config, spool)
        load(found.spool)
        refusal = _enter(found)
    except SmartRelayError as error:
        reply = reply_to(error)
        _write(_OUT, f"{'421' if reply[0] == '4' else '554'} {reply[4:]}\r\n".encode("ascii"))
        return error.exit_code
    if caller is None:
        _write(_OUT, b"554 5.7.1 Mail is taken only from programs on this host\r\n")
        return EX_NOPERM
    report = reporter(found.log)
    rules = Rules(found.hostname, found.max_message_size, tolerant=not remote, one_at_a_time=remote)
    session = Session(rules, Intake(found, caller, refusal=refusal, passed_on=passed_on), report)
    try:
        converse(session, rules.patience)
    except KeyboardInterrupt:
        _write(_OUT, session.stop())
    except Exception as error:
        report(error)
        _write(_OUT, session.fail())
        return EX_SOFTWARE
    finally:
        session.close()
    return EX_OK


def _caller() -> tuple[Caller | None, bool]:
    """Who speaks to us, None for somebody on another host, and whether it is by way of a port."""
    try:
        is_socket = posix.fstat(_IN).st_mode & _KIND == _SOCKET
    except OSError:
        is_socket = False
    if is_socket:
        import _socket

        from smartrelay.submit import peer

        connection = _socket.socket(fileno=posix.dup(_IN))
        if connection.family != _socket.AF_UNIX:
            return peer.caller(connection), True
    return Caller(posix.getuid()), False


def _part_from_client() -> None:
    """inetd makes standard error the client's too: nothing that is written there may come into the session."""
    try:
        is_the_client = posix.fstat(_ERROR)[1:3] == posix.fstat(_IN)[1:3]  # inode and device
    except OSError:
        return
    if is_the_client:
        nowhere = posix.open("/dev/null", posix.O_WRONLY | posix.O_CLOEXEC)
        posix.dup2(nowhere, _ERROR)
        posix.close(nowhere)


def _enter(found: settings.Settings) -> NotTheOwner | None:
    """Becomes the spool's owner; None, or why that cannot be: messages are handed over then."""
    try:
        access.enter(found.spool, direct=found.direct)
    except NotTheOwner as refusal:
        return refusal
    return None


def reporter(log: str = "auto") -> "Callable[[Exception], None]":
    """What tells the log of an exception. log: where that goes (`sinks.open_sink`)."""

    def report(error: Exception) -> None:
        from smartrelay.maillog import MailLog
        from smartrelay.sinks import open_sink

        known = isinstance(error, SmartRelayError)
        sentence = str(error) if known else f"a bug of smartrelay: {type(error).__name__}: {error}; a message was not accepted"
        MailLog(open_sink("submit", log)).error(sentence)

    return report


def load(spool: str) -> None:
    """For root, which becomes the spool's owner: what may be asked for later. The interpreter may lie where nobody else can
    read it."""
    if not posix.getuid() and access.changes_owner(spool):
        import smartrelay.mail.address_list
        import smartrelay.maillog
        import smartrelay.submit.aliases  # noqa: F401


def converse(session: Session, patience: float, source: int = _IN, target: int = _OUT) -> None:
    """Carries octets between these descriptors and the session, until either is at its end. Who errs and errs waits a little
    for replies."""
    poll = select.poll()
    poll.register(source, select.POLLIN)
    replies = session.greeting()
    while _write(target, replies) and session.state != OVER:
        if not poll.poll(patience * 1000):
            _write(target, session.timed_out())
            return
        data = _read(source)
        if not data:
            return
        replies = session.receive(data)
        if session.pause:
            time.sleep(session.pause)


def _read(source: int) -> bytes:
    """The next octets; none where the client has gone, in whatever way."""
    try:
        return posix.read(source, _BLOCK)
    except OSError:
        return b""


def _write(target: int, replies: bytes) -> bool:
    """Says it; False where nobody listens any more."""
    view = memoryview(replies)
    try:
        while view:
            view = view[posix.write(target, view) :]
    except OSError:
        return False
    return True
