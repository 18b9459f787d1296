"""Handing in a message of 1 KB: the stub that `setup` writes, pip's console script, Postfix's sendmail, bare Python."""

import os

from benchmarks import figures, installed, spools
from benchmarks.figures import Figure
from benchmarks.postfix import Postfix, usable
from benchmarks.process import Command, compare, plain_environment
from tests.support.process import NOBODY

ROUNDS, QUICK = 300, 40
_STUB, _PASS, _CONSOLE, _POSTFIX = "stub", "python -I -S -c pass", "console script", "Postfix sendmail"


def measure(folder: str, *, quick: bool) -> list[Figure]:
    """The lines of the table."""
    rounds = QUICK if quick else ROUNDS
    spool = f"{folder}/spool"
    spools.make(spool)
    if usable():
        _give_away(spool)
    config = installed.configuration(f"{folder}/smartrelay.toml", spool)
    message = f"{folder}/message"
    with open(message, "wb") as file:
        file.write(spools.text(1024))
    words = ["-t", "-i"]
    with_config = {**plain_environment(), "SMARTRELAY_CONFIG": config}
    commands = {
        _PASS: installed.python("-I", "-S", "-c", "pass"),
        _STUB: Command([installed.sendmail(f"{folder}/home", config), *words], message),
        _CONSOLE: Command([installed.console(), *words], message, with_config),
    }
    postfix = Postfix(f"{folder}/postfix") if usable() else None
    try:
        if postfix is not None:
            postfix.hear_submissions()
            commands[_POSTFIX] = postfix.command("sendmail", *words, stdin=message)
        timings = compare(commands, rounds, folder, warm_up=3)
        expected = rounds + 3
        found = [len(os.listdir(f"{spool}/new")) // 2, postfix.submitted() if postfix is not None else expected]
        if found != [expected, expected]:
            raise RuntimeError(f"messages are missing: {found} instead of {expected}")
    finally:
        if postfix is not None:
            postfix.stop()
    stub, bare = timings[_STUB], timings[_PASS]
    lines = [
        Figure(f"bare Python: `{_PASS}`", bare),
        figures.ratio("enqueue 1 KB: the stub of `setup`", stub, bare, "bare Python", 1.15),
        Figure(
            "enqueue 1 KB: pip's console script",
            timings[_CONSOLE],
            f"{timings[_CONSOLE].median / bare.median:.2f} x bare Python",
        ),
    ]
    if _POSTFIX in timings:
        rival = timings[_POSTFIX]
        lines.append(Figure("enqueue 1 KB: Postfix's sendmail", rival, f"{rival.median / bare.median:.2f} x bare Python"))
        lines.append(figures.ratio("enqueue 1 KB: the stub beside Postfix", stub, rival, "Postfix's", 1))
    return lines


def _give_away(spool: str) -> None:
    """The spool belongs to a user of its own, as an installed one does: root must become that user first."""
    for directory, _, files in os.walk(spool):
        for path in (directory, *(f"{directory}/{name}" for name in files)):
            os.chown(path, NOBODY, NOBODY)
