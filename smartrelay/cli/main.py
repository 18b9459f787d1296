"""The command tree."""

import importlib
from typing import Any

import click
from click.shell_completion import CompletionItem

from smartrelay import __version__
from smartrelay.cli.caller import Common
from smartrelay.cli.ending import ended
from smartrelay.cli.options import common_options
from smartrelay.errors import EX_OK, UsageError

_COMMANDS = {
    "flush": "smartrelay.cli.flush:flush",
    "queue": "smartrelay.cli.queue:queue",
    "hosts": "smartrelay.cli.hosts:hosts",
    "route": "smartrelay.cli.route:route",
    "check": "smartrelay.cli.check:check",
    "health": "smartrelay.cli.health:health",
    "setup": "smartrelay.cli.setup:setup",
    "demo": "smartrelay.cli.demo:demo",
    "mailq": "smartrelay.cli.mailq:mailq",
    "sendmail-run": "smartrelay.cli.mailq:sendmail_run",
    "sendmail-help": "smartrelay.cli.mailq:sendmail_help",
    "sendmail-now": "smartrelay.cli.keyboard:sendmail_now",
}
_SUMMARIES = {
    "flush": "Relay what is due: one pass over the queue.",
    "queue": "Look at the queue, and act on messages in it.",
    "hosts": "Look at the bad-host memory, and take hosts off it.",
    "route": "Say by which rule and to which hosts mail for an address goes.",
    "check": "Try every part of the configuration, without sending anything.",
    "health": "Say how it stands, for monitoring: exit code 0 to 3.",
    "setup": "Put units, links, user and spool in their places, or take them away.",
    "demo": "Show the main job with nothing set up.",
}


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

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The same for a shell."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=text) for name, text in _SUMMARIES.items() if name.startswith(incomplete)]

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

    \b
    Examples:
      smartrelay demo                    (all of it, with nothing set up)
      smartrelay queue list
      smartrelay route bob@example.org
    """


def run(arguments: list[str]) -> int:
    """Runs the command; returns its exit code. Whatever goes wrong becomes one sentence on standard error."""
    return ended(lambda: _parsed_and_run(arguments))


def _parsed_and_run(arguments: list[str]) -> Any:
    try:
        return smartrelay.main(arguments, prog_name="smartrelay", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return EX_OK
    except click.UsageError as error:
        hint = f" (see `{error.ctx.command_path} --help`)" if error.ctx else ""
        raise UsageError(f"{error.format_message()}{hint}") from error
    except click.ClickException as error:
        raise UsageError(error.format_message()) from error
    except click.Abort:
        raise KeyboardInterrupt from None
    except SystemExit as error:  # so click ends where nobody reads our output any more
        raise BrokenPipeError from error
