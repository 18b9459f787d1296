"""The command tree, and the one place where errors become sentences and exit codes."""

import importlib
import os
import sys
from typing import Any

import click

from smartrelay import __version__
from smartrelay.cli.options import Common, common_options
from smartrelay.errors import EX_IOERR, EX_OK, EX_SOFTWARE, EX_USAGE, SmartRelayError
from smartrelay.mail.status import visible

_COMMANDS = {
    "flush": "smartrelay.cli.flush:flush",
    "queue": "smartrelay.cli.queue:queue",
    "setup": "smartrelay.cli.setup:setup",
    "demo": "smartrelay.cli.demo:demo",
    "mailq": "smartrelay.cli.mailq:mailq",
    "sendmail-help": "smartrelay.cli.mailq:sendmail_help",
}
_SUMMARIES = {
    "flush": "Relay what is due: one pass over the queue.",
    "queue": "Look at the queue, and act on messages in it.",
    "setup": "Put units, links, user and spool in their places, or take them away.",
    "demo": "Show the main job with nothing set up.",
}
_INTERRUPTED = 130


class _LazyGroup(click.Group):
    """Imports a command's module only when that command runs: an idle pass must not pay for tables and demos."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in _COMMANDS if name in _SUMMARIES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The summaries, without importing what they are about."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_SUMMARIES.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="smartrelay")
@common_options
def smartrelay(common: Common) -> None:
    """Get this machine's mail out: no daemon to run, nothing lost.

    Programs hand mail to the sendmail command; `smartrelay flush` relays it.
    """


def run(arguments: list[str]) -> int:
    """Runs the command; returns its exit code. Whatever goes wrong becomes one sentence on standard error."""
    try:
        result: Any = smartrelay.main(arguments, prog_name="smartrelay", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else EX_OK
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return EX_OK
    except click.UsageError as error:
        hint = f" (see `{error.ctx.command_path} --help`)" if error.ctx else ""
        return _end(f"{error.format_message()}{hint}", EX_USAGE)
    except click.ClickException as error:
        return _end(error.format_message(), EX_USAGE)
    except (click.Abort, KeyboardInterrupt):
        return _end("interrupted", _INTERRUPTED)
    except SmartRelayError as error:
        return _end(str(error), error.exit_code)
    except BrokenPipeError:
        # whoever read our output has seen enough; the interpreter must not try to flush it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return EX_OK
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return _end(f"{name}{error.strerror or error}", EX_IOERR)
    except Exception as error:
        import traceback

        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(where.filename)}:{where.lineno}"
        return _end(f"a bug of smartrelay: {type(error).__name__}: {error} (at {place}); please report it", EX_SOFTWARE)


def _end(sentence: str, code: int) -> int:
    click.echo(f"smartrelay: {visible(sentence)}", err=True)
    return code
