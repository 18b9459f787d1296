"""The locks of a spool: one pass at a time works on it, and one process at a time changes what is known of bad hosts.

The files are never unlinked (a second holder could slip in) and have mode 0600: through a lock file that others can open,
anybody could keep all passes away.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from smartrelay.errors import SpoolError, TryAgain
from smartrelay.spool.durable import FILE_MODE
from smartrelay.spool.trouble import PassInProgress

_HOSTS_WAIT = 2.0
"""Seconds; whoever has that lock needs it for milliseconds."""


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


@contextmanager
def hosts_lock(spool: str, wait: float = _HOSTS_WAIT) -> Iterator[None]:
    """Holds the lock of `hosts.json`, waiting up to `wait` seconds. Raises TryAgain, or SpoolError (read-only spool)."""
    path = f"{spool}/hosts.lock"
    lock = FileLock(path, mode=FILE_MODE)
    try:
        lock.acquire(timeout=wait, poll_interval=0.01)
    except Timeout:
        raise TryAgain(f"another process has held {path} for {wait:g} s") from None
    except OSError as error:
        raise SpoolError(f"cannot lock {path}: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()
