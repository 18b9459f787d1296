"""What an operator does to one message: hold, release, retry, delete.

Each takes the message's lock, looks at its name again, and is one rename or unlink; a pass at work is never disturbed and
never surprised. A message that is being delivered is busy; `wait` is for how many seconds to try again. clock: Unix seconds,
for the journal.
"""

import os
import time
from collections.abc import Callable
from typing import TypeVar

from smartrelay.spool import names
from smartrelay.spool.durable import sync_directory
from smartrelay.spool.journal import Event, Journal
from smartrelay.spool.message import lock
from smartrelay.spool.trouble import CorruptMessage, MessageBusy, NoSuchMessage

_POLL = 0.05
_TRIES = 10
_T = TypeVar("_T")

Clock = Callable[[], float]


def hold(spool: str, one: str, *, wait: float = 0.0, clock: Clock = time.time) -> None:
    """Sets a message aside: no pass touches it, and it does not age, until it is released."""
    _move(spool, one, names.HOLD, "hold", wait, clock)


def release(spool: str, one: str, *, wait: float = 0.0, clock: Clock = time.time) -> None:
    """Takes a held message back; it wants a pass at once. One that is not held is left as it is."""
    _move(spool, one, names.NEW, "release", wait, clock, only_from=names.HOLD)


def retry(spool: str, one: str, *, wait: float = 0.0, clock: Clock = time.time) -> None:
    """Makes a message due now. Raises NoSuchMessage for one that is held: release it first."""
    _move(spool, one, names.NEW, "retry", wait, clock, only_from=names.CUR)


def delete(spool: str, one: str, *, wait: float = 0.0) -> None:
    """Removes a message for good, without a bounce."""
    _locked(spool, one, lambda path: end(spool, one, path), wait)


def _move(spool: str, one: str, to: str, verb: str, wait: float, clock: Clock, only_from: str = "") -> None:
    def move(path: str) -> None:
        directory = path.split("/")[-2]
        if directory == to:
            return
        if only_from and directory != only_from:
            if directory == names.HOLD:
                raise NoSuchMessage(f"{one} is held; `smartrelay queue release {one}` takes it back")
            return
        event: Event = {"event": verb, "time": round(clock(), 3)}
        Journal(spool, one).append(event, sync=False)
        os.rename(path, f"{spool}/{to}/{one}")
        sync_directory(f"{spool}/{to}")
        sync_directory(os.path.dirname(path))

    _locked(spool, one, move, wait)


def _locked(spool: str, one: str, act: Callable[[str], None], wait: float) -> None:
    """Does `act` on the message's path with its lock held; what cannot be opened cannot be in anybody's hand."""

    def take(path: str) -> tuple[str, int]:
        try:
            return path, lock(path)
        except CorruptMessage:
            return path, -1

    while True:
        path, descriptor = taken(spool, one, take, wait)
        try:
            act(path)
            return
        except FileNotFoundError:
            continue  # a pass took it in between our look and our rename
        finally:
            if descriptor >= 0:
                os.close(descriptor)


def taken(spool: str, one: str, take: Callable[[str], _T], wait: float) -> _T:
    """What `take` makes of the message's path; again while the message moves under our eyes, or is in hand for up to `wait`
    seconds. Raises MessageBusy, NoSuchMessage, and what else `take` raises."""
    end = time.monotonic() + wait
    for attempt in range(1_000_000):
        path = names.find(spool, one)
        try:
            return take(path)
        except MessageBusy:
            if time.monotonic() >= end:
                raise
            time.sleep(_POLL)
        except NoSuchMessage:
            if attempt >= _TRIES and time.monotonic() >= end:
                raise
    raise MessageBusy(f"{one} moves from hand to hand; try again")


def end(spool: str, one: str, path: str) -> None:
    """Removes a message, and when that is durable its journal (law 3); its lock is held. Raises FileNotFoundError where a pass
    took it in meanwhile."""
    os.unlink(path)
    sync_directory(os.path.dirname(path))
    Journal(spool, one).remove()
