"""2,000 messages of 4 KB over a round trip of 20 ms, the whole process, beside the fast rivals."""

from benchmarks import figures, herd
from benchmarks.chunking_sink import ChunkingSink
from benchmarks.courses import Course, Ours, Theirs, compare
from benchmarks.figures import Figure
from benchmarks.line import Line
from benchmarks.process import Timing
from benchmarks.rivals.dma import DmaQueue
from benchmarks.rivals.exim import EximQueue
from benchmarks.rivals.postfix import PostfixQueue
from benchmarks.sink import NAME, Sink

ROUNDS, QUICK = 5, 3
_COUNT, _FEW = 2000, 500
_PIPELINING, _WINDOW = "smartrelay, PIPELINING only", "smartrelay, CHUNKING, window 8"
_POSTFIX, _TUNED = "Postfix", "Postfix, 50 connections"
_WHAT = "2,000 x 4 KB over 20 ms"


def measure(folder: str, *, quick: bool) -> list[Figure]:
    """The lines of the table."""
    with (
        Sink(counting=True) as sink,
        ChunkingSink() as chunks,
        Line(sink.port, NAME) as line,
        Line(chunks.port, chunks.greeting) as other,
    ):
        port, place = line.port, f"{folder}/rival"
        courses: dict[str, Course] = {
            _PIPELINING: Ours(folder, port, _COUNT),
            _WINDOW: Ours(folder, other.port, _COUNT, limits="pipeline_window = 8"),
        }
        if herd.usable():
            courses |= {
                _POSTFIX: Theirs(lambda: PostfixQueue(place, port), sink, _COUNT),
                _TUNED: Theirs(lambda: PostfixQueue(place, port, tuned=True), sink, _COUNT),
                "dma": Theirs(lambda: DmaQueue(place, port), sink, _COUNT),
                "Exim, 16 runners": Theirs(lambda: EximQueue(place, port, runners=16), sink, _FEW),
            }
        timings = compare(courses, QUICK if quick else ROUNDS)
        trip = Figure(
            "the line's round trip, by NOOP", None, f"{line.round_trip * 1000:.1f} ms, {other.round_trip * 1000:.1f} ms"
        )
    return [
        trip,
        *(figures.rate(courses[name], timing, f"4 KB over 20 ms: {name}") for name, timing in timings.items()),
        *_beside(timings),
    ]


def _beside(timings: dict[str, Timing]) -> list[Figure]:
    rivals = {name: timings[name] for name in (_POSTFIX, _TUNED, "dma") if name in timings and timings[name].seconds}
    found = [
        figures.speed(f"{_WHAT}: {_PIPELINING}", timings[_PIPELINING], rivals[name], name, 1)
        for name in (_POSTFIX, _TUNED)
        if name in rivals
    ]
    if best := figures.best(rivals):
        found.append(figures.speed(f"{_WHAT}: {_WINDOW}", timings[_WINDOW], rivals[best], best, 2))
    return found
