"""When mail is given up, as listings show it: by its age (law 11) and `[queue]` of the configuration."""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from smartrelay import config as configuration
from smartrelay.cli.caller import Common
from smartrelay.errors import ConfigError
from smartrelay.relay.schedule import age, longest_gap


class Expiry(NamedTuple):
    """lifetime: seconds of age at which mail is given up. most: what one gap between events counts at most. now: Unix
    seconds, the time that a listing is of."""

    lifetime: float
    most: float
    now: float

    def age(self, arrived: float, marks: Iterable[tuple[float, bool]]) -> float:
        """For how many seconds a recipient's mail could have gone by now. marks: what its journal has."""
        return age(arrived, [*marks, (self.now, True)], self.most)

    def at(self, arrived: float, marks: Iterable[tuple[float, bool]]) -> int:
        """Unix seconds at which it is given up, if it can go all the time from here on; now, where its time is over."""
        left = self.lifetime - self.age(arrived, marks)
        return int(self.now + left if left > 0 else self.now)


def expiry(common: Common, clock: Callable[[], float] = time.time) -> Expiry | None:
    """By the configuration, None where that is broken: a listing does without. To be called before a process of root's becomes
    the spool's owner."""
    try:
        config = configuration.load(common.config, common.spool)
    except ConfigError:
        return None
    return Expiry(config.lifetime, longest_gap(config.retry), clock())
