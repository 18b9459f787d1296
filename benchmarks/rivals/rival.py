"""What a rival must be able to do to be measured."""

from typing import Protocol

from benchmarks.herd import Herd


class Rival(Protocol):
    """One instance of a mail transfer agent on a queue of its own."""

    name: str
    herd: Herd

    def fill(self, count: int, octets: int) -> None:
        """Puts messages into the queue."""

    def start(self) -> None:
        """Starts what must run before a flush; nothing is relayed yet."""

    def flush(self) -> None:
        """Starts to relay all of the queue; returns at once."""

    def left(self) -> int:
        """How many messages are still in the queue."""

    def stop(self) -> None:
        """Ends all that runs and removes the queue."""
