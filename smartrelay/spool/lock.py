"""The lock that a pass holds: one pass at a time works on a spool.

The file is never unlinked (a second holder could slip in) and has mode 0600: through a lock file that others can open,
anybody could keep all passes away.

It is flock(2), by filelock where there is something to wait for. Who does not wait asks the system himself: to load filelock
takes a quarter of the start of a pass.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from smartrelay.errors import SpoolError
from smartrelay.spool.durable import FILE_MODE
from smartrelay.spool.trouble import PassInProgress


@contextmanager
def pass_lock(spool: str, wait: float = 0.0) -> Iterator[None]:
    """Holds the lock of the spool, waiting up to `wait` seconds. Raises PassInProgress, or SpoolError (read-only spool)."""
    path = f"{spool}/lock"
    try:
        release = _when_free(path, wait) if wait else _at_once(path)
    except OSError as error:
        raise SpoolError(f"cannot lock {path}: {error.strerror}; nothing was sent") from error
    if release is None:
        raise PassInProgress(f"another pass is at work on {spool}")
    try:
        yield
    finally:
        release()


def load(wait: float) -> None:
    """Imports what waiting so long takes, for a process that cannot do so later (the interpreter may be root's)."""
    if wait:
        import filelock  # noqa: F401


def _at_once(path: str) -> Callable[[], None] | None:
    """Takes the lock if it is free; what lets it go again."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # either says that it is taken (flock(2), and network file systems)
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return partial(os.close, descriptor)


def _when_free(path: str, wait: float) -> Callable[[], None] | None:
    """Takes the lock within that time; what lets it go again."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, mode=FILE_MODE)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        return None
    return lock.release
