"""Processes of a test: servers, started on a free loopback port, known by their greeting, ended with all their children; and
whether one has gone."""

import os
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Self

START_TIMEOUT = 20.0
NOBODY = 65534


class ServerProcess:
    """Runs one program in a folder of its own; a subclass says which, and how it is told its port.

    The folder is not pytest's: those are closed to all users but the one that runs the tests, and servers give up root.
    """

    port: int

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="smartrelay-test-")
        self.process: subprocess.Popen[bytes] | None = None
        self._alive = -1

    def run(
        self,
        command: Callable[[int], list[str]],
        greeting: bytes,
        environment: dict[str, str],
        implicit_tls: bool = False,
    ) -> None:
        """Start the command and return when it greets with `greeting`.

        The port is only probably free: between the choice and the server's bind another process may take it. The server
        then ends, or another one greets, and the next port is tried.
        """
        with open(f"{self.folder}/output", "ab") as output:
            for _ in range(5):
                self.port = free_port()
                self._alive, held = os.pipe()
                self.process = subprocess.Popen(
                    command(self.port),
                    cwd=self.folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[held],
                    process_group=0,
                )
                os.close(held)
                if self._greets(greeting, implicit_tls):
                    return
                self._end()
        with open(f"{self.folder}/output", encoding="utf-8", errors="replace") as text:
            complaint = text.read()
        self.stop()
        raise RuntimeError(f"the server did not start: {complaint}")

    def _greets(self, greeting: bytes, implicit_tls: bool) -> bool:
        assert self.process is not None
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=START_TIMEOUT) as connection:
                    if not implicit_tls:
                        return greeting in connection.recv(1024)
                    # Whose certificate it is does not matter here: the greeting tells.
                    with ssl._create_unverified_context().wrap_socket(connection) as secure:
                        return greeting in secure.recv(1024)
            except OSError:
                # Not listening yet, or never. Its end is only seen, not collected: the id stays taken for _end().
                if select.select([self._alive], [], [], 0.02)[0]:
                    return False
        return False

    def _end(self) -> None:
        if self.process is not None:
            # They are gone when nobody holds the pipe any more: a child that outlived its server would go on writing into
            # the folder.
            self._kill()
            self.process.wait()
            os.read(self._alive, 1)
            os.close(self._alive)
            self.process = None

    def _kill(self) -> None:
        """Kill the whole group, which is the server and what it forked for each connection."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)

    def stop(self) -> None:
        """End the process and remove its folder."""
        self._end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def free_port() -> int:
    """A loopback port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether somebody listens at this port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_gone(pid: int) -> bool:
    """Whether the process has ended, or does so soon: a kill takes its time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 10)[0])
    finally:
        os.close(descriptor)
