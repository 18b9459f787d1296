"""The pass that has nothing to do: most passes of most machines, every minute of every day.

It is told from the names in the spool, before the command line is parsed in earnest: that alone would cost as much as all
the rest of an idle pass. Anything out of the ordinary here is for the whole program to see to.
"""

import os
import time

from smartrelay import config as configuration
from smartrelay import duration
from smartrelay.cli import plain
from smartrelay.errors import SmartRelayError
from smartrelay.spool import names
from smartrelay.spool.access import FORMAT

_FLAGS = frozenset({"-q", "--quiet", "--fail-if-busy"})


def is_idle(arguments: list[str]) -> bool:
    """Whether these arguments ask for a plain pass, and there is nothing for it to do."""
    options = plain.options(arguments, ["flush"], _FLAGS)
    if options is None:
        return False
    try:
        duration.parse(options.get("--wait", "0s"))  # wrong words are wrong on an idle day too
        config = configuration.load(options.get("--config", ""), options.get("--spool", ""))
        return waiting(config.spool, config.horizon) is not None
    except (SmartRelayError, OSError, ValueError):
        return False


def waiting(spool: str, horizon: float) -> int | None:
    """How many messages wait, None when there is something to do; looked up with the rights of the spool's owner.

    Raises OSError where that cannot be found out.
    """
    root = os.geteuid() == 0
    try:
        if root:
            status = os.stat(spool)
            os.setegid(status.st_gid)
            os.seteuid(status.st_uid)
        with open(f"{spool}/format", "rb") as file:
            if file.read(len(FORMAT) + 1) != FORMAT:
                return None
        return names.idle(spool, time.time(), horizon)
    finally:
        if root:
            os.seteuid(0)
            os.setegid(0)
