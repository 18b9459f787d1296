"""A client that speaks SMTP line by line, to a socket or to a process on two pipes."""

import os
import select
from collections.abc import Callable

TIMEOUT = 30.0


class Talk:
    """What is said and heard on two descriptors (the same for a socket)."""

    def __init__(self, source: int, target: int) -> None:
        self._source, self._target = source, target
        self._heard = b""

    def hear(self) -> str:
        """The next whole reply, its lines joined with LF; "" at the end."""
        lines: list[str] = []
        while not lines or lines[-1][3:4] == "-":
            while b"\r\n" not in self._heard:
                assert select.select([self._source], [], [], TIMEOUT)[0], f"no reply; so far: {lines}"
                data = _read(self._source)
                if not data:
                    assert not lines and not self._heard
                    return ""
                self._heard += data
            line, _, self._heard = self._heard.partition(b"\r\n")
            lines.append(line.decode("ascii"))
        return "\n".join(lines)

    def say(self, text: bytes, replies: int = 1) -> str:
        """Says it, and hears so many replies; the last of them."""
        self.write(text)
        return [self.hear() for _ in range(replies)][-1]

    def write(self, text: bytes) -> None:
        view = memoryview(text)
        while view:
            view = view[os.write(self._target, view) :]

    def message(self, text: bytes, sender: str = "me@a.example", recipient: str = "you@b.example") -> str:
        """A whole transaction; the reply to its end."""
        self.say(f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode(), 3)
        return self.say(text + b"\r\n.\r\n")


def _read(source: int) -> bytes:
    try:
        return os.read(source, 1 << 16)
    except ConnectionResetError:
        return b""


def until(condition: Callable[[], bool]) -> None:
    """Waits for what another process does."""
    import time

    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline
        os.sched_yield()
