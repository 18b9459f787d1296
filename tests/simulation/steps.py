"""What a process does to the disk, step by step: each can be the one at which it dies.

In this process the system calls that change a spool, or make it durable, are counted. At a number of a test's choice the
process is dead: that call and all behind it raise `Crash`, and so do its words to a server; nothing more happens to any file.
A write that it dies in has written a part. Its locks end, as the kernel would have it.
"""

import os
import posix
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any

_CALLS = ("rename", "link", "unlink", "pwrite", "fdatasync", "fsync", "open", "close")


class Crash(BaseException):
    """The process is dead. No `except Exception` sees it."""


class Steps:
    """Counts the steps of a process. on_link, on_unlink: told of names that come and go, just behind one that has come and just
    before one goes. last: the last step. left: how many steps the process has yet; 0 or less for one that will not die.
    ambush: how a step begins at which, or soon behind it, a process will die."""

    def __init__(self, rng: Random) -> None:
        self.dead = False
        self.last = ""
        self.ambush = ""
        self.on_link: Callable[[str], None] = lambda path: None
        self.on_unlink: Callable[[str], None] = lambda path: None
        self._rng = rng
        self.left = 0
        self._files: dict[int, os.stat_result] = {}

    def step(self, what: str) -> None:
        """One step is about to be made. Raises Crash."""
        if not self.dead:
            self.last = what
            if self.ambush and what.startswith(self.ambush):
                self.ambush, self.left = "", self._rng.randint(1, 10)
            self.left -= 1
            self.dead = self.left == 0
        if self.dead:
            raise Crash(self.last)

    @contextmanager
    def process(self, die_at: int = 0) -> Iterator[None]:
        """The life of a process that dies at that step, or when its time has come (0)."""
        self.dead, self.left = False, die_at
        real = {name: getattr(posix, name) for name in _CALLS}
        for name in _CALLS:
            watched = self._watched(name, real[name])
            setattr(os, name, watched)
            setattr(posix, name, watched)
        try:
            yield
        finally:
            for name in _CALLS:
                setattr(os, name, real[name])
                setattr(posix, name, real[name])
            self._close_all()

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if name == "close":
                self._files.pop(arguments[0], None)
                return real(*arguments)
            if name != "open" or arguments[1] & os.O_CREAT or self.dead:
                self._take_step(name, real, arguments)
            if name == "unlink":
                self.on_unlink(arguments[0])
            result = real(*arguments, **named)
            if name == "link":
                self.on_link(arguments[1])
            if name == "open":
                self._files[result] = os.fstat(result)
            return result

        return call

    def _take_step(self, name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        alive = not self.dead
        try:
            self.step(f"{name} {arguments[-1] if name == 'link' else arguments[0]}")
        except Crash:
            if alive and name == "pwrite":
                descriptor, data, at = arguments
                real(descriptor, data[: self._rng.randrange(len(data) + 1)], at)
            raise

    def _close_all(self) -> None:
        """What is open still; a number may mean another file by now, if it was closed by other means."""
        for descriptor, status in self._files.items():
            with suppress(OSError):
                if os.path.samestat(os.fstat(descriptor), status):
                    os.close(descriptor)
        self._files.clear()
