"""The sendmail door: decides which program a call of `sendmail`, `mailq`, `newaliases`, `runq` or `send-mail` is.

Enqueueing is done here and now; everything else replaces this process by the `smartrelay` command, so that the enqueue
path imports nothing that it does not need. Exits 0 only when the message is on disk for good, and then always.
"""

import posix
import sys

from smartrelay.errors import EX_IOERR, EX_OK, EX_SOFTWARE, EX_TEMPFAIL, EX_UNAVAILABLE, SmartRelayError, UsageError
from smartrelay.submit import options as words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_NAME = "smartrelay-sendmail"
_COMMANDS = {words.LIST: ["mailq"], words.FLUSH: ["flush"], words.HELP: ["sendmail-help"], words.VERSION: ["--version"]}


def main(config: str = "", program: str = "") -> "NoReturn":
    """The program. config: the configuration instead of the default one; program: the `smartrelay` command's path.

    `smartrelay setup` writes a stub that calls this with both; the console script that pip installs gives neither.
    """
    code = EX_SOFTWARE
    options = words.Options()
    try:
        options = words.parse(sys.argv)
        code = _run(options, config, program)
    except SmartRelayError as error:
        if not options.quiet:
            _say(str(error))
        code = error.exit_code
        if not isinstance(error, UsageError):
            _drain()
    except KeyboardInterrupt:
        _say("interrupted; nothing was accepted")
        code = EX_TEMPFAIL
    except OSError as error:
        _say(f"{error.strerror or error}; nothing was accepted")
        code = EX_IOERR
    except BaseException as error:
        _say(f"a bug of smartrelay: {type(error).__name__}: {ascii(str(error))[1:-1]}; nothing was accepted")
    # interpreter finalisation would cost as much again as the whole enqueueing
    posix._exit(code)


def _run(options: words.Options, config: str, program: str) -> int:
    options.config = options.config or config
    if options.mode in (words.NOTHING, words.NEWALIASES):
        return EX_OK
    if options.mode == words.SMTP:
        return _serve(options)
    if options.mode != words.DELIVER:
        _become_command(options, program, _command(options))
    if options.at_once or (options.verbose and options.at_once is None):
        # cron passes -odi every day: only where a person looks on does it mean more than to queue
        options.at_keyboard = posix.isatty(2)
    _restore_signals()
    from smartrelay import settings
    from smartrelay.submit.enqueue import enqueue

    queue_id = enqueue(options, settings.load(options.config, options.spool))
    if options.at_keyboard:
        _attempt(options, program, queue_id)
    elif options.verbose:
        _say(f"queued as {queue_id}")
    return EX_OK


def _serve(options: words.Options) -> int:
    """SMTP on standard input and output, or on the sockets that a socket unit has opened."""
    _restore_signals()
    if b"LISTEN_FDS" in posix.environ:
        from smartrelay.submit import activated, listening

        listeners = listening.handed_over()
        if listeners:
            return activated.serve(listeners, options.config, options.spool, passed_on=options.passed_on)
    from smartrelay.submit.pipe import serve

    return serve(options.config, options.spool, passed_on=options.passed_on)


def _command(options: words.Options) -> list[str]:
    """The words of the command that does what this call asks for."""
    if options.mode == words.VERIFY:
        sender = [] if options.sender is None else ["--sender", options.sender]
        return ["route", *sender, "--", *options.operands]
    if options.only:
        return ["sendmail-run", "--", options.only]
    return _COMMANDS[options.mode] + (["--format", options.format] if options.format else [])


def _attempt(options: words.Options, program: str, queue_id: str) -> None:
    """One attempt at once, for a person at the keyboard. Who has handed the message over is told that a pass sends it.

    The message is in the queue, so that from here on nothing may end in another exit code than 0.
    """
    import _signal  # type: ignore[import-not-found]

    # the mask outlives the exec: the command takes the signals when it can say what came of the message
    _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGTERM, _signal.SIGHUP, _signal.SIGINT))
    if options.verbose:
        _say(f"queued as {queue_id}")
    command = ["sendmail-now", *(["-v"] if options.verbose else []), queue_id]
    _become_command(options, program, command, otherwise=EX_OK)


def _become_command(options: words.Options, program: str, wanted: list[str], otherwise: int = EX_UNAVAILABLE) -> None:
    """Replaces this process; otherwise: the exit code where that cannot be done."""
    command = [program] if program else [sys.executable, "-m", "smartrelay"]
    for name in ("config", "spool"):
        value = getattr(options, name)
        if value:
            command += [f"--{name}", value]
    command += wanted
    try:
        posix.execv(command[0], command)
    except OSError as error:
        _say(f"cannot run {command[0]}: {error.strerror}")
        posix._exit(otherwise)


def _restore_signals() -> None:
    """A signal that ends us while we read must take the draft in tmp/ along: it becomes an exception."""
    import _signal

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (_signal.SIGTERM, _signal.SIGHUP, _signal.SIGINT):
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, stop)


def _drain() -> None:
    from smartrelay.submit.enqueue import drain

    drain()


def _say(text: str) -> None:
    try:
        posix.write(2, f"{_NAME}: {text}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        pass


if __name__ == "__main__":
    main()
