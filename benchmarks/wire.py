"""2,000 messages of 4 KB to Postfix's smtp-sink on loopback: beside the fast rivals, and beside a raw loop from memory."""

from benchmarks import figures, herd
from benchmarks.courses import Course, Floor, Ours, Theirs, compare
from benchmarks.figures import Figure
from benchmarks.process import Timing
from benchmarks.rivals.dma import DmaQueue
from benchmarks.rivals.exim import EximQueue
from benchmarks.rivals.postfix import PostfixQueue
from benchmarks.sink import Sink

ROUNDS, QUICK = 7, 3
_COUNT, _FEW = 2000, 500
_RAW, _OURS = "raw loop with PIPELINING and the next envelope behind the dot", "smartrelay"
_POSTFIX, _TUNED = "Postfix", "Postfix tuned"
_WHAT = "2,000 x 4 KB on loopback"
_RIVALS = (_POSTFIX, _TUNED, "dma")


def measure(folder: str, *, quick: bool) -> list[Figure]:
    """The lines of the table."""
    with Sink(counting=True) as sink:
        port, place = sink.port, f"{folder}/rival"
        courses: dict[str, Course] = {_RAW: Floor(folder, port, _COUNT), _OURS: Ours(folder, port, _COUNT)}
        if herd.usable():
            courses |= {
                _POSTFIX: Theirs(lambda: PostfixQueue(place, port), sink, _COUNT),
                _TUNED: Theirs(lambda: PostfixQueue(place, port, tuned=True), sink, _COUNT),
                "dma": Theirs(lambda: DmaQueue(place, port), sink, _COUNT),
                "Exim, 4 runners": Theirs(lambda: EximQueue(place, port, runners=4), sink, _FEW),
            }
        timings = compare(courses, QUICK if quick else ROUNDS)
    return [
        *(figures.rate(courses[name], timing, f"4 KB on loopback: {name}") for name, timing in timings.items()),
        figures.speed(f"{_WHAT}: {_OURS} beside the {_RAW}", timings[_OURS], timings[_RAW], "its rate", 0.3),
        *_beside(timings[_OURS], {name: timings[name] for name in _RIVALS if name in timings}),
    ]


def _beside(ours: Timing, rivals: dict[str, Timing]) -> list[Figure]:
    found = []
    if best := figures.best(rivals):
        found.append(figures.speed(f"{_WHAT}: smartrelay beside the best rival", ours, rivals[best], best, 2))
    if theirs := [figures.cpu(rivals[name], _COUNT) for name in (_POSTFIX, _TUNED) if name in rivals and rivals[name].cpu]:
        spent, least = figures.cpu(ours, _COUNT), min(theirs)
        compared = f"{spent:.2f} ms beside {least:.2f} ms"
        found.append(Figure("CPU each: smartrelay beside Postfix", None, compared, "< Postfix's", spent < least))
    return found
