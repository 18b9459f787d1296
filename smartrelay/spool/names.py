"""The names in the spool's directories, which are the state of the queue.

    tmp/ID        being written, acknowledged to nobody
    new/ID        wants a pass: just accepted, released, or told to go
    cur/ID,n=T    taken in by a pass, next attempt at T (Unix seconds)
    hold/ID       set aside by the operator
    corrupt/NAME  could not be read, kept for a person

Every change of state is one rename, so that a crash leaves the old state or the new one, never both or neither.
"""

import os
import re

from smartrelay.spool import queue_id
from smartrelay.spool.trouble import NoSuchMessage

NEW, CUR, HOLD, CORRUPT = "new", "cur", "hold", "corrupt"
_MARK = ",n="
_LENGTH = queue_id.LENGTH
_WAITING = re.compile(rf"[{queue_id.ALPHABET}]{{{_LENGTH}}}{_MARK}([0-9]{{1,15}})").fullmatch
_BEHIND_ALL = "~"
"""Sorts behind every name of a message."""

SANE_FUTURE = 86400.0
"""A next attempt further off than this (or than twice the longest retry step) is due now: a clock was wrong."""


def waiting_name(one: str, due: float) -> str:
    """The name in `cur/` of a message whose next attempt is at `due`."""
    return f"{one}{_MARK}{int(due)}"


def split(name: str) -> tuple[str, int] | None:
    """Id and next attempt of a name in `cur/`; 0 (now) for an unknown end, None for what is no message's name."""
    one = name[:_LENGTH]
    found = _WAITING(name)
    if found is not None:
        return one, int(found[1])
    return (one, 0) if queue_id.is_valid(one) else None


class Scan:
    """One look at `cur/`: which names are due (all, with `everything`), what is no name of ours, how many others there are,
    the name of the oldest of those ("" where there is none), and when the next of them is due."""

    __slots__ = ("due", "next_due", "oldest", "strange", "waiting")

    def __init__(self, spool: str, now: float, horizon: float = SANE_FUTURE, *, everything: bool = False) -> None:
        self.due: list[str] = []
        self.strange: list[str] = []
        self.waiting = 0
        oldest = _BEHIND_ALL
        nearest = furthest = int(now + horizon)
        valid = queue_id.is_valid
        for name in os.listdir(f"{spool}/{CUR}"):
            # the common case in one match: 100,000 names that are not due must not cost half a second
            found = _WAITING(name)
            if found is not None:
                at = int(found[1])
                if now < at <= furthest and not everything:
                    self.waiting += 1
                    # (min() would cost as much as all the rest)
                    if at < nearest:  # noqa: PLR1730
                        nearest = at
                    if name < oldest:  # noqa: PLR1730
                        oldest = name
                    continue
            elif not valid(name[:_LENGTH]):
                self.strange.append(name)
                continue
            self.due.append(name)
        self.due.sort()
        self.oldest = "" if oldest == _BEHIND_ALL else oldest
        self.next_due = float(nearest)


def idle(spool: str, now: float, horizon: float = SANE_FUTURE) -> Scan | None:
    """What waits, if there is nothing for a pass to do now, else None. Lists names and nothing else."""
    if os.listdir(f"{spool}/{NEW}"):
        return None
    scan = Scan(spool, now, horizon)
    return None if scan.due or scan.strange else scan


def find(spool: str, one: str) -> str:
    """The path of message `one` in whatever state it is. Raises NoSuchMessage."""
    for _ in range(2):  # it may move from one directory to another while we look
        for directory in (NEW, HOLD):
            path = f"{spool}/{directory}/{one}"
            if os.path.lexists(path):
                return path
        for name in os.listdir(f"{spool}/{CUR}"):
            if name.startswith(one):
                return f"{spool}/{CUR}/{name}"
    raise NoSuchMessage(f"there is no message {one} in the queue {spool}")
