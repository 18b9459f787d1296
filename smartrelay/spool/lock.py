"""The locks of a spool: one pass at a time works on it, and one process at a time changes what is known of bad hosts.

The files are never unlinked (a second holder could slip in) and have mode 0600: through a lock file that others can open,
anybody could keep all passes away.

It is flock(2). Nearly always the lock is free, and the system is asked for it without more ado; filelock is there for who
has to wait: to load it takes a quarter of the start of a pass.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from smartrelay.errors import SpoolError, TryAgain
from smartrelay.spool.durable import FILE_MODE
from smartrelay.spool.trouble import PassInProgress

_HOSTS_WAIT = 2.0
"""Seconds; whoever has that lock needs it for milliseconds."""


@contextmanager
def pass_lock(spool: str, wait: float = 0.0) -> Iterator[None]:
    """Holds the lock of the spool, waiting up to `wait` seconds. Raises PassInProgress, or SpoolError (read-only spool)."""
    path = f"{spool}/lock"
    try:
        release = _taken(path, wait)
    except OSError as error:
        raise SpoolError(f"cannot lock {path}: {error.strerror}; nothing was sent") from error
    if release is None:
        raise PassInProgress(f"another pass is at work on {spool}")
    try:
        yield
    finally:
        release()


@contextmanager
def hosts_lock(spool: str, wait: float = _HOSTS_WAIT) -> Iterator[None]:
    """Holds the lock of `hosts.json`, waiting up to `wait` seconds. Raises TryAgain, or SpoolError (read-only spool)."""
    path = f"{spool}/hosts.lock"
    try:
        release = _taken(path, wait, look=0.01)
    except OSError as error:
        raise SpoolError(f"cannot lock {path}: {error.strerror}") from error
    if release is None:
        raise TryAgain(f"another process has held {path} for {wait:g} s")
    try:
        yield
    finally:
        release()


def load() -> None:
    """Imports what waiting takes, for a process that cannot do so later (the interpreter may be root's)."""
    import filelock  # noqa: F401


def _taken(path: str, wait: float, look: float = 0.05) -> Callable[[], None] | None:
    """Takes the lock, within `wait` seconds, looking every `look` seconds; what lets it go again, None where it was not to be
    had."""
    release = _at_once(path)
    if release is None and wait > 0:
        release = _when_free(path, wait, look)
    return release


def _at_once(path: str) -> Callable[[], None] | None:
    """Takes the lock if it is free."""
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


def _when_free(path: str, wait: float, look: float) -> Callable[[], None] | None:
    """Takes the lock as soon as it is free."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, mode=FILE_MODE)
    try:
        lock.acquire(timeout=wait, poll_interval=look)
    except Timeout:
        return None
    return lock.release
