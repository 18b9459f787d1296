"""Files that are on disk for good: the commit of a new message, and the syncs that every durable change is made of.

The commit rule: written in `tmp/`, fsync, renamed into `new/`, fsync of the directory. After `Draft.commit` returns, the
message survives a power cut; before, nobody was told that it was accepted. Everything raises OSError for the caller to
put into words.

On the enqueue path: `posix` instead of `os`, which saves a tenth of the whole command.
"""

import posix

from smartrelay.mail.envelope import Envelope, Facts

_BUFFER = 1 << 16
FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


def sync_directory(path: str) -> None:
    """Makes the names in a directory durable."""
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        posix.fsync(descriptor)
    finally:
        posix.close(descriptor)


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Writes all of `data`; a write may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[posix.write(descriptor, view) :]


def remove(path: str) -> None:
    """Takes a file away if it is there and the disk lets us: what else is wrong is what the caller is told of."""
    try:
        posix.unlink(path)
    except OSError:
        pass


class Draft:
    """A message on its way into the spool: nobody sees it before `commit`, and `discard` leaves nothing.

    Its text is written in the store's form (LF line ends); the facts about it are gathered on the way and put into the
    envelope's line at the end.
    """

    __slots__ = ("_buffer", "_descriptor", "_facts", "_facts_at", "_flushed", "_last", "_run", "_spool", "queue_id")

    def __init__(self, spool: str, queue_id: str, envelope: Envelope) -> None:
        self._spool = spool
        self.queue_id = queue_id
        head = envelope.head()
        self._facts_at = len(head)
        self._buffer = bytearray(head)
        self._buffer += bytes(Facts.WIDTH) + b"\n"
        self._flushed = False
        self._facts = Facts()
        self._run = 0
        self._last = 10
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | posix.O_CLOEXEC
        self._descriptor = posix.open(self._path("tmp"), flags, FILE_MODE)

    @property
    def text_octets(self) -> int:
        """Octets of text written so far, in the store's form."""
        return self._facts.stored

    def write(self, text: bytes | bytearray) -> None:
        """Adds a piece of the text, cut anywhere."""
        if not text:
            return
        facts = self._facts
        lines = text.split(b"\n")
        if len(lines) > 1:
            facts.longest = max(facts.longest, self._run + len(lines[0]), max(map(len, lines[1:-1]), default=0))
            self._run = 0
        self._run += len(lines[-1])
        facts.octets += len(text) + len(lines) - 1
        facts.stored += len(text)
        self._last = text[-1]
        if not text.isascii():
            facts.eight_bit = 1
        if b"\0" in text:
            facts.nul = 1
        if b"\r" in text:
            facts.bare_cr = 1
        self._buffer += text
        if len(self._buffer) >= _BUFFER:
            self._flush()

    def _flush(self) -> None:
        write_all(self._descriptor, self._buffer)
        self._buffer.clear()
        self._flushed = True

    def commit(self, *, exclusive: bool = False) -> bool:
        """Makes the message durable in `new/`; False when exclusive and a message of that id is there already."""
        facts = self._facts
        facts.longest = max(facts.longest, self._run)
        if self._last != 10:  # the wire completes the last line
            facts.octets += 2
        end = facts.json()
        if self._flushed:
            self._flush()
            posix.pwrite(self._descriptor, end, self._facts_at)
        else:
            self._buffer[self._facts_at : self._facts_at + Facts.WIDTH] = end
            self._flush()
        posix.fsync(self._descriptor)
        self._close()
        if exclusive:
            try:
                posix.link(self._path("tmp"), self._path("new"))
            except FileExistsError:
                return False
            finally:
                posix.unlink(self._path("tmp"))
        try:
            if not exclusive:
                posix.rename(self._path("tmp"), self._path("new"))
            sync_directory(f"{self._spool}/new")
        except BaseException:
            # whoever handed it in is told no, and will come again: it must not go out twice
            remove(self._path("new"))
            raise
        return True

    def discard(self) -> None:
        """Takes back a draft that was not committed; harmless after a commit."""
        self._close()
        remove(self._path("tmp"))

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            posix.close(descriptor)

    def _path(self, directory: str) -> str:
        return f"{self._spool}/{directory}/{self.queue_id}"
