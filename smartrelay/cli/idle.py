"""Whether there is nothing for a pass to do: so it is for most passes of most machines, every minute of every day.

It is told from the names in the spool, before anything is loaded that a pass would need; and everybody is told so.
"""

import os
import time
from collections.abc import Callable

from smartrelay.config import Config
from smartrelay.relay.bulletin import Bulletin, incidents
from smartrelay.spool import names
from smartrelay.spool.access import FORMAT
from smartrelay.spool.census import Group, arrival


def waiting(config: Config) -> int | None:
    """How many messages wait, None when there is something to do; looked up, and told, with the rights of the spool's owner.

    Raises OSError where that cannot be found out.
    """
    spool, root = config.spool, os.geteuid() == 0
    if root and _has_notes(spool):
        # the interpreter may lie where the spool's owner cannot read it
        import smartrelay.relay.alert
        import smartrelay.spool.incidents  # noqa: F401
    try:
        if root:
            status = os.stat(spool)
            os.setegid(status.st_gid)
            os.seteuid(status.st_uid)
        with open(f"{spool}/format", "rb") as file:
            if file.read(len(FORMAT) + 1) != FORMAT:
                return None
        scan = names.idle(spool, time.time(), config.horizon)
        if scan is None or _is_to_be_alerted(config, scan):
            return None
        bulletin(config, lambda sentence: None).idle(scan)
        return scan.waiting
    finally:
        if root:
            os.seteuid(0)
            os.setegid(0)


def bulletin(config: Config, warn: Callable[[str], None]) -> Bulletin:
    """That of a pass which begins now, with this configuration."""
    relays = [relay.name for relay in config.relays]
    return Bulletin(
        config.status_file,
        config.spool,
        needed=config.min_free_space,
        relays=relays,
        horizon=config.horizon,
        clock=time.time,
        warn=warn,
    )


def _has_notes(spool: str) -> bool:
    return any(os.path.exists(f"{spool}/var/{name}.json") for name in ("alerts", "incidents"))


def _is_to_be_alerted(config: Config, scan: names.Scan) -> bool:
    """Whether the alert command is to be told anything: a pass that has the lock does it."""
    if config.alert is None:
        return False
    group = Group(scan.waiting, arrival(scan.oldest) if scan.oldest else None)
    if not _has_notes(config.spool):
        return group.oldest is not None and time.time() - group.oldest >= config.alert.after
    from smartrelay.relay.alert import Alerts, run

    found = incidents(config.spool, [relay.name for relay in config.relays], time.time)
    alerts = Alerts(config.spool, config.alert, config.hostname, clock=time.time, warn=lambda sentence: None, run=run)
    return alerts.has_news(group, found)
