"""Who tells of a pass that has the spool's lock: everyone in the status file, and the alert command what it is there for."""

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from smartrelay.cli import idle
from smartrelay.config import Config
from smartrelay.relay.bulletin import Bulletin, incidents
from smartrelay.settings import Settings
from smartrelay.spool import census, names

if TYPE_CHECKING:
    from smartrelay.relay.report import Report


class Herald:
    """That of one pass, which begins now. config: None where it cannot be read; then little is told, and nobody alerted. warn:
    takes a sentence for the log."""

    def __init__(self, settings: Settings, config: Config | None, warn: Callable[[str], None]) -> None:
        self._config = config
        self._warn = warn
        self._bulletin = idle.bulletin(config, warn) if config is not None else _least(settings, warn)

    def go_on(self, report: "Report") -> None:
        """The pass goes on."""
        self._bulletin.go_on(report)

    def end(self, report: "Report", bad_until: Iterable[float]) -> None:
        """The pass has ended; bad_until: when each of the bad hosts ceases to be one."""
        self._bulletin.end(report, bad_until)

    def end_without_work(self, result: str) -> None:
        """The pass has ended before it had begun (`spool.totals` has the results)."""
        self._bulletin.end_without_work(result)

    def alert(self, stopped: Callable[[], bool]) -> None:
        """Has the alert command told what there is to tell, while we have the lock: within half a minute if it hangs, and no
        longer than until `stopped`."""
        config = self._config
        if config is None or config.alert is None:
            return
        from smartrelay.relay.alert import Alerts, run

        try:
            waiting = census.take(config.spool, time.time(), config.horizon).waiting
        except OSError:
            return  # a pass has said so; the next one looks again
        found = incidents(config.spool, [relay.name for relay in config.relays], time.time)
        run_it = partial(run, stopped=stopped)
        Alerts(config.spool, config.alert, config.hostname, clock=time.time, warn=self._warn, run=run_it).tell(waiting, found)


def _least(settings: Settings, warn: Callable[[str], None]) -> Bulletin:
    """Without a configuration."""
    return Bulletin(
        settings.status_file,
        settings.spool,
        needed=settings.min_free_space,
        relays=None,
        horizon=names.SANE_FUTURE,
        clock=time.time,
        warn=warn,
    )
