"""The queue as an operator's command works on it, beside any pass: one message at a time, in whatever state it is."""

import os
import time
from collections.abc import Callable

from smartrelay.spool import names
from smartrelay.spool.durable import sync_directory
from smartrelay.spool.message import MessageInHand
from smartrelay.spool.operate import end, taken
from smartrelay.spool.queue import Queue


class OperatorQueue(Queue):
    """wait: seconds for a message that is in hand. A pass that comes upon a message that we have passes it over; but it takes
    no lock to take it in, so that its name may change under us."""

    def __init__(self, spool: str, *, clock: Callable[[], float] = time.time, wait: float = 0.0) -> None:
        super().__init__(spool, clock=clock)
        self._patience = wait

    def set_relaying(self, one: str) -> MessageInHand:
        """Takes a message in hand where it is. Raises MessageBusy, NoSuchMessage, or CorruptMessage; that one stays there."""
        message = taken(self.spool, one, lambda path: MessageInHand(self.spool, path, one), self._patience)
        with self._lock:
            self._relayed[one] = message
        return message

    def hand_over(self, one: str) -> None:
        """A message in hand of which nobody waits any more is due now, held or not: what is left to do with it, any pass may
        finish."""
        now = self._clock()
        while True:
            path = names.find(self.spool, one)
            directory, name = path.split("/")[-2:]
            if directory == names.NEW or (directory == names.CUR and (names.split(name) or ("", 0))[1] <= now):
                return
            try:
                os.rename(path, f"{self.spool}/{names.CUR}/{names.waiting_name(one, now)}")
                break
            except FileNotFoundError:
                continue  # a pass made it due
        if directory == names.HOLD:
            sync_directory(f"{self.spool}/{names.CUR}")
            sync_directory(f"{self.spool}/{names.HOLD}")

    def add_message(self, one: str) -> None:
        """What was published stays in new/, which wants a pass."""

    def done(self, one: str) -> list[str]:
        """Ends a message of which nobody waits any more and to whom nothing is owed, and its journal; settled at once."""
        with self._lock:
            message = self._relayed.pop(one)
        try:
            while True:
                path = names.find(self.spool, one)
                try:
                    end(self.spool, one, path)
                    break
                except FileNotFoundError:
                    continue  # a pass took it in, or made it due
        finally:
            message.close()
        return [one]
