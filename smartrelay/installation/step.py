"""What every step of a plan can do, and the ground it stands on."""

from dataclasses import dataclass
from typing import Protocol

from smartrelay.installation.places import Places
from smartrelay.installation.record import Record


@dataclass(frozen=True)
class Site:
    """Where an installation is made, and the record of it."""

    places: Places
    record: Record


class Step(Protocol):
    """One deed. `needed` is asked when the plan is made: a step that is not needed is not in it."""

    def needed(self) -> bool:
        """Whether anything would change."""

    def describe(self) -> str:
        """One line: verb first, as in "create /x", to be read after "would"."""

    def apply(self) -> None:
        """Does it. An OSError on the way is the operator's to read (`plan` makes a sentence of it)."""
