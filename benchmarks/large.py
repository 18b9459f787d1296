"""One message of 50 MB: beside a raw loop that sends it ready for the wire, to smtp-sink and to a server that only reads."""

import os
import subprocess
import sys

from benchmarks import installed, spools
from benchmarks.courses import Course, Floor, Ours, compare
from benchmarks.figures import Figure
from benchmarks.process import Timing, plain_environment
from benchmarks.sink import Sink
from tests.support.process import ServerProcess

ROUNDS, QUICK = 11, 5
_OCTETS, _SMALL = 50_000_000, 1024
_TARGETS = {"smtp-sink": 0.7, "a plain reader": 0.4}
_MEMORY = 20
_WEIGH = """
import os, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
print(os.wait4(child, 0)[2].ru_maxrss)
"""
_READER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "plain_reader.py")


class _PlainReader(ServerProcess):
    def __init__(self) -> None:
        super().__init__()
        command = [sys.executable, "-I", "-S", _READER]
        self.run(lambda port: [*command, str(port)], greeting=b"plain.example.test", environment=plain_environment())


def measure(folder: str, *, quick: bool) -> list[Figure]:
    """The lines of the table."""
    with Sink() as sink, _PlainReader() as reader:
        ports = {"smtp-sink": sink.port, "a plain reader": reader.port}
        floors = {server: Floor(folder, port, 1, _OCTETS) for server, port in ports.items()}
        courses: dict[str, Course] = {"small": Ours(folder, sink.port, 1, _SMALL)}
        for server, port in ports.items():
            courses |= {f"raw {server}": floors[server], f"ours {server}": Ours(folder, port, 1, _OCTETS)}
        timings = compare(courses, QUICK if quick else ROUNDS)
        idle = _idle(folder)
    small = timings["small"]
    found = [Figure("a pass over one message of 1 KB", small, f"{small.memory / 1e6:.1f} MB of memory")]
    for server, least in _TARGETS.items():
        found += _beside(server, floors[server].sending, timings[f"ours {server}"], small, least)
    memory = timings["ours smtp-sink"].memory
    more = (memory - idle) / 1e6
    compared = f"{memory / 1e6:.1f} MB, {more:.1f} MB more than an idle pass"
    found.append(Figure("50 MB to smtp-sink: memory", None, compared, f"≤ {_MEMORY} MB more", more <= _MEMORY))
    return found


def _beside(server: str, raw: Timing, ours: Timing, small: Timing, least: float) -> list[Figure]:
    """What a pass takes longer for 50 MB than for 1 KB is compared with what the raw loop takes to send."""
    share = raw.median / (ours.median - small.median)
    compared = f"{share:.2f} x its rate without start and end of the process; with them {raw.median / ours.median:.2f}"
    return [
        Figure(f"50 MB to {server}: a raw loop from memory", raw, f"{_OCTETS / 1e6 / raw.median:.0f} MB/s"),
        Figure(f"50 MB to {server}: smartrelay", ours, compared, f"≥ {least:g} x its rate", share >= least),
    ]


def _idle(folder: str) -> int:
    """The memory of a pass over an empty queue, in octets: it is less than ours, so that somebody smaller has to start it."""
    spools.make(f"{folder}/spool")
    flush = installed.command(f"{folder}/smartrelay.toml", "flush").arguments
    weigher = installed.python("-I", "-S", "-c", _WEIGH, *flush)
    said = subprocess.run(weigher.arguments, env=weigher.environment, check=True, capture_output=True)
    return int(said.stdout) * 1024
