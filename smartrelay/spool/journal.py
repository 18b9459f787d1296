"""The journal of a message: one JSON object a line in `state/ID`, appended, for all that happened to it.

It is synced before anything that must not happen twice. Room for verdicts can be reserved on disk beforehand: blanks
behind the last line, which appends then overwrite and readers ignore. A torn last line is ignored too.
"""

import errno
import json
import os
import stat
from typing import Any

from smartrelay.spool.durable import FILE_MODE, sync_directory

Event = dict[str, Any]
_LONGEST = 512 << 20
"""Octets. Ten thousand recipients that are put off for five days make 200 MB."""

_encode = json.JSONEncoder(separators=(",", ":")).encode


class Journal:
    """The journal of one message; read once, then kept along."""

    def __init__(self, spool: str, queue_id: str) -> None:
        self.queue_id = queue_id
        self._directory = f"{spool}/state"
        self.path = f"{self._directory}/{queue_id}"
        self.events: list[Event] = []
        self.exists = False
        self._end = 0
        self._read()

    def _read(self) -> None:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return
        content = bytearray()
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "the journal is not a file", self.path)
            if status.st_size > _LONGEST:
                # to read a part would be to forget verdicts, and to overwrite others
                raise OSError(errno.EFBIG, "the journal is too long to be read", self.path)
            while piece := os.read(descriptor, 1 << 16):
                content += piece
        finally:
            os.close(descriptor)
        self.exists = True
        self._end = content.rfind(b"\n") + 1
        self.events = [event for line in content[: self._end].split(b"\n") if (event := _parsed(line))]

    def append(self, *events: Event, sync: bool) -> None:
        """Adds events; when `sync`, returns only after they are on disk for good. Raises OSError."""
        data = "".join([f"{_encode(event)}\n" for event in events]).encode("ascii")
        self._write(data, sync=sync)
        self._end += len(data)
        self.events += events

    def reserve(self, octets: int) -> None:
        """Makes sure that the journal exists and has room on disk for that much more. Raises OSError (ENOSPC)."""
        self._write(b" " * octets, sync=True)

    def remove(self) -> None:
        """The last step in a message's life."""
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
        self.exists = False

    def _write(self, data: bytes, *, sync: bool) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self.path, flags, FILE_MODE)
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(descriptor, data[written:], self._end + written)
            if sync:
                os.fdatasync(descriptor)
        except OSError as error:
            error.filename = self.path  # a full disk has no name of its own
            raise
        finally:
            os.close(descriptor)
        if not self.exists:
            self.exists = True
            if sync:
                sync_directory(self._directory)


def _parsed(line: bytes | bytearray) -> Event | None:
    """The event in a line, None for what is none (blanks of a reservation, a line torn by a crash)."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None
