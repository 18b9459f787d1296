"""The lock that a pass holds: one pass at a time works on a spool.

The file is never unlinked (a second holder could slip in) and has mode 0600: through a lock file that others can open,
anybody could keep all passes away.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from smartrelay.errors import SpoolError
from smartrelay.spool.durable import FILE_MODE
from smartrelay.spool.trouble import PassInProgress


@contextmanager
def pass_lock(spool: str, wait: float = 0.0) -> Iterator[None]:
    """Holds the lock of the spool, waiting up to `wait` seconds. Raises PassInProgress, or SpoolError (read-only spool)."""
    path = f"{spool}/lock"
    lock = FileLock(path, mode=FILE_MODE)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise PassInProgress(f"another pass is at work on {spool}") from None
    except OSError as error:
        raise SpoolError(f"cannot lock {path}: {error.strerror}; nothing was sent") from error
    try:
        yield
    finally:
        lock.release()
