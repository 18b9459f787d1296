"""Measures what is named (everything without a name) and prints one table; exits with 1 when a target was missed."""

import argparse
import importlib
import os
import shutil
import signal
import sys
import tempfile

from benchmarks import machine
from benchmarks.figures import Figure, table

NAMES = (
    "enqueue",
    "submission",
    "passes",
    "listing",
    "relaying",
    "wire",
    "trips",
    "distance",
    "large",
    "backlog",
    "domains",
    "down",
    "hanging",
    "others",
)


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; all of them without a name")
    parser.add_argument("--quick", action="store_true", help="few runs: the figures are rough")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped all the same
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    print(machine.description(), flush=True)
    figures: list[Figure] = []
    for name in arguments.names or NAMES:
        print(f"== {name}", file=sys.stderr, flush=True)
        folder = tempfile.mkdtemp(prefix="smartrelay-bench-")
        os.chmod(folder, 0o755)  # Postfix's daemons and a spool's owner must get in
        try:
            figures += importlib.import_module(f"benchmarks.{name}").measure(folder, quick=arguments.quick)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{table(figures)}\n\nafter it: load {os.getloadavg()[0]:.1f}")
    return int(any(figure.met is False for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
