"""One message of 50 MB: beside a raw loop that sends it ready for the wire, to smtp-sink and to a server that only reads."""

import os
import subprocess
import sys

from benchmarks import figures, installed, spools
from benchmarks.courses import Course, Floor, Ours, compare
from benchmarks.figures import Figure
from benchmarks.process import Timing, plain_environment
from benchmarks.sink import Sink
from tests.support.process import ServerProcess

ROUNDS, QUICK = 11, 5
_OCTETS, _SMALL = 50_000_000, 1024
_TO_SINK, _TO_READER = 0.7, 0.4
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

    def last(self) -> float:
        """How long the last text took to come."""
        with open(f"{self.folder}/output", encoding="ascii") as file:
            return float(file.read().split()[-1])


class _Heard:
    """A course whose time is taken by the reader, which knows nothing of start and end of the sender's process."""

    count = 1

    def __init__(self, course: Course, reader: _PlainReader) -> None:
        self._course, self._reader = course, reader

    def __call__(self, timing: Timing) -> None:
        self._course(Timing())
        timing.seconds.append(self._reader.last())


def measure(folder: str, *, quick: bool) -> list[Figure]:
    """The lines of the table."""
    with Sink() as sink, _PlainReader() as reader:
        floor = Floor(folder, sink.port, 1, _OCTETS)
        courses: dict[str, Course] = {
            "small": Ours(folder, sink.port, 1, _SMALL),
            "raw": floor,
            "ours": Ours(folder, sink.port, 1, _OCTETS),
            "raw heard": _Heard(Floor(folder, reader.port, 1, _OCTETS), reader),
            "ours heard": _Heard(Ours(folder, reader.port, 1, _OCTETS), reader),
        }
        timings = compare(courses, QUICK if quick else ROUNDS)
        idle = _idle(folder)
    small, ours, raw = timings["small"], timings["ours"], floor.sending
    # What a pass takes longer for 50 MB than for 1 KB is compared with what the raw loop takes to send.
    share = raw.median / (ours.median - small.median)
    compared = f"{share:.2f} x its rate without start and end of the process; with them {raw.median / ours.median:.2f}"
    more = (ours.memory - idle) / 1e6
    weight = f"{ours.memory / 1e6:.1f} MB, {more:.1f} MB more than an idle pass"
    return [
        Figure("a pass over one message of 1 KB", small, f"{small.memory / 1e6:.1f} MB of memory"),
        _raw("smtp-sink", raw),
        Figure("50 MB to smtp-sink: smartrelay", ours, compared, f"≥ {_TO_SINK:g} x its rate", share >= _TO_SINK),
        _raw("a plain reader", timings["raw heard"]),
        figures.speed(
            "50 MB to a plain reader: smartrelay", timings["ours heard"], timings["raw heard"], "its rate", _TO_READER
        ),
        Figure("50 MB to smtp-sink: memory", None, weight, f"≤ {_MEMORY} MB more", more <= _MEMORY),
    ]


def _raw(server: str, timing: Timing) -> Figure:
    return Figure(f"50 MB to {server}: a raw loop from memory", timing, f"{_OCTETS / 1e6 / timing.median:.0f} MB/s")


def _idle(folder: str) -> int:
    """The memory of a pass over an empty queue, in octets: it is less than ours, so that somebody smaller has to start it."""
    spools.make(f"{folder}/spool")
    flush = installed.command(f"{folder}/smartrelay.toml", "flush").arguments
    weigher = installed.python("-I", "-S", "-c", _WEIGH, *flush)
    said = subprocess.run(weigher.arguments, env=weigher.environment, check=True, capture_output=True)
    return int(said.stdout) * 1024
