"""A file of bad hosts, and the memories of as many processes as a test wants."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smartrelay.routing.bad_hosts import BadHost, BadHosts
from smartrelay.spool.lock import hosts_lock
from tests.support.clock import FakeClock

HOUR = 3600.0


class Lock:
    """A lock to hand in that counts how often it was taken: once for each write."""

    def __init__(self) -> None:
        self.taken = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.taken += 1
        yield


class Spool:
    """One file, and the memories of as many processes as a test wants, with one clock."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.folder = str(folder)
        self.path = f"{folder}/hosts.json"
        self.clock = clock
        self.lock = Lock()
        self.warnings: list[str] = []

    def kept(self, timeout: float = HOUR) -> dict[str, BadHost]:
        """What a process that starts now finds; nothing must have gone wrong before."""
        assert self.warnings == []
        return {host.key: host for host in self.memory(timeout).entries()}

    def memory(self, timeout: float = HOUR) -> BadHosts:
        """The memory of a process of its own."""
        return BadHosts(self.path, self.lock, timeout=timeout, clock=self.clock, warn=self.warnings.append)


def remember(spool: str, *keys: str, reason: str = "connection refused", ago: float = 0.0) -> None:
    """Makes hosts bad in the memory of a real spool, since `ago` seconds: their first probe is due a minute after that."""

    def fail(sentence: str) -> None:
        raise AssertionError(sentence)

    memory = BadHosts(f"{spool}/hosts.json", lambda: hosts_lock(spool), clock=lambda: time.time() - ago, warn=fail)
    for key in keys:
        memory.mark_bad(key, reason)
    assert memory.save()
