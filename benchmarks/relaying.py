"""Relaying 2,000 messages of 4 KB to Postfix's smtp-sink on loopback, beside a bare smtplib loop."""

import json
import os

from benchmarks import installed, spools
from benchmarks.courses import ONE_CONNECTION
from benchmarks.figures import Figure
from benchmarks.process import Timing, compare
from benchmarks.sink import Sink

ROUNDS, QUICK = 7, 2
_COUNT, _OCTETS = 2000, 4096
_LOOP, _ONE, _DEFAULTS = "smtplib", "one connection", "defaults"
_LIMITS = {_ONE: ONE_CONNECTION, _DEFAULTS: ""}


def measure(folder: str, *, quick: bool) -> list[Figure]:
    """The lines of the table."""
    message = f"{folder}/message"
    with open(message, "wb") as file:
        file.write(spools.text(_OCTETS))
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "smtplib_loop.py")
    with Sink() as sink:
        commands = {_LOOP: installed.python("-I", script, str(sink.port), str(_COUNT), message)}
        for name, limits in _LIMITS.items():
            config = installed.configuration(f"{folder}/{name}.toml", f"{folder}/spool", port=sink.port, limits=limits)
            commands[name] = installed.command(config, "flush", "--json")

        def before(name: str) -> None:
            if name in _LIMITS:
                spools.make(f"{folder}/spool")
                spools.fill(f"{folder}/spool", _COUNT, _OCTETS, waiting=False)

        timings = compare(commands, QUICK if quick else ROUNDS, folder, before=before, after=_must_be_sent)
    loop, one, defaults = timings[_LOOP], timings[_ONE], timings[_DEFAULTS]
    share = loop.median / one.median
    return [
        Figure("2,000 messages of 4 KB by a bare smtplib loop", loop, _rate(loop)),
        Figure(
            "relaying the same, one connection",
            one,
            f"{share:.2f} x the loop's rate (minima {loop.least / one.least:.2f}), {_rate(one)}",
            "≥ 0.5 x its rate",
            share >= 0.5,
        ),
        Figure("relaying the same, defaults", defaults, f"{loop.median / defaults.median:.2f} x its rate, {_rate(defaults)}"),
        Figure("relaying with defaults: memory", None, f"{defaults.memory / 1e6:.1f} MB"),
    ]


def _rate(timing: Timing) -> str:
    return f"{_COUNT / timing.median:.0f}/s"


def _must_be_sent(name: str, output: str) -> None:
    if name in _LIMITS:
        with open(output, encoding="utf-8") as file:
            report = json.load(file)
        if report["sent"] != _COUNT or report["waiting"]:
            raise RuntimeError(f"not all was relayed: {report}")
