"""The installed commands in subprocesses, on a machine of their own: spool, configuration and environment are private.

    machine = Machine(tmp_path)                       # or the fixture `machine` of tests/e2e/conftest.py
    machine.configure(relay("smtp://127.0.0.1:2525"), "[limits]\\nmax_connections = 1")
    one = machine.enqueue(b"Subject: x\\n\\nhello\\n", "-f", "me@a.example", "you@b.example")   # a queue id
    result = machine.flush("--all")                   # a Result: code, output, errors, log, said
    running = machine.start("flush", "--every", "1h") # a Running: wait_for_error, signal, wait

Log lines come on standard error with their `<N>` prefix wherever the test runs: standard error is a pipe that
`$JOURNAL_STREAM` names, as systemd does it.
"""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

TIMEOUT = 30.0
BIN = os.path.dirname(sys.executable)
SMARTRELAY, SENDMAIL = os.path.join(BIN, "smartrelay"), os.path.join(BIN, "smartrelay-sendmail")
HOSTNAME, DOMAIN = "client.a.example", "a.example"
STATES = ("tmp", "new", "cur", "hold", "corrupt", "state")
Input = bytes | int  # octets, or the descriptor of an open file
Variables = Mapping[str, str | None] | None
LOG_LINE = re.compile(r"<\d>")

