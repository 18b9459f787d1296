"""The options that every command has, and what follows from them."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from smartrelay import duration
from smartrelay.cli import suggest
from smartrelay.cli.caller import Common

_F = TypeVar("_F", bound=Callable[..., Any])


def common_options(function: _F) -> _F:
    """Adds the common options; the command gets them as `common`."""

    def wrapper(*args: Any, config: str, spool: str, verbose: int, quiet: int, **kwargs: Any) -> Any:
        context = click.get_current_context()
        common = context.ensure_object(Common)
        common.config = config or common.config
        common.spool = spool or common.spool
        common.verbosity += verbose - quiet
        return function(*args, common=common, **kwargs)

    wrapper.__name__, wrapper.__doc__ = function.__name__, function.__doc__
    for option in (
        click.option("-q", "--quiet", count=True, help="Say less."),
        click.option("-v", "--verbose", count=True, help="Say more."),
        click.option("--spool", metavar="DIR", default="", shell_complete=suggest.directories, help="The spool to work on."),
        click.option("--config", metavar="FILE", default="", shell_complete=suggest.files, help="The configuration to read."),
    ):
        wrapper = option(wrapper)
    if hasattr(function, "__click_params__"):
        wrapper.__click_params__ = [*function.__click_params__, *wrapper.__click_params__]  # type: ignore[attr-defined]
    return wrapper  # type: ignore[return-value]


class Duration(click.ParamType[float]):
    """A span of time such as 30s, 5m or 2h, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        try:
            return duration.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
