"""Listing 10,000 deferred messages as JSON, beside Postfix's `postqueue -j` with its daemons running."""

from benchmarks import figures, installed, spools
from benchmarks.figures import Figure
from benchmarks.postfix import Postfix, usable
from benchmarks.process import compare

ROUNDS, QUICK = 15, 4
_COUNT = 10_000
_OURS, _POSTFIX = "queue list --json", "postqueue -j"


def measure(folder: str, *, quick: bool) -> list[Figure]:
    """The lines of the table."""
    spool = f"{folder}/spool"
    spools.make(spool)
    spools.fill(spool, _COUNT, 1024, waiting=True)
    config = installed.configuration(f"{folder}/smartrelay.toml", spool)
    commands = {_OURS: installed.command(config, "queue", "list", "--json")}
    postfix = Postfix(f"{folder}/postfix") if usable() else None
    try:
        if postfix is not None:
            postfix.fill(_COUNT, 1024)
            postfix.start()
            commands[_POSTFIX] = postfix.command("postqueue", "-j")
        timings = compare(commands, QUICK if quick else ROUNDS, folder, after=_must_be_whole)
    finally:
        if postfix is not None:
            postfix.stop()
    ours = timings[_OURS]
    what = "`queue list --json` of 10,000 messages"
    lines = [figures.memory(what, ours, 60)]
    if _POSTFIX not in timings:
        return [Figure(what, ours), *lines]
    rival = timings[_POSTFIX]
    return [
        Figure("`postqueue -j` of 10,000 messages", rival),
        figures.ratio(what, ours, rival, "Postfix's", 1),
        *lines,
    ]


def _must_be_whole(name: str, output: str) -> None:
    with open(output, "rb") as file:
        lines = file.read().splitlines()
    if len(lines) != _COUNT or not all(b'"delay_reason"' in line for line in lines):
        raise RuntimeError(f"{name} shows {len(lines)} messages, or no reasons")
