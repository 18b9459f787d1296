"""A plain `smartrelay flush`, as timers and crontabs call it."""

from smartrelay import config as configuration
from smartrelay import duration
from smartrelay.cli import idle, plain
from smartrelay.cli.caller import Common
from smartrelay.errors import EX_OK, SmartRelayError

_FLAGS = frozenset({"-q", "--quiet", "--fail-if-busy", "--json"})


def plain_pass(arguments: list[str]) -> int | None:
    """The exit code of a pass, if these arguments ask for a plain one; else None, and nothing is done."""
    found = plain.options(arguments, ["flush"], _FLAGS)
    if found is None:
        return None
    try:
        wait = duration.parse(found.get("--wait", "0s"))
    except ValueError:
        return None
    common = plain.common(found)
    if "--json" not in found and _is_idle(common):
        return EX_OK
    from smartrelay.cli.ending import ended
    from smartrelay.cli.passes import Passes
    from smartrelay.cli.wish import Wish

    passes = Passes(common, Wish(), wait=wait, fail_if_busy="--fail-if-busy" in found, as_json="--json" in found)
    return ended(passes.run)


def _is_idle(common: Common) -> bool:
    """Whether there is nothing to do; what is wrong is for a pass to say."""
    try:
        return idle.waiting(configuration.load(common.config, common.spool)) is not None
    except (SmartRelayError, OSError):
        return False
