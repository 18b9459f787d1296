"""How a command ends: the one place where errors become sentences and exit codes."""

import os
import signal
import sys
from collections.abc import Callable

from smartrelay.cli.caller import say
from smartrelay.errors import EX_IOERR, EX_OK, EX_SOFTWARE, SmartRelayError

_INTERRUPTED = 130


def ended(command: Callable[[], object]) -> int:
    """Runs a command; the exit code that it returns, or that of what went wrong, of which one sentence is said."""
    sentence, code = tried(command)
    if sentence:
        say(sentence)
    return code


def tried(command: Callable[[], object]) -> tuple[str, int]:
    """Runs a command; the sentence for what went wrong, "" for nothing, and the exit code."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = command()
        sys.stdout.flush()
        return "", result if isinstance(result, int) else EX_OK
    except KeyboardInterrupt:
        return "interrupted", _INTERRUPTED
    except SmartRelayError as error:
        return str(error), error.exit_code
    except BrokenPipeError:
        # whoever read our output has seen enough; the interpreter must not try to flush it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return "", EX_OK
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror or error}", EX_IOERR
    except Exception as error:
        return f"a bug of smartrelay: {type(error).__name__}: {error} (at {_place(error)}); please report it", EX_SOFTWARE


def _place(error: Exception) -> str:
    """Where it was raised; without `traceback`, which might lie where we cannot read any more."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return f"{os.path.basename(at.tb_frame.f_code.co_filename)}:{at.tb_lineno}" if at is not None else "an unknown place"