# Runs a command and writes its peak of resident memory, in KiB, into a file. In a small process of its own: by Linux's
# count a process has at least the peak of the one that forked it, and pytest's is large.
MEASURE = """\
import os, sys
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
with open(sys.argv[1], "w") as file:
    file.write(str(usage.ru_maxrss))
os._exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Result:
    """How a command ended. code: negative for the signal that ended it."""

    code: int
    output: bytes
    errors: str

    @property
    def log(self) -> list[str]:
        """The lines of the mail log, without their prefix."""
        return [line[3:] for line in self.errors.splitlines() if LOG_LINE.match(line)]

    @property
    def said(self) -> str:
        """Standard error without the log: what a person reads."""
        return "".join(line for line in self.errors.splitlines(keepends=True) if not LOG_LINE.match(line))

    def line(self, *words: str) -> str:
        """The only log line with all these words in it."""
        found = [line for line in self.log if all(word in line for word in words)]
        assert len(found) == 1, f"{len(found)} lines have {words}:\n{self.errors}"
        return found[0]


class Running:
    """A command that runs; it is killed at the end of a `with` block if it still does."""

    def __init__(self, command: list[str], environment: Mapping[str, str], text: Input, cwd: str) -> None:
        read, write = os.pipe()
        status = os.fstat(write)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if isinstance(text, bytes) else text,
            stdout=subprocess.PIPE,
            stderr=write,
            env={**environment, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"},
            cwd=cwd,
        )
        os.close(write)
        assert self.process.stdout is not None
        self._changed = threading.Condition()
        self._read = {name: bytearray() for name in ("output", "errors")}
        self._open = 2
        self._result: Result | None = None
        self._threads = [
            threading.Thread(target=self._collect, args=("output", self.process.stdout.fileno())),
            threading.Thread(target=self._collect, args=("errors", read)),
        ]
        if isinstance(text, bytes):
            self._threads.append(threading.Thread(target=self._feed, args=(text,)))
        self._errors_fd = read
        for thread in self._threads:
            thread.start()

    def _collect(self, name: str, descriptor: int) -> None:
        while True:
            data = os.read(descriptor, 1 << 16)
            with self._changed:
                if data:
                    self._read[name] += data
                else:
                    self._open -= 1
                self._changed.notify_all()
            if not data:
                return

    def _feed(self, text: bytes) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(text)
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def wait_for_error(self, text: str, times: int = 1) -> None:
        """Return when standard error has `text` in it so often."""
        wanted = text.encode()
        with self._changed:
            self._changed.wait_for(lambda: self._read["errors"].count(wanted) >= times or self._open < 2, TIMEOUT)
            seen = self._read["errors"].decode("utf-8", "replace")
        assert seen.count(text) >= times, f"{text!r} was not said {times} times:\n{seen}"

    def wait_for_socket(self) -> None:
        """Return when it has a socket open."""
        while not _has_socket(self.process.pid):
            assert not self.ended
            os.sched_yield()

    def signal(self, number: int) -> None:
        """Send a signal to the command; it has arrived there on return."""
        self.process.send_signal(number)
        while not self.ended and _has_pending_signal(self.process.pid):
            os.sched_yield()

    @property
    def ended(self) -> bool:
        """Whether it has ended by now."""
        return self._result is not None or _ends_within(self.process.pid, 0)

    def wait(self, timeout: float = TIMEOUT) -> Result:
        """The end of it. One that lasts longer than `timeout` seconds is killed, and the test fails."""
        if self._result is None:
            late = not _ends_within(self.process.pid, timeout)
            if late:
                self.process.kill()
            _, status = os.waitpid(self.process.pid, 0)
            # Popen must not wait for it again.
            self.process.returncode = os.waitstatus_to_exitcode(status)
            for thread in self._threads:
                thread.join()
            for file in (self.process.stdin, self.process.stdout):
                if file is not None:
                    file.close()
            os.close(self._errors_fd)
            output, errors = bytes(self._read["output"]), self._read["errors"].decode("utf-8", "replace")
            self._result = Result(self.process.returncode, output, errors)
            assert not late, f"the command did not end within {timeout} s:\n{errors}"
        return self._result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._result is None:
            self.process.send_signal(signal.SIGKILL)
            self.wait()


def _ends_within(pid: int, seconds: float) -> bool:
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def _has_socket(pid: int) -> bool:
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):  # closed meanwhile
            if os.readlink(f"{folder}/{name}").startswith("socket:"):
                return True
    return False


def _has_pending_signal(pid: int) -> bool:
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return any(int(line.split()[1], 16) for line in file if line.startswith("ShdPnd:"))


def relay(*hosts: str, **settings: str) -> str:
    """A `[[relay]]` table; settings are TOML values, such as `ca_file='"/x"'`."""
    quoted = ", ".join(f'"{host}"' for host in hosts)
    lines = ["[[relay]]", f"hosts = [{quoted}]", *(f"{key} = {value}" for key, value in settings.items())]
    return "\n".join(lines) + "\n"


class Machine:
    """A spool, a configuration and an environment in `folder`, and the commands that use them."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = os.path.join(folder, "machine")
        os.mkdir(self.folder)
        self.spool = os.path.join(self.folder, "spool")
        self.config = os.path.join(self.folder, "smartrelay.toml")
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": self.folder,
            "LANG": "C.UTF-8",
            "SMARTRELAY_CONFIG": self.config,
            "SMARTRELAY_SPOOL": self.spool,
        }
        self.configure()

    def configure(self, *tables: str, top: str = "") -> None:
        """Write the configuration: `tables` below the settings that all tests share; `top`: more of those."""
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f'hostname = "{HOSTNAME}"\ndomain = "{DOMAIN}"\nmin_free_space = 0\n{top}\n')
            file.write("\n".join(tables))

    def relay_to(self, *servers: "HasPort", more: str = "", **settings: str) -> None:
        """Configure one relay: these servers on loopback, in order, without TLS where they don't offer it."""
        self.configure(relay(*(f"smtp://127.0.0.1:{server.port}" for server in servers), **settings), more)

    # Commands.

    # Each takes `env`, which is added to the machine's own environment; the value None takes a variable out of it.

    def start(self, *arguments: str, text: Input = subprocess.DEVNULL, env: Variables = None) -> Running:
        """Start `smartrelay` with these arguments."""
        return self.start_program(SMARTRELAY, *arguments, text=text, env=env)

    def start_program(self, program: str, *arguments: str, text: Input = subprocess.DEVNULL, env: Variables = None) -> Running:
        """Start any program on this machine."""
        merged = {**self.environment, **(env or {})}
        variables = {name: value for name, value in merged.items() if value is not None}
        return Running([program, *arguments], variables, text, self.folder)

    def run(self, *arguments: str, text: Input = subprocess.DEVNULL, env: Variables = None) -> Result:
        """Run `smartrelay` to its end."""
        with self.start(*arguments, text=text, env=env) as running:
            return running.wait()

    def sendmail(self, text: Input, *arguments: str, env: Variables = None) -> Result:
        """Run `smartrelay-sendmail` on a message."""
        with self.start_program(SENDMAIL, *arguments, text=text, env=env) as running:
            return running.wait()

    def enqueue(self, text: Input, *arguments: str, env: Variables = None) -> str:
        """Queue a message; its queue id."""
        result = self.sendmail(text, "-v", *arguments, env=env)
        assert result.code == 0, result.errors
        return result.errors.split()[-1]

    def flush(self, *arguments: str, code: int = 0, env: Variables = None) -> Result:
        """Run a pass, which must end with `code`."""
        result = self.run("flush", *arguments, env=env)
        assert result.code == code, f"exit code {result.code}:\n{result.errors}"
        return result

    def peak(self, program: str, *arguments: str, text: Input = subprocess.DEVNULL) -> int:
        """The resident memory, in KiB, that a program had at most; it must end with 0."""
        path = os.path.join(self.folder, "peak")
        measuring = ["-I", "-S", "-c", MEASURE, path, program]
        with self.start_program(sys.executable, *measuring, *arguments, text=text) as running:
            result = running.wait()
        assert result.code == 0, result.errors
        with open(path, encoding="ascii") as file:
            return int(file.read())

    # The spool.

    def ids(self, *states: str) -> list[str]:
        """The ids of all messages in these states (directories of the spool), by default in any but corrupt."""
        return sorted(name[:17] for state in states or ("new", "cur", "hold") for name in os.listdir(f"{self.spool}/{state}"))

    def path(self, one: str) -> str:
        """The file of a message."""
        for state in ("new", "cur", "hold"):
            for name in os.listdir(f"{self.spool}/{state}"):
                if name.startswith(one):
                    return f"{self.spool}/{state}/{name}"
        raise AssertionError(f"{one} is not in the queue")

    def due(self, one: str) -> int:
        """When a deferred message goes next, in Unix seconds."""
        return int(self.path(one).partition(",n=")[2])

    def make_due(self, *ids: str) -> None:
        """Make deferred messages (all of them, by default) due now, as if their time had come: it stands in the name."""
        for one in ids or self.ids("cur"):
            os.rename(self.path(one), f"{self.spool}/cur/{one},n=1")

    def let_age(self, one: str, seconds: float) -> None:
        """Let a message, and all that its journal tells of, be so much older."""

        def older(found: re.Match[bytes]) -> bytes:
            return b"%s%.6f" % (found[1], float(found[2]) - seconds)

        message, journal = Path(self.path(one)), Path(f"{self.spool}/state/{one}")
        envelope, _, text = message.read_bytes().partition(b"\n")
        message.write_bytes(re.sub(rb'("arrived":)([0-9.]+)', older, envelope, count=1) + b"\n" + text)
        if journal.exists():
            journal.write_bytes(re.sub(rb'("time":)([0-9.]+)', older, journal.read_bytes()))

    def text(self, one: str) -> bytes:
        """A message as submission left it, without the envelope's line."""
        with open(self.path(one), "rb") as file:
            return file.read().partition(b"\n")[2]

    def tree(self) -> dict[str, tuple[int, int, bytes]]:
        """Every file and directory of the spool: inode, mtime in nanoseconds, content."""
        found = {}
        for folder, _, names in os.walk(self.spool):
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                status = os.stat(path)
                content = b""
                if not os.path.isdir(path):
                    with open(path, "rb") as file:
                        content = file.read()
                found[os.path.relpath(path, self.spool)] = (status.st_ino, status.st_mtime_ns, content)
        return found

    def clear(self) -> None:
        """Remove the spool, so that the next command makes a new one."""
        shutil.rmtree(self.spool)


class HasPort(Protocol):
    """Whatever listens on a loopback port."""

    port: int
