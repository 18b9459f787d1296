"""What the program notes for itself in `var/`: small files, read with suspicion and replaced whole.

Nothing is lost by deleting one, so nothing is synced: after a power cut there is the old file, the new one, or an empty one.
"""

import os
import stat

from smartrelay.spool.durable import DIRECTORY_MODE, FILE_MODE, remove, write_all


def read(path: str, longest: int) -> bytes:
    """The content of the file. Raises OSError, and ValueError for what is no plain file or has more than `longest` octets."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no plain file")
        content = file.read(longest + 1)
    if len(content) > longest:
        raise ValueError("it is too long")
    return content


def write(path: str, content: bytes) -> None:
    """Puts a whole file in the place of the one before. Raises OSError."""
    draft = f"{path}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(draft, flags, FILE_MODE)
    except FileNotFoundError:  # var/ may be deleted at any time
        os.mkdir(os.path.dirname(path), DIRECTORY_MODE)
        descriptor = os.open(draft, flags, FILE_MODE)
    try:
        try:
            write_all(descriptor, content)
        finally:
            os.close(descriptor)
        os.rename(draft, path)
    except OSError:
        remove(draft)
        raise


def reason(error: Exception) -> str:
    """Why a note could not be read."""
    return (error.strerror if isinstance(error, OSError) else "") or "it is not what we write"
