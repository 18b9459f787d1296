"""The help of every command: an example, a sentence for each option, and lines that fit a terminal of 80 columns."""

import re
from collections.abc import Iterator

import click
import pytest

from smartrelay.cli.main import smartrelay


def tree(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Every command that a person may see, by its path."""
    yield context.command_path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from tree(child, click.Context(child, info_name=name, parent=context, terminal_width=80))


COMMANDS = list(tree(smartrelay, click.Context(smartrelay, info_name="smartrelay", terminal_width=80)))


@pytest.mark.parametrize(("path", "command", "context"), COMMANDS, ids=[path for path, _, _ in COMMANDS])
def test_help(path: str, command: click.Command, context: click.Context) -> None:
    text = command.get_help(context)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    examples = [line for line in text.partition("Example")[2].splitlines() if line.startswith("    smartrelay ")]
    assert examples, "an example shows what a description can only tell"
    if not isinstance(command, click.Group):
        assert all(line.strip().startswith(path) for line in examples)
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option) and not parameter.hidden]
    assert [option.opts for option in options if not re.search(r"\.(  \[default: \S+\])?$", option.help or "")] == []
