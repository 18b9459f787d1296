"""A pass that has nothing to do: over an empty queue, and over many messages of which none is due."""

from benchmarks import figures, installed, spools
from benchmarks.figures import Figure
from benchmarks.process import compare

ROUNDS, QUICK = 40, 8
_PASS = "python -I -c pass"
_MANY = 100_000


def measure(folder: str, *, quick: bool) -> list[Figure]:
    """The lines of the table."""
    commands = {_PASS: installed.python("-I", "-c", "pass")}
    for count in (0, 1000, _MANY):
        spool = f"{folder}/{count}"
        spools.make(spool)
        spools.fill(spool, count, 1024, waiting=True)
        commands[str(count)] = installed.command(installed.configuration(f"{folder}/{count}.toml", spool), "flush")
    timings = compare(commands, QUICK if quick else ROUNDS, folder)
    bare, idle, many = timings[_PASS], timings["0"], timings[str(_MANY)]
    more = many.median - idle.median
    return [
        Figure(f"bare Python: `{_PASS}`", bare),
        figures.ratio("idle pass: empty queue", idle, bare, "bare Python", 6),
        figures.ratio("idle pass: 1,000 messages, none due", timings["1000"], bare, "bare Python", 6),
        Figure(
            "pass over 100,000 messages, none due",
            many,
            f"{more:.3f} s more than an idle one (minima {many.least - idle.least:.3f})",
            "< 0.4 s more",
            more < 0.4,
        ),
        figures.memory("pass over 100,000 messages", many, 60),
    ]
