"""What is run side by side: a queue flushed by smartrelay, by a rival, or a floor, each in every round."""

import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from benchmarks import installed, process, spools
from benchmarks.process import Timing
from benchmarks.rivals.rival import Rival
from benchmarks.sink import Sink


class Course(Protocol):
    """One of those; each call is a run."""

    @property
    def count(self) -> int:
        """How many messages are sent in a run."""

    def __call__(self, timing: Timing) -> None:
        """Runs it, and adds to `timing` what it took."""


ONE_CONNECTION = "max_connections_per_host = 1\nmax_messages_per_connection = 1000000"
_RAW_LOOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "raw_loop.py")
_STARTED, _TIMEOUT = 3.0, 240.0


class NotRun(Exception):
    """A rival cannot be measured, for this reason."""


def compare(courses: Mapping[str, Course], rounds: int) -> dict[str, Timing]:
    """Runs all courses in each round, in any order. A rival that does not run is left out from then on."""
    timings = {name: Timing() for name in courses}
    for _ in range(rounds):
        for name in random.sample(list(courses), len(courses)):
            if timings[name].trouble:
                continue
            try:
                courses[name](timings[name])
            except NotRun as trouble:
                timings[name] = Timing(trouble=str(trouble))
    return timings


@dataclass(frozen=True, slots=True)
class Ours:
    """A pass of smartrelay over `count` new messages: the whole process.

    nameserver: the messages go to domains 0 to `count`, "d0.test" and so on, which it knows, and whose exchangers are all at
    `port`; without one to that port of this host.
    """

    folder: str
    port: int
    count: int
    octets: int = 4096
    limits: str = ""
    nameserver: str = ""

    def __call__(self, timing: Timing) -> None:
        spool = f"{self.folder}/spool"
        spools.make(spool)
        process.apart(lambda: spools.fill(spool, self.count, self.octets, waiting=False, recipient=self._recipient))
        exchangers = (self.nameserver, self.port) if self.nameserver else None
        path = f"{self.folder}/smartrelay.toml"
        config = installed.configuration(path, spool, port=self.port, limits=self.limits, exchangers=exchangers)
        process.run(installed.command(config, "flush", "--json"), f"{self.folder}/output", timing)
        with open(f"{self.folder}/output", encoding="utf-8") as file:
            report = json.load(file)
        if report["sent"] != self.count or report["waiting"]:
            raise RuntimeError(f"not all was relayed: {report}")

    def _recipient(self, number: int) -> str:
        return f"user@d{number}.test" if self.nameserver else spools.RECIPIENT


@dataclass(frozen=True, slots=True)
class Theirs:
    """A rival's flush: from the command that starts it until the sink has taken everything. Filling and starting are not
    timed; the processor's time is that of all its processes until its queue is empty.

    weigh: look at its memory every now and then, which takes time.
    """

    rival: Callable[[], Rival]
    sink: Sink
    count: int
    octets: int = 4096
    weigh: bool = False

    def __call__(self, timing: Timing) -> None:
        try:
            self._run(timing)
        except (RuntimeError, OSError, subprocess.SubprocessError) as trouble:
            raise NotRun(str(trouble)) from trouble

    def _run(self, timing: Timing) -> None:
        rival = self.rival()
        try:
            rival.fill(self.count, self.octets)
            rival.start()
            before, spent, begin = self.sink.taken(), rival.herd.cpu(), time.perf_counter()
            rival.flush()
            while self.sink.taken() - before < self.count:
                self._must_go_on(rival, begin, before)
                if self.weigh:
                    timing.memory = max(timing.memory, rival.herd.memory())
                time.sleep(0.1 if self.weigh else 0.005)
            timing.seconds.append(time.perf_counter() - begin)
            while rival.left() and time.perf_counter() - begin < _TIMEOUT:
                time.sleep(0.02)
            timing.cpu.append(rival.herd.cpu() - spent)
        finally:
            rival.stop()

    def _must_go_on(self, rival: Rival, begin: float, before: int) -> None:
        """Raises RuntimeError when it takes too long, or when nothing runs any more and not all was taken."""
        took = time.perf_counter() - begin
        ended = took > _STARTED and not rival.herd.pids()
        sent = self.sink.taken() - before
        if sent < self.count and (ended or took > _TIMEOUT):
            raise RuntimeError(f"{rival.name} sent {sent} of {self.count} in {took:.0f} s, {rival.left()} are left")


class Floor:
    """The raw loop, which sends the same from memory: the whole process."""

    def __init__(self, folder: str, port: int, count: int, octets: int = 4096) -> None:
        wire = f"{folder}/wire-{octets}"
        process.apart(lambda: _write_wire(wire, octets))
        self._command = installed.python("-I", "-S", _RAW_LOOP, str(port), str(count), wire)
        self._output = f"{folder}/output"
        self.count = count
        self.sending = Timing()  # from connecting to the last reply

    def __call__(self, timing: Timing) -> None:
        process.run(self._command, self._output, timing)
        with open(self._output, encoding="ascii") as file:
            self.sending.seconds.append(float(file.read()))


def _write_wire(path: str, octets: int) -> None:
    with open(path, "wb") as file:
        file.write(spools.text(octets).replace(b"\n", b"\r\n") + b".\r\n")
