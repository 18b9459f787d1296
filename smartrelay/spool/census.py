"""How many messages are in each state, and since when the oldest of each waits: told from the names in the spool alone.

An id holds when its message came in, and a name in `cur/` when it goes next, so that no file has to be opened.
"""

import os
from collections.abc import Iterable
from typing import NamedTuple

from smartrelay.spool import names, queue_id


class Group(NamedTuple):
    """The messages of one state. number: how many. oldest: when the first of them came in, in Unix seconds; None where that is
    not known."""

    number: int = 0
    oldest: float | None = None


class Census(NamedTuple):
    """new: wants a pass. due: its time has come. deferred: its time has not. held: set aside by the operator. corrupt: could
    not be read."""

    new: Group = Group()
    due: Group = Group()
    deferred: Group = Group()
    held: Group = Group()
    corrupt: Group = Group()

    @property
    def waiting(self) -> Group:
        """What is to go: all but held and corrupt."""
        groups = (self.new, self.due, self.deferred)
        known = [group.oldest for group in groups if group.oldest is not None]
        return Group(sum(group.number for group in groups), min(known, default=None))


def take(spool: str, now: float, horizon: float = names.SANE_FUTURE, scan: names.Scan | None = None) -> Census:
    """Counts what is there; scan: a look at `cur/` of just now that found nothing due, with an empty `new/`. Raises OSError."""
    new = group(os.listdir(f"{spool}/{names.NEW}")) if scan is None else Group()
    scan = scan or names.Scan(spool, now, horizon)
    return Census(
        new,
        Group(len(scan.due), arrival(scan.due[0])) if scan.due else Group(),
        Group(scan.waiting, arrival(scan.oldest)) if scan.waiting else Group(),
        group(os.listdir(f"{spool}/{names.HOLD}")),
        group(os.listdir(f"{spool}/{names.CORRUPT}")),
    )


def group(found: Iterable[str]) -> Group:
    """The group that has these names, any of which may be no message's."""
    all_of_them = list(found)
    known = [name for name in all_of_them if queue_id.is_valid(name[: queue_id.LENGTH])]
    return Group(len(all_of_them), arrival(min(known)) if known else None)


def arrival(name: str) -> float:
    """When the message of that name came in, in Unix seconds, as its id says."""
    return queue_id.arrival(name[: queue_id.LENGTH])
