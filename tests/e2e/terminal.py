"""A person at a terminal: a command whose standard error is a real one, on a machine of `tests/e2e/commands.py`.

with at_terminal(machine, SENDMAIL, "-v", "you@b.example", text=b"Subject: x\\n\\nhello\\n") as terminal:
    terminal.wait_for("S: 220")
    code = terminal.wait()
terminal.text                                     # what was shown, with LF line ends
"""

import os
import pty
import subprocess
import termios
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from tests.e2e.commands import TIMEOUT, Machine, Variables


class Terminal:
    """The command and what its terminal shows. The command is killed at the end of a `with` block if it still runs."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], text: bytes, folder: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=theirs, env=environment, cwd=folder
        )
        self._name = os.ttyname(theirs)
        os.close(theirs)
        self._changed = threading.Condition()
        self._shown = bytearray()
        self._over = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        assert self.process.stdin is not None
        with self.process.stdin as stdin:
            stdin.write(text)

    def _read(self) -> None:
        data = b"x"
        while data:
            data = b""
            with suppress(OSError):  # EIO: nobody has the other side any more
                data = os.read(self._ours, 1 << 16)
            with self._changed:
                self._shown += data
                self._over = not data
                self._changed.notify_all()

    @property
    def text(self) -> str:
        """What was shown so far."""
        with self._changed:
            return self._shown.decode("utf-8", "replace").replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        """The same, by line, without the log of a machine that has no syslog."""
        return [line for line in self.text.splitlines() if not line.startswith("smartrelay/")]

    def flow(self, action: int) -> None:
        """Stop it or let it go on, as Ctrl-S and Ctrl-Q do (termios.TCOOFF, TCOON)."""
        terminal = os.open(self._name, os.O_RDWR | os.O_NOCTTY)
        try:
            termios.tcflow(terminal, action)
        finally:
            os.close(terminal)

    def wait_for(self, text: str) -> None:
        """Return when the terminal has shown `text`."""
        wanted = text.encode()
        with self._changed:
            self._changed.wait_for(lambda: wanted in self._shown or self._over, TIMEOUT)
        assert text in self.text, f"{text!r} was not shown:\n{self.text}"

    def wait(self) -> int:
        """The exit code, negative for the signal that ended it."""
        code = self.process.wait(TIMEOUT)
        self._reader.join()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        os.close(self._ours)


def at_terminal(machine: Machine, program: str, *arguments: str, text: bytes = b"", env: Variables = None) -> Terminal:
    """Start a program as a person at a terminal does."""
    merged = {**machine.environment, **(env or {})}
    variables = {name: value for name, value in merged.items() if value is not None}
    return Terminal([program, *arguments], variables, text, machine.folder)
