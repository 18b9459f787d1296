"""The memory for bad hosts: whom not to ask again at once, over messages, next hops, threads and passes.

A host is marked bad when it could not be connected to, did not greet or did not shake hands, and good when it did (RFC 5321
section 4.5.4.1: a client keeps a list of hosts that cannot be reached). Two things follow. A bad host is tried after the good
ones, for `timeout` seconds from its last failure. And nobody connects to it before its next probe, which one caller alone may
make: a minute after the first failure, then two, four and so on up to `timeout`.

Failures are counted from the last success, and forgotten a day after the host has ceased to be bad: one that fails again
within that day is not taken for one that has just failed for the first time. A failure before the next probe was due is of a
connection that was begun earlier, or against the memory's advice: it moves the probe on but is not counted again, or twenty
connections that are refused in the same second would make an hour of it.

An entry from the future, or one that lasts longer than `timeout`, is void: a clock was wrong, or the setting is another.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from smartrelay.errors import SmartRelayError
from smartrelay.mail.status import printable
from smartrelay.routing.hosts_file import KEPT, LONGEST_REASON, BadHost, HostsFile, Stamp, Unusable, newest, normal

__all__ = ["BadHost", "BadHosts"]

_FIRST_STEP = 60.0
_REMEMBERED = 86400.0
_BATCH = 0.5
_AFTER_TROUBLE = 30.0
"""Seconds: from the first failure to the first probe, for which failures stay counted, from write to write, and from one
that went wrong to the next."""

_CLAIM = 900.0
"""Seconds for which a caller may be at it, unless it marks the host before: a greeting alone may take five minutes."""

_UNREAD: Stamp = (-1, -1, -1)


class BadHosts:
    """The bad hosts of one spool, for any number of threads; other processes share the file at `path`.

    lock: gives the lock under which the file is changed; None for one who only looks, and writes nothing. timeout: seconds for
    which a host is bad after a failure, and the longest time between probes. warn: takes one sentence, once for each kind of
    trouble with the file; none of it is raised, the memory then is this process's own. recovered: the keys that were marked
    good after they had failed, since this was made or emptied by who reads it.

    A key is "host:port", or the path of a local socket; the case of a host does not matter.
    """

    def __init__(
        self,
        path: str,
        lock: Callable[[], AbstractContextManager[object]] | None,
        *,
        timeout: float = 3600.0,
        clock: Callable[[], float] = time.time,
        warn: Callable[[str], None],
    ) -> None:
        self.recovered: set[str] = set()
        self._file = HostsFile(path)
        self._lock = lock
        self._timeout = timeout
        self._clock = clock
        self._warn = warn
        self._warned: set[str] = set()
        # never held while a file is written: nobody waits for a slow disk (law 7)
        self._memory = threading.Lock()
        self._writing = threading.Lock()
        self._read: dict[str, BadHost] = {}
        self._stamp: Stamp | None = None
        self._unusable = ""
        self._pending: dict[str, BadHost | None] = {}  # what the file does not have yet; None: is to be forgotten
        self._claims: dict[str, float] = {}
        self._written = float("-inf")
        self._interval = _BATCH

    def mark_bad(self, key: str, reason: str) -> None:
        """The host could not be spoken to; `reason` says why."""
        key = normal(key)
        with self._looking() as now:
            before = self._remembered(key, now)
            self._change(key, self._failed(key, before, printable(reason, LONGEST_REASON), now))
            self.recovered.discard(key)

    def mark_good(self, key: str) -> bool:
        """The host has been spoken to; whether that is news, for it had failed before."""
        key = normal(key)
        with self._looking() as now:
            if self._remembered(key, now) is None:
                return False
            self._change(key, None)
            self.recovered.add(key)
            return True

    def is_bad(self, key: str) -> bool:
        """Whether the host is to be tried after the good ones."""
        return self.get(key) is not None

    def get(self, key: str) -> BadHost | None:
        """What is known of a bad host, None for a good one."""
        with self._looking() as now:
            return self._bad(normal(key), now)

    def claim_probe(self, key: str) -> bool:
        """Whether the caller may connect to the host now.

        A host that has failed is for one caller at a time, when its probe is due: the next may when that one has marked it
        good, or when its time is over without a word. Until then the host counts as bad, even where its time was over.
        """
        key = normal(key)
        with self._looking() as now:
            found = self._remembered(key, now)
            if found is None:
                return True
            if now < max(found.probe, self._claims.get(key, 0.0)):
                return False
            self._claims[key] = now + max(self._step(found.failures), _CLAIM)
            return True

    def reset(self, keys: Iterable[str] | None = None) -> list[str]:
        """Forgets these hosts, or all; the keys that were known, also those that are counted on but no longer bad. A host
        without a port stands for all its ports."""
        wanted = None if keys is None else {form for key in keys for form in (normal(key), normal(key).strip("[]"))}
        with self._looking() as now:
            known = [key for key in self._keys() if self._remembered(key, now) is not None]
            found = sorted(key for key in known if wanted is None or not wanted.isdisjoint((key, _host(key))))
            for key in found:
                self._change(key, None)
            return found

    def entries(self) -> list[BadHost]:
        """All bad hosts, by key."""
        with self._looking() as now:
            return sorted(found for key in self._keys() if (found := self._bad(key, now)) is not None)

    def save(self) -> bool:
        """Writes what the file does not have yet; whether it has all of it now. If not, the reason went to `warn`."""
        with self._memory:
            pending = bool(self._pending or self._unusable)
        return self._write(wait=True) if pending else True

    # the memory: whoever calls one of these has it to himself

    @contextmanager
    def _looking(self) -> Iterator[float]:
        """The memory to oneself, as it is at the time that this yields; behind it what is due is written."""
        with self._memory:
            self._refresh()
            now = self._clock()
            yield now
            # a clock that was set back must not keep us from writing
            due = bool(self._pending or self._unusable) and not 0 <= now - self._written < self._interval
        if due:
            self._write(wait=False)

    def _refresh(self) -> None:
        """Reads the file again if another process has changed it."""
        stamp = self._file.stamp()
        if stamp == self._stamp:
            return
        self._unusable = ""
        try:
            stamp, found = self._file.read()
        except Unusable as error:
            found, self._unusable = {}, str(error)
        for key, change in list(self._pending.items()):
            # what was reset there stays reset; of two failures the later one stands
            gone = key in self._read and key not in found
            if gone or (change is not None and key in found and found[key].failed > change.failed):
                del self._pending[key]
        self._read, self._stamp = found, stamp

    def _keys(self) -> set[str]:
        return self._read.keys() | self._pending.keys()

    def _remembered(self, key: str, now: float) -> BadHost | None:
        """What is known of a host that has failed, bad or no longer."""
        found = self._pending[key] if key in self._pending else self._read.get(key)
        if found is None or not self._counts(found, now):
            return None
        return found

    def _counts(self, found: BadHost, now: float) -> bool:
        return found.failed <= now < found.until + _REMEMBERED and found.until <= found.failed + self._timeout

    def _bad(self, key: str, now: float) -> BadHost | None:
        found = self._remembered(key, now)
        if found is None:
            return None
        claimed = self._claims.get(key, 0.0)
        if claimed > found.probe:
            found = found._replace(probe=claimed, until=max(found.until, claimed))
        return found if now < found.until else None

    def _failed(self, key: str, before: BadHost | None, reason: str, now: float) -> BadHost:
        """What is known after one more failure."""
        since, failures = now, 1
        if before is not None:
            since, failures = before.since, before.failures + (now >= before.probe)
        return BadHost(key, reason, since, now, failures, now + self._step(failures), now + self._timeout)

    def _step(self, failures: int) -> float:
        """Seconds to the next probe after so many failures."""
        return float(min(_FIRST_STEP * 2.0 ** min(failures - 1, 30), self._timeout))

    def _change(self, key: str, to: BadHost | None) -> None:
        self._claims.pop(key, None)
        self._pending.pop(key, None)
        self._pending[key] = to
        if len(self._pending) > KEPT:  # the file cannot be written
            del self._pending[next(iter(self._pending))]

    def _merged(self, now: float) -> dict[str, BadHost]:
        """What the file should have, the newest first."""
        found = [host for key in self._keys() if (host := self._remembered(key, now)) is not None]
        return {host.key: host for host in newest(found)}

    # the file

    def _write(self, *, wait: bool) -> bool:
        """Brings the file up to date; False if that went wrong, or if another thread is at it and we are not to `wait`."""
        if self._lock is None:
            self._warn_once("unusable", f"{self._file.path} {self._unusable}; no host counts as bad")
            return False
        if not self._writing.acquire(blocking=wait):
            return False
        try:
            with self._lock():
                self._exchange()
            self._interval = _BATCH
            return True
        except SmartRelayError as error:
            self._warn_of_writing(str(error))
        except OSError as error:
            self._warn_of_writing(f"cannot write {self._file.path}: {error.strerror}")
        finally:
            self._written = self._clock()
            self._writing.release()
        self._interval = _AFTER_TROUBLE
        return False

    def _exchange(self) -> None:
        """Under the lock: what others have written comes in, what is ours goes out. Raises OSError."""
        with self._memory:
            if self._unusable:
                self._stamp = _UNREAD  # it may have been a moment's trouble, such as too many open files
            self._refresh()
            unusable, ours, merged = self._unusable, dict(self._pending), self._merged(self._clock())
        if unusable:
            aside = self._file.set_aside()
            told = f"{self._file.path} {unusable}; it was set aside as {aside}, and no host counts as bad"
            self._warn_once("unusable", told)
        if not ours:
            return
        stamp = self._file.draft(list(merged.values()))
        with self._memory:
            self._file.publish()
            self._read, self._stamp, self._unusable = merged, stamp, ""
            for key, change in ours.items():
                if key in self._pending and self._pending[key] is change:
                    del self._pending[key]

    def _warn_of_writing(self, why: str) -> None:
        self._warn_once("writing", f"{why}; which hosts are bad is known to this process alone")

    def _warn_once(self, kind: str, sentence: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            self._warn(sentence)


def _host(key: str) -> str:
    """The host in a key, without port and brackets."""
    return key if key.startswith("/") else key.rpartition(":")[0].strip("[]")
