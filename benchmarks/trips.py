"""Round trips a message, over one connection and a line of 20 ms: the whole process, divided by what a NOOP takes there."""

from contextlib import ExitStack

from benchmarks.chunking_sink import ChunkingSink
from benchmarks.courses import ONE_CONNECTION, Course, Ours, compare
from benchmarks.exim_sink import EximSink
from benchmarks.figures import Figure
from benchmarks.line import Line
from benchmarks.postfix import usable
from benchmarks.sink import NAME, Sink
from tests.support.postfix import PostfixServer

ROUNDS = 3
_COUNT, _FEW = 500, 250
# Server, window: how many round trips a message may take.
_TARGETS = {("smtp-sink", 1): 1.15, ("Postfix's smtpd", 8): 0.2, ("Exim", 8): 0.35}


def measure(folder: str, *, quick: bool) -> list[Figure]:
    """The lines of the table."""
    count = _FEW if quick else _COUNT
    with ExitStack() as stack:
        lines = {"smtp-sink": Line(stack.enter_context(Sink()).port, NAME)}
        if usable():
            postfix, exim = stack.enter_context(PostfixServer()), stack.enter_context(EximSink())
            lines |= {"Postfix's smtpd": Line(postfix.port, "postfix-"), "Exim": Line(exim.port, exim.greeting)}
        lines["the tests' sink with CHUNKING"] = stack.enter_context(ChunkingSink()).line()
        for line in lines.values():
            stack.enter_context(line)
        courses: dict[tuple[str, int], Course] = {}
        for server, line in lines.items():
            for window in (1,) if server == "smtp-sink" else (8, 32):
                limits = f"{ONE_CONNECTION}\npipeline_window = {window}"
                courses[server, window] = Ours(folder, line.port, count, limits=limits)
        timings = compare({f"{server} {window}": course for (server, window), course in courses.items()}, ROUNDS)
        trips = {server: line.round_trip for server, line in lines.items()}
    found = []
    for server, window in courses:
        timing = timings[f"{server} {window}"]
        each = timing.median / trips[server] / count
        how = "PIPELINING" if window == 1 else f"CHUNKING, window {window}"
        compared = f"{each:.2f} round trips a message (of {trips[server] * 1000:.1f} ms), {count / timing.median:.0f}/s"
        target = _TARGETS.get((server, window))
        most, met = (f"≤ {target:g}", each <= target) if target else ("", None)
        found.append(Figure(f"{count} x 4 KB over 20 ms, one connection, to {server}: {how}", timing, compared, most, met))
    return found
