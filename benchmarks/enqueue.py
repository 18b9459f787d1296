"""Handing in a message of 1 KB: the stub that `setup` writes, pip's console script, the rivals' sendmail, bare Python.

By root, into a spool that belongs to another user. What a rival's command has made durable when it ends is not the same for
all: its line says it. Ours has synced the file and the directory that it is in.
"""

import os
from contextlib import ExitStack

from benchmarks import figures, herd, installed, spools
from benchmarks.figures import Figure
from benchmarks.postfix import Postfix, usable
from benchmarks.process import Command, Timing, compare, plain_environment
from benchmarks.rivals.dma import DmaQueue
from benchmarks.rivals.exim import EximQueue
from benchmarks.rivals.msmtp import MsmtpQueue
from benchmarks.rivals.nullmailer import NullmailerQueue
from benchmarks.rivals.opensmtpd import OpensmtpdQueue
from benchmarks.rivals.rival import Submitting
from tests.support.process import NOBODY

ROUNDS, QUICK, WARM_UP = 300, 40, 3
PASS = "python -I -S -c pass"
_STUB, _ALIAS, _CONSOLE, _POSTFIX = "stub", "stub, to an alias", "console script", "Postfix"
_OTHERS = (EximQueue, OpensmtpdQueue, NullmailerQueue, DmaQueue, MsmtpQueue)
_NOWHERE = 9
_ALIASES = "".join(f"{name}: root\n" for name in ("postmaster", "abuse", "cron", "www-data")) + f"root: {spools.RECIPIENT}\n"


def measure(folder: str, *, quick: bool) -> list[Figure]:
    """The lines of the table."""
    rounds = QUICK if quick else ROUNDS
    spool = f"{folder}/spool"
    spools.make(spool)
    if usable():
        give_away(spool)
    commands = _ours(folder, spool)
    with ExitStack() as running:
        rivals = _rivals(folder, f"{folder}/message", commands, running)
        timings = compare(commands, rounds, folder, warm_up=WARM_UP)
        expected = rounds + WARM_UP
        found = {"ours": len(os.listdir(f"{spool}/new")) // 3, **{name: rival.left() for name, rival in rivals.items()}}
        if set(found.values()) != {expected}:
            raise RuntimeError(f"messages are missing: {found} instead of {expected}")
    return _lines(timings, rivals)


def _ours(folder: str, spool: str) -> dict[str, Command]:
    config = installed.configuration(f"{folder}/smartrelay.toml", spool, top=f'aliases = "{folder}/aliases"')
    message = f"{folder}/message"
    with open(message, "wb") as file:
        file.write(spools.text(1024))
    with open(f"{folder}/to-root", "wb") as file:
        file.write(spools.text(1024).replace(spools.RECIPIENT.encode("ascii"), b"root"))
    with open(f"{folder}/aliases", "w", encoding="ascii") as text:
        text.write(_ALIASES)
    os.chmod(f"{folder}/aliases", 0o644)
    stub = installed.sendmail(f"{folder}/home", config)
    with_config = {**plain_environment(), "SMARTRELAY_CONFIG": config}
    return {
        PASS: bare(),
        _STUB: Command([stub, "-t", "-i"], message),
        _ALIAS: Command([stub, "-t", "-i"], f"{folder}/to-root"),
        _CONSOLE: Command([installed.console(), "-t", "-i"], message, with_config),
    }


def bare() -> Command:
    """The interpreter that does nothing."""
    return installed.python("-I", "-S", "-c", "pass")


def _rivals(folder: str, message: str, commands: dict[str, Command], running: ExitStack) -> dict[str, Submitting]:
    """Those that can be run here, each with its command among the others'."""
    found: dict[str, Submitting] = {}
    if usable():
        found[_POSTFIX] = Postfix(f"{folder}/postfix")
    if herd.usable():
        found |= {kind.name: kind(f"{folder}/{kind.name}", _NOWHERE) for kind in _OTHERS}
    for name, rival in found.items():
        running.callback(rival.stop)
        commands[name] = rival.sendmail(message)
    return found


def _lines(timings: dict[str, Timing], rivals: dict[str, Submitting]) -> list[Figure]:
    stub, bare = timings[_STUB], timings[PASS]

    def beside(what: str, timing: Timing) -> Figure:
        return Figure(f"enqueue 1 KB: {what}", timing, f"{timing.median / bare.median:.2f} x bare Python")

    lines = [
        Figure(f"bare Python: `{PASS}`", bare),
        figures.ratio("enqueue 1 KB: the stub of `setup`, which syncs file and directory", stub, bare, "bare Python", 1.15),
        beside("the stub, to root by an alias", timings[_ALIAS]),
        beside("pip's console script", timings[_CONSOLE]),
    ]
    lines += [beside(f"{name}'s, which syncs {rival.syncs}", timings[name]) for name, rival in rivals.items()]
    if _POSTFIX in rivals:
        lines.append(figures.ratio("enqueue 1 KB: the stub beside Postfix's", stub, timings[_POSTFIX], "Postfix's", 1))
    if len(rivals) <= len(_OTHERS):
        lines.append(Figure("enqueue 1 KB: the rivals", None, "not all run: they want root and a cgroup2 file system"))
    return lines


def give_away(spool: str) -> None:
    """The spool belongs to a user of its own, as an installed one does: root must become that user first."""
    for directory, _, files in os.walk(spool):
        for path in (directory, *(f"{directory}/{name}" for name in files)):
            os.chown(path, NOBODY, NOBODY)
