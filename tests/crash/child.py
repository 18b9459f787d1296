"""Runs commands of smartrelay, each in a fork of a process that has imported them, and kills or hinders them at a step.

`python -m tests.crash.child` reads one order (JSON) a line from standard input and answers each with a line: how the
command ended, and the steps it took. A step is an audit event on a path of the spool that changes something or makes it
durable (a rename, a link, an unlink, a mkdir, an open for writing or of a directory), numbered from 1. The real main
functions run with a real command line; no code of theirs is changed.

What audit events do not show (os.write, os.pwrite, os.fsync and os.fdatasync raise none) is hindered by a system call that
fails: the functions of `os` and `posix` are wrapped for that, and count only calls that concern the spool.
"""

import errno
import importlib
import itertools
import json
import os
import posix
import signal
import sys
from collections.abc import Callable
from typing import Any

_LISTINGS = ("os.listdir", "os.scandir")
_CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_DIRECTORY
_MODULES = (
    "smartrelay.__main__",
    "smartrelay.door",
    "smartrelay.cli.flush",
    "smartrelay.cli.giving_up",
    "smartrelay.cli.passes",
    "smartrelay.cli.queue",
    "smartrelay.mail.dsn",
    "smartrelay.relay.manager",
    "smartrelay.spool.lock",
    "smartrelay.spool.making",
    "smartrelay.submit.enqueue",
)


def main() -> None:
    """Serves until standard input ends."""
    for name in _MODULES:
        importlib.import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            _run(order)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"pid": pid, "code": os.waitstatus_to_exitcode(status)}), flush=True)


def _run(order: dict[str, Any]) -> None:
    """The fork's whole life."""
    code = 99
    try:
        for number, (path, flags) in enumerate(
            ((order["stdin"], os.O_RDONLY), (order["stdout"], os.O_WRONLY), (order["stderr"], os.O_WRONLY))
        ):
            descriptor = os.open(path, flags | os.O_CREAT, 0o600)
            os.dup2(descriptor, number)
            os.close(descriptor)
        trace = os.open(order["trace"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.write(trace, f"process {os.getpid()}\n".encode())
        sys.argv = list(order["argv"])
        if order.get("fault"):
            _hinder(order["spool"], trace, **order["fault"])
        _watch(order["spool"], trace, order.get("kill_at", 0))
        try:
            _main(sys.argv[0])
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _main(name: str) -> None:
    if name == "smartrelay":
        importlib.import_module("smartrelay.__main__").main()
    else:
        importlib.import_module("smartrelay.door").main()


def _watch(spool: str, trace: int, kill_at: int) -> None:
    steps = itertools.count(1)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _LISTINGS or not (event == "open" or event.startswith("os.")):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _CHANGING):
            return
        paths = [_text(each) for each in arguments if isinstance(each, str | bytes)]
        if not any(path.startswith(f"{spool}/") for path in paths):
            return
        step = next(steps)
        os.write(trace, f"{step} {event} {' '.join(path.removeprefix(spool) for path in paths)}\n".encode())
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else os.fsdecode(value)


def _hinder(spool: str, trace: int, function: str, at: int, error: str, for_ever: bool) -> None:
    """Makes call number `at` (and, for ever, all that follow) of a function on the spool fail.

    A write that fails has written half before: a disk that becomes full, a torn line.
    """
    real: Callable[..., Any] = getattr(posix, function)
    calls = itertools.count(1)

    def hindered(*arguments: Any, **named: Any) -> Any:
        first = arguments[0]
        path = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else _text(first)
        making = function != "open" or arguments[1] & os.O_CREAT
        if not path.startswith(spool) or not making:
            return real(*arguments, **named)
        call = next(calls)
        if call == at or (for_ever and call > at):
            os.write(trace, f"fault {function} {call} {path.removeprefix(spool)}\n".encode())
            if function in ("write", "pwrite"):
                real(first, bytes(arguments[1])[: len(arguments[1]) // 2], *arguments[2:])
            raise OSError(getattr(errno, error), os.strerror(getattr(errno, error)), path)
        return real(*arguments, **named)

    setattr(os, function, hindered)
    setattr(posix, function, hindered)


if __name__ == "__main__":
    main()
