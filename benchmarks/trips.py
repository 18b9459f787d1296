"""Round trips a message, over one connection and a line of 20 ms: the whole process, divided by what a NOOP takes there."""

from contextlib import ExitStack

from benchmarks.chunking_sink import ChunkingSink
from benchmarks.courses import ONE_CONNECTION, Course, Floor, Ours, compare
from benchmarks.exim_sink import EximSink
from benchmarks.figures import Figure
from benchmarks.line import Line
from benchmarks.postfix import usable
from benchmarks.process import Timing
from benchmarks.sink import NAME, Sink
from tests.support.postfix import PostfixServer
from tests.support.process import ServerProcess

ROUNDS, QUICK = 5, 3
_COUNT = 500
_RAW = "a raw loop with the next envelope behind the dot"
# Server, window: how many round trips a message may take.
_TARGETS = {("smtp-sink", 1): 1.15, ("Postfix's smtpd", 8): 0.2, ("Exim", 8): 0.35}


def measure(folder: str, *, quick: bool) -> list[Figure]:
    """The lines of the table."""
    with ExitStack() as stack:
        servers: dict[str, tuple[ServerProcess, str]] = {"smtp-sink": (stack.enter_context(Sink()), NAME)}
        if usable():
            servers["Postfix's smtpd"] = stack.enter_context(PostfixServer()), "postfix-"
            servers["Exim"] = stack.enter_context(EximSink()), EximSink.greeting
        servers["the tests' sink with CHUNKING"] = stack.enter_context(ChunkingSink()), ChunkingSink.greeting
        lines = {name: stack.enter_context(Line(server.port, greeting)) for name, (server, greeting) in servers.items()}
        courses: dict[tuple[str, int], Course] = {}
        for server, line in lines.items():
            for window in (1,) if server == "smtp-sink" else (8, 32):
                limits = f"{ONE_CONNECTION}\npipeline_window = {window}"
                courses[server, window] = Ours(folder, line.port, _COUNT, limits=limits)
        named = {f"{server} {window}": course for (server, window), course in courses.items()}
        timings = compare({_RAW: Floor(folder, lines["smtp-sink"].port, _COUNT), **named}, QUICK if quick else ROUNDS)
        trips = {server: line.round_trip for server, line in lines.items()}
    what = f"{_COUNT} x 4 KB over 20 ms, one connection"
    found = [_figure(f"{what}, to smtp-sink: {_RAW}", timings[_RAW], trips["smtp-sink"], None)]
    for server, window in courses:
        how = "PIPELINING" if window == 1 else f"CHUNKING, window {window}"
        target = _TARGETS.get((server, window))
        found.append(_figure(f"{what}, to {server}: {how}", timings[f"{server} {window}"], trips[server], target))
    return found


def _figure(what: str, timing: Timing, trip: float, target: float | None) -> Figure:
    each = timing.median / trip / _COUNT
    compared = f"{each:.2f} round trips a message (of {trip * 1000:.1f} ms), {_COUNT / timing.median:.0f}/s"
    return Figure(what, timing, compared, f"≤ {target:g}", each <= target) if target else Figure(what, timing, compared)
