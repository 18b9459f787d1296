"""Command lines that are so plain that they need no parser: to load one costs as much as all that such a call does."""

from smartrelay.cli.caller import Common

_VALUED = frozenset({"--config", "--spool", "--wait"})
_ANYWHERE = frozenset({"--config", "--spool", "-q", "--quiet"})


def options(arguments: list[str], words: list[str], flags: frozenset[str]) -> dict[str, str] | None:
    """The options of a call that consists of these words, in this order, and of these flags and the options that take a
    value, which belong behind them but for those that every command has; None for any other call, which is the parser's."""
    found: dict[str, str] = {}
    said: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name.startswith("-") and name not in _ANYWHERE and said != words:
            return None
        if name in _VALUED:
            given = value if equals else next(rest, "")
            if not given:
                return None
            found[name] = given
        elif argument in flags:
            found[argument] = ""
        else:
            said.append(argument)
    return found if said == words else None


def common(found: dict[str, str]) -> Common:
    """What every command is told, of such options."""
    quiet = "-q" in found or "--quiet" in found
    return Common(found.get("--config", ""), found.get("--spool", ""), -1 if quiet else 0)
