"""The rivals that take their time, on loopback and over a round trip of 20 ms: fewer messages, and no targets of their own."""

from collections.abc import Callable

from benchmarks import figures, herd
from benchmarks.courses import Course, Theirs, compare
from benchmarks.figures import Figure
from benchmarks.line import Line
from benchmarks.rivals.exim import EximQueue
from benchmarks.rivals.msmtp import MsmtpQueue
from benchmarks.rivals.nullmailer import NullmailerQueue
from benchmarks.rivals.opensmtpd import OpensmtpdQueue
from benchmarks.rivals.rival import Rival
from benchmarks.sink import NAME, Sink

ROUNDS = 3
_COUNT, _FEW = 100, 20

# Each at its defaults and at its best. What Nagle's algorithm costs nullmailer at 4 KB it does not cost at 3,500 octets.
_RIVALS: dict[str, tuple[int, Callable[[str, int], Rival]]] = {
    "Exim": (4096, EximQueue),
    "nullmailer": (4096, NullmailerQueue),
    "nullmailer, 3,500 octets": (3500, NullmailerQueue),
    "OpenSMTPD": (4096, OpensmtpdQueue),
    "OpenSMTPD, 50 connections": (4096, lambda folder, port: OpensmtpdQueue(folder, port, tuned=True)),
    "msmtp-queue": (4096, MsmtpQueue),
}


def measure(folder: str, *, quick: bool) -> list[Figure]:
    """The lines of the table."""
    if not herd.usable():
        return [Figure("the slower rivals", None, "not run: they want root and a cgroup2 file system")]
    place, count = f"{folder}/rival", _FEW if quick else _COUNT
    with Sink(counting=True) as sink, Line(sink.port, NAME) as line:
        courses: dict[str, Course] = {}
        for way, port in (("on loopback", sink.port), ("over 20 ms", line.port)):
            for name, (octets, make) in _RIVALS.items():
                courses[f"{way}: {name}"] = _course(make, place, port, sink, count, octets)
        timings = compare(courses, ROUNDS)
    return [figures.rate(courses[name], timing, f"4 KB {name}") for name, timing in timings.items()]


def _course(make: Callable[[str, int], Rival], place: str, port: int, sink: Sink, count: int, octets: int) -> Course:
    return Theirs(lambda: make(place, port), sink, count, octets)
