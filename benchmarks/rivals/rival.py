"""What a rival must be able to do to be measured."""

from typing import Protocol

from benchmarks.herd import Herd
from benchmarks.process import Command


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


class Submitting(Protocol):
    """One whose sendmail command is measured. syncs: what it has made durable when the command ends, in words."""

    name: str
    syncs: str

    def sendmail(self, message: str) -> Command:
        """Starts what must run, and gives a call that queues the message in this file and sends nothing; once."""

    def left(self) -> int:
        """How many messages are in the queue."""

    def stop(self) -> None:
        """Ends all that runs and removes the queue."""
