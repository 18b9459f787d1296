"""The `smartrelay` command."""

import gc
import io
import os
import signal
import sys


def main() -> None:
    """Runs the command and exits with its code; no traceback ever reaches a user."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # until the command can handle it, Ctrl-C just ends us: an import that it breaks off would show its traceback
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _open_standard_descriptors()
    # of what is imported nothing becomes garbage: to look for some is a tenth of the start; who runs for long turns it on
    gc.disable()
    arguments = sys.argv[1:]
    code = _without_parser(arguments)
    if code is None:
        from smartrelay.cli.main import run

        code = run(arguments)
    sys.exit(code)


def _without_parser(arguments: list[str]) -> int | None:
    """The exit code of the calls that are made most: to load the command line's parser would cost as much again."""
    if "flush" in arguments:
        from smartrelay.cli.plain_flush import plain_pass

        return plain_pass(arguments)
    if "list" in arguments and "--json" in arguments:
        from smartrelay.cli.dump import dumped

        return dumped(arguments)
    return None


def _open_standard_descriptors() -> None:
    """Whatever the caller has closed becomes /dev/null: no file of the spool may come to be where the log goes."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8")
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # an address may have what this locale cannot show


if __name__ == "__main__":
    main()
