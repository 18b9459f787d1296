"""10,000 messages for one smart host that is down: how soon that is over, beside Postfix, and how often anyone knocks."""

import json
import os
import time
from dataclasses import dataclass

from benchmarks import figures, herd, installed, process, spools
from benchmarks.closing_server import ClosingServer
from benchmarks.courses import Course, NotRun, compare
from benchmarks.figures import Figure
from benchmarks.process import Timing
from benchmarks.rivals.postfix import PostfixQueue
from tests.support.dns_server import dns_process
from tests.support.process import free_port

ROUNDS, QUICK = 5, 2
_COUNT = 10_000
_FASTER = 3
_TIMEOUT = 240.0
_OURS, _NEW, _POSTFIX = "smartrelay", "smartrelay, new mail", "Postfix"
_ADDRESSES = ("127.0.0.1", "127.0.0.2")


@dataclass(frozen=True, slots=True)
class _Deferred:
    """A pass of smartrelay in which nothing can be relayed: the whole process. fresh: over a new spool. again: mail that was
    deferred before, as Postfix's."""

    folder: str
    port: int
    nameserver: str = ""
    fresh: bool = True
    count: int = _COUNT
    again: bool = False

    def __call__(self, timing: Timing) -> None:
        spool = f"{self.folder}/spool"
        if self.fresh:
            spools.make(spool)
        process.apart(lambda: spools.fill(spool, self.count, 4096, waiting=self.again, due=-900.0))
        exchangers = (self.nameserver, self.port) if self.nameserver else None
        config = installed.configuration(f"{self.folder}/smartrelay.toml", spool, port=self.port, exchangers=exchangers)
        process.run(installed.command(config, "flush", "--json"), f"{self.folder}/output", timing)
        with open(f"{self.folder}/output", encoding="utf-8") as file:
            report = json.load(file)
        if report["deferred"] != self.count or report["sent"]:
            raise RuntimeError(f"not all was deferred: {report}")


@dataclass(frozen=True, slots=True)
class _Theirs:
    """Postfix's flush of as many: until its active queue is empty again and each has a reason written down."""

    folder: str
    port: int
    count: int = _COUNT

    def __call__(self, timing: Timing) -> None:
        rival = PostfixQueue(f"{self.folder}/rival", self.port)
        try:
            rival.fill(self.count, 4096)
            rival.start()
            spent, begin = rival.herd.cpu(), time.perf_counter()
            rival.flush()
            while self._files("active", "incoming") or self._files("defer") < self.count:
                if time.perf_counter() - begin > _TIMEOUT:
                    raise NotRun(f"Postfix deferred {self._files('defer')} of {self.count} in {_TIMEOUT:.0f} s")
                time.sleep(0.05)
            timing.seconds.append(time.perf_counter() - begin)
            timing.cpu.append(rival.herd.cpu() - spent)
        except (RuntimeError, OSError) as trouble:
            raise NotRun(str(trouble)) from trouble
        finally:
            rival.stop()

    def _files(self, *queues: str) -> int:
        return sum(len(files) for queue in queues for _, _, files in os.walk(f"{self.folder}/rival/queue/{queue}"))


def measure(folder: str, *, quick: bool) -> list[Figure]:
    """The lines of the table."""
    port = free_port()
    courses: dict[str, Course] = {_OURS: _Deferred(folder, port, again=True), _NEW: _Deferred(folder, port)}
    if herd.usable():
        courses[_POSTFIX] = _Theirs(folder, port)
    timings = compare(courses, QUICK if quick else ROUNDS)
    ours, what = timings[_OURS], "10,000 deferred messages for a smart host that refuses connections"
    found = [Figure(f"{what}: smartrelay's processor", None, f"{figures.cpu(ours, _COUNT):.2f} ms each")]
    rival = timings.get(_POSTFIX, Timing(trouble="it wants root and a cgroup2 file system"))
    if rival.trouble:
        found += [Figure(what, ours), Figure(f"{what}: Postfix", None, f"not run: {rival.trouble}")]
    else:
        found.append(Figure(f"{what}, new mail", timings[_NEW], f"{rival.median / timings[_NEW].median:.2f} x {_POSTFIX}"))
        words = f"{figures.cpu(rival, _COUNT):.2f} ms CPU each"
        found += [Figure(f"{what}: Postfix", rival, words), figures.speed(what, ours, rival, _POSTFIX, _FASTER)]
    return [*found, *_knocks(folder)]


def _knocks(folder: str) -> list[Figure]:
    """One pass, then one over as many more before the first probe is due; two addresses of one host."""
    zone = {"dest.example.test": ["MX 10 mx.test"], "mx.test": [f"A {address}" for address in _ADDRESSES]}
    found = []
    with ClosingServer(*_ADDRESSES) as server, dns_process(zone) as nameserver:
        for fresh, which in ((True, "in one pass"), (False, "in that and the next, no probe due")):
            _Deferred(folder, server.port, nameserver, fresh)(Timing())
            counts = list(server.connections.values())
            words = " and ".join(map(str, counts))
            what = f"10,000 messages for a host with two addresses that hang up: connections, {which}"
            found.append(Figure(what, None, f"{words} to its addresses", "one to each", counts == [1] * len(_ADDRESSES)))
    return found
