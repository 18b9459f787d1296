"""All processes of one rival: what they cost together, and their end. Daemons leave every process group but not a cgroup."""

import itertools
import os
import signal
import subprocess
import time
from contextlib import suppress

_NUMBERS = itertools.count()


def usable() -> bool:
    """Whether processes can be kept together here: root and a cgroup2 file system are wanted."""
    return os.geteuid() == 0 and os.access(_top(), os.W_OK)


def _top() -> str:
    with open("/proc/mounts", encoding="ascii") as mounts:
        places = [words[1] for words in map(str.split, mounts) if words[2] == "cgroup2"]
    with open("/proc/self/cgroup", encoding="ascii") as groups:
        own = [line.rstrip("\n")[3:] for line in groups if line.startswith("0::")]
    return f"{places[0]}{own[0]}".rstrip("/") if places and own else "/nonexistent"


class Herd:
    """Processes in a cgroup of their own."""

    def __init__(self) -> None:
        self._group = f"{_top()}/smartrelay-bench-{os.getpid()}-{next(_NUMBERS)}"
        os.mkdir(self._group)
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Starts a program as one of them, with nobody to talk to."""
        joining = ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', f"{self._group}/cgroup.procs", *command]
        void = subprocess.DEVNULL
        process = subprocess.Popen(joining, env=environment, stdin=void, stdout=void, stderr=void, process_group=0)
        self._started.append(process)
        return process

    def run(self, command: list[str], environment: dict[str, str]) -> None:
        """Runs a program as one of them to its end, which must be good."""
        if status := self.start(command, environment).wait():
            raise RuntimeError(f"{' '.join(command)}: status {status}")

    def pids(self) -> list[int]:
        """Their ids now."""
        with open(f"{self._group}/cgroup.procs", encoding="ascii") as file:
            return [int(line) for line in file]

    def cpu(self) -> float:
        """Seconds, user and system, of all of them and of those that have ended."""
        with open(f"{self._group}/cpu.stat", encoding="ascii") as file:
            return int(dict(map(str.split, file))["usage_usec"]) / 1e6

    def memory(self) -> int:
        """What they hold now in octets; a page that several share counts once."""
        total = 0
        for pid in self.pids():
            with suppress(OSError), open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                total += next((int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:")), 0)
        return total

    def end(self) -> None:
        """Ends all of them: politely first, so that none starts another one in the place of a killed one."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + 5
            while (pids := self.pids()) and time.monotonic() < deadline:
                for pid in pids:
                    with suppress(ProcessLookupError):
                        os.kill(pid, number)
                time.sleep(0.1)
        for process in self._started:
            process.wait(10)
        self._started.clear()

    def disband(self) -> None:
        """Ends all of them and forgets what they cost."""
        self.end()
        for _ in range(50):
            with suppress(OSError):
                os.rmdir(self._group)
                return
            time.sleep(0.1)
