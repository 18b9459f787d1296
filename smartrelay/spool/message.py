"""A message in hand: its file is open and locked, nobody else works on it until it is let go.

The lock is flock(2) on the message's file itself: it ends with the process whatever happens, and passes and operators take
the same one.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator

from smartrelay.mail.envelope import Envelope
from smartrelay.mail.stored import LONGEST_LINE, BadEnvelope, read
from smartrelay.spool.history import History
from smartrelay.spool.journal import Event, Journal
from smartrelay.spool.trouble import CorruptMessage, MessageBusy, NoSuchMessage

_FIRST_READ = 1 << 14
"""Octets that are read with the envelope: most messages are shorter, and one read is all that they take."""

_BLOCK = 1 << 17

_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What a system says that has run out of something, whatever the file."""


class MessageInHand:
    """One locked message: envelope, history, and its text as often as it is asked for.

    known: its envelope, where that was read a moment ago: the first line of a file never changes.

    Raises on construction MessageBusy when somebody else has it, NoSuchMessage when the name is gone, CorruptMessage when
    the file is no message (the caller sets it aside; `close` is done by then), OSError where that cannot be found out now.
    """

    def __init__(self, spool: str, path: str, queue_id: str, known: Envelope | None = None) -> None:
        self.queue_id = queue_id
        self.path = path
        self._descriptor, size = _locked(path)
        try:
            self.envelope, self._begin = (known, b"") if known else _read_envelope(self._descriptor, path)
            if size != self.envelope.text_at + self.envelope.facts.stored:
                # a text that is not whole must never be sent
                raise CorruptMessage(f"{path}: its text is not what its envelope says")
            self.journal = Journal(spool, queue_id)
        except BaseException:
            self.close()
            raise
        self.history = History(len(self.envelope.recipients)).replay(self.journal.events)

    def text(self) -> Iterator[bytes]:
        """The message's text in blocks, from its first octet at each call. Raises OSError while it is read."""
        if self._begin:
            yield self._begin
        at = self.envelope.text_at + len(self._begin)
        end = self.envelope.text_at + self.envelope.facts.stored
        while at < end:
            block = os.pread(self._descriptor, min(_BLOCK, end - at), at)
            if not block:
                raise OSError(errno.EIO, "its end is gone", self.path)  # a part must never be sent for the whole
            yield block
            at += len(block)

    def record(self, *events: Event, sync: bool) -> None:
        """Adds to the journal and to the history at once. Raises OSError."""
        self.journal.append(*events, sync=sync)
        self.history.replay(events)

    def close(self) -> None:
        """Lets the lock go; harmless when it is gone."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


def lock(path: str) -> int:
    """An open descriptor on `path` with its lock held, once it is certain that the path still means that file."""
    return _locked(path)[0]


def _locked(path: str) -> tuple[int, int]:
    """The descriptor as `lock` gives it, and the file's size."""
    descriptor = _opened(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MessageBusy(f"{path.rpartition('/')[2][:17]} is being delivered now; try again, or use --wait") from None
        held = os.fstat(descriptor)
        try:
            named = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            raise NoSuchMessage(f"{path} is gone") from None
        if not os.path.samestat(held, named):
            raise NoSuchMessage(f"{path} is gone")
        if not stat.S_ISREG(held.st_mode):
            raise CorruptMessage(f"{path} is not a file")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, held.st_size


def peek(path: str) -> Envelope:
    """The envelope in a spool file. Raises NoSuchMessage when it is gone, CorruptMessage when it is none, OSError
    where that cannot be found out now."""
    descriptor = _opened(path)
    try:
        return _read_envelope(descriptor, path)[0]
    finally:
        os.close(descriptor)


def _opened(path: str) -> int:
    """A descriptor for reading. Raises NoSuchMessage, CorruptMessage, and OSError where it is not the file's fault."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise NoSuchMessage(f"{path} is gone") from None
    except OSError as error:
        raise _unreadable(f"{path}: cannot be opened", error) from error


def _unreadable(what: str, error: OSError) -> Exception:
    """What it means that a file cannot be read: nothing where the lack is ours, or a process with too many files open would
    set a whole queue aside."""
    return error if error.errno in _SCARCE else CorruptMessage(f"{what}: {error.strerror}")


def _read_envelope(descriptor: int, path: str) -> tuple[Envelope, bytes]:
    """The envelope, and what was read of the text behind it."""
    try:
        text = os.read(descriptor, _FIRST_READ)
        while b"\n" not in text and len(text) < LONGEST_LINE and (more := os.read(descriptor, 1 << 16)):
            text += more
        line, end, begin = text.partition(b"\n")
        envelope = read(line)
    except OSError as error:
        raise _unreadable(path, error) from error
    except BadEnvelope as error:
        raise CorruptMessage(f"{path}: {error}") from error
    if not end:
        raise CorruptMessage(f"{path}: it ends within its envelope")
    envelope.text_at = len(line) + 1
    return envelope, begin
