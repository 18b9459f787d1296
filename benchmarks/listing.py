"""Listing 10,000 deferred messages as JSON, beside Postfix's `postqueue -j` with its daemons running; and how long a person
waits for the table of 100,000."""

import os
import pty
import time

from benchmarks import figures, installed, spools
from benchmarks.figures import Figure
from benchmarks.postfix import Postfix, usable
from benchmarks.process import Command, Timing, compare

ROUNDS, QUICK = 15, 4
_COUNT, _LONG = 10_000, 100_000
_OURS, _POSTFIX = "queue list --json", "postqueue -j"


def measure(folder: str, *, quick: bool) -> list[Figure]:
    """The lines of the table."""
    rounds = QUICK if quick else ROUNDS
    config = _filled(folder, _COUNT)
    commands = {_OURS: installed.command(config, "queue", "list", "--json")}
    postfix = Postfix(f"{folder}/postfix") if usable() else None
    try:
        if postfix is not None:
            postfix.fill(_COUNT, 1024)
            postfix.start()
            commands[_POSTFIX] = postfix.command("postqueue", "-j")
        timings = compare(commands, rounds, folder, after=_must_be_whole)
    finally:
        if postfix is not None:
            postfix.stop()
    ours = timings[_OURS]
    what = "`queue list --json` of 10,000 messages"
    lines = [figures.memory(what, ours, 60), *_table(_filled(folder, _LONG), rounds)]
    if _POSTFIX not in timings:
        return [Figure(what, ours), *lines]
    rival = timings[_POSTFIX]
    return [
        Figure("`postqueue -j` of 10,000 messages", rival),
        figures.ratio(what, ours, rival, "Postfix's", 1),
        *lines,
    ]


def _filled(folder: str, count: int) -> str:
    """The configuration of a spool with so many deferred messages."""
    spool = f"{folder}/spool-{count}"
    spools.make(spool)
    spools.fill(spool, count, 1024, waiting=True)
    return installed.configuration(f"{folder}/smartrelay-{count}.toml", spool)


def _table(config: str, rounds: int) -> list[Figure]:
    """`queue list` on a terminal: until the first rows are there, and all of it."""
    first, whole = Timing(), Timing()
    for _ in range(min(rounds, 5)):
        begin = time.perf_counter()
        at_first, rows = _on_terminal(installed.command(config, "queue", "list"))
        whole.seconds.append(time.perf_counter() - begin)
        first.seconds.append(at_first - begin)
        if rows < _LONG:
            raise RuntimeError(f"the table shows {rows} messages")
    what = f"`queue list` of {_LONG:,} messages on a terminal"
    return [Figure(f"{what}: first rows", first, "", "< 2 s", first.median < 2), Figure(f"{what}: all", whole)]


def _on_terminal(command: Command) -> tuple[float, int]:
    """When the first line came (by `time.perf_counter`), and how many lines there were."""
    child, terminal = pty.fork()
    if not child:
        os.execve(command.arguments[0], command.arguments, {**command.environment, "TERM": "xterm", "COLUMNS": "160"})
    first, lines = 0.0, 0
    try:
        while block := os.read(terminal, 1 << 16):
            lines += block.count(b"\n")
            first = first or time.perf_counter()
    except OSError:  # nobody has the other side any more
        pass
    os.close(terminal)
    os.waitpid(child, 0)
    return first, lines


def _must_be_whole(name: str, output: str) -> None:
    with open(output, "rb") as file:
        lines = file.read().splitlines()
    if len(lines) != _COUNT or not all(b'"delay_reason"' in line for line in lines):
        raise RuntimeError(f"{name} shows {len(lines)} messages, or no reasons")
