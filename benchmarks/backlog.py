"""The memory of a pass over 10,000 due messages: beside one over 100, and beside Postfix with as many."""

from benchmarks import herd
from benchmarks.courses import Course, Ours, Theirs, compare
from benchmarks.figures import Figure
from benchmarks.rivals.postfix import PostfixQueue
from benchmarks.sink import Sink

ROUNDS = 3
_FEW, _MANY = 100, 10_000
_MORE = 20


def measure(folder: str, *, quick: bool) -> list[Figure]:
    """The lines of the table."""
    with Sink(counting=True) as sink:
        courses: dict[str, Course] = {"few": Ours(folder, sink.port, _FEW), "many": Ours(folder, sink.port, _MANY)}
        if herd.usable():
            postfix = Theirs(lambda: PostfixQueue(f"{folder}/rival", sink.port), sink, _MANY, weigh=True)
            courses["Postfix"] = postfix
        timings = compare(courses, ROUNDS)
    few, many = timings["few"], timings["many"]
    more = (many.memory - few.memory) / 1e6
    found = [
        Figure("a pass over 100 due messages: memory", few, f"{few.memory / 1e6:.1f} MB"),
        Figure(
            "a pass over 10,000 due messages: memory",
            many,
            f"{many.memory / 1e6:.1f} MB, {more:.1f} MB more",
            f"≤ {_MORE} MB more",
            more <= _MORE,
        ),
    ]
    if "Postfix" in timings and timings["Postfix"].seconds:
        rival = timings["Postfix"].memory
        compared = f"{many.memory / 1e6:.1f} MB beside {rival / 1e6:.1f} MB"
        what = "the same beside all processes of Postfix, shared pages counted once"
        found.append(Figure(what, None, compared, "< Postfix's", many.memory < rival))
    return found
